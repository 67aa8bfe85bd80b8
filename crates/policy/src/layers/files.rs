//! Zones within zones.

use super::{Comparison, RULE};
use crate::engine::builtin;
use crate::zones::{Access, FileRule, beneath};

/// The inner zones, or the outer ones if there are none. `root` tells whether root inside is granted.
pub(super) fn within(
    c: &mut Comparison<'_>,
    asked: &[FileRule],
    outer: &[FileRule],
    root: bool,
) -> Vec<FileRule> {
    if asked.is_empty() {
        return outer.to_vec();
    }
    // A zone that is only read keeps writers from a place that is theirs without it.
    let keeps = |zone: &&FileRule| {
        matches!(zone.access(), Access::Read { .. })
            && (root || builtin::WRITABLE.iter().any(|tree| beneath(zone.at(), tree)))
    };
    for zone in outer.iter().filter(keeps) {
        if !asked.iter().any(|asked| asked.at() == zone.at()) {
            let without = format!("writes to `{}`, which is no zone", model::quote(zone.at()));
            c.exceeds("files", format!("files {}", model::quote(zone.at())), without, show(zone), KEEP);
        }
    }
    for (place, zone) in asked.iter().enumerate() {
        let around = outer.iter().find(|outer| beneath(zone.at(), outer.at()));
        if !around.is_some_and(|outer| is_within(zone.access(), outer.access())) {
            let most = match (around, outer) {
                (Some(outer), _) => show(outer),
                (None, []) => "no zone".to_owned(),
                (None, outer) => {
                    let places: Vec<String> =
                        outer.iter().take(8).map(|outer| model::quote(outer.at())).collect();
                    format!("zones at or beneath {}", places.join(", "))
                }
            };
            c.exceeds(&format!("files[{place}]"), zone.rule(place), show(zone), most, RULE);
        }
    }
    asked.to_vec()
}

const KEEP: &str = "keep the zone that is only read: without it the place is writable";

/// Whether an access does nothing that another, at the same place or around it, does not.
///
/// ```text
/// scratch ── within ──> write, draft        writes, and tells the host nothing
/// read  of a directory ──> read, draft      of the same directory or one around it
/// write to a directory ──> write            to the same directory or one around it
/// draft of a directory ──> draft            of the same directory, with rules that let no more through
/// ```
///
/// A read zone lies within no scratch zone, which shows nothing of the host, and within no write zone, which begins empty.
/// A write zone lies within no draft zone: what it holds reaches the host without anybody's word. A draft of a directory
/// beneath that of another is not within it, as its rules are about paths that begin elsewhere.
fn is_within(asked: &Access, outer: &Access) -> bool {
    match (asked, outer) {
        (Access::Scratch, Access::Scratch | Access::Write { .. } | Access::Draft { .. }) => true,
        (Access::Draft { from, commit }, Access::Draft { from: outer, commit: rules }) => {
            is_beneath(from, outer) && is_beneath(outer, from) && commit.is_within(rules)
        }
        (Access::Read { from: path }, Access::Read { from: around } | Access::Draft { from: around, .. })
        | (Access::Write { to: path }, Access::Write { to: around }) => is_beneath(path, around),
        _ => false,
    }
}

/// Whether a host path is `around` or leads beneath it, name by name. A `..` behind the names of `around` leads elsewhere,
/// or may.
fn is_beneath(path: &str, around: &str) -> bool {
    let names = |path: &str| -> Vec<String> {
        path.split('/').filter(|name| !matches!(*name, "" | ".")).map(str::to_owned).collect()
    };
    let (path_names, around_names) = (names(path), names(around));
    path.starts_with('/') == around.starts_with('/')
        && path_names.starts_with(&around_names)
        && !path_names[around_names.len()..].iter().any(|name| name == "..")
}

impl FileRule {
    /// The host directory that changes of this zone reach, at the end or by a commit.
    fn written(&self) -> Option<&str> {
        match self.access() {
            Access::Write { to: path } | Access::Draft { from: path, .. } => Some(path),
            Access::Read { .. } | Access::Scratch => None,
        }
    }

    /// Whether another zone shows what this one leaves on the host: one directory is the other, around it or beneath it.
    pub fn is_found_in(&self, other: &FileRule) -> bool {
        let (Access::Read { from: shown } | Access::Draft { from: shown, .. }) = other.access() else {
            return false;
        };
        self.written().is_some_and(|written| is_beneath(written, shown) || is_beneath(shown, written))
    }

    /// Whether this zone writes to the host directory that another does, or around it.
    pub fn writes_around(&self, other: &FileRule) -> bool {
        self.written().zip(other.written()).is_some_and(|(around, path)| is_beneath(path, around))
    }
}

fn show(zone: &FileRule) -> String {
    let access = match zone.access() {
        Access::Read { from } => format!("read of `{}`", model::quote(from)),
        Access::Scratch => "scratch".to_owned(),
        Access::Write { to } => format!("write to `{}`", model::quote(to)),
        Access::Draft { from, .. } => format!("draft of `{}`", model::quote(from)),
    };
    format!("{access} at `{}`", model::quote(zone.at()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_paths_are_compared_by_whole_names() {
        for (path, around) in
            [("./a", "a"), ("a/b", "./a"), ("/a//b/", "/a/b"), ("a", "."), ("../a/b", "../a"), ("/a", "/")]
        {
            assert!(is_beneath(path, around), "{path} {around}");
        }
        for (path, around) in [
            ("ab", "a"),
            ("a", "a/b"),
            ("/a", "a"),
            ("a", "/"),
            ("a/..", "a"),
            ("a/../../etc", "a"),
            ("..", "."),
            ("a/../b", "b"),
        ] {
            assert!(!is_beneath(path, around), "{path} {around}");
        }
    }
}
