//! The words of a line: how a command, a tool's call or a path with odd characters is written down.
//!
//! ```text
//! word   = plain characters other than space, `'`, `"` and `\`
//!        | ' ... '   in which `\\`, `\'` and `\xNN` stand for what they cannot be written as
//! ```
//!
//! What is written is read back as the same bytes, and each word has one spelling that is written.

use crate::problem::is_plain;

/// So many words has a line at most.
const WORDS_MAX: usize = 256;

/// A word, and whether it stood in quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) bytes: Vec<u8>,
    pub(crate) quoted: bool,
}

impl Written {
    /// Whether it is the bare word `keyword`: one in quotes never is.
    pub(crate) fn is(&self, keyword: &str) -> bool {
        !self.quoted && self.bytes == keyword.as_bytes()
    }
}

/// Splits a line into its words.
pub(crate) fn split(line: &str) -> Result<Vec<Written>, &'static str> {
    let mut words = Vec::new();
    let mut rest = line;
    loop {
        rest = rest.trim_start_matches(' ');
        if rest.is_empty() {
            return Ok(words);
        }
        if words.len() == WORDS_MAX {
            return Err("it has more than 256 words");
        }
        let (word, after) = match rest.strip_prefix('\'') {
            Some(inside) => in_quotes(inside)?,
            None => bare(rest)?,
        };
        if !after.is_empty() && !after.starts_with(' ') {
            return Err("something follows a closing `'` without a space");
        }
        words.push(word);
        rest = after;
    }
}

fn bare(text: &str) -> Result<(Written, &str), &'static str> {
    let (word, after) = text.split_at(text.find(' ').unwrap_or(text.len()));
    match word.chars().find(|c| !is_bare(*c)) {
        None => Ok((Written { bytes: word.as_bytes().to_vec(), quoted: false }, after)),
        Some('\'') => Err("a `'` stands within a word: put the whole word in quotes and write `\\'`"),
        Some('"') => Err("a `\"` quotes nothing here: put the word in `'`"),
        Some('\\') => Err("a `\\` stands outside of quotes: put the word in `'` and write `\\\\`"),
        Some(_) => Err("it has a character that does not show: write its bytes as `\\xNN` in `'`"),
    }
}

fn in_quotes(text: &str) -> Result<(Written, &str), &'static str> {
    let mut bytes = Vec::new();
    let mut rest = text.chars();
    loop {
        match rest.next() {
            None => return Err("a `'` is not closed"),
            Some('\'') => return Ok((Written { bytes, quoted: true }, rest.as_str())),
            Some('\\') => match rest.next() {
                Some(c @ ('\\' | '\'')) => bytes.push(c as u8),
                Some('x') => {
                    let hex = |c: Option<char>| c.and_then(|c| c.to_digit(16)).map(|digit| digit as u8);
                    let (high, low) = (hex(rest.next()), hex(rest.next()));
                    match high.zip(low) {
                        Some((high, low)) => bytes.push(high << 4 | low),
                        None => return Err("`\\x` needs two hexadecimal digits"),
                    }
                }
                _ => return Err("only `\\\\`, `\\'` and `\\xNN` may follow a `\\`"),
            },
            Some(c) if is_plain(c) => bytes.extend(c.encode_utf8(&mut [0; 4]).as_bytes()),
            Some(_) => return Err("it has a character that does not show: write its bytes as `\\xNN`"),
        }
    }
}

fn is_bare(c: char) -> bool {
    is_plain(c) && !matches!(c, ' ' | '\'' | '"' | '\\')
}

/// The word as [`split`] reads it: bare if it can be, and is none of `keywords`.
pub(crate) fn write(bytes: &[u8], keywords: &[&str]) -> String {
    if let Ok(text) = std::str::from_utf8(bytes)
        && !text.is_empty()
        && text.chars().all(is_bare)
        && !keywords.contains(&text)
    {
        return text.to_owned();
    }
    format!("'{}'", model::quote(bytes).replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(line: &str) -> Result<Vec<Vec<u8>>, &'static str> {
        Ok(split(line)?.into_iter().map(|word| word.bytes).collect())
    }

    #[test]
    fn words_are_split_and_quotes_hold_them_together() {
        assert_eq!(bytes("  a  b"), Ok(vec![b"a".to_vec(), b"b".to_vec()]));
        assert_eq!(
            bytes(r"'a b' '\'' '' '\xff'"),
            Ok(vec![b"a b".to_vec(), b"'".to_vec(), vec![], vec![0xff]])
        );
        assert_eq!(bytes(""), Ok(vec![]));
        for bad in ["a'b", "'a", "'a'b", "\"a\"", r"a\b", r"'\n'", r"'\x1'", "a\tb", "'a\nb'", "a\u{202e}b"] {
            assert!(split(bad).is_err(), "{bad:?}");
        }
        assert!(split(&"a ".repeat(257)).is_err());
        assert!(split("'as'").is_ok_and(|words| !words[0].is("as")));
    }

    proptest! {
        #[test]
        fn every_word_comes_back(words in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..12), 0..6)) {
            let line: Vec<String> = words.iter().map(|word| write(word, &["as"])).collect();
            prop_assert_eq!(bytes(&line.join(" ")).unwrap(), words);
        }
    }
}
