//! How much is in progress in each sandbox.

use crate::bounds::{LISTS_PER_SANDBOX_MAX, REQUESTS_PER_SANDBOX_MAX, STREAMS_PER_SANDBOX_MAX};
use model::SandboxId;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Requests in progress, by sandbox. A sandbox without any has no entry.
#[derive(Debug, Clone, Default)]
pub(crate) struct Traffic(Arc<Mutex<HashMap<SandboxId, Count>>>);

#[derive(Debug)]
struct Count {
    requests: usize,
    streams: usize,
    lists: Arc<Semaphore>,
}

impl Default for Count {
    fn default() -> Self {
        Count { requests: 0, streams: 0, lists: Arc::new(Semaphore::new(LISTS_PER_SANDBOX_MAX)) }
    }
}

/// One request in progress: until it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    traffic: Traffic,
    id: SandboxId,
    stream: bool,
}

/// So many are in progress, and no more may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full(pub usize);

impl Traffic {
    /// Counts one more request, which may be a stream.
    pub(crate) fn enter(&self, id: SandboxId, stream: bool) -> Result<Held, Full> {
        let mut counts = self.counts();
        let count = counts.entry(id).or_default();
        if count.requests >= REQUESTS_PER_SANDBOX_MAX {
            return Err(Full(REQUESTS_PER_SANDBOX_MAX));
        }
        if stream && count.streams >= STREAMS_PER_SANDBOX_MAX {
            return Err(Full(STREAMS_PER_SANDBOX_MAX));
        }
        count.requests += 1;
        count.streams += usize::from(stream);
        Ok(Held { traffic: self.clone(), id, stream })
    }

    /// Waits until another directory of a sandbox may be listed. The caller is one of its requests in progress.
    pub(crate) async fn list(&self, id: SandboxId) -> Option<OwnedSemaphorePermit> {
        let lists = self.counts().get(&id)?.lists.clone();
        lists.acquire_owned().await.ok()
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<SandboxId, Count>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Entry::Occupied(mut entry) = self.traffic.counts().entry(self.id) {
            let count = entry.get_mut();
            count.requests -= 1;
            count.streams -= usize::from(self.stream);
            if count.requests == 0 {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sandbox_that_is_full_leaves_room_for_another() {
        let traffic = Traffic::default();
        let [one, other] = [1, 2].map(|n| SandboxId::from_random([n; 20]));
        let streams: Vec<Held> =
            (0..STREAMS_PER_SANDBOX_MAX).map(|_| traffic.enter(one, true).unwrap()).collect();
        assert_eq!(traffic.enter(one, true).err(), Some(Full(STREAMS_PER_SANDBOX_MAX)));
        assert!(traffic.enter(one, false).is_ok());
        assert!(traffic.enter(other, true).is_ok());
        drop(streams);
        assert!(traffic.enter(one, true).is_ok());
        assert!(traffic.counts().is_empty());
    }
}
