//! Remembers. A Merkle log in which every entry is on disk before what it tells of may happen.
//!
//! Invariant: a [`Recorded`] exists only once its events are durable. Functions that let something out into
//! the world take a `Recorded`, so that nothing can happen unwritten.
//!
//! The life of a record: it is appended to `log/tail` and synced; a [`Checkpoint`] signs the root of the tree
//! that it is part of; with 255 others it moves into a bundle and a tile, which never change again. Any number
//! of processes append to one log, one at a time under a lock. [`read()`] and [`verify()`] need neither the
//! lock nor a daemon, and change nothing. The format is a promise: `docs/reference/ledger.md`.

mod disk;
mod error;
mod frame;
mod group;
mod hash;
mod head;
mod keys;
mod layout;
mod note;
mod read;
mod record;
mod recorded;
mod roll;
mod tail;
mod tree;
mod verify;
mod writer;

pub use error::Error;
pub use group::{Group, QUEUE_BYTES_MAX, QUEUE_EVENTS_MAX};
pub use hash::Hash;
pub use note::Checkpoint;
pub use read::{Entry, read, read_from, size};
pub use recorded::{Receipt, Recorded};
pub use verify::{Flaw, Problem, Report, verify};

use model::{Clock, Effect, Event};
use record::Draft;
use std::path::Path;
use writer::{Commit, Until, Writer};

/// The log of one state directory, open for appending.
///
/// It holds no lock between calls. Every process, and every fork of one, may have its own.
pub struct Ledger {
    writer: Writer,
    clock: Box<dyn Clock>,
}

impl Ledger {
    /// Opens the log of a state directory, and creates what is missing. The cost does not depend on the
    /// length of the log.
    ///
    /// # Errors
    /// A file that cannot be made or read; a damaged tail; a log from which sealed records are gone.
    pub fn open(state: &Path, clock: Box<dyn Clock>) -> Result<Ledger, Error> {
        Ok(Ledger { writer: Writer::open(state)?, clock })
    }

    /// Writes down what `effect` is about to do, and gives the proof that lets it be done: one write and one
    /// sync for all of its events.
    ///
    /// # Errors
    /// Nothing was recorded, so nothing may be done. The log is as it was before.
    pub fn record<E: Effect>(&mut self, effect: E) -> Result<Recorded<E>, Error> {
        let receipts = self.append(&effect.events(), Until::Durable)?;
        let last = *receipts.last().ok_or(Error::Nothing)?;
        Ok(Recorded::new(effect, last))
    }

    /// Writes down what happened already. It is durable with the next [`Ledger::record`] or [`Ledger::seal`].
    ///
    /// # Errors
    /// The event was not written.
    pub fn observe(&mut self, event: Event) -> Result<(), Error> {
        self.append(&[event], Until::Written).map(drop)
    }

    /// Signs a checkpoint over all records and makes everything durable. When the newest checkpoint covers
    /// everything already, it is that one.
    ///
    /// # Errors
    /// A key that cannot be read, or a file that cannot be written. The records stay as durable as they were.
    pub fn seal(&mut self) -> Result<Checkpoint, Error> {
        self.seal_with(&[])
    }

    /// Writes down what happened last, and seals: one write and one sync.
    ///
    /// # Errors
    /// As [`Ledger::seal`]; the events were not written, or stand there without a checkpoint.
    pub fn seal_with(&mut self, events: &[Event]) -> Result<Checkpoint, Error> {
        // A commit that was asked for a checkpoint always says what came of it.
        self.commit(events, Until::Sealed)?.checkpoint.unwrap_or(Err(Error::Nothing))
    }

    fn append(&mut self, events: &[Event], until: Until) -> Result<Vec<Receipt>, Error> {
        match events.is_empty() {
            true => Ok(Vec::new()),
            false => Ok(self.commit(events, until)?.receipts),
        }
    }

    fn commit(&mut self, events: &[Event], until: Until) -> Result<Commit, Error> {
        let at = self.clock.now();
        let drafts = events.iter().map(|event| Draft::new(event, at)).collect::<Result<Vec<_>, _>>()?;
        self.writer.commit(&drafts.iter().collect::<Vec<_>>(), until)
    }
}
