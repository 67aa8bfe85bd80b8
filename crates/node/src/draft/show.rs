//! What a draft changed, for people and programs. Names and text are a stranger's: names are quoted here, text is given as
//! bytes, for whoever shows it to neutralise.

use super::kept::Kept;
use super::manifest::{Entry, Kind};
use super::scan::{Change, Node};
use super::store::content;
use super::who::{Attribution, Candidates};
use crate::beneath;
use model::quote;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use serde::Serialize;
use std::io::Read;

/// Text up to this size is shown line by line.
const TEXT_BYTES_MAX: u64 = 256 << 10;

/// What kind of change it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeKind {
    /// Nothing was there.
    Added,
    /// Another content.
    Changed,
    /// Nothing is there.
    Deleted,
    /// Another mode alone.
    Mode,
    /// A file became a directory, or the like.
    Type,
}

impl ChangeKind {
    /// One word for it.
    pub fn word(self) -> &'static str {
        match self {
            ChangeKind::Added => "added",
            ChangeKind::Changed => "changed",
            ChangeKind::Deleted => "deleted",
            ChangeKind::Mode => "mode",
            ChangeKind::Type => "type",
        }
    }
}

/// One change.
#[derive(Debug, Clone, Serialize)]
pub struct Shown {
    /// The path inside, quoted.
    pub path: String,
    /// Added, changed, deleted, mode or type.
    pub kind: ChangeKind,
    /// What is there now: file, executable, directory, link, special; none for what was deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub what: Option<&'static str>,
    /// Bytes of new content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Where a link leads, quoted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// What is never committed of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub never: Option<String>,
    /// Who may have changed it last.
    pub by: Attribution,
    /// Both contents, where they are text and not too long.
    #[serde(skip)]
    pub text: Option<TextOf>,
}

/// The contents of a changed file.
#[derive(Debug, Clone, Default)]
pub struct TextOf {
    /// What the original has; empty where it has nothing.
    pub old: Vec<u8>,
    /// What the draft has; empty where it has nothing.
    pub new: Vec<u8>,
}

/// Whether to look into the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contents {
    /// Names and kinds alone.
    Left,
    /// Text, too.
    Read,
}

pub(super) fn kind(change: &Change) -> ChangeKind {
    let same_kind = |was: &Entry| {
        matches!(
            (&was.kind, &change.now),
            (Kind::File { .. }, Node::File { .. } | Node::Mode { .. })
                | (Kind::Directory, Node::Directory)
                | (Kind::Link { .. }, Node::Link { .. })
                | (Kind::Special, Node::Special)
        )
    };
    match (&change.was, &change.now) {
        (_, Node::Gone) => ChangeKind::Deleted,
        (None, _) => ChangeKind::Added,
        (Some(_), Node::Mode { .. }) => ChangeKind::Mode,
        (Some(was), Node::Directory) if was.kind == Kind::Directory => ChangeKind::Mode,
        (Some(was), _) if same_kind(was) => ChangeKind::Changed,
        (Some(_), _) => ChangeKind::Type,
    }
}

/// All changes of a draft, in the order of their paths.
pub fn show(kept: &Kept, contents: Contents) -> Vec<Shown> {
    let mut shown = Vec::new();
    let candidates = Candidates::of(&kept.head.acts);
    for (number, (head, zone)) in kept.head.zones.iter().zip(&kept.zones).enumerate() {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = match contents {
            Contents::Left => None,
            Contents::Read => rustix::fs::open(head.path(), flags, Mode::empty()).ok(),
        };
        let store = kept.directory.join(format!("content-{number}"));
        for change in &zone.changes {
            let text = root.as_ref().and_then(|root| text(root, &store, change));
            let (what, bytes, target) = match &change.now {
                Node::Gone => (None, None, None),
                Node::Directory => (Some("directory"), None, None),
                Node::File { size, executable, .. } => {
                    (Some(if *executable { "executable" } else { "file" }), Some(*size), None)
                }
                Node::Mode { executable } => {
                    (Some(if *executable { "executable" } else { "file" }), None, None)
                }
                Node::Link { target } => (Some("link"), None, Some(quote(target))),
                Node::Special => (Some("special"), None, None),
            };
            shown.push(Shown {
                path: format!("{}/{}", head.at, quote(&change.path)),
                kind: kind(change),
                what,
                bytes,
                target,
                never: change.taint.as_ref().map(|taint| quote(format!("{taint:?}"))),
                by: candidates.at(change.at),
                text,
            });
        }
    }
    shown
}

fn text(root: &OwnedFd, store: &std::path::Path, change: &Change) -> Option<TextOf> {
    let bounded = |file: std::fs::File| {
        let mut bytes = Vec::new();
        file.take(TEXT_BYTES_MAX + 1).read_to_end(&mut bytes).ok()?;
        let is_text = bytes.len() as u64 <= TEXT_BYTES_MAX && std::str::from_utf8(&bytes).is_ok();
        (is_text && !bytes.contains(&0)).then_some(bytes)
    };
    let old = match &change.was {
        Some(was) if was.is_file() => {
            let (directory, name) = beneath::split(&change.path).ok()?;
            let directory = beneath::directory(root, directory).ok()?;
            let (file, _) = beneath::regular(&directory, &name).ok()?;
            bounded(file.into())?
        }
        _ => Vec::new(),
    };
    let new = match &change.now {
        Node::File { content: Some(number), .. } => {
            bounded(std::fs::File::open(content(store, *number)).ok()?)?
        }
        Node::Gone if change.was.as_ref().is_some_and(Entry::is_file) => Vec::new(),
        _ => return None,
    };
    Some(TextOf { old, new })
}
