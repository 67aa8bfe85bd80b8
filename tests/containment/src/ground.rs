//! The ground on which one test stands: a caller, its state directory, programs that it can read, policies.

use crate::facts::Facts;
use crate::profile::Profile;
use anyhow::{Context, Result, bail};
use std::ffi::{OsStr, OsString};
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// Where the probe is inside.
pub const PROBE: &str = "/probe/probe";

/// The first uid that a test may take for its ordinary user; its process id is added.
const FIRST_UID: u32 = 1_000_000;
/// The first of the host ids that a user who was set up is given, and how many.
const FIRST_SUBORDINATE: u32 = 0x5000_0000;
const SUBORDINATE: u32 = 4096;

const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];
const TREE: &str = "/sys/fs/cgroup";

/// A caller and all that it needs. What it made goes when the value goes.
#[derive(Debug)]
pub struct Ground {
    profile: Profile,
    uid: u32,
    directory: TempDir,
    cgroups: Vec<PathBuf>,
}

/// Starts programs: the one place of this package.
#[allow(clippy::disallowed_methods, reason = "a test starts what it tests")]
pub fn program(path: impl AsRef<OsStr>) -> Command {
    Command::new(path)
}

/// The kind of machine that the tests run in, if it is not the host.
pub fn guest() -> Option<String> {
    std::env::var("CASEMATE_GUEST").ok()
}

/// Says that something was not run, and why.
///
/// # Errors
/// The list cannot be written.
pub fn not_run(name: &str, reason: &str) -> Result<()> {
    println!("not run: {name}: {reason}");
    let Some(list) = std::env::var_os("CASEMATE_NOT_RUN") else { return Ok(()) };
    let mut file = fs::OpenOptions::new().append(true).create(true).open(list)?;
    writeln!(file, "{name}: {reason}")?;
    Ok(())
}

impl Ground {
    /// Makes the ground for the test `name`; none, which is then on the list of what was not run, where this process
    /// may not.
    ///
    /// # Errors
    /// Something of it cannot be made.
    pub fn new(profile: Profile, name: &str) -> Result<Option<Ground>> {
        let root = rustix::process::geteuid().is_root();
        if !root && profile != Profile::User {
            not_run(name, "this profile takes root")?;
            return Ok(None);
        }
        let uid = match profile {
            Profile::Root => 0,
            _ if root => FIRST_UID + std::process::id(),
            _ => rustix::process::geteuid().as_raw(),
        };
        let directory = tempfile::Builder::new().prefix("containment-").tempdir()?;
        let mut ground = Ground { profile, uid, directory, cgroups: Vec::new() };
        ground.furnish()?;
        if profile == Profile::UserAfterSetup {
            ground.set_up()?;
        }
        Ok(Some(ground))
    }

    /// As whom Casemate runs here.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// The caller's uid.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// A place for the test's own files, which everybody may read.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The program that is tested: the one under `CASEMATE_BIN`, or else the mutant program with nothing weakened.
    pub fn casemate(&self) -> PathBuf {
        self.path("bin/casemate")
    }

    fn furnish(&self) -> Result<()> {
        fs::set_permissions(self.directory.path(), Permissions::from_mode(0o755))?;
        for name in ["bin", "probe", "state"] {
            fs::create_dir(self.path(name))?;
        }
        fs::set_permissions(self.path("state"), Permissions::from_mode(0o700))?;
        self.give(&self.path("state"))?;
        let beside = built_beside()?;
        let mutant = beside.join("casemate-mutant");
        let casemate = std::env::var_os("CASEMATE_BIN").map_or_else(|| mutant.clone(), PathBuf::from);
        for (from, to) in [
            (casemate, "bin/casemate"),
            (mutant, "bin/casemate-mutant"),
            (beside.join("probe"), "probe/probe"),
        ] {
            fs::copy(&from, self.path(to)).with_context(|| format!("could not copy {}", from.display()))?;
            fs::set_permissions(self.path(to), Permissions::from_mode(0o755))?;
        }
        for (name, root) in [("policy.toml", false), ("root.toml", true)] {
            self.file(
                name,
                &format!(
                    "version = 1\nname = \"containment\"\nabout = \"for tests\"\ntier = \"native\"\nroot = {root}\n\
                     [walls]\nlandlock = {}\n",
                    u8::from(guest().as_deref() != Some("uml"))
                ),
            )?;
        }
        Ok(())
    }

