//! What a sandbox changed: the upper layer of its overlay, compared with the manifest of the original.
//!
//! The layer is hostile but for what the kernel alone writes there: a whiteout is a character device 0:0, which nobody
//! inside can make, and `user.overlay.*` attributes of the inside are escaped or refused by the overlay.

use super::attributes::{Attributes, taint_of};
use super::manifest::{Entry, Hash, Kind, Manifest, Time, hash_of};
use super::store::Store;
use super::{ENTRIES_MAX, Error};
use crate::beneath::{self, DEPTH_MAX, Listing};
use policy::Taint;
use rustix::fd::OwnedFd;
use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::ffi::CStr;

/// The longest path of a change: what one call of the kernel takes, and a name of ours beside it.
const PATH_BYTES_MAX: usize = 4000;

/// One difference between the original and the draft.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Change {
    /// Beneath the zone, names joined by `/`.
    pub path: Vec<u8>,
    /// What the original had there when the zone opened.
    pub was: Option<Entry>,
    /// What the draft has there.
    pub now: Node,
    /// What keeps it from being committed whatever the rules say.
    pub taint: Option<Taint>,
    /// When the kernel saw the change, if it is one of an entry that is still there.
    pub at: Option<Time>,
}

/// What a draft has at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Node {
    Gone,
    Directory,
    File { size: u64, executable: bool, hash: Option<Hash>, content: Option<u32> },
    Mode { executable: bool },
    Link { target: Vec<u8> },
    Special,
}

/// All differences, in the order of their paths. Without a store no content is kept, only counted.
pub(crate) fn scan(
    upper: &OwnedFd,
    manifest: &Manifest,
    store: Option<&mut Store>,
) -> Result<Vec<Change>, Error> {
    let mut scan = Scan { manifest, store, changes: Vec::new(), seen: 0 };
    scan.directory(upper, &mut Vec::new(), Lower::Shows, 0)?;
    scan.changes.sort_by(|one, other| one.path.cmp(&other.path));
    // A new directory that cannot be walked is found twice.
    scan.changes.dedup_by(|later, earlier| {
        let same = later.path == earlier.path;
        if same && earlier.taint.is_none() {
            earlier.taint = later.taint.take();
        }
        same
    });
    Ok(scan.changes)
}

/// Whether the original shows through a directory of the upper layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lower {
    Shows,
    Hidden,
}

struct Scan<'a> {
    manifest: &'a Manifest,
    store: Option<&'a mut Store>,
    changes: Vec<Change>,
    seen: usize,
}

