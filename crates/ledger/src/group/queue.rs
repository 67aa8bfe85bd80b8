//! What waits to be written: bounded, in the order in which it came.

use super::{QUEUE_BYTES_MAX, QUEUE_EVENTS_MAX};
use crate::record::Draft;
use crate::{Checkpoint, Error, Receipt};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Events of one write. More than one tile's worth, and few enough that nobody else is kept from the log for long.
const BATCH_EVENTS_MAX: usize = 1024;
/// Bytes of one write, unless one record alone has more.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// Who is told of a record.
pub(super) type TellRecord = Box<dyn FnOnce(Result<Receipt, Arc<Error>>) + Send>;
/// Who is told of a checkpoint.
pub(super) type TellSeal = Box<dyn FnOnce(Result<Checkpoint, Arc<Error>>) + Send>;

/// One thing that was handed over.
pub(super) enum Item {
    /// Events that somebody waits for.
    Record { drafts: Vec<Draft>, tell: TellRecord },
    /// An event that nobody waits for.
    Observation(Draft),
    /// A checkpoint over all before it.
    Seal(TellSeal),
}

impl Item {
    pub(super) fn drafts(&self) -> &[Draft] {
        match self {
            Item::Record { drafts, .. } => drafts,
            Item::Observation(draft) => std::slice::from_ref(draft),
            Item::Seal(_) => &[],
        }
    }

    fn size(&self) -> Size {
        // A seal is one too, so that they are bounded as well.
        let events = self.drafts().len().max(1);
        Size { events, bytes: self.drafts().iter().map(Draft::len).sum() }
    }

    /// Whether somebody waits for it.
    fn is_urgent(&self) -> bool {
        !matches!(self, Item::Observation(_))
    }
}

/// How much there is of something.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Size {
    events: usize,
    bytes: usize,
}

/// When the thread has to look at the queue although nobody waits for an answer.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Alarm {
    /// What was written has to be synced by then.
    pub(super) sync_at: Option<Instant>,
    /// After a failure: observations are not tried again before then.
    pub(super) retry_at: Option<Instant>,
}

/// What the thread takes at once.
pub(super) struct Batch {
    pub(super) items: Vec<Item>,
    /// Observations that were lost before it, for want of room.
    pub(super) lost: u64,
    /// The time to sync what was written before has come.
    pub(super) sync: bool,
}

/// The queue.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    /// Told of everything that the thread has to look at.
    change: Condvar,
}

#[derive(Default)]
struct Waiting {
    items: VecDeque<Item>,
    /// Of `items` and of what the thread has taken and not yet dealt with.
    size: Size,
    /// Items that somebody waits for.
    urgent: usize,
    lost: u64,
    failure: Option<Arc<Error>>,
    closed: bool,
}

impl Queue {
    pub(super) fn new() -> Queue {
        Queue { waiting: Mutex::default(), change: Condvar::new() }
    }

    /// Takes an item in, or gives it back with the reason. An observation that is given back is counted as lost.
    pub(super) fn push(&self, item: Item) -> Result<(), (Item, Error)> {
        let mut waiting = self.lock();
        if waiting.closed {
            return Err((item, Error::Closed));
        }
        let Size { events, bytes } = item.size();
        let share = if item.is_urgent() { 1 } else { 2 };
        let (all_events, all_bytes) =
            (waiting.size.events + events, waiting.size.bytes.saturating_add(bytes));
        if all_events > QUEUE_EVENTS_MAX / share || all_bytes > QUEUE_BYTES_MAX / share {
            waiting.lost += u64::from(!item.is_urgent());
            let Size { events, bytes } = waiting.size;
            return Err((item, Error::Full { events, bytes }));
        }
        waiting.size = Size { events: all_events, bytes: all_bytes };
        waiting.urgent += usize::from(item.is_urgent());
        waiting.items.push_back(item);
        self.change.notify_one();
        Ok(())
    }

    /// Counts an observation that is lost.
    pub(super) fn lose(&self) {
        self.lock().lost += 1;
    }

