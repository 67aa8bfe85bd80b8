//! `cargo xtask e2b`, and its part of `cargo xtask test`: the official E2B SDKs, unmodified, against `casemate serve`.
//!
//! What is written for them is in `tests/e2b`. To it we say, in the environment: `CASEMATE_E2B_SERVERS`, a file that
//! tells where the servers are; `CASEMATE_LONG=1`, run what is long too.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use rustix::process::geteuid;
use serde_json::json;

use crate::leftovers::adopt_orphans;
use crate::place;
use crate::program::{program, relayed};
use crate::sdks::{self, Sdks};
use crate::serve::Server;
use crate::tally::{self, Tally};

const PYTHON: &str = "e2b, Python SDK";
const JAVASCRIPT: &str = "e2b, JavaScript SDK";
const RECORD: &str = "e2b, record and leftovers";
const LIMIT_S: u32 = 300;
const LIMIT_ALL_S: u32 = 1800;

#[derive(Args)]
pub(crate) struct E2b {
    /// Also what is long
    #[arg(long)]
    all: bool,
    /// Test this binary instead of building one
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Handed to pytest; then only the Python SDK is tested
    #[arg(last = true)]
    words: Vec<String>,
}

pub(crate) fn run(words: &E2b) -> Result<()> {
    let casemate = match &words.binary {
        Some(binary) => binary.canonicalize().with_context(|| format!("there is no {}", binary.display()))?,
        None => place::casemate()?,
    };
    if !tally::report(&tests(&casemate, words.all, &words.words), geteuid().is_root()) {
        bail!("the tests failed");
    }
    Ok(())
}

/// Everything in `tests/e2b`: the quick part, or all.
pub(crate) fn tests(casemate: &Path, all: bool, words: &[String]) -> Vec<Tally> {
    parts(casemate, all, words).unwrap_or_else(|error| vec![Tally::of(PYTHON, Err(error))])
}

fn parts(casemate: &Path, all: bool, words: &[String]) -> Result<Vec<Tally>> {
    let sdks = sdks::ready()?;
    adopt_orphans()?;
    let scratch = tempfile::Builder::new().prefix("casemate-e2b-").tempdir()?;
    let servers = Servers::start(casemate, scratch.path())?;
    let mut tallies = vec![Tally::of(PYTHON, servers.python(&sdks, all, words))];
    if words.is_empty() {
        tallies.push(Tally::of(JAVASCRIPT, servers.javascript(&sdks, all)));
    }
    tallies.push(Tally::of(RECORD, servers.stop()));
    Ok(tallies)
}

/// One server for each policy that the tests need.
struct Servers {
    scratch: PathBuf,
    running: Vec<(&'static str, Server)>,
}

impl Servers {
    fn start(casemate: &Path, scratch: &Path) -> Result<Self> {
        let policies = sdks::tests().join("policies");
        let mut wanted = vec![("default", None), ("small", Some(policies.join("small.toml")))];
        if geteuid().is_root() {
            wanted.push(("rooted", Some(policies.join("rooted.toml"))));
        }
        let mut running = Vec::new();
        for (name, policy) in wanted {
            let server = Server::start(casemate, &scratch.join(name), policy.as_deref())
                .with_context(|| format!("could not serve the policy `{name}`"))?;
            running.push((name, server));
        }
        let mut told = serde_json::Map::new();
        for (name, server) in &running {
            told.insert(
                (*name).to_owned(),
                json!({
                    "url": server.url, "key": server.key, "other_key": server.another_key("other", &[])?,
                    "auditor_key": server.another_key("auditor", &["--role", "auditor"])?,
                    "operator_key": server.another_key("operator", &["--role", "operator"])?,
                    "bounded_key": server.another_key("bounded", &["--sandboxes", "1"])?,
                    "slow_key": server.another_key("slow", &["--creates-per-second", "0.001"])?,
                }),
            );
        }
        let servers = Self { scratch: scratch.to_owned(), running };
        fs::write(servers.file(), serde_json::Value::from(told).to_string())?;
        Ok(servers)
    }

    fn file(&self) -> PathBuf {
        self.scratch.join("servers.json")
    }

    fn python(&self, sdks: &Sdks, all: bool, words: &[String]) -> Result<Tally> {
        let report = self.scratch.join("python.xml");
        let mut command = self.bounded(&sdks.python, all);
        command.args(["-m", "pytest", "--junit-xml"]).arg(&report).args(words);
        let root = geteuid().is_root();
        if !root {
            command.args(["-m", "not rooted"]);
        }
        command.arg(sdks::tests().join("python"));
        let mut tally = counted(PYTHON, &command, &report)?;
        if !root {
            tally.not_run.push("root inside: we are not root".to_owned());
        }
        Ok(tally)
    }

    fn javascript(&self, sdks: &Sdks, all: bool) -> Result<Tally> {
        let report = self.scratch.join("javascript.xml");
        let mut command = self.bounded(&sdks.node, all);
        command.args(["--test", "--test-concurrency=1"]);
        command.args(["--test-reporter=spec", "--test-reporter-destination=stdout", "--test-reporter=junit"]);
        let mut destination = std::ffi::OsString::from("--test-reporter-destination=");
        destination.push(&report);
        command.arg(destination).current_dir(&sdks.javascript);
        // Node.js looks for `e2b` from where a file is.
        for file in scripts(&sdks::tests().join("js"))? {
            let name = file.file_name().context("a script without a name")?;
            fs::copy(&file, sdks.javascript.join(name))?;
            if file.to_string_lossy().ends_with(".test.mjs") {
                command.arg(name);
            }
        }
        counted(JAVASCRIPT, &command, &report)
    }

    /// A program that knows the servers and is ended, with all that it started, when it takes too long.
    fn bounded(&self, name: &Path, all: bool) -> Command {
        let mut command = program("timeout");
        let limit = if all { LIMIT_ALL_S } else { LIMIT_S };
        command.args(["--kill-after=10", &limit.to_string()]).arg(name);
        command.env("CASEMATE_E2B_SERVERS", self.file()).env("PYTHONDONTWRITEBYTECODE", "1");
        // Requests go to the loopback, never to a proxy.
        command.env("NO_PROXY", "127.0.0.1");
        if all {
            command.env("CASEMATE_LONG", "1");
        }
        command
    }

    /// Stops all. Each record must verify, and nothing may be left of any sandbox.
    fn stop(self) -> Result<Tally> {
        let mut stopped = Vec::new();
        for (name, server) in self.running {
            stopped.push(server.stop().with_context(|| format!("the server of the policy `{name}`"))?);
        }
        for server in &stopped {
            server.wait_gone()?;
        }
        let sandboxes: usize = stopped.iter().map(|server| server.started).sum();
        ensure!(sandboxes > 0, "not one sandbox is on the record");
        println!(
            "e2b: {sandboxes} sandboxes, each with its end on a record that verifies, nothing left behind"
        );
        Ok(Tally { passed: stopped.len() as u32, ..Tally::default() })
    }
}

/// Runs tests, shows what they say and counts what they report.
fn counted(part: &str, command: &Command, report: &Path) -> Result<Tally> {
    println!("\n{part}");
    let (success, _) = relayed(command)?;
    let report = fs::read_to_string(report).context("the tests wrote no report")?;
    let mut tally = Tally::of_junit(part, &report);
    if !success && tally.good() {
        tally.broken = Some("the tests ended badly".to_owned());
    }
    Ok(tally)
}

/// The JavaScript files of a directory, sorted.
fn scripts(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let file = entry?.path();
        if file.extension().is_some_and(|end| end == "mjs") {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}
