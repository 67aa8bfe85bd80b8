//! From bytes to a [`Document`]: the only way in.

use crate::chain::{Chain, Library};
use crate::form::{Document, Read, Tier};
use crate::keys::{self, LANDLOCK_MAX, SECRETS};
use crate::problem::{Rejected, Report, excerpt, is_plain};
use crate::reading::{Kind, Table, Value, suggest};
use crate::{Policy, compute, layers, lease, policy::ALWAYS};
use model::{Lease, Wall, Walls};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

mod files;
mod json;
mod net;
mod toml;
mod tools;

/// A longer text is no document.
pub const SOURCE_BYTES_MAX: usize = 64 << 10;
const NAME_BYTES_MAX: usize = 64;
const ABOUT_CHARS_MAX: usize = 200;

impl Document {
    /// Reads a document, in TOML or, if it begins with `{`, in JSON. `origin` is what messages call it: its path, or
    /// `shipped:NAME`. `library` has the texts of the documents that it extends.
    ///
    /// # Errors
    /// Everything that is wrong with the document; one problem is enough for none. A text that is neither TOML nor JSON
    /// has its mistakes in that listed, and its rules are looked at only when there are none.
    pub fn parse(source: &[u8], origin: &str, library: &dyn Library) -> Result<Document, Rejected> {
        let mut report = Report::default();
        let document = read(source, origin, &Chain::new(origin, library), &mut report);
        finish(document, report, source, origin)
    }
}

impl Policy {
    /// Reads a document that extends no file, and makes it what this version enforces: [`Policy::load`] without a
    /// library.
    ///
    /// # Errors
    /// As [`Policy::load`].
    pub fn parse(source: &[u8], origin: &str) -> Result<Policy, Rejected> {
        Policy::load(source, origin, &crate::NoLibrary)
    }

    /// Reads a document as [`Document::parse`] and makes it what this version enforces, as [`Document::enforce`].
    ///
    /// # Errors
    /// All that either of the two refuses.
    pub fn load(source: &[u8], origin: &str, library: &dyn Library) -> Result<Policy, Rejected> {
        let mut report = Report::default();
        let document = read(source, origin, &Chain::new(origin, library), &mut report);
        if let Some(document) = &document {
            document.refuse_unenforced(&mut report);
        }
        finish(document, report, source, origin).map(Document::into_policy)
    }
}

fn finish(
    document: Option<Document>,
    report: Report,
    source: &[u8],
    origin: &str,
) -> Result<Document, Rejected> {
    match document {
        Some(document) if report.is_empty() => Ok(document),
        // Of a document that is too long, no more is shown than was looked at.
        _ => Err(report.rejected(&source[..source.len().min(SOURCE_BYTES_MAX)], origin)),
    }
}

/// The places of the rules of a text, by their names.
pub(crate) struct Places<'t> {
    text: &'t str,
    spans: BTreeMap<String, Range<usize>>,
}

impl Places<'_> {
    pub(crate) fn add(&mut self, rule: String, span: Range<usize>) {
        self.spans.insert(rule, span);
    }

    /// Where `part` of the string `whole` is, which is the value at `span`: the value, if escapes hide the place.
    pub(crate) fn within(&self, span: &Range<usize>, whole: &str, part: &Range<usize>) -> Range<usize> {
        let at = self.text.get(span.clone()).and_then(|written| written.find(whole));
        at.map_or(span.clone(), |at| span.start + at + part.start..span.start + at + part.end)
    }

    /// The line of a byte, from 1.
    pub(crate) fn line(&self, offset: usize) -> u32 {
        let line = self.text[..offset].matches('\n').count() + 1;
        u32::try_from(line).unwrap_or(u32::MAX)
    }
}

