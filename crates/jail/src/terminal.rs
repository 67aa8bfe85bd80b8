//! Terminals of a sandbox's own devpts, opened by trusted code; nothing that runs inside ever hands out a descriptor.

use crate::error::{For, Result};
use model::Wall;
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::pty::OpenptFlags;

/// A new terminal: its master and its slave. `directory` is the sandbox's devpts, from the report of its walls. The slave
/// belongs to the sandbox's user, because the devpts is mounted so.
///
/// # Errors
/// The sandbox has as many terminals as it may have, or is gone.
pub fn open(directory: BorrowedFd<'_>) -> Result<(OwnedFd, OwnedFd)> {
    let wall = Wall::OwnSession;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let master = rustix::fs::openat(directory, "ptmx", flags, Mode::empty())
        .wall(wall, || "open(\"/dev/pts/ptmx\")".to_owned())?;
    rustix::pty::unlockpt(&master).wall(wall, || "ioctl(TIOCSPTLCK, 0)".to_owned())?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave =
        rustix::pty::ioctl_tiocgptpeer(&master, flags).wall(wall, || "ioctl(TIOCGPTPEER)".to_owned())?;
    Ok((master, slave))
}

/// The devpts of this mount namespace, as a place that can only be looked into.
pub(crate) fn directory() -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, "/dev/pts", flags, Mode::empty())
        .wall(Wall::OwnSession, || "open(\"/dev/pts\", O_PATH)".to_owned())
}
