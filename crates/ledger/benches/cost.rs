//! What opening, recording and sealing cost, alone and in a group: the median of many, in microseconds.

use ledger::{Group, Ledger, verify};
use model::{Clock, Decision, Effect, Event, Moment, SandboxId, Source};
use std::path::Path;
use std::sync::mpsc::channel;
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
        source: Source::Caller,
        beside: None,
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

/// Recorders at one time.
const RECORDERS: usize = 64;
const RECORDS: usize = 500;

/// Records and waits, as many times; gives how long each took.
fn recorder(group: &Group, times: usize) -> Vec<Duration> {
    let (tell, told) = channel();
    let once = |_| {
        let tell = tell.clone();
        timed(|| {
            group.record(Command, move |recorded| {
                let _ = tell.send(recorded.is_ok());
            });
            assert_eq!(told.recv(), Ok(true), "room on the disk");
        })
    };
    (0..times).map(once).collect()
}

fn group(state: &Path) {
    let group = Group::start(state, Still).expect("a state directory that can be written");
    let mut lone = recorder(&group, 2000).into_iter();
    median("group, one recorder: record", 2000, || lone.next().unwrap_or_default());
    let start = Instant::now();
    let mut all: Vec<Duration> = std::thread::scope(|scope| {
        let recorders: Vec<_> = (0..RECORDERS).map(|_| scope.spawn(|| recorder(&group, RECORDS))).collect();
        recorders.into_iter().flat_map(|recorder| recorder.join().unwrap_or_default()).collect()
    });
    let per_second = all.len() as f64 / start.elapsed().as_secs_f64();
    all.sort();
    let at = |part: usize| all[all.len() * part / 100].as_secs_f64() * 1e6;
    println!("{:<40} {per_second:>8.0} per second", "group, 64 recorders");
    println!("{:<40} {:>8.1} us, p99 {:.1} us", "group, 64 recorders: record", at(50), at(99));
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
    group(state);
    median("verify, all of them", 3, || {
        timed(|| assert!(verify(state, None).is_ok_and(|r| r.problems.is_empty())))
    });
}
