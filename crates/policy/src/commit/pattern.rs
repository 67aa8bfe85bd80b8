//! Patterns of paths beneath a zone: words between slashes.

use crate::problem::is_plain;
use model::quote;
use serde::{Deserialize, Serialize};

/// So many patterns has a list at most.
pub const PATTERNS_MAX: usize = 64;
const BYTES_MAX: usize = 512;

/// A path relative to the zone. `*` stands for any characters of one word; a last word `**` for any number of further
/// words, none included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathPattern(String);

/// Why something is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a pattern of paths: {why}")]
pub struct PatternError {
    text: String,
    why: &'static str,
}

impl PathPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// An empty or long text, an absolute path, empty words, `.` and `..`, `**` before the end, characters of other
    /// pattern languages.
    pub fn new(text: &str) -> Result<PathPattern, PatternError> {
        let why = match text {
            "" => "it is empty",
            _ if text.len() > BYTES_MAX => "it is longer than 512 bytes",
            _ if text.starts_with('/') => "it begins with `/`, and is relative to the zone",
            _ if !text.chars().all(is_plain) => "it has characters that do not show",
            _ if text.contains(['?', '[', ']', '{', '}', '\\']) => {
                "`?`, `[`, `{` and `\\` are not pattern characters here"
            }
            _ if text.split('/').any(|word| matches!(word, "" | "." | "..")) => {
                "it has an empty word, `.` or `..`"
            }
            _ if text.split('/').rev().skip(1).any(|word| word == "**") => "`**` may only be the last word",
            _ if text.split('/').any(|word| word != "**" && word.contains("**")) => {
                "`**` is a word of its own, at the end"
            }
            _ => return Ok(PathPattern(text.to_owned())),
        };
        Err(PatternError { text: quote(&text[..text.floor_char_boundary(100)]), why })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is one that [`PathPattern::new`] takes; one from a cache may not be.
    pub(super) fn holds(&self) -> bool {
        PathPattern::new(&self.0).is_ok()
    }

    /// Whether `path`, relative to the zone, is meant.
    pub fn matches(&self, path: &[u8]) -> bool {
        self.compare(path) == Some(Reach::Meant)
    }

    /// Whether `path` is a directory on the way to what is meant.
    pub(super) fn leads_through(&self, path: &[u8]) -> bool {
        self.compare(path) == Some(Reach::Above)
    }

    fn compare(&self, path: &[u8]) -> Option<Reach> {
        let mut names = path.split(|byte| *byte == b'/');
        let mut words = self.0.split('/');
        loop {
            match (words.next(), names.next()) {
                (Some("**"), _) | (None, None) => return Some(Reach::Meant),
                (None, Some(_)) => return None,
                (Some(_), None) => {
                    return Some(Reach::Above);
                }
                (Some(word), Some(name)) if word_matches(word.as_bytes(), name) => {}
                (Some(_), Some(_)) => return None,
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Meant,
    Above,
}

/// Whether a word with `*` in it means `name`: the parts between the stars come one after the other.
fn word_matches(word: &[u8], name: &[u8]) -> bool {
    let mut parts = word.split(|byte| *byte == b'*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut parts: Vec<&[u8]> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match (0..=rest.len()).find(|at| rest[*at..].starts_with(part)) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}
