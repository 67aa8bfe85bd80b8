//! A place of a test's own, for one of the two profiles.

use crate::program::{Ended, finish, program};
use crate::{PATIENCE, leftovers, within};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// As whom Casemate is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// The root profile.
    Root,
    /// An ordinary user for whom nothing was set up.
    User,
}

/// A directory, a user and a state directory that nobody else has.
#[derive(Debug)]
pub struct Place {
    who: Who,
    uid: u32,
    mark: String,
    directory: tempfile::TempDir,
}

/// The variable that every process of a place's sandboxes, and their caller, carry.
const MARK: &str = "BEHAVIOUR_MARK";
/// Ids from here on are nobody's: neither a person's nor among those that the root profile leases.
const FIRST_UID: u32 = 1_900_000_000;

static COUNT: AtomicU32 = AtomicU32::new(0);

impl Place {
    /// Runs a test in a place of its own. What needs root and has not got it says so and is counted as not run.
    ///
    /// # Errors
    /// Those of the test; and that something of its sandboxes is left behind.
    pub fn with(name: &str, who: Who, test: fn(&Place) -> Result<()>) -> Result<()> {
        if who == Who::Root && !rustix::process::geteuid().is_root() {
            return not_run(name, "the root profile, and we are not root");
        }
        let place = Place::new(who)?;
        let tested = test(&place);
        let left = place.nothing_left();
        tested.and(left)
    }

    fn new(who: Who) -> Result<Place> {
        let own = rustix::process::geteuid();
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let uid = match who {
            Who::User if own.is_root() => FIRST_UID + (std::process::id() << 4) % 100_000_000 + number % 16,
            _ => own.as_raw(),
        };
        let directory = tempfile::Builder::new().prefix("behaviour-").tempdir()?;
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let mark = format!("{}-{number}-{}-{}", std::process::id(), now.tv_sec, now.tv_nsec);
        let place = Place { who, uid, mark, directory };
        place.own(place.directory.path())?;
        fs::create_dir(place.state())?;
        place.own(&place.state())?;
        fs::set_permissions(place.state(), fs::Permissions::from_mode(0o700))?;
        Ok(place)
    }

    /// The profile.
    pub fn who(&self) -> Who {
        self.who
    }

    /// The host user as whom Casemate runs.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// Its state directory.
    pub fn state(&self) -> PathBuf {
        self.path("state")
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Gives a file or directory to the place's user.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn own(&self, path: &Path) -> Result<()> {
        std::os::unix::fs::lchown(path, Some(self.uid), Some(self.uid)).context("chown")
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn directory(&self, name: &str) -> Result<PathBuf> {
        let path = self.path(name);
        fs::create_dir(&path).with_context(|| format!("mkdir {path:?}"))?;
        self.own(&path)?;
        Ok(path)
    }

    /// Makes a file.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.path(name);
        fs::write(&path, bytes).with_context(|| format!("write {path:?}"))?;
        self.own(&path)?;
        Ok(path)
    }