impl Scan<'_> {
    fn directory(
        &mut self,
        directory: &OwnedFd,
        path: &mut Vec<u8>,
        lower: Lower,
        depth: usize,
    ) -> Result<(), Error> {
        let whole = self.change(path, Node::Directory, None);
        let taint = |taint| Change { taint: Some(taint), ..whole.clone() };
        if depth > DEPTH_MAX || path.len() > PATH_BYTES_MAX {
            let change = taint(Taint::Depth);
            return self.push(change);
        }
        let mut names = BTreeSet::new();
        let listing = match Listing::of(directory) {
            Ok(listing) => listing,
            Err(error) => {
                let change = taint(Taint::Unreadable(error.to_string()));
                return self.push(change);
            }
        };
        for name in listing {
            self.seen += 1;
            if self.seen > ENTRIES_MAX {
                return Err(Error::TooManyChanges);
            }
            match name {
                Ok(name) => drop(names.insert(name)),
                Err(error) => {
                    let change = taint(Taint::Unreadable(error.to_string()));
                    return self.push(change);
                }
            }
        }
        if lower == Lower::Hidden {
            let start = if path.is_empty() { 0 } else { path.len() + 1 };
            let manifest = self.manifest;
            for (old, _) in manifest.beneath(path) {
                let own = old[start..].split(|byte| *byte == b'/').next().unwrap_or_default();
                if own.len() == old.len() - start && !names.iter().any(|name| name.to_bytes() == own) {
                    self.gone(old, None)?;
                }
            }
        }
        let length = path.len();
        for name in names {
            if length > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(name.to_bytes());
            let done = self.one(directory, &name, path, lower, depth);
            path.truncate(length);
            done?;
        }
        Ok(())
    }

    fn one(
        &mut self,
        directory: &OwnedFd,
        name: &CStr,
        path: &mut Vec<u8>,
        lower: Lower,
        depth: usize,
    ) -> Result<(), Error> {
        let stat = match beneath::stat(directory, name) {
            Ok(stat) => stat,
            // In a living sandbox.
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return self.unreadable(path, Node::Special, &error.to_string()),
        };
        let at = Some((stat.st_ctime, stat.st_ctime_nsec as u32));
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::CharacterDevice if stat.st_rdev == 0 => self.gone(path, at),
            FileType::Directory => self.sub_directory(directory, name, &stat, path, lower, depth),
            FileType::RegularFile => self.file(directory, name, path),
            FileType::Symlink => {
                let target = match beneath::link_target(directory, name) {
                    Ok(target) => target,
                    Err(error) => return self.unreadable(path, Node::Special, &error.to_string()),
                };
                let was = self.manifest.entries.get(&path[..]);
                match was.map(|was| &was.kind) {
                    Some(Kind::Link { target: old }) if *old == target => Ok(()),
                    _ => self.push(self.change(path, Node::Link { target }, at)),
                }
            }
            kind => {
                let what = match kind {
                    FileType::Fifo => "a FIFO",
                    FileType::Socket => "a socket",
                    _ => "a device",
                };
                let taint = Some(Taint::Special(what.to_owned()));
                self.push(Change { taint, ..self.change(path, Node::Special, at) })
            }
        }
    }

    fn sub_directory(
        &mut self,
        directory: &OwnedFd,
        name: &CStr,
        stat: &Stat,
        path: &mut Vec<u8>,
        lower: Lower,
        depth: usize,
    ) -> Result<(), Error> {
        let was = self.manifest.entries.get(&path[..]);
        let is_new = was.is_none_or(|was| was.kind != Kind::Directory);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let own = match beneath::open(directory, name, flags, Mode::empty()) {
            Ok(own) => own,
            Err(error) => return self.unreadable(path, Node::Directory, &error.to_string()),
        };
        let attributes = Attributes::of(&own);
        let bits = stat.st_mode & 0o7000 & !was.map_or(0, |was| was.mode);
        let taint = match (bits, &attributes.forbidden) {
            (0, None) => None,
            (0, Some(name)) => Some(Taint::Attribute(name.clone())),
            (bits, _) => Some(Taint::ModeBits(bits)),
        };
        if is_new || taint.is_some() {
            let at = Some((stat.st_ctime, stat.st_ctime_nsec as u32));
            self.push(Change { taint, ..self.change(path, Node::Directory, at) })?;
        }
        let hidden = is_new || attributes.opaque || lower == Lower::Hidden;
        self.directory(&own, path, if hidden { Lower::Hidden } else { Lower::Shows }, depth + 1)
    }

    fn file(&mut self, directory: &OwnedFd, name: &CStr, path: &[u8]) -> Result<(), Error> {
        let unread = || Node::File { size: 0, executable: false, hash: None, content: None };
        let (file, stat) = match beneath::regular(directory, name) {
            Ok(opened) => opened,
            Err(error) => return self.unreadable(path, unread(), &error.to_string()),
        };
        let was = self.manifest.entries.get(path);
        let known = was.and_then(Entry::hash);
        let (size, executable) = (stat.st_size as u64, stat.st_mode & 0o111 != 0);
        let at = Some((stat.st_ctime, stat.st_ctime_nsec as u32));
        let taint = taint_of(&file, &stat);
        if known.is_some() && was.is_some_and(|was| was.size == size) {
            match hash_of(&file) {
                Ok((hash, _)) if Some(hash) == known => {
                    let new_mode = was.is_some_and(|was| was.executable() != executable);
                    // A second name for an unchanged file is a change of that name alone.
                    let tells = matches!(&taint, Some(Taint::ModeBits(_) | Taint::Attribute(_)));
                    return match new_mode || tells {
                        true => {
                            self.push(Change { taint, ..self.change(path, Node::Mode { executable }, at) })
                        }
                        false => Ok(()),
                    };
                }
                Ok(_) => {}
                Err(error) => return self.unreadable(path, unread(), &error.to_string()),
            }
            if let Err(error) = rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0)) {
                return self.unreadable(path, unread(), &error.to_string());
            }
        }
        let node = |size, hash, content| Node::File { size, executable, hash, content };
        let change = match self.store.as_deref_mut() {
            None => Change { taint, ..self.change(path, node(size, None, None), at) },
            Some(store) if size > store.bytes_left => {
                let why = format!("its {size} bytes are more than the disk limit leaves room for");
                let taint = Some(Taint::Unreadable(why));
                Change { taint, ..self.change(path, node(size, None, None), at) }
            }
            Some(store) => match store.copy(&file) {
                Ok((number, hash, size)) => {
                    Change { taint, ..self.change(path, node(size, Some(hash), Some(number)), at) }
                }
                Err(why) => {
                    let taint = Some(Taint::Unreadable(why));
                    Change { taint, ..self.change(path, node(size, None, None), at) }
                }
            },
        };
        self.push(change)
    }

    /// What the original had at `path` is gone, with all below it.
    fn gone(&mut self, path: &[u8], at: Option<Time>) -> Result<(), Error> {
        let manifest = self.manifest;
        let Some(_) = manifest.entries.get(path) else { return Ok(()) };
        self.push(self.change(path, Node::Gone, at))?;
        for (old, _) in manifest.beneath(path) {
            self.push(self.change(old, Node::Gone, at))?;
        }
        Ok(())
    }

    fn unreadable(&mut self, path: &[u8], node: Node, why: &str) -> Result<(), Error> {
        let taint = Some(Taint::Unreadable(why.to_owned()));
        self.push(Change { taint, ..self.change(path, node, None) })
    }

    fn change(&self, path: &[u8], now: Node, at: Option<Time>) -> Change {
        let was = self.manifest.entries.get(path).cloned();
        Change { path: path.to_vec(), was, now, taint: None, at }
    }

    fn push(&mut self, change: Change) -> Result<(), Error> {
        // What was a directory and is none: all that was in it is gone, too.
        let replaced = !matches!(change.now, Node::Directory | Node::Gone)
            && change.was.as_ref().is_some_and(|was| was.kind == Kind::Directory);
        let manifest = self.manifest;
        if replaced {
            for (old, _) in manifest.beneath(&change.path) {
                let gone = self.change(old, Node::Gone, change.at);
                self.changes.push(gone);
            }
        }
        self.changes.push(change);
        if self.changes.len() > ENTRIES_MAX { Err(Error::TooManyChanges) } else { Ok(()) }
    }
}
