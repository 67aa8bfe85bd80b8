//! Reading a document by hand, so that every problem has its exact place.

use crate::keys::{Key, Noun, Takes};
use crate::problem::{Report, excerpt};
use model::{parse_duration_ms, parse_size_bytes};
use std::ops::Range;

/// A value with its place in the text.
#[derive(Debug)]
pub(crate) struct Value {
    pub(crate) kind: Kind,
    span: Range<usize>,
}

/// What a value is, in the terms of TOML and JSON together.
#[derive(Debug)]
pub(crate) enum Kind {
    Text(String),
    /// The number, unless it is negative or does not fit; and as it is shown.
    Integer(Option<u64>, String),
    Float(String),
    Truth(bool),
    Time,
    Null,
    List(Vec<Value>),
    Table(Table),
}

/// Keys and values in the order of the text; no key is there twice.
#[derive(Debug, Default)]
pub(crate) struct Table(pub(crate) Vec<(Name, Value)>);

/// A key with its place in the text.
#[derive(Debug)]
pub(crate) struct Name {
    pub(crate) text: String,
    pub(crate) span: Range<usize>,
}

impl Value {
    pub(crate) fn new(kind: Kind, span: Range<usize>) -> Value {
        Value { kind, span }
    }

    pub(crate) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// The text, if it is one; it may be empty.
    pub(crate) fn as_str(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A text with something in it.
    pub(crate) fn text(&self) -> Option<&str> {
        self.as_str().filter(|text| !text.is_empty())
    }

    pub(crate) fn as_bool(&self) -> Option<bool> {
        match self.kind {
            Kind::Truth(truth) => Some(truth),
            _ => None,
        }
    }

    pub(crate) fn as_list(&self) -> Option<&[Value]> {
        match &self.kind {
            Kind::List(list) => Some(list),
            _ => None,
        }
    }

    pub(crate) fn as_table(&self) -> Option<&Table> {
        match &self.kind {
            Kind::Table(table) => Some(table),
            _ => None,
        }
    }

    /// A whole number that fits 64 bits without a sign.
    pub(crate) fn integer(&self) -> Option<u64> {
        match self.kind {
            Kind::Integer(number, _) => number,
            _ => None,
        }
    }

    /// The number that `takes` describes, in its unit and within its bounds.
    fn number(&self, takes: &Takes) -> Option<u64> {
        let number = match takes {
            Takes::Whole { .. } => self.integer(),
            Takes::Cpus { .. } => milli(self),
            Takes::Size { .. } => parse_size_bytes(self.as_str()?).ok(),
            Takes::Time { .. } | Takes::TimeOrNone { .. } => parse_duration_ms(self.as_str()?).ok(),
            _ => None,
        };
        number.filter(|number| takes.holds(*number))
    }
}

impl Table {
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().find(|(name, _)| name.text == key).map(|(_, value)| value)
    }

    /// The place of the key itself.
    pub(crate) fn key(&self, key: &str) -> Option<&Name> {
        self.0.iter().find(|(name, _)| name.text == key).map(|(name, _)| name)
    }
}

impl Report {
    /// Refuses every key of `table` that the noun does not have, and tells what is missing. `place` is where a table is
    /// that misses something.
    pub(crate) fn only(&mut self, table: &Table, noun: &Noun, place: Range<usize>) {
        for (key, _) in &table.0 {
            let text = key.text.as_str();
            if noun.keys.iter().any(|known| known.name == text) {
                continue;
            }
            let foreign = text
                .chars()
                .find(|c| !c.is_ascii())
                .map(|c| format!(" (with U+{:04X}, which is not ASCII)", u32::from(c)));
            self.refuse(
                key.span.clone(),
                format!("unknown key {}{} in {}", excerpt(text), foreign.unwrap_or_default(), noun.title),
                suggest(text, &noun.names()),
            );
        }
        for key in noun.keys.iter().filter(|key| key.required() && table.get(key.name).is_none()) {
            let message = match noun.title {
                "the policy" => format!("`{}` is missing", key.name),
                title => format!("{title} without `{}`", key.name),
            };
            self.refuse(place.clone(), message, format!("write it like `{}`", key.example));
        }
    }

    /// Reads the value of `key` with `read`; a value that `read` does not take is refused.
    pub(crate) fn value<'t, T>(
        &mut self,
        table: &'t Table,
        key: &Key,
        read: impl FnOnce(&'t Value) -> Option<T>,
    ) -> Option<(T, Range<usize>)> {
        let value = table.get(key.name)?;
        let got = read(value);
        if got.is_none() {
            self.unexpected(value, key);
        }
        Some((got?, value.span()))
    }

    /// Reads the number of `key`, in the unit and within the bounds of what it takes.
    pub(crate) fn number(&mut self, table: &Table, key: &Key) -> Option<u64> {
        self.value(table, key, |value| value.number(&key.takes)).map(|(number, _)| number)
    }

    /// Reads the text of `key` with `read`, which tells what is wrong and the mend.
    pub(crate) fn text<T, M: Into<String>>(
        &mut self,
        table: &Table,
        key: &Key,
        read: impl FnOnce(&str) -> Result<T, (String, M)>,
    ) -> Option<T> {
        let (text, span) = self.value(table, key, Value::text)?;
        read(text).map_err(|(message, mend)| self.refuse(span, message, mend)).ok()
    }

