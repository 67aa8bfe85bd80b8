//! The second wall around files: one Landlock domain, entered before the agent.
//!
//! The sandbox's own root already shows only what may be seen. The domain repeats that in another part of the
//! kernel: a descriptor or a mount that led out of the root would meet a hierarchy that no rule allows.

use crate::error::{For, Result};
use crate::sys::landlock as sys;
use model::Wall;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use std::path::Path;

const EXECUTE: u64 = 1 << 0;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
const TRUNCATE: u64 = 1 << 14;
const IOCTL_DEV: u64 = 1 << 15;

/// Signals and abstract unix sockets reach no process outside the domain.
const SCOPED: u64 = 3;

/// The newest ABI whose rights this file names. A newer kernel is asked for these only.
const KNOWN: u32 = 7;

/// The ABI that is in force here: the kernel's, or the newest one known; 0 where there is none.
pub fn abi() -> u32 {
    sys::abi().unwrap_or(0).min(KNOWN)
}

/// All accesses to files that an ABI can bound.
fn handled(abi: u32) -> u64 {
    let rights = match abi {
        0 | 1 => 13,
        2 => 14,
        3 | 4 => 15,
        _ => 16,
    };
    (1 << rights) - 1
}

/// A domain in the making.
pub(crate) struct Domain {
    rules: OwnedFd,
    handled: u64,
}

impl Domain {
    pub(crate) fn new(abi: u32) -> Result<Domain> {
        let handled = handled(abi);
        let scoped = if abi >= 6 { SCOPED } else { 0 };
        let rules = sys::create(abi, handled, scoped)
            .wall(Wall::Landlock, || format!("landlock_create_ruleset({handled:#x}, {scoped:#x})"))?;
        Ok(Domain { rules, handled })
    }

    /// The same one, whose descriptor `change` may move.
    pub(crate) fn map(self, change: impl FnOnce(OwnedFd) -> Result<OwnedFd>) -> Result<Domain> {
        Ok(Domain { rules: change(self.rules)?, ..self })
    }

    /// What is shown may be read and executed.
    pub(crate) fn read(&self, path: &Path) -> Result<()> {
        self.allow(path, READ_FILE | READ_DIR | EXECUTE)
    }

    /// What is shown may be read, and what is already there may be written.
    pub(crate) fn use_nodes(&self, path: &Path) -> Result<()> {
        self.allow(path, READ_FILE | READ_DIR | WRITE_FILE | TRUNCATE | IOCTL_DEV)
    }

    /// Anything that the mount allows, but for the ioctls of devices.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        self.allow(path, self.handled & !IOCTL_DEV)
    }

    fn allow(&self, path: &Path, access: u64) -> Result<()> {
        let directory = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .wall(Wall::Landlock, || format!("open({path:?}, O_PATH)"))?;
        let access = access & self.handled;
        sys::allow(self.rules.as_fd(), directory.as_fd(), access)
            .wall(Wall::Landlock, || format!("landlock_add_rule({path:?}, {access:#x})"))
    }

    pub(crate) fn enter(self) -> Result<()> {
        let rules: BorrowedFd<'_> = self.rules.as_fd();
        sys::restrict_self(rules).wall(Wall::Landlock, || "landlock_restrict_self()".to_owned())
    }
}