    /// Makes a policy of the given `[compute]` lines and whatever else follows them.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn policy(&self, text: &str) -> Result<PathBuf> {
        self.file("policy.toml", format!("version = 1\nname = \"test\"\n{text}\n"))
    }

    /// The program that is tested.
    ///
    /// # Errors
    /// It was not built.
    pub fn binary() -> Result<PathBuf> {
        let given = std::env::var_os("CASEMATE_BIN").map(PathBuf::from);
        let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/release/casemate");
        let path = given.unwrap_or(built);
        path.canonicalize().with_context(|| {
            format!("no {}: run `cargo build --release`, or set CASEMATE_BIN", path.display())
        })
    }

    /// A program, as the place's user and with nothing of the test's environment.
    pub fn program(&self, name: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = program(name);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("TERM", "xterm");
        command.env(MARK, &self.mark).current_dir(self.directory.path());
        if self.uid != rustix::process::geteuid().as_raw() {
            // Drops the supplementary groups too.
            command.uid(self.uid).gid(self.uid);
        }
        command
    }

    /// `casemate`, before its words.
    ///
    /// # Errors
    /// It was not built.
    pub fn casemate(&self) -> Result<Command> {
        Ok(self.program(Self::binary()?))
    }

    /// `casemate run --json --state …`, before further options and the command.
    ///
    /// # Errors
    /// It was not built.
    pub fn run(&self) -> Result<Command> {
        self.run_as(&[], &Self::binary()?)
    }

    /// The same with another binary, started by other programs.
    ///
    /// # Errors
    /// None so far.
    pub fn run_as(&self, by: &[&str], binary: &Path) -> Result<Command> {
        let mut command = match by.split_first() {
            None => self.program(binary),
            Some((first, rest)) => {
                let mut command = self.program(first);
                command.args(rest).arg(binary);
                command
            }
        };
        command.arg("run").arg("--json").arg("--state").arg(self.state());
        command.arg("--env").arg(format!("{MARK}={}", self.mark));
        Ok(command)
    }

    /// Runs a shell script inside, without input.
    ///
    /// # Errors
    /// It could not be started, or takes too long.
    pub fn shell(&self, options: &[&str], script: &str) -> Result<Ended> {
        finish(self.run()?.args(options).args(["--", "/bin/sh", "-c", script]))
    }

    /// The records of the state directory, oldest first.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn records(&self) -> Result<Vec<Value>> {
        let shown = self.audit("show")?;
        ensure!(shown.code() == 0, "`audit show` ended with {}: {}", shown.code(), shown.err());
        shown.out().lines().map(|line| serde_json::from_str(line).context("not a record")).collect()
    }

    /// The records of one kind.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn records_of(&self, event: &str) -> Result<Vec<Value>> {
        Ok(self.records()?.into_iter().filter(|record| record["event"] == event).collect())
    }

    /// Recomputes the log.
    ///
    /// # Errors
    /// Something in it is not as it was written.
    pub fn verify(&self) -> Result<()> {
        let verified = self.audit("verify")?;
        ensure!(verified.code() == 0, "the log does not verify: {} {}", verified.out(), verified.err());
        Ok(())
    }

    fn audit(&self, what: &str) -> Result<Ended> {
        finish(program(Self::binary()?).args(["audit", what, "--json", "--state"]).arg(self.state()))
    }

    /// Whether a command of this place's sandboxes lives.
    ///
    /// # Errors
    /// /proc cannot be read.
    pub fn lives_inside(&self) -> Result<bool> {
        let all = leftovers::processes(&self.mark, None, &[])?;
        // A program that was just executed from a memory file is called `memfd:casemate-…` until it gives itself a name.
        Ok(all.iter().any(|process| !process.name.contains("casemate")))
    }

    /// Checks that nothing is left of this place's sandboxes, and that their log is sound.
    ///
    /// # Errors
    /// Names what is left.
    pub fn nothing_left(&self) -> Result<()> {
        let mut ids = Vec::new();
        if self.path("state/log/tail").exists() {
            for record in self.records().unwrap_or_default() {
                ids.extend(record["sandbox"].as_str().map(str::to_owned));
            }
        }
        let mut left = Vec::new();
        let clean = within(PATIENCE / 6, "nothing is left behind", || {
            left = leftovers::list(&self.mark, self.uid, &ids, self.directory.path())?;
            Ok(left.is_empty().then_some(()))
        });
        if clean.is_err() {
            bail!("left behind: {left:#?}");
        }
        Ok(())
    }
}

/// Tells xtask that a test could not be run.
///
/// # Errors
/// It cannot be told.
pub fn not_run(name: &str, why: &str) -> Result<()> {
    if let Some(file) = std::env::var_os("CASEMATE_NOT_RUN") {
        let mut file = fs::File::options().append(true).create(true).open(file)?;
        writeln!(file, "{name}: {why}")?;
    }
    Ok(())
}
