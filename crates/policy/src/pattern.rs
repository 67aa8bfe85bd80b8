//! Patterns over words: the segments of a path, the arguments of a command, the labels of a host name.
//!
//! A pattern never sees joined text. `*` in a word stands for any characters of that one word, and a last word `**` for
//! any number of further words. So what a pattern matches does not depend on how words are quoted or joined, and the same
//! pattern can be given to Cedar word by word.

use serde::{Deserialize, Serialize};
use std::fmt;

/// So many words has a pattern at most, `**` not counted.
pub const WORDS_MAX: usize = 32;

/// One word of a pattern: literal pieces with a `*` between each two.
///
/// `["a"]` is the word `a`, `["", ".csv"]` is `*.csv`, `["", ""]` is `*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Word(Vec<String>);

impl Word {
    /// Reads a word: each `*` stands for any characters.
    pub fn new(text: &str) -> Word {
        Word(text.split('*').map(str::to_owned).collect())
    }

    /// A word that stands for itself alone, stars included.
    pub fn exact(text: &str) -> Word {
        Word(vec![text.to_owned()])
    }

    /// A word of literal pieces with a `*` between each two.
    pub(crate) fn of_pieces(pieces: &[String]) -> Word {
        Word(pieces.to_vec())
    }

    /// The word itself, if it stands for no other.
    pub fn literal(&self) -> Option<&str> {
        match self.0.as_slice() {
            [word] => Some(word),
            _ => None,
        }
    }

    /// The literal pieces around the `*`s; one piece for a word without any.
    pub fn pieces(&self) -> &[String] {
        &self.0
    }

    /// Whether this stands for every word that `inner` stands for. What it takes is so; not all that is so it takes.
    pub fn covers(&self, inner: &Word) -> bool {
        // A byte that is in no text stands for the inner `*`: only a `*` matches it, and any characters in its place.
        self.matches(&inner.0.iter().map(|piece| piece.as_bytes()).collect::<Vec<_>>().join(&0xff))
    }

    /// Whether `word` is one that this stands for.
    pub fn matches(&self, word: &[u8]) -> bool {
        let [first, between @ .., last] = self.0.as_slice() else {
            return self.literal().is_some_and(|literal| literal.as_bytes() == word);
        };
        let Some(rest) = word.strip_prefix(first.as_bytes()) else { return false };
        let Some(mut rest) = rest.strip_suffix(last.as_bytes()) else { return false };
        // The leftmost place for each piece leaves the most for the others.
        between.iter().all(|piece| {
            let piece = piece.as_bytes();
            let at = (0..=rest.len().saturating_sub(piece.len())).find(|at| rest[*at..].starts_with(piece));
            rest = at.map_or(rest, |at| &rest[at + piece.len()..]);
            at.is_some()
        })
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("*"))
    }
}

/// Words, and perhaps any number of further ones.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Pattern {
    /// Those that have to be there, in their order; for a host name from the right.
    pub words: Vec<Word>,
    /// What may follow them.
    pub rest: Rest,
}

/// What may follow the words of a [`Pattern`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Rest {
    /// Nothing.
    None,
    /// Any number of words, none included: a last `**` of a path or of arguments.
    Any,
    /// One word or more: a first `**.` of a host name.
    Some,
}

impl Pattern {
    /// Whether this stands for all that `inner` stands for. What it takes is so; not all that is so it takes.
    pub fn covers(&self, inner: &Pattern) -> bool {
        let Some((first, more)) = inner.words.split_at_checked(self.words.len()) else { return false };
        let fits = match self.rest {
            Rest::None => more.is_empty() && inner.rest == Rest::None,
            Rest::Any => true,
            Rest::Some => !more.is_empty() || inner.rest == Rest::Some,
        };
        fits && self.words.iter().zip(first).all(|(word, inner)| word.covers(inner))
    }

    /// Whether the words are ones that this stands for.
    pub fn matches<W: AsRef<[u8]>>(&self, words: &[W]) -> bool {
        let Some((first, rest)) = words.split_at_checked(self.words.len()) else { return false };
        let fits = match self.rest {
            Rest::None => rest.is_empty(),
            Rest::Any => true,
            Rest::Some => !rest.is_empty(),
        };
        fits && self.words.iter().zip(first).all(|(word, given)| word.matches(given.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_star_stays_in_its_word() {
        for (word, fits, does_not) in [
            ("*.csv", &["a.csv", ".csv", "a.b.csv"][..], &["a.csv.x", "csv"][..]),
            ("a*b*c", &["abc", "axbxc", "abbcc"][..], &["ac", "abcx", "xabc"][..]),
            ("aa*aa", &["aaaa", "aaxaa"][..], &["aaa", "aa"][..]),
            ("*", &["", "x"][..], &[][..]),
        ] {
            let pattern = Word::new(word);
            assert!(fits.iter().all(|text| pattern.matches(text.as_bytes())), "{word}");
            assert!(!does_not.iter().any(|text| pattern.matches(text.as_bytes())), "{word}");
        }
    }

    fn word() -> impl Strategy<Value = Word> {
        "[ab*]{0,4}".prop_map(|text| Word::new(&text))
    }

    fn pattern() -> impl Strategy<Value = Pattern> {
        let rest = prop_oneof![Just(Rest::None), Just(Rest::Any), Just(Rest::Some)];
        (proptest::collection::vec(word(), 0..3), rest).prop_map(|(words, rest)| Pattern { words, rest })
    }

    proptest! {
        #[test]
        fn what_covers_matches_all_that_the_covered_matches(
            outer in pattern(), inner in pattern(), words in proptest::collection::vec("[ab]{0,4}", 0..4),
        ) {
            prop_assert!(outer.covers(&outer));
            if outer.covers(&inner) && inner.matches(&words) {
                prop_assert!(outer.matches(&words), "{outer:?} {inner:?} {words:?}");
            }
        }

        #[test]
        fn a_word_that_covers_matches_all(outer in word(), inner in word(), text in "[ab]{0,5}") {
            if outer.covers(&inner) && inner.matches(text.as_bytes()) {
                prop_assert!(outer.matches(text.as_bytes()), "{outer} {inner} {text}");
            }
        }
    }

    #[test]
    fn what_may_follow_differs() {
        let pattern = |rest| Pattern { words: vec![Word::new("a")], rest };
        for (rest, fits) in [
            (Rest::None, [true, false, false]),
            (Rest::Any, [true, true, true]),
            (Rest::Some, [false, true, true]),
        ] {
            let pattern = pattern(rest);
            assert_eq!([&["a"][..], &["a", "b"], &["a", "b", "c"]].map(|words| pattern.matches(words)), fits);
            assert!(!pattern.matches(&["b"]) && !pattern.matches::<&str>(&[]));
        }
    }
}