/// Reads a text. A document is given also where the report is not empty, so that more can be found wrong with it.
pub(crate) fn read(source: &[u8], origin: &str, chain: &Chain<'_>, report: &mut Report) -> Option<Document> {
    let text = characters(source, report)?;
    let root = match text.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{') {
        true => json::read(text, report)?,
        false => toml::read(text, report)?,
    };
    let root = &root;
    report.only(root, &keys::POLICY, 0..0);

    let places = &mut Places { text, spans: BTreeMap::new() };
    let written = written(root, places);
    let _ = report.value(root, &keys::VERSION, |value| value.integer().filter(|version| *version == 1));
    let name = report.value(root, &keys::NAME, |value| value.text().filter(|name| is_name(name)));
    let about = report.value(root, &keys::ABOUT, |value| value.text().filter(|about| is_about(about)));
    let walls = report.table(root, &keys::WALLS);
    let (require, landlock_min) = walls.map_or((Walls::none(), 1), |walls| self::walls(walls, report));
    let limits = match report.table(root, &keys::COMPUTE) {
        Some(table) => compute::read(report, table, compute::DEFAULT_LIMITS),
        None => compute::DEFAULT_LIMITS,
    };
    let lease = match report.table(root, &keys::LEASE) {
        Some(table) => lease::read(report, table, Lease::default()),
        None => Lease::default(),
    };
    let name = name.map(|(name, _)| name.to_owned()).unwrap_or_default();
    let forbids = tools::cedar(root, &name, places, report);
    let mut asked = Document {
        name,
        about: about.map(|(about, _)| about.to_owned()),
        hash: hash_of(source),
        tier: tier(root, report),
        root: report.value(root, &keys::ROOT, Value::as_bool).is_some_and(|(root, _)| root),
        require,
        landlock_min,
        limits,
        lease,
        files: files::read(root, places, report),
        net: net::read(root, places, report),
        secrets: net::secrets(root, places, report),
        tools: tools::read(root, places, report),
        budget: tools::budget(root, report),
        children_max: tools::children(root, report),
        ask: tools::ask(root, places, report),
        forbids,
        examples: tools::examples(root, places, report),
        read: Read::default(),
    };
    let own_asks = asked.ask.len();
    let extends = report.value(root, &keys::EXTENDS, Value::text);
    asked.read = Read::new(origin, source, std::mem::take(&mut places.spans), written);
    if let Some((reference, span)) = extends {
        let (outer, at) = chain.extended(reference, &span, report)?;
        asked.hash = hash_of(format!("{}\n{}\n", asked.hash, outer.hash).as_bytes());
        let outer = outer.moved(&at);
        if let Some(error) = outer.files.iter().find_map(|zone| zone.check().err()) {
            report.refuse(span, error.to_string(), error.mend());
        }
        let (merged, exceeded) = layers::merge(&asked, &outer, layers::Values::Written);
        for exceeds in exceeded {
            let message = format!("{exceeds}, says {}", excerpt(reference));
            report.refuse(asked.read.place(&exceeds.key), message, exceeds.mend);
        }
        asked = merged;
    }
    asked.refuse_contradictions(own_asks, report);
    Some(asked)
}

/// Reads a text as JSON.
pub(crate) fn json(text: &str, report: &mut Report) -> Option<Table> {
    json::read(text, report)
}

/// The names of the values that the text has, and their places.
fn written(root: &Table, places: &mut Places<'_>) -> BTreeSet<String> {
    let mut written = BTreeSet::new();
    for (name, value) in &root.0 {
        written.insert(name.text.clone());
        places.add(name.text.clone(), name.span.clone());
        let inner = match &value.kind {
            Kind::Table(table) if name.text != SECRETS.name => table,
            Kind::Text(_) | Kind::Truth(_) => {
                places.add(name.text.clone(), value.span());
                continue;
            }
            _ => continue,
        };
        for (key, value) in &inner.0 {
            let rule = format!("{}.{}", name.text, key.text);
            places.add(rule.clone(), value.span());
            written.insert(rule);
        }
    }
    written
}

