//! What a probe learned: names and what was found under them.

use std::collections::{BTreeMap, BTreeSet};

/// Facts by name.
pub type Facts = BTreeMap<String, String>;

/// Every fact that is not as expected, on either side.
pub fn differences(expected: &Facts, found: &Facts) -> Vec<String> {
    let names: BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
    let shown = |side: &Facts, name: &String| side.get(name).map_or("(nothing)".to_owned(), Clone::clone);
    names
        .into_iter()
        .filter(|name| expected.get(*name) != found.get(*name))
        .map(|name| format!("{name}: expected {}, found {}", shown(expected, name), shown(found, name)))
        .collect()
}

/// The same outcome for each of `names`.
pub fn all<'a>(names: impl IntoIterator<Item = &'a str>, outcome: &str) -> Facts {
    names.into_iter().map(|name| (name.to_owned(), outcome.to_owned())).collect()
}
