//! A commit: all of what was selected, or nothing.

use super::apply::{Begun, Originals, Trouble};
use super::file::put;
use super::journal::{Journal, Phase};
use super::kept::{Kept, drafts};
use super::living;
use super::manifest::Kind;
use super::recorded::{Committing, Discarding, committing, refused, undone};
use super::scan::{Change, Node};
use super::select::{conflicts, refusals, select};
use super::steps::{Step, steps};
use super::{Error, For};
use crate::State;
use crate::clock::SystemClock;
use ledger::{Ledger, Recorded};
use model::{Denial, Event, SandboxId, quote};
use rustix::fs::{Mode, OFlags};
use serde::Serialize;
use std::collections::HashSet;

/// What came of a commit.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The rules refuse these changes; nothing was applied.
    Refused(Vec<Denial>),
    /// The original has changed at these paths; nothing was applied.
    Conflicts(Vec<Conflict>),
    /// All of it was applied.
    Committed(Committed),
}

/// A path at which the original is no longer what it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Conflict {
    /// The path inside, quoted.
    pub path: String,
    /// What is different.
    pub why: String,
}

/// A commit that was applied.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Committed {
    /// How many paths, directories included.
    pub changes: u64,
    /// Bytes of new content.
    pub bytes: u64,
    /// How many changes the draft still has.
    pub remaining: u64,
    /// Whether a commit that was cut short was completed, and nothing else done.
    pub resumed: bool,
    /// Names in the original that are kept because somebody changed what was in them in the last moment.
    pub left: Vec<String>,
}

/// What a discard threw away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Done {
    /// How many paths had changed.
    pub changes: u64,
}

/// Applies what `paths` select of a draft to its originals; without paths, all of it. A commit of this draft that was cut
/// short is completed first, and then nothing else is done.
///
/// # Errors
/// What cannot be read or written. Nothing was applied then, or the journal says how far it came and the next commit goes
/// on from there.
pub fn commit(state: &State, sandbox: SandboxId, paths: &[Vec<u8>]) -> Result<Outcome, Error> {
    let kept = Kept::open(state.path(), sandbox)?;
    commit_kept(state, kept, paths)
}

/// The same for a draft that is open: a moment of one that lives, say.
///
/// # Errors
/// As there.
pub fn commit_kept(state: &State, mut kept: Kept, paths: &[Vec<u8>]) -> Result<Outcome, Error> {
    let outcome = run(state, &mut kept, paths);
    // Of a sandbox that lives this was only a moment, unless a commit of it has to be gone on with.
    let is_over = kept.head.lives && Journal::read(&kept.directory)?.is_none();
    if is_over || (outcome.is_ok() && kept.changes() == 0) {
        kept.remove()?;
    }
    outcome
}

fn run(state: &State, kept: &mut Kept, paths: &[Vec<u8>]) -> Result<Outcome, Error> {
    let mut ledger = Ledger::open(state.path(), Box::new(SystemClock))?;
    let outcome = match Journal::read(&kept.directory)? {
        Some(journal) if journal.phase == Phase::Staging => {
            let originals = originals(kept, Begun::Before)?;
            journal.steps.iter().for_each(|step| originals.unstage(step));
            Journal::remove(&kept.directory)?;
            begin(kept, &mut ledger, paths)
        }
        Some(journal) => resume(kept, &mut ledger, journal),
        None => begin(kept, &mut ledger, paths),
    }?;
    ledger.seal()?;
    Ok(outcome)
}

/// Throws a draft away.
///
/// # Errors
/// There is none, it is in use, a commit of it was cut short, or it cannot be removed.
pub fn discard(state: &State, sandbox: SandboxId) -> Result<Done, Error> {
    let lives = living::is_living(state.path(), sandbox);
    if lives && !drafts(state.path()).join(sandbox.as_str()).exists() {
        return Err(Error::Lives);
    }
    let kept = Kept::open(state.path(), sandbox)?;
    if Journal::read(&kept.directory)?.is_some() {
        return Err(Error::Interrupted);
    }
    if lives {
        // Only a moment of it, which a process left that was killed.
        kept.remove()?;
        return Err(Error::Lives);
    }
    let mut ledger = Ledger::open(state.path(), Box::new(SystemClock))?;
    let changes = kept.changes() as u64;
    let _recorded = ledger.record(Discarding { sandbox, changes })?;
    kept.remove()?;
    ledger.seal()?;
    Ok(Done { changes })
}

