//! Group commit: many recorders, one thread that writes for all of them.
//!
//! ```text
//! record, observe, seal ──> queue (bounded) ──> one thread: one write, one sync, one checkpoint ──> done, done, done
//! ```
//!
//! The thread never waits for company: it takes what is there, and what comes while it writes is the next batch.
//! So a lone record costs one sync, and sixty-four at once cost one or two.

mod queue;
mod thread;

use crate::record::Draft;
use crate::writer::Writer;
use crate::{Checkpoint, Error, Recorded};
use model::{Clock, Effect, Event};
use queue::{Item, Queue};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

/// Events that may wait to be written. Past it a record is refused.
pub const QUEUE_EVENTS_MAX: usize = 65_536;

/// Bytes of events, as JSON, that may wait to be written. Past it a record is refused.
pub const QUEUE_BYTES_MAX: usize = 64 << 20;

/// The log of one state directory, for many threads at once. Every clone is the same queue.
///
/// Dropping the last one writes what waits and ends the thread. A process that forks starts its `Group` after
/// the last fork, because a child has no such thread.
#[derive(Clone)]
pub struct Group {
    handle: Arc<Handle>,
}

struct Handle {
    queue: Arc<Queue>,
    clock: Arc<dyn Clock + Send + Sync>,
    thread: Option<JoinHandle<()>>,
}

impl Group {
    /// Opens the log of a state directory as [`crate::Ledger::open`] does, and starts the thread.
    ///
    /// # Errors
    /// As there; or the thread cannot be started.
    pub fn start(state: &Path, clock: impl Clock + Send + Sync + 'static) -> Result<Group, Error> {
        let writer = Writer::open(state)?;
        let queue = Arc::new(Queue::new());
        let clock: Arc<dyn Clock + Send + Sync> = Arc::new(clock);
        let thread = std::thread::Builder::new()
            .name("ledger".to_owned())
            .spawn({
                let (queue, clock) = (Arc::clone(&queue), Arc::clone(&clock));
                move || thread::run(&queue, writer, clock.as_ref())
            })
            .map_err(|source| Error::Io { call: "clone", path: state.to_owned(), source })?;
        let handle = Handle { queue, clock, thread: Some(thread) };
        Ok(Group { handle: Arc::new(handle) })
    }

    /// Writes down what `effect` is about to do, and then tells `done`: with the proof that lets it be done, or
    /// with why it may not be.
    ///
    /// `done` is called once, on the thread that writes, where everybody waits for it: it passes the answer on and
    /// returns. Where the queue is full or the effect names no event it is called at once, on the caller's thread.
    pub fn record<E: Effect + Send + 'static>(
        &self,
        effect: E,
        done: impl FnOnce(Result<Recorded<E>, Arc<Error>>) + Send + 'static,
    ) {
        let events = effect.events();
        let tell = move |written: Result<_, _>| done(written.map(|receipt| Recorded::new(effect, receipt)));
        let drafts = match self.drafts(&events) {
            Ok(drafts) if drafts.is_empty() => return tell(Err(Arc::new(Error::Nothing))),
            Ok(drafts) => drafts,
            Err(error) => return tell(Err(Arc::new(error))),
        };
        if let Err((Item::Record { tell, .. }, error)) =
            self.handle.queue.push(Item::Record { drafts, tell: Box::new(tell) })
        {
            tell(Err(Arc::new(error)));
        }
    }

    /// Writes down what happened already. It is written as soon as the thread is free, and durable with the next
    /// record or seal, or after 100 ms.
    ///
    /// Observations may take half of the queue; the rest is for records. One that finds no room, or no form in JSON,
    /// is counted, and the count is on record before the next event.
    pub fn observe(&self, event: Event) {
        match self.drafts(&[event]) {
            Ok(drafts) => {
                for draft in drafts {
                    // The queue has counted one that it did not take.
                    let _ = self.handle.queue.push(Item::Observation(draft));
                }
            }
            Err(_) => self.handle.queue.lose(),
        }
    }

    /// Signs a checkpoint over everything that was handed over before, makes it all durable, and tells `done` as
    /// [`Group::record`] does. Several that wait become one.
    pub fn seal(&self, done: impl FnOnce(Result<Checkpoint, Arc<Error>>) + Send + 'static) {
        if let Err((Item::Seal(tell), error)) = self.handle.queue.push(Item::Seal(Box::new(done))) {
            tell(Err(Arc::new(error)));
        }
    }

    /// Why the log cannot be written; none while it can. The next record, seal or observation tries again.
    pub fn failure(&self) -> Option<Arc<Error>> {
        self.handle.queue.failure()
    }

    fn drafts(&self, events: &[Event]) -> Result<Vec<Draft>, Error> {
        let at = self.handle.clock.now();
        events.iter().map(|event| Draft::new(event, at)).collect()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.queue.close();
        // The last handle may be dropped by a `done`, and a thread cannot wait for itself; it ends all the same.
        if let Some(thread) = self.thread.take().filter(|t| t.thread().id() != std::thread::current().id()) {
            let _ = thread.join();
        }
    }
}
