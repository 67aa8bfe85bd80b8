//! What is chosen of a draft for a commit, and what stands against it: the zone's rules, and an original that has changed.

use super::Error;
use super::apply::{Originals, Standing};
use super::commit::Conflict;
use super::kept::Kept;
use super::manifest::Kind;
use super::scan::{Change, Node};
use super::steps::{above, removes_tree};
use super::view::View;
use model::{Denial, quote};
use policy::{Now, Proposal, Was};
use std::collections::HashSet;

/// The changes at and below `paths`, with the new directories that lead there, by zone. Paths are compared as bytes with
/// those of the changes; the file system is not asked, so that no link leads a selection elsewhere.
pub(super) fn select<'a>(kept: &'a Kept, paths: &[Vec<u8>]) -> Result<Vec<Vec<&'a Change>>, Error> {
    let mut chosen: Vec<HashSet<&[u8]>> = kept.zones.iter().map(|_| HashSet::new()).collect();
    for path in paths {
        let (number, path) = locate(kept, path)?;
        let below = [path.as_slice(), b"/"].concat();
        let all = path.is_empty();
        let changes = &kept.zones[number].changes;
        let found = changes.iter().filter(|c| all || c.path == path || c.path.starts_with(&below));
        let found: Vec<&[u8]> = found.map(|change| change.path.as_slice()).collect();
        let is_empty = found.is_empty();
        chosen[number].extend(found);
        if is_empty {
            let shown = format!("{}/{}", kept.head.zones[number].at, quote(&path));
            return Err(Error::NothingAt(shown));
        }
    }
    let mut selected = Vec::new();
    for (zone, chosen) in kept.zones.iter().zip(&mut chosen) {
        if paths.is_empty() {
            selected.push(zone.changes.iter().collect());
            continue;
        }
        let leading: HashSet<&[u8]> = chosen.iter().flat_map(|path| above(path)).collect();
        let leads =
            |change: &&Change| change.now == Node::Directory && leading.contains(change.path.as_slice());
        let is_chosen = |change: &&Change| chosen.contains(change.path.as_slice()) || leads(change);
        selected.push(zone.changes.iter().filter(is_chosen).collect());
    }
    Ok(selected)
}

/// The zone of a path, and the path beneath it.
fn locate(kept: &Kept, path: &[u8]) -> Result<(usize, Vec<u8>), Error> {
    let refuse = |why| Err(Error::Path { path: quote(path), why });
    let (number, rest) = match path {
        [] => return refuse("it is empty"),
        [b'/', ..] => {
            let found = kept.head.zones.iter().enumerate().find_map(|(number, zone)| {
                let rest = path.strip_prefix(zone.at.as_bytes())?;
                (rest.is_empty() || rest.starts_with(b"/")).then_some((number, rest))
            });
            match found {
                Some((number, rest)) => (number, rest.strip_prefix(b"/").unwrap_or(rest)),
                None => return refuse("no zone of the draft is there"),
            }
        }
        _ if kept.zones.len() == 1 => (0, path),
        _ => return refuse("the draft has several zones: begin with the zone's place inside"),
    };
    let rest = rest.strip_suffix(b"/").unwrap_or(rest);
    let odd = |name: &[u8]| matches!(name, b"" | b"." | b"..");
    if !rest.is_empty() && rest.split(|byte| *byte == b'/').any(odd) {
        return refuse("it is not in its shortest form: no empty name, `.` or `..`");
    }
    Ok((number, rest.to_vec()))
}

pub(super) fn refusals(kept: &Kept, selected: &[Vec<&Change>]) -> Vec<Denial> {
    let mut refusals = Vec::new();
    for ((head, zone), changes) in kept.head.zones.iter().zip(&kept.zones).zip(selected) {
        let proposals: Vec<Proposal<'_>> = changes.iter().map(|change| proposal(change)).collect();
        let view = View::new(&zone.manifest, changes);
        refusals.extend(head.rules.check(&head.at, &proposals, &view));
    }
    refusals
}

fn proposal(change: &Change) -> Proposal<'_> {
    let was = change.was.as_ref().map(|was| match was.kind {
        Kind::File { .. } => Was::File { executable: was.executable() },
        _ => Was::Other,
    });
    let now = match &change.now {
        Node::Gone => Now::Gone,
        Node::Directory => Now::Directory,
        Node::File { size, executable, .. } => Now::File { bytes: *size, executable: *executable },
        Node::Mode { executable } => Now::Mode { executable: *executable },
        Node::Link { target } => Now::Link { target },
        Node::Special => Now::Special,
    };
    Proposal { path: &change.path, was, now, taint: change.taint.as_ref() }
}

/// What of the original has changed under the selection, and which new directories somebody else has made already.
pub(super) fn conflicts(
    kept: &Kept,
    selected: &[Vec<&Change>],
    originals: &Originals,
) -> (Vec<Conflict>, Vec<HashSet<Vec<u8>>>) {
    let mut conflicts = Vec::new();
    let mut there = Vec::new();
    for (number, changes) in selected.iter().enumerate() {
        let at = &kept.head.zones[number].at;
        let mut add = |path: &[u8], why: String| {
            conflicts.push(Conflict { path: format!("{at}/{}", quote(path)), why });
        };
        let made: HashSet<&[u8]> = changes
            .iter()
            .filter(|change| change.now == Node::Directory)
            .map(|change| change.path.as_slice())
            .collect();
        let entries = &kept.zones[number].manifest.entries;
        let mut already = HashSet::new();
        for change in changes {
            match originals.check(number, change, |path| made.contains(path)) {
                Ok(Standing::AsItWas) => {}
                Ok(Standing::MadeAlready) => drop(already.insert(change.path.clone())),
                Err(why) => {
                    add(&change.path, why);
                    continue;
                }
            }
            let known = |path: &[u8]| entries.contains_key::<[u8]>(path);
            if removes_tree(change)
                && let Some(unknown) = originals.unknown(number, &change.path, known)
            {
                add(&unknown, "it has appeared in a directory that the draft removes".to_owned());
            }
        }
        there.push(already);
    }
    (conflicts, there)
}