/// Opens the directories that the draft belongs to.
fn originals(kept: &Kept, begun: Begun) -> Result<Originals, Error> {
    let mut roots = Vec::new();
    let mut paths = Vec::new();
    for (head, zone) in kept.head.zones.iter().zip(&kept.zones) {
        let path = head.path();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = match rustix::fs::open(&path, flags, Mode::empty()) {
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP) => {
                return Err(Error::Moved(path));
            }
            root => root.call(|| format!("open({path:?})"))?,
        };
        let stat = rustix::fs::fstat(&root).call(|| format!("stat({path:?})"))?;
        if (stat.st_dev, stat.st_ino) != zone.manifest.root {
            return Err(Error::Moved(path));
        }
        roots.push(root);
        paths.push(path);
    }
    Ok(Originals { roots, paths, draft: kept.directory.clone(), begun, open: Default::default() })
}

fn begin(kept: &mut Kept, ledger: &mut Ledger, paths: &[Vec<u8>]) -> Result<Outcome, Error> {
    let selected = select(kept, paths)?;
    let sandbox = kept.head.sandbox;
    let reasons = refusals(kept, &selected);
    if !reasons.is_empty() {
        let named = reasons.iter().map(|refusal| format!("{}: {}", refusal.rule, refusal.asked));
        ledger.observe(refused(sandbox, named))?;
        return Ok(Outcome::Refused(reasons));
    }
    let originals = originals(kept, Begun::Here)?;
    let (conflicts, there) = conflicts(kept, &selected, &originals);
    if !conflicts.is_empty() {
        let named = conflicts.iter().map(|conflict| format!("conflict: {}: {}", conflict.path, conflict.why));
        ledger.observe(refused(sandbox, named))?;
        return Ok(Outcome::Conflicts(conflicts));
    }
    let mut nonce = [0; 4];
    rustix::rand::getrandom(&mut nonce[..], rustix::rand::GetRandomFlags::empty())
        .call(|| "getrandom()".to_owned())?;
    let mut all = Vec::new();
    for (zone, changes) in selected.iter().enumerate() {
        let first = all.len() as u32;
        all.extend(steps(zone, changes, &there[zone], u32::from_ne_bytes(nonce), first));
    }
    let named: Vec<(usize, Vec<u8>)> = selected
        .iter()
        .enumerate()
        .flat_map(|(zone, changes)| changes.iter().map(move |change| (zone, change.path.clone())))
        .collect();
    let recorded = ledger.record(committing(kept, &selected, Begun::Here))?;
    let mut journal = Journal { phase: Phase::Staging, steps: all, selected: named };
    journal.write(&kept.directory)?;
    let staged = stage(&originals, &mut journal.steps);
    if let Err(error) = staged.and_then(|()| originals.sync()) {
        journal.steps.iter().for_each(|step| originals.unstage(step));
        Journal::remove(&kept.directory)?;
        ledger.observe(undone(sandbox, &error.to_string()))?;
        return Err(error);
    }
    journal.phase = Phase::Placing;
    journal.write(&kept.directory)?;
    apply(kept, ledger, &originals, journal, recorded)
}

fn stage(originals: &Originals, steps: &mut [Step]) -> Result<(), Error> {
    steps.iter_mut().try_for_each(|step| originals.stage(step))
}

/// Completes a commit that was cut short, or undoes it if the original has changed since.
fn resume(kept: &mut Kept, ledger: &mut Ledger, journal: Journal) -> Result<Outcome, Error> {
    let originals = originals(kept, Begun::Before)?;
    let chosen: HashSet<(usize, &[u8])> =
        journal.selected.iter().map(|(zone, path)| (*zone, path.as_slice())).collect();
    let selected: Vec<Vec<&Change>> = kept
        .zones
        .iter()
        .enumerate()
        .map(|(number, zone)| {
            zone.changes.iter().filter(|change| chosen.contains(&(number, change.path.as_slice()))).collect()
        })
        .collect();
    let recorded = ledger.record(committing(kept, &selected, Begun::Before))?;
    apply(kept, ledger, &originals, journal, recorded)
}

