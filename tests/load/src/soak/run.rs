//! The soak: workers, samples, and the reckoning at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::{Map, Value, json};

use super::flat::{Trend, watch};
use super::work::{Done, Worker};
use crate::bench::turn::{directory, write};
use crate::figures::{Series, heading};
use crate::left::Ground;
use crate::raise_descriptor_limit;
use crate::random::Random;
use crate::served::Served;
use crate::within;

const PATIENCE: Duration = Duration::from_secs(30);
/// After so many errors it ends early.
const ERRORS_MAX: usize = 20;
/// A shorter run does not say whether memory is flat.
const FLAT_AFTER: Duration = Duration::from_secs(120);
const DESCRIPTORS: u64 = 65_536;

/// Wears the server out.
#[derive(Debug, Args)]
pub struct Words {
    /// How long
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Clients at one time
    #[arg(long, default_value_t = 50)]
    clients: usize,
    /// Sandboxes at one time
    #[arg(long, default_value_t = 200)]
    sandboxes: usize,
    /// A client's pause between two steps, on average
    #[arg(long, value_name = "MS", default_value_t = 50)]
    think_ms: u64,
    /// Repeat the run that printed this seed
    #[arg(long)]
    seed: Option<u64>,
    /// Where state and figures go
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// `casemate-load soak`.
///
/// # Errors
/// An answer was wrong; something grew, stayed, or is not on record.
pub fn run(words: &Words) -> Result<()> {
    ensure!(words.clients > 0 && words.minutes > 0.0, "nobody would do anything");
    raise_descriptor_limit(DESCRIPTORS)?;
    let directory = directory(words.directory.as_deref())?;
    let scratch = tempfile::tempdir_in(&directory)?;
    let seed = words.seed.unwrap_or_else(Random::seed);
    println!(
        "soak: {} clients, {} sandboxes, {} minutes, seed {seed}",
        words.clients, words.sandboxes, words.minutes
    );
    // One more per client lives while its expiry is waited for.
    let mut served = Served::start(scratch.path(), (words.sandboxes + words.clients + 16) as u32)?;
    let first = served.client().create(60)?;
    served.client().kill(&first.id)?;
    let parts = served.whole(PATIENCE)?;
    let ground = Ground::look(&served, &parts);

    let time = Duration::from_secs_f64(words.minutes * 60.0);
    let over = AtomicBool::new(false);
    let errors = Mutex::new(Vec::new());
    let start = Instant::now();
    let each = words.sandboxes.div_ceil(words.clients).max(1);
    let (over, errors) = (&over, &errors);
    let served_ref = &served;
    let (workers, samples) = scope(|scope| {
        let watcher = scope.spawn(|| watch(served_ref, over));
        let threads: Vec<_> = (0..words.clients)
            .map(|number| {
                let worker = Worker::new(number, served_ref.client(), each, seed);
                scope.spawn(move || work(worker, words.think_ms, over, errors))
            })
            .collect();
        while start.elapsed() < time && locked(errors).len() < ERRORS_MAX && !watcher.is_finished() {
            sleep(Duration::from_millis(100));
        }
        over.store(true, Ordering::Relaxed);
        let workers: Vec<Worker> = threads.into_iter().filter_map(|thread| thread.join().ok()).collect();
        (workers, watcher.join())
    });
    let elapsed = start.elapsed();
    let samples = samples.map_err(|_| anyhow::anyhow!("the watcher panicked"))?;
    ensure!(workers.len() == words.clients, "a client panicked");

    let (times, done) = summed(&workers);
    println!("{}", heading("under load"));
    times.values().for_each(|series| println!("{}", series.line()));
    println!(
        "{} sandboxes, {} commands, {} files written in {:.0} s",
        done.sandboxes,
        done.commands,
        done.writes,
        elapsed.as_secs_f64()
    );
    let errors = locked(errors).clone();
    errors.iter().for_each(|error| println!("error: {error}"));
    let samples = samples?;
    let trends = samples.trends();
    trends.iter().for_each(|trend| println!("{}", trend.line()));
    let series: Map<String, Value> =
        times.iter().map(|(name, one)| ((*name).to_owned(), one.json())).collect();
    let grown: Vec<Value> = trends.iter().map(Trend::json).collect();
    write(
        &directory,
        "soak.json",
        json!({"seed": seed, "seconds": elapsed.as_secs_f64(), "clients": words.clients,
            "sandboxes": words.sandboxes, "think_ms": words.think_ms, "times": series, "trends": grown,
            "samples": samples.json(), "errors": errors, "created": done.sandboxes,
            "commands": done.commands, "writes": done.writes}),
    )?;
    ensure!(errors.is_empty(), "{} errors, seed {seed}", errors.len());

    let mut record = served.record();
    let mut wrong = String::new();
    within(PATIENCE, || {
        record.read_on()?;
        wrong = reckoned(&record, &done);
        Ok(wrong.is_empty())
    })
    .map_err(|_| anyhow::anyhow!("the record does not fit what was done: {wrong}"))?;
    record.verify()?;
    let known: BTreeSet<String> = record.started().clone();
    ground.only(&parts, &BTreeSet::new(), &known, PATIENCE).context("something is left")?;
    served.end()?;
    let grown: Vec<String> = trends.iter().filter(|trend| !trend.flat()).map(Trend::line).collect();
    if !grown.is_empty() && time >= FLAT_AFTER {
        bail!("not flat:\n  {}", grown.join("\n  "));
    }
    println!("soak: no error, nothing left, the record fits and verifies");
    Ok(())
}

fn work(mut worker: Worker, think_ms: u64, over: &AtomicBool, errors: &Mutex<Vec<String>>) -> Worker {
    let mut random = Random::of(worker.done.sandboxes + think_ms);
    while !over.load(Ordering::Relaxed) {
        if let Err(error) = worker.step() {
            locked(errors).push(format!("{error:#}"));
        }
        sleep(Duration::from_millis(random.below(2 * think_ms + 1)));
    }
    if let Err(error) = worker.finish() {
        locked(errors).push(format!("{error:#}"));
    }
    worker
}

fn summed(workers: &[Worker]) -> (BTreeMap<&'static str, Series>, Done) {
    let mut times: BTreeMap<&'static str, Series> = BTreeMap::new();
    let mut done = Done::default();
    for worker in workers {
        for (name, series) in &worker.times {
            times.entry(name).or_insert_with(|| Series::of(name)).ms.extend(&series.ms);
        }
        done.sandboxes += worker.done.sandboxes;
        done.commands += worker.done.commands;
        done.writes += worker.done.writes;
    }
    (times, done)
}

/// What the record says otherwise than the clients. The first sandbox was not theirs.
fn reckoned(record: &crate::record::Record, done: &Done) -> String {
    let count = |event: &str| record.counts().get(event).copied().unwrap_or(0);
    let all = [
        ("sandbox.start", count("sandbox.start"), done.sandboxes + 1),
        ("sandbox.end", count("sandbox.end"), done.sandboxes + 1),
        ("exec.start", count("exec.start"), done.commands),
        ("exec.end", count("exec.end"), done.commands),
    ];
    let wrong = all.iter().filter(|(_, written, done)| written != done);
    wrong
        .map(|(event, written, done)| format!("{written} {event}, {done} done"))
        .collect::<Vec<_>>()
        .join("; ")
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
