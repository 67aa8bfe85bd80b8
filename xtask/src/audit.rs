//! Reads the record through `casemate audit`, as anyone would.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::program::{program, read};

/// A state directory and the binary that wrote it.
pub(crate) struct Audit {
    pub(crate) casemate: PathBuf,
    pub(crate) state: PathBuf,
}

impl Audit {
    /// All records, oldest first. None when nothing was ever recorded.
    pub(crate) fn records(&self) -> Result<Vec<Value>> {
        let text = read(self.command("show").arg("--json"))?;
        text.lines()
            .map(|line| serde_json::from_str(line).with_context(|| format!("not a record: {line}")))
            .collect()
    }

    /// What `audit verify` says.
    ///
    /// # Errors
    ///
    /// The record does not verify.
    pub(crate) fn verify(&self) -> Result<String> {
        read(&mut self.command("verify"))
    }

    fn command(&self, verb: &str) -> std::process::Command {
        let mut command = program(&self.casemate);
        command.args(["audit", verb, "--state"]).arg::<&Path>(&self.state);
        command
    }
}

/// The ids of all sandboxes in these records.
pub(crate) fn sandboxes(records: &[Value]) -> Vec<String> {
    let mut ids: Vec<String> =
        records.iter().filter_map(|record| record["sandbox"].as_str().map(str::to_owned)).collect();
    ids.sort();
    ids.dedup();
    ids
}
