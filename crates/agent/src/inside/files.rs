//! Pieces of files, read and written with the asked user's rights.

use super::user::Rights;
use agent::protocol::{CHUNK_BYTES_MAX, FileStage, Read, Reply, Write};
use alloc::ffi::CString;
use alloc::vec;
use alloc::vec::Vec;
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, FileType, Mode, OFlags, PROC_SUPER_MAGIC, fstat, fstatfs, ftruncate, openat};
use rustix::io::{Errno, pread, pwrite, retry_on_intr};

type Failed = (FileStage, Errno);

/// Answers a request to read.
pub(crate) fn read(request: &Read, rights: Rights) -> Reply {
    let id = request.id;
    match read_piece(request, rights) {
        Ok((bytes, end)) => Reply::Bytes { id, bytes, end },
        Err((stage, errno)) => Reply::Failed { id, errno: errno.raw_os_error(), stage },
    }
}

/// Answers a request to write.
pub(crate) fn write(request: &Write, rights: Rights) -> Reply {
    let id = request.id;
    match write_piece(request, rights) {
        Ok(()) => Reply::Written { id },
        Err((stage, errno)) => Reply::Failed { id, errno: errno.raw_os_error(), stage },
    }
}

fn read_piece(request: &Read, rights: Rights) -> Result<(Vec<u8>, bool), Failed> {
    let path = absolute(&request.path)?;
    let mut bytes = vec![0; chunk(request.len as usize)?];
    let user = rights.user(request.uid, request.gid).map_err(|errno| (FileStage::User, errno))?;
    let act = || -> Result<(usize, bool), Failed> {
        let file = open_regular(&path, OFlags::RDONLY, Mode::empty())?;
        let mut filled = 0;
        while filled < bytes.len() {
            let at = request.offset.saturating_add(filled as u64);
            match retry_on_intr(|| pread(&file, &mut bytes[filled..], at)) {
                Ok(0) => return Ok((filled, true)),
                Ok(count) => filled += count,
                Err(errno) => return Err((FileStage::Read, errno)),
            }
        }
        Ok((filled, false))
    };
    let (filled, end) = user.with_files(act).ok_or((FileStage::User, Errno::PERM))??;
    bytes.truncate(filled);
    Ok((bytes, end))
}

fn write_piece(request: &Write, rights: Rights) -> Result<(), Failed> {
    let path = absolute(&request.path)?;
    chunk(request.bytes.len())?;
    let mode = Mode::from_bits(request.mode).filter(|m| (Mode::RWXU | Mode::RWXG | Mode::RWXO).contains(*m));
    let mode = mode.ok_or((FileStage::Request, Errno::INVAL))?;
    let user = rights.user(request.uid, request.gid).map_err(|errno| (FileStage::User, errno))?;
    let act = || -> Result<(), Failed> {
        let at_write = |errno| (FileStage::Write, errno);
        let file = open_regular(&path, OFlags::WRONLY | OFlags::CREATE, mode)?;
        if request.truncate {
            ftruncate(&file, 0).map_err(at_write)?;
        }
        let mut written = 0;
        while written < request.bytes.len() {
            let at = request.offset.saturating_add(written as u64);
            let rest = &request.bytes[written..];
            written += retry_on_intr(|| pwrite(&file, rest, at)).map_err(at_write)?;
        }
        Ok(())
    };
    user.with_files(act).ok_or((FileStage::User, Errno::PERM))?
}

/// Opens a regular file and nothing else.
///
/// Neither waits (a pipe) nor acts (a device, a terminal that would become the agent's). Nothing of procfs either:
/// much of what that tells depends on who asks, so a directory that links to `/proc/self` would make a harmless
/// `DIR/mem` the agent's own memory.
fn open_regular(path: &CString, access: OFlags, mode: Mode) -> Result<OwnedFd, Failed> {
    let still = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file =
        openat(CWD, path.as_c_str(), access | still, mode).map_err(|errno| (FileStage::Open, errno))?;
    let refuse = |errno| Err((FileStage::Kind, errno));
    match fstat(&file).map(|stat| FileType::from_raw_mode(stat.st_mode)) {
        Ok(FileType::RegularFile) => {}
        Ok(FileType::Directory) => return refuse(Errno::ISDIR),
        Ok(_) => return refuse(Errno::INVAL),
        Err(errno) => return refuse(errno),
    }
    match fstatfs(&file) {
        Ok(found) if found.f_type == PROC_SUPER_MAGIC => refuse(Errno::ACCESS),
        Ok(_) => Ok(file),
        Err(errno) => refuse(errno),
    }
}

fn absolute(path: &[u8]) -> Result<CString, Failed> {
    let path = CString::new(path).ok().filter(|p| p.to_bytes().starts_with(b"/"));
    path.ok_or((FileStage::Request, Errno::INVAL))
}

fn chunk(length: usize) -> Result<usize, Failed> {
    if length <= CHUNK_BYTES_MAX { Ok(length) } else { Err((FileStage::Request, Errno::INVAL)) }
}
