//! Removes a tree, however deep and whatever is done to it meanwhile.
//!
//! One directory is open at a time. The way down leads through no link; the way up is `..`, and is believed only if it
//! leads to where the walk came from: a directory that is moved meanwhile does not take the walk along.

use super::{Failed, absolute, failed, parted};
use agent::protocol::Why;
use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::CStr;
use core::mem::MaybeUninit;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, RawDir, fstat, openat, unlinkat};
use rustix::io::Errno;

/// How much of a directory is read at a time. Little: the walk comes back to the beginning of a directory after each
/// one in it that was not empty, and should not read far for nothing.
const BUFFER_BYTES: usize = 1 << 10;
/// How often something may have been put into a directory that was just emptied.
const REFILLED_MAX: usize = 1000;
const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);

/// A directory on the way down.
struct Step {
    /// Which it is: device and inode.
    identity: (u64, u64),
    /// The name of the one that was entered in it.
    entered: CString,
}

/// What became of one name.
enum Tried {
    Gone,
    /// A directory that is not empty.
    Full,
}

pub(super) fn remove(path: &[u8]) -> Result<(), Failed> {
    absolute(path)?;
    let (parent, name) = parted(path)?;
    let parent = match openat(CWD, &*parent, OFlags::PATH | DIRECTORY, Mode::empty()) {
        Ok(parent) => parent,
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(failed(errno)),
    };
    match remove_name(parent.as_fd(), &name).map_err(failed)? {
        Tried::Gone => Ok(()),
        Tried::Full => remove_tree(parent, name),
    }
}

fn remove_tree(parent: OwnedFd, name: CString) -> Result<(), Failed> {
    let (mut here, mut next) = (parent, name);
    let mut way: Vec<Step> = Vec::new();
    let mut refilled = 0;
    let mut emptied = false;
    loop {
        match remove_name(here.as_fd(), &next).map_err(failed)? {
            Tried::Gone if way.is_empty() => return Ok(()),
            Tried::Gone => {}
            Tried::Full => {
                refilled += usize::from(emptied);
                if refilled > REFILLED_MAX {
                    return Err((Why::Changed, Errno::NOTEMPTY));
                }
                match openat(&here, &*next, OFlags::NOFOLLOW | DIRECTORY, Mode::empty()) {
                    Ok(below) => {
                        way.push(Step { identity: identity(&here)?, entered: next });
                        here = below;
                    }
                    // It is something else by now, and has to be looked at again.
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                        emptied = true;
                        continue;
                    }
                    Err(errno) => return Err(failed(errno)),
                }
            }
        }
        if let Some(full) = clear(&here)? {
            (next, emptied) = (full, false);
        } else {
            let Some(Step { identity: expected, entered }) = way.pop() else { return Ok(()) };
            // The one above the tree is not read, and perhaps may not be.
            let how = if way.is_empty() { OFlags::PATH } else { OFlags::RDONLY };
            here = openat(&here, c"..", how | DIRECTORY, Mode::empty()).map_err(failed)?;
            if identity(&here)? != expected {
                return Err((Why::Changed, Errno::STALE));
            }
            (next, emptied) = (entered, true);
        }
    }
}

/// Removes what is in a directory until one in it is found that is not empty; gives its name.
fn clear(directory: &OwnedFd) -> Result<Option<CString>, Failed> {
    let mut buffer = [MaybeUninit::uninit(); BUFFER_BYTES];
    let mut entries = RawDir::new(directory, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        if let Tried::Full = remove_name(directory.as_fd(), name).map_err(failed)? {
            return Ok(Some(CString::from(name)));
        }
    }
    Ok(None)
}

fn remove_name(directory: BorrowedFd<'_>, name: &CStr) -> Result<Tried, Errno> {
    let refused = match unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(Tried::Gone),
        Err(errno @ (Errno::ISDIR | Errno::PERM)) => errno,
        Err(errno) => return Err(errno),
    };
    match unlinkat(directory, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(Tried::Gone),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(Tried::Full),
        Err(Errno::NOTDIR) => Err(refused),
        Err(errno) => Err(errno),
    }
}

/// Which directory it is: device and inode.
fn identity(directory: &OwnedFd) -> Result<(u64, u64), Failed> {
    let stat = fstat(directory).map_err(failed)?;
    Ok((stat.st_dev, stat.st_ino))
}
