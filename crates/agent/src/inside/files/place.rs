//! Makes directories, and gives things other names.

use super::{Failed, PIPE_BYTES, STILL, absolute, failed, parted};
use agent::protocol::Why;
use alloc::ffi::CString;
use core::ffi::CStr;
use rustix::fd::OwnedFd;
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, Stat, fchmod, fstat, futimens, mkdirat, openat, renameat, statat,
    unlinkat,
};
use rustix::fs::{Timespec, Timestamps, sendfile};
use rustix::io::Errno;
use rustix::path::DecInt;
use rustix::process::getpid;

/// Of directories that are made; the mask of this process takes nothing from it.
const MODE: Mode = Mode::from_raw_mode(0o755);
const PASSED: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

pub(super) fn make_directory(path: &[u8]) -> Result<(), Failed> {
    let whole = absolute(path)?;
    match mkdirat(CWD, &*whole, MODE) {
        Ok(()) => Ok(()),
        Err(Errno::EXIST) => Err(in_the_way(&whole)),
        Err(Errno::NOENT) => {
            let (parents, name) = parted(path)?;
            let directory = make_all(&parents)?;
            mkdirat(&directory, &*name, MODE).map_err(failed)
        }
        Err(errno) => Err(failed(errno)),
    }
}

/// Why there cannot be made a directory where there is something.
fn in_the_way(path: &CStr) -> Failed {
    match statat(CWD, path, AtFlags::empty()) {
        Ok(stat) if is(&stat, FileType::Directory) => failed(Errno::EXIST),
        _ => failed(Errno::NOTDIR),
    }
}

/// Opens a directory, after it has made it and all that it is in, where they are missing.
pub(super) fn make_all(path: &CStr) -> Result<OwnedFd, Failed> {
    let mut directory = openat(CWD, c"/", PASSED, Mode::empty()).map_err(failed)?;
    for name in path.to_bytes().split(|b| *b == b'/').filter(|name| !name.is_empty()) {
        let name = CString::new(name).map_err(|_| failed(Errno::INVAL))?;
        let next = match openat(&directory, &*name, PASSED, Mode::empty()) {
            Err(Errno::NOENT) => match mkdirat(&directory, &*name, MODE) {
                // Another may have been faster.
                Ok(()) | Err(Errno::EXIST) => openat(&directory, &*name, PASSED, Mode::empty()),
                Err(errno) => Err(errno),
            },
            opened => opened,
        };
        directory = next.map_err(failed)?;
    }
    Ok(directory)
}

pub(super) fn rename(from: &[u8], to: &[u8]) -> Result<(), Failed> {
    let (source, target) = (absolute(from)?, absolute(to)?);
    // Before anything is made for it.
    let stat = statat(CWD, &*source, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
    let mut moved = renameat(CWD, &*source, CWD, &*target);
    if moved == Err(Errno::NOENT) {
        make_all(&parted(to)?.0)?;
        moved = renameat(CWD, &*source, CWD, &*target);
    }
    match moved {
        Err(Errno::XDEV) if is(&stat, FileType::RegularFile) => carry(&source, to),
        Err(Errno::XDEV) => Err((Why::OtherMount, Errno::XDEV)),
        // A file takes no directory's place, nor the other way round.
        moved => moved.map_err(failed),
    }
}

/// Takes a regular file to another mount: a copy under a name beside the new one, which then takes its place.
fn carry(source: &CStr, to: &[u8]) -> Result<(), Failed> {
    let flags = STILL | OFlags::RDONLY | OFlags::NOFOLLOW;
    let old = openat(CWD, source, flags, Mode::empty()).map_err(failed)?;
    let stat = fstat(&old).map_err(failed)?;
    if !is(&stat, FileType::RegularFile) {
        return Err((Why::Changed, Errno::XDEV));
    }
    let (parents, name) = parted(to)?;
    let directory = openat(CWD, &*parents, PASSED, Mode::empty()).map_err(failed)?;
    let beside = beside()?;
    let flags = STILL | OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    let new = openat(&directory, &*beside, flags, Mode::RUSR | Mode::WUSR).map_err(failed)?;
    let placed = copy(&old, &new, &stat).and_then(|()| renameat(&directory, &*beside, &directory, &*name));
    if placed.is_err() {
        let _ = unlinkat(&directory, &*beside, AtFlags::empty());
    }
    placed.and_then(|()| unlinkat(CWD, source, AtFlags::empty())).map_err(failed)
}

/// No other of these processes has the same name for it.
fn beside() -> Result<CString, Failed> {
    let own = DecInt::new(getpid().as_raw_nonzero().get());
    CString::new([&b".moving-"[..], own.as_bytes()].concat()).map_err(|_| failed(Errno::INVAL))
}

fn copy(old: &OwnedFd, new: &OwnedFd, stat: &Stat) -> Result<(), Errno> {
    loop {
        match sendfile(new, old, None, PIPE_BYTES) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    let time = |tv_sec, tv_nsec| Timespec { tv_sec, tv_nsec };
    let times = Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec as i64),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec as i64),
    };
    fchmod(new, Mode::from_raw_mode(stat.st_mode & 0o777))?;
    futimens(new, &times)
}

pub(super) fn is(stat: &Stat, kind: FileType) -> bool {
    FileType::from_raw_mode(stat.st_mode) == kind
}
