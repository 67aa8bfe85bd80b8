//! What is at a path.

use super::{Failed, absolute, failed};
use agent::protocol::{Entry, Kind, Link, PATH_BYTES_MAX, Target};
use alloc::vec::Vec;
use core::ffi::CStr;
use rustix::fd::BorrowedFd;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, statat};
use rustix::io::Errno;
use rustix::path::DecInt;

/// Describes what is at `path`, a link itself.
pub(super) fn at(path: &[u8]) -> Result<Entry, Failed> {
    beneath(CWD, &absolute(path)?, path.to_vec()).map_err(failed)
}

/// Describes what has this name in a directory; `path` is what it is to be called.
pub(super) fn beneath(directory: BorrowedFd<'_>, name: &CStr, path: Vec<u8>) -> Result<Entry, Errno> {
    let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let mut entry = of(&stat, path);
    if entry.kind == Kind::Link {
        entry.link = Some(Link { target: target(directory, name) });
    }
    Ok(entry)
}

/// Describes what `stat` tells of.
pub(super) fn of(stat: &Stat, path: Vec<u8>) -> Entry {
    Entry {
        path,
        kind: kind(stat),
        mode: stat.st_mode & 0o7777,
        size: stat.st_size.unsigned_abs(),
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime_s: stat.st_mtime,
        mtime_ns: stat.st_mtime_nsec as u32,
        link: None,
    }
}

fn kind(stat: &Stat) -> Kind {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Link,
        _ => Kind::Other,
    }
}

/// What is at the end of a link. The kernel goes there and then says where it is: a walk of our own could be led
/// astray between two steps.
fn target(directory: BorrowedFd<'_>, name: &CStr) -> Option<Target> {
    let end = openat(directory, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let stat = fstat(&end).ok()?;
    let spot = [&b"/proc/self/fd/"[..], DecInt::from_fd(&end).as_bytes()].concat();
    let path = readlinkat(CWD, spot, Vec::new()).ok()?.into_bytes();
    // What is not beneath a root, as a pipe, has a name that is no path.
    let is_path = path.starts_with(b"/") && path.len() <= PATH_BYTES_MAX;
    is_path.then(|| Target { path, kind: kind(&stat), mode: stat.st_mode & 0o7777 })
}
