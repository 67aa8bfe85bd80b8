//! The tables of the reference, written from the table that the reader reads by.

use crate::keys::{Noun, POLICY, Takes};
use std::fmt::Write;

const BEGIN: &str = "<!-- keys of ";
const BEGIN_END: &str = " -->\n";
const END: &str = "<!-- end -->";

/// `document` with every table between `<!-- keys of NOUN -->` and `<!-- end -->` written anew; none if one of them is of
/// no noun, or one is missing.
pub fn with_tables(document: &str) -> Option<String> {
    let mut nouns = Vec::new();
    collect(&POLICY, &mut nouns);
    let mut out = String::new();
    let mut parts = document.split(BEGIN);
    out.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (title, rest) = part.split_once(BEGIN_END)?;
        let (_, after) = rest.split_once(END)?;
        let place = nouns.iter().position(|noun| noun.title == title)?;
        let noun = nouns.remove(place);
        let _ = write!(out, "{BEGIN}{title}{BEGIN_END}{}{END}{after}", table(noun));
    }
    nouns.is_empty().then_some(out)
}

/// A noun and all within it.
fn collect(noun: &'static Noun, nouns: &mut Vec<&'static Noun>) {
    nouns.push(noun);
    for key in noun.keys {
        if let Takes::Table(inner) | Takes::Tables(inner, _) | Takes::Named(inner, _) = key.takes {
            collect(inner, nouns);
        }
    }
}

fn table(noun: &Noun) -> String {
    let mut out = String::from("| key | takes | without it | meaning |\n| --- | --- | --- | --- |\n");
    for key in noun.keys {
        let default = match key.written_default() {
            Some(default) => format!("`{default}`"),
            None => key.default.trim_matches(['(', ')']).to_owned(),
        };
        let most = match key.takes {
            Takes::List(_, most) | Takes::Tables(_, most) | Takes::Named(_, most) => {
                format!(", at most {most}")
            }
            _ => String::new(),
        };
        let _ = writeln!(out, "| `{}` | {}{most} | {default} | {} |", key.name, key.expected(), key.about);
    }
    out
}
