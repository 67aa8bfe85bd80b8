//! Whether the server's processes stay as large as they are.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::figures::line;
use crate::procfs::{descriptors, status_kib};
use crate::served::Served;

const EVERY: Duration = Duration::from_secs(1);
/// Growth over the last two thirds that counts as none: of what there is on average, and in any case.
const GROWTH_SHARE_MAX: f64 = 0.10;
const GROWTH_KIB_MAX: f64 = 2048.0;
const GROWTH_DESCRIPTORS_MAX: f64 = 32.0;

/// Samples of each process: seconds, KiB resident, descriptors.
#[derive(Debug, Default)]
pub struct Samples(BTreeMap<&'static str, Vec<(f64, f64, f64)>>);

/// How one figure of one process moved over the last two thirds.
#[derive(Debug)]
pub struct Trend {
    process: &'static str,
    what: &'static str,
    mean: f64,
    most: f64,
    growth: f64,
    growth_max: f64,
}

/// Samples once a second until it is over.
///
/// # Errors
/// A process of the server died meanwhile.
pub fn watch(served: &Served, over: &AtomicBool) -> Result<Samples> {
    let first = served.parts();
    ensure!(first.complete(), "a process of the server is missing: {first:?}");
    let mut samples = Samples::default();
    let start = Instant::now();
    while !over.load(Ordering::Relaxed) {
        for (name, pid) in first.named() {
            let (Some(kib), Some(open)) = (status_kib(pid, "VmRSS"), descriptors(pid)) else {
                anyhow::bail!("the {name} died after {:.0} s", start.elapsed().as_secs_f64());
            };
            let sample = (start.elapsed().as_secs_f64(), kib as f64, open as f64);
            samples.0.entry(name).or_default().push(sample);
        }
        sleep(EVERY);
    }
    Ok(samples)
}

impl Samples {
    /// The trends of all processes.
    pub fn trends(&self) -> Vec<Trend> {
        let mut all = Vec::new();
        for (process, samples) in &self.0 {
            let last = &samples[samples.len() / 3..];
            let kib: Vec<(f64, f64)> = last.iter().map(|(time, kib, _)| (*time, *kib)).collect();
            let open: Vec<(f64, f64)> = last.iter().map(|(time, _, open)| (*time, *open)).collect();
            let memory = trend(process, "KiB resident", &kib);
            let most = (memory.mean * GROWTH_SHARE_MAX).max(GROWTH_KIB_MAX);
            all.push(Trend { growth_max: most, ..memory });
            let files = trend(process, "descriptors", &open);
            let most = (files.mean * GROWTH_SHARE_MAX).max(GROWTH_DESCRIPTORS_MAX);
            all.push(Trend { growth_max: most, ..files });
        }
        all
    }

    /// As JSON.
    pub fn json(&self) -> Value {
        json!(self.0)
    }
}

fn trend(process: &'static str, what: &'static str, points: &[(f64, f64)]) -> Trend {
    let time = points.last().map_or(0.0, |last| last.0) - points.first().map_or(0.0, |first| first.0);
    let mean = points.iter().map(|point| point.1).sum::<f64>() / points.len().max(1) as f64;
    let most = points.iter().map(|point| point.1).fold(0.0, f64::max);
    let growth = line(points).map_or(0.0, |line| line.slope * time);
    Trend { process, what, mean, most, growth, growth_max: f64::INFINITY }
}

impl Trend {
    /// Whether it grew by no more than is nothing.
    pub fn flat(&self) -> bool {
        self.growth <= self.growth_max
    }

    /// For people.
    pub fn line(&self) -> String {
        let Trend { process, what, mean, most, growth, growth_max } = self;
        format!(
            "{process:<11} {what:<13} mean {mean:>9.0} most {most:>9.0} growth {growth:>+8.0} (at most {growth_max:.0})"
        )
    }

    /// As JSON.
    pub fn json(&self) -> Value {
        json!({"process": self.process, "what": self.what, "mean": self.mean, "most": self.most,
            "growth": self.growth, "growth_max": self.growth_max})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_all_the_time_is_not_flat() {
        let points = |slope: f64| -> Vec<(f64, f64, f64)> {
            (0..600).map(|s| (f64::from(s), 20_000.0 + slope * f64::from(s), 50.0)).collect()
        };
        let flat = |slope| Samples([("server", points(slope))].into()).trends().iter().all(Trend::flat);
        assert!(flat(0.0) && flat(1.0) && !flat(20.0));
    }
}