    /// The table under `key`, if there is one; unknown keys in it are refused.
    pub(crate) fn table<'t>(&mut self, table: &'t Table, key: &Key) -> Option<&'t Table> {
        let value = table.get(key.name)?;
        let (Takes::Table(noun), Some(inner)) = (&key.takes, value.as_table()) else {
            self.unexpected(value, key);
            return None;
        };
        self.only(inner, noun, table.key(key.name).map_or(value.span(), |name| name.span.clone()));
        Some(inner)
    }

    /// The tables of the list under `key`, each with its place; unknown keys in them are refused.
    pub(crate) fn tables<'t>(&mut self, table: &'t Table, key: &Key) -> Vec<(&'t Table, Range<usize>)> {
        let (Some(value), Takes::Tables(noun, most)) = (table.get(key.name), &key.takes) else {
            return Vec::new();
        };
        let Some(list) = value.as_list().filter(|list| !list.is_empty()) else {
            self.unexpected(value, key);
            return Vec::new();
        };
        if let Some(first) = list.get(*most) {
            self.refuse(
                first.span(),
                format!("more than {most} of {}", noun.title),
                "leave out what is not needed",
            );
        }
        let mut tables = Vec::new();
        for value in list.iter().take(*most) {
            match value.as_table() {
                Some(inner) => {
                    self.only(inner, noun, value.span());
                    tables.push((inner, value.span()));
                }
                None => {
                    let message = format!("`{}`: expected a table, found {}", key.name, found(value));
                    self.refuse(value.span(), message, format!("write `{}`", key.example));
                }
            }
        }
        tables
    }

    /// The values of the list under `key`, each read with `read`; values that are there twice are refused.
    pub(crate) fn list<T: PartialEq>(
        &mut self,
        table: &Table,
        key: &Key,
        mut read: impl FnMut(&mut Report, &Value) -> Option<T>,
    ) -> Option<Vec<T>> {
        let most = match key.takes {
            Takes::List(_, most) => most,
            _ => 0,
        };
        let (list, _) = self.value(table, key, |value| value.as_list().filter(|list| !list.is_empty()))?;
        if let Some(first) = list.get(most) {
            self.refuse(
                first.span(),
                format!("`{}` has more than {most} values", key.name),
                "leave out what is not needed",
            );
        }
        let mut values = Vec::new();
        for value in list.iter().take(most) {
            let Some(one) = read(self, value) else { continue };
            if values.contains(&one) {
                self.refuse(
                    value.span(),
                    format!("`{}` has the same value twice", key.name),
                    "keep one of the two",
                );
            } else {
                values.push(one);
            }
        }
        Some(values)
    }

    /// Refuses `value`, which is not what `key` takes.
    pub(crate) fn unexpected(&mut self, value: &Value, key: &Key) {
        self.unlike(value, key.name, &key.expected(), key.example);
    }

    /// Refuses `value`, which is not what is expected under `key`.
    pub(crate) fn unlike(&mut self, value: &Value, key: &str, expected: &str, example: &str) {
        let found = found(value);
        self.refuse(
            value.span(),
            format!("`{key}`: expected {expected}, found {found}"),
            format!("write it like `{example}`"),
        );
    }
}

/// A value as a message names it.
pub(crate) fn found(value: &Value) -> String {
    match &value.kind {
        Kind::Text(text) if text.is_empty() => "an empty string".to_owned(),
        Kind::Text(text) => format!("the string {}", excerpt(text)),
        Kind::Integer(_, shown) => format!("the integer {}", excerpt(shown)),
        Kind::Float(shown) => format!("the float {}", excerpt(shown)),
        Kind::Truth(truth) => format!("the boolean `{truth}`"),
        Kind::Time => "a date or time".to_owned(),
        Kind::Null => "null".to_owned(),
        Kind::List(list) if list.is_empty() => "an empty list".to_owned(),
        Kind::List(_) => "a list".to_owned(),
        Kind::Table(_) => "a table".to_owned(),
    }
}

/// Thousandths; none for what has finer steps, is negative or is no number.
fn milli(value: &Value) -> Option<u64> {
    match &value.kind {
        Kind::Integer(number, _) => (*number)?.checked_mul(1000),
        Kind::Float(shown) => {
            // By its digits: a decimal fraction is not exact in binary.
            let (whole, fraction) = shown.split_once('.')?;
            let fraction = fraction.trim_end_matches('0');
            let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
            if fraction.len() > 3 || !digits(whole) || !digits(fraction) {
                return None;
            }
            format!("{whole}{fraction:0<3}").parse().ok()
        }
        _ => None,
    }
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

    #[test]
    fn every_thousandth_is_read_as_itself() {
        for n in 1..=1_024_000u64 {
            let text = format!("{}.{:03}", n / 1000, n % 1000);
            assert_eq!(milli(&Value::new(Kind::Float(text.clone()), 0..0)), Some(n), "{text}");
        }
    }
}
