//! One malformed thing, and what is to be said of it.

use anyhow::{Context, Result, bail, ensure};
use behaviour::{Ended, Place, finish};
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

/// A case: its name, the words after `casemate run --state S`, the status, and what standard error must say.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) words: Vec<OsString>,
    pub(crate) status: i32,
    pub(crate) says: Vec<String>,
    /// A part of the help line; empty where there is none.
    pub(crate) help: &'static str,
}

impl Case {
    pub(crate) fn new(
        name: &'static str,
        words: &[&str],
        status: i32,
        says: &[&str],
        help: &'static str,
    ) -> Case {
        let words = words.iter().map(OsString::from).collect();
        Case { name, words, status, says: says.iter().map(|text| (*text).to_owned()).collect(), help }
    }
}

/// Not UTF-8, and safe to show only as `\xff`.
pub(crate) fn invalid(before: &str, after: &str) -> OsString {
    let mut bytes = before.as_bytes().to_vec();
    bytes.push(0xff);
    bytes.extend(after.as_bytes());
    OsString::from_vec(bytes)
}

/// What must be as it was afterwards: the log and the files of a directory that a write zone goes to.
pub(crate) struct Kept {
    records: Vec<serde_json::Value>,
}

impl Kept {
    /// Makes a log with a few records, and a directory `target` with files.
    pub(crate) fn make(place: &Place) -> Result<Kept> {
        let ended = place.shell(&[], "exit 0")?;
        ensure!(ended.code() == 0, "an ordinary run does not work: {}", ended.err());
        if !place.path("target").exists() {
            place.directory("target")?;
            place.file("target/kept", "as it was")?;
        }
        Kept::of(place)
    }

    pub(crate) fn of(place: &Place) -> Result<Kept> {
        Ok(Kept { records: place.records()? })
    }

    /// The log verifies and begins with the same records; the files are the same.
    pub(crate) fn check(&self, place: &Place) -> Result<()> {
        place.verify()?;
        let records = place.records()?;
        ensure!(records.starts_with(&self.records), "records were lost or changed");
        ensure!(fs::read_dir(place.path("target"))?.count() == 1, "files came into the target");
        ensure!(fs::read(place.path("target/kept"))? == b"as it was", "a file of the target was changed");
        place.nothing_left()
    }
}

/// Runs every case, in both forms; then says which of them did not do as they should.
pub(crate) fn all(place: &Place, cases: Vec<Case>) -> Result<()> {
    let kept = Kept::make(place)?;
    let mut wrong = Vec::new();
    let number = cases.len();
    for case in cases {
        let tried = one(place, &case).and_then(|()| kept.check(place));
        if let Err(error) = tried {
            wrong.push(format!("{}: {error:#}", case.name));
        }
    }
    if !wrong.is_empty() {
        bail!("{} of {number} cases:\n  {}", wrong.len(), wrong.join("\n  "));
    }
    Ok(())
}

fn one(place: &Place, case: &Case) -> Result<()> {
    let mut text = place.casemate()?;
    text.arg("run").arg("--state").arg(place.state()).args(&case.words);
    let text = finish(&mut text)?;
    let says: Vec<&str> = case.says.iter().map(String::as_str).collect();
    refused(&text, case.status, &says, case.help)?;
    let mut json = place.casemate()?;
    json.arg("run").arg("--json").arg("--state").arg(place.state()).args(&case.words);
    let json = finish(&mut json)?;
    ensure!(json.code() == case.status, "with --json: {}", json.code());
    // What cannot be parsed cannot ask for JSON.
    if case.status != 64 || !text.err().starts_with("error:") {
        let report = json.report().context("with --json")?;
        ensure!(report["exit"] == case.status, "{report}");
        ensure!(report["error"].as_str().is_some_and(|error| !error.is_empty()), "{report}");
        ensure!(json.err().lines().count() == 1, "more than the report: {}", json.err());
    }
    Ok(())
}

/// The status, the cause, the help, and no more: no panic, no backtrace, nothing that steers a terminal.
pub(crate) fn refused(ended: &Ended, status: i32, says: &[&str], help: &str) -> Result<()> {
    let said = ended.err();
    ensure!(ended.code() == status, "expected status {status}, found {}: {said}", ended.code());
    for text in says {
        ensure!(said.contains(text), "nothing of `{text}` in: {said}");
    }
    if !help.is_empty() {
        let line = said.lines().find(|line| line.trim_start().starts_with("help: "));
        let line = line.with_context(|| format!("no help in: {said}"))?;
        ensure!(said.contains(help), "the help has nothing of `{help}`: {line}");
    }
    for text in ["panicked", "backtrace", "RUST_BACKTRACE", "unwrap", "Error {", "Os {"] {
        ensure!(!said.contains(text), "`{text}` in: {said}");
    }
    ensure!(!said.trim().is_empty(), "it says nothing");
    ensure!(!said.contains(|c: char| c.is_control() && c != '\n'), "control characters in: {said:?}");
    ensure!(ended.stdout.is_empty(), "on standard output: {}", ended.out());
    Ok(())
}

/// The bytes of every file below a directory, by name.
pub(crate) fn contents(directory: &Path) -> Result<std::collections::BTreeMap<std::path::PathBuf, Vec<u8>>> {
    let mut all = std::collections::BTreeMap::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            all.extend(contents(&path)?);
        } else {
            all.insert(path.clone(), fs::read(&path)?);
        }
    }
    Ok(all)
}
