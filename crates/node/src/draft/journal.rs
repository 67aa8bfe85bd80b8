//! How far a commit has come, so that one that was cut short can be completed or undone.

use super::file::{get, put};
use super::steps::Step;
use super::{Error, For};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::path::{Path, PathBuf};

/// What is happening.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Phase {
    /// New files are written beside their places. Nothing of the original has changed.
    Staging,
    /// They take their places, one by one; what was there is kept beside.
    Placing,
    /// What was there is removed.
    Cleaning,
}

/// A commit that is being applied.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Journal {
    pub phase: Phase,
    pub steps: Vec<Step>,
    /// The paths that were selected, by zone.
    pub selected: Vec<(usize, Vec<u8>)>,
}

fn place(directory: &Path) -> PathBuf {
    directory.join("journal")
}

impl Journal {
    /// The one of this draft, if a commit was begun and not finished.
    pub(super) fn read(directory: &Path) -> Result<Option<Journal>, Error> {
        if !place(directory).exists() {
            return Ok(None);
        }
        get(&place(directory)).map(Some)
    }

    /// Makes it durable.
    pub(super) fn write(&self, directory: &Path) -> Result<(), Error> {
        put(&place(directory), self)
    }

    /// The commit is finished, or undone.
    pub(super) fn remove(directory: &Path) -> Result<(), Error> {
        std::fs::remove_file(place(directory))
            .and_then(|()| File::open(directory)?.sync_all())
            .call(|| format!("remove({:?})", place(directory)))
    }
}
