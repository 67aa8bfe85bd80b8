//! What work on files does, in a process that has the user's rights and no others.

mod entry;
mod list;
mod place;
mod read;
mod remove;
mod voice;
mod write;

pub(crate) use voice::Voice;

use agent::protocol::{Answer, Op, PATH_BYTES_MAX, Why};
use alloc::ffi::CString;
use rustix::fs::OFlags;
use rustix::io::Errno;

/// Why something was not done, and the error behind it.
pub(crate) type Failed = (Why, Errno);

/// How many bytes are moved at a time: what a pipe holds at most.
const PIPE_BYTES: usize = 1 << 20;
/// How much of a file is moved in one piece, through memory.
const PIECE_BYTES: usize = 64 << 10;
/// Every file is opened so: it neither waits (a pipe) nor becomes the terminal of a process.
const STILL: OFlags = OFlags::NONBLOCK.union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// Does `op` as the user of this process, whose ids are `user`, and says all about it but why it failed.
pub(crate) fn perform(op: &Op, user: (u32, u32), voice: &mut Voice) -> Result<(), Failed> {
    match op {
        Op::Stat { path } => voice.say(&Answer::Entry(entry::at(path)?)),
        Op::List { path, depth } => list::list(path, *depth, voice)?,
        Op::MakeDir { path } => {
            place::make_directory(path)?;
            voice.say(&Answer::Entry(entry::at(path)?));
        }
        Op::Move { from, to } => {
            place::rename(from, to)?;
            voice.say(&Answer::Entry(entry::at(to)?));
        }
        Op::Remove { path } => {
            remove::remove(path)?;
            voice.say(&Answer::Done);
        }
        Op::Read { path, offset, bytes_max } => read::read(path, *offset, *bytes_max, voice)?,
        Op::Write { path, offset } => {
            let entry = write::write(path, *offset, user)?;
            voice.say(&Answer::Entry(entry));
        }
    }
    Ok(())
}

/// Sorts an error of the kernel.
fn failed(errno: Errno) -> Failed {
    let why = match errno {
        Errno::NOENT => Why::Missing,
        Errno::EXIST => Why::Exists,
        Errno::NOTDIR => Why::NotADirectory,
        Errno::ISDIR => Why::IsADirectory,
        Errno::ACCESS | Errno::PERM | Errno::ROFS => Why::Denied,
        Errno::NOSPC | Errno::DQUOT | Errno::FBIG => Why::NoSpace,
        Errno::NAMETOOLONG | Errno::INVAL | Errno::LOOP => Why::BadPath,
        // A pipe without a reader, a device without a driver.
        Errno::NXIO | Errno::NODEV => Why::NotRegular,
        _ => Why::Other,
    };
    (why, errno)
}

fn absolute(path: &[u8]) -> Result<CString, Failed> {
    if path.len() > PATH_BYTES_MAX {
        return Err((Why::BadPath, Errno::NAMETOOLONG));
    }
    let path = CString::new(path).ok().filter(|p| p.to_bytes().starts_with(b"/"));
    path.ok_or((Why::BadPath, Errno::INVAL))
}

/// Splits a path into the directory that something is in, and its name there.
fn parted(path: &[u8]) -> Result<(CString, CString), Failed> {
    absolute(path)?;
    let end = path.iter().rposition(|b| *b != b'/').map_or(0, |last| last + 1);
    let begin = path[..end].iter().rposition(|b| *b == b'/').map_or(0, |slash| slash + 1);
    let name = &path[begin..end];
    if name.is_empty() || name == b"." || name == b".." {
        return Err((Why::BadPath, Errno::INVAL));
    }
    // Neither has a NUL: the whole had none.
    let terminated = |bytes: &[u8]| CString::new(bytes).map_err(|_| (Why::BadPath, Errno::INVAL));
    Ok((terminated(&path[..begin])?, terminated(name)?))
}
