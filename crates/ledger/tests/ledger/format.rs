//! What the files hold, read as the reference says and with other people's code.

use crate::log::{Commands, Ticking, clean, event, files, fill, open, sealed};
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use ledger::{Ledger, Recorded, read, verify};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use tempfile::TempDir;

#[test]
fn the_signed_root_is_the_one_that_an_independent_library_computes_from_the_records() {
    for count in [1, 2, 255, 256, 257, 600] {
        let state = sealed(count);
        let mut oracle = MemoryBackedTree::<oracle_sha2::Sha256, Vec<u8>>::new();
        read(state.path()).unwrap().for_each(|entry| oracle.push(entry.unwrap().line.into_bytes()));
        let checkpoint = clean(state.path()).checkpoint.unwrap();
        assert_eq!(checkpoint.size(), u64::from(count));
        assert_eq!(checkpoint.root().as_bytes().as_slice(), oracle.root().as_bytes().as_slice());
    }
}

#[test]
fn a_log_is_a_tail_and_full_tiles_and_nobody_else_may_read_it() {
    let state = sealed(600);
    let names: Vec<String> = files(state.path())
        .iter()
        .map(|file| file.strip_prefix(state.path()).unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        names,
        [
            "head",
            "keys/ledger.key",
            "keys/ledger.pub",
            "lock/ledger",
            "log/tail",
            "log/tile/0/000",
            "log/tile/0/001",
            "log/tile/entries/000",
            "log/tile/entries/001",
        ]
    );
    let mode = |name: &str| fs::metadata(state.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert!(names.iter().all(|name| mode(name) == 0o600));
    assert!(["keys", "lock", "log", "log/tile", "log/tile/entries"].iter().all(|name| mode(name) == 0o700));
}

#[test]
fn an_effect_of_several_events_is_one_record_each_and_one_receipt() {
    let state = TempDir::new().unwrap();
    let mut ledger = open(state.path());
    ledger.observe(event(0)).unwrap();
    let both = ledger.record((Commands(vec![1, 2]), Commands(vec![3]))).unwrap();
    assert_eq!(both.receipt().seq, 3);
    let (first, second): (Recorded<Commands>, Recorded<Commands>) = both.split();
    assert_eq!((first.receipt(), first.get()), (second.receipt(), &Commands(vec![1, 2])));
    assert_eq!(second.into_inner(), Commands(vec![3]));
    assert_eq!(clean(state.path()).records, 4);
}

#[test]
fn what_follows_the_last_checkpoint_is_uncovered_and_not_a_problem() {
    let state = sealed(300);
    fill(&mut open(state.path()), 7);
    let report = clean(state.path());
    assert_eq!((report.records, report.covered, report.uncovered), (307, Some(299), 7));
    let covered: Vec<bool> = read(state.path()).unwrap().map(|entry| entry.unwrap().covered).collect();
    assert_eq!(covered, [vec![true; 300], vec![false; 7]].concat());
}

#[test]
fn a_second_seal_of_the_same_records_writes_nothing() {
    let state = sealed(10);
    let tail = fs::read(state.path().join("log/tail")).unwrap();
    let checkpoint = open(state.path()).seal().unwrap();
    assert_eq!(Some(checkpoint), clean(state.path()).checkpoint);
    assert_eq!(fs::read(state.path().join("log/tail")).unwrap(), tail);
}

#[test]
fn an_empty_log_can_be_sealed_and_verified() {
    let report = clean(sealed(0).path());
    assert_eq!((report.records, report.covered, report.uncovered), (0, None, 0));
    assert!(report.checkpoint.is_some());
}

#[test]
fn a_writer_that_was_open_all_the_time_sees_what_others_rolled_away() {
    let state = TempDir::new().unwrap();
    let (mut first, mut second) = (open(state.path()), open(state.path()));
    fill(&mut first, 10);
    fill(&mut second, 600);
    assert_eq!(first.record(Commands(vec![1])).unwrap().receipt().seq, 610);
    assert_eq!(first.seal().unwrap().size(), 611);
    assert_eq!(second.seal().unwrap().size(), 611);
    clean(state.path());
}

#[test]
fn the_longest_events_fit_and_are_read_back() {
    let state = TempDir::new().unwrap();
    let mut ledger = Ledger::open(state.path(), Box::new(Ticking::default())).unwrap();
    for _ in 0..300 {
        let refused = vec!["x".repeat(3000); 100];
        let sandbox = model::SandboxId::from_random([0; 20]);
        ledger
            .observe(model::Event::HandedOut { sandbox, at: "/w".into(), files: 0, bytes: 0, refused })
            .unwrap();
    }
    ledger.seal().unwrap();
    assert_eq!(clean(state.path()).records, 300);
    assert!(read(state.path()).unwrap().all(|entry| entry.unwrap().line.len() <= 65_535));
}

#[test]
fn reading_and_verifying_change_nothing() {
    let state = sealed(300);
    let look = || -> Vec<_> {
        let list = files(state.path());
        list.into_iter()
            .map(|file| (fs::read(&file).unwrap(), fs::metadata(&file).unwrap().modified().unwrap(), file))
            .collect()
    };
    let before = look();
    verify(state.path(), None).unwrap();
    assert_eq!(read(state.path()).unwrap().count(), 300);
    assert_eq!(look(), before);
}
