//! Descriptors by number: those that the agent was born with, and all of them at once.

use super::last_errno;
use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use rustix::io::Errno;

/// Takes over a descriptor that the agent was started with, closed on exec from now on; `None` if it is not open.
///
/// Call it once for a number, before anything else opens a descriptor.
pub(crate) fn adopt(number: RawFd) -> Option<OwnedFd> {
    // SAFETY: F_SETFD takes an integer and touches no memory.
    if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } == -1 {
        return None;
    }
    // SAFETY: an `OwnedFd` must be the only owner of an open descriptor. It is open, or fcntl had failed; nothing
    // has opened a descriptor before, so it is the one that the agent was started with and nobody owns it yet.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Closes every descriptor above 2 but `kept`. Only for a child between fork and exec, which uses none of them again.
pub(crate) fn close_others(kept: BorrowedFd<'_>) -> Result<(), Errno> {
    let kept = kept.as_raw_fd().unsigned_abs();
    // SAFETY: closing a descriptor breaks whoever still uses it by number. The owners live in the agent's frames
    // beneath this one; a child never returns to them and ends without running their destructors.
    let done = unsafe {
        (kept <= 3 || libc::close_range(3, kept - 1, 0) == 0)
            && libc::close_range(kept + 1, libc::c_uint::MAX, 0) == 0
    };
    if done { Ok(()) } else { Err(last_errno()) }
}
