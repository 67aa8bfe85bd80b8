//! `cargo xtask bench start`: how long until a command has run behind the walls, and beside whom.
//!
//! All programs are measured in one run, in turn. *Back to back* starts one program several times in a row, which
//! hides the kernel's grace periods; *isolated* leaves 60 ms before each start, which shows them.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::{Map, Value, json};

use crate::place;
use crate::program::{check, program, read};
use crate::rivals::{self, Rival};

const APART: Duration = Duration::from_millis(60);
const BURST: usize = 10;
const WARM_UP: usize = 5;
const NOISE_RATIO_MAX: f64 = 1.5;
const RUNC_RATIO_MIN: f64 = 4.0;

#[derive(Args)]
pub(crate) struct Start {
    /// Measured starts of each program in each mode
    #[arg(long, default_value_t = 100)]
    runs: usize,
    /// Fail if a gate is missed
    #[arg(long)]
    gate: bool,
    /// Refuse the run as noisy if the floor's median back to back is above 1.5 times this
    #[arg(long, value_name = "MS")]
    floor_nominal_ms: Option<f64>,
    /// The same, isolated
    #[arg(long, value_name = "MS")]
    floor_nominal_isolated_ms: Option<f64>,
    /// The floor program, instead of the example `floor` of `jail`
    #[arg(long, value_name = "FILE")]
    floor: Option<PathBuf>,
}

/// What was measured of one program in one mode.
struct Series {
    program: &'static str,
    ms: Vec<f64>,
}

impl Series {
    /// The smallest value that `share` of all do not exceed.
    fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.ms.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (share * sorted.len() as f64).ceil() as usize;
        sorted[rank.clamp(1, sorted.len()) - 1]
    }
}

pub(crate) fn start(words: &Start) -> Result<()> {
    if words.runs == 0 {
        bail!("`--runs 0` measures nothing");
    }
    crate::apt::programs(&[("bwrap", "bubblewrap"), ("runc", "runc")])?;
    let directory = place::target()?.join("bench");
    fs::create_dir_all(&directory)?;
    let scratch = tempfile::tempdir_in(&directory)?;
    let bundle = scratch.path().join("bundle");
    fs::create_dir(&bundle)?;
    rivals::bundle(&bundle)?;
    let mut rivals = [
        Rival::Casemate {
            binary: installed(&place::casemate()?, scratch.path())?,
            state: scratch.path().join("state"),
        },
        Rival::Bwrap,
        Rival::Runc { bundle, root: scratch.path().join("runc"), started: 0 },
        Rival::Floor { binary: installed(&words.floor.clone().map_or_else(floor, Ok)?, scratch.path())? },
        Rival::Bare,
    ];
    for rival in &mut rivals {
        must_work(rival)?;
    }

    let modes = [
        ("back to back", back_to_back(&mut rivals, words.runs)?),
        ("isolated", isolated(&mut rivals, words.runs)?),
    ];
    let file = directory.join("start.json");
    fs::write(&file, raw(words, &modes)?)?;
    for (mode, series) in &modes {
        show(mode, series)?;
    }
    println!("\nraw data: {}", file.display());

    for ((mode, series), nominal) in
        modes.iter().zip([words.floor_nominal_ms, words.floor_nominal_isolated_ms])
    {
        let floor = median(series, "floor")?;
        if let Some(nominal) = nominal.filter(|nominal| floor > nominal * NOISE_RATIO_MAX) {
            bail!("refused as noisy: {mode} the floor took {floor:.2} ms, nominal is {nominal} ms");
        }
    }
    verdict(&modes, words.gate)
}

/// Builds the floor program.
pub(crate) fn floor() -> Result<PathBuf> {
    if !place::root().join("crates/jail/examples/floor.rs").is_file() {
        bail!(
            "there is no floor program: crates/jail/examples/floor.rs is missing (`--floor FILE` names another)"
        );
    }
    check(place::cargo().args(["build", "--release", "--package", "jail", "--example", "floor"]))?;
    Ok(place::target()?.join("release/examples/floor"))
}

/// Copies a program into `directory`, as the others were copied to where they are. What a linker has just written lies in
/// the page cache page by page, and a program's first touch of each part of it then takes longer.
fn installed(program: &Path, directory: &Path) -> Result<PathBuf> {
    let name = program.file_name().with_context(|| format!("{} is no file", program.display()))?;
    let copy = directory.join(name);
    fs::copy(program, &copy).with_context(|| format!("could not copy {}", program.display()))?;
    Ok(copy)
}

