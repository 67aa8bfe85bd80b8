//! Starts programs. The one place in xtask that does, and the one that ends what it started.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::place;

/// A program to start. Everything xtask runs is made here.
pub(crate) fn program(name: impl AsRef<OsStr>) -> Command {
    #[allow(clippy::disallowed_methods, reason = "xtask starts build tools, not sandboxes")]
    Command::new(name)
}

/// Whether a program of this name is on `PATH`, or in the system's directories of programs.
pub(crate) fn exists(name: &str) -> bool {
    find(name).is_some()
}

/// Where a program of this name is.
pub(crate) fn find(name: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/bin"].map(Into::into))
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}

/// Runs to the end with our own output. Fails unless the status is 0.
pub(crate) fn check(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("could not start {}", shown(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", shown(command));
    }
    Ok(())
}

/// Runs to the end and returns what it wrote. Fails, with what it said, unless the status is 0.
pub(crate) fn read(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("could not start {}", shown(command)))?;
    if !output.status.success() {
        bail!("{} ended with {}\n{}", shown(command), output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs to the end, shows what it writes as it comes, and returns that too.
pub(crate) fn relayed(command: &Command) -> Result<(bool, String)> {
    let mut shell = program("/bin/sh");
    // One pipe keeps the order of both streams.
    shell.args(["-c", "exec \"$@\" 2>&1", "sh"]).arg(command.get_program()).args(command.get_args());
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.current_dir(command.get_current_dir().unwrap_or(&place::root())).stdout(Stdio::piped());
    let mut child = shell.spawn()?;
    let mut log = String::new();
    let mut lines = BufReader::new(child.stdout.take().context("no pipe")?);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        let text = String::from_utf8_lossy(&line);
        print!("{text}");
        log.push_str(&text);
        line.clear();
    }
    Ok((child.wait()?.success(), log))
}

/// Waits until it ends. `None`: the time is over and it still runs.
pub(crate) fn wait(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if start.elapsed() >= limit {
            return Ok(None);
        }
        sleep(Duration::from_millis(5).min(limit.saturating_sub(start.elapsed())));
    }
}

/// Ends a program that we started, with all that it started.
pub(crate) fn end(child: &mut Child) -> Result<()> {
    let mut doomed = descendants(child.id());
    doomed.push(child.id());
    for pid in doomed {
        signal(pid, Signal::KILL);
    }
    child.wait()?;
    Ok(())
}

/// Sends a signal to a process that we started. It may have ended already.
pub(crate) fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid as i32) {
        let _ = kill_process(pid, signal);
    }
}

/// The processes that it started, and those that they started.
pub(crate) fn descendants(root: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = pids().into_iter().filter_map(|pid| Some((pid, parent(pid)?))).collect();
    let mut found = vec![root];
    let mut next = 0;
    while next < found.len() {
        let of = found[next];
        found.extend(parents.iter().filter(|(_, parent)| *parent == of).map(|(pid, _)| *pid));
        next += 1;
    }
    found.split_off(1)
}

/// All processes that we can see.
pub(crate) fn pids() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
    // The name, in parentheses, may hold anything: what follows its last one counts.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    format!("`{}`", words.join(" "))
}
