//! Many writers, one log.

use crate::group;
use crate::log::{Commands, clean, event, open};
use ledger::{read, verify};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::TempDir;

const WRITERS: u32 = 4;
const RECORDS: u32 = 500;
const THREADS: u32 = 8;

fn write(state: &Path, writer: u32) -> Vec<u64> {
    let mut ledger = open(state);
    let mut receipts = Vec::new();
    for n in 0..RECORDS {
        match n % 3 {
            0 => ledger.observe(event(writer * RECORDS + n)).unwrap(),
            _ => receipts.push(ledger.record(Commands(vec![writer * RECORDS + n])).unwrap().receipt().seq),
        }
        if n % 100 == 99 {
            ledger.seal().unwrap();
        }
    }
    receipts
}

#[test]
fn four_writers_and_a_verifier_at_once_leave_no_gap() {
    let state = TempDir::new().unwrap();
    let busy = AtomicBool::new(true);
    let receipts: Vec<u64> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|n| {
                scope.spawn({
                    let state = state.path();
                    move || write(state, n)
                })
            })
            .collect();
        scope.spawn(|| {
            while busy.load(Ordering::Relaxed) {
                let report = match verify(state.path(), None) {
                    Ok(report) if report.records > 0 => report,
                    // The log is being created.
                    _ => continue,
                };
                assert_eq!(report.problems, vec![]);
            }
        });
        let receipts = writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect();
        busy.store(false, Ordering::Relaxed);
        receipts
    });
    assert_eq!(receipts.iter().collect::<BTreeSet<_>>().len(), receipts.len());
    assert_eq!(clean(state.path()).records, u64::from(WRITERS * RECORDS));
    let execs: BTreeSet<u64> = read(state.path())
        .unwrap()
        .map(|entry| {
            serde_json::from_str::<serde_json::Value>(&entry.unwrap().line).unwrap()["exec"].as_u64().unwrap()
        })
        .collect();
    assert_eq!(execs.len(), (WRITERS * RECORDS) as usize);
}

/// Not a test by itself: what processes of the next ones run.
#[test]
fn one_writer_of_several_processes() {
    if let Some(state) = std::env::var_os("LEDGER_TEST_STATE") {
        write(Path::new(&state), std::process::id());
    }
}

/// The same, with a group of eight threads.
#[test]
fn one_group_of_several_processes() {
    let Some(state) = std::env::var_os("LEDGER_TEST_STATE") else { return };
    let group = group::start(Path::new(&state));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for n in 0..RECORDS / THREADS / 2 {
                    group::record(&group, n).unwrap();
                    group.observe(event(n));
                    if n % 10 == 9 {
                        group::seal(&group).unwrap();
                    }
                }
            });
        }
    });
}

fn start(state: &Path, test: &str) -> Child {
    #[allow(clippy::disallowed_methods, reason = "a test of several processes has to start them")]
    std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test])
        .env("LEDGER_TEST_STATE", state)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn four_processes_leave_no_gap() {
    let state = TempDir::new().unwrap();
    let start = |_| start(state.path(), "together::one_writer_of_several_processes");
    for mut writer in (0..WRITERS).map(start).collect::<Vec<_>>() {
        assert!(writer.wait().unwrap().success());
    }
    assert_eq!(clean(state.path()).records, u64::from(WRITERS * RECORDS));
}

#[test]
fn groups_and_single_writers_of_four_processes_leave_no_gap() {
    let state = TempDir::new().unwrap();
    let tests = ["together::one_group_of_several_processes", "together::one_writer_of_several_processes"];
    for mut writer in tests.repeat(2).iter().map(|test| start(state.path(), test)).collect::<Vec<_>>() {
        assert!(writer.wait().unwrap().success());
    }
    let groups = RECORDS / THREADS / 2 * 2 * THREADS;
    assert_eq!(clean(state.path()).records, u64::from(2 * RECORDS + 2 * groups));
}

#[test]
fn a_process_killed_while_its_group_writes_harms_no_record_of_others() {
    let state = TempDir::new().unwrap();
    for round in 0..10 {
        let mut other = start(state.path(), "together::one_group_of_several_processes");
        let group = group::start(state.path());
        let told: Vec<u64> = (0..5 * round).map(|n| group::record(&group, n).unwrap().seq).collect();
        other.kill().unwrap();
        other.wait().unwrap();
        let last = group::record(&group, 1000).unwrap().seq;
        let report = clean(state.path());
        assert_eq!((report.records, report.torn_bytes), (last + 1, 0));
        let lines = group::lines(state.path());
        for (n, seq) in told.into_iter().enumerate() {
            assert_eq!(lines[seq as usize]["exec"], n);
        }
    }
}
