//! Nothing that was acknowledged is lost, wherever a writer dies.

use crate::log::{Commands, clean, copy, files, fill, open, sealed};
use ledger::{Ledger, read, verify};
use proptest::prelude::*;
use std::fs;
use std::path::Path;

/// Opens a log as a new process does, records one thing, and gives its number.
#[track_caller]
fn go_on(state: &Path) -> u64 {
    let seq = open(state).record(Commands(vec![1000])).unwrap().receipt().seq;
    let report = clean(state);
    assert_eq!((report.records, report.torn_bytes), (seq + 1, 0));
    seq
}

#[test]
fn a_writer_killed_at_any_byte_of_an_append_loses_nothing_acknowledged() {
    let state = sealed(20);
    let tail = state.path().join("log/tail");
    let acknowledged = fs::read(&tail).unwrap();
    let _ = open(state.path()).record(Commands(vec![1, 2, 3])).unwrap();
    let whole = fs::read(&tail).unwrap();
    for end in acknowledged.len()..=whole.len() {
        fs::write(&tail, &whole[..end]).unwrap();
        let before = clean(state.path());
        assert_eq!(before.covered, Some(19));
        // What stands there whole may stay; a part of a record may not.
        assert_eq!(go_on(state.path()), before.records, "killed at byte {end}");
    }
}

#[test]
fn a_power_cut_that_leaves_zeros_anywhere_in_an_append_loses_nothing_acknowledged() {
    let state = sealed(20);
    let tail = state.path().join("log/tail");
    let acknowledged = fs::read(&tail).unwrap().len();
    let _ = open(state.path()).record(Commands(vec![1, 2, 3])).unwrap();
    let whole = fs::read(&tail).unwrap();
    for start in acknowledged..whole.len() - 16 {
        let mut bytes = whole.clone();
        bytes[start..].fill(0);
        fs::write(&tail, bytes).unwrap();
        assert!(go_on(state.path()) >= 20, "zeros from byte {start}");
    }
}

/// The files of a log after each step of moving 256 entries out of the tail.
fn steps_of_a_roll() -> (tempfile::TempDir, Vec<(String, Vec<u8>)>) {
    let before = sealed(300 - 44);
    let after = copy(before.path());
    let _ = open(after.path()).record(Commands(vec![1])).unwrap();
    let names = ["log/tile/entries/000", "log/tile/0/000", "log/tail"];
    let steps = names.map(|name| (name.to_owned(), fs::read(after.path().join(name)).unwrap()));
    (before, steps.to_vec())
}

#[test]
fn a_writer_killed_at_any_step_of_a_roll_loses_nothing() {
    let (before, steps) = steps_of_a_roll();
    for done in 0..=2 {
        let state = copy(before.path());
        fs::create_dir_all(state.path().join("log/tile/entries")).unwrap();
        fs::create_dir_all(state.path().join("log/tile/0")).unwrap();
        for (name, bytes) in &steps[..done] {
            fs::write(state.path().join(name), bytes).unwrap();
        }
        fs::write(state.path().join("lock/ledger.new"), "half of a file").unwrap();
        assert_eq!(clean(state.path()).covered, Some(255));
        assert_eq!(go_on(state.path()), 256, "killed after {done} files");
    }
}

#[test]
fn a_file_that_a_killed_roll_left_is_verified_too() {
    let (state, steps) = steps_of_a_roll();
    let (name, bytes) = &steps[0];
    fs::create_dir_all(state.path().join("log/tile/entries")).unwrap();
    let mut changed = bytes.clone();
    changed[100] ^= 1;
    fs::write(state.path().join(name), changed).unwrap();
    let found = verify(state.path(), None).unwrap().problems;
    assert_eq!((found.len(), found[0].file.as_str()), (1, name.as_str()));
}

#[test]
fn a_writer_killed_while_it_creates_a_log_is_followed_by_one_that_can() {
    let whole = sealed(0);
    for kept in [vec![], vec!["keys/ledger.key"], vec!["keys/ledger.key", "keys/ledger.pub"]] {
        let state = tempfile::TempDir::new().unwrap();
        for name in kept {
            fs::create_dir_all(state.path().join("keys")).unwrap();
            fs::copy(whole.path().join(name), state.path().join(name)).unwrap();
        }
        fs::create_dir_all(state.path().join("log")).unwrap();
        assert_eq!(go_on(state.path()), 0);
    }
}

#[test]
fn an_open_writer_continues_behind_what_another_one_left_torn() {
    let state = sealed(5);
    let mut first = open(state.path());
    fill(&mut first, 1);
    let tail = state.path().join("log/tail");
    let mut bytes = fs::read(&tail).unwrap();
    bytes.extend_from_slice(b"E\x01");
    fs::write(&tail, bytes).unwrap();
    assert_eq!(verify(state.path(), None).unwrap().torn_bytes, 2);
    assert_eq!(first.record(Commands(vec![9])).unwrap().receipt().seq, 6);
    assert_eq!(clean(state.path()).torn_bytes, 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn hostile_bytes_in_place_of_any_file_make_no_panic(which in 0usize..5, at in 0usize..2000, hostile in proptest::collection::vec(any::<u8>(), 0..200)) {
        thread_local!(static STATE: tempfile::TempDir = sealed(270));
        STATE.with(|state| {
            let state = copy(state.path());
            let list = files(state.path());
            let file = &list[which % list.len()];
            let mut bytes = fs::read(file).unwrap();
            let at = at.min(bytes.len());
            bytes.splice(at..(at + hostile.len()).min(bytes.len()), hostile);
            fs::write(file, bytes).unwrap();
            let _ = verify(state.path(), None);
            let _ = read(state.path()).map(Iterator::count);
            if let Ok(mut ledger) = Ledger::open(state.path(), Box::new(crate::log::Ticking::default())) {
                let _ = ledger.record(Commands(vec![1]));
                let _ = ledger.seal();
            }
        });
    }
}
