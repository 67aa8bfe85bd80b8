//! The zones: `[[files]]`.

use super::Places;
use crate::commit::CommitRules;
use crate::keys::{
    self, ACCESS, AT, COMMIT, COMMIT_BYTES, COMMIT_EXECUTABLES, COMMIT_FILES, COMMIT_PATHS, FROM, Key, TO,
    UNPROTECT,
};
use crate::pattern::Pattern;
use crate::problem::{Report, excerpt};
use crate::reading::{Table, Value, suggest};
use crate::zones::{Access, FileRule, check_host_path, check_place, first_conflict};
use std::ops::Range;

pub(super) fn read(root: &Table, places: &mut Places, report: &mut Report) -> Vec<FileRule> {
    let mut spans = Vec::new();
    let mut rules = Vec::new();
    for (table, place) in report.tables(root, &keys::FILES) {
        let Some((rule, at)) = zone(table, &place, report) else { continue };
        places.add(format!("files[{}]", rules.len()), place.clone());
        rules.push(rule.on_line(places.line(place.start)));
        spans.push(at);
    }
    if let Some((place, error)) = first_conflict(&rules) {
        report.refuse(spans[place].clone(), error.to_string(), error.mend());
    }
    rules
}

/// One zone, with the span of its `at`.
fn zone(zone: &Table, place: &Range<usize>, report: &mut Report) -> Option<(FileRule, Range<usize>)> {
    let at = report.value(zone, &AT, Value::text);
    if let Some((at, span)) = &at
        && let Err(error) = check_place(at)
    {
        report.refuse(span.clone(), error.to_string(), error.mend());
    }
    let access = access(zone, place, report);
    let (at, span) = at?;
    Some((FileRule::new(at, access?).ok()?, span))
}

fn access(zone: &Table, place: &Range<usize>, report: &mut Report) -> Option<Access> {
    let written = zone.get(ACCESS.name)?;
    if written.as_str() != Some("draft") {
        let mend = "remove it; only a `draft` zone is committed";
        unwanted(zone, COMMIT.name, "a zone that is no draft", mend, report);
    }
    match written.as_str() {
        Some("read") => {
            let mend = "remove it; a zone that hands files out is a `write` zone";
            unwanted(zone, TO.name, "a `read` zone", mend, report);
            host_path(zone, place, &FROM, "a `read` zone", report).map(|from| Access::Read { from })
        }
        Some("scratch") => {
            for key in [FROM.name, TO.name] {
                let mend = "remove it; scratch begins empty and vanishes";
                unwanted(zone, key, "a `scratch` zone", mend, report);
            }
            Some(Access::Scratch)
        }
        Some("write") if zone.get(FROM.name).is_some() => {
            let mend = match zone.get(TO.name) {
                Some(_) => "remove it; a write zone begins empty and is copied to `to` at the end",
                None => "write `to` instead: the zone begins empty and is copied there at the end",
            };
            unwanted(zone, FROM.name, "a `write` zone", mend, report);
            None
        }
        Some("write") => host_path(zone, place, &TO, "a `write` zone", report).map(|to| Access::Write { to }),
        Some("draft") => {
            let mend = "remove it; a draft goes back to `from`, by `casemate commit`";
            unwanted(zone, TO.name, "a `draft` zone", mend, report);
            let commit = commit(zone, report);
            host_path(zone, place, &FROM, "a `draft` zone", report).map(|from| Access::Draft { from, commit })
        }
        Some(word) if !word.is_empty() => {
            let message =
                format!("`access`: expected {}, found the string {}", ACCESS.expected(), excerpt(word));
            report.refuse(written.span(), message, suggest(word, &["read", "scratch", "write", "draft"]));
            None
        }
        _ => {
            report.unexpected(written, &ACCESS);
            None
        }
    }
}

/// Reads the rules of a draft's commits; a value that is refused leaves the default in its place.
fn commit(zone: &Table, report: &mut Report) -> CommitRules {
    let mut rules = CommitRules::default();
    let Some(table) = report.table(zone, &COMMIT) else { return rules };
    rules.paths = patterns(table, &COMMIT_PATHS, report);
    rules.unprotect = patterns(table, &UNPROTECT, report);
    if let Some(bytes) = report.number(table, &COMMIT_BYTES) {
        rules.bytes = bytes;
    }
    if let Some(files) = report.number(table, &COMMIT_FILES) {
        rules.files = files;
    }
    if let Some((executables, _)) = report.value(table, &COMMIT_EXECUTABLES, Value::as_bool) {
        rules.executables = executables;
    }
    rules
}

fn patterns(table: &Table, key: &Key, report: &mut Report) -> Vec<Pattern> {
    let patterns = report.list(table, key, |report, value| match value.text().map(Pattern::beneath) {
        Some(Ok(pattern)) => Some(pattern),
        Some(Err(error)) => {
            let mend = "write a path relative to the zone: `src/**`, `docs/*.md`";
            report.refuse(value.span(), error.to_string(), mend);
            None
        }
        None => {
            report.unlike(value, key.name, "a pattern of paths", key.example);
            None
        }
    });
    patterns.unwrap_or_default()
}

/// Refuses `key`, which such a zone does not have.
fn unwanted(zone: &Table, key: &str, what: &str, mend: &str, report: &mut Report) {
    if let Some(name) = zone.key(key) {
        report.refuse(name.span.clone(), format!("{what} has no `{}`", name.text), mend);
    }
}

/// The host directory under a key that such a zone must have.
fn host_path(
    zone: &Table,
    place: &Range<usize>,
    key: &Key,
    what: &str,
    report: &mut Report,
) -> Option<String> {
    if zone.get(key.name).is_none() {
        let message = format!("{what} without `{}`", key.name);
        report.refuse(place.clone(), message, format!("name the host directory: `{}`", key.example));
    }
    report.text(zone, key, |path| match check_host_path(path) {
        Ok(()) => Ok(path.to_owned()),
        Err(error) => Err((error.to_string(), error.mend())),
    })
}
