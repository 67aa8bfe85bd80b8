//! Want of descriptors, clients that do not listen, and what a launcher inherits.

use crate::place::{PATIENCE, Place, Who, launcher_ends, load_percent, within};
use node::launcher::Client;
use node::launcher::protocol::{Order, Report};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use std::time::{Duration, Instant};

/// More than a launcher takes that has little to do, and less than one that turns in circles. In per cent.
const LOAD_MAX: u64 = 50;

#[test]
fn a_launcher_without_descriptors_waits_and_lets_in_who_waited() {
    Place::with(Who::User, |place| {
        let launcher = place.launcher();
        let pid = Pid::from_raw(launcher);
        let first = Client::connect(&place.state()).unwrap();
        // What it holds it keeps; the hard limit, which an ordinary user could not raise again, stays.
        let maximum = prlimit_of(launcher);
        let scarce = Rlimit { current: Some(1), maximum };
        let had = prlimit(pid, Resource::Nofile, scarce).unwrap();
        let state = place.state();
        let waiting = std::thread::spawn(move || Client::connect(&state).map(|_| ()));
        let load = load_percent(launcher);
        // Whoever is in is heard.
        first.send(&Order::List, &[]).unwrap();
        assert_eq!(first.receive_within(PATIENCE).unwrap().unwrap().0, Report::AllTold);
        prlimit(pid, Resource::Nofile, had).unwrap();
        assert!(waiting.join().unwrap().is_ok());
        assert!(load < LOAD_MAX, "{load} %");
    });
}

#[test]
fn a_client_that_orders_and_does_not_listen_waits() {
    Place::with(Who::User, |place| {
        let launcher = place.launcher();
        let client = Client::connect(&place.state()).unwrap();
        let mut orders = 0_u32;
        let mut refused_at = Instant::now();
        // Until nothing is taken any more.
        while refused_at.elapsed() < Duration::from_millis(300) {
            if client.send(&Order::List, &[]).is_ok() {
                orders += 1;
                refused_at = Instant::now();
            }
        }
        assert!(orders > 1024, "{orders}");
        let load = load_percent(launcher);
        assert!(load < LOAD_MAX, "{load} %");
        // It is answered all the same.
        for _ in 0..orders {
            let report = within("an answer", || client.receive_within(PATIENCE).unwrap());
            assert_eq!(report.0, Report::AllTold);
        }
    });
}

#[test]
fn a_launcher_that_cannot_come_up_is_not_started_without_end() {
    Place::with(Who::User, |place| {
        let begun = Instant::now();
        // No file may have a byte: the program inside cannot be put into memory.
        let ended = place.ensure(&["/bin/sh", "-c", "ulimit -f 0; exec \"$0\" \"$@\""]);
        assert!(!ended.status.success());
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(said.contains("the launcher ended 3 times before it served"), "{said}");
        assert!(begun.elapsed() < Duration::from_secs(5));
    });
}

#[test]
fn a_launcher_has_no_signal_blocked_that_its_parent_had() {
    Place::with(Who::User, |place| {
        let started = place.ensure(&["/usr/bin/env", "--block-signal=TERM,INT,HUP"]);
        assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
        let launcher = place.launcher();
        for pid in [launcher, crate::place::keeper_of(launcher)] {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            assert!(status.contains("\nSigBlk:\t0000000000000000\n"), "{status}");
        }
        let launcher_pid = Pid::from_raw(launcher).unwrap();
        rustix::process::kill_process(launcher_pid, rustix::process::Signal::TERM).unwrap();
        assert!(launcher_ends(launcher, PATIENCE));
    });
}

/// The hard limit on open files of a process.
fn prlimit_of(pid: i32) -> Option<u64> {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    files.split_whitespace().nth(1).unwrap().parse().ok()
}
