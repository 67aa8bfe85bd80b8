//! What a policy adds to a command in a sandbox of a server.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::{Map, Value, json};

use super::turn::{BURST, Subject, directory, in_turn, ms, verdict, write};
use crate::figures::{Series, heading};
use crate::process::Command;
use crate::served::Served;

const LIFE_S: u64 = 600;
const TEMPLATE: &str = "policy";
const ADDED_P50_US_MAX: f64 = 50.0;

const DEFAULT: &str = "policy `default`";
const AGAIN: &str = "floor: `default` in another sandbox";
const GIVEN: &str = "the given policy";
const PARTS: [&str; 3] = [DEFAULT, AGAIN, GIVEN];

/// Measures a command under `default`, under `default` once more, and under a policy.
#[derive(Debug, Args)]
pub struct Words {
    /// The policy
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// Measured commands in each sandbox
    #[arg(long, default_value_t = 2000)]
    runs: usize,
    /// Fail if a gate is missed
    #[arg(long)]
    gate: bool,
    /// Where state and figures go
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// `casemate-load policy`.
///
/// # Errors
/// The server fails; or a gate is missed and that was to be an error.
pub fn run(words: &Words) -> Result<()> {
    ensure!(words.runs > 0, "nothing is to be measured");
    let directory = directory(words.directory.as_deref())?;
    let scratch = tempfile::tempdir_in(&directory)?;
    let mut template = std::ffi::OsString::from(format!("--template={TEMPLATE}="));
    template.push(&words.policy);
    let mut served = Served::start_with(scratch.path(), 16, &[template])?;
    let series = commands(&served, words.runs)?;
    served.record().verify()?;
    served.end()?;

    println!("{}", heading("a command in a server, interleaved"));
    series.iter().for_each(|one| println!("{}", one.line()));
    let p50 = |place: usize| series[place].quantile(0.5).context("nothing was measured");
    let [default, again, given] = [p50(0)?, p50(1)?, p50(2)?];
    let (floor, added) = ((again - default) * 1e3, (given - default) * 1e3);
    println!("the policy adds {added:.1} us (p50); between two sandboxes with `default` it is {floor:.1} us");
    let all: Map<String, Value> = series.iter().map(|one| (one.name.clone(), one.json())).collect();
    write(
        &directory,
        "policy-exec.json",
        json!({"runs": words.runs, "added_us": added, "floor_us": floor, "series": all}),
    )?;
    let missed = (added > ADDED_P50_US_MAX).then(|| format!("a command takes {added:.1} us more"));
    let gates = format!("the policy adds <= {ADDED_P50_US_MAX} us to a command's p50");
    verdict(&gates, missed.as_slice(), words.gate)
}

/// One command in each sandbox, turn about, so that whatever else happens falls on all of them.
fn commands(served: &Served, runs: usize) -> Result<Vec<Series>> {
    let mut owner = served.client();
    let mut sandboxes = vec![owner.create(LIFE_S)?, owner.create(LIFE_S)?];
    sandboxes.push(owner.create_with(&json!({"templateID": TEMPLATE, "timeout": LIFE_S}))?);
    // Words that the policy's conditions look at.
    let command = Command::of(&["/bin/true", "status", "-s"]);
    let mut clients: Vec<_> = sandboxes.iter().map(|_| owner.another()).collect();
    let mut first = 0;
    let mut subjects = [Subject::new(&PARTS, |times| {
        let mut all = [0.0; PARTS.len()];
        for turn in 0..PARTS.len() {
            let place = (first + turn) % PARTS.len();
            let begun = Instant::now();
            let ended = clients[place].run(&sandboxes[place], &command)?;
            all[place] = ms(begun.elapsed());
            ensure!(ended.code == 0, "{}: /bin/true ended with {ended:?}", PARTS[place]);
        }
        first += 1;
        times.extend(all);
        Ok(())
    })];
    let series = in_turn(&mut subjects, runs, BURST)?;
    drop(subjects);
    for sandbox in &sandboxes {
        owner.kill(&sandbox.id)?;
    }
    Ok(series)
}
