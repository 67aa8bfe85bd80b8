//! The one layer for host-side work on files that a sandbox made or that a sandbox's files go to: every name is
//! resolved beneath a directory descriptor, and no link of any kind is followed on the way.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use std::ffi::CStr;

const RESOLVE: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

/// Opens one name in `directory`. Never blocks on a FIFO and never takes a terminal.
pub(crate) fn open(directory: &impl AsFd, name: &CStr, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    loop {
        match openat2(directory, name, flags, mode, RESOLVE) {
            // The kernel saw a rename meanwhile and asks for another try.
            Err(Errno::AGAIN) => {}
            other => return other,
        }
    }
}

/// Opens the directory `name` in `directory`, and makes it first if it is not there.
pub(crate) fn open_or_make_directory(directory: &impl AsFd, name: &CStr) -> Result<OwnedFd, Errno> {
    match rustix::fs::mkdirat(directory, name, Mode::from_raw_mode(0o777)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error),
    }
    open(directory, name, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
}