    /// Writes a file that everybody may read.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn file(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.path(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, text)?;
        fs::set_permissions(&path, Permissions::from_mode(0o644))?;
        Ok(path)
    }

    /// Makes something the caller's.
    ///
    /// # Errors
    /// It cannot be.
    pub fn give(&self, path: &Path) -> Result<()> {
        if rustix::process::geteuid().is_root() {
            chown(path, Some(self.uid), Some(self.uid))
                .with_context(|| format!("chown {}", path.display()))?;
        }
        Ok(())
    }

    /// What `casemate setup` does for a user, on files that only this test sees.
    fn set_up(&mut self) -> Result<()> {
        let uid = self.uid;
        let range = FIRST_SUBORDINATE + (std::process::id() % 65_536) * SUBORDINATE;
        for (name, line) in [
            ("passwd", format!("containment-{uid}:x:{uid}:{uid}::/nonexistent:/bin/sh")),
            ("subuid", format!("containment-{uid}:{range}:{SUBORDINATE}")),
            ("subgid", format!("containment-{uid}:{range}:{SUBORDINATE}")),
        ] {
            let host = fs::read_to_string(Path::new("/etc").join(name))
                .with_context(|| format!("could not read /etc/{name}"))?;
            self.file(&format!("setup/{name}"), &format!("{host}{line}\n"))?;
        }
        let lease = self.file(&format!("setup/lib/casemate/setup/{uid}.uids"), "")?;
        self.give(&lease)?;
        let mut enter = String::new();
        if Path::new(TREE).join("cgroup.controllers").exists() {
            let above = Path::new(TREE).join("casemate");
            let home = above.join(format!("user-{uid}"));
            let caller = home.join("caller");
            self.cgroups = vec![caller.clone(), home.clone()];
            fs::create_dir_all(&caller)?;
            for directory in [Path::new(TREE), &above, &home] {
                fs::write(directory.join("cgroup.subtree_control"), "+cpu +memory +pids")?;
            }
            for file in ["", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"] {
                self.give(&home.join(file))?;
                self.give(&caller.join(file))?;
            }
            enter = caller.join("cgroup.procs").to_string_lossy().into_owned();
        } else {
            for controller in CONTROLLERS {
                let home = Path::new(TREE).join(controller).join("casemate").join(format!("user-{uid}"));
                fs::create_dir_all(&home)?;
                self.give(&home)?;
                self.cgroups.push(home);
            }
        }
        self.file("setup/enter", &enter)?;
        Ok(())
    }

    /// A command as the caller, outside.
    pub fn outside(&self, path: impl AsRef<OsStr>) -> Command {
        let root = rustix::process::geteuid().is_root();
        match self.profile {
            Profile::UserAfterSetup => {
                let mut command = program("unshare");
                command.args(["--mount", "--propagation", "private", "/bin/sh", "-ec", SET_UP, "sh"]);
                command.arg(self.path("setup")).arg(self.uid.to_string()).arg(path);
                command
            }
            Profile::User if root => {
                let mut command = program(path);
                // The standard library drops the other groups with the uid.
                command.uid(self.uid).gid(self.uid);
                command
            }
            _ => program(path),
        }
    }

    /// The probe outside, as the caller: the positive control.
    ///
    /// # Errors
    /// It cannot be run, or says nothing that can be read.
    pub fn probe_outside(&self, words: &[&str]) -> Result<Facts> {
        let mut command = self.outside(self.path("probe/probe"));
        command.args(words).current_dir("/").stdin(Stdio::null());
        facts(&command.output()?)
    }

    /// A run of the probe inside, to be described further.
    pub fn inside(&self, mutant: Option<&str>) -> Inside<'_> {
        Inside {
            ground: self,
            mutant: mutant.map(str::to_owned),
            policy: self.path("policy.toml").into(),
            words: Vec::new(),
            env: Vec::new(),
        }
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        for path in &self.cgroups {
            for _ in 0..1000 {
                match fs::remove_dir(path) {
                    // The last processes are still being torn down, and their cgroups with them.
                    Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                    _ => break,
                }
            }
        }
    }
}

/// One run of Casemate.
#[derive(Debug)]
pub struct Inside<'a> {
    ground: &'a Ground,
    mutant: Option<String>,
    policy: OsString,
    words: Vec<OsString>,
    env: Vec<(String, String)>,
}

impl Inside<'_> {
    /// With a read zone.
    #[must_use]
    pub fn read(mut self, directory: &Path, at: &str) -> Self {
        let mut zone = directory.as_os_str().to_owned();
        zone.push(":");
        zone.push(at);
        self.words.extend(["--read".into(), zone]);
        self
    }

    /// With another policy: a name or a path.
    #[must_use]
    pub fn policy(mut self, policy: &str) -> Self {
        self.policy = policy.into();
        self
    }

    /// As root inside.
    #[must_use]
    pub fn as_root(mut self) -> Self {
        self.policy = self.ground.path("root.toml").into();
        self.words.push("--root".into());
        self
    }

    /// With a variable in the caller's environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The whole command.
    pub fn command(&self, words: &[&str]) -> Command {
        let ground = self.ground;
        let name = if self.mutant.is_some() { "bin/casemate-mutant" } else { "bin/casemate" };
        let mut command = ground.outside(ground.path(name));
        command.env_remove("CASEMATE_MUTANT").envs(self.mutant.iter().map(|name| ("CASEMATE_MUTANT", name)));
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.args(["run", "--json", "--state"]).arg(ground.path("state"));
        command.arg("--policy").arg(&self.policy).args(&self.words);
        let mut zone = ground.path("probe").into_os_string();
        zone.push(":/probe");
        command.arg("--read").arg(zone).arg("--").arg(PROBE).args(words);
        command.current_dir("/").stdin(Stdio::null());
        command
    }

    /// Runs the probe to its end.
    ///
    /// # Errors
    /// It did not get that far, or says nothing that can be read.
    pub fn facts(&self, words: &[&str]) -> Result<Facts> {
        facts(&self.command(words).output()?)
    }
}

fn facts(output: &Output) -> Result<Facts> {
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!("{} with {}: {errors}", String::from_utf8_lossy(&output.stdout), output.status);
    }
    serde_json::from_slice(&output.stdout)
        .with_context(|| format!("not facts: {}", String::from_utf8_lossy(&output.stdout)))
}

/// The directory of the programs that were built with this test.
fn built_beside() -> Result<PathBuf> {
    // TARGET/debug/deps/containment-HASH
    let test = std::env::current_exe()?;
    let directory = test.ancestors().nth(2).context("the test is not in a target directory")?;
    Ok(directory.to_owned())
}

/// In a mount namespace of its own: the test's files over the machine's, then a program as the user.
const SET_UP: &str = r#"
files=$1 uid=$2; shift 2
for name in passwd subuid subgid; do mount --bind "$files/$name" "/etc/$name"; done
mount --bind "$files/lib" /var/lib
enter=$(cat "$files/enter")
if [ -n "$enter" ]; then echo $$ >"$enter"; fi
exec setpriv --reuid="$uid" --regid="$uid" --clear-groups -- "$@"
"#;
