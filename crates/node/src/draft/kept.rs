//! Drafts in the state directory: `drafts/ID/`, ours alone, with every name of a stranger inside of files and none as a
//! name.
//!
//! ```text
//! head         which sandbox, which zones, which rules, what ran in it
//! manifest-N   the original of zone N when it opened
//! changes-N    what is different in the draft
//! content-N/   the changed files, by number
//! journal      while a commit is applied
//! ```

use super::file::{get, put};
use super::manifest::Manifest;
use super::scan::{Change, scan};
use super::store::Store;
use super::who::Act;
use super::{Error, For};
use model::{Event, SandboxId, quote};
use policy::CommitRules;
use rustix::fd::OwnedFd;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs::{DirBuilder, File};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// A draft zone of a sandbox that is about to be built.
#[derive(Debug)]
pub(crate) struct Draft {
    /// Its number among the zones of the sandbox.
    pub zone: usize,
    pub at: String,
    pub from: PathBuf,
    pub directory: OwnedFd,
    pub rules: CommitRules,
}

/// One whose original is on record.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(super) draft: Draft,
    pub(super) manifest: Manifest,
}

impl Draft {
    /// Writes down what the original is. To be done before anything runs that could see it.
    pub(crate) fn open(self) -> Result<Opened, Error> {
        let manifest = Manifest::take(&self.directory)?;
        Ok(Opened { draft: self, manifest })
    }
}

impl Draft {
    pub(super) fn head(self) -> ZoneHead {
        let from = self.from.into_os_string().into_vec();
        ZoneHead { zone: self.zone, at: self.at, from, rules: self.rules }
    }
}

impl Opened {
    /// What the record says of it.
    pub(crate) fn event(&self, sandbox: SandboxId) -> Event {
        Event::DraftOpen {
            sandbox,
            at: quote(&self.draft.at),
            from: quote(self.draft.from.as_os_str().as_bytes()),
            entries: self.manifest.entries.len() as u64,
            manifest: self.manifest.digest(),
        }
    }
}

/// How a draft zone of a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DraftEnd {
    /// Its place inside.
    pub at: String,
    /// So many paths had changed.
    pub changes: u64,
    /// Whether they are kept.
    pub kept: bool,
    /// Why they could not be read or kept, quoted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// What is to become of the drafts of a sandbox that has ended.
pub(crate) struct Ended<'a> {
    pub state: &'a Path,
    pub sandbox: SandboxId,
    pub opened: Vec<Opened>,
    pub uppers: Vec<OwnedFd>,
    pub keep: bool,
    pub bytes_max: u64,
    pub acts: Vec<Act>,
}

/// Keeps the drafts, or says how much goes with them.
pub(crate) fn end(ended: Ended<'_>) -> Vec<DraftEnd> {
    let Ended { state, sandbox, opened, uppers, keep, bytes_max, acts } = ended;
    let told = |at: &str, outcome: Result<u64, String>, kept: bool| match outcome {
        Ok(changes) => DraftEnd { at: at.to_owned(), changes, kept: kept && changes > 0, problem: None },
        Err(why) => DraftEnd { at: at.to_owned(), changes: 0, kept: false, problem: Some(why) },
    };
    // The sandbox may have closed them to itself.
    for upper in &uppers {
        let _ = rustix::fs::fchmod(upper, rustix::fs::Mode::from_raw_mode(0o700));
    }
    let places: Vec<String> = opened.iter().map(|opened| opened.draft.at.clone()).collect();
    if !keep {
        let counted = opened.iter().zip(&uppers).map(|(opened, upper)| {
            let changes = scan(upper, &opened.manifest, None).map(|changes| changes.len() as u64);
            told(&opened.draft.at, changes.map_err(|error| chain(&error)), false)
        });
        return counted.collect();
    }
    match Kept::write(state, sandbox, opened, &uppers, bytes_max, acts) {
        Ok(counts) => places.iter().zip(counts).map(|(at, count)| told(at, Ok(count), true)).collect(),
        Err(error) => places.iter().map(|at| told(at, Err(chain(&error)), true)).collect(),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    quote(text)
}

/// What is known of one draft beside its changes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Head {
    pub sandbox: SandboxId,
    /// Whether its sandbox lives on: then this is what its draft was in one moment.
    pub lives: bool,
    pub kept_unix_ms: u64,
    pub zones: Vec<ZoneHead>,
    pub acts: Vec<Act>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ZoneHead {
    pub zone: usize,
    pub at: String,
    pub from: Vec<u8>,
    pub rules: CommitRules,
}

impl ZoneHead {
    pub(super) fn path(&self) -> PathBuf {
        OsString::from_vec(self.from.clone()).into()
    }
}

/// A draft of the state directory, locked for this process.
#[derive(Debug)]
pub struct Kept {
    pub(super) directory: PathBuf,
    pub(super) head: Head,
    pub(super) zones: Vec<Zone>,
    /// Held as long as this is: of the draft, and of the originals of one that lives.
    _locks: Vec<File>,
}

/// One zone of it.
#[derive(Debug)]
pub(super) struct Zone {
    pub manifest: Manifest,
    pub changes: Vec<Change>,
}

pub(super) fn drafts(state: &Path) -> PathBuf {
    state.join("drafts")
}

/// Locks a directory of ours.
pub(super) fn lock(directory: &Path, none: Error) -> Result<File, Error> {
    let lock = match File::open(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(none),
        lock => lock.call(|| format!("open({directory:?})"))?,
    };
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::Busy),
        locked => locked.call(|| format!("flock({directory:?})")).map(|()| lock),
    }
}

