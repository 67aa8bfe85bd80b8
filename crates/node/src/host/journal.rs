//! The ledger, awaited: what is caused here waits until it is on disk, together with all that others cause meanwhile.

use super::Error;
use ledger::{Group, Recorded};
use model::{Effect, Event};
use tokio::sync::oneshot;

/// A handle on the one writer of this process.
#[derive(Clone)]
pub(super) struct Journal(Group);

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Journal")
    }
}

impl Journal {
    pub(super) fn over(group: Group) -> Journal {
        Journal(group)
    }

    /// Has `effect` written, behind all that was given before, and waits until it is durable.
    pub(super) fn record<E: Effect + Send + 'static>(
        &self,
        effect: E,
    ) -> impl Future<Output = Result<Recorded<E>, Error>> + Send + use<E> {
        let (tell, told) = oneshot::channel();
        self.0.record(effect, move |recorded| drop(tell.send(recorded)));
        async {
            match told.await {
                Ok(recorded) => recorded.map_err(|error| Error::Ledger(chain(&*error))),
                Err(_) => Err(Error::Ledger("its writer has ended".to_owned())),
            }
        }
    }

    /// Writes down what happened already.
    pub(super) fn observe(&self, event: Event) {
        self.0.observe(event);
    }

    /// Signs a checkpoint over everything until now; gives whether it is on disk.
    pub(super) async fn seal(&self) -> bool {
        let (tell, told) = oneshot::channel();
        self.0.seal(move |sealed| {
            let _ = tell.send(sealed.is_ok());
        });
        told.await.unwrap_or(false)
    }

    /// Why the last write failed, if it did.
    pub(super) fn failure(&self) -> Option<String> {
        self.0.failure().map(|error| chain(&*error))
    }
}

/// An error and everything below it, in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
