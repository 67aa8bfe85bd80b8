//! Files go in by read zones, stay a while in scratch zones, and come out by write zones.

mod hostile;
mod reading;
mod writing;

use anyhow::Result;
use behaviour::{Ended, Place, finish};

/// Runs a Python program with a directory `target` of the place as the write zone `/output`.
fn writes(place: &Place, options: &[&str], program: &str) -> Result<Ended> {
    if !place.path("target").exists() {
        place.directory("target")?;
    }
    let zone = format!("{}:/output", place.path("target").display());
    let mut command = place.run()?;
    command.args(["--write", &zone]).args(options);
    finish(command.args(["--", "python3", "-c", &format!("import os, sys\nos.chdir('/output')\n{program}")]))
}

/// What the report lists as left behind.
fn left_behind(ended: &Ended) -> Result<Vec<String>> {
    let report = ended.report()?;
    let list = report["left_behind"].as_array().cloned().unwrap_or_default();
    Ok(list.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect())
}
