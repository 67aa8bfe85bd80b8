//! Copies the files of a write zone to the host, after the sandbox is gone and can change them no more.
//!
//! Regular files and directories go out. Links, devices, FIFOs and sockets stay behind and are listed: on the host
//! each would mean something that it did not mean inside. A file appears under its name whole or not at all, is the
//! caller's, and keeps no set-user-id bit.

use crate::beneath;
use crate::effects::HandOut;
use ledger::Recorded;
use model::quote;
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, SeekFrom};
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};
use std::ffi::{CStr, CString};

/// A directory tree deeper than this is left behind below that depth; each level holds three descriptors open.
const DEPTH_MAX: usize = 128;
/// So many names of what was left behind are kept.
const REFUSED_MAX: usize = 100;
const CHUNK_BYTES: usize = 1 << 20;

/// What went out.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct HandedOut {
    pub files: u64,
    pub bytes: u64,
    /// What was left behind and why, quoted; the first 100.
    pub refused: Vec<String>,
    refused_count: usize,
    bytes_max: u64,
}

/// Who may read what the sandbox's users kept to themselves.
pub(crate) enum Reader<'a> {
    /// This process: it is root, or it is that user.
    Caller,
    /// A process with rights over this user namespace.
    Namespace(&'a OwnedFd),
}

/// Copies everything beneath `zone` to beneath `target`, up to `bytes_max`: what the sandbox's disk can hold. (A file
/// with a hole of a terabyte takes no room there, and would here.) That it happens is on record.
pub(crate) fn hand_out(
    recorded: Recorded<HandOut>,
    zone: &OwnedFd,
    target: &OwnedFd,
    bytes_max: u64,
    reader: &Reader<'_>,
) -> Result<HandedOut, jail::Error> {
    drop(recorded);
    let all = || {
        // The sandbox may have closed it to itself.
        let _ = rustix::fs::fchmod(zone, Mode::from_raw_mode(0o700));
        let mut out = HandedOut { bytes_max, ..HandedOut::default() };
        directory(zone, target, &mut Vec::new(), &mut out);
        if out.refused_count > REFUSED_MAX {
            out.refused.push(format!("and {} more", out.refused_count - REFUSED_MAX));
        }
        out
    };
    match reader {
        Reader::Caller => Ok(all()),
        Reader::Namespace(namespace) => {
            jail::with_rights_over(namespace, || all().to_lines()).map(|lines| HandedOut::from_lines(&lines))
        }
    }
}

impl HandedOut {
    fn to_lines(&self) -> Vec<u8> {
        format!("{}\n{}\n{}", self.files, self.bytes, self.refused.join("\n")).into_bytes()
    }

    /// What [`HandedOut::to_lines`] wrote, in another process of ours. A quoted name holds no line break.
    fn from_lines(bytes: &[u8]) -> HandedOut {
        let text = String::from_utf8_lossy(bytes);
        let mut lines = text.lines();
        let mut number = || lines.next().and_then(|line| line.parse().ok()).unwrap_or(0);
        let (files, bytes) = (number(), number());
        HandedOut { files, bytes, refused: lines.map(str::to_owned).collect(), ..HandedOut::default() }
    }
}

fn directory(from: &OwnedFd, to: &OwnedFd, path: &mut Vec<CString>, out: &mut HandedOut) {
    if path.len() > DEPTH_MAX {
        return refuse(path, "too deep", out);
    }
    // A private copy of the descriptor's position: the listing must start at the beginning.
    let listing = match beneath::open(from, c".", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()) {
        Ok(listing) => listing,
        Err(error) => return refuse(path, &error.to_string(), out),
    };
    let Ok(entries) = Dir::new(listing) else { return refuse(path, "cannot be listed", out) };
    for entry in entries {
        let Ok(entry) = entry else { return refuse(path, "cannot be listed to its end", out) };
        let name = entry.file_name().to_owned();
        if matches!(name.as_bytes(), b"." | b"..") {
            continue;
        }
        path.push(name);
        let name = &path[path.len() - 1].clone();
        if let Err(why) = one(from, to, name, path, out) {
            refuse(path, &why, out);
        }
        path.pop();
    }
}

fn one(
    from: &OwnedFd,
    to: &OwnedFd,
    name: &CStr,
    path: &mut Vec<CString>,
    out: &mut HandedOut,
) -> Result<(), String> {
    let stat =
        rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|error| error.to_string())?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            let inner =
                readable(from, name, OFlags::RDONLY | OFlags::DIRECTORY, 0o700).map_err(|e| e.to_string())?;
            let outer = beneath::open_or_make_directory(to, name).map_err(|e| format!("on the host: {e}"))?;
            directory(&inner, &outer, path, out);
            Ok(())
        }
        FileType::RegularFile => {
            let source = readable(from, name, OFlags::RDONLY, 0o400).map_err(|e| e.to_string())?;
            if stat.st_size as u64 > out.bytes_max.saturating_sub(out.bytes) {
                return Err(format!(
                    "{} bytes, which with the rest is more than the disk limit",
                    stat.st_size
                ));
            }
            let executable = stat.st_mode & 0o100 != 0;
            let bytes = file(&source, to, name, executable).map_err(|e| format!("on the host: {e}"))?;
            out.files += 1;
            out.bytes += bytes;
            Ok(())
        }
        FileType::Symlink => Err("a symbolic link".to_owned()),
        _ => Err("neither a file nor a directory".to_owned()),
    }
}

/// Opens what the sandbox may have closed to itself: the file is its owner's to give, and its owner is gone.
fn readable(from: &OwnedFd, name: &CStr, flags: OFlags, mode: u32) -> Result<OwnedFd, Errno> {
    match beneath::open(from, name, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            rustix::fs::chmodat(from, name, Mode::from_raw_mode(mode), AtFlags::empty())?;
            beneath::open(from, name, flags, Mode::empty())
        }
        other => other,
    }
}

/// Writes a file that has no name yet and then gives it its own: whoever reads the name sees the old file or the new
/// one, and a kill half-way leaves nothing.
fn file(source: &OwnedFd, to: &OwnedFd, name: &CStr, executable: bool) -> Result<u64, Errno> {
    let mode = Mode::from_raw_mode(if executable { 0o777 } else { 0o666 });
    let target = match beneath::open(to, c".", OFlags::WRONLY | OFlags::TMPFILE, mode) {
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
    let target = beneath::open(to, &half, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL, mode)?;
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

fn copy(source: &OwnedFd, target: &OwnedFd) -> Result<u64, Errno> {
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

fn refuse(path: &[CString], why: &str, out: &mut HandedOut) {
    out.refused_count += 1;
    if out.refused_count <= REFUSED_MAX {
        let names: Vec<String> = path.iter().map(|name| quote(name.as_bytes())).collect();
        out.refused.push(format!("{}: {why}", names.join("/")));
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
        for way in [file as Way, by_name] {
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
