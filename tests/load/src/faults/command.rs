//! SIGKILL to parts of the server, at random points under load. Nothing may stay, nothing acknowledged may be lost, and
//! what ought to live on does.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;

use super::epoch::{Epoch, Sums};
use crate::bench::turn::{directory, ms};
use crate::figures::{Series, heading};
use crate::procfs::network_namespaces;
use crate::random::Random;

/// Rounds with one state directory.
const EPOCH: u32 = 20;

/// Which process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Victim {
    Server,
    Supervisor,
    Launcher,
    Keeper,
}

use Victim::{Keeper, Launcher, Server, Supervisor};

/// Who dies together. They take turns.
const DEATHS: [&[Victim]; 10] = [
    &[Server],
    &[Launcher],
    &[Supervisor],
    &[Server, Launcher],
    &[Keeper],
    &[Supervisor, Server],
    &[Launcher, Keeper],
    &[Server, Keeper],
    &[Supervisor, Launcher],
    &[Supervisor, Server, Launcher, Keeper],
];

/// Kills parts of the server.
#[derive(Debug, Args)]
pub struct Words {
    /// How many times
    #[arg(long, default_value_t = 20)]
    times: u32,
    /// Repeat the run that printed this seed
    #[arg(long)]
    seed: Option<u64>,
    /// Where the state goes
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// `casemate-load faults`.
///
/// # Errors
/// Something was lost, or stayed.
pub fn run(words: &Words) -> Result<()> {
    let directory = directory(words.directory.as_deref())?;
    let seed = words.seed.unwrap_or_else(Random::seed);
    println!("faults server: {} times, seed {seed}", words.times);
    let mut random = Random::of(seed);
    let offset = random.below(DEATHS.len() as u64) as u32;
    let mut back: BTreeMap<String, Series> = BTreeMap::new();
    let mut sums = Sums::default();
    let mut round = 0;
    let mut spared = 0;
    let networks = network_namespaces();
    while round < words.times {
        let scratch = tempfile::tempdir_in(&directory)?;
        let mut epoch = Epoch::begin(scratch.path())?;
        for _ in 0..EPOCH.min(words.times - round) {
            let victims = DEATHS[((round + offset) as usize) % DEATHS.len()];
            let death = epoch.round(&mut random, victims, round);
            let death = death.with_context(|| {
                format!("round {} of {}, SIGKILL to {victims:?}, seed {seed}", round + 1, words.times)
            });
            let time = match death {
                Ok(time) => time,
                Err(error) => {
                    eprintln!("{}\nkept: {}", epoch.last_words(), scratch.keep().display());
                    return Err(error);
                }
            };
            let name = format!("{victims:?}");
            back.entry(name.clone()).or_insert_with(|| Series::of(&name)).ms.push(ms(time));
            round += 1;
            spared += usize::from(!victims.contains(&Launcher));
        }
        let some = epoch.end().with_context(|| format!("after round {round}, seed {seed}"))?;
        sums.acknowledged += some.acknowledged;
        sums.lived_on += some.lived_on;
        sums.late += some.late;
    }
    println!("{}", heading("until the API worked again"));
    back.values().for_each(|series| println!("{}", series.line()));
    if let Some((before, after)) = networks.zip(network_namespaces()) {
        println!("network namespaces in the kernel's memory: {before} before, {after} after");
    }
    let Sums { acknowledged, lived_on, late } = sums;
    ensure!(acknowledged > 0, "nothing was acknowledged: the kills found no load");
    ensure!(
        lived_on == spared,
        "the launcher was spared {spared} times; a command lived on {lived_on} times"
    );
    println!(
        "faults server: {} killed; {acknowledged} acknowledged operations, all on record; a background command lived on \
         {lived_on} times; {late} ends were left to a later server; nothing left",
        words.times
    );
    Ok(())
}
