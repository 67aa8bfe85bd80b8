//! Starts programs and waits for them, always with a deadline.

use crate::PATIENCE;
use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A program to start.
pub fn program(name: impl AsRef<OsStr>) -> Command {
    #[allow(clippy::disallowed_methods, reason = "a test starts what it tests")]
    Command::new(name)
}

/// Where a program of this name is, among the system's directories of programs.
pub fn find(name: &str) -> Option<std::path::PathBuf> {
    ["/usr/bin", "/bin", "/usr/sbin", "/sbin"]
        .into_iter()
        .map(|dir| std::path::Path::new(dir).join(name))
        .find(|file| file.is_file())
}

/// How a program ended and what it wrote.
#[derive(Debug)]
pub struct Ended {
    /// Its status.
    pub status: ExitStatus,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: Vec<u8>,
}

impl Ended {
    /// Its exit code, or minus the number of the signal that ended it.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| -self.status.signal().unwrap_or(0))
    }

    /// Standard output as text.
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// The report of `--json`: the last line of standard error.
    ///
    /// # Errors
    /// It is not one JSON value.
    pub fn report(&self) -> Result<serde_json::Value> {
        let text = self.err();
        let line = text.lines().last().context("nothing on standard error")?;
        serde_json::from_str(line).with_context(|| format!("not a report: {line}"))
    }
}

/// Waits until the child ends. A child that takes longer is killed, and that is an error.
///
/// # Errors
/// The time is over.
pub fn wait(child: &mut Child, limit: Duration) -> Result<ExitStatus> {
    let pidfd = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let time = Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: limit.subsec_nanos().into() };
    let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
    if poll(&mut fds, Some(&time))? == 0 {
        child.kill()?;
        child.wait()?;
        bail!("it did not end within {} s and was killed", limit.as_secs_f32());
    }
    Ok(child.wait()?)
}

/// Runs to the end with `input` on standard input, and gives what it wrote.
///
/// # Errors
/// It could not be started, or takes too long.
pub fn give(command: &mut Command, input: &[u8]) -> Result<Ended> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("could not start {command:?}"))?;
    let mut stdin = child.stdin.take().context("no pipe")?;
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        // Who does not read all of it closes the pipe; that is not ours to judge.
        let _ = stdin.write_all(&input);
    });
    let ended = collect(child)?;
    writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))?;
    Ok(ended)
}

/// Runs to the end without input.
///
/// # Errors
/// It could not be started, or takes too long.
pub fn finish(command: &mut Command) -> Result<Ended> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    collect(command.spawn().with_context(|| format!("could not start {command:?}"))?)
}

/// Waits for a child that runs, and gives what it wrote to those of its pipes that are still there.
///
/// # Errors
/// It takes too long.
pub fn collect(mut child: Child) -> Result<Ended> {
    let (stdout, stderr) = (child.stdout.take().map(reader), child.stderr.take().map(reader));
    let status = wait(&mut child, PATIENCE);
    let text = |reader: Option<JoinHandle<Vec<u8>>>| match reader.map(JoinHandle::join) {
        None => Ok(Vec::new()),
        Some(Ok(bytes)) => Ok(bytes),
        Some(Err(_)) => bail!("a reader panicked"),
    };
    let (stdout, stderr) = (text(stdout)?, text(stderr)?);
    let status = status.with_context(|| format!("it had said: {}", String::from_utf8_lossy(&stderr)))?;
    Ok(Ended { status, stdout, stderr })
}

fn reader(mut source: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = source.read_to_end(&mut bytes);
        bytes
    })
}

/// Signals a child.
///
/// # Errors
/// It is gone.
pub fn signal(child: &Child, signal: Signal) -> Result<()> {
    kill_process(Pid::from_child(child), signal).context("kill")
}

/// Asks again and again until the answer is there.
///
/// # Errors
/// The time is over; says what was waited for.
pub fn within<T>(limit: Duration, what: &str, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if Instant::now() >= end {
            bail!("not within {} s: {what}", limit.as_secs_f32());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Watches how much memory a process and its children have had at most.
#[derive(Debug)]
pub struct Peak {
    stop: Arc<AtomicBool>,
    watcher: JoinHandle<u64>,
}

impl Peak {
    /// Begins to watch.
    pub fn of(pid: u32) -> Peak {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let watcher = std::thread::spawn(move || {
            let mut most = 0;
            while !stopped.load(Ordering::Relaxed) {
                most = most.max(resident_kib(pid));
                std::thread::sleep(Duration::from_millis(3));
            }
            most
        });
        Peak { stop, watcher }
    }

    /// The most resident memory of one of them, in KiB.
    ///
    /// # Errors
    /// The watcher panicked, or never saw the process.
    pub fn kib(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        match self.watcher.join() {
            Ok(0) => bail!("the process was never seen"),
            Ok(most) => Ok(most),
            Err(_) => bail!("the watcher panicked"),
        }
    }
}

/// The high-water mark of a process, and of those of its children that are named like it (`casemate-warden`).
fn resident_kib(pid: u32) -> u64 {
    let mark = |pid: &str| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
        let ours = field("Name:")?.trim().starts_with("casemate");
        let kib = field("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok()?;
        ours.then_some(kib)
    };
    let own = pid.to_string();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children.split_whitespace().chain([own.as_str()]).filter_map(mark).max().unwrap_or(0)
}
