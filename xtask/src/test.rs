//! `cargo xtask test`: sets up what the tests need, runs them all, and says what was not run and why.
//!
//! To the tests it says, in their environment: `CASEMATE_BIN`, the built binary; `CASEMATE_LONG=1`, run what is long
//! too; `CASEMATE_GUEST`, the machine they run in (`uml` or `qemu`), where everything is slower; `CVC5`, a solver;
//! `CASEMATE_NOT_RUN`, a file to which a test that cannot run here appends one line with its name and the reason.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use rustix::process::geteuid;

use crate::guest::{self, Output, Shown};
use crate::program::{self, check, read, relayed};
use crate::tally::{self, Tally};
use crate::{apt, e2b, faults, load, place, qemu, solver, uml};

const PROGRAMS: [(&str, &str); 4] =
    [("python3", "python3"), ("gcc", "gcc"), ("make", "make"), ("newuidmap", "uidmap")];
const GUEST_LIMIT: Duration = Duration::from_secs(10 * 60);
const GUEST_LIMIT_ALL: Duration = Duration::from_secs(60 * 60);
const HOST: &str = "this machine";
const DOCUMENTATION: &str = "documentation";
const KILL: &str = "kill -9";
const KILL_SERVER: &str = "kill -9 of the server";
const KILLS: u32 = 20;
const KILLS_ALL: u32 = 200;

#[derive(Args)]
pub(crate) struct Test {
    /// Also what is long, and Debian's stock kernel in QEMU
    #[arg(long)]
    all: bool,
}

pub(crate) fn run(words: &Test) -> Result<()> {
    apt::programs(&PROGRAMS)?;
    nextest()?;
    let casemate = place::casemate()?;
    let root = geteuid().is_root();

    let mut tallies = vec![
        Tally::of(HOST, host(&casemate, words.all, root)),
        // Alone: whatever is below this process afterwards counts as left behind, and is ended.
        Tally::of(KILL, kill(&casemate, words.all)),
    ];
    // The guest has one processor and leaves another free. Beside it runs what measures no time closely.
    let (beside, guest) = thread::scope(|scope| {
        let guest = Contained::prepare("uml", &casemate, words.all)
            .map(|contained| scope.spawn(move || contained.run(uml::run, Shown::Later)));
        let beside = [
            Tally::of(DOCUMENTATION, documentation()),
            Tally::of(KILL_SERVER, kill_server(&casemate, words.all)),
        ];
        let guest = guest.and_then(|guest| guest.join().map_err(|_| anyhow!("its thread panicked"))?);
        (beside, guest)
    });
    tallies.extend(beside);
    if let Ok((_, log)) = &guest {
        println!("\ncontainment under uml\n{log}");
    }
    tallies.push(Tally::of("uml", guest.map(|(tally, _)| tally)));
    tallies.extend(e2b::tests(&casemate, words.all, &[]));
    if words.all {
        println!("\ncontainment under qemu");
        let guest = Contained::prepare("qemu", &casemate, true);
        let guest = guest.and_then(|contained| contained.run(qemu::run, Shown::AsItComes));
        tallies.push(Tally::of("qemu", guest.map(|(tally, _)| tally)));
    }
    if !tally::report(&tallies, root) {
        bail!("the tests failed");
    }
    Ok(())
}

/// Everything in the workspace, on this machine's kernel.
fn host(casemate: &Path, all: bool, root: bool) -> Result<Tally> {
    let not_run = tempfile::NamedTempFile::new()?;
    let mut command = vec!["nextest".into(), "run".into(), "--workspace".into()];
    command.extend(flags(all));
    let mut cargo = place::cargo();
    cargo.args(&command).envs(variables(casemate, all)).env("CASEMATE_NOT_RUN", not_run.path());
    cargo.env("CVC5", solver::ready()?);
    let (success, log) = relayed(&cargo)?;
    let mut tally = Tally::of_nextest(HOST, &log);
    tally.not_run = fs::read_to_string(not_run.path())?.lines().map(str::to_owned).collect();
    if !root {
        tally.not_run.push("the root profile: we are not root".to_owned());
    }
    if !success && tally.good() {
        tally.broken = Some("nextest ended badly".to_owned());
    }
    Ok(tally)
}

