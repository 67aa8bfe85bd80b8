//! Ends that no server records. They are written by a process of their own, because the ledger may have to be waited for,
//! and nobody here waits.

use super::place;
use super::protocol::{Ended, Reason};
use crate::clock::SystemClock;
use jail::sys::{self, Forked};
use ledger::Ledger;
use model::{Denial, EndReason, Event, SandboxId, quote};
use rustix::fd::OwnedFd;
use rustix::fs::{FlockOperation, Mode, OFlags};
use std::collections::HashSet;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// One end to record.
pub(super) struct Entry {
    pub id: SandboxId,
    pub ended: Ended,
    /// Refused calls that no server was told of.
    pub denied: Vec<Denial>,
    /// A server may have recorded it before it was gone: then from this number on.
    pub from: u64,
}

impl Entry {
    pub(super) fn new(id: SandboxId, ended: Ended, denied: &[Denial], from: u64) -> Entry {
        Entry { id, ended, denied: denied.to_vec(), from }
    }
}

/// What is to be recorded.
#[derive(Default)]
pub(super) struct Batch {
    /// Orders to end everything: how many sandboxes each ended.
    pub stops: Vec<u32>,
    pub ends: Vec<Entry>,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.stops.is_empty() && self.ends.is_empty()
    }
}

/// Starts a process that records this; its status is 0 if it did.
pub(super) fn start(state: &Path, batch: &Batch) -> io::Result<OwnedFd> {
    match sys::clone3(0, None)? {
        Forked::Child => {
            let written = catch_unwind(AssertUnwindSafe(|| write(state, batch)));
            sys::exit_now(i32::from(!matches!(written, Ok(Ok(())))))
        }
        Forked::Parent { pidfd, .. } => Ok(pidfd),
    }
}

/// Records this, and of the ends those that are not on record.
pub(super) fn write(state: &Path, batch: &Batch) -> Result<(), ledger::Error> {
    let _turn = turn(state);
    let mut ledger = Ledger::open(state, Box::new(SystemClock))?;
    let from = batch.ends.iter().map(|entry| entry.from).min();
    let recorded = from.map_or_else(|| Ok(HashSet::new()), |from| ends_on_record(state, from))?;
    let mut wrote = false;
    for sandboxes in &batch.stops {
        ledger.observe(Event::StopAll { sandboxes: *sandboxes })?;
        wrote = true;
    }
    for Entry { id, ended, denied, .. } in batch.ends.iter().filter(|entry| !recorded.contains(&entry.id)) {
        for denial in denied {
            ledger.observe(Event::denied(Some(*id), None, denial.clone()))?;
        }
        for limit in &ended.hits {
            ledger.observe(Event::limit(*id, *limit))?;
        }
        let reason = end_reason(&ended.reason);
        ledger.observe(Event::End { sandbox: *id, reason, usage: ended.usage, denials: ended.denials })?;
        wrote = true;
    }
    if wrote {
        ledger.seal()?;
    }
    Ok(())
}

/// Waits until no other of these writes: one outlives its keeper, and the next keeper's would not see what it is about to
/// record. Where there is nothing to wait at, an end too many is better than none.
fn turn(state: &Path) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let run = rustix::fs::open(state.join(place::RUN), flags, Mode::empty()).ok()?;
    rustix::fs::flock(&run, FlockOperation::LockExclusive).ok()?;
    Some(run)
}

/// How the ledger says it.
pub(super) fn end_reason(reason: &Reason) -> EndReason {
    match reason {
        Reason::Killed => EndReason::Killed,
        Reason::Stopped => EndReason::StopAll,
        Reason::Deadline => EndReason::Timeout,
        Reason::Lease => EndReason::Lease,
        Reason::Limit(limit) => EndReason::Limit(*limit),
        Reason::ByItself => EndReason::Failed("its first process ended by itself".to_owned()),
        Reason::Refused(refusal) => EndReason::Refused(quote(&refusal.what)),
        Reason::Abandoned => EndReason::Abandoned,
    }
}

/// The number of the first record that may be of a sandbox that was open when a server last looked (see `host::orphans`).
///
/// Asked when a sandbox loses the server that was to record its end: that server looked before it recorded, and so the
/// record is behind this number. A server that comes later may remember a higher one.
pub(super) fn open_from(state: &Path) -> u64 {
    crate::open_from::read(state)
}

/// The sandboxes whose end the log has from this number on.
fn ends_on_record(state: &Path, from: u64) -> Result<HashSet<SandboxId>, ledger::Error> {
    let mut ends = HashSet::new();
    for entry in ledger::read_from(state, from)? {
        // A damaged place hides what it hides; an end too many is better than none.
        let Ok(entry) = entry else { continue };
        // Strings in a record have their quotes escaped, so these are keys and values of the record itself.
        if entry.line.contains(r#""event":"sandbox.end""#) {
            let id = entry.line.split(r#""sandbox":""#).nth(1).and_then(|rest| rest.split('"').next());
            ends.extend(id.and_then(|id| id.parse::<SandboxId>().ok()));
        }
    }
    Ok(ends)
}
