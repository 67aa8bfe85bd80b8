//! What is on record, read as anyone would: through `casemate audit`. Each reading goes on where the last one ended.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::served::program;

/// What was read of a log.
#[derive(Debug)]
pub struct Record {
    binary: PathBuf,
    state: PathBuf,
    next: u64,
    started: BTreeSet<String>,
    ended: BTreeMap<String, Vec<String>>,
    commands: HashSet<(String, String)>,
    files: HashSet<(String, String)>,
    counts: BTreeMap<String, u64>,
}

impl Record {
    pub(crate) fn of(binary: &Path, state: &Path) -> Record {
        Record {
            binary: binary.to_owned(),
            state: state.to_owned(),
            next: 0,
            started: BTreeSet::new(),
            ended: BTreeMap::new(),
            commands: HashSet::new(),
            files: HashSet::new(),
            counts: BTreeMap::new(),
        }
    }

    /// Reads what is new.
    ///
    /// # Errors
    /// The log cannot be read; or a number is missing in it.
    pub fn read_on(&mut self) -> Result<()> {
        let mut child = self.audit("show").arg("--json").stdout(Stdio::piped()).spawn()?;
        let lines = BufReader::new(child.stdout.take().context("no pipe")?);
        let mut expected = 0;
        for line in lines.lines() {
            let line = line?;
            let number = number(&line).with_context(|| format!("not a record: {line}"))?;
            ensure!(number == expected, "record {expected} is missing: {number} comes instead");
            expected += 1;
            if number >= self.next {
                self.take(&serde_json::from_str(&line)?);
            }
        }
        ensure!(child.wait()?.success(), "`casemate audit show` fails");
        ensure!(expected >= self.next, "{} records were there, {expected} are left", self.next);
        self.next = expected;
        Ok(())
    }

    fn take(&mut self, record: &Value) {
        let text = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
        let (event, sandbox) = (text("event"), text("sandbox"));
        match event.as_str() {
            "sandbox.start" => drop(self.started.insert(sandbox)),
            "sandbox.end" => {
                let reason = &record["reason"];
                let reason = reason.as_str().map_or_else(|| reason.to_string(), str::to_owned);
                self.ended.entry(sandbox).or_default().push(reason);
            }
            "exec.start" => {
                // The last word is the mark, if it has one.
                let words = record["argv"].as_array().and_then(|words| words.last()?.as_str());
                self.commands.insert((sandbox, words.unwrap_or_default().to_owned()));
            }
            "file" if record["op"] == "write" => drop(self.files.insert((sandbox, text("path")))),
            _ => {}
        }
        *self.counts.entry(event).or_default() += 1;
    }

    /// Recomputes everything.
    ///
    /// # Errors
    /// It does not verify.
    pub fn verify(&self) -> Result<()> {
        let output = self.audit("verify").output()?;
        let said = [output.stdout, output.stderr].concat();
        ensure!(output.status.success(), "`casemate audit verify` fails: {}", String::from_utf8_lossy(&said));
        Ok(())
    }

    /// The sandboxes whose start is on record.
    pub fn started(&self) -> &BTreeSet<String> {
        &self.started
    }

    /// Why a sandbox ended: one reason for each end on record.
    pub fn ends(&self, id: &str) -> &[String] {
        self.ended.get(id).map_or(&[], Vec::as_slice)
    }

    /// Whether the start of the command with this mark is on record.
    pub fn has_command(&self, id: &str, mark: &str) -> bool {
        self.commands.contains(&(id.to_owned(), mark.to_owned()))
    }

    /// Whether the writing of this file is on record.
    pub fn has_write(&self, id: &str, path: &str) -> bool {
        self.files.contains(&(id.to_owned(), path.to_owned()))
    }

    /// How many records there are of each kind.
    pub fn counts(&self) -> &BTreeMap<String, u64> {
        &self.counts
    }

    fn audit(&self, verb: &str) -> std::process::Command {
        let mut command = program(&self.binary);
        command.args(["audit", verb, "--state"]).arg(&self.state).stdin(Stdio::null());
        command
    }
}

/// `{"v":1,"seq":17,…`
fn number(line: &str) -> Option<u64> {
    let rest = line.split_once("\"seq\":")?.1;
    rest.split([',', '}']).next()?.parse().ok()
}
