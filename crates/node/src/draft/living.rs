//! Drafts of sandboxes that live: `drafts/.open-ID/` says what their originals were, and what changed is read anew, from the
//! sandbox's disk, whenever somebody asks.

use super::acts::acts;
use super::file::{get, put};
use super::kept::{Draft, Head, Kept, drafts, lock, now_ms};
use super::manifest::Manifest;
use super::scan::scan;
use super::store::Store;
use super::{Error, For};
use crate::beneath;
use crate::draft::journal::Journal;
use model::{Event, SandboxId};
use rustix::fd::OwnedFd;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

const OPEN: &str = ".open-";

fn place(state: &Path, id: SandboxId) -> PathBuf {
    drafts(state).join(format!("{OPEN}{id}"))
}

/// Writes down the originals of a sandbox that is about to be built. Gives what the record is to say.
pub(crate) fn begin(state: &Path, id: SandboxId, zones: Vec<Draft>) -> Result<Vec<Event>, crate::Error> {
    let directory = place(state, id);
    let mut events = Vec::new();
    let mut heads = Vec::new();
    for (number, draft) in zones.into_iter().enumerate() {
        let at = draft.at.clone();
        let written = draft.open().and_then(|opened| {
            let made = DirBuilder::new().mode(0o700).recursive(true).create(&directory);
            made.call(|| format!("mkdir({directory:?})"))?;
            put(&directory.join(format!("manifest-{number}")), &opened.manifest)?;
            Ok(opened)
        });
        let opened = written.map_err(|source| {
            end(state, id);
            crate::Error::Draft { at, source }
        })?;
        events.push(opened.event(id));
        heads.push(opened.draft.head());
    }
    let at = heads.first().map(|head| head.at.clone()).unwrap_or_default();
    let head = Head { sandbox: id, lives: true, kept_unix_ms: now_ms(), zones: heads, acts: Vec::new() };
    put(&directory.join("head"), &head).map_err(|source| crate::Error::Draft { at, source })?;
    Ok(events)
}

/// The sandbox is gone, and its draft with it.
pub(crate) fn end(state: &Path, id: SandboxId) {
    let directory = place(state, id);
    if directory.exists() {
        // What stays is swept by the next server.
        let _ = std::fs::remove_dir_all(directory);
    }
}

/// Removes what sandboxes left that ended while nobody looked.
pub(crate) fn sweep(state: &Path, alive: &[SandboxId]) {
    for id in living(state) {
        if !alive.contains(&id) {
            end(state, id);
        }
    }
}

/// Whether there is a living sandbox of this name with a draft.
pub fn is_living(state: &Path, id: SandboxId) -> bool {
    place(state, id).exists()
}

/// The living sandboxes with drafts, in the order of their names.
pub fn living(state: &Path) -> Vec<SandboxId> {
    let entries = std::fs::read_dir(drafts(state)).into_iter().flatten().flatten();
    let mut ids: Vec<SandboxId> =
        entries.filter_map(|entry| entry.file_name().to_str()?.strip_prefix(OPEN)?.parse().ok()).collect();
    ids.sort_by(|one, other| one.as_str().cmp(other.as_str()));
    ids
}

/// What the draft of a living sandbox is in this moment, read from `disk`, a place on its disk. A commit of it that was cut
/// short is given as it was left.
///
/// # Errors
/// There is no such sandbox, somebody works with its draft, or it cannot be read.
pub fn snapshot(state: &Path, id: SandboxId, disk: &OwnedFd) -> Result<Kept, Error> {
    let open = place(state, id);
    let held = lock(&open, Error::None(id))?;
    let whole = drafts(state).join(id.as_str());
    if whole.exists() {
        let mut kept = Kept::open(state, id)?;
        if Journal::read(&whole)?.is_some() {
            kept.hold(held);
            return Ok(kept);
        }
        // A moment that is over.
        kept.remove()?;
    }
    let mut head: Head = get(&open.join("head"))?;
    head.kept_unix_ms = now_ms();
    head.acts = acts(state, id)?;
    let half = drafts(state).join(format!(".new-{id}"));
    let _ = std::fs::remove_dir_all(&half);
    let room = rustix::fs::fstatfs(disk).call(|| "fstatfs(disk)".to_owned())?;
    let bytes_max = room.f_blocks * room.f_bsize as u64;
    let written = (|| {
        for (number, zone) in head.zones.iter().enumerate() {
            let content = half.join(format!("content-{number}"));
            let made = DirBuilder::new().mode(0o700).recursive(true).create(&content);
            made.call(|| format!("mkdir({content:?})"))?;
            let name = jail::upper_layer(zone.zone);
            let upper = beneath::directory(disk, name.as_bytes()).call(|| format!("open(disk, {name:?})"))?;
            let manifest: Manifest = get(&open.join(format!("manifest-{number}")))?;
            let changes = scan(&upper, &manifest, Some(&mut Store::new(content, bytes_max)))?;
            put(&half.join(format!("manifest-{number}")), &manifest)?;
            put(&half.join(format!("changes-{number}")), &changes)?;
        }
        put(&half.join("head"), &head)
    })();
    if let Err(error) = written {
        let _ = std::fs::remove_dir_all(&half);
        return Err(error);
    }
    std::fs::rename(&half, &whole).call(|| format!("rename({whole:?})"))?;
    let mut kept = Kept::open(state, id)?;
    kept.hold(held);
    Ok(kept)
}

impl Kept {
    /// Done with it: what was only a moment of a living sandbox is removed.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn done(self) -> Result<(), Error> {
        if self.head.lives && Journal::read(&self.directory)?.is_none() { self.remove() } else { Ok(()) }
    }
}

/// What was committed is part of the originals from now on.
pub(super) fn learn(kept: &Kept) -> Result<(), Error> {
    let open = kept.directory.with_file_name(format!("{OPEN}{}", kept.head.sandbox));
    if kept.head.lives && open.exists() {
        for (number, zone) in kept.zones.iter().enumerate() {
            put(&open.join(format!("manifest-{number}")), &zone.manifest)?;
        }
    }
    Ok(())
}
