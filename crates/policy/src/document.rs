//! Reading TOML by hand, so that every problem has its exact place.

use crate::problem::{Report, excerpt};
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value of a table with its place.
pub(crate) type Value<'t, 's> = &'t Spanned<DeValue<'s>>;

impl Report {
    /// Refuses every key of `table` that is not among `keys`. `within` names the table in messages.
    pub(crate) fn only(&mut self, table: &DeTable<'_>, within: &str, keys: &[&'static str]) {
        for (key, _) in table.iter() {
            if keys.contains(&key.get_ref().as_ref()) {
                continue;
            }
            let text: &str = key.get_ref();
            let foreign = text
                .chars()
                .find(|c| !c.is_ascii())
                .map(|c| format!(" (with U+{:04X}, which is not ASCII)", u32::from(c)));
            self.refuse(
                key.span(),
                format!("unknown key {}{} in {within}", excerpt(text), foreign.unwrap_or_default()),
                suggest(text, keys),
            );
        }
    }

    /// Reads the value of `key` with `read`; a value that `read` does not take is refused.
    pub(crate) fn value<'t, 's, T>(
        &mut self,
        table: &'t DeTable<'s>,
        want: Want,
        read: impl FnOnce(&'t DeValue<'s>) -> Option<T>,
    ) -> Option<(T, Range<usize>)> {
        let value = table.get(want.key)?;
        let got = read(value.get_ref());
        if got.is_none() {
            self.unexpected(value, want.key, want.expected, want.example);
        }
        Some((got?, value.span()))
    }

    /// Refuses `value`, which is not what `key` takes.
    pub(crate) fn unexpected(&mut self, value: Value<'_, '_>, key: &str, expected: &str, example: &str) {
        let found = found(value.get_ref());
        self.refuse(
            value.span(),
            format!("`{key}`: expected {expected}, found {found}"),
            format!("write it like `{example}`"),
        );
    }
}

/// What a key takes, in words.
#[derive(Clone, Copy)]
pub(crate) struct Want {
    pub(crate) key: &'static str,
    pub(crate) expected: &'static str,
    pub(crate) example: &'static str,
}

/// A value as a message names it.
fn found(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) if text.is_empty() => "an empty string".to_owned(),
        DeValue::String(text) => format!("the string {}", excerpt(text)),
        DeValue::Integer(number) => format!("the integer {}", excerpt(&number.to_string())),
        DeValue::Float(number) => format!("the float {}", excerpt(&number.to_string())),
        DeValue::Boolean(truth) => format!("the boolean `{truth}`"),
        DeValue::Datetime(_) => "a date or time".to_owned(),
        DeValue::Array(list) if list.is_empty() => "an empty list".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// A string with something in it.
pub(crate) fn text<'t>(value: &'t DeValue<'_>) -> Option<&'t str> {
    value.as_str().filter(|text| !text.is_empty())
}

/// A whole number that fits 64 bits without a sign.
pub(crate) fn integer(value: &DeValue<'_>) -> Option<u64> {
    let number = value.as_integer()?;
    u64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// The mend for a word that is none of `known`.
pub(crate) fn suggest(word: &str, known: &[&'static str]) -> String {
    match nearest(word, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("use one of: {}", known.join(", ")),
    }
}

/// The word of `known` that `word` most probably stands for.
fn nearest(word: &str, known: &[&'static str]) -> Option<&'static str> {
    const CHARS_MAX: usize = 40;
    let word: Vec<char> = word.to_lowercase().chars().take(CHARS_MAX).collect();
    let near = |name: &&'static str| {
        let name: Vec<char> = name.chars().collect();
        let begins = word.len().min(name.len()) >= 3 && (name.starts_with(&word) || word.starts_with(&name));
        let distance = if begins { 1 } else { distance(&word, &name) };
        (distance <= (name.len() / 3).max(1)).then_some(distance)
    };
    known.iter().filter_map(|name| Some((near(name)?, *name))).min().map(|(_, name)| name)
}

/// Levenshtein's distance.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_finds_its_word_and_another_word_finds_none() {
        let known = &["memory", "pids", "cpus", "open_files"];
        for (word, near) in [("memroy", "memory"), ("Memory", "memory"), ("mem", "memory"), ("cpu", "cpus")] {
            assert_eq!(nearest(word, known), Some(near));
        }
        assert_eq!(nearest("network", known), None);
        assert_eq!(nearest("", known), None);
    }
}
