//! Opening a long log costs what opening a short one does.

use crate::log::{clean, copy, event, open, sealed};
use ledger::{Flaw, read, verify};
use std::fs;

/// More than 65,536, so that there is a tile of the next level.
const RECORDS: u32 = 100_000;

#[test]
fn a_log_of_100_000_records_opens_from_its_tail_alone() {
    let state = sealed(RECORDS);
    let report = clean(state.path());
    assert_eq!((report.records, report.uncovered), (u64::from(RECORDS), 0));
    assert_eq!(
        read(state.path()).unwrap().filter(|entry| entry.as_ref().unwrap().covered).count(),
        RECORDS as usize
    );
    assert!(state.path().join("log/tile/1/000").exists());

    let copy = copy(state.path());
    fs::remove_dir_all(copy.path().join("log/tile")).unwrap();
    let mut ledger = open(copy.path());
    ledger.observe(event(1)).unwrap();
    assert_eq!(ledger.seal().unwrap().size(), u64::from(RECORDS) + 1);
    let found = verify(copy.path(), None).unwrap().problems;
    assert_eq!((found[0].file.as_str(), &found[0].flaw), ("log/tile/entries/000", &Flaw::Missing));

    let upper = state.path().join("log/tile/1/000");
    let mut bytes = fs::read(&upper).unwrap();
    bytes[32 * 5] ^= 1;
    fs::write(&upper, bytes).unwrap();
    let found = verify(state.path(), None).unwrap().problems;
    assert_eq!((found.len(), found[0].offset, &found[0].flaw), (1, Some(160), &Flaw::Node(5)));
}