    /// Waits until there is something to do; none once the queue is closed and empty.
    pub(super) fn next(&self, alarm: Alarm) -> Option<Batch> {
        let mut waiting = self.lock();
        loop {
            let now = Instant::now();
            let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
            let may_observe = !waiting.items.is_empty() && alarm.retry_at.is_none_or(|at| at <= now);
            if waiting.closed && waiting.items.is_empty() && waiting.lost == 0 && alarm.sync_at.is_none() {
                return None;
            }
            if waiting.urgent > 0 || may_observe || due(alarm.sync_at) || waiting.closed {
                let sync = due(alarm.sync_at) || waiting.closed;
                return Some(waiting.take(sync));
            }
            let retry_at = alarm.retry_at.filter(|_| !waiting.items.is_empty());
            waiting = match alarm.sync_at.into_iter().chain(retry_at).min() {
                Some(at) => {
                    let (waiting, _) = self
                        .change
                        .wait_timeout(waiting, at.saturating_duration_since(now))
                        .unwrap_or_else(PoisonError::into_inner);
                    waiting
                }
                None => self.change.wait(waiting).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// The batch is on disk.
    pub(super) fn settle(&self, items: &[Item]) {
        let mut waiting = self.lock();
        waiting.failure = None;
        waiting.release(items.iter());
    }

    /// The batch could not be written: gives back who is to be told, and keeps the observations for the next try.
    pub(super) fn keep(&self, batch: Batch, error: &Arc<Error>) -> Vec<Item> {
        let mut waiting = self.lock();
        waiting.failure = Some(Arc::clone(error));
        let (told, observed): (Vec<Item>, Vec<Item>) = batch.items.into_iter().partition(Item::is_urgent);
        waiting.release(told.iter());
        if waiting.closed {
            // There is no next try.
            waiting.release(observed.iter());
        } else {
            waiting.lost += batch.lost;
            observed.into_iter().rev().for_each(|item| waiting.items.push_front(item));
        }
        told
    }

    /// Takes nothing in from now on.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.change.notify_one();
    }

    /// Whether nothing is taken in any more.
    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    pub(super) fn failure(&self) -> Option<Arc<Error>> {
        self.lock().failure.clone()
    }

    /// Nothing that is done under the lock panics.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn take(&mut self, sync: bool) -> Batch {
        let mut items = Vec::new();
        let mut taken = Size::default();
        while let Some(next) = self.items.front() {
            let size = next.size();
            taken = Size { events: taken.events + size.events, bytes: taken.bytes + size.bytes };
            if !items.is_empty() && (taken.events > BATCH_EVENTS_MAX || taken.bytes > BATCH_BYTES_MAX) {
                break;
            }
            self.urgent -= usize::from(next.is_urgent());
            items.extend(self.items.pop_front());
        }
        Batch { items, lost: std::mem::take(&mut self.lost), sync }
    }

    fn release<'a>(&mut self, items: impl Iterator<Item = &'a Item>) {
        for size in items.map(Item::size) {
            self.size.events -= size.events;
            self.size.bytes -= size.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Event, Moment, SandboxId};
    use proptest::prelude::*;

    fn draft() -> Draft {
        let event = Event::ExecEnd { sandbox: SandboxId::from_random([1; 20]), exec: 1, status: 0 };
        Draft::new(&event, Moment { wall_ns: 0, boot_ns: 0 }).unwrap()
    }

    fn item(kind: u8, events: usize) -> Item {
        match kind {
            0 => Item::Record { drafts: (0..events).map(|_| draft()).collect(), tell: Box::new(|_| ()) },
            1 => Item::Observation(draft()),
            _ => Item::Seal(Box::new(|_| ())),
        }
    }

    fn total<'a>(items: impl Iterator<Item = &'a Item>) -> Size {
        items.map(Item::size).fold(Size::default(), |sum, size| Size {
            events: sum.events + size.events,
            bytes: sum.bytes + size.bytes,
        })
    }

    proptest! {
        #[test]
        fn the_numbers_are_those_of_what_waits_whatever_came_of_it(
            pushed in proptest::collection::vec((0u8..3, 1usize..700), 0..60),
            written in proptest::collection::vec(any::<bool>(), 0..40),
        ) {
            let queue = Queue::new();
            for (kind, events) in pushed {
                prop_assert!(queue.push(item(kind, events)).is_ok());
            }
            let error = Arc::new(Error::Nothing);
            for written in written {
                let batch = queue.lock().take(false);
                prop_assert!(batch.items.len() <= 1 || total(batch.items.iter()).events <= BATCH_EVENTS_MAX);
                if written {
                    queue.settle(&batch.items);
                } else {
                    prop_assert!(queue.keep(batch, &error).iter().all(Item::is_urgent));
                }
                let waiting = queue.lock();
                prop_assert_eq!(waiting.size, total(waiting.items.iter()));
                prop_assert_eq!(waiting.urgent, waiting.items.iter().filter(|item| item.is_urgent()).count());
            }
        }
    }
}
