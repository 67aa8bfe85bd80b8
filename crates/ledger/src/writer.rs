//! Appends to the log of this machine, one writer at a time.

use crate::disk::State;
use crate::frame::{self, Header, Kind};
use crate::head::{self, Found, Head};
use crate::layout::{TAIL, WIDTH};
use crate::note::Key;
use crate::record::{self, Stamp};
use crate::tail::{Tail, Trust};
use crate::{Append, Checkpoint, Durable, Error, Hash, Receipt, keys, roll};
use model::{Clock, Event};
use std::path::Path;

/// A writer of one log.
pub(crate) struct Writer {
    state: State,
    clock: Box<dyn Clock>,
    boot: String,
    tail: Tail,
    /// Read when something is first recorded: what could not be sealed in the end must not begin.
    key: Option<Key>,
    /// Records that this writer said are durable. A log that has fewer now was truncated meanwhile.
    acknowledged: u64,
}

impl Writer {
    /// Opens a log, or creates it.
    pub(crate) fn open(path: &Path, clock: Box<dyn Clock>) -> Result<Writer, Error> {
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
        Ok(Writer { state, clock, boot: boot_id(), tail, key: None, acknowledged: 0 })
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
}

impl Append for Writer {
    fn append(&mut self, events: &[Event], durable: Durable) -> Result<Vec<Receipt>, Error> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let first = durable == Durable::Now && self.key.is_none();
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
        let at = self.clock.now();
        let mut frames = Vec::new();
        let mut receipts: Vec<Receipt> = Vec::with_capacity(events.len());
        for (seq, event) in (self.tail.size()..).zip(events) {
            let prev = receipts.last().map_or_else(|| self.tail.last(), |receipt| receipt.hash);
            let bytes = record::encode(event, Stamp { seq, at, boot: &self.boot, prev })?;
            let hash = Hash::leaf(&bytes);
            frame::push(&mut frames, Kind::Entry, &bytes, hash);
            receipts.push(Receipt { seq, hash });
        }
        self.tail.append(&self.state, &frames, durable)?;
        if durable == Durable::Now {
            self.acknowledged = self.tail.size();
        }
        Ok(receipts)
    }

    fn seal(&mut self) -> Result<Checkpoint, Error> {
        let _lock = self.state.lock()?;
        self.prepare()?;
        let size = self.tail.size();
        let checkpoint = match self.tail.newest() {
            Some(newest) if newest.size() == size => {
                let newest = newest.clone();
                self.tail.sync(&self.state)?;
                newest
            }
            _ => {
                let root = self.tail.root();
                let checkpoint = self.key()?.sign(size, root);
                let note = checkpoint.note().as_bytes();
                let mut frames = Vec::new();
                frame::push(&mut frames, Kind::Checkpoint, note, Hash::leaf(note));
                self.tail.append(&self.state, &frames, Durable::Now)?;
                checkpoint
            }
        };
        self.acknowledged = size;
        head::write(&self.state, Head { size, root: checkpoint.root() })?;
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
