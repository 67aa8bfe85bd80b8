//! What an idle sandbox costs in memory: the slope of `MemAvailable` over many of them, and what it consists of.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Mutex;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::json;

use super::turn::{directory, verdict, write};
use crate::figures::line;
use crate::left::{Ground, cgroup_memory};
use crate::procfs::{self, descendants, meminfo, share_kib};
use crate::served::{Parts, Served};

const LIFE_S: u64 = 1800;
const CLIENTS: usize = 4;
const MIB_EACH_MAX: f64 = 1.5;
const GONE_WITHIN: Duration = Duration::from_secs(30);
/// Memory is at rest when so many samples differ by no more than so much.
const REST_SAMPLES: usize = 4;
const REST_KIB: u64 = 2048;
const REST_EVERY: Duration = Duration::from_millis(250);
const REST_PATIENCE: Duration = Duration::from_secs(8);
/// Lines of `/proc/meminfo` that the total is made of, as far as the kernel says.
const LINES: [&str; 9] = [
    "AnonPages",
    "Shmem",
    "Cached",
    "SReclaimable",
    "SUnreclaim",
    "KernelStack",
    "PageTables",
    "Percpu",
    "VmallocUsed",
];

/// Measures what idle sandboxes cost in memory.
#[derive(Debug, Args)]
pub struct Words {
    /// How many sandboxes in the end
    #[arg(long, default_value_t = 1000)]
    sandboxes: u32,
    /// How many more at each step
    #[arg(long, default_value_t = 100)]
    step: u32,
    /// Fail if a gate is missed
    #[arg(long)]
    gate: bool,
    /// Where state and figures go
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// What was seen with so many sandboxes. All in KiB.
struct Sample {
    sandboxes: f64,
    values: BTreeMap<String, f64>,
}

/// `casemate-load density`.
///
/// # Errors
/// The server fails; something is left; or a gate is missed and that was to be an error.
pub fn run(words: &Words) -> Result<()> {
    ensure!(words.step > 0 && words.sandboxes >= 2 * words.step, "a line needs two steps");
    let directory = directory(words.directory.as_deref())?;
    let scratch = tempfile::tempdir_in(&directory)?;
    let mut served = Served::start(scratch.path(), words.sandboxes + 16)?;
    // The first ones pay for what all share.
    create(&served, CLIENTS as u32)?;
    for one in served.client().list()? {
        served.client().kill(one["sandboxID"].as_str().unwrap_or_default())?;
    }
    let parts = served.whole(GONE_WITHIN)?;
    let ground = Ground::look(&served, &parts);

    let mut ids = BTreeSet::new();
    let mut samples = vec![sample(&parts, &ids)?];
    let mut creating = Duration::ZERO;
    while ids.len() < words.sandboxes as usize {
        let start = Instant::now();
        ids.extend(create(&served, words.step.min(words.sandboxes - ids.len() as u32))?);
        creating += start.elapsed();
        samples.push(sample(&parts, &ids)?);
        println!(
            "{:>5} sandboxes: {:.0} MiB available",
            ids.len(),
            samples[samples.len() - 1].values["MemAvailable"] / 1024.0
        );
    }
    ensure!(served.parts() == parts, "a process of the server died meanwhile");

    let start = Instant::now();
    let stopping = served.stop_all()?;
    ground
        .only(&parts, &BTreeSet::new(), &ids, GONE_WITHIN)
        .context("of what was ended, something is left")?;
    let gone = start.elapsed();
    let after = sample(&parts, &BTreeSet::new())?;
    served.record().verify()?;
    served.end()?;

    let slopes = slopes(&samples);
    let each = -slopes["MemAvailable"].0 / 1024.0;
    println!(
        "\nKiB per idle sandbox, least squares over {} steps (share of the spread explained)",
        samples.len()
    );
    for (name, (slope, fit)) in &slopes {
        println!("{name:<28} {slope:>9.1} ({fit:.3})");
    }
    let told: f64 = slopes.iter().filter(|(name, _)| adds_up(name)).map(|(_, (slope, _))| slope).sum();
    println!("of the processes and of the kernel itself, these add up to {:.3} MiB", told / 1024.0);
    let lost = samples[0].values["MemAvailable"] - after.values["MemAvailable"];
    println!(
        "\n{} creates in {:.2} s; `stop --all` in {:.3} s, nothing left after {:.3} s; afterwards {:.1} MiB less available \
         than before\nan idle sandbox takes {each:.3} MiB",
        ids.len(),
        creating.as_secs_f64(),
        stopping.as_secs_f64(),
        gone.as_secs_f64(),
        lost / 1024.0
    );
    let raw: Vec<_> =
        samples.iter().map(|one| json!({"sandboxes": one.sandboxes, "kib": one.values})).collect();
    write(
        &directory,
        "density.json",
        json!({"mib_each": each, "slopes_kib": slopes, "samples": raw, "create_s": creating.as_secs_f64(),
            "stop_s": stopping.as_secs_f64(), "gone_s": gone.as_secs_f64(), "lost_kib": lost}),
    )?;
    let missed = (each > MIB_EACH_MAX).then(|| format!("{each:.3} MiB each"));
    verdict(&format!("<= {MIB_EACH_MAX} MiB each"), missed.as_slice(), words.gate)
}

/// Whether a part is counted in no other: memory of our processes, and of the kernel that it cannot give back.
fn adds_up(name: &str) -> bool {
    name.starts_with("Pss ") || ["SUnreclaim", "KernelStack", "PageTables", "Percpu"].contains(&name)
}

/// Creates so many, by a few clients.
pub(super) fn create(served: &Served, count: u32) -> Result<Vec<String>> {
    let all = Mutex::new(Vec::new());
    let left = Mutex::new(count);
    let take = || {
        let mut left = left.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let some = *left > 0;
        *left -= u32::from(some);
        some
    };
    scope(|scope| {
        let threads: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| -> Result<()> {
                    let mut client = served.client();
                    while take() {
                        let id = client.create(LIFE_S)?.id;
                        all.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(id);
                    }
                    Ok(())
                })
            })
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| anyhow::anyhow!("a client panicked"))?)
    })?;
    Ok(all.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
}

