//! Sandboxes whose end nobody recorded: whoever was to do it was killed with whoever was to do it then.
//!
//! The log itself says which: a creation without an end, of a sandbox that does not live. How far back that has to be looked
//! for is remembered beside the log; where that is lost, from its beginning.

use super::inner::Inner;
use crate::effects::api::Ending;
use crate::open_from;
use model::{EndReason, SandboxId, Usage};
use serde::Deserialize;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long those are waited for who may still be recording an end: the keeper of a launcher that was killed.
const OTHERS: Duration = Duration::from_secs(5);

/// What of a record matters here.
#[derive(Deserialize)]
struct Told {
    event: String,
    sandbox: Option<String>,
}

/// Records the ends that are missing among the first `size` records, but for sandboxes that the launcher told of: their
/// ends come from there.
pub(super) async fn close(inner: Arc<Inner>, size: u64, told: HashSet<SandboxId>) {
    tokio::time::sleep(OTHERS).await;
    let state = inner.settings.state.path().to_owned();
    let found = tokio::task::spawn_blocking(move || open_ones(&state, open_from::read(&state), size)).await;
    // A log that cannot be read is for `audit verify` to tell of; the next server looks again.
    let Ok(Ok(open)) = found else { return };
    let mut first = size;
    for (id, seq) in open {
        if told.contains(&id) {
            first = first.min(seq);
            continue;
        }
        let usage = Usage::default();
        let ending =
            Ending { sandbox: id, hits: Vec::new(), reason: EndReason::Abandoned, usage, denials: 0 };
        if inner.journal.record(ending).await.is_err() {
            return;
        }
    }
    if inner.journal.seal().await {
        open_from::write(inner.settings.state.path(), first);
    }
}

/// The sandboxes with a creation before `size` and no end, and the numbers of those records.
fn open_ones(state: &Path, from: u64, size: u64) -> Result<BTreeMap<SandboxId, u64>, ledger::Error> {
    let mut open = BTreeMap::new();
    for entry in ledger::read_from(state, from)? {
        let entry = entry?;
        let Ok(Told { event, sandbox: Some(sandbox) }) = serde_json::from_str(&entry.line) else { continue };
        let Ok(id) = sandbox.parse::<SandboxId>() else { continue };
        match event.as_str() {
            // Those of a `casemate run` have wardens of their own, and no such record.
            "sandbox.create" if entry.seq < size => drop(open.insert(id, entry.seq)),
            "sandbox.end" => drop(open.remove(&id)),
            _ => {}
        }
    }
    Ok(open)
}
