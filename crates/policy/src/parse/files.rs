//! The zones: `[[files]]`.

use crate::document::{Value, Want, suggest, text};
use crate::problem::{Report, excerpt};
use crate::zones::{Access, FileRule, ZONES_MAX, check_host_path, check_place, first_conflict};
use std::ops::Range;
use toml::de::DeTable;

const KEYS: &[&str] = &["at", "access", "from", "to"];
const AT: Want = Want { key: "at", expected: "a place inside", example: "at = \"/input\"" };
const ACCESS: Want =
    Want { key: "access", expected: "`read`, `scratch` or `write`", example: "access = \"read\"" };
const FROM: Want = Want { key: "from", expected: "a host directory", example: "from = \"./reports\"" };
const TO: Want = Want { key: "to", expected: "a host directory", example: "to = \"./results\"" };

pub(super) fn read(root: &DeTable<'_>, document: &str, report: &mut Report) -> Vec<FileRule> {
    let Some(value) = root.get("files") else { return Vec::new() };
    let Some(list) = value.get_ref().as_array().filter(|list| !list.is_empty()) else {
        report.unexpected(value, "files", "a list of zones", "[[files]]` above each zone, or leave it out");
        return Vec::new();
    };
    let mut spans = Vec::new();
    let mut rules = Vec::new();
    // One more than there may be, for the problem that it is; the rest need not be looked at.
    for value in list.iter().take(ZONES_MAX + 1) {
        let Some((rule, at)) = zone(value, report) else { continue };
        let line = document[..value.span().start].matches('\n').count() + 1;
        rules.push(rule.on_line(u32::try_from(line).unwrap_or(u32::MAX)));
        spans.push(at);
    }
    if let Some((place, error)) = first_conflict(&rules) {
        report.refuse(spans[place].clone(), error.to_string(), error.mend());
    }
    rules
}

/// One zone, with the span of its `at`.
fn zone(value: Value<'_, '_>, report: &mut Report) -> Option<(FileRule, Range<usize>)> {
    let Some(zone) = value.get_ref().as_table() else {
        report.unexpected(value, "files", "a zone", "[[files]]` above each zone");
        return None;
    };
    report.only(zone, "[[files]]", KEYS);
    let at = report.value(zone, AT, text);
    if let Some((place, span)) = &at
        && let Err(error) = check_place(place)
    {
        report.refuse(span.clone(), error.to_string(), error.mend());
    }
    if !zone.contains_key(AT.key) {
        report.refuse(value.span(), "a zone without `at`", "say where it is inside: `at = \"/input\"`");
    }
    let access = access(value, zone, report);
    let (at, span) = at?;
    Some((FileRule::new(at, access?).ok()?, span))
}

fn access(value: Value<'_, '_>, zone: &DeTable<'_>, report: &mut Report) -> Option<Access> {
    let Some(written) = zone.get(ACCESS.key) else {
        report.refuse(value.span(), "a zone without `access`", "say what it is for: `access = \"read\"`");
        return None;
    };
    match written.get_ref().as_str() {
        Some("read") => {
            unwanted(
                zone,
                TO.key,
                "a `read` zone",
                "remove it; a zone that hands files out is a `write` zone",
                report,
            );
            host_path(value, zone, FROM, "a `read` zone", report).map(|from| Access::Read { from })
        }
        Some("scratch") => {
            for key in [FROM.key, TO.key] {
                unwanted(
                    zone,
                    key,
                    "a `scratch` zone",
                    "remove it; scratch begins empty and vanishes",
                    report,
                );
            }
            Some(Access::Scratch)
        }
        Some("write") if zone.contains_key(FROM.key) => {
            let mend = match zone.contains_key(TO.key) {
                true => "remove it; a write zone begins empty and is copied to `to` at the end",
                false => "write `to` instead: the zone begins empty and is copied there at the end",
            };
            unwanted(zone, FROM.key, "a `write` zone", mend, report);
            None
        }
        Some("write") => host_path(value, zone, TO, "a `write` zone", report).map(|to| Access::Write { to }),
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
                format!("`access`: expected {}, found the string {}", ACCESS.expected, excerpt(word));
            report.refuse(written.span(), message, suggest(word, &["read", "scratch", "write"]));
            None
        }
        _ => {
            report.unexpected(written, ACCESS.key, ACCESS.expected, ACCESS.example);
            None
        }
    }
}

/// Refuses `key`, which such a zone does not have.
fn unwanted(zone: &DeTable<'_>, key: &str, what: &str, mend: &str, report: &mut Report) {
    if let Some((key, _)) = zone.get_key_value(key) {
        report.refuse(key.span(), format!("{what} has no `{}`", key.get_ref()), mend);
    }
}

/// The host directory under a key that such a zone must have.
fn host_path(
    value: Value<'_, '_>,
    zone: &DeTable<'_>,
    want: Want,
    what: &str,
    report: &mut Report,
) -> Option<String> {
    if !zone.contains_key(want.key) {
        let message = format!("{what} without `{}`", want.key);
        report.refuse(value.span(), message, format!("name the host directory: `{}`", want.example));
    }
    let (path, span) = report.value(zone, want, text)?;
    match check_host_path(path) {
        Ok(()) => Some(path.to_owned()),
        Err(error) => {
            report.refuse(span, error.to_string(), error.mend());
            None
        }
    }
}
