//! Looks back. Recomputes everything from the bytes of `log/`, without a daemon, a lock or a right to write.
//!
//! It walks the log in its order: bundles with their tiles, then the tail, then the names of all files. Each
//! record is compared with its hash, with its number and with the record before; every tile with what lies
//! below it; every checkpoint, the head and a checkpoint saved elsewhere with the root at their size. It
//! shares the hash functions and the frame layout with the writer, and nothing else.

mod audit;
mod claims;
mod files;
mod problem;
mod tree;

pub use problem::{Flaw, Problem, Report};

use crate::Error;
use crate::disk::State;
use std::path::Path;

/// Verifies a log, and compares it with the note of a checkpoint that was saved elsewhere, if there is one.
///
/// Whatever is wrong with the log is a [`Problem`] of the report, not an error. Records after the newest
/// checkpoint are reported as uncovered: they are chained to each other, but nothing signed vouches for them.
///
/// # Errors
/// The state directory cannot be opened.
pub fn verify(state: &Path, against: Option<&str>) -> Result<Report, Error> {
    let state = State::open(state)?;
    let mut audit = audit::Audit::new(&state, against);
    if let Some(tail) = audit.begin() {
        audit.bundles(&tail);
        audit.tail(&tail);
        audit.ends();
        files::walk(&state, audit.size(), audit.problems());
    }
    Ok(audit.finish())
}
