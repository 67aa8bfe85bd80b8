//! Reads a file into the pipe.

use super::{Failed, PIECE_BYTES, PIPE_BYTES, STILL, Voice, absolute, entry, failed};
use crate::sys::stdout;
use agent::protocol::{Answer, Why};
use alloc::vec;
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::io::{Errno, pread, retry_on_intr};
use rustix::pipe::{SpliceFlags, splice};

pub(super) fn read(path: &[u8], offset: u64, bytes_max: u64, voice: &mut Voice) -> Result<(), Failed> {
    let file = openat(CWD, absolute(path)?, OFlags::RDONLY | STILL, Mode::empty()).map_err(failed)?;
    let stat = fstat(&file).map_err(failed)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {}
        FileType::Directory => return Err(failed(Errno::ISDIR)),
        _ => return Err((Why::NotRegular, Errno::INVAL)),
    }
    let entry = entry::of(&stat, path.to_vec());
    let mut piece = vec![0; PIECE_BYTES.min(usize::try_from(bytes_max).unwrap_or(usize::MAX))];
    let filled = fill(&file, &mut piece, offset)?;
    let (piece, seen) = (&piece[..filled], filled as u64);
    let rest = entry.size.saturating_sub(offset).min(bytes_max);
    // Files of procfs are as long as they turn out to be; those of sysfs say that they are a page, and have no blocks.
    let bytes = match seen {
        _ if filled < PIECE_BYTES || seen == bytes_max => Some(seen),
        _ if stat.st_blocks > 0 && rest >= seen => Some(rest),
        _ => None,
    };
    voice.say(&Answer::Reading { entry, bytes });
    voice.give(piece);
    voice.flush().map_err(failed)?;
    let (at, left) = (offset.saturating_add(seen), bytes.unwrap_or(bytes_max) - seen);
    let sent = send(&file, at, left, voice)?;
    // It became shorter: not all that was announced can follow.
    if bytes.is_some() && sent < left { Err((Why::Changed, Errno::NODATA)) } else { Ok(()) }
}

/// Fills `piece` from `offset` on, up to the end of the file.
fn fill(file: &OwnedFd, piece: &mut [u8], offset: u64) -> Result<usize, Failed> {
    let mut filled = 0;
    while filled < piece.len() {
        let at = offset.saturating_add(filled as u64);
        // Further than the kernel counts there is nothing.
        if at > i64::MAX as u64 {
            break;
        }
        match retry_on_intr(|| pread(file, &mut piece[filled..], at)).map_err(failed)? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}

/// Moves up to `left` bytes from `offset` on into the pipe; gives how many there were.
fn send(file: &OwnedFd, offset: u64, left: u64, voice: &mut Voice) -> Result<u64, Failed> {
    let (mut at, mut sent) = (offset, 0);
    while sent < left {
        let most = usize::try_from(left - sent).unwrap_or(usize::MAX).min(PIPE_BYTES);
        let moved =
            match retry_on_intr(|| splice(file, Some(&mut at), stdout(), None, most, SpliceFlags::MORE)) {
                // This file is of a kind that cannot be spliced.
                Err(Errno::INVAL) => copy(file, &mut at, most, voice)?,
                moved => moved.map_err(failed)?,
            };
        if moved == 0 {
            break;
        }
        sent += moved as u64;
    }
    Ok(sent)
}

fn copy(file: &OwnedFd, at: &mut u64, most: usize, voice: &mut Voice) -> Result<usize, Failed> {
    let mut piece = vec![0; PIECE_BYTES.min(most)];
    let count = fill(file, &mut piece, *at)?;
    voice.give(&piece[..count]);
    voice.flush().map_err(failed)?;
    *at = at.saturating_add(count as u64);
    Ok(count)
}
