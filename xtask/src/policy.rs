//! `cargo xtask bench policy`: what a policy of 200 rules costs where it is loaded, asked, compared and committed by, each
//! figure beside what it cannot cost less than.

mod documents;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::{Map, Value, json};

use crate::draft::{self, middle};
use crate::load::{self, Load};
use crate::program::{check, program, read};
use crate::{place, solver};
use documents::{BLOCK, NOUNS, RULES, SANDBOX, WIDER};

const DECISION_P50_US_MAX: f64 = 5.0;
const DIFF_P50_MS_MAX: f64 = 1000.0;

#[derive(Args)]
pub(crate) struct Policy {
    /// Measured comparisons of two policies, of each kind
    #[arg(long, default_value_t = 11)]
    diffs: usize,
    /// Measured commands with each policy, in a server
    #[arg(long, default_value_t = 2000)]
    execs: usize,
    /// Measured commits of 10,000 files; 0 leaves them out
    #[arg(long, default_value_t = 3)]
    commits: usize,
    /// Fail if a gate is missed
    #[arg(long)]
    gate: bool,
}

/// Targets that are missed.
type Missed = Vec<String>;

pub(crate) fn bench(words: &Policy) -> Result<()> {
    ensure!(words.diffs > 0 && words.execs > 0, "nothing is to be measured");
    let casemate = place::casemate()?;
    let directory = place::target()?.join("bench");
    fs::create_dir_all(&directory)?;
    let scratch = tempfile::tempdir_in(&directory)?;
    documents::write(scratch.path())?;
    let mut missed = Missed::new();

    let inside = in_process(scratch.path(), &mut missed)?;
    let diffs = diffs(&casemate, scratch.path(), words.diffs, &mut missed)?;
    let raw = json!({"rules": RULES, "in_process": inside, "diff": diffs});
    let file = directory.join("policy.json");
    fs::write(&file, serde_json::to_string_pretty(&raw)?)?;
    println!("\nraw data: {}", file.display());

    let mut commands = load::prepared(Load::Policy, &casemate)?;
    commands.args(["--runs", &words.execs.to_string(), "--policy"]).arg(scratch.path().join(SANDBOX));
    if words.gate {
        commands.arg("--gate");
    }
    // It says itself which gate it misses; what is measured behind it is measured in any case.
    let commands = check(&mut commands);
    if words.commits > 0 {
        println!();
        draft::commits(&casemate, words.commits)?;
    }

    let gates = format!("decision p50 <= {DECISION_P50_US_MAX} us; diff p50 <= {DIFF_P50_MS_MAX} ms");
    match missed.is_empty() {
        true => println!("\nverdict: reached ({gates})"),
        false => println!("\nverdict: missed: {} ({gates})", missed.join("; ")),
    }
    if words.gate && !missed.is_empty() {
        bail!("a gate is missed");
    }
    commands
}

/// Loading, compiling and deciding, by the example `cost` of `policy`: each document in a process of its own.
fn in_process(scratch: &Path, missed: &mut Missed) -> Result<Value> {
    check(place::cargo().args(["build", "--release", "--package", "policy", "--example", "cost"]))?;
    let example = place::target()?.join("release/examples/cost");
    let mut all = Map::new();
    for name in [NOUNS, BLOCK, SANDBOX] {
        let said = read(program(&example).arg(scratch.join(name)))?;
        let about: Value = serde_json::from_str(&said).context("the example `cost` wrote no JSON")?;
        show(&about)?;
        let rules = about["rules"].as_u64();
        ensure!(rules == Some(RULES as u64), "`{name}` has {rules:?} rules, not {RULES}");
        for what in ["decision", "command decided"] {
            let p50 = about["us"][what]["p50"].as_f64();
            if let Some(us) = p50.filter(|us| *us > DECISION_P50_US_MAX) {
                missed.push(format!("{name}: {what} takes {us:.1} us"));
            }
        }
        all.insert(name.to_owned(), about);
    }
    Ok(all.into())
}

fn show(about: &Value) -> Result<()> {
    let number = |key: &str| about[key].as_u64().unwrap_or_default();
    println!(
        "\n`{}`: {} rules, {} of them of `cedar` blocks; {} acts, {} of them allowed",
        about["document"].as_str().unwrap_or_default(),
        number("rules"),
        number("forbids"),
        number("acts"),
        number("allowed")
    );
    println!("{:<42} {:>11} {:>11} {:>11}", "", "p50 us", "p99 us", "min us");
    for (name, value) in about["us"].as_object().context("no figures")? {
        match value.as_f64() {
            Some(once) => println!("{name:<42} {once:>11.1}"),
            None => {
                let [p50, p99, min] =
                    ["p50", "p99", "min"].map(|key| value[key].as_f64().unwrap_or(f64::NAN));
                println!("{name:<42} {p50:>11.2} {p99:>11.2} {min:>11.2}");
            }
        }
    }
    Ok(())
}

/// `policy diff` with a solver, in turn with the solver alone, which is asked something that needs no thought.
fn diffs(casemate: &Path, scratch: &Path, runs: usize, missed: &mut Missed) -> Result<Value> {
    let solver = solver::ready()?;
    let diff = |old: &'static str, new: &'static str, status: i32| {
        let (solver, casemate) = (solver.clone(), casemate.to_owned());
        let (old, new) = (scratch.join(old), scratch.join(new));
        move || {
            let mut command = program(&casemate);
            command.env("CVC5", &solver).args(["policy", "diff"]).args([&old, &new]);
            let output = command.stdin(Stdio::null()).output()?;
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            ensure!(
                output.status.code() == Some(status),
                "`policy diff` ended with {}: {said}",
                output.status
            );
            Ok(())
        }
    };
    let alone = {
        let solver = solver.clone();
        move || {
            let mut child = program(&solver).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
            let question = b"(set-logic ALL)\n(assert false)\n(check-sat)\n";
            child.stdin.take().context("no pipe")?.write_all(question)?;
            let output = child.wait_with_output()?;
            ensure!(output.stdout.starts_with(b"unsat"), "the solver says something else");
            Ok(())
        }
    };
    type Work<'a> = Box<dyn Fn() -> Result<()> + 'a>;
    let subjects: [(&str, Work<'_>); 4] = [
        ("floor: the solver alone", Box::new(alone)),
        ("the same document", Box::new(diff(BLOCK, BLOCK, 0))),
        ("one rule is narrower", Box::new(diff(WIDER, BLOCK, 0))),
        ("one rule is wider, with an example", Box::new(diff(BLOCK, WIDER, 1))),
    ];
    let mut times: Vec<Vec<f64>> = subjects.iter().map(|_| Vec::new()).collect();
    for round in 0..=runs {
        for (place, (name, work)) in subjects.iter().enumerate() {
            let begun = Instant::now();
            work().with_context(|| (*name).to_owned())?;
            // The first of each is not counted.
            if round > 0 {
                times[place].push(begun.elapsed().as_secs_f64() * 1e3);
            }
        }
    }
    println!("\n`policy diff` of two documents of {RULES} rules{:>24}", "p50 ms");
    let mut all = Map::new();
    for ((name, _), times) in subjects.iter().zip(times) {
        let p50 = middle(times.clone());
        println!("{name:<58} {p50:>9.1}");
        if p50 > DIFF_P50_MS_MAX {
            missed.push(format!("diff, {name}: {p50:.0} ms"));
        }
        all.insert((*name).to_owned(), json!({"p50_ms": p50, "ms": times}));
    }
    Ok(all.into())
}
