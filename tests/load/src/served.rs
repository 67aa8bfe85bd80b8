//! A `casemate serve` of our own, and the processes that it is made of.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Signal, getpid, set_child_subreaper};
use serde_json::Value;

use crate::api::Client;
use crate::procfs::{self, descendants, signal};
use crate::within;

/// How long a server may take until it says where it listens.
const START_PATIENCE: Duration = Duration::from_secs(20);
const END_PATIENCE: Duration = Duration::from_secs(20);
/// How long an answer may take before it counts as none.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// The kernel cuts names after 15 bytes.
const LAUNCHER: &str = "casemate-launch";
const KEEPER: &str = "casemate-keeper";

/// A program to start. Everything that is started on the host is made here.
pub fn program(name: impl AsRef<std::ffi::OsStr>) -> Command {
    #[allow(clippy::disallowed_methods, reason = "a test starts what it tests")]
    Command::new(name)
}

/// The binary that is tested: `CASEMATE_BIN`, or the release build of this workspace.
///
/// # Errors
/// It was not built.
pub fn binary() -> Result<PathBuf> {
    let given = std::env::var_os("CASEMATE_BIN").map(PathBuf::from);
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/release/casemate");
    let path = given.unwrap_or(built);
    path.canonicalize()
        .with_context(|| format!("no {}: run `cargo build --release`, or set CASEMATE_BIN", path.display()))
}

/// The processes of one state directory, as far as they live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Parts {
    /// What was started.
    pub supervisor: Option<u32>,
    /// Its child, which answers requests.
    pub server: Option<u32>,
    /// The parent of all sandboxes.
    pub launcher: Option<u32>,
    /// Who cleans up behind the launcher.
    pub keeper: Option<u32>,
}

impl Parts {
    /// Those that live, with what they are.
    pub fn named(&self) -> Vec<(&'static str, u32)> {
        let all = [
            ("supervisor", self.supervisor),
            ("server", self.server),
            ("launcher", self.launcher),
            ("keeper", self.keeper),
        ];
        all.into_iter().filter_map(|(name, pid)| Some((name, pid?))).collect()
    }

    /// Whether all of them live.
    pub fn complete(&self) -> bool {
        self.named().len() == 4
    }
}

/// A server, and where it is.
#[derive(Debug)]
pub struct Served {
    binary: PathBuf,
    directory: PathBuf,
    sandboxes_max: u32,
    words: Vec<OsString>,
    child: Option<Child>,
    address: SocketAddr,
    key: String,
}

impl Served {
    /// Starts one for a new state directory below `directory`, on a port of the kernel's choice.
    ///
    /// # Errors
    /// It does not say where it listens.
    pub fn start(directory: &Path, sandboxes_max: u32) -> Result<Served> {
        Served::start_with(directory, sandboxes_max, &[])
    }

    /// The same, with more words of its command line.
    ///
    /// # Errors
    /// It does not say where it listens.
    pub fn start_with(directory: &Path, sandboxes_max: u32, words: &[OsString]) -> Result<Served> {
        // What the launcher and the sandboxes leave becomes ours, so that all of it is found below us.
        set_child_subreaper(Some(getpid())).context("could not become a subreaper")?;
        let mut served = Served {
            binary: binary()?,
            directory: directory.to_owned(),
            sandboxes_max,
            words: words.to_vec(),
            child: None,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            key: String::new(),
        };
        served.launch()?;
        ensure!(!served.key.is_empty(), "the first `casemate serve` shows no key");
        Ok(served)
    }

    /// Starts it again, on the port that it had.
    ///
    /// # Errors
    /// It does not say where it listens.
    pub fn again(&mut self) -> Result<()> {
        self.reap()?;
        self.launch()
    }