/// A start that fails fast would look good.
fn must_work(rival: &mut Rival) -> Result<()> {
    let name = rival.name();
    for _ in 0..WARM_UP {
        let output = rival
            .command()
            .stderr(std::process::Stdio::piped())
            .output()
            .with_context(|| format!("could not start {name}"))?;
        if !output.status.success() {
            bail!("{name} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
        }
    }
    Ok(())
}

fn measure(rival: &mut Rival) -> Result<f64> {
    let mut command = rival.command();
    let start = Instant::now();
    let status = command.status();
    let ms = start.elapsed().as_secs_f64() * 1e3;
    let status = status.with_context(|| format!("could not start {}", rival.name()))?;
    if !status.success() {
        bail!("{} ended with {status} while it was measured", rival.name());
    }
    Ok(ms)
}

fn isolated(rivals: &mut [Rival], runs: usize) -> Result<Vec<Series>> {
    in_turn(rivals, runs, 1)
}

fn back_to_back(rivals: &mut [Rival], runs: usize) -> Result<Vec<Series>> {
    in_turn(rivals, runs, BURST)
}

/// Measures `runs` starts of each. Before each turn the machine rests, so that nobody pays for the one before.
fn in_turn(rivals: &mut [Rival], runs: usize, burst: usize) -> Result<Vec<Series>> {
    let mut all: Vec<Series> =
        rivals.iter().map(|rival| Series { program: rival.name(), ms: Vec::with_capacity(runs) }).collect();
    let count = rivals.len();
    for round in 0..runs.div_ceil(burst) {
        for turn in 0..count {
            let index = (round + turn) % count;
            sleep(APART);
            for _ in 0..burst.min(runs - all[index].ms.len()) {
                let ms = measure(&mut rivals[index])?;
                all[index].ms.push(ms);
            }
        }
    }
    Ok(all)
}

fn median(series: &[Series], program: &str) -> Result<f64> {
    let found = series.iter().find(|series| series.program == program);
    Ok(found.with_context(|| format!("{program} was not measured"))?.quantile(0.5))
}

fn show(mode: &str, series: &[Series]) -> Result<()> {
    println!("\n{mode}, {} starts each", series[0].ms.len());
    println!("{:<10} {:>9} {:>9} {:>9}", "", "p50 ms", "p99 ms", "min ms");
    for one in series {
        let [p50, p99, min] = [0.5, 0.99, 0.0].map(|share| one.quantile(share));
        println!("{:<10} {p50:>9.2} {p99:>9.2} {min:>9.2}", one.program);
    }
    let casemate = median(series, "casemate")?;
    println!("casemate/bwrap  {:.2}", casemate / median(series, "bwrap")?);
    println!("runc/casemate   {:.2}", median(series, "runc")? / casemate);
    println!("casemate/floor  {:.2}", casemate / median(series, "floor")?);
    Ok(())
}

fn verdict(modes: &[(&str, Vec<Series>)], gate: bool) -> Result<()> {
    let mut missed = Vec::new();
    for (mode, series) in modes {
        let casemate = median(series, "casemate")?;
        if casemate > median(series, "bwrap")? {
            missed.push(format!("slower than bwrap {mode}"));
        }
        if median(series, "runc")? < casemate * RUNC_RATIO_MIN {
            missed.push(format!("less than {RUNC_RATIO_MIN} times faster than runc {mode}"));
        }
    }
    let gates = format!("no slower than bwrap both ways, at least {RUNC_RATIO_MIN} times faster than runc");
    if missed.is_empty() {
        println!("verdict: reached ({gates})");
        return Ok(());
    }
    println!("verdict: missed: {} ({gates})", missed.join("; "));
    if gate {
        bail!("a gate is missed");
    }
    Ok(())
}

fn raw(words: &Start, modes: &[(&str, Vec<Series>)]) -> Result<String> {
    let version = |name: &str| read(program(name).arg("--version")).unwrap_or_default().trim().to_owned();
    let modes: Map<String, Value> = modes
        .iter()
        .map(|(mode, series)| {
            let series: Map<String, Value> =
                series.iter().map(|one| (one.program.into(), json!(one.ms))).collect();
            ((*mode).to_owned(), series.into())
        })
        .collect();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").context("no /proc")?;
    let raw = json!({
        "kernel": kernel.trim(),
        "cpus": std::thread::available_parallelism()?.get(),
        "versions": {"bwrap": version("bwrap"), "runc": version("runc")},
        "runs": words.runs,
        "apart_ms": APART.as_millis() as u64,
        "burst": BURST,
        "start_ms": modes,
    });
    Ok(serde_json::to_string_pretty(&raw)?)
}
