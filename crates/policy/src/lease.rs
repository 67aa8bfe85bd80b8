//! What becomes of a sandbox that has no server: `[lease]`.

use crate::compute::show_millis;
use crate::document::{Want, text};
use crate::problem::Report;
use model::{Lease, Then, parse_duration_ms};
use toml::de::DeTable;

/// Shorter, and a server that is merely restarted would lose its sandboxes.
pub(crate) const AFTER_MS_MIN: u64 = 1000;
pub(crate) const AFTER_MS_MAX: u64 = 365 * 86_400_000;

const AFTER: Want = Want { key: "after", expected: "a time from `1s` to `365d`", example: "after = \"10m\"" };
const THEN: Want = Want { key: "then", expected: "`keep`, `freeze` or `end`", example: "then = \"keep\"" };

/// Reads `[lease]`; a value that is refused leaves the default in its place.
pub(crate) fn read(report: &mut Report, table: &DeTable<'_>) -> Lease {
    report.only(table, "[lease]", &[AFTER.key, THEN.key]);
    let defaults = Lease::default();
    let after = report.value(table, AFTER, |value| {
        parse_duration_ms(text(value)?).ok().filter(|ms| (AFTER_MS_MIN..=AFTER_MS_MAX).contains(ms))
    });
    let then = report.value(table, THEN, |value| match text(value)? {
        "keep" => Some(Then::Keep),
        "freeze" => Some(Then::Freeze),
        "end" => Some(Then::End),
        _ => None,
    });
    Lease {
        after_ms: after.map_or(defaults.after_ms, |(ms, _)| ms),
        then: then.map_or(defaults.then, |(then, _)| then),
    }
}

/// Whether it lies within its bounds.
pub(crate) fn holds(lease: &Lease) -> bool {
    (AFTER_MS_MIN..=AFTER_MS_MAX).contains(&lease.after_ms)
}

/// As a document writes it, and what it turns into.
pub(crate) fn explain(lease: &Lease) -> (String, String) {
    let after = show_millis(lease.after_ms);
    let (then, becomes) = match lease.then {
        Then::Keep => ("keep", "lives on without its server until its own time is over".to_owned()),
        Then::Freeze => ("freeze", format!("stands still after {after} without its server, until one comes")),
        Then::End => ("end", format!("is ended after {after} without its server")),
    };
    (format!("lease {then} after {after}"), becomes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_within_the_bounds_and_they_are_what_messages_say() {
        assert!(holds(&Lease::default()));
        let said = format!("a time from `{}` to `{}`", show_millis(AFTER_MS_MIN), show_millis(AFTER_MS_MAX));
        assert_eq!(AFTER.expected, said);
    }
}
