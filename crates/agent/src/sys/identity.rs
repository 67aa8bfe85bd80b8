//! With whose rights files are touched.

use super::kernel;
use linux_raw_sys::general::{__NR_setfsgid, __NR_setfsuid};

/// Sets the user and group that the kernel checks for file access; gives whether both took effect.
///
/// `setfsuid` and `setfsgid` return what was before and no error, so each is asked a second time with -1, which is
/// nobody: that changes nothing and tells what is (setfsuid(2), BUGS).
pub(crate) fn set_file_user(uid: u32, gid: u32) -> bool {
    set(__NR_setfsgid, gid);
    set(__NR_setfsuid, uid);
    (set(__NR_setfsgid, u32::MAX), set(__NR_setfsuid, u32::MAX)) == (Some(gid), Some(uid))
}

/// Gives what was before, or nothing if the call is refused, as a filter of system calls may.
fn set(number: u32, id: u32) -> Option<u32> {
    // SAFETY: both calls take an integer and touch no memory.
    unsafe { kernel::call(number, [id as usize, 0, 0, 0]) }.ok().map(|before| before as u32)
}
