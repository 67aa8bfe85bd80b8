//! What a client of the API causes in a sandbox. Names and paths are the client's own bytes; they are quoted here.

use model::{Beside, Effect, EndReason, Event, KeyId, LimitHit, SandboxId, Usage, quote};
use policy::{FileRequest, Permit};

/// A sandbox is about to be made for somebody. What is built is recorded with it, as [`super::Beginning`].
#[derive(Debug)]
pub struct Creation {
    /// Which one.
    pub sandbox: SandboxId,
    /// Whose it will be.
    pub key: KeyId,
    /// The template, as it was asked for.
    pub template: String,
    /// How long it lives unless that is changed.
    pub timeout_ms: u64,
    /// What its owner notes about it, as JSON; empty when that is nothing.
    pub metadata: Vec<u8>,
}

impl Effect for Creation {
    fn events(&self) -> Vec<Event> {
        let metadata = (!self.metadata.is_empty()).then(|| policy::hash_of(&self.metadata));
        vec![Event::Create {
            sandbox: self.sandbox,
            key: self.key,
            template: quote(&self.template),
            timeout_ms: self.timeout_ms,
            metadata_bytes: self.metadata.len() as u64,
            metadata,
        }]
    }
}

/// A file is about to be touched.
#[derive(Debug)]
pub struct FileAccess {
    /// Where.
    pub sandbox: SandboxId,
    /// What is done, and what allowed it.
    pub permit: Permit<FileRequest>,
    /// In a sandbox with draft zones, what goes on beside it.
    pub beside: Option<Beside>,
}

impl Effect for FileAccess {
    fn events(&self) -> Vec<Event> {
        let FileRequest { op, path, to, user } = self.permit.request();
        vec![Event::File {
            sandbox: self.sandbox,
            op: *op,
            path: shown(path),
            to: to.as_ref().map(shown),
            user: super::name_of(*user),
            decision: self.permit.decision().clone(),
            beside: self.beside.clone(),
        }]
    }
}

/// The most bytes of a path that are recorded as they are.
const PATH_BYTES_MAX: usize = 512;

/// A path for the record. Of a long one its beginning and its hash: a client must not fill the log with paths.
fn shown(path: &Vec<u8>) -> String {
    match path.get(..PATH_BYTES_MAX) {
        None => quote(path),
        Some(head) => format!("{}[{} bytes, {}]", quote(head), path.len(), policy::hash_of(path)),
    }
}

/// A command is about to be sent a signal.
#[derive(Debug)]
pub struct Signaling {
    /// Where.
    pub sandbox: SandboxId,
    /// Which command.
    pub exec: u32,
    /// The signal's number.
    pub signal: i32,
}

impl Effect for Signaling {
    fn events(&self) -> Vec<Event> {
        let Signaling { sandbox, exec, signal } = *self;
        vec![Event::Signal { sandbox, exec, signal }]
    }
}

/// A sandbox is about to get another time to end.
#[derive(Debug)]
pub struct NewTimeout {
    /// Which one.
    pub sandbox: SandboxId,
    /// How long it lives from now on.
    pub timeout_ms: u64,
}

impl Effect for NewTimeout {
    fn events(&self) -> Vec<Event> {
        let NewTimeout { sandbox, timeout_ms } = *self;
        vec![Event::Timeout { sandbox, timeout_ms }]
    }
}

/// A sandbox has ended. Nothing is caused any more, but the launcher keeps it until this is on disk.
#[derive(Debug, Clone)]
pub struct Ending {
    /// Which one.
    pub sandbox: SandboxId,
    /// Limits that it ran into.
    pub hits: Vec<LimitHit>,
    /// Why.
    pub reason: EndReason,
    /// What it used.
    pub usage: Usage,
    /// Calls that were refused.
    pub denials: u64,
}

impl Effect for Ending {
    fn events(&self) -> Vec<Event> {
        let Ending { sandbox, hits, reason, usage, denials } = self.clone();
        let limits = hits.into_iter().map(|limit| Event::limit(sandbox, limit));
        limits.chain([Event::End { sandbox, reason, usage, denials }]).collect()
    }
}