/// Puts everything in its place, then removes what was there. Takes the proof that this is on record.
fn apply(
    kept: &mut Kept,
    ledger: &mut Ledger,
    originals: &Originals,
    mut journal: Journal,
    recorded: Recorded<Committing>,
) -> Result<Outcome, Error> {
    let committing = recorded.into_inner();
    let sandbox = committing.sandbox;
    if journal.phase == Phase::Placing {
        let mut done = 0;
        let placed = journal.steps.iter().try_for_each(|step| {
            originals.forward(step)?;
            done += 1;
            Ok(())
        });
        if let Err(trouble) = placed {
            // A commit that goes on has done steps behind the one that failed, too.
            let done = if originals.begun == Begun::Before { journal.steps.len() } else { done };
            journal.steps[..done].iter().rev().for_each(|step| originals.back(step));
            journal.steps.iter().for_each(|step| originals.unstage(step));
            originals.sync()?;
            Journal::remove(&kept.directory)?;
            return match trouble {
                Trouble::Conflict { zone, path, why } => {
                    let path = format!("{}/{}", kept.head.zones[zone].at, quote(path));
                    ledger.observe(undone(sandbox, &format!("conflict: {path}: {why}")))?;
                    Ok(Outcome::Conflicts(vec![Conflict { path, why }]))
                }
                Trouble::Failed(error) => {
                    ledger.observe(undone(sandbox, &error.to_string()))?;
                    Err(error)
                }
            };
        }
        originals.sync()?;
        journal.phase = Phase::Cleaning;
        journal.write(&kept.directory)?;
    }
    let mut left = Vec::new();
    for step in &journal.steps {
        // All below a removed tree, in the order of their paths.
        let changes = &kept.zones[step.zone].changes;
        let below = [step.path.as_slice(), b"/"].concat();
        let first = changes.partition_point(|change| change.path < below);
        let count = changes[first..].iter().take_while(|change| change.path.starts_with(&below)).count();
        let gone: Vec<&Change> = changes[first..first + count].iter().collect();
        left.extend(originals.clean(step, &gone)?);
    }
    forget(kept, originals, &journal)?;
    living::learn(kept)?;
    Journal::remove(&kept.directory)?;
    ledger.observe(Event::DraftCommitted { sandbox, applied: true, why: None })?;
    Ok(Outcome::Committed(Committed {
        changes: committing.changes,
        bytes: committing.bytes,
        remaining: kept.changes() as u64,
        resumed: originals.begun == Begun::Before,
        left,
    }))
}

/// What is committed is a change no more, and part of what the original is.
fn forget(kept: &mut Kept, originals: &Originals, journal: &Journal) -> Result<(), Error> {
    let chosen: HashSet<(usize, &[u8])> =
        journal.selected.iter().map(|(zone, path)| (*zone, path.as_slice())).collect();
    for (number, zone) in kept.zones.iter_mut().enumerate() {
        let Some(_) = journal.selected.iter().find(|(zone, _)| *zone == number) else { continue };
        let changes = std::mem::take(&mut zone.changes);
        let (done, rest): (Vec<Change>, Vec<Change>) =
            changes.into_iter().partition(|change| chosen.contains(&(number, change.path.as_slice())));
        zone.changes = rest;
        for change in done {
            let known = match (&change.now, &change.was) {
                (Node::File { hash, .. }, _) => *hash,
                (Node::Mode { .. }, Some(was)) => was.hash(),
                _ => None,
            };
            match originals.now(number, &change.path) {
                Some(mut entry) => {
                    if let Kind::File { hash } = &mut entry.kind {
                        *hash = known;
                    }
                    zone.manifest.entries.insert(change.path, entry);
                }
                None => drop(zone.manifest.entries.remove(&change.path)),
            }
        }
        put(&kept.directory.join(format!("manifest-{number}")), &zone.manifest)?;
        put(&kept.directory.join(format!("changes-{number}")), &zone.changes)?;
    }
    Ok(())
}
