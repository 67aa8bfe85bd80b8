//! The one layer for host-side work on files that a sandbox made or that a sandbox's files go to: every name is
//! resolved beneath a directory descriptor, and no link of any kind is followed on the way.
//!
//! A name is one that a listing gave, or a path of such names; a way is resolved by the kernel in one call, so that no
//! directory on it can be replaced meanwhile by a link that leads elsewhere.

mod whole;

pub(crate) use whole::{copy, write_whole};

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, ResolveFlags, Stat, openat2};
use rustix::io::Errno;
use std::ffi::{CStr, CString};

const RESOLVE: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

/// A directory tree is walked down to this depth; each level holds descriptors open.
pub(crate) const DEPTH_MAX: usize = 128;

/// Opens one name in `directory`, or a path of names. Never blocks on a FIFO and never takes a terminal.
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

/// Opens the directory at `path` beneath `root`; the empty path is `root` itself.
pub(crate) fn directory(root: &impl AsFd, path: &[u8]) -> Result<OwnedFd, Errno> {
    let path = name(if path.is_empty() { b"." } else { path })?;
    open(root, &path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
}

/// Opens the directory `name` in `directory`, and makes it first if it is not there.
pub(crate) fn open_or_make_directory(directory: &impl AsFd, name: &CStr) -> Result<OwnedFd, Errno> {
    match make_directory(directory, name) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error),
    }
    open(directory, name, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
}

/// Makes one directory, with the mode that the caller's umask leaves.
pub(crate) fn make_directory(directory: &impl AsFd, name: &CStr) -> Result<(), Errno> {
    rustix::fs::mkdirat(directory, name, Mode::from_raw_mode(0o777))
}

/// Opens a file to read that is a regular one when it is open.
pub(crate) fn regular(directory: &impl AsFd, name: &CStr) -> Result<(OwnedFd, Stat), Errno> {
    let file = open(directory, name, OFlags::RDONLY, Mode::empty())?;
    let stat = rustix::fs::fstat(&file)?;
    match rustix::fs::FileType::from_raw_mode(stat.st_mode) {
        rustix::fs::FileType::RegularFile => Ok((file, stat)),
        _ => Err(Errno::INVAL),
    }
}

/// What `name` in `directory` is; of a link, the link.
pub(crate) fn stat(directory: &impl AsFd, name: &CStr) -> Result<Stat, Errno> {
    rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
}

/// Where the link `name` in `directory` leads.
pub(crate) fn link_target(directory: &impl AsFd, name: &CStr) -> Result<Vec<u8>, Errno> {
    rustix::fs::readlinkat(directory, name, Vec::new()).map(CString::into_bytes)
}

/// Renames where nothing has the new name.
pub(crate) fn rename_new(from: &impl AsFd, name: &CStr, to: &impl AsFd, new: &CStr) -> Result<(), Errno> {
    rustix::fs::renameat_with(from, name, to, new, RenameFlags::NOREPLACE)
}

/// Exchanges what two names stand for, at once.
pub(crate) fn exchange(one: &impl AsFd, name: &CStr, other: &impl AsFd, with: &CStr) -> Result<(), Errno> {
    rustix::fs::renameat_with(one, name, other, with, RenameFlags::EXCHANGE)
}

/// Removes a name that is no directory's.
pub(crate) fn remove_file(directory: &impl AsFd, name: &CStr) -> Result<(), Errno> {
    rustix::fs::unlinkat(directory, name, AtFlags::empty())
}

/// Removes an empty directory.
pub(crate) fn remove_directory(directory: &impl AsFd, name: &CStr) -> Result<(), Errno> {
    rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR)
}

/// A name as the kernel takes it.
pub(crate) fn name(bytes: &[u8]) -> Result<CString, Errno> {
    CString::new(bytes).map_err(|_| Errno::INVAL)
}

/// Splits a path into that of its directory and its last name.
pub(crate) fn split(path: &[u8]) -> Result<(&[u8], CString), Errno> {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => Ok((&path[..at], name(&path[at + 1..])?)),
        None => Ok((b"", name(path)?)),
    }
}

/// The names in a directory, from its beginning, whatever was read of it before.
pub(crate) struct Listing(rustix::fs::Dir);

impl Listing {
    pub(crate) fn of(directory: &impl AsFd) -> Result<Listing, Errno> {
        let own = open(directory, c".", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
        rustix::fs::Dir::new(own).map(Listing)
    }
}

impl Iterator for Listing {
    type Item = Result<CString, Errno>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.0.next()? {
                Ok(entry) if matches!(entry.file_name().to_bytes(), b"." | b"..") => {}
                entry => return Some(entry.map(|entry| entry.file_name().to_owned())),
            }
        }
    }
}
