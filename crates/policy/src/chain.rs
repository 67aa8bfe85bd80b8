//! `extends`: the documents that a document narrows, one within the other.

use crate::form::Document;
use crate::problem::{Report, excerpt};
use std::ops::Range;

/// So many documents are within one another at most.
pub const LAYERS_MAX: usize = 8;

/// Has the texts of the documents that others extend. This crate reads no file itself.
pub trait Library {
    /// The text of the document at `path`: absolute, or relative to the directory of the first document.
    ///
    /// # Errors
    /// Why it cannot be had, for the person who wrote the path.
    fn text(&self, path: &str) -> Result<Vec<u8>, String>;
}

/// Has no text: for documents that extend nothing but shipped ones.
#[derive(Debug, Clone, Copy)]
pub struct NoLibrary;

impl Library for NoLibrary {
    fn text(&self, _: &str) -> Result<Vec<u8>, String> {
        Err("a document that is given as a text alone can extend shipped policies only".to_owned())
    }
}

/// The documents that led to the one that is read, itself last.
pub(crate) struct Chain<'l> {
    library: &'l dyn Library,
    names: Vec<String>,
    /// Where the paths of the last one start from, relative to the directory of the first; empty for that itself.
    directory: String,
}

impl<'l> Chain<'l> {
    pub(crate) fn new(origin: &str, library: &'l dyn Library) -> Chain<'l> {
        Chain { library, names: vec![origin.to_owned()], directory: String::new() }
    }

    /// Reads what the last document extends, and gives the directory that its paths start from, relative to the last's.
    pub(crate) fn extended(
        &self,
        reference: &str,
        span: &Range<usize>,
        report: &mut Report,
    ) -> Option<(Document, String)> {
        let mut refuse = |message: String, help: &str| {
            report.refuse(span.clone(), message, help);
            None
        };
        let (name, text, directory) = if let Some(text) = crate::shipped(reference) {
            (format!("shipped:{reference}"), Ok(text.as_bytes().to_vec()), String::new())
        } else if ["./", "../", "/"].iter().any(|start| reference.starts_with(start)) {
            if let Err(error) = crate::zones::check_host_path(reference) {
                return refuse(
                    error.to_string(),
                    "write a path relative to this document's directory: `./base.toml`",
                );
            }
            let path = join(&self.directory, reference);
            let directory = reference.rsplit_once('/').map_or("", |(directory, _)| directory);
            let directory = if directory.is_empty() { "/" } else { directory };
            (path.clone(), self.library.text(&path), directory.to_owned())
        } else {
            let names: Vec<&str> = crate::SHIPPED.iter().map(|(name, _)| *name).collect();
            let help = format!("name one of: {}; or a file: `./base.toml`", names.join(", "));
            return refuse(format!("{} is not a shipped policy", excerpt(reference)), &help);
        };
        let shown: Vec<String> = self.names.iter().chain([&name]).map(|name| excerpt(name)).collect();
        if self.names.contains(&name) {
            return refuse(format!("a policy extends itself: {}", shown.join(" -> ")), "break the circle");
        }
        if self.names.len() == LAYERS_MAX {
            let message =
                format!("more than {LAYERS_MAX} policies are within one another: {}", shown.join(" -> "));
            return refuse(message, "write the rules of some of them out here");
        }
        let text = match text {
            Ok(text) => text,
            Err(error) => {
                let message = format!("{} cannot be read: {error}", excerpt(reference));
                return refuse(
                    message,
                    "name a policy that is there, or remove `extends` and write its rules out here",
                );
            }
        };
        let names = self.names.iter().chain([&name]).cloned().collect();
        let inner = Chain { library: self.library, names, directory: join(&self.directory, &directory) };
        let mut its_report = Report::default();
        let document = crate::parse::read(&text, &name, &inner, &mut its_report);
        match document {
            Some(document) if its_report.is_empty() => Some((document, directory)),
            _ => {
                let rejected = its_report.rejected(&text, &name);
                let first =
                    rejected.problems().first().map(|p| format!("{}:{}: {}", p.line, p.column, p.message));
                let message = format!("{}: {}", rejected, first.unwrap_or_default());
                refuse(message, "mend that document; `casemate policy check` shows all that is wrong with it")
            }
        }
    }
}

impl Document {
    /// This document as one whose paths start from another directory; `at` is where they started from, seen from there.
    pub(crate) fn moved(mut self, at: &str) -> Document {
        for rule in &mut self.files {
            *rule = rule.clone().moved(|path| join(at, path));
        }
        self
    }

    /// This document with host paths that are absolute: relative ones start from `directory`, which is.
    ///
    /// Documents of different directories can be compared by [`Document::narrow`] only so.
    pub fn rooted(self, directory: &str) -> Document {
        self.moved(directory)
    }
}

/// `path`, seen from where `directory` is seen from.
fn join(directory: &str, path: &str) -> String {
    match (directory, path.strip_prefix("./")) {
        (_, _) if path.starts_with('/') => path.to_owned(),
        ("" | ".", _) => path.to_owned(),
        (directory, rest) => format!("{}/{}", directory.trim_end_matches('/'), rest.unwrap_or(path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_seen_from_the_first_directory() {
        for (directory, path, joined) in [
            ("", "./a", "./a"),
            (".", "a/b", "a/b"),
            ("./x", "./a", "./x/a"),
            ("../x", "../a", "../x/../a"),
            ("./x", "/a", "/a"),
            ("/", "a", "/a"),
            ("/x", "./a", "/x/a"),
        ] {
            assert_eq!(join(directory, path), joined);
        }
    }
}
