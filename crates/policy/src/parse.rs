//! From bytes to a [`Policy`]: the only way in.

use crate::document::{Want, integer, suggest, text};
use crate::problem::{Rejected, Report, excerpt, is_plain};
use crate::{Policy, compute, later, lease, policy::ALWAYS};
use model::{Lease, Wall, Walls};
use sha2::{Digest, Sha256};
use toml::de::{DeTable, DeValue};

mod files;

pub(crate) const SOURCE_BYTES_MAX: usize = 64 << 10;
const NAME_BYTES_MAX: usize = 64;
const ABOUT_CHARS_MAX: usize = 200;
/// Far above what any kernel offers, so that a slip of the pen is caught here.
pub(crate) const LANDLOCK_MAX: u32 = 16;

const KEYS: &[&str] = &["version", "name", "about", "tier", "root", "walls", "compute", "lease", "files"];

impl Policy {
    /// Reads a document. `origin` is what messages call it: its path, or `shipped:NAME`.
    ///
    /// # Errors
    /// Everything that is wrong with the document; one problem is enough for no policy. A text that is not
    /// TOML has its mistakes in TOML listed, and its rules are looked at only when there are none.
    pub fn parse(source: &[u8], origin: &str) -> Result<Policy, Rejected> {
        let mut report = Report::default();
        match read(source, &mut report) {
            Some(policy) if report.is_empty() => Ok(policy),
            // Of a document that is too long, no more is shown than was looked at.
            _ => Err(report.rejected(&source[..source.len().min(SOURCE_BYTES_MAX)], origin)),
        }
    }
}

fn read(source: &[u8], report: &mut Report) -> Option<Policy> {
    let document = characters(source, report)?;
    let mut root = toml(document, report)?.into_inner();
    for (key, form, mend) in later::KEYS {
        if let Some((key, _)) = root.remove_entry(*key) {
            report.refuse(key.span(), format!("this version does not enforce `{form}`"), *mend);
        }
    }
    let root = &root;
    report.only(root, "the policy", KEYS);

    version(root, report);
    let name = name(root, report);
    let about = about(root, report);
    tier(root, report);
    const ROOT: Want = Want { key: "root", expected: "`true` or `false`", example: "root = false" };
    let may_be_root = report.value(root, ROOT, DeValue::as_bool);
    let walls = table(root, "walls", report);
    let (require, landlock_min) = walls.map_or((Walls::none(), 1), |walls| self::walls(walls, report));
    let compute = table(root, "compute", report);
    let limits = compute.map_or(compute::DEFAULT_LIMITS, |compute| compute::read(report, compute));
    let lease = table(root, "lease", report);
    let lease = lease.map_or_else(Lease::default, |lease| lease::read(report, lease));
    let files = files::read(root, document, report);
    Some(Policy {
        name: name?,
        about,
        hash: hash_of(source),
        root: may_be_root.is_some_and(|(root, _)| root),
        require,
        landlock_min,
        limits,
        lease,
        files,
    })
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

fn toml<'s>(document: &'s str, report: &mut Report) -> Option<toml::Spanned<DeTable<'s>>> {
    let (root, errors) = DeTable::parse_recoverable(document);
    if errors.is_empty() {
        return Some(root);
    }
    // Only a key of too many parts is reported without its place: it is on the line with the most dots.
    let dots = |line: &&str| line.matches('.').count();
    let dotted = document.lines().max_by_key(dots).and_then(|line| document.find(line)).unwrap_or(0);
    let mut errors: Vec<_> =
        errors.into_iter().map(|error| (error.span().unwrap_or(dotted..dotted), error)).collect();
    errors.sort_by_key(|(span, _)| span.start);
    // One mistake makes several errors, as the parser finds its feet again; the first of a line tells.
    let breaks: Vec<usize> = document.match_indices('\n').map(|(at, _)| at).collect();
    errors.dedup_by_key(|(span, _)| breaks.partition_point(|at| *at < span.start));
    for (span, error) in errors {
        let found = document.get(span.clone()).unwrap_or_default();
        match error.message() {
            "duplicate key" => report.refuse(
                span,
                format!("{} is written twice", excerpt(found)),
                "keep one of the two; a table has one header, and the entries of a list `[[…]]` each their own",
            ),
            message => report.refuse(
                span,
                format!("not TOML: {}", model::quote(message)),
                "write `key = value` lines beneath `[table]` headers, and strings in double quotes",
            ),
        }
    }
    None
}

