//! Copies the files of a write zone to the host, after the sandbox is gone and can change them no more.
//!
//! Regular files and directories go out. Links, devices, FIFOs and sockets stay behind and are listed: on the host
//! each would mean something that it did not mean inside. A file appears under its name whole or not at all, is the
//! caller's, and keeps no set-user-id bit.

use crate::beneath;
use crate::effects::HandOut;
use ledger::Recorded;
use model::quote;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::{CStr, CString};

/// So many names of what was left behind are kept.
const REFUSED_MAX: usize = 100;

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
    if path.len() > beneath::DEPTH_MAX {
        return refuse(path, "too deep", out);
    }
    let listing = match beneath::Listing::of(from) {
        Ok(listing) => listing,
        Err(error) => return refuse(path, &error.to_string(), out),
    };
    for name in listing {
        let Ok(name) = name else { return refuse(path, "cannot be listed to its end", out) };
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
    let stat = beneath::stat(from, name).map_err(|error| error.to_string())?;
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
            let bytes = beneath::write_whole(&source, to, name, executable)
                .map_err(|e| format!("on the host: {e}"))?;
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

fn refuse(path: &[CString], why: &str, out: &mut HandedOut) {
    out.refused_count += 1;
    if out.refused_count <= REFUSED_MAX {
        let names: Vec<String> = path.iter().map(|name| quote(name.as_bytes())).collect();
        out.refused.push(format!("{}: {why}", names.join("/")));
    }
}