/// The drafts of a state directory, in the order of their names.
///
/// # Errors
/// The directory cannot be read.
pub fn list(state: &Path) -> Result<Vec<SandboxId>, Error> {
    let path = drafts(state);
    let entries = match std::fs::read_dir(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.call(|| format!("list({path:?})"))?,
    };
    let mut ids: Vec<SandboxId> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    ids.sort_by(|one, other| one.as_str().cmp(other.as_str()));
    Ok(ids)
}

impl Kept {
    /// Opens the draft of a sandbox, which nobody else may have open.
    ///
    /// # Errors
    /// There is none, it is in use, or its files are damaged.
    pub fn open(state: &Path, sandbox: SandboxId) -> Result<Kept, Error> {
        let directory = drafts(state).join(sandbox.as_str());
        let lock = lock(&directory, Error::None(sandbox))?;
        let head: Head = get(&directory.join("head"))?;
        let mut zones = Vec::new();
        for number in 0..head.zones.len() {
            let manifest = get(&directory.join(format!("manifest-{number}")))?;
            let changes = get(&directory.join(format!("changes-{number}")))?;
            zones.push(Zone { manifest, changes });
        }
        Ok(Kept { directory, head, zones, _locks: vec![lock] })
    }

    /// How many paths differ.
    pub fn changes(&self) -> usize {
        self.zones.iter().map(|zone| zone.changes.len()).sum()
    }

    /// Places inside and their originals.
    pub fn places(&self) -> impl Iterator<Item = (&str, PathBuf)> {
        self.head.zones.iter().map(|zone| (zone.at.as_str(), zone.path()))
    }

    /// When it was kept, in milliseconds since 1970.
    pub fn kept_unix_ms(&self) -> u64 {
        self.head.kept_unix_ms
    }

    /// What ran in its sandbox.
    pub fn acts(&self) -> &[Act] {
        &self.head.acts
    }

    /// The sandbox.
    pub fn sandbox(&self) -> SandboxId {
        self.head.sandbox
    }

    /// Reads the upper layers into a new draft; it is there whole or not at all. Gives the number of changes of each.
    fn write(
        state: &Path,
        sandbox: SandboxId,
        opened: Vec<Opened>,
        uppers: &[OwnedFd],
        bytes_max: u64,
        acts: Vec<Act>,
    ) -> Result<Vec<u64>, Error> {
        let all = drafts(state);
        let half = all.join(format!(".new-{sandbox}"));
        let make = |path: &Path| {
            let made = DirBuilder::new().mode(0o700).recursive(true).create(path);
            made.call(|| format!("mkdir({path:?})"))
        };
        // One of a process that was killed.
        let _ = std::fs::remove_dir_all(&half);
        make(&half)?;
        let written = (|| {
            let mut counts = Vec::new();
            let mut zones = Vec::new();
            for (number, (Opened { draft, manifest }, upper)) in opened.into_iter().zip(uppers).enumerate() {
                let content = half.join(format!("content-{number}"));
                make(&content)?;
                let changes = scan(upper, &manifest, Some(&mut Store::new(content, bytes_max)))?;
                put(&half.join(format!("manifest-{number}")), &manifest)?;
                put(&half.join(format!("changes-{number}")), &changes)?;
                counts.push(changes.len() as u64);
                zones.push(draft.head());
            }
            put(&half.join("head"), &Head { sandbox, lives: false, kept_unix_ms: now_ms(), zones, acts })?;
            Ok(counts)
        })();
        let is_empty = written.as_ref().is_ok_and(|counts| counts.iter().all(|count| *count == 0));
        if written.is_err() || is_empty {
            let _ = std::fs::remove_dir_all(&half);
            return written;
        }
        let whole = all.join(sandbox.as_str());
        File::open(&half)
            .and_then(|file| Ok(rustix::fs::syncfs(file)?))
            .call(|| format!("syncfs({half:?})"))?;
        std::fs::rename(&half, &whole).call(|| format!("rename({whole:?})"))?;
        File::open(&all).and_then(|file| file.sync_all()).call(|| format!("fsync({all:?})"))?;
        written
    }

    /// Holds another lock for as long.
    pub(super) fn hold(&mut self, lock: File) {
        self._locks.push(lock);
    }

    /// Removes it with all its content.
    pub(super) fn remove(self) -> Result<(), Error> {
        // Under another name first: whoever looks sees all of it or nothing.
        let gone = self.directory.with_file_name(format!(".gone-{}", self.head.sandbox));
        std::fs::rename(&self.directory, &gone).call(|| format!("rename({:?})", self.directory))?;
        std::fs::remove_dir_all(&gone).call(|| format!("remove({gone:?})"))
    }
}

pub(super) fn now_ms() -> u64 {
    now_ns().div_euclid(1_000_000) as u64
}

/// Now, as files are dated.
pub(crate) fn now_ns() -> i128 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_nanos() as i128,
        Err(before) => -(before.duration().as_nanos() as i128),
    }
}
