//! Draft zones: the original is byte for byte what it was until a commit, and then only what the rules permit has changed.

mod committing;
mod hostile;
mod living;
mod million;
mod project;
mod smuggling;

use anyhow::{Context, Result, ensure};
use behaviour::{Ended, Place, finish};
use serde_json::Value;
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A small project in the directory `project` of the place, with what a repository has.
const PROJECT: &str = "\
mkdir -p project/src/deep project/docs project/.git/hooks project/.git/objects project/.git/refs/heads \
    project/.github/workflows
cd project
echo one > src/one.txt; echo two > src/two.txt; echo deep > src/deep/file; echo doc > docs/doc.md
ln -s src/one.txt link; printf '#!/bin/sh\\n' > run.sh; chmod 755 run.sh
echo 'ref: refs/heads/main' > .git/HEAD; printf '[core]\\n' > .git/config; echo x > .git/hooks/sample
echo on > .github/workflows/ci.yml; echo export > .envrc";

/// Makes it, and gives its directory.
fn project(place: &Place) -> Result<PathBuf> {
    let made = finish(place.program("sh").args(["-c", PROJECT]))?;
    ensure!(made.code() == 0, "no project: {}", made.err());
    Ok(place.path("project"))
}

/// Runs a Python program in a draft of the project at `/work`, and keeps it.
fn drafts(place: &Place, options: &[&str], program: &str) -> Result<Ended> {
    let zone = format!("{}:/work", place.path("project").display());
    let mut command = place.run()?;
    if !options.contains(&"--policy") {
        command.args(["--draft", &zone]);
    }
    command.arg("--keep").args(options);
    let program = format!("import os, sys\nos.chdir('/work')\n{program}");
    finish(command.args(["--", "python3", "-c", &program]))
}

/// The same for a program that succeeds: the name of its sandbox.
fn drafted(place: &Place, options: &[&str], program: &str) -> Result<String> {
    let ended = drafts(place, options, program)?;
    ensure!(ended.code() == 0, "it ended with {}: {}", ended.code(), ended.err());
    let id = ended.report()?["sandbox"].as_str().context("no sandbox")?.to_owned();
    Ok(id)
}

/// `casemate WORD ID … --json`, and its answer.
fn ask(place: &Place, word: &str, words: &[&str]) -> Result<(i32, Value)> {
    let mut command = place.casemate()?;
    let ended = finish(command.arg(word).args(["--json", "--state"]).arg(place.state()).args(words))?;
    let text = if ended.out().is_empty() { ended.err() } else { ended.out() };
    let answer = serde_json::from_str(text.trim()).with_context(|| format!("no answer: {text}"))?;
    Ok((ended.code(), answer))
}

/// Throws a draft away.
fn discard(place: &Place, id: &str) -> Result<()> {
    let (code, answer) = ask(place, "discard", &[id])?;
    ensure!(code == 0, "discard ended with {code}: {answer}");
    Ok(())
}

/// The changes of a draft, as `KIND PATH`.
fn changes(place: &Place, id: &str) -> Result<Vec<String>> {
    let (code, answer) = ask(place, "diff", &[id])?;
    ensure!(code == 0, "diff ended with {code}: {answer}");
    let list = answer["changes"].as_array().context("no changes")?;
    let word = |change: &Value, name: &str| change[name].as_str().unwrap_or("?").to_owned();
    Ok(list.iter().map(|change| format!("{} {}", word(change, "kind"), word(change, "path"))).collect())
}

/// All that is beneath a directory: kind, mode, owner and content of each entry.
fn tree(path: &Path) -> Result<BTreeMap<PathBuf, String>> {
    let mut found = BTreeMap::new();
    let mut left = vec![path.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(&directory)? {
            let path = entry?.path();
            let metadata = std::fs::symlink_metadata(&path)?;
            let content = if metadata.is_dir() {
                left.push(path.clone());
                "directory".to_owned()
            } else if metadata.is_symlink() {
                format!("{:?}", std::fs::read_link(&path)?)
            } else {
                let (length, hash) = behaviour::digest(std::fs::File::open(&path)?)?;
                format!("{length} {hash:?}")
            };
            ensure!(!path.as_os_str().as_bytes().is_empty());
            found.insert(path, format!("{:o} {} {content}", metadata.mode(), metadata.uid()));
        }
    }
    Ok(found)
}

/// A policy with the project as a draft zone under these commit rules, as a file.
fn policy(place: &Place, rules: &str) -> Result<String> {
    let from = place.path("project").display().to_string();
    let text = format!(
        "[[files]]\nat = \"/work\"\nfrom = \"{from}\"\naccess = \"draft\"\n\
         commit = {{ {rules} }}\n"
    );
    Ok(place.policy(&text)?.display().to_string())
}
