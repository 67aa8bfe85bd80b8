//! Writes a file from the pipe.

use super::{Failed, PIECE_BYTES, STILL, absolute, entry, failed, parted, place};
use crate::sys::stdin;
use agent::protocol::{Entry, Why};
use alloc::vec;
use core::ffi::CStr;
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, FileType, Mode, OFlags, fchown, fstat, ftruncate, openat};
use rustix::io::{Errno, pwrite, read, retry_on_intr};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use rustix::thread::{Gid, Uid};

/// Of files that are made; the mask of this process takes nothing from it.
const MODE: Mode = Mode::from_raw_mode(0o644);
/// How many bytes wait in this process for the file.
const MOVED_BYTES: usize = 256 << 10;

/// A file that is open for writing.
enum Opened {
    Made(OwnedFd),
    Found(OwnedFd),
}

pub(super) fn write(path: &[u8], offset: Option<u64>, user: (u32, u32)) -> Result<Entry, Failed> {
    let whole = absolute(path)?;
    let opened = match open(&whole) {
        Err(Errno::NOENT) => {
            place::make_all(&parted(path)?.0)?;
            open(&whole)
        }
        opened => opened,
    };
    let file = match opened.map_err(failed)? {
        Opened::Made(file) => {
            // Changes nothing. Who watches the directory is told of it, between `created` and `written`: that is what
            // clients of this kind of service count on.
            let (uid, gid) = (Uid::from_raw(user.0), Gid::from_raw(user.1));
            fchown(&file, Some(uid), Some(gid)).map_err(failed)?;
            file
        }
        Opened::Found(file) => {
            let stat = fstat(&file).map_err(failed)?;
            if !place::is(&stat, FileType::RegularFile) {
                return Err((Why::NotRegular, Errno::INVAL));
            }
            if offset.is_none() {
                ftruncate(&file, 0).map_err(failed)?;
            }
            file
        }
    };
    receive(&file, offset.unwrap_or(0))?;
    Ok(entry::of(&fstat(&file).map_err(failed)?, path.to_vec()))
}

fn open(path: &CStr) -> Result<Opened, Errno> {
    let flags = OFlags::WRONLY | STILL;
    let make = flags | OFlags::CREATE;
    match openat(CWD, path, make | OFlags::EXCL, MODE) {
        Ok(file) => Ok(Opened::Made(file)),
        // Without `CREATE` first: in a directory like /tmp that would be refused for another's file, which the user may
        // well be allowed to write (proc(5), fs.protected_regular).
        Err(Errno::EXIST) => match openat(CWD, path, flags, Mode::empty()) {
            // A link to where nothing is.
            Err(Errno::NOENT) => openat(CWD, path, make, MODE).map(Opened::Found),
            opened => opened.map(Opened::Found),
        },
        Err(errno) => Err(errno),
    }
}

/// Writes all that arrives. What fits one piece is written at once, however it arrives.
fn receive(file: &OwnedFd, offset: u64) -> Result<(), Failed> {
    let mut piece = vec![0; PIECE_BYTES];
    let mut filled = 0;
    let mut at = offset;
    while filled < piece.len() {
        match retry_on_intr(|| read(stdin(), &mut piece[filled..])).map_err(failed)? {
            0 => return write_all(file, &piece[..filled], &mut at),
            count => filled += count,
        }
    }
    write_all(file, &piece, &mut at)?;
    // A pipe is locked while bytes are copied into or out of it. So what has arrived is first moved to a pipe that
    // nobody else uses, which copies nothing: the trusted side fills the one while this empties the other.
    let (here, inner) = pipe_with(PipeFlags::CLOEXEC).map_err(failed)?;
    // Past the user's quota of pipe pages the size stays as it is, and that only costs time.
    let _ = fcntl_setpipe_size(&inner, MOVED_BYTES);
    loop {
        let moved = retry_on_intr(|| splice(stdin(), None, &inner, None, MOVED_BYTES, SpliceFlags::MOVE));
        let mut left = moved.map_err(failed)?;
        if left == 0 {
            return Ok(());
        }
        while left > 0 {
            match retry_on_intr(|| splice(&here, None, file, Some(&mut at), left, SpliceFlags::MOVE)) {
                Ok(0) => return Err(failed(Errno::IO)),
                moved => left -= moved.map_err(failed)?,
            }
        }
    }
}

fn write_all(file: &OwnedFd, mut bytes: &[u8], at: &mut u64) -> Result<(), Failed> {
    while !bytes.is_empty() {
        let count = retry_on_intr(|| pwrite(file, bytes, *at)).map_err(failed)?;
        *at = at.saturating_add(count as u64);
        bytes = &bytes[count..];
    }
    Ok(())
}