/// What [`Policy::hash`] gives for the document `source`: `sha256:` and 64 hexadecimal digits.
pub fn hash_of(source: &[u8]) -> String {
    format!("sha256:{:x}", Sha256::digest(source))
}

/// A text that shows all it says: UTF-8 without a byte-order mark, control or invisible characters.
fn characters<'s>(source: &'s [u8], report: &mut Report) -> Option<&'s str> {
    if source.len() > SOURCE_BYTES_MAX {
        let message = format!("the document has {} bytes, expected at most {SOURCE_BYTES_MAX}", source.len());
        report.refuse(SOURCE_BYTES_MAX..SOURCE_BYTES_MAX, message, "remove what is not a rule");
        return None;
    }
    if source.starts_with(b"\xef\xbb\xbf") {
        report.refuse(0..3, "found a byte-order mark, expected text", "save the file as UTF-8 without a BOM");
        return None;
    }
    let document = match std::str::from_utf8(source) {
        Ok(document) => document,
        Err(error) => {
            let at = error.valid_up_to();
            let message = format!("found the byte 0x{:02x}, which is not UTF-8", source[at]);
            report.refuse(at..at + 1, message, "save the file as UTF-8");
            return None;
        }
    };
    for (at, c) in document.char_indices() {
        let fine = is_plain(c) || matches!(c, '\n' | '\t') || document[at..].starts_with("\r\n");
        if !fine {
            let message = format!("found the character U+{:04X}, which does not show", u32::from(c));
            let help = "remove it; a policy must show all that it says";
            report.refuse(at..at + c.len_utf8(), message, help);
        }
    }
    report.is_empty().then_some(document)
}

pub(crate) fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

pub(crate) fn is_about(about: &str) -> bool {
    (1..=ABOUT_CHARS_MAX).contains(&about.chars().count()) && about.chars().all(is_plain)
}

fn tier(root: &Table, report: &mut Report) -> Tier {
    let tier = report.value(root, &keys::TIER, |value| match value.as_str()? {
        "native" => Some(Tier::Native),
        "gvisor" => Some(Tier::Gvisor),
        "microvm" => Some(Tier::Microvm),
        _ => None,
    });
    tier.map_or(Tier::Native, |(tier, _)| tier)
}

fn walls(walls: &Table, report: &mut Report) -> (Walls, u32) {
    let landlock = report.number(walls, &keys::LANDLOCK).and_then(|abi| u32::try_from(abi).ok());
    let landlock_min = landlock.unwrap_or(1).min(LANDLOCK_MAX);
    (require(walls, landlock_min, report), landlock_min)
}

fn require(walls: &Table, landlock_min: u32, report: &mut Report) -> Walls {
    let list = report.value(walls, &keys::REQUIRE, |value| value.as_list().filter(|list| !list.is_empty()));
    let mut required = Walls::none();
    for value in list.into_iter().flat_map(|(list, _)| list) {
        let Some(word) = value.as_str() else {
            report.unlike(value, "require", "the name of a wall", "require = [\"memory-limit\"]");
            continue;
        };
        match word.parse::<Wall>() {
            Err(_) => {
                let names: Vec<&str> = Wall::ALL.iter().map(|wall| wall.name()).collect();
                report.refuse(
                    value.span(),
                    format!("{} is not a wall", excerpt(word)),
                    suggest(word, &names),
                );
            }
            Ok(wall) if required.has(wall) => {
                report.refuse(value.span(), format!("`{wall}` is required twice"), "keep one of the two");
            }
            Ok(Wall::Landlock) if landlock_min == 0 => report.refuse(
                value.span(),
                "`landlock` is required, and `landlock = 0` permits its absence",
                "remove it here, or write `landlock = 1`",
            ),
            Ok(wall) => required = required.with(wall),
        }
    }
    // What stands anyway is no wish of the document, so that the same walls make equal policies.
    required.missing_from(ALWAYS.iter().copied().chain([Wall::Landlock]).collect())
}
