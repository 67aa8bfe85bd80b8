//! What opening, recording and sealing cost: the median of many, in microseconds.

use ledger::{Ledger, verify};
use model::{Clock, Decision, Effect, Event, Moment, SandboxId};
use std::path::Path;
use std::time::{Duration, Instant};

struct Still;

impl Clock for Still {
    fn now(&self) -> Moment {
        Moment { wall_ns: 1_700_000_000_000_000_000, boot_ns: 1 }
    }
}

struct Command;

impl Effect for Command {
    fn events(&self) -> Vec<Event> {
        vec![event()]
    }
}

fn event() -> Event {
    Event::Exec {
        sandbox: SandboxId::from_random([1; 20]),
        exec: 1,
        argv: vec!["python3".into(), "-c".into(), "print('hello')".into()],
        cwd: "/work".into(),
        user: "agent".into(),
        decision: Decision { verdict: "allow", rule: "exec".into() },
    }
}

fn open(state: &Path) -> Ledger {
    Ledger::open(state, Box::new(Still)).expect("a state directory that can be written")
}

fn median(name: &str, times: usize, mut once: impl FnMut() -> Duration) {
    let mut all: Vec<Duration> = (0..times).map(|_| once()).collect();
    all.sort();
    println!("{name:<40} {:>8.1} us", all[all.len() / 2].as_secs_f64() * 1e6);
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn main() {
    // Beside the build's output rather than in /tmp, which often is no disk.
    let place = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let state = place.path();
    median("open, new state", 20, || {
        let fresh = tempfile::TempDir::new_in(state).expect("a directory");
        timed(|| drop(open(fresh.path())))
    });
    let mut ledger = open(state);
    let mut fill = |count: usize| (0..count).for_each(|_| ledger.observe(event()).expect("room on the disk"));
    fill(100_000 - 32 - 128);
    open(state).seal().expect("a key");
    fill(128);
    median("open, 128 entries in the tail, unsealed", 1000, || timed(|| drop(open(state))));
    open(state).seal().expect("a key");
    median("open, 128 entries in the tail, sealed", 1000, || timed(|| drop(open(state))));
    median("observe", 2000, || timed(|| ledger.observe(event()).expect("room on the disk")));
    median("record", 2000, || timed(|| drop(ledger.record(Command).expect("room on the disk"))));
    median("observe, then seal", 2000, || {
        ledger.observe(event()).expect("room on the disk");
        timed(|| drop(ledger.seal().expect("a key")))
    });
    median("open, observe, first seal", 200, || {
        let mut ledger = open(state);
        ledger.observe(event()).expect("room on the disk");
        timed(|| drop(ledger.seal().expect("a key")))
    });
    median("verify, 104,000 records", 3, || {
        timed(|| assert!(verify(state, None).is_ok_and(|r| r.problems.is_empty())))
    });
}
