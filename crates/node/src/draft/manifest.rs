//! What an original was when its zone opened: enough of each entry to notice later that it is another one.

use super::{ENTRIES_MAX, Error, For, HASHED_BYTES_MAX, HASHED_TOTAL_BYTES_MAX};
use crate::beneath::{self, DEPTH_MAX, Listing};
use model::quote;
use rustix::fd::OwnedFd;
use rustix::fs::{FileType, Stat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::ops::Bound;

/// A moment of a file: seconds and nanoseconds, as the kernel keeps it.
pub(crate) type Time = (i64, u32);

/// The hash of a file's content.
pub(crate) type Hash = [u8; 32];

/// One entry of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub kind: Kind,
    pub mode: u32,
    pub ino: u64,
    pub size: u64,
    pub mtime: Time,
    pub ctime: Time,
}

/// What an entry is, and what of its content is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    File { hash: Option<Hash> },
    Directory,
    Link { target: Vec<u8> },
    Special,
}

/// All entries beneath a directory, by their paths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// Device and inode of the directory itself.
    pub root: (u64, u64),
    pub entries: BTreeMap<Vec<u8>, Entry>,
}

impl Manifest {
    /// Walks `root`. What the caller may not list has no entries below; the sandbox does not see those either.
    pub(crate) fn take(root: &OwnedFd) -> Result<Manifest, Error> {
        let stat = rustix::fs::fstat(root).call(|| "fstat(draft)".to_owned())?;
        let mut walk = Walk { entries: BTreeMap::new(), left: HASHED_TOTAL_BYTES_MAX };
        // The zone's descriptor may be one that only stands for the place.
        let own = beneath::directory(root, b"").call(|| "open(draft)".to_owned())?;
        walk.directory(&own, &mut Vec::new(), 0)?;
        Ok(Manifest { root: (stat.st_dev, stat.st_ino), entries: walk.entries })
    }

    /// A digest of all of it.
    pub(crate) fn digest(&self) -> String {
        policy::hash_of(&postcard::to_stdvec(&self.entries).unwrap_or_default())
    }

    /// The entries beneath the directory `path`, without itself.
    pub(crate) fn beneath(&self, path: &[u8]) -> impl Iterator<Item = (&Vec<u8>, &Entry)> {
        let (first, end) = ([path, b"/"].concat(), [path, b"0"].concat());
        let from = if path.is_empty() { Bound::Unbounded } else { Bound::Excluded(first) };
        let to = if path.is_empty() { Bound::Unbounded } else { Bound::Excluded(end) };
        self.entries.range::<Vec<u8>, _>((from, to))
    }
}

impl Entry {
    /// The entry that `name` in `directory` is; the hash of a file's content is left out.
    pub(crate) fn of(directory: &OwnedFd, name: &std::ffi::CStr) -> Result<Entry, Errno> {
        loop {
            let stat = beneath::stat(directory, name)?;
            let kind = match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => Kind::File { hash: None },
                FileType::Directory => Kind::Directory,
                FileType::Symlink => match beneath::link_target(directory, name) {
                    // Something else has taken its name meanwhile.
                    Err(Errno::INVAL) => continue,
                    target => Kind::Link { target: target? },
                },
                _ => Kind::Special,
            };
            return Ok(Entry { kind, ..Entry::plain(&stat) });
        }
    }

    pub(crate) fn plain(stat: &Stat) -> Entry {
        Entry {
            kind: Kind::Special,
            mode: stat.st_mode & 0o7777,
            ino: stat.st_ino,
            size: stat.st_size as u64,
            mtime: (stat.st_mtime, stat.st_mtime_nsec as u32),
            ctime: (stat.st_ctime, stat.st_ctime_nsec as u32),
        }
    }

    pub(crate) fn executable(&self) -> bool {
        self.mode & 0o111 != 0
    }

    pub(super) fn is_file(&self) -> bool {
        matches!(self.kind, Kind::File { .. })
    }

    pub(crate) fn hash(&self) -> Option<Hash> {
        match self.kind {
            Kind::File { hash } => hash,
            _ => None,
        }
    }
}

/// The hash of what is left to read of `file`, and how much that was.
pub(crate) fn hash_of(file: &OwnedFd) -> Result<(Hash, u64), Errno> {
    let (mut hasher, mut total) = (Sha256::new(), 0);
    let mut buffer = vec![0; 64 << 10];
    loop {
        match rustix::io::read(file, &mut buffer[..]) {
            Ok(0) => return Ok((hasher.finalize().into(), total)),
            Ok(length) => {
                hasher.update(&buffer[..length]);
                total += length as u64;
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

struct Walk {
    entries: BTreeMap<Vec<u8>, Entry>,
    left: u64,
}

impl Walk {
    fn directory(&mut self, directory: &OwnedFd, path: &mut Vec<u8>, depth: usize) -> Result<(), Error> {
        if depth > DEPTH_MAX {
            return Err(Error::TooDeep { path: quote(&path[..path.len().min(200)]) });
        }
        let call = |path: &[u8]| format!("list(`{}`)", quote(path));
        let mut names = Vec::new();
        for name in Listing::of(directory).call(|| call(path))? {
            if self.entries.len() + names.len() >= ENTRIES_MAX {
                return Err(Error::TooMany);
            }
            names.push(name.call(|| call(path))?);
        }
        let length = path.len();
        for name in names {
            if length > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(name.to_bytes());
            let done = self.one(directory, &name, path, depth);
            path.truncate(length);
            done?;
        }
        Ok(())
    }

    fn one(
        &mut self,
        directory: &OwnedFd,
        name: &std::ffi::CStr,
        path: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), Error> {
        let mut entry = match Entry::of(directory, name) {
            Ok(entry) => entry,
            // It went while we looked.
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(error).call(|| format!("stat(`{}`)", quote(&path))),
        };
        if self.entries.len() >= ENTRIES_MAX {
            return Err(Error::TooMany);
        }
        let below = match &mut entry.kind {
            Kind::File { hash } if entry.size <= HASHED_BYTES_MAX && entry.size <= self.left => {
                // One that cannot be read, or that changes meanwhile, is compared by its times.
                if let Ok((file, stat)) = beneath::regular(directory, name)
                    && (stat.st_ino, stat.st_size as u64) == (entry.ino, entry.size)
                    && let Ok((content, length)) = hash_of(&file)
                    && length == entry.size
                {
                    *hash = Some(content);
                    self.left -= length;
                }
                None
            }
            Kind::Directory => {
                let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY;
                match beneath::open(directory, name, flags, rustix::fs::Mode::empty()) {
                    Ok(below) => Some(below),
                    Err(Errno::ACCESS | Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => None,
                    Err(error) => return Err(error).call(|| format!("open(`{}`)", quote(&path))),
                }
            }
            _ => None,
        };
        self.entries.insert(path.clone(), entry);
        below.map_or(Ok(()), |below| self.directory(&below, path, depth + 1))
    }
}
