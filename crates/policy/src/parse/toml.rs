//! From the text of a TOML document to its values.

use crate::problem::{Report, excerpt};
use crate::reading::{Kind, Name, Table, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Reads a document; its mistakes in TOML are reported.
pub(super) fn read(document: &str, report: &mut Report) -> Option<Table> {
    let (root, errors) = DeTable::parse_recoverable(document);
    if errors.is_empty() {
        return Some(table(root.into_inner()));
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

fn table(table: DeTable<'_>) -> Table {
    let name = |key: Spanned<_>| Name { span: key.span(), text: String::from(key.into_inner()) };
    let mut entries: Vec<(Name, Value)> =
        table.into_iter().map(|(key, entry)| (name(key), value(entry))).collect();
    entries.sort_by_key(|(name, _)| name.span.start);
    Table(entries)
}

fn value(spanned: Spanned<DeValue<'_>>) -> Value {
    let span = spanned.span();
    let kind = match spanned.into_inner() {
        DeValue::String(text) => Kind::Text(text.into_owned()),
        DeValue::Integer(number) => {
            Kind::Integer(u64::from_str_radix(number.as_str(), number.radix()).ok(), number.to_string())
        }
        DeValue::Float(number) => Kind::Float(number.to_string()),
        DeValue::Boolean(truth) => Kind::Truth(truth),
        DeValue::Datetime(_) => Kind::Time,
        DeValue::Array(list) => Kind::List(list.into_iter().map(value).collect()),
        DeValue::Table(inner) => Kind::Table(table(inner)),
    };
    Value::new(kind, span)
}
