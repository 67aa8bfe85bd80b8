//! How long `casemate stop --all` takes, with the server alive, stopped and dead.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use rustix::process::Signal;
use serde_json::json;

use super::density::create;
use super::turn::{directory, write};
use crate::api::Sandbox;
use crate::left::Ground;
use crate::process::Command;
use crate::procfs::{self, descendants, signal};
use crate::served::{Parts, Served};
use crate::within;

const PATIENCE: Duration = Duration::from_secs(30);

/// Measures the end of everything.
#[derive(Debug, Args)]
pub struct Words {
    /// Sandboxes with many processes
    #[arg(long, default_value_t = 64)]
    busy: u32,
    /// Processes in each of them
    #[arg(long, default_value_t = 30)]
    processes: u32,
    /// Sandboxes without a command
    #[arg(long, default_value_t = 1000)]
    idle: u32,
    /// Where state and figures go
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// How the server is while everything is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    Alive,
    Stopped,
    Dead,
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Condition::Alive => "alive",
            Condition::Stopped => "stopped",
            Condition::Dead => "dead",
        })
    }
}

/// `casemate-load stop`.
///
/// # Errors
/// It fails, or leaves something.
pub fn run(words: &Words) -> Result<()> {
    let directory = directory(words.directory.as_deref())?;
    let mut rows = Vec::new();
    println!("{:<34} {:<10} {:>12} {:>14}", "", "server", "stop --all", "nothing left");
    for (sandboxes, processes) in [(words.busy, words.processes), (words.idle, 1)] {
        for condition in [Condition::Alive, Condition::Stopped, Condition::Dead] {
            let (took, gone) = once(&directory, sandboxes, processes, condition)
                .with_context(|| format!("{sandboxes} sandboxes, the server {condition}"))?;
            let what = format!("{sandboxes} sandboxes of {processes} processes");
            println!(
                "{what:<34} {condition:<10} {:>10.3} s {:>12.3} s",
                took.as_secs_f64(),
                gone.as_secs_f64()
            );
            rows.push(
                json!({"sandboxes": sandboxes, "processes": processes, "server": condition.to_string(),
                "stop_s": took.as_secs_f64(), "gone_s": gone.as_secs_f64()}),
            );
        }
    }
    write(&directory, "stop.json", rows.into())
}

/// One server, its sandboxes, and their end: until the command returned, and until nothing was left.
fn once(
    directory: &Path,
    sandboxes: u32,
    processes: u32,
    condition: Condition,
) -> Result<(Duration, Duration)> {
    let scratch = tempfile::tempdir_in(directory)?;
    let mut served = Served::start(scratch.path(), sandboxes + 16)?;
    let first = served.client().create(60)?;
    served.client().kill(&first.id)?;
    let parts = served.whole(PATIENCE)?;
    let ground = Ground::look(&served, &parts);

    let ids: BTreeSet<String> = create(&served, sandboxes)?.into_iter().collect();
    if processes > 1 {
        fill(&served, &ids, &parts, processes)?;
    }
    let [supervisor, server] =
        [parts.supervisor, parts.server].map(|pid| pid.context("a process of the server is missing"));
    let both = [supervisor?, server?];
    match condition {
        Condition::Alive => {}
        Condition::Stopped => both.iter().for_each(|pid| signal(*pid, Signal::STOP)),
        Condition::Dead => {
            both.iter().for_each(|pid| signal(*pid, Signal::KILL));
            within(PATIENCE, || Ok(served.parts().server.is_none() && served.parts().supervisor.is_none()))?;
        }
    }
    let start = Instant::now();
    let took = served.stop_all()?;
    // The launcher may go too when nobody needs it any more.
    let mut left = Vec::new();
    within(PATIENCE, || {
        left = ground.left(&served.parts(), &ids);
        Ok(left.is_empty())
    })
    .map_err(|_| anyhow::anyhow!("something is left: {}", left.join("; ")))?;
    let gone = start.elapsed();
    both.iter().for_each(|pid| signal(*pid, Signal::CONT));
    if condition != Condition::Dead {
        served.answers(PATIENCE).context("after `stop --all`")?;
        within(PATIENCE, || Ok(served.client().list()?.is_empty())).context("the server still lists them")?;
        ground.only(&served.whole(PATIENCE)?, &BTreeSet::new(), &ids, PATIENCE)?;
        served.end()?;
    }
    on_record(&served, &ids)?;
    Ok((took, gone))
}

/// Lets each sandbox have so many processes, the agent included.
fn fill(served: &Served, ids: &BTreeSet<String>, parts: &Parts, processes: u32) -> Result<()> {
    // The agent and the shell count too.
    let script =
        format!("i=2; while [ $i -lt {processes} ]; do sleep 3600 & i=$((i+1)); done; echo all; wait");
    for id in ids {
        let mut client = served.client();
        let sandbox: Sandbox = client.connect(id, 1800)?;
        let mut stream = client.start(&sandbox, &Command::shell(&script, "busy"))?;
        stream.pid()?;
        stream.event()?;
    }
    let ours: Vec<u32> = parts.named().into_iter().map(|(_, pid)| pid).collect();
    let wanted = ids.len() * processes as usize;
    let mut count = 0;
    within(PATIENCE, || {
        count = descendants(procfs::own()).into_iter().filter(|pid| !ours.contains(pid)).count();
        Ok(count >= wanted)
    })
    .with_context(|| format!("{count} processes instead of {wanted}"))
}

/// Every one of them has exactly one end on record.
fn on_record(served: &Served, ids: &BTreeSet<String>) -> Result<()> {
    let mut record = served.record();
    record.verify()?;
    let mut wrong = Vec::new();
    let complete = within(PATIENCE, || {
        record.read_on()?;
        wrong = ids.iter().filter(|id| record.ends(id).len() != 1).cloned().collect();
        Ok(wrong.is_empty())
    });
    match complete {
        Ok(()) => Ok(()),
        Err(_) => {
            let ends: Vec<_> = wrong.iter().take(3).map(|id| (id, record.ends(id).to_vec())).collect();
            bail!("{} of {} sandboxes do not have one end on record: {ends:?}", wrong.len(), ids.len())
        }
    }
}
