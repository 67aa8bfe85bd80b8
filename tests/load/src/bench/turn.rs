//! Measures several things in turn, so that whatever else the machine does falls on all of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::figures::Series;

/// The rest before each turn.
pub const APART: Duration = Duration::from_millis(60);
/// Measurements in a row, back to back.
pub const BURST: usize = 10;

/// Does a thing once and gives its times.
type Act<'a> = dyn FnMut(&mut Vec<f64>) -> Result<()> + 'a;

/// Something that is measured, in one or more parts at a time.
pub struct Subject<'a> {
    parts: Vec<&'static str>,
    act: Box<Act<'a>>,
}

impl<'a> Subject<'a> {
    /// `act` gives the times of all parts, in milliseconds and in this order.
    pub fn new(parts: &[&'static str], act: impl FnMut(&mut Vec<f64>) -> Result<()> + 'a) -> Subject<'a> {
        Subject { parts: parts.to_vec(), act: Box::new(act) }
    }

    /// Something with one part: all of `act`.
    pub fn whole(name: &'static str, mut act: impl FnMut() -> Result<()> + 'a) -> Subject<'a> {
        Subject::new(&[name], move |times| {
            let start = Instant::now();
            act()?;
            times.push(ms(start.elapsed()));
            Ok(())
        })
    }
}

/// A time in milliseconds.
pub fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Measures each so many times, `burst` in a row after each rest. One before the first is not counted.
///
/// # Errors
/// Those of the subjects.
pub fn in_turn(subjects: &mut [Subject<'_>], runs: usize, burst: usize) -> Result<Vec<Series>> {
    let mut all: Vec<Vec<Series>> =
        subjects.iter().map(|subject| subject.parts.iter().map(|name| Series::of(name)).collect()).collect();
    let mut times = Vec::new();
    for subject in subjects.iter_mut() {
        (subject.act)(&mut times)?;
    }
    let count = subjects.len();
    for round in 0..runs.div_ceil(burst) {
        for turn in 0..count {
            let index = (round + turn) % count;
            sleep(APART);
            for _ in 0..burst.min(runs - all[index][0].ms.len()) {
                times.clear();
                (subjects[index].act)(&mut times).with_context(|| subjects[index].parts.join(", "))?;
                all[index].iter_mut().zip(&times).for_each(|(series, time)| series.ms.push(*time));
            }
        }
    }
    Ok(all.into_iter().flatten().collect())
}

/// Where figures and scratch files go: `--directory`, or below the temporary directory.
///
/// # Errors
/// It cannot be made.
pub fn directory(given: Option<&Path>) -> Result<PathBuf> {
    let directory = given.map_or_else(|| std::env::temp_dir().join("casemate-load"), Path::to_path_buf);
    fs::create_dir_all(&directory).with_context(|| format!("could not make {}", directory.display()))?;
    Ok(directory)
}

/// Writes the figures of a run, with what the machine is.
///
/// # Errors
/// The file cannot be written.
pub fn write(directory: &Path, name: &str, figures: Value) -> Result<()> {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").context("no /proc")?;
    let raw = json!({
        "kernel": kernel.trim(),
        "cpus": std::thread::available_parallelism()?.get(),
        "figures": figures,
    });
    let file = directory.join(name);
    fs::write(&file, serde_json::to_string_pretty(&raw)?)?;
    println!("\nraw data: {}", file.display());
    Ok(())
}

/// Says which gates are missed.
///
/// # Errors
/// One is, and that is to be an error.
pub fn verdict(gates: &str, missed: &[String], strict: bool) -> Result<()> {
    if missed.is_empty() {
        println!("verdict: reached ({gates})");
        return Ok(());
    }
    println!("verdict: missed: {} ({gates})", missed.join("; "));
    anyhow::ensure!(!strict, "a gate is missed");
    Ok(())
}
