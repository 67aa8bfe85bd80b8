//! The one thread that writes.

use super::queue::{Alarm, Batch, Item, Queue};
use crate::Error;
use crate::record::Draft;
use crate::writer::{Commit, Until, Writer};
use model::{Clock, Event};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An observation is on disk so long after it was written, whatever else happens.
const SYNC_AFTER: Duration = Duration::from_millis(100);

/// Observations that could not be written are tried again so often, where nothing else asks for a try.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Writes until the queue is closed and empty.
pub(super) fn run(queue: &Queue, mut writer: Writer, clock: &dyn Clock) {
    let _guard = Guard(queue);
    let mut alarm = Alarm::default();
    while let Some(batch) = queue.next(alarm) {
        let until = until(&batch);
        match commit(&mut writer, &batch, until, clock) {
            Ok(commit) => {
                alarm.retry_at = None;
                alarm.sync_at = match until {
                    Until::Written => alarm.sync_at.or_else(|| Some(Instant::now() + SYNC_AFTER)),
                    Until::Durable | Until::Sealed => None,
                };
                queue.settle(&batch.items);
                tell(batch, commit);
            }
            Err(error) => {
                let error = Arc::new(error);
                let again = (!queue.is_closed()).then(|| Instant::now() + RETRY_AFTER);
                alarm = Alarm { sync_at: alarm.sync_at.and(again), retry_at: again };
                for item in queue.keep(batch, &error) {
                    refuse(item, &error);
                }
            }
        }
    }
}

/// What the batch needs: nothing more than to be written, if nobody waits for it.
fn until(batch: &Batch) -> Until {
    let mut until = if batch.sync { Until::Durable } else { Until::Written };
    for item in &batch.items {
        match item {
            Item::Seal(_) => return Until::Sealed,
            Item::Record { .. } => until = Until::Durable,
            Item::Observation(_) => {}
        }
    }
    until
}

/// Writes a batch; what comes back are the places of its items' events alone.
fn commit(writer: &mut Writer, batch: &Batch, until: Until, clock: &dyn Clock) -> Result<Commit, Error> {
    let lost = match batch.lost {
        0 => None,
        observations => Some(Draft::new(&Event::Lost { observations }, clock.now())?),
    };
    let drafts: Vec<&Draft> = lost.iter().chain(batch.items.iter().flat_map(Item::drafts)).collect();
    let mut commit = writer.commit(&drafts, until)?;
    commit.receipts.drain(..usize::from(lost.is_some()));
    Ok(commit)
}

fn tell(batch: Batch, commit: Commit) {
    let checkpoint = commit.checkpoint.map(|signed| signed.map_err(Arc::new));
    let mut receipts = commit.receipts.into_iter();
    for item in batch.items {
        let last = receipts.by_ref().take(item.drafts().len()).last();
        match (item, last) {
            (Item::Record { tell, .. }, Some(receipt)) => tell(Ok(receipt)),
            (Item::Seal(tell), _) => {
                tell(checkpoint.clone().unwrap_or_else(|| Err(Arc::new(Error::Nothing))));
            }
            (Item::Record { tell, .. }, None) => tell(Err(Arc::new(Error::Nothing))),
            (Item::Observation(_), _) => {}
        }
    }
}

fn refuse(item: Item, error: &Arc<Error>) {
    match item {
        Item::Record { tell, .. } => tell(Err(Arc::clone(error))),
        Item::Seal(tell) => tell(Err(Arc::clone(error))),
        Item::Observation(_) => {}
    }
}

/// Sees to it that nobody waits for a thread that is no more, should a `done` panic.
struct Guard<'a>(&'a Queue);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.0.close();
        if std::thread::panicking() {
            let error = Arc::new(Error::Closed);
            while let Some(batch) = self.0.next(Alarm::default()) {
                for item in self.0.keep(batch, &error) {
                    refuse(item, &error);
                }
            }
        }
    }
}
