//! Many writers, one log.

use crate::log::{Commands, clean, event, open};
use ledger::{read, verify};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::TempDir;

const WRITERS: u32 = 4;
const RECORDS: u32 = 500;

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

/// Not a test by itself: what the processes of the next one run.
#[test]
fn one_writer_of_several_processes() {
    if let Some(state) = std::env::var_os("LEDGER_TEST_STATE") {
        write(Path::new(&state), std::process::id());
    }
}

#[test]
fn four_processes_leave_no_gap() {
    let state = TempDir::new().unwrap();
    #[allow(clippy::disallowed_methods, reason = "a test of several processes has to start them")]
    let start = || {
        std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "together::one_writer_of_several_processes"])
            .env("LEDGER_TEST_STATE", state.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap()
    };
    let writers: Vec<_> = (0..WRITERS).map(|_| start()).collect();
    for mut writer in writers {
        assert!(writer.wait().unwrap().success());
    }
    assert_eq!(clean(state.path()).records, u64::from(WRITERS * RECORDS));
}
