//! Places: how much is done at one time, in one sandbox and in all of them together. Who finds none is refused by name;
//! nobody can take what others need.

use super::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The most commands of one sandbox at one time, those included that are about to start.
const COMMANDS_MAX: usize = 256;
/// Work on files that is done at one time in one sandbox. The agent takes twice as much.
const WORKS_MAX: usize = 32;
/// Work on files that is done at one time in all sandboxes.
const WORKS_OF_ALL_MAX: usize = 512;
/// Listings that are made at one time in all sandboxes: each may be held in memory as a whole.
const LISTS_OF_ALL_MAX: usize = 8;
/// How long work waits for its turn behind other work before it is refused.
const PLACE_WITHIN: Duration = Duration::from_secs(10);

/// Descriptors that the launcher holds for one sandbox, and for one command.
const LAUNCHERS: (u64, u64) = (12, 3);
/// Descriptors that the server has of one sandbox, and of one command while it starts.
const SERVERS: (u64, u64) = (4, 6);
/// Descriptors that are left for everything else: the ledger, sockets, the taking over of sandboxes.
const RESERVE: u64 = 1024;
/// However few descriptors there are, so many commands can run.
const COMMANDS_OF_ALL_MIN: u64 = 64;

/// The places that all sandboxes share.
#[derive(Debug)]
pub(super) struct Shared {
    commands: Arc<Semaphore>,
    commands_max: usize,
    works: Arc<Semaphore>,
    lists: Arc<Semaphore>,
}

/// The places in one sandbox.
#[derive(Debug)]
pub(super) struct Places {
    shared: Arc<Shared>,
    commands: Arc<Semaphore>,
    works: Arc<Semaphore>,
}

/// A place that is taken until this is dropped.
#[derive(Debug)]
pub(super) struct Place(#[expect(dead_code, reason = "held, never looked at")] Vec<OwnedSemaphorePermit>);

impl Shared {
    /// For so many sandboxes, in processes that may have so many descriptors each.
    pub(super) fn new(sandboxes_max: usize, descriptors: u64) -> Shared {
        let commands_max = commands_of_all(sandboxes_max as u64, descriptors);
        Shared {
            commands: Arc::new(Semaphore::new(commands_max)),
            commands_max,
            works: Arc::new(Semaphore::new(WORKS_OF_ALL_MAX)),
            lists: Arc::new(Semaphore::new(LISTS_OF_ALL_MAX)),
        }
    }
}

/// Commands of all sandboxes together: as many as there are descriptors for, in the launcher and in the server, of which a
/// quarter is for connections.
fn commands_of_all(sandboxes: u64, descriptors: u64) -> usize {
    let launchers = descriptors.saturating_sub(RESERVE + LAUNCHERS.0 * sandboxes) / LAUNCHERS.1;
    let servers = (descriptors - descriptors / 4).saturating_sub(RESERVE + SERVERS.0 * sandboxes) / SERVERS.1;
    let most = launchers.min(servers).clamp(COMMANDS_OF_ALL_MIN, Semaphore::MAX_PERMITS as u64);
    usize::try_from(most).unwrap_or(usize::MAX)
}

impl Places {
    pub(super) fn new(shared: Arc<Shared>) -> Places {
        let commands = Arc::new(Semaphore::new(COMMANDS_MAX));
        Places { shared, commands, works: Arc::new(Semaphore::new(WORKS_MAX)) }
    }

    /// A place for a command, at once or not at all.
    pub(super) fn command(&self) -> Result<Place, Error> {
        let own = self.commands.clone().try_acquire_owned();
        let own = own.map_err(|_| Error::Full { limit: "commands of a sandbox", most: COMMANDS_MAX })?;
        let most = self.shared.commands_max;
        let shared = self.shared.commands.clone().try_acquire_owned();
        let shared = shared.map_err(|_| Error::Full { limit: "commands of all sandboxes", most })?;
        Ok(Place(vec![own, shared]))
    }

    /// A place for work on files.
    pub(super) async fn work(&self) -> Result<Place, Error> {
        let own = wait(&self.works, "work on files in a sandbox", WORKS_MAX).await?;
        let shared = wait(&self.shared.works, "work on files in all sandboxes", WORKS_OF_ALL_MAX).await?;
        Ok(Place(vec![own, shared]))
    }

    /// A place for a listing, beside that for the work.
    pub(super) async fn list(&self) -> Result<Place, Error> {
        wait(&self.shared.lists, "listings in all sandboxes", LISTS_OF_ALL_MAX)
            .await
            .map(|place| Place(vec![place]))
    }
}

async fn wait(
    places: &Arc<Semaphore>,
    limit: &'static str,
    most: usize,
) -> Result<OwnedSemaphorePermit, Error> {
    match tokio::time::timeout(PLACE_WITHIN, places.clone().acquire_owned()).await {
        Ok(place) => place.map_err(|_| Error::Gone),
        Err(_) => Err(Error::Full { limit, most }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_leave_the_descriptors_that_sandboxes_need() {
        assert_eq!(commands_of_all(1000, 20_000), 1662);
        assert_eq!(commands_of_all(4096, 20_000), 64);
        assert_eq!(commands_of_all(0, 0), 64);
        for sandboxes in [1, 100, 1000] {
            for descriptors in [20_000, 65_536, 1 << 20] {
                let commands = commands_of_all(sandboxes, descriptors) as u64;
                assert!(LAUNCHERS.0 * sandboxes + LAUNCHERS.1 * commands + RESERVE <= descriptors);
                assert!(
                    SERVERS.0 * sandboxes + SERVERS.1 * commands + RESERVE <= descriptors - descriptors / 4
                );
            }
        }
    }

    #[tokio::test]
    async fn a_sandbox_cannot_have_more_than_its_share() {
        let shared = Arc::new(Shared::new(1000, 1 << 20));
        let (one, other) = (Places::new(shared.clone()), Places::new(shared));
        let taken: Vec<Place> = (0..COMMANDS_MAX).map(|_| one.command().unwrap()).collect();
        assert!(matches!(one.command(), Err(Error::Full { limit: "commands of a sandbox", .. })));
        assert!(other.command().is_ok());
        drop(taken);
        assert!(one.command().is_ok());
    }
}
