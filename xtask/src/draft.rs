//! `cargo xtask bench draft`: what a draft zone costs a start, and how long a commit takes, beside copying the same files.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;

use crate::place;
use crate::program::{check, program, read};

const OPENED: u32 = 2000;
const COMMITTED: u32 = 10_000;

#[derive(Args)]
pub(crate) struct Draft {
    /// Files of the original
    #[arg(long, default_value_t = OPENED)]
    opened: u32,
    /// Files that are committed, of 1 KiB each
    #[arg(long, default_value_t = COMMITTED)]
    committed: u32,
    /// Measured starts and commits; the median counts
    #[arg(long, default_value_t = 5)]
    runs: usize,
}

pub(crate) fn bench(words: &Draft) -> Result<()> {
    let casemate = place::casemate()?;
    let here = place::cache("bench-draft")?;
    fs::remove_dir_all(&here)?;
    fs::create_dir_all(&here)?;
    let (original, state) = (here.join("original"), here.join("state"));
    fill(&original, words.opened)?;
    let zone = format!("{}:/work", original.display());
    let run = |extra: &[&str], command: &[&str]| {
        let mut run = program(&casemate);
        run.args(["run", "--state"]).arg(&state).args(extra).arg("--").args(command);
        run
    };
    let with = median(words.runs, || timed(|| check(&mut run(&["--draft", &zone], &["/bin/true"]))))?;
    let without = median(words.runs, || timed(|| check(&mut run(&[], &["/bin/true"]))))?;
    println!(
        "start with a draft zone of {} files: {with:.1} ms, without: {without:.1} ms, the zone: {:.1} ms",
        words.opened,
        with - without
    );

    fs::remove_dir_all(&here).context("could not clean up")?;
    commits_of(&casemate, words.runs, words.opened, words.committed)
}

/// Commits 10,000 files so many times.
pub(crate) fn commits(casemate: &Path, runs: usize) -> Result<()> {
    commits_of(casemate, runs, OPENED, COMMITTED)
}

fn commits_of(casemate: &Path, runs: usize, opened: u32, committed: u32) -> Result<()> {
    let here = place::cache("bench-draft")?;
    fs::remove_dir_all(&here)?;
    fs::create_dir_all(&here)?;
    let (original, state) = (here.join("original"), here.join("state"));
    let make = format!(
        "import os
for n in range({}):
    if n % 100 == 0: os.mkdir(f'/work/new{{n // 100}}')
    open(f'/work/new{{n // 100}}/{{n}}', 'w').write('x' * 1024)",
        committed
    );
    let (mut commits, mut copies) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        if original.exists() {
            fs::remove_dir_all(&original)?;
        }
        fill(&original, opened)?;
        let policy = here.join("policy.toml");
        let rules = format!(
            "version = 1\nname = \"bench\"\n[[files]]\nat = \"/work\"\nfrom = \"{}\"\naccess = \"draft\"\n\
             commit = {{ files = {} }}\n",
            original.display(),
            committed
        );
        fs::write(&policy, rules)?;
        let policy = policy.display().to_string();
        check(
            program(casemate)
                .args(["run", "--keep", "--state"])
                .arg(&state)
                .args(["--policy", &policy, "--", "python3", "-c", &make])
                .stderr(std::process::Stdio::null()),
        )?;
        let shown = read(program(casemate).args(["diff", "--json", "--state"]).arg(&state))?;
        let drafts: serde_json::Value = serde_json::from_str(&shown)?;
        let id = drafts[0]["sandbox"].as_str().context("no draft was kept")?.to_owned();
        commits.push(timed(|| {
            read(program(casemate).args(["commit", "--state"]).arg(&state).arg(&id)).map(drop)
        })?);
        // The floor: the same files from one directory to another, and both durable.
        let (from, to) = (here.join("from"), here.join("to"));
        fs::create_dir_all(&from)?;
        for number in 0..committed / 100 {
            let name = format!("new{number}");
            fs::rename(original.join(&name), from.join(&name))?;
        }
        check(program("sync").arg("-f").arg(&here))?;
        copies.push(timed(|| {
            check(program("cp").arg("-r").arg(&from).arg(&to))?;
            check(program("sync").arg("-f").arg(&to))
        })?);
        fs::remove_dir_all(&from)?;
        fs::remove_dir_all(&to)?;
    }
    let (commit, copy) = (middle(commits), middle(copies));
    println!(
        "commit of {} files of 1 KiB: {commit:.0} ms; cp -r and sync of the same files: {copy:.0} ms; ratio {:.2}",
        committed,
        commit / copy
    );
    fs::remove_dir_all(&here).context("could not clean up")
}

fn fill(directory: &Path, files: u32) -> Result<()> {
    for number in 0..files {
        let inner = directory.join(format!("d{}", number / 100));
        fs::create_dir_all(&inner)?;
        fs::write(inner.join(format!("f{number}")), vec![b'a'; 4096])?;
    }
    Ok(())
}

fn timed(work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let begun = Instant::now();
    work()?;
    Ok(begun.elapsed().as_secs_f64() * 1000.0)
}

fn median(runs: usize, mut measure: impl FnMut() -> Result<f64>) -> Result<f64> {
    measure()?;
    Ok(middle((0..runs).map(|_| measure()).collect::<Result<_>>()?))
}

pub(crate) fn middle(mut list: Vec<f64>) -> f64 {
    list.sort_by(f64::total_cmp);
    list.get(list.len() / 2).copied().unwrap_or(f64::NAN)
}
