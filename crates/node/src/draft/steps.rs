//! From selected changes to single steps on the original, in an order in which each finds what it needs.

use super::manifest::{Entry, Kind};
use super::scan::{Change, Node};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// One step. Until the last phase it can be undone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Step {
    pub zone: usize,
    pub path: Vec<u8>,
    /// What is there before.
    pub was: Option<Entry>,
    pub what: What,
    /// A name for a moment, as a path beneath the zone: of what is to come, then of what was there.
    pub beside: Vec<u8>,
    /// The inode of what is to come, once it is staged.
    pub staged: Option<u64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum What {
    Remove,
    MakeDirectory,
    File { content: u32, executable: bool },
    Link { target: Vec<u8> },
    Mode { executable: bool },
}

impl What {
    /// Steps happen in this order: names are free before they are taken, and directories there before their files.
    fn rank(&self) -> u8 {
        match self {
            What::Remove => 0,
            What::MakeDirectory => 1,
            What::File { .. } | What::Link { .. } => 2,
            What::Mode { .. } => 3,
        }
    }
}

/// The directory of a path.
pub(super) fn parent(path: &[u8]) -> &[u8] {
    path.iter().rposition(|byte| *byte == b'/').map_or(b"", |at| &path[..at])
}

/// The paths above `path`, the nearest first, without the zone itself.
pub(super) fn above(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(parent(path)), |path| Some(parent(path))).take_while(|path| !path.is_empty())
}

fn is_directory(entry: Option<&Entry>) -> bool {
    entry.is_some_and(|entry| entry.kind == Kind::Directory)
}

/// Whether a change takes away a directory with all that is in it.
pub(super) fn removes_tree(change: &Change) -> bool {
    is_directory(change.was.as_ref()) && change.now != Node::Directory
}

/// The steps of one zone. `there` are directories that somebody else has made meanwhile. `nonce` makes names unique.
pub(super) fn steps(
    zone: usize,
    selected: &[&Change],
    there: &HashSet<Vec<u8>>,
    nonce: u32,
    first: u32,
) -> Vec<Step> {
    let trees: HashSet<&[u8]> =
        selected.iter().filter(|change| removes_tree(change)).map(|change| change.path.as_slice()).collect();
    let made: HashSet<&[u8]> = selected
        .iter()
        .filter(|change| change.now == Node::Directory && !there.contains(&change.path))
        .map(|change| change.path.as_slice())
        .collect();
    let mut steps: Vec<Step> = Vec::new();
    let mut add = |path: &[u8], was: Option<&Entry>, what: What| {
        let number = (u64::from(nonce) << 32) | (u64::from(first) + steps.len() as u64);
        // What is to come is made in the nearest directory that is there already: one file system, one rename.
        let near = above(path).find(|above| !made.contains(above)).unwrap_or_default();
        let mut beside = near.to_vec();
        if !beside.is_empty() {
            beside.push(b'/');
        }
        beside.extend_from_slice(format!(".casemate-{number:016x}").as_bytes());
        steps.push(Step { zone, path: path.to_vec(), was: was.cloned(), what, beside, staged: None });
    };
    for change in selected {
        let Change { path, was, now, .. } = change;
        if *now == Node::Gone && above(path).any(|above| trees.contains(above)) {
            continue;
        }
        if made.contains(path.as_slice()) || there.contains(path) {
            if was.is_some() {
                add(path, was.as_ref(), What::Remove);
            }
            if made.contains(path.as_slice()) {
                add(path, None, What::MakeDirectory);
            }
            continue;
        }
        // A name can be exchanged for another file's; a directory has to leave first.
        let mut before = was.as_ref();
        if *now == Node::Gone || trees.contains(path.as_slice()) {
            add(path, before, What::Remove);
            before = None;
        }
        match now {
            Node::File { content: Some(content), executable, .. } => {
                add(path, before, What::File { content: *content, executable: *executable });
            }
            Node::Link { target } => add(path, before, What::Link { target: target.clone() }),
            Node::Mode { executable } => add(path, before, What::Mode { executable: *executable }),
            // What is without content or special is refused before.
            Node::Gone | Node::Directory | Node::Special | Node::File { content: None, .. } => {}
        }
    }
    steps.sort_by(|one, other| (one.what.rank(), &one.path).cmp(&(other.what.rank(), &other.path)));
    steps
}
