//! What the record says of commits and discards.

use super::apply::Begun;
use super::kept::Kept;
use super::scan::{Change, Node};
use model::{Effect, Event, SandboxId, quote};
use sha2::{Digest, Sha256};
use std::os::unix::ffi::OsStrExt;

/// So many paths or reasons are recorded by name.
const NAMED_MAX: usize = 100;

/// The proof that a commit is on record before anything of the original is touched.
pub(super) struct Committing {
    pub sandbox: SandboxId,
    pub to: Vec<String>,
    pub changes: u64,
    pub bytes: u64,
    pub digest: String,
    pub paths: Vec<String>,
    pub begun: Begun,
}

impl Effect for Committing {
    fn events(&self) -> Vec<Event> {
        vec![Event::DraftCommit {
            sandbox: self.sandbox,
            to: self.to.clone(),
            uid: uid(),
            changes: self.changes,
            bytes: self.bytes,
            digest: self.digest.clone(),
            paths: self.paths.clone(),
            resumed: self.begun == Begun::Before,
        }]
    }
}

/// The proof that a discard is on record.
pub(super) struct Discarding {
    pub sandbox: SandboxId,
    pub changes: u64,
}

impl Effect for Discarding {
    fn events(&self) -> Vec<Event> {
        vec![Event::DraftDiscard { sandbox: self.sandbox, uid: uid(), changes: self.changes }]
    }
}

fn uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

pub(super) fn committing(kept: &Kept, selected: &[Vec<&Change>], begun: Begun) -> Committing {
    let mut hasher = Sha256::new();
    let mut paths = Vec::new();
    let (mut changes, mut bytes) = (0, 0);
    for (zone, selected) in selected.iter().enumerate() {
        for change in selected {
            changes += 1;
            if let Node::File { size, .. } = change.now {
                bytes += size;
            }
            hasher.update(postcard::to_stdvec(&(zone, change)).unwrap_or_default());
            if paths.len() < NAMED_MAX {
                let at = &kept.head.zones[zone].at;
                paths.push(format!("{} {at}/{}", super::show::kind(change).word(), quote(&change.path)));
            }
        }
    }
    let to = |path: &std::path::Path| quote(path.as_os_str().as_bytes());
    Committing {
        sandbox: kept.head.sandbox,
        to: kept.head.zones.iter().map(|zone| to(&zone.path())).collect(),
        changes,
        bytes,
        digest: format!("sha256:{:x}", hasher.finalize()),
        paths,
        begun,
    }
}

pub(super) fn refused(sandbox: SandboxId, reasons: impl Iterator<Item = String>) -> Event {
    Event::DraftRefused { sandbox, uid: uid(), reasons: reasons.take(NAMED_MAX).collect() }
}

pub(super) fn undone(sandbox: SandboxId, why: &str) -> Event {
    Event::DraftCommitted { sandbox, applied: false, why: Some(why.to_owned()) }
}