fn version(root: &DeTable<'_>, report: &mut Report) {
    const WANT: Want = Want { key: "version", expected: "`1`, the only version", example: "version = 1" };
    if !root.contains_key(WANT.key) {
        report.refuse(0..0, "`version` is missing", "begin with `version = 1`");
    }
    report.value(root, WANT, |value| integer(value).filter(|version| *version == 1));
}

fn name(root: &DeTable<'_>, report: &mut Report) -> Option<String> {
    const WANT: Want = Want {
        key: "name",
        expected: "1 to 64 of the characters a-z, 0-9 and `-`",
        example: "name = \"analyst\"",
    };
    if !root.contains_key(WANT.key) {
        report.refuse(0..0, "`name` is missing", "give it one: `name = \"analyst\"`");
    }
    let (name, _) = report.value(root, WANT, |value| text(value).filter(|name| is_name(name)))?;
    Some(name.to_owned())
}

pub(crate) fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

fn about(root: &DeTable<'_>, report: &mut Report) -> Option<String> {
    const WANT: Want = Want {
        key: "about",
        expected: "one line of 1 to 200 characters that show",
        example: "about = \"reads the reports, writes a summary\"",
    };
    let (about, _) = report.value(root, WANT, |value| text(value).filter(|about| is_about(about)))?;
    Some(about.to_owned())
}

pub(crate) fn is_about(about: &str) -> bool {
    (1..=ABOUT_CHARS_MAX).contains(&about.chars().count()) && about.chars().all(is_plain)
}

fn tier(root: &DeTable<'_>, report: &mut Report) {
    const WANT: Want = Want { key: "tier", expected: "`native`", example: "tier = \"native\"" };
    let Some(value) = root.get(WANT.key) else { return };
    match value.get_ref().as_str() {
        Some("native") => {}
        Some(tier) if later::TIERS.contains(&tier) => report.refuse(
            value.span(),
            format!("this version does not build the tier `{tier}`; it builds native walls only"),
            "write `tier = \"native\"` if those walls will do for what runs inside",
        ),
        _ => report.unexpected(value, WANT.key, WANT.expected, WANT.example),
    }
}

fn walls(walls: &DeTable<'_>, report: &mut Report) -> (Walls, u32) {
    report.only(walls, "[walls]", &["require", "landlock"]);
    const LANDLOCK: Want = Want {
        key: "landlock",
        expected: "an integer from 0 to 16, the least Landlock ABI",
        example: "landlock = 1",
    };
    let landlock = report.value(walls, LANDLOCK, |value| {
        integer(value).and_then(|abi| u32::try_from(abi).ok()).filter(|abi| *abi <= LANDLOCK_MAX)
    });
    let landlock_min = landlock.map_or(1, |(abi, _)| abi);
    (require(walls, landlock_min, report), landlock_min)
}

fn require(walls: &DeTable<'_>, landlock_min: u32, report: &mut Report) -> Walls {
    const WANT: Want = Want {
        key: "require",
        expected: "a list of walls",
        example: "require = [\"memory-limit\"]` or leave it out",
    };
    let list = report.value(walls, WANT, |value| value.as_array().filter(|list| !list.is_empty()));
    let mut required = Walls::none();
    for value in list.into_iter().flat_map(|(list, _)| list.iter()) {
        let Some(word) = value.get_ref().as_str() else {
            report.unexpected(value, WANT.key, "the name of a wall", "require = [\"memory-limit\"]");
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

/// The table `key`, if it is there.
fn table<'t, 's>(root: &'t DeTable<'s>, key: &'static str, report: &mut Report) -> Option<&'t DeTable<'s>> {
    let value = root.get(key)?;
    let table = value.get_ref().as_table();
    if table.is_none() {
        report.unexpected(value, key, "a table", &format!("[{key}]"));
    }
    table
}