/// The examples in the documentation. What must not compile is proved there.
fn documentation() -> Result<Tally> {
    let mut cargo = place::cargo();
    cargo.args(["test", "--workspace", "--doc"]);
    let (success, log) = relayed(&cargo)?;
    let mut tally = Tally::of_libtest(DOCUMENTATION, &log);
    if !success && tally.good() {
        tally.broken = Some("cargo ended badly".to_owned());
    }
    Ok(tally)
}

fn kill(casemate: &Path, all: bool) -> Result<Tally> {
    let times = if all { KILLS_ALL } else { KILLS };
    faults::kill(casemate, times, None)?;
    Ok(Tally { part: KILL.to_owned(), passed: times, ..Tally::default() })
}

fn kill_server(casemate: &Path, all: bool) -> Result<Tally> {
    let times = if all { KILLS_ALL } else { KILLS };
    load::faults(casemate, times)?;
    Ok(Tally { part: KILL_SERVER.to_owned(), passed: times, ..Tally::default() })
}

/// The containment tests under another kernel. They are built here and only run there.
struct Contained {
    name: &'static str,
    command: Vec<String>,
    env: Vec<(String, String)>,
    limit: Duration,
}

impl Contained {
    /// Builds them. Nothing of cargo is needed afterwards.
    fn prepare(name: &'static str, casemate: &Path, all: bool) -> Result<Contained> {
        let directory = place::cache("containment")?;
        let list = ["nextest", "list", "--package", "containment", "--list-type", "binaries-only"];
        let binaries = directory.join("binaries.json");
        fs::write(&binaries, read(place::cargo().args(list).args(["--message-format", "json"]))?)?;
        let workspace = directory.join("workspace.json");
        fs::write(&workspace, read(place::cargo().args(["metadata", "--format-version", "1"]))?)?;

        let text = |path: &Path| path.to_string_lossy().into_owned();
        let mut command = vec![text(&nextest_binary()?), "nextest".to_owned(), "run".to_owned()];
        command.extend(["--binaries-metadata".to_owned(), text(&binaries)]);
        command.extend(["--cargo-metadata".to_owned(), text(&workspace)]);
        command.extend(flags(all));
        let mut env = variables(casemate, all);
        env.push(("CASEMATE_GUEST".to_owned(), name.to_owned()));
        let limit = if all { GUEST_LIMIT_ALL } else { GUEST_LIMIT };
        Ok(Contained { name, command, env, limit })
    }

    /// Runs them; gives also what they wrote.
    fn run(&self, machine: guest::Run, shown: Shown) -> Result<(Tally, String)> {
        let Output { status, log, not_run } = machine(&self.command, &self.env, self.limit, shown)?;
        let mut tally = Tally { not_run, ..Tally::of_nextest(self.name, &log) };
        if status != 0 && tally.good() {
            tally.broken = Some(format!("nextest ended with {status}"));
        }
        Ok((tally, log))
    }
}

fn flags(all: bool) -> Vec<String> {
    let mut flags = vec!["--no-fail-fast"];
    if all {
        flags.push("--run-ignored=all");
    }
    flags.into_iter().map(str::to_owned).collect()
}

fn variables(casemate: &Path, all: bool) -> Vec<(String, String)> {
    let mut env = vec![("CASEMATE_BIN".to_owned(), casemate.to_string_lossy().into_owned())];
    if all {
        env.push(("CASEMATE_LONG".to_owned(), "1".to_owned()));
    }
    env
}

/// Makes sure that `cargo nextest` is there.
fn nextest() -> Result<()> {
    if nextest_binary().is_err() {
        println!("installing cargo-nextest");
        check(place::cargo().args(["install", "--locked", "cargo-nextest"]))?;
    }
    nextest_binary().map(drop)
}

fn nextest_binary() -> Result<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".cargo")));
    program::find("cargo-nextest")
        .or_else(|| {
            home.map(|home| home.join("bin").join(OsStr::new("cargo-nextest"))).filter(|file| file.is_file())
        })
        .context("there is no cargo-nextest")
}
