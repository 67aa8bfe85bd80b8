//! CT-22: processes and threads.

use crate::bombs::{Casemate, ended_by, finished, hits, number, red};
use anyhow::{Result, ensure};
use behaviour::{Place, Who};

const COMPUTE: &str = "pids = 40\nmemory = \"512MiB\"\nwall = \"30s\"";

/// Starts children that wait, 600 at most, and says how many there were.
const FORKS: &str = "
import os, signal, sys
children = []
for _ in range(600):
    try: pid = os.fork()
    except OSError: break
    if pid == 0: signal.pause()
    children.append(pid)
print(f'processes={len(children)}', flush=True)
for pid in children: os.kill(pid, signal.SIGKILL)
for pid in children: os.wait()
sys.exit(21)
";
const THREADS: &str = "
import os, sys, threading, _thread
_thread.stack_size(65536)
stay, count = threading.Event(), 0
for _ in range(600):
    try: _thread.start_new_thread(stay.wait, ())
    except RuntimeError: break
    count += 1
print(f'processes={count}', flush=True)
os._exit(21)
";

behaviour::for_each_profile! {
    processes_are_refused_past_the_limit
    threads_are_refused_past_the_limit
    the_checks_of_processes_notice_a_missing_limit
    a_fork_bomb_ends_with_the_time_and_nothing_else_does
    one_sandbox_at_its_limit_leaves_another_alone
}

fn bounded(casemate: &Casemate, place: &Place, program: &str) -> Result<()> {
    let ended = casemate.python(place, COMPUTE, &[], program)?;
    finished(&ended, 21)?;
    let count = number(&ended, "processes")?;
    ensure!((20..40).contains(&count), "{count} processes");
    // Without a cgroup nobody counts refusals: the limit holds and goes unnamed.
    let named: &[&str] = if place.who() == Who::Root { &["pids"] } else { &[] };
    hits(place, &ended, named)
}

fn processes_are_refused_past_the_limit(place: &Place) -> Result<()> {
    bounded(&Casemate::real()?, place, FORKS)
}

fn threads_are_refused_past_the_limit(place: &Place) -> Result<()> {
    bounded(&Casemate::real()?, place, THREADS)
}

fn the_checks_of_processes_notice_a_missing_limit(place: &Place) -> Result<()> {
    let mutant = Casemate::without("pids");
    red(bounded(&mutant, place, FORKS), "600 processes")?;
    red(bounded(&mutant, place, THREADS), "600 processes")
}

fn a_fork_bomb_ends_with_the_time_and_nothing_else_does(place: &Place) -> Result<()> {
    let bomb = "
import os
while True:
    try: os.fork()
    except OSError: pass
";
    let compute = "pids = 64\ncpus = 0.5\nwall = \"1500ms\"";
    let ended = Casemate::real()?.python(place, compute, &[], bomb)?;
    ended_by(place, &ended, "wall", 124)?;
    hits(place, &ended, if place.who() == Who::Root { &["wall", "pids"] } else { &["wall"] })
}

fn one_sandbox_at_its_limit_leaves_another_alone(place: &Place) -> Result<()> {
    use std::io::BufRead;
    // Both belong to the same host user in the user profile: the limit is the sandbox's, not the user's.
    let hold = "
import os, signal, sys
while True:
    try: pid = os.fork()
    except OSError: break
    if pid == 0: signal.pause()
print('full', flush=True)
signal.pause()
";
    let casemate = Casemate::real()?;
    let mut command = casemate.run(place, COMPUTE)?;
    command.args(["--", "python3", "-c", hold]).stdin(std::process::Stdio::null());
    let mut child =
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn()?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        std::io::BufReader::new(stdout).read_line(&mut line)?;
    }
    let other = bounded(&casemate, place, FORKS);
    behaviour::signal(&child, rustix::process::Signal::TERM)?;
    let ended = behaviour::collect(child)?;
    assert_eq!((line.as_str(), ended.code()), ("full\n", 143), "{}", ended.err());
    other
}
