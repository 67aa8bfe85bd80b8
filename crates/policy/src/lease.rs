//! What becomes of a sandbox that has no server: `[lease]`.

use crate::compute::show_millis;
use crate::keys;
use crate::problem::Report;
use crate::reading::Table;
use model::{Lease, Then};

/// Reads `[lease]`; what it leaves out, or what is refused of it, has the value of `defaults`.
pub(crate) fn read(report: &mut Report, table: &Table, defaults: Lease) -> Lease {
    let after_ms = report.number(table, &keys::AFTER).unwrap_or(defaults.after_ms);
    let then = report.value(table, &keys::THEN, |value| match value.text()? {
        "keep" => Some(Then::Keep),
        "freeze" => Some(Then::Freeze),
        "end" => Some(Then::End),
        _ => None,
    });
    Lease { after_ms, then: then.map_or(defaults.then, |(then, _)| then) }
}

/// Whether it lies within its bounds.
pub(crate) fn holds(lease: &Lease) -> bool {
    keys::AFTER.takes.holds(lease.after_ms)
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
    fn the_default_is_within_the_bounds() {
        assert!(holds(&Lease::default()));
    }
}
