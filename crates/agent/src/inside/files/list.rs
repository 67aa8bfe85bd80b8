//! Lists a directory.
//!
//! One directory is open at a time, and each is opened from the one that is listed, through no link: what is put in
//! the place of one meanwhile is not followed.

use super::{Failed, Voice, absolute, entry, failed};
use agent::protocol::{Answer, DEPTH_MAX, Kind, LISTED_MAX, PATH_BYTES_MAX, Why};
use alloc::ffi::CString;
use alloc::vec::Vec;
use core::mem;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags, RawDir, ResolveFlags, open, openat2};
use rustix::io::Errno;

const BUFFER_BYTES: usize = 32 << 10;
const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);

/// A directory of which something is still to be told.
struct Level {
    /// Names, the last one next.
    names: Vec<CString>,
    /// How long the path to this directory is.
    path_bytes: usize,
}

struct Walk<'a> {
    root: OwnedFd,
    root_bytes: usize,
    buffer: Vec<u8>,
    /// How many names were read.
    count: usize,
    voice: &'a mut Voice,
}

pub(super) fn list(path: &[u8], depth: u32, voice: &mut Voice) -> Result<(), Failed> {
    let depth = depth.clamp(1, DEPTH_MAX) as usize;
    let root = open(absolute(path)?, DIRECTORY, Mode::empty()).map_err(failed)?;
    let buffer = Vec::with_capacity(BUFFER_BYTES);
    let mut walk = Walk { root, root_bytes: path.len(), buffer, count: 0, voice };
    walk.descend(path.to_vec(), depth)?;
    voice.say(&Answer::Done);
    Ok(())
}

impl Walk<'_> {
    fn descend(&mut self, mut path: Vec<u8>, depth: usize) -> Result<(), Failed> {
        let mut directory = self.open(&path)?;
        let mut level = Level { names: self.names(&directory)?, path_bytes: path.len() };
        let mut above: Vec<Level> = Vec::new();
        loop {
            path.truncate(level.path_bytes);
            let Some(name) = level.names.pop() else {
                let Some(upper) = above.pop() else { return Ok(()) };
                level = upper;
                path.truncate(level.path_bytes);
                if !level.names.is_empty() {
                    match self.open(&path) {
                        Ok(opened) => directory = opened,
                        Err((_, errno)) if vanished(errno) => level.names.clear(),
                        Err(failed) => return Err(failed),
                    }
                }
                continue;
            };
            if path.last() != Some(&b'/') {
                path.push(b'/');
            }
            path.extend(name.as_bytes());
            if path.len() > PATH_BYTES_MAX {
                return Err((Why::BadPath, Errno::NAMETOOLONG));
            }
            let entry = match entry::beneath(directory.as_fd(), &name, path.clone()) {
                Ok(entry) => entry,
                Err(errno) if vanished(errno) => continue,
                // Names may be read here, but what they name not looked at.
                Err(Errno::ACCESS) if !above.is_empty() => {
                    level.names.clear();
                    continue;
                }
                Err(errno) => return Err(failed(errno)),
            };
            let descends = entry.kind == Kind::Directory && above.len() + 1 < depth;
            self.voice.say(&Answer::Entry(entry));
            if descends && let Some((opened, names)) = self.enter(&path)? {
                above.push(mem::replace(&mut level, Level { names, path_bytes: path.len() }));
                directory = opened;
            }
        }
    }

    /// Opens the directory at `path`, which begins with the root's.
    fn open(&self, path: &[u8]) -> Result<OwnedFd, Failed> {
        let beneath = path[self.root_bytes..].strip_prefix(b"/").unwrap_or(&path[self.root_bytes..]);
        let beneath = if beneath.is_empty() { b"." } else { beneath };
        let through = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        openat2(&self.root, beneath, DIRECTORY, Mode::empty(), through).map_err(failed)
    }

    /// Opens a directory and reads what is in it. What may not be looked into, or is no directory any more, is told of
    /// and not entered.
    fn enter(&mut self, path: &[u8]) -> Result<Option<(OwnedFd, Vec<CString>)>, Failed> {
        let entered = self.open(path).and_then(|opened| {
            let names = self.names(&opened)?;
            Ok((opened, names))
        });
        match entered {
            Ok(entered) => Ok(Some(entered)),
            // What a process that has ended leaves in procfs says `EINVAL`.
            Err((_, Errno::ACCESS | Errno::INVAL)) => Ok(None),
            Err((_, errno)) if vanished(errno) => Ok(None),
            Err(failed) => Err(failed),
        }
    }

    /// All names in a directory, the first one last.
    fn names(&mut self, directory: &OwnedFd) -> Result<Vec<CString>, Failed> {
        let mut names = Vec::new();
        let mut entries = RawDir::new(directory, self.buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            self.count += 1;
            if self.count > LISTED_MAX {
                return Err((Why::TooMany, Errno::TOOBIG));
            }
            names.push(CString::from(name));
        }
        names.sort_unstable_by(|left, right| right.cmp(left));
        Ok(names)
    }
}

/// Whether an error says that something else has taken what was here away, or put something in its place.
fn vanished(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::SRCH)
}
