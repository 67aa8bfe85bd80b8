//! With whose rights files are touched.

/// Sets the user and group that the kernel checks for file access; gives whether both took effect.
///
/// `setfsuid` and `setfsgid` return what was before and no error, so each is asked a second time with -1, which is
/// nobody: that changes nothing and tells what is (setfsuid(2), BUGS).
pub(crate) fn set_file_user(uid: u32, gid: u32) -> bool {
    // SAFETY: the four calls take integers and touch no memory.
    let (gid_now, uid_now) = unsafe {
        libc::setfsgid(gid);
        libc::setfsuid(uid);
        (libc::setfsgid(u32::MAX), libc::setfsuid(u32::MAX))
    };
    gid_now as u32 == gid && uid_now as u32 == uid
}
