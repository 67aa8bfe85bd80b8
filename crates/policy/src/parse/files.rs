//! The zones: `[[files]]`.

use super::Places;
use crate::keys::{self, ACCESS, AT, FROM, Key, TO};
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
            report.refuse(
                written.span(),
                "this version does not enforce `access = \"draft\"`",
                "use a `read` zone for what goes in and a `write` zone for what comes out",
            );
            None
        }
        Some(word) if !word.is_empty() => {
            let message =
                format!("`access`: expected {}, found the string {}", ACCESS.expected(), excerpt(word));
            report.refuse(written.span(), message, suggest(word, &["read", "scratch", "write"]));
            None
        }
        _ => {
            report.unexpected(written, &ACCESS);
            None
        }
    }
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