/// Waits for rest, and looks at everything.
fn sample(parts: &Parts, ids: &BTreeSet<String>) -> Result<Sample> {
    let start = Instant::now();
    let mut recent: Vec<u64> = Vec::new();
    loop {
        recent.push(*meminfo()?.get("MemAvailable").context("no MemAvailable")?);
        let last = &recent[recent.len().saturating_sub(REST_SAMPLES)..];
        let spread = last.iter().max().zip(last.iter().min()).map_or(0, |(most, least)| most - least);
        if (last.len() == REST_SAMPLES && spread <= REST_KIB) || start.elapsed() > REST_PATIENCE {
            break;
        }
        sleep(REST_EVERY);
    }
    let memory = meminfo()?;
    let line = |name: &str| memory.get(name).copied().unwrap_or(0) as f64;
    let mut values: BTreeMap<String, f64> = BTreeMap::new();
    for name in ["MemAvailable", "MemFree"].iter().chain(&LINES) {
        values.insert((*name).to_owned(), line(name));
    }
    let ours: Vec<u32> = parts.named().into_iter().map(|(_, pid)| pid).collect();
    for (name, pid) in parts.named() {
        values.insert(format!("Pss of the {name}"), share_kib(pid).unwrap_or(0) as f64);
    }
    let inside = descendants(procfs::own()).into_iter().filter(|pid| !ours.contains(pid));
    values.insert("Pss inside".to_owned(), inside.filter_map(share_kib).sum::<u64>() as f64);
    let (all, kernel) = cgroup_memory(ids);
    values.insert("cgroups: memory".to_owned(), all as f64 / 1024.0);
    values.insert("cgroups: of the kernel".to_owned(), kernel as f64 / 1024.0);
    Ok(Sample { sandboxes: ids.len() as f64, values })
}

/// For each value: how much one more sandbox adds, and how well a line fits.
fn slopes(samples: &[Sample]) -> BTreeMap<String, (f64, f64)> {
    let of = |name: &String| {
        let points: Vec<(f64, f64)> =
            samples.iter().map(|one| (one.sandboxes, one.values.get(name).copied().unwrap_or(0.0))).collect();
        line(&points).map(|line| (name.clone(), (line.slope, line.fit)))
    };
    samples[0].values.keys().filter_map(of).collect()
}
