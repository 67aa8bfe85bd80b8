//! Starts and ends `casemate serve`, as anyone would.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use serde_json::Value;

use crate::audit::{Audit, sandboxes};
use crate::leftovers::wait_gone;
use crate::program::{end, program, read, signal, wait};

const STARTS_WITHIN: Duration = Duration::from_secs(10);
const ENDS_WITHIN: Duration = Duration::from_secs(10);
/// The launcher ends when it had no sandbox and no server for 10 s.
const CLEAN_WITHIN: Duration = Duration::from_secs(15);

/// A server with a state directory of its own, on a free port of the loopback.
pub(crate) struct Server {
    child: Child,
    errors: PathBuf,
    audit: Audit,
    /// `http://127.0.0.1:PORT`
    pub(crate) url: String,
    /// The key that the first start made.
    pub(crate) key: String,
}

impl Server {
    /// Starts one. `state` is made by it.
    pub(crate) fn start(casemate: &Path, state: &Path, policy: Option<&Path>) -> Result<Self> {
        let errors = state.with_extension("errors");
        let mut command = program(casemate);
        command.args(["serve", "--listen", "127.0.0.1:0", "--json", "--state"]).arg(state);
        if let Some(policy) = policy {
            command.arg("--policy").arg(policy);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(&errors)?);
        let mut child = command.spawn().with_context(|| format!("could not start {}", casemate.display()))?;
        let said = first_line(&mut child);
        let mut server = Self {
            child,
            audit: Audit { casemate: casemate.to_owned(), state: state.to_owned() },
            url: String::new(),
            key: String::new(),
            errors,
        };
        let said = said.with_context(|| server.complaint())?;
        let word = |name: &str| said[name].as_str().map(str::to_owned);
        server.url = format!("http://{}", word("listen").context("the server names no address")?);
        server.key = word("key").context("the first start made no key")?;
        Ok(server)
    }

    /// Another key, made with these words.
    pub(crate) fn another_key(&self, name: &str, words: &[&str]) -> Result<String> {
        let said = read(
            program(&self.audit.casemate)
                .args(["key", "create", "--name", name, "--json"])
                .args(words)
                .arg("--state")
                .arg(&self.audit.state),
        )?;
        let said: Value =
            serde_json::from_str(&said).with_context(|| format!("`key create` wrote no JSON: {said}"))?;
        Ok(said["key"].as_str().context("`key create` told no key")?.to_owned())
    }

    /// Ends it and all its sandboxes. Its record must verify, with an end for each start.
    pub(crate) fn stop(mut self) -> Result<Stopped> {
        signal(self.child.id(), Signal::TERM);
        let status = wait(&mut self.child, ENDS_WITHIN)?
            .with_context(|| format!("the server does not end\n{}", self.complaint()))?;
        ensure!(status.success(), "the server ended with {status}\n{}", self.complaint());
        self.stop_all()?;
        let records = self.audit.records()?;
        let count = |name: &str| records.iter().filter(|record| record["event"] == name).count();
        let (started, ended) = (count("sandbox.start"), count("sandbox.end"));
        ensure!(started == ended, "{started} starts and {ended} ends are on the record");
        let verified = self.audit.verify().context("the record does not verify")?;
        Ok(Stopped { state: self.audit.state.clone(), ids: sandboxes(&records), verified, started })
    }

    fn stop_all(&self) -> Result<()> {
        let mut command = program(&self.audit.casemate);
        read(command.args(["stop", "--all", "--state"]).arg(&self.audit.state)).map(drop)
    }

    fn complaint(&self) -> String {
        fs::read_to_string(&self.errors).unwrap_or_default()
    }
}

/// Whatever went wrong, nothing is left running.
impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        let _ = self.stop_all();
        let _ = end(&mut self.child);
    }
}

/// What a server that was stopped left on the record.
pub(crate) struct Stopped {
    state: PathBuf,
    ids: Vec<String>,
    /// What `casemate audit verify` says.
    pub(crate) verified: String,
    /// How many sandboxes there were.
    pub(crate) started: usize,
}

impl Stopped {
    /// Waits until nothing is left of its sandboxes. No other server may be running.
    pub(crate) fn wait_gone(&self) -> Result<()> {
        wait_gone(&self.state, &self.ids, CLEAN_WITHIN)
    }
}

/// The first line that it writes, as JSON. What it writes later is read and dropped, so that it never waits for us.
fn first_line(child: &mut Child) -> Result<Value> {
    let mut lines = BufReader::new(child.stdout.take().context("no pipe")?);
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let mut line = String::new();
        let _ = lines.read_line(&mut line);
        let _ = tell.send(line);
        let _ = std::io::copy(&mut lines, &mut std::io::sink());
    });
    let Ok(line) = told.recv_timeout(STARTS_WITHIN) else {
        bail!("the server said nothing for {} s", STARTS_WITHIN.as_secs());
    };
    serde_json::from_str(&line).with_context(|| format!("the server's first line is no JSON: {line:?}"))
}
