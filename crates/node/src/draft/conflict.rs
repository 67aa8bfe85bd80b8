//! Whether the original still is, at one path, what it was when the zone opened.

use super::manifest::{Entry, Hash, Kind, hash_of};
use crate::beneath;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use std::ffi::CStr;

/// Compares what is at `name` in `directory` with what was. Gives what is there now.
pub(super) fn same(directory: &OwnedFd, name: &CStr, was: Option<&Entry>) -> Result<Option<Entry>, String> {
    let found = match Entry::of(directory, name) {
        Ok(found) => Some(found),
        Err(Errno::NOENT) => None,
        Err(error) => return Err(format!("it cannot be looked at: {error}")),
    };
    match (was, found) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err("something has this name now".to_owned()),
        (Some(_), None) => Err("it is gone".to_owned()),
        (Some(was), Some(found)) => {
            differs(directory, name, was, &found).map_or(Ok(Some(found)), |why| Err(why.to_owned()))
        }
    }
}

fn differs(directory: &OwnedFd, name: &CStr, was: &Entry, found: &Entry) -> Option<&'static str> {
    match (&was.kind, &found.kind) {
        (Kind::Directory, Kind::Directory) => None,
        (Kind::Link { target: was }, Kind::Link { target }) => {
            (was != target).then_some("the link leads elsewhere")
        }
        (Kind::File { hash }, Kind::File { .. }) => {
            if was.mode != found.mode {
                return Some("its mode was changed");
            }
            if was.size != found.size {
                return Some("its content was changed");
            }
            match hash {
                // A file that was only touched, or written anew with what it had, is the same.
                Some(hash) => (content(directory, name) != Some(*hash)).then_some("its content was changed"),
                None => {
                    let times = |entry: &Entry| (entry.ino, entry.mtime, entry.ctime);
                    (times(was) != times(found)).then_some("it was written or touched")
                }
            }
        }
        (Kind::Special, Kind::Special) => (was.ino != found.ino).then_some("another one has its name"),
        _ => Some("it is of another kind now"),
    }
}

fn content(directory: &OwnedFd, name: &CStr) -> Option<Hash> {
    let (file, _) = beneath::regular(directory, name).ok()?;
    hash_of(&file).ok().map(|(hash, _)| hash)
}
