//! Looks for what a sandbox may leave behind: processes, cgroups, mounts, locks and files.
//!
//! Orphans become our children, so that every process that a sandbox ever had is found below us, whatever it calls
//! itself. All else is found by the sandbox's id or in its state directory.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::fs::{major, minor};
use rustix::process::{Pid, Signal, WaitOptions, getpid, set_child_subreaper, waitpid};

use crate::program::{descendants, signal};

/// How deep beneath a directory for temporary files an id is looked for.
const DEPTH_MAX: usize = 4;
const POLL: Duration = Duration::from_millis(20);

/// From now on orphans of what we start become our children.
pub(crate) fn adopt_orphans() -> Result<()> {
    set_child_subreaper(Some(getpid())).context("could not become a subreaper")
}

/// Waits until nothing is left of these sandboxes. No program that we started may be running.
///
/// # Errors
///
/// Names what is still there when the time is over.
pub(crate) fn wait_gone(state: &Path, ids: &[String], limit: Duration) -> Result<()> {
    let start = Instant::now();
    loop {
        let left = list(state, ids)?;
        if left.is_empty() {
            return Ok(());
        }
        if start.elapsed() >= limit {
            // Told of, not left running: they are all below us.
            descendants(getpid().as_raw_nonzero().get() as u32)
                .into_iter()
                .for_each(|pid| signal(pid, Signal::KILL));
            bail!("left behind after {} s:\n  {}", limit.as_secs(), left.join("\n  "));
        }
        sleep(POLL);
    }
}

fn list(state: &Path, ids: &[String]) -> Result<Vec<String>> {
    let mut left = processes();
    let names_one = |text: &str| ids.iter().any(|id| text.contains(id.as_str()));
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let state_name = state.to_string_lossy();
    left.extend(
        mounts
            .lines()
            .filter(|line| names_one(line) || line.contains(&*state_name))
            .map(|line| format!("mount {line}")),
    );
    search(Path::new("/sys/fs/cgroup"), usize::MAX, &|name| names_one(name), &mut left);
    for place in ["/tmp", "/var/tmp", "/run", "/dev/shm", "/var/lib/casemate"] {
        search(Path::new(place), DEPTH_MAX, &|name| names_one(name), &mut left);
    }
    search(state, usize::MAX, &|name| names_one(name), &mut left);
    left.extend(locks(state)?);
    Ok(left)
}

/// Processes below us that have not ended. Those that have are reaped.
fn processes() -> Vec<String> {
    let mut left = Vec::new();
    for pid in descendants(getpid().as_raw_nonzero().get() as u32) {
        let reaped = Pid::from_raw(pid as i32).map(|pid| waitpid(Some(pid), WaitOptions::NOHANG));
        if matches!(reaped, Some(Ok(Some(_)))) {
            continue;
        }
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let words = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default().replace('\0', " ");
        left.push(format!("process {} {words}", stat.split(')').next().unwrap_or_default()));
    }
    left
}

/// Names of files and directories beneath one that hold an id.
fn search(directory: &Path, depth: usize, wanted: &dyn Fn(&str) -> bool, found: &mut Vec<String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        if wanted(&entry.file_name().to_string_lossy()) {
            found.push(format!("file {}", entry.path().display()));
        } else if kind.is_dir() && depth > 1 {
            search(&entry.path(), depth - 1, wanted, found);
        }
    }
}

/// Locks on files in the state directory.
fn locks(state: &Path) -> Result<Vec<String>> {
    let mut files = HashSet::new();
    collect(state, &mut files);
    let locks = fs::read_to_string("/proc/locks").context("no /proc/locks")?;
    // `1: FLOCK  ADVISORY  WRITE 1234 08:01:5678 0 EOF`
    let held = locks.lines().filter(|line| line.split_whitespace().any(|word| files.contains(word)));
    Ok(held.map(|line| format!("lock {line}")).collect())
}

/// The files beneath a directory as `/proc/locks` names them.
fn collect(directory: &Path, files: &mut HashSet<String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let Ok(metadata) = entry.metadata() else { continue };
        let device = metadata.dev();
        files.insert(format!("{:02x}:{:02x}:{}", major(device), minor(device), metadata.ino()));
        if metadata.is_dir() {
            collect(&entry.path(), files);
        }
    }
}
