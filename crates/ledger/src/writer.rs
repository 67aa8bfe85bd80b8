//! Appends to the log of this machine, one writer at a time.

use crate::disk::State;
use crate::frame::{self, Header, Kind};
use crate::head::{self, Found, Head};
use crate::layout::{TAIL, WIDTH};
use crate::note::Key;
use crate::record::{self, Draft, Stamp};
use crate::tail::{Tail, Trust};
use crate::{Checkpoint, Error, Hash, Receipt, keys, roll};
use std::path::Path;

/// When appended events have to be on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// With the next events that have to be.
    Written,
    /// Before the call returns.
    Durable,
    /// Before the call returns, with a checkpoint over them and everything before.
    Sealed,
}

/// What came of a commit.
pub(crate) struct Commit {
    /// The place of each event.
    pub(crate) receipts: Vec<Receipt>,
    /// With [`Until::Sealed`]: the checkpoint, or why there is none although the events are on disk.
    pub(crate) checkpoint: Option<Result<Checkpoint, Error>>,
}

/// A writer of one log.
pub(crate) struct Writer {
    state: State,
    boot: String,
    tail: Tail,
    /// Read when something is first recorded: what could not be sealed in the end must not begin.
    key: Option<Key>,
    /// Records that this writer said are durable. A log that has fewer now was truncated meanwhile.
    acknowledged: u64,
}

impl Writer {
    /// Opens a log, or creates it.
    pub(crate) fn open(path: &Path) -> Result<Writer, Error> {
        let state = State::open_or_create(path)?;
        let tail = match Tail::load(&state, Trust::Sealed) {
            Err(error) if error.is_missing() => create(&state)?,
            // Another writer may be trimming at this moment. Under the lock nobody is.
            Err(Error::Damaged { .. }) => {
                let _lock = state.lock()?;
                Tail::load(&state, Trust::Sealed)?
            }
            other => other?,
        };
        Ok(Writer { state, boot: boot_id(), tail, key: None, acknowledged: 0 })
    }

    fn key(&mut self) -> Result<&Key, Error> {
        let key = match self.key.take() {
            Some(key) => key,
            None => keys::load(&self.state)?,
        };
        Ok(self.key.insert(key))
    }

    /// Makes the tail current and leaves room in it. Call it under the lock.
    fn prepare(&mut self) -> Result<(), Error> {
        self.tail.catch_up(&self.state)?;
        while self.tail.entries() >= WIDTH {
            roll::roll(&self.state, &self.tail.bytes(&self.state)?)?;
            self.tail = Tail::load(&self.state, Trust::Nothing)?;
        }
        let (records, sealed) = (self.tail.size(), self.acknowledged);
        match records < sealed {
            true => Err(Error::Truncated { path: self.state.path("log"), records, sealed }),
            false => Ok(()),
        }
    }

    /// Appends events, and a checkpoint where one is asked for, in one write and at most one sync.
    ///
    /// When the newest checkpoint covers everything already, it is that one.
    pub(crate) fn commit(&mut self, drafts: &[&Draft], until: Until) -> Result<Commit, Error> {
        let first = self.key.is_none() && until != Until::Written && !drafts.is_empty();
        if first {
            self.key()?;
        }
        let _lock = self.state.lock()?;
        if first {
            // Opening is on the way of a caller who waits, and so is sealing; this is where nobody does.
            self.tail.check(&self.state)?;
            self.tail.grow();
        }
        self.prepare()?;
        let mut frames = Vec::new();
        let receipts = self.encode(drafts, &mut frames)?;
        let checkpoint = match until {
            Until::Sealed => Some(self.sign(&receipts, &mut frames)?),
            Until::Written | Until::Durable => None,
        };
        self.tail.append(&self.state, &frames, until)?;
        if until != Until::Written {
            self.acknowledged = self.tail.size();
        }
        let checkpoint = checkpoint.map(|checkpoint| {
            let head = Head { size: checkpoint.size(), root: checkpoint.root() };
            head::write(&self.state, head).map(|()| checkpoint)
        });
        Ok(Commit { receipts, checkpoint })
    }

    fn encode(&self, drafts: &[&Draft], frames: &mut Vec<u8>) -> Result<Vec<Receipt>, Error> {
        let mut receipts: Vec<Receipt> = Vec::with_capacity(drafts.len());
        for (seq, draft) in (self.tail.size()..).zip(drafts) {
            let prev = receipts.last().map_or_else(|| self.tail.last(), |receipt| receipt.hash);
            let bytes = record::encode(draft, Stamp { seq, boot: &self.boot, prev })?;
            let hash = Hash::leaf(&bytes);
            frame::push(frames, Kind::Entry, &bytes, hash);
            receipts.push(Receipt { seq, hash });
        }
        Ok(receipts)
    }

    /// The checkpoint over all that the log holds and `receipts`.
    fn sign(&mut self, receipts: &[Receipt], frames: &mut Vec<u8>) -> Result<Checkpoint, Error> {
        let size = self.tail.size() + receipts.len() as u64;
        if let Some(newest) = self.tail.newest().filter(|newest| newest.size() == size) {
            return Ok(newest.clone());
        }
        let root = self.tail.root_with(receipts.iter().map(|receipt| receipt.hash));
        let checkpoint = self.key()?.sign(size, root);
        let note = checkpoint.note().as_bytes();
        frame::push(frames, Kind::Checkpoint, note, Hash::leaf(note));
        Ok(checkpoint)
    }
}

/// Makes a log where there is none.
fn create(state: &State) -> Result<Tail, Error> {
    let _lock = state.lock()?;
    match Tail::load(state, Trust::Nothing) {
        Err(error) if error.is_missing() => {}
        made_meanwhile => return made_meanwhile,
    }
    // A log that was deleted must not begin anew as if nothing had been.
    if let Found::Head(Head { size: sealed @ 1.., .. }) = head::read(state)? {
        return Err(Error::Truncated { path: state.path("log"), records: 0, sealed });
    }
    keys::create(state)?;
    state.make_dir("log")?;
    if !state.list("log")?.is_empty() {
        return Err(state.damaged(TAIL, 0, "it is missing, and the log is not empty"));
    }
    state.sync_dir(".")?;
    state.replace(TAIL, &Header::empty().encode())?;
    state.sync_dir("log")?;
    Tail::load(state, Trust::Nothing)
}

/// Names this boot of the kernel, because `boot_ns` counts from its start.
fn boot_id() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    if id.is_empty() { "unknown".to_owned() } else { id.trim_end().to_owned() }
}