    fn launch(&mut self) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut command = program(&self.binary);
        command.args(["serve", "--json", "--state"]).arg(self.state());
        command.args(["--listen", &self.address.to_string()]);
        command.args(["--sandboxes-max", &self.sandboxes_max.to_string()]);
        command.args(&self.words);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let child = self.child.insert(command.spawn().context("could not start `casemate serve`")?);
        let mut lines = BufReader::new(child.stdout.take().context("no pipe")?);
        let (sender, first) = mpsc::channel();
        thread::spawn(move || {
            let mut line = String::new();
            let _ = lines.read_line(&mut line);
            let _ = sender.send(line);
            // Whatever it says later shall not stop it.
            let _ = std::io::copy(&mut lines, &mut std::io::sink());
        });
        let line = first.recv_timeout(START_PATIENCE).unwrap_or_default();
        let said: Value = serde_json::from_str(&line).with_context(|| {
            format!(
                "`casemate serve` says `{}` instead of where it listens: {}",
                line.trim(),
                self.last_words()
            )
        })?;
        let listen = said["listen"].as_str().context("it does not say where it listens")?;
        self.address = listen.parse().with_context(|| format!("`{listen}` is no address"))?;
        if let Some(key) = said["key"].as_str() {
            key.clone_into(&mut self.key);
        }
        Ok(())
    }

    /// A client of it, not connected yet.
    pub fn client(&self) -> Client {
        Client::new(self.address, &self.key, PATIENCE)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its state directory.
    pub fn state(&self) -> PathBuf {
        self.directory.join("state")
    }

    /// The binary that it runs.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// What it says to people.
    pub fn log(&self) -> PathBuf {
        self.directory.join("serve.log")
    }

    /// The end of what it said to people.
    pub fn last_words(&self) -> String {
        let text = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Its processes.
    pub fn parts(&self) -> Parts {
        let below: Vec<(u32, String)> = descendants(procfs::own())
            .into_iter()
            .filter(|pid| !procfs::is_zombie(*pid))
            .map(|pid| (pid, procfs::name(pid)))
            .collect();
        let find = |wanted: &str, so: &dyn Fn(u32) -> bool| {
            below.iter().find(|(pid, name)| name == wanted && so(*pid)).map(|(pid, _)| *pid)
        };
        let launcher = find(LAUNCHER, &|_| true);
        // One whose launcher is dead may still be at work.
        let keeper = find(KEEPER, &|pid| launcher.is_some() && procfs::parent(pid) == launcher);
        let supervisor =
            self.child.as_ref().map(Child::id).filter(|own| below.iter().any(|(pid, _)| pid == own));
        let child_of_it = |pid: u32| procfs::parent(pid) == supervisor && supervisor.is_some();
        let is_server = |name: &str| name.starts_with("casemate") && name != LAUNCHER && name != KEEPER;
        let server =
            below.iter().find(|(pid, name)| child_of_it(*pid) && is_server(name)).map(|(pid, _)| *pid);
        Parts { supervisor, server, launcher, keeper }
    }

    /// Waits until all of its processes live, and names them.
    ///
    /// # Errors
    /// One is missing for too long.
    pub fn whole(&self, limit: Duration) -> Result<Parts> {
        let mut parts = Parts::default();
        within(limit, || {
            parts = self.parts();
            Ok(parts.complete())
        })
        .with_context(|| format!("a process is missing: {parts:?}; {}", self.last_words()))?;
        Ok(parts)
    }

    /// Waits until it answers.
    ///
    /// # Errors
    /// It does not for too long.
    pub fn answers(&self, limit: Duration) -> Result<Duration> {
        let start = Instant::now();
        let mut client = Client::new(self.address, &self.key, limit);
        let mut last = String::new();
        within(limit, || {
            let answer = client.list();
            last = answer.as_ref().err().map(ToString::to_string).unwrap_or_default();
            Ok(answer.is_ok())
        })
        .with_context(|| format!("the server does not answer: {last}; {}", self.last_words()))?;
        Ok(start.elapsed())
    }

    /// `casemate stop --all`: how long it took.
    ///
    /// # Errors
    /// It does not end well.
    pub fn stop_all(&self) -> Result<Duration> {
        let mut command = program(&self.binary);
        command.args(["stop", "--all", "--state"]).arg(self.state()).stdin(Stdio::null());
        let start = Instant::now();
        let output = command.output().context("could not start `casemate stop`")?;
        let took = start.elapsed();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "`casemate stop --all` ended with {}: {said}", output.status);
        Ok(took)
    }

    /// What is written of it so far, unread.
    pub fn record(&self) -> crate::record::Record {
        crate::record::Record::of(&self.binary, &self.state())
    }

    /// SIGTERM, and waits for the end. Its sandboxes live on.
    ///
    /// # Errors
    /// It does not end.
    pub fn end(&mut self) -> Result<()> {
        let Some(child) = &mut self.child else { return Ok(()) };
        signal(child.id(), Signal::TERM);
        let mut status = None;
        within(END_PATIENCE, || {
            status = child.try_wait()?;
            Ok(status.is_some())
        })
        .context("`casemate serve` does not end at SIGTERM")?;
        self.child = None;
        match status {
            Some(status) if status.success() => Ok(()),
            other => bail!("`casemate serve` ended with {other:?} at SIGTERM"),
        }
    }

    /// Takes note of its death.
    fn reap(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            within(END_PATIENCE, || Ok(child.try_wait()?.is_some())).context("the supervisor still lives")?;
        }
        Ok(())
    }
}

impl Drop for Served {
    /// Whatever went wrong, nothing of it is left running.
    fn drop(&mut self) {
        let parts = self.parts();
        for pid in [parts.supervisor, parts.server].into_iter().flatten() {
            signal(pid, Signal::CONT);
            signal(pid, Signal::KILL);
        }
        if parts.launcher.is_some() {
            let _ = self.stop_all();
        }
        for pid in [parts.launcher, parts.keeper].into_iter().flatten() {
            signal(pid, Signal::KILL);
        }
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
        }
    }
}
