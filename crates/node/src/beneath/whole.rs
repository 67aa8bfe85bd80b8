//! Files that appear under their name whole or not at all.

use super::open;
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, SeekFrom};
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};
use std::ffi::{CStr, CString};

const CHUNK_BYTES: usize = 1 << 20;

/// Writes a file that has no name yet and then gives it its own: whoever reads the name sees the old file or the new
/// one, and a kill half-way leaves nothing.
pub(crate) fn write_whole(
    source: &OwnedFd,
    to: &OwnedFd,
    name: &CStr,
    executable: bool,
) -> Result<u64, Errno> {
    let mode = Mode::from_raw_mode(if executable { 0o777 } else { 0o666 });
    let target = match open(to, c".", OFlags::WRONLY | OFlags::TMPFILE, mode) {
        // Not every file system has files without a name.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOENT) => {
            return named_file(source, to, name, mode);
        }
        other => other?,
    };
    let bytes = copy(source, &target)?;
    match link(&target, to, name) {
        Ok(()) => Ok(bytes),
        // A link replaces nothing; a renamed one does.
        Err(Errno::EXIST) => {
            let beside = random_name()?;
            link(&target, to, &beside)?;
            take_place(to, &beside, name).map(|()| bytes)
        }
        // Without /proc, say. What was copied goes with its descriptor.
        Err(_) => {
            rustix::fs::seek(source, SeekFrom::Start(0))?;
            named_file(source, to, name, mode)
        }
    }
}

/// The same by a file that has a name nobody can know before, where there is no other way. A kill half-way leaves it.
fn named_file(source: &OwnedFd, to: &OwnedFd, name: &CStr, mode: Mode) -> Result<u64, Errno> {
    let half = random_name()?;
    let target = open(to, &half, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL, mode)?;
    match copy(source, &target) {
        Ok(bytes) => take_place(to, &half, name).map(|()| bytes),
        Err(error) => {
            let _ = rustix::fs::unlinkat(to, &half, AtFlags::empty());
            Err(error)
        }
    }
}

fn take_place(to: &OwnedFd, from: &CStr, name: &CStr) -> Result<(), Errno> {
    rustix::fs::renameat(to, from, to, name).inspect_err(|_| {
        let _ = rustix::fs::unlinkat(to, from, AtFlags::empty());
    })
}

/// Gives a file without a name this one. By its descriptor alone only a process with special rights may.
fn link(file: &OwnedFd, to: &OwnedFd, name: &CStr) -> Result<(), Errno> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    rustix::fs::linkat(CWD, path, to, name, AtFlags::SYMLINK_FOLLOW)
}

/// A name for a moment, `.casemate-` and 16 hexadecimal digits: whoever else may write here cannot have taken it.
fn random_name() -> Result<CString, Errno> {
    let mut bytes = [0; 8];
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    CString::new(format!(".casemate-{:016x}", u64::from_ne_bytes(bytes))).map_err(|_| Errno::INVAL)
}

pub(crate) fn copy(source: &OwnedFd, target: &OwnedFd) -> Result<u64, Errno> {
    let mut total = 0;
    loop {
        match rustix::fs::sendfile(target.as_fd(), source.as_fd(), None, CHUNK_BYTES) {
            Ok(0) => return Ok(total),
            Ok(length) => total += length as u64,
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::path::Path;
    use tempfile::TempDir;

    type Way = fn(&OwnedFd, &OwnedFd, &CStr, bool) -> Result<u64, Errno>;

    fn by_name(source: &OwnedFd, to: &OwnedFd, name: &CStr, executable: bool) -> Result<u64, Errno> {
        named_file(source, to, name, Mode::from_raw_mode(if executable { 0o777 } else { 0o666 }))
    }

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(directory).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn opened(path: &Path) -> OwnedFd {
        fs::File::open(path).unwrap().into()
    }

    #[test]
    fn a_file_takes_its_place_whole_and_leaves_nothing_beside_it() {
        for way in [write_whole as Way, by_name] {
            let place = TempDir::new().unwrap();
            let (target, from) = (place.path().join("target"), place.path().join("from"));
            fs::create_dir(&target).unwrap();
            let to = opened(&target);
            for (text, executable) in [("new", false), ("newer", true)] {
                fs::write(&from, text).unwrap();
                let before = fs::metadata(target.join("name")).ok().map(|found| found.ino());
                assert_eq!(way(&opened(&from), &to, c"name", executable), Ok(text.len() as u64));
                assert_eq!(fs::read_to_string(target.join("name")).unwrap(), text);
                let after = fs::metadata(target.join("name")).unwrap();
                // Whoever has the old one open keeps it as it was.
                assert_ne!(before, Some(after.ino()));
                assert_eq!(after.permissions().mode() & 0o100 != 0, executable);
                assert_eq!((names(&target), after.nlink()), (vec!["name".to_owned()], 1));
            }
            // A link is replaced, never written through; a directory is not.
            fs::write(place.path().join("outside"), "mine").unwrap();
            symlink("../outside", target.join("link")).unwrap();
            fs::create_dir(target.join("directory")).unwrap();
            assert_eq!(way(&opened(&from), &to, c"link", false), Ok(5));
            assert!(fs::symlink_metadata(target.join("link")).unwrap().is_file());
            assert_eq!(fs::read_to_string(place.path().join("outside")).unwrap(), "mine");
            assert_eq!(way(&opened(&from), &to, c"directory", false), Err(Errno::ISDIR));
            assert_eq!(names(&target), ["directory", "link", "name"]);
        }
    }
}
