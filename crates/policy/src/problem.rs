//! What is wrong with a document: the place, what was found, what was expected, and the mend.

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode};
use model::quote;
use std::fmt;
use std::ops::Range;

/// So many problems are described; a document with more has its count told.
const PROBLEMS_MAX: usize = 100;

/// One thing that is wrong with a document.
///
/// Strings of the document that it repeats are [`model::quote`]d. Serialized, it is an object of `line`,
/// `column`, `message` and `help`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// What was found and what was expected.
    pub message: String,
    /// The mend.
    pub help: String,
    #[serde(skip)]
    span: Range<usize>,
}

/// A document that is no policy, with everything that is wrong with it in the order of the document.
#[derive(Debug, thiserror::Error)]
#[error("`{}` is not a policy: {total} problem{}", .shown.name(), if *.total == 1 { "" } else { "s" })]
pub struct Rejected {
    shown: NamedSource<String>,
    problems: Vec<Problem>,
    total: usize,
}

impl Rejected {
    /// The problems, in the order of the document; at least one and at most 100.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// How many problems there are, those included that are not described.
    pub fn total(&self) -> usize {
        self.total
    }

    /// For people without a graphical terminal: `FILE:LINE:COLUMN: MESSAGE`, and the mend beneath.
    pub fn plain(&self) -> String {
        let (origin, mut text) = (self.shown.name(), String::new());
        for p in &self.problems {
            text += &format!("{}:{}:{}: {}\n  help: {}\n", origin, p.line, p.column, p.message, p.help);
        }
        if self.total > self.problems.len() {
            text += &format!("{}: and {} more\n", origin, self.total - self.problems.len());
        }
        text
    }
}

impl Diagnostic for Rejected {
    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.shown)
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.problems.iter().map(|p| p as &dyn Diagnostic)))
    }
}

impl Diagnostic for Problem {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(&self.help))
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(std::iter::once(LabeledSpan::new_with_span(
            Some("here".to_owned()),
            self.span.clone(),
        ))))
    }
}

/// Collects problems while a document is read.
#[derive(Default)]
pub(crate) struct Report {
    found: Vec<(Range<usize>, String, String)>,
    total: usize,
}

impl Report {
    /// Notes that the bytes `span` of the document are wrong.
    pub(crate) fn refuse(&mut self, span: Range<usize>, message: impl Into<String>, help: impl Into<String>) {
        self.total += 1;
        if self.found.len() < PROBLEMS_MAX {
            self.found.push((span, message.into(), help.into()));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// Finishes: finds lines and columns.
    pub(crate) fn rejected(mut self, source: &[u8], origin: &str) -> Rejected {
        self.found.sort_by_key(|(span, ..)| span.start);
        let shown = shown(source);
        let problems = self.found.into_iter().map(|(span, message, help)| {
            let span = span.start.min(shown.len())..span.end.min(shown.len());
            let (line, column) = position(source, span.start);
            Problem { line, column, message, help, span }
        });
        let problems = problems.collect();
        Rejected { shown: NamedSource::new(quote(origin), shown), problems, total: self.total }
    }
}

/// Line and column of a byte, both from 1.
fn position(source: &[u8], offset: usize) -> (usize, usize) {
    let before = &source[..offset];
    let line_start = before.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    let line = before.iter().filter(|b| **b == b'\n').count() + 1;
    (line, String::from_utf8_lossy(&before[line_start..]).chars().count() + 1)
}

/// The document as it may go to a terminal: as many bytes, with `?` for what could drive one.
fn shown(source: &[u8]) -> String {
    let mut text = String::with_capacity(source.len());
    for chunk in source.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c == '\n' || is_plain(c) { text.push(c) } else { text.push_str(&"?".repeat(c.len_utf8())) }
        }
        text.push_str(&"?".repeat(chunk.invalid().len()));
    }
    text
}

/// Whether `c` shows itself and changes nothing around it, which is [`model::quote`]'s notion.
pub(crate) fn is_plain(c: char) -> bool {
    match c {
        ' '..='~' => true,
        c if c.is_ascii() => false,
        c => quote(c.encode_utf8(&mut [0; 4])).len() == c.len_utf8(),
    }
}

/// A text of the document as a message repeats it: quoted, and cut when long.
pub(crate) fn excerpt(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("`{}…`", quote(&text[..end])),
        None => format!("`{}`", quote(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shown_source_has_the_same_bytes_count_and_no_control_characters() {
        let source = b"a\x1b[2J\xff\n\xe2\x80\xaeb \xc3\xa9";
        let shown = shown(source);
        assert_eq!(shown, "a?[2J?\n???b é");
        assert_eq!(shown.len(), source.len());
    }

    #[test]
    fn a_column_counts_characters() {
        assert_eq!(position("é\né é x".as_bytes(), "é\né é ".len()), (2, 5));
    }

    #[test]
    fn a_flood_of_problems_is_counted_not_described() {
        let mut report = Report::default();
        (0..1000).for_each(|_| report.refuse(0..0, "m", "h"));
        let rejected = report.rejected(b"", "x");
        assert_eq!((rejected.problems().len(), rejected.total()), (PROBLEMS_MAX, 1000));
        assert!(rejected.plain().ends_with("x: and 900 more\n"));
    }
}
