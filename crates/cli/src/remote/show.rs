//! What `casemate ps` shows. Names come from strangers and are neutralised.

use super::client::{Asked, Client};
use crate::output::{self, Form, neutral};
use model::SandboxId;
use node::State;
use serde_json::Value;

/// Letters of a cell that holds whatever a stranger wrote.
const CELL_CHARS_MAX: usize = 60;

pub(super) async fn sandboxes(state: &State, form: Form) -> Result<(), Asked> {
    let mut client = Client::connect(state).await?;
    let (mut rows, mut next) = (Vec::new(), None::<String>);
    loop {
        let path =
            next.map_or_else(|| "/v2/sandboxes".to_owned(), |next| format!("/v2/sandboxes?nextToken={next}"));
        let (page, more) = client.ask("GET", &path, None).await?;
        let Value::Array(page) = page else { return Err(Asked::Broken("the answer is no list".to_owned())) };
        rows.extend(page);
        match more {
            Some(more) => next = Some(more),
            None => break,
        }
    }
    if form == Form::Json {
        output::print(&Value::Array(rows).to_string());
        return Ok(());
    }
    let mut table =
        vec![["SANDBOX", "STARTED", "ENDS", "CPUS", "MEMORY", "DISK", "METADATA"].map(str::to_owned)];
    table.extend(rows.iter().map(|row| {
        [
            text(&row["sandboxID"]),
            moment(&row["startedAt"]),
            moment(&row["endAt"]),
            text(&row["cpuCount"]),
            format!("{}MiB", text(&row["memoryMB"])),
            format!("{}MiB", text(&row["diskSizeMB"])),
            pairs(&row["metadata"]),
        ]
    }));
    output::print(&aligned(&table));
    Ok(())
}

pub(super) async fn commands(state: &State, id: SandboxId, form: Form) -> Result<(), Asked> {
    let answer =
        Client::connect(state).await?.call(id, "/process.Process/List", &serde_json::json!({})).await?;
    let rows = answer["processes"].as_array().cloned().unwrap_or_default();
    if form == Form::Json {
        output::print(&Value::Array(rows).to_string());
        return Ok(());
    }
    let mut table = vec![["PID", "TAG", "COMMAND"].map(str::to_owned)];
    table.extend(rows.iter().map(|row| {
        let words = std::iter::once(&row["config"]["cmd"])
            .chain(row["config"]["args"].as_array().into_iter().flatten());
        let command: Vec<String> = words.map(text).collect();
        [text(&row["pid"]), text(&row["tag"]), short(&command.join(" "))]
    }));
    output::print(&aligned(&table));
    Ok(())
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => neutral(text),
        Value::Null => "-".to_owned(),
        other => neutral(&other.to_string()),
    }
}

/// A time without the fractions of its second.
fn moment(value: &Value) -> String {
    let text = text(value);
    text.split_once('.').map_or(text.clone(), |(seconds, _)| format!("{seconds}Z"))
}

fn pairs(value: &Value) -> String {
    let Some(pairs) = value.as_object().filter(|pairs| !pairs.is_empty()) else { return "-".to_owned() };
    let pairs: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{}={}", neutral(name), text(value))).collect();
    short(&pairs.join(" "))
}

fn short(text: &str) -> String {
    match text.char_indices().nth(CELL_CHARS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// Columns as wide as their widest cell; the last one as long as it is.
fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_stranger_wrote_cannot_drive_the_terminal() {
        assert_eq!(pairs(&json!({"a": "\u{1b}[2J", "b\n": "c"})), r"a=\x1b[2J b\x0a=c");
        assert_eq!(text(&json!("x\ty")), r"x\x09y");
        assert_eq!(short(&"é".repeat(CELL_CHARS_MAX + 1)), format!("{}…", "é".repeat(CELL_CHARS_MAX)));
    }

    #[test]
    fn columns_stand_below_each_other() {
        let rows = [["A", "LONG", "C"], ["aaa", "b", "c"]].map(|row| row.map(str::to_owned));
        assert_eq!(aligned(&rows), "A    LONG  C\naaa  b     c");
    }
}
