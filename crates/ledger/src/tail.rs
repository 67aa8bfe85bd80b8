//! What a writer knows of `log/tail`, and how it keeps up with the other writers.

use crate::disk::State;
use crate::frame::{self, Check, Header, Kind, Next};
use crate::head::{self, Found};
use crate::layout::{TAIL, TAIL_BYTES_MAX};
use crate::tree::Frontier;
use crate::writer::Until;
use crate::{Checkpoint, Error, Hash};
use rustix::fs::{OFlags, fstat, ftruncate};
use std::fs::File;

/// The newest entries of a log, open for appending.
pub(crate) struct Tail {
    file: File,
    /// Tells whether another writer has put a new file in this one's place. The number cannot be used again
    /// while `file` is open.
    inode: u64,
    /// Bytes of the header and of the whole frames; the next frame begins here.
    len: u64,
    header: Header,
    leaves: Vec<Hash>,
    /// Over all that is before the tail, and as many of its leaves as [`Tail::grow`] has seen.
    tree: Frontier,
    newest: Option<Checkpoint>,
    /// A sync failed. The kernel says so once and then takes the bytes for written, so that a later sync that
    /// succeeds tells nothing about them.
    doubtful: bool,
    /// What was read while bodies were taken for granted, up to `len`.
    unchecked: Vec<u8>,
}

/// What is taken for granted when a tail is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Records that a checkpoint covers. Good enough to learn what comes next, not to continue the log.
    Sealed,
    /// Nothing.
    Nothing,
}

impl Tail {
    /// Reads the tail. What a crash cut short at its end is left out, and trimmed by the next writer.
    ///
    /// With [`Trust::Sealed`] the bodies of sealed records are not compared with their hashes before [`Tail::check`].
    pub(crate) fn load(state: &State, trust: Trust) -> Result<Tail, Error> {
        // The head first: the log is never behind a head that was read before it.
        let head = match head::read(state)? {
            Found::Head(head) => head.size,
            Found::Nothing => 0,
            // Whoever could cut the log short could also spoil what tells of it.
            Found::Garbage => return Err(state.damaged(head::NAME, 0, "it is no head")),
        };
        let mut file = state.file(TAIL, OFlags::RDWR)?;
        let inode = fstat(&file).map_err(|errno| state.failed("fstat", TAIL, errno))?.st_ino;
        let bytes = state.read_from(TAIL, &mut file, 0, TAIL_BYTES_MAX)?;
        let (header, len) = Header::decode(&bytes).map_err(|what| state.damaged(TAIL, 0, what))?;
        let newest = match header.note.as_slice() {
            [] => None,
            note => Some(checkpoint(note).ok_or_else(|| state.damaged(TAIL, 0, "not a checkpoint"))?),
        };
        let tree = Frontier::new(header.first, header.frontier.clone());
        let (leaves, unchecked) = (Vec::new(), Vec::new());
        let mut tail =
            Tail { file, inode, len: len as u64, header, leaves, tree, newest, doubtful: false, unchecked };
        let trusted = if trust == Trust::Sealed { head } else { 0 };
        tail.take(state, &bytes[len..], trusted)?;
        if trust == Trust::Sealed {
            tail.unchecked = bytes;
            tail.unchecked.truncate(tail.len as usize);
        }
        match tail.size() < head {
            true => Err(Error::Truncated { path: state.path("log"), records: tail.size(), sealed: head }),
            false => Ok(tail),
        }
    }

    /// Compares with their hashes what was taken for granted when the tail was read: the bytes that were read then are
    /// what the log is continued from.
    pub(crate) fn check(&mut self, state: &State) -> Result<(), Error> {
        let bytes = std::mem::take(&mut self.unchecked);
        let mut at = self.header.encode().len();
        while at < bytes.len() {
            match frame::next(&bytes[at..], Check::Body) {
                Next::Frame(frame) => at += frame.len(),
                Next::Damaged(what) => return Err(state.damaged(TAIL, at as u64, what)),
                // Its layout was whole.
                Next::End | Next::Torn => {
                    return Err(state.damaged(TAIL, at as u64, "the frame does not match its hash"));
                }
            }
        }
        Ok(())
    }

    /// Takes in what other writers did since, and trims what a crashed one left half written. Call it under
    /// the lock.
    pub(crate) fn catch_up(&mut self, state: &State) -> Result<(), Error> {
        let stat = state.stat(TAIL)?;
        let size = stat.st_size as u64;
        if self.doubtful && stat.st_ino == self.inode {
            self.renew(state)?;
        } else if stat.st_ino != self.inode || size < self.len {
            *self = Tail::load(state, Trust::Nothing)?;
        } else if size > self.len {
            let bytes = state.read_from(TAIL, &mut self.file, self.len, TAIL_BYTES_MAX)?;
            self.take(state, &bytes, 0)?;
        } else {
            return Ok(());
        }
        let found = fstat(&self.file).map_err(|errno| state.failed("fstat", TAIL, errno))?;
        match found.st_size as u64 > self.len {
            true => self.trim(state),
            false => Ok(()),
        }
    }

