//! `cargo xtask faults kill`: SIGKILL to `casemate run` at random points. Nothing may stay, no acknowledged record may
//! be lost.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use rustix::process::Signal;

use crate::audit::{Audit, sandboxes};
use crate::leftovers::{adopt_orphans, wait_gone};
use crate::program::{program, signal};

const GONE_WITHIN: Duration = Duration::from_secs(2);
const MARK_WITHIN: Duration = Duration::from_secs(10);
/// How long after its mark a busy tree may live.
const BUSY_MS_MAX: u64 = 200;
/// Prints its mark, then starts and ends programs without pause, eight times over, beside some that leave their session.
const BUSY: &str = "echo started; for i in 1 2 3 4 5 6 7 8; do \
    (while :; do /bin/true; done) & setsid sleep 99 & done; wait";
const SHORT: &str = "echo started";

#[derive(Args)]
pub(crate) struct Kill {
    /// How many times
    #[arg(long, default_value_t = 20)]
    times: u32,
    /// Repeat the run that printed this seed
    #[arg(long)]
    seed: Option<u64>,
}

pub(crate) fn command(words: &Kill) -> Result<()> {
    let casemate = crate::place::casemate()?;
    kill(&casemate, words.times, words.seed)
}

/// Kills so many runs: half while they start, half while a busy tree of processes runs inside.
pub(crate) fn kill(casemate: &Path, times: u32, seed: Option<u64>) -> Result<()> {
    adopt_orphans()?;
    let scratch = tempfile::Builder::new().prefix("casemate-faults-").tempdir()?;
    let audit = Audit { casemate: casemate.to_owned(), state: scratch.path().join("state") };
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()) ^ clock_ns());
    println!("faults kill: {times} times, seed {seed}");
    let mut random = Random(seed | 1);
    let start_time = start_time(&audit)?;

    let mut marked = 0;
    let mut acknowledged = Vec::new();
    for round in 0..times {
        let mark = format!("round-{seed}-{round}");
        let started = if round % 2 == 0 {
            let after = start_time.mul_f64(random.share() * 1.5);
            killed_while_starting(&audit, &mark, after)?
        } else {
            killed_while_busy(&audit, &mark, Duration::from_millis(random.next() % BUSY_MS_MAX))?
        };
        if started {
            marked += 1;
            acknowledged.push(mark);
        }
        check(&audit, &acknowledged)
            .with_context(|| format!("after kill {} of {times}, seed {seed}", round + 1))?;
    }
    // What is left must be no obstacle to the next one.
    ensure!(run(&audit, "last", SHORT).status()?.success(), "after {times} kills a new run does not start");
    check(&audit, &acknowledged)?;
    println!(
        "faults kill: {times} killed, {marked} of them after their command had started; nothing left, no record lost"
    );
    Ok(())
}

fn check(audit: &Audit, acknowledged: &[String]) -> Result<()> {
    let records = if audit.state.exists() { audit.records()? } else { Vec::new() };
    wait_gone(&audit.state, &sandboxes(&records), GONE_WITHIN)?;
    if audit.state.exists() {
        audit.verify().context("the record does not verify")?;
    }
    for mark in acknowledged {
        let names_it = |argv: &serde_json::Value| {
            argv.as_array().is_some_and(|words| words.iter().any(|word| word == mark.as_str()))
        };
        let known = records.iter().any(|record| record["event"] == "exec.start" && names_it(&record["argv"]));
        ensure!(known, "the command of `{mark}` ran and its exec.start is not on the record");
    }
    Ok(())
}

/// The median of a few starts, and the first records.
fn start_time(audit: &Audit) -> Result<Duration> {
    let mut times = Vec::new();
    for _ in 0..5 {
        let start = Instant::now();
        let output = run(audit, "warm-up", SHORT).stderr(Stdio::piped()).output()?;
        ensure!(
            output.status.success(),
            "`casemate run` does not work: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        times.push(start.elapsed());
    }
    times.sort();
    Ok(times[times.len() / 2])
}

fn killed_while_starting(audit: &Audit, mark: &str, after: Duration) -> Result<bool> {
    let mut child = run(audit, mark, SHORT).spawn()?;
    sleep(after);
    end(&mut child)
}

fn killed_while_busy(audit: &Audit, mark: &str, after: Duration) -> Result<bool> {
    let mut child = run(audit, mark, BUSY).spawn()?;
    let mut stdout = child.stdout.take().context("no pipe")?;
    let reader = thread::spawn(move || {
        let mut byte = [0];
        (stdout.read_exact(&mut byte), stdout)
    });
    let start = Instant::now();
    while !reader.is_finished() {
        if start.elapsed() > MARK_WITHIN {
            end(&mut child)?;
            bail!("the command did not start within {} s", MARK_WITHIN.as_secs());
        }
        sleep(Duration::from_millis(1));
    }
    let (read, _stdout) = reader.join().map_err(|_| anyhow::anyhow!("the reader panicked"))?;
    read.context("the command ended before it had started")?;
    sleep(after);
    end(&mut child)?;
    Ok(true)
}

/// Kills `casemate run` alone, as a crash would. Says whether its command had printed its mark.
fn end(child: &mut Child) -> Result<bool> {
    signal(child.id(), Signal::KILL);
    child.wait()?;
    let mut said = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout.read_to_string(&mut said)?;
    }
    Ok(said.contains("started"))
}

fn run(audit: &Audit, mark: &str, script: &str) -> Command {
    let mut command = program(&audit.casemate);
    command.args(["run", "--state"]).arg(&audit.state).args(["--", "/bin/sh", "-c", script, mark]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

fn clock_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_nsec as u64 ^ (now.tv_sec as u64).rotate_left(32)
}

/// Marsaglia's xorshift64: enough to spread the kills, and a seed repeats them.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}
