//! The words of the language: every noun, its keys, and what each takes.
//!
//! One table for all that has to agree: the reader takes its bounds and messages from here, the JSON Schema and the
//! tables of the reference are written from it.

use crate::compute::{show_bytes, show_millis};

mod table;

pub(crate) use table::*;

/// A part of a document: a table of it, or the document itself.
pub(crate) struct Noun {
    /// As messages name it: `[compute]`.
    pub(crate) title: &'static str,
    pub(crate) keys: &'static [Key],
}

/// A key of a [`Noun`].
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) takes: Takes,
    /// What it takes, in words, where [`Takes`] does not say it well enough.
    pub(crate) expected: &'static str,
    pub(crate) example: &'static str,
    /// What holds without it: a value as it is written, or words in brackets.
    pub(crate) default: &'static str,
    /// What it means, for the reference and the schema.
    pub(crate) about: &'static str,
}

/// What a key takes.
pub(crate) enum Takes {
    /// `true` or `false`.
    Truth,
    /// A whole number.
    Whole { min: u64, max: u64 },
    /// Processors, in steps of a thousandth; the bounds are in thousandths.
    Cpus { min: u64, max: u64 },
    /// A size such as `512MiB`.
    Size { min: u64, max: u64 },
    /// A time such as `10m`.
    Time { min: u64, max: u64 },
    /// A time, or the word `none`.
    TimeOrNone { min: u64, max: u64 },
    /// One of some words.
    Choice(&'static [&'static str]),
    /// The name of a wall.
    Wall,
    /// A text; the pattern is for the schema, and the reader is no less strict.
    Text(&'static str),
    /// A list, not empty, of at most so many.
    List(&'static Takes, usize),
    /// A list that may be empty, of at most so many.
    ListOrEmpty(&'static Takes, usize),
    /// A table.
    Table(&'static Noun),
    /// A list of tables, not empty, of at most so many.
    Tables(&'static Noun, usize),
    /// A table of tables, each under its name, of at most so many.
    Named(&'static Noun, usize),
}

impl Takes {
    /// Whether a number lies within the bounds.
    pub(crate) fn holds(&self, number: u64) -> bool {
        match self {
            Takes::Whole { min, max }
            | Takes::Cpus { min, max }
            | Takes::Size { min, max }
            | Takes::Time { min, max }
            | Takes::TimeOrNone { min, max } => (*min..=*max).contains(&number),
            _ => false,
        }
    }
}

impl Key {
    /// What it takes, in words.
    pub(crate) fn expected(&self) -> String {
        if !self.expected.is_empty() {
            return self.expected.to_owned();
        }
        match &self.takes {
            Takes::Truth => "`true` or `false`".to_owned(),
            Takes::Whole { min, max } => format!("an integer from {min} to {max}"),
            Takes::Cpus { max, .. } => format!("a number above 0, at most {}, in steps of 0.001", max / 1000),
            Takes::Size { min, max } => {
                format!("a size from `{}` to `{}`", show_bytes(*min), show_bytes(*max))
            }
            Takes::Time { min, max } => {
                format!("a time from `{}` to `{}`", show_millis(*min), show_millis(*max))
            }
            Takes::TimeOrNone { min, max } => {
                format!("a time from `{}` to `{}`, or `none`", show_millis(*min), show_millis(*max))
            }
            Takes::Choice(words) => choice(words),
            Takes::Wall => "the name of a wall".to_owned(),
            Takes::Text(_) => "a string".to_owned(),
            Takes::List(..) | Takes::ListOrEmpty(..) | Takes::Tables(..) => "a list".to_owned(),
            Takes::Table(_) | Takes::Named(..) => "a table".to_owned(),
        }
    }

    /// The value that holds without it, if there is one that could be written.
    pub(crate) fn written_default(&self) -> Option<&'static str> {
        (!self.default.starts_with('(')).then_some(self.default)
    }

    pub(crate) fn required(&self) -> bool {
        self.default == REQUIRED
    }
}

/// `` `a`, `b` or `c` ``.
fn choice(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}

impl Noun {
    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.keys.iter().map(|key| key.name).collect()
    }
}

pub(crate) const REQUIRED: &str = "(required)";