    /// Appends whole frames, all or nothing, and syncs them when asked to.
    pub(crate) fn append(&mut self, state: &State, bytes: &[u8], until: Until) -> Result<(), Error> {
        let written = state.write_at(TAIL, &self.file, self.len, bytes).and_then(|()| match until {
            Until::Written => Ok(()),
            Until::Durable | Until::Sealed => self.sync(state),
        });
        if written.is_err() {
            // Nobody was told that these bytes are recorded. If they cannot be taken back either, what stands
            // there is torn, or whole and harmless: the record of something that did not happen.
            let _ = self.trim(state);
            return written;
        }
        self.take(state, bytes, 0)
    }

    /// Makes everything in the file durable.
    fn sync(&mut self, state: &State) -> Result<(), Error> {
        let synced =
            rustix::fs::fdatasync(&self.file).map_err(|errno| state.failed("fdatasync", TAIL, errno));
        self.doubtful = synced.is_err();
        synced
    }

    /// Writes the whole file anew, and reads it back.
    fn renew(&mut self, state: &State) -> Result<(), Error> {
        let whole = Tail::load(state, Trust::Nothing)?.bytes(state)?;
        state.replace(TAIL, &whole)?;
        state.sync_dir("log")?;
        *self = Tail::load(state, Trust::Nothing)?;
        Ok(())
    }

    /// How many records the log holds.
    pub(crate) fn size(&self) -> u64 {
        self.header.first + self.leaves.len() as u64
    }

    /// How many of them are in the tail.
    pub(crate) fn entries(&self) -> usize {
        self.leaves.len()
    }

    /// The leaf hash of the last record.
    pub(crate) fn last(&self) -> Hash {
        self.leaves.last().copied().unwrap_or(self.header.prev)
    }

    /// The newest checkpoint.
    pub(crate) fn newest(&self) -> Option<&Checkpoint> {
        self.newest.as_ref()
    }

    /// Lets the tree grow to the last record, which [`Tail::root_with`] would do otherwise.
    pub(crate) fn grow(&mut self) {
        let grown = (self.tree.size() - self.header.first) as usize;
        self.tree.extend(self.leaves[grown..].iter().copied());
    }

    /// The root of the tree over all records and `more`.
    pub(crate) fn root_with(&mut self, more: impl IntoIterator<Item = Hash>) -> Hash {
        self.grow();
        let mut tree = self.tree.clone();
        tree.extend(more);
        tree.root()
    }

    /// All bytes that are known to be whole.
    pub(crate) fn bytes(&mut self, state: &State) -> Result<Vec<u8>, Error> {
        let mut bytes = state.read_from(TAIL, &mut self.file, 0, TAIL_BYTES_MAX)?;
        bytes.truncate(self.len as usize);
        Ok(bytes)
    }

    fn trim(&self, state: &State) -> Result<(), Error> {
        ftruncate(&self.file, self.len).map_err(|errno| state.failed("ftruncate", TAIL, errno))
    }

    fn take(&mut self, state: &State, bytes: &[u8], trusted: u64) -> Result<(), Error> {
        let mut rest = bytes;
        let mut newest = None;
        loop {
            let check = if self.size() < trusted { Check::Layout } else { Check::Body };
            let frame = match frame::next(rest, check) {
                Next::Frame(frame) => frame,
                Next::End | Next::Torn => break,
                Next::Damaged(what) => return Err(state.damaged(TAIL, self.len, what)),
            };
            match frame.kind {
                Kind::Entry => self.leaves.push(frame.hash),
                Kind::Checkpoint => newest = Some((frame.body, self.len)),
            }
            self.len += frame.len() as u64;
            rest = &rest[frame.len()..];
        }
        if let Some((note, at)) = newest {
            self.newest = Some(checkpoint(note).ok_or_else(|| state.damaged(TAIL, at, "not a checkpoint"))?);
        }
        Ok(())
    }
}

fn checkpoint(note: &[u8]) -> Option<Checkpoint> {
    Checkpoint::parse(std::str::from_utf8(note).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Draft;
    use crate::writer::Writer;
    use model::{Event, Moment, SandboxId};

    #[test]
    fn after_a_sync_that_failed_the_file_is_written_anew_and_goes_on() {
        let place = tempfile::TempDir::new().unwrap();
        let event = Event::ExecEnd { sandbox: SandboxId::from_random([1; 20]), exec: 1, status: 0 };
        let draft = Draft::new(&event, Moment { wall_ns: 0, boot_ns: 0 }).unwrap();
        let mut writer = Writer::open(place.path()).unwrap();
        writer.commit(&[&draft, &draft], Until::Durable).unwrap();
        let state = State::open(place.path()).unwrap();
        let mut tail = Tail::load(&state, Trust::Nothing).unwrap();
        let (inode, bytes) = (tail.inode, tail.bytes(&state).unwrap());
        tail.doubtful = true;
        {
            let _lock = state.lock().unwrap();
            tail.catch_up(&state).unwrap();
        }
        assert_ne!(tail.inode, inode);
        assert_eq!((tail.doubtful, tail.bytes(&state).unwrap()), (false, bytes));
        // Another writer that was open all the time follows.
        assert_eq!(writer.commit(&[&draft], Until::Durable).unwrap().receipts[0].seq, 2);
        assert_eq!(crate::verify(place.path(), None).unwrap().problems, vec![]);
    }
}
