//! The specification's tables of the server, against the code: every bound has a row, and every row the code's number.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// A row of a table: its names in backquotes, and a number for each.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    names: Vec<String>,
    numbers: Vec<String>,
}

/// The rows of the table whose head is `head`: names in the second column, numbers in the third.
fn rows(specification: &str, head: &str) -> Vec<Row> {
    let table = specification.split_once(head).expect("a table").1;
    table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let names = cells[1].split('`').skip(1).step_by(2).map(str::to_owned).collect();
            Row { names, numbers: cells[2].split("; ").map(str::to_owned).collect() }
        })
        .collect()
}

/// The value of every constant of a file that is written as numbers, `*`, `<<`, or a duration, as the table says it.
fn constants(file: &Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let declared = text.lines().filter_map(|line| {
        let line = line.trim_start_matches("pub ").trim_start_matches("pub(super) ");
        let (name, rest) = line.strip_prefix("const ")?.split_once(": ")?;
        let (_, value) = rest.split_once(" = ")?;
        Some((name.to_owned(), said(name, value.strip_suffix(';')?)?))
    });
    declared.collect()
}

/// A value in the words of the table: `4,096`, `64 KiB`, `90 s`.
fn said(name: &str, value: &str) -> Option<String> {
    if let Some((per_s, number)) =
        [("from_secs(", 1), ("from_millis(", 1000)].iter().find_map(|(unit, per_s)| {
            Some((
                *per_s,
                evaluated(value.strip_prefix("Duration::")?.strip_prefix(unit)?.strip_suffix(')')?)?,
            ))
        })
    {
        return Some(match number / per_s {
            0 => format!("{number} ms"),
            s if s >= 3600 && s % 3600 == 0 => format!("{} h", s / 3600),
            s => format!("{s} s"),
        });
    }
    let number = evaluated(value)?;
    if !name.contains("BYTES") {
        return Some(thousands(number));
    }
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let unit = units.iter().find(|(shift, _)| number >= 1 << shift && number % (1 << shift) == 0);
    Some(
        unit.map_or(format!("{} B", thousands(number)), |(shift, unit)| {
            format!("{} {unit}", number >> shift)
        }),
    )
}

fn evaluated(expression: &str) -> Option<u64> {
    if let Some((left, right)) = expression.split_once(" * ") {
        return Some(evaluated(left)? * evaluated(right)?);
    }
    if let Some((left, right)) = expression.split_once(" << ") {
        return Some(evaluated(left)? << evaluated(right)?);
    }
    match expression {
        "KIB" => Some(1 << 10),
        "MIB" => Some(1 << 20),
        number => number.replace('_', "").parse().ok(),
    }
}

fn thousands(number: u64) -> String {
    match number {
        0..1000 => number.to_string(),
        _ => format!("{},{:03}", thousands(number / 1000), number % 1000),
    }
}

/// Whether a cell says this number, and not one that only begins like it. More may follow: `90 s, or as asked`.
fn says(cell: &str, number: &str) -> bool {
    cell.strip_prefix(number)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(' ') || rest.starts_with(", "))
}

/// The places at which table and code differ.
fn differences(rows: &[Row], known: &BTreeMap<String, String>) -> Vec<String> {
    let mut wrong = Vec::new();
    for Row { names, numbers } in rows {
        if names.len() != numbers.len() {
            wrong.push(format!("{names:?} have the numbers {numbers:?}: write one for each, between `; `"));
        }
        for (name, number) in names.iter().zip(numbers) {
            match known.get(name) {
                Some(value) if says(number, value) => {}
                Some(value) => wrong.push(format!("{name}: `{number}` in the table, {value} in the code")),
                None => wrong.push(format!("{name} is in the table and not in the code")),
            }
        }
    }
    wrong
}

fn specification() -> String {
    fs::read_to_string(root().join("docs/SPECIFICATION.md")).unwrap()
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

#[test]
fn every_bound_is_in_the_specification_with_its_number() {
    let text = specification();
    let mut rows = rows(&text, "| bound | name | number |");
    rows.retain(|row| row.names.iter().all(|name| !name.starts_with("--")) && !row.names.is_empty());
    let mut known = constants(&root().join("crates/server/src/bounds.rs"));
    known.retain(|name, _| !["KIB", "MIB"].contains(&name.as_str()));
    assert!(known.len() > 30, "{known:?}");
    assert_eq!(differences(&rows, &known), [""; 0]);
    let listed: Vec<&String> = rows.iter().flat_map(|row| &row.names).collect();
    let missing: Vec<&String> = known.keys().filter(|name| !listed.contains(name)).collect();
    assert!(missing.is_empty(), "without a row: {missing:?}");
}

#[test]
fn what_the_specification_says_of_the_node_is_so() {
    let text = specification();
    let rows = rows(&text, "| bound of the node | name | number |");
    assert!(rows.len() > 15, "{rows:?}");
    // Names are told with their file: `host/places.rs: WORKS_MAX`.
    let mut known = BTreeMap::new();
    for name in rows.iter().flat_map(|row| &row.names) {
        let Some((file, _)) = name.split_once(": ") else { panic!("{name} has no file") };
        let found = constants(&root().join("crates/node/src").join(file));
        known.extend(found.into_iter().map(|(name, value)| (format!("{file}: {name}"), value)));
    }
    assert_eq!(differences(&rows, &known), [""; 0]);
}

#[test]
fn a_number_that_is_not_the_codes_is_found() {
    let table = "| bound | name | number | at it |\n| --- | --- | --- | --- |\n| a; b | `A_MAX`, `B_TIME` | 10 each; 90 s, or less | x |\n\n";
    let rows = rows(table, "| bound | name | number |");
    let known = |a: &str, b: &str| {
        let pairs = [("A_MAX", said("A_MAX", a)), ("B_TIME", said("B_TIME", b))];
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value.unwrap())).collect()
    };
    assert_eq!(differences(&rows, &known("10", "Duration::from_secs(90)")), [""; 0]);
    assert_eq!(differences(&rows, &known("1", "Duration::from_secs(9)")).len(), 2);
    assert_eq!(said("X_BYTES_MAX", "64 * KIB").unwrap(), "64 KiB");
    assert_eq!(said("X_BYTES_MAX", "4095").unwrap(), "4,095 B");
    assert_eq!(said("X_TIME", "Duration::from_secs(24 * 3600)").unwrap(), "24 h");
    assert!(!says("1,000", "1"));
}
