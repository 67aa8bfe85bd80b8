//! Descriptors by number: those that the agent was born with, and all of them at once.

use super::kernel;
use linux_raw_sys::general::{__NR_close_range, __NR_fcntl, F_SETFD, FD_CLOEXEC};
use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use rustix::io::Errno;

/// Takes over a descriptor that the agent was started with, closed on exec from now on; `None` if it is not open.
///
/// Call it once for a number, before anything else opens a descriptor.
pub(crate) fn adopt(number: RawFd) -> Option<OwnedFd> {
    let flags = [number as usize, F_SETFD as usize, FD_CLOEXEC as usize, 0];
    // SAFETY: F_SETFD takes an integer and touches no memory.
    unsafe { kernel::call(__NR_fcntl, flags) }.ok()?;
    // SAFETY: an `OwnedFd` must be the only owner of an open descriptor. It is open, or fcntl had failed; nothing
    // has opened a descriptor before, so it is the one that the agent was started with and nobody owns it yet.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Descriptor 0.
pub(crate) fn stdin() -> BorrowedFd<'static> {
    // SAFETY: it must stay open. Nothing in this program owns 0 or 1, or closes them.
    unsafe { rustix::stdio::stdin() }
}

/// Descriptor 1.
pub(crate) fn stdout() -> BorrowedFd<'static> {
    // SAFETY: as for 0.
    unsafe { rustix::stdio::stdout() }
}

/// Closes every descriptor above 2 but `kept`. Only for a child between fork and exec, which uses none of them again.
pub(crate) fn close_others(kept: BorrowedFd<'_>) -> Result<(), Errno> {
    let kept = kept.as_raw_fd().unsigned_abs();
    if kept > 3 {
        close_range(3, kept - 1)?;
    }
    close_range(kept + 1, u32::MAX)
}

/// Closes every descriptor from `first` on. Only for a child, which uses none of them again.
pub(crate) fn close_from(first: u32) -> Result<(), Errno> {
    close_range(first, u32::MAX)
}

fn close_range(first: u32, last: u32) -> Result<(), Errno> {
    // SAFETY: closing a descriptor breaks whoever still uses it by number. The owners live in the agent's frames
    // beneath this one; a child never returns to them and ends without running their destructors.
    unsafe { kernel::call(__NR_close_range, [first as usize, last as usize, 0, 0]) }.map(drop)
}
