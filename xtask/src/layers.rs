//! `cargo xtask layers`: the workspace against the table in `docs/ARCHITECTURE.md`, which is the source of truth.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::place;
use crate::program::read;

const DOCUMENT: &str = "docs/ARCHITECTURE.md";
const MARKER: &str = "<!-- layers -->";
/// They work inside a fork, or must stay usable without a runtime.
const WITHOUT_TOKIO: [&str; 4] = ["model", "policy", "ledger", "jail"];
/// Where the word `unsafe` may stand.
const UNSAFE: [&str; 2] = ["crates/jail/src/sys", "crates/agent/src/sys"];

struct Row {
    layer: u8,
    may_use: Vec<String>,
}

pub(crate) fn check() -> Result<()> {
    let text = fs::read_to_string(place::root().join(DOCUMENT))
        .with_context(|| format!("could not read {DOCUMENT}"))?;
    let table = table(&text)?;
    let mut wrong = edges(&table, &place::metadata()?);
    for name in WITHOUT_TOKIO.iter().filter(|name| table.contains_key(**name)) {
        let tree =
            ["tree", "--package", name, "--edges", "normal,build", "--prefix", "none", "--format", "{p}"];
        if read(place::cargo().args(tree))?.lines().any(|line| line.starts_with("tokio ")) {
            wrong.push(format!("`{name}` links tokio"));
        }
    }
    for file in sources(&place::root().join("crates"))? {
        let relative = file.strip_prefix(place::root())?;
        if UNSAFE.iter().any(|allowed| relative.starts_with(allowed)) {
            continue;
        }
        for line in says_unsafe(&fs::read_to_string(&file)?) {
            wrong.push(format!("{}:{line} says `unsafe`", relative.display()));
        }
    }
    if !wrong.is_empty() {
        bail!("the layers of {DOCUMENT} do not hold:\n  {}", wrong.join("\n  "));
    }
    println!("layers: {} crates keep to the table in {DOCUMENT}", table.len());
    Ok(())
}

/// Rows between the markers: ``| `policy` | L1 | model |``.
fn table(document: &str) -> Result<BTreeMap<String, Row>> {
    let between = document.split(MARKER).nth(1).with_context(|| format!("{DOCUMENT} has no `{MARKER}`"))?;
    let mut table = BTreeMap::new();
    for line in between.lines().map(str::trim).filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, layer, may_use, ..] = cells[..] else { bail!("not a row of the layer table: {line}") };
        let layer = layer.strip_prefix('L').and_then(|number| number.parse().ok());
        let may_use = may_use.split([' ', ',']).map(|word| word.trim_matches('`'));
        let row = Row {
            layer: layer.with_context(|| format!("not a layer, in: {line}"))?,
            may_use: may_use.filter(|word| !matches!(*word, "" | "–" | "-")).map(str::to_owned).collect(),
        };
        table.insert(name.trim_matches('`').to_owned(), row);
    }
    if table.is_empty() {
        bail!("the layer table of {DOCUMENT} is empty");
    }
    Ok(table)
}

/// What the table does not allow. What only tests use is not looked at.
fn edges(table: &BTreeMap<String, Row>, metadata: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, row) in table {
        for used in &row.may_use {
            if table.get(used).is_none_or(|below| below.layer >= row.layer) {
                wrong.push(format!("the table lets `{name}` use `{used}`, which is not in a lower layer"));
            }
        }
    }
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        if !package["manifest_path"].as_str().unwrap_or_default().contains("/crates/") {
            continue;
        }
        let Some(row) = table.get(name) else {
            wrong.push(format!("`{name}` is not in the table"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let used = dependency["name"].as_str().unwrap_or_default();
            let ours = dependency["path"].is_string();
            if ours && dependency["kind"] != "dev" && !row.may_use.iter().any(|allowed| allowed == used) {
                wrong.push(format!("`{name}` uses `{used}`"));
            }
        }
    }
    wrong
}

/// The Rust files that become part of a crate: not its tests, examples and benches.
fn sources(crates: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(crates)? {
        let directory = entry?.path();
        found.extend(Some(directory.join("build.rs")).filter(|file| file.is_file()));
        walk(&directory.join("src"), &mut found)?;
    }
    Ok(found)
}

fn walk(directory: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), found)?;
        } else if entry.path().extension().is_some_and(|end| end == "rs") {
            found.push(entry.path());
        }
    }
    Ok(())
}

/// The lines that use the keyword, outside comments and text.
fn says_unsafe(source: &str) -> Vec<usize> {
    let keyword = |line: &str| {
        let code = line.split("//").next().unwrap_or_default();
        let outside_text = code.split('"').step_by(2);
        outside_text
            .flat_map(|part| part.split(|letter: char| !letter.is_alphanumeric() && letter != '_'))
            .any(|word| word == "unsafe")
    };
    source.lines().enumerate().filter(|(_, line)| keyword(line)).map(|(index, _)| index + 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const TABLE: &str = "<!-- layers -->\n| crate | layer | may use |\n|---|---|---|\n| `model` | L0 | – |\n\
        | `policy` | L1 | model |\n| `node` | L3 | model policy |\n<!-- layers -->\n| `no` | Lx | y |";

    fn uses(name: &str, used: &str, kind: Option<&str>) -> Value {
        json!({"packages": [{"name": name, "manifest_path": "/w/crates/x/Cargo.toml",
            "dependencies": [{"name": used, "path": "/w", "kind": kind}, {"name": "libc", "kind": null}]}]})
    }

    #[test]
    fn an_edge_that_the_table_does_not_allow_is_named() {
        let table = table(TABLE).unwrap();
        assert_eq!(edges(&table, &uses("node", "policy", None)), Vec::<String>::new());
        assert_eq!(edges(&table, &uses("policy", "node", None)), ["`policy` uses `node`"]);
        assert_eq!(edges(&table, &uses("policy", "node", Some("build"))), ["`policy` uses `node`"]);
        assert_eq!(edges(&table, &uses("policy", "node", Some("dev"))), Vec::<String>::new());
        assert_eq!(edges(&table, &uses("attic", "model", None)), ["`attic` is not in the table"]);
    }

    #[test]
    fn a_table_that_points_upwards_is_refused() {
        let upwards = table("<!-- layers -->\n| `a` | L1 | b |\n| `b` | L1 | – |\n<!-- layers -->").unwrap();
        assert_eq!(
            edges(&upwards, &json!({})),
            ["the table lets `a` use `b`, which is not in a lower layer"]
        );
    }

    #[test]
    fn only_the_keyword_counts_as_unsafe() {
        let source = "// unsafe\n#![deny(unsafe_code)]\nlet a = \"unsafe\";\nlet b = unsafe { c() };\nunsafe fn d() {}";
        assert_eq!(says_unsafe(source), [4, 5]);
    }
}
