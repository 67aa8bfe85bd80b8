//! Patterns of paths beneath a zone, as a document writes them: `src/**`, `docs/*.md`.

use crate::pattern::{Pattern, Rest, Word};
use crate::problem::is_plain;
use model::quote;

/// So many patterns has a list at most.
pub const PATTERNS_MAX: usize = 64;
const BYTES_MAX: usize = 512;

/// Why something is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a pattern of paths: {why}")]
pub struct PatternError {
    text: String,
    why: &'static str,
}

impl Pattern {
    /// Reads a pattern of paths beneath a zone: words between slashes.
    ///
    /// # Errors
    /// An empty or long text, an absolute path, empty words, `.` and `..`, `**` before the end, characters of other
    /// pattern languages.
    pub fn beneath(text: &str) -> Result<Pattern, PatternError> {
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
            _ => {
                let rest = if text.split('/').next_back() == Some("**") { Rest::Any } else { Rest::None };
                let words = text.split('/').filter(|word| *word != "**").map(Word::new).collect();
                return Ok(Pattern { words, rest });
            }
        };
        Err(PatternError { text: quote(&text[..text.floor_char_boundary(100)]), why })
    }

    /// A pattern of paths beneath a zone, as [`Pattern::beneath`] reads it.
    pub fn to_path(&self) -> String {
        let mut words: Vec<String> = self.words.iter().map(ToString::to_string).collect();
        words.extend((self.rest != Rest::None).then(|| "**".to_owned()));
        words.join("/")
    }

    /// Whether the words are those of a directory on the way to what is meant.
    pub(super) fn leads_through(&self, names: &[&[u8]]) -> bool {
        names.len() < self.words.len() && self.words.iter().zip(names).all(|(word, name)| word.matches(name))
    }
}

/// Whether a pattern is one that [`Pattern::beneath`] gives; one from a cache may not be.
pub(super) fn is_beneath(pattern: &Pattern) -> bool {
    Pattern::beneath(&pattern.to_path()).as_ref() == Ok(pattern)
}
