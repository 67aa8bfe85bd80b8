//! What is changed is found, and its place is named.

use crate::log::{clean, copy, copy_into, files, fill, open, sealed};
use ledger::{Flaw, Problem, verify};
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// 512 in two bundles, the others in the tail.
const RECORDS: u32 = 532;

#[track_caller]
fn problems(state: &Path) -> Vec<Problem> {
    verify(state, None).unwrap().problems
}

/// Changes one byte of a file, looks, and puts it back.
#[track_caller]
fn assert_flip_is_found(state: &Path, file: &Path, place: u64) {
    let open = fs::OpenOptions::new().read(true).write(true).open(file).unwrap();
    let mut byte = [0];
    open.read_exact_at(&mut byte, place).unwrap();
    open.write_all_at(&[byte[0] ^ (1 << (place % 8))], place).unwrap();
    let found = problems(state);
    open.write_all_at(&byte, place).unwrap();
    assert!(!found.is_empty(), "{} at {place}", file.display());
}

#[test]
fn a_flip_of_any_byte_of_the_tail_is_found() {
    // One bundle less, because each of thousands of bytes costs a verification.
    let state = sealed(RECORDS - 256);
    let len = fs::metadata(state.path().join("log/tail")).unwrap().len();
    std::thread::scope(|scope| {
        for odd in 0..2 {
            let mine = copy(state.path());
            scope.spawn(move || {
                let tail = mine.path().join("log/tail");
                (odd..len).step_by(2).for_each(|place| assert_flip_is_found(mine.path(), &tail, place));
                clean(mine.path());
            });
        }
    });
}

#[test]
fn a_flip_of_a_byte_in_a_bundle_or_a_tile_is_found() {
    let state = sealed(RECORDS);
    let tiles: Vec<(PathBuf, u64)> = files(&state.path().join("log/tile"))
        .into_iter()
        .map(|file| (file.clone(), fs::metadata(file).unwrap().len()))
        .collect();
    let all: u64 = tiles.iter().map(|(_, len)| len).sum();
    let mut random = 1u64;
    for _ in 0..2000 {
        // Knuth's MMIX generator: the same places each time.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut place = (random >> 16) % all;
        let (file, _) = tiles
            .iter()
            .find(|(_, len)| {
                place < *len || {
                    place -= len;
                    false
                }
            })
            .unwrap();
        assert_flip_is_found(state.path(), file, place);
    }
    clean(state.path());
}

#[test]
fn a_flipped_byte_of_the_head_is_found() {
    let state = sealed(300);
    let head = state.path().join("head");
    (0..fs::metadata(&head).unwrap().len())
        .for_each(|place| assert_flip_is_found(state.path(), &head, place));
}

#[test]
fn a_deleted_file_and_an_appended_byte_are_found_in_every_file() {
    let state = sealed(RECORDS);
    for file in files(&state.path().join("log")) {
        let bytes = fs::read(&file).unwrap();
        fs::remove_file(&file).unwrap();
        assert_eq!(problems(state.path())[0].flaw, Flaw::Missing, "{}", file.display());
        for byte in [0, b'E', b'\n', 0xff] {
            fs::write(&file, [bytes.as_slice(), &[byte]].concat()).unwrap();
            let report = verify(state.path(), None).unwrap();
            // One byte behind the tail's last frame is how a torn write begins. It is counted, not hidden.
            let torn = file.ends_with("tail") && report.torn_bytes == 1;
            assert!(torn || !report.problems.is_empty(), "{}", file.display());
        }
        fs::write(&file, bytes).unwrap();
    }
    clean(state.path());
}

#[test]
fn a_file_truncated_anywhere_is_found() {
    let state = sealed(RECORDS);
    for file in files(&state.path().join("log")) {
        let bytes = fs::read(&file).unwrap();
        for end in (0..bytes.len()).step_by(97) {
            fs::write(&file, &bytes[..end]).unwrap();
            assert!(!problems(state.path()).is_empty(), "{} at {end}", file.display());
        }
        fs::write(&file, bytes).unwrap();
    }
}

#[test]
fn names_that_no_ledger_writes_are_found() {
    let state = sealed(300);
    let log = state.path().join("log");
    for name in ["note", "tile/note", "tile/0/001", "tile/1/000", "tile/entries/0", "tile/0/000.p", "tail2"] {
        let file = log.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "x").unwrap();
        let name = format!("log/{name}");
        assert_eq!(
            problems(state.path()),
            [Problem { file: name, offset: None, seq: None, flaw: Flaw::Unknown }]
        );
        fs::remove_file(&file).unwrap();
    }
    fs::create_dir(log.join("other")).unwrap();
    assert_eq!(problems(state.path())[0].flaw, Flaw::Unknown);
    fs::remove_dir(log.join("other")).unwrap();

    let tile = log.join("tile/0/000");
    fs::rename(&tile, state.path().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink("../../../elsewhere", &tile).unwrap();
    assert!(problems(state.path()).iter().any(|problem| problem.flaw == Flaw::NotAFile));
}

/// The whole frames of a tail, after its header, as `(offset, bytes)`; read as `docs/reference/ledger.md` says.
fn frames(tail: &[u8]) -> Vec<(usize, Vec<u8>)> {
    let first = u64::from_be_bytes(tail[12..20].try_into().unwrap());
    let note = 52 + 32 * first.count_ones() as usize;
    let mut at = note + 2 + usize::from(u16::from_be_bytes([tail[note], tail[note + 1]])) + 32;
    let mut list = Vec::new();
    while at < tail.len() {
        let len = 6 + usize::from(u16::from_be_bytes([tail[at + 1], tail[at + 2]])) + 32;
        list.push((at, tail[at..at + len].to_vec()));
        at += len;
    }
    list
}

/// Rewrites the frames of a log's tail; gives the first problem.
#[track_caller]
fn first_problem_after(change: impl FnOnce(&mut Vec<Vec<u8>>)) -> Problem {
    let state = sealed(RECORDS);
    let file = state.path().join("log/tail");
    let tail = fs::read(&file).unwrap();
    let list = frames(&tail);
    let mut changed: Vec<Vec<u8>> = list.iter().map(|(_, bytes)| bytes.clone()).collect();
    change(&mut changed);
    fs::write(&file, [&tail[..list[0].0], &changed.concat()].concat()).unwrap();
    problems(state.path()).remove(0)
}

#[test]
fn a_record_of_the_tail_that_is_swapped_dropped_or_inserted_is_found_and_its_place_named() {
    let swapped = first_problem_after(|frames| frames.swap(3, 4));
    assert_eq!((swapped.seq, swapped.flaw), (Some(515), Flaw::Seq(516)));
    let dropped = first_problem_after(|frames| drop(frames.remove(3)));
    assert_eq!((dropped.seq, dropped.flaw), (Some(515), Flaw::Seq(516)));
    let inserted = first_problem_after(|frames| frames.insert(3, frames[2].clone()));
    assert_eq!((inserted.seq, inserted.flaw), (Some(515), Flaw::Seq(514)));
    let unsealed = first_problem_after(|frames| drop(frames.pop()));
    assert_eq!(unsealed.flaw, Flaw::Unsealed(u64::from(RECORDS)));
}

/// The entries of a bundle, each with its length.
fn entries(bundle: &[u8]) -> Vec<Vec<u8>> {
    let mut list = Vec::new();
    let mut at = 0;
    while at < bundle.len() {
        let len = 2 + usize::from(u16::from_be_bytes([bundle[at], bundle[at + 1]]));
        list.push(bundle[at..at + len].to_vec());
        at += len;
    }
    list
}

#[test]
fn a_record_of_a_bundle_that_is_swapped_dropped_or_inserted_is_found_and_its_place_named() {
    type Change = fn(&mut Vec<Vec<u8>>);
    let changes: [Change; 3] = [
        |entries| entries.swap(7, 8),
        |entries| drop(entries.remove(7)),
        |entries| entries.insert(7, entries[3].clone()),
    ];
    for change in changes {
        let state = sealed(RECORDS);
        let file = state.path().join("log/tile/entries/001");
        let mut list = entries(&fs::read(&file).unwrap());
        change(&mut list);
        fs::write(&file, list.concat()).unwrap();
        let first = problems(state.path()).remove(0);
        assert_eq!((first.file.as_str(), first.seq), ("log/tile/entries/001", Some(256 + 7)));
        assert_eq!(first.flaw, Flaw::Leaf);
    }
}

#[test]
fn a_log_that_is_put_back_to_an_older_state_is_found_and_not_continued() {
    let state = sealed(RECORDS);
    let older = copy(state.path());
    let mut ledger = open(state.path());
    fill(&mut ledger, 3);
    ledger.seal().unwrap();
    fs::remove_dir_all(state.path().join("log")).unwrap();
    copy_into(&older.path().join("log"), &state.path().join("log"));
    let flaw = problems(state.path()).remove(0).flaw;
    assert_eq!(flaw, Flaw::Truncated { records: 532, sealed: 535 });
    let clock = Box::new(crate::log::Ticking::default());
    let refused = ledger::Ledger::open(state.path(), clock).err().unwrap().to_string();
    assert!(refused.ends_with("holds 532 records, but 535 were sealed: the log was truncated"), "{refused}");
    assert!(ledger.observe(crate::log::event(0)).is_err());
}

#[test]
fn a_deleted_log_does_not_begin_anew() {
    let state = sealed(3);
    fs::remove_dir_all(state.path().join("log")).unwrap();
    let clock = Box::new(crate::log::Ticking::default());
    assert!(ledger::Ledger::open(state.path(), clock).is_err());
    assert_eq!(problems(state.path())[0].flaw, Flaw::Missing);
}

#[test]
fn a_history_that_was_rewritten_with_the_key_is_found_by_a_checkpoint_saved_elsewhere() {
    let state = sealed(300);
    let saved = verify(state.path(), None).unwrap().checkpoint.unwrap();
    fill(&mut open(state.path()), 5);
    assert_eq!(verify(state.path(), Some(saved.note())).unwrap().problems, []);

    for records in [299, 300, 400] {
        fs::remove_dir_all(state.path().join("log")).unwrap();
        fs::remove_file(state.path().join("head")).unwrap();
        let mut forged = open(state.path());
        fill(&mut forged, 2);
        let _ = forged.record(crate::log::Commands(vec![77])).unwrap();
        fill(&mut forged, records - 3);
        forged.seal().unwrap();
        clean(state.path());
        let found = verify(state.path(), Some(saved.note())).unwrap().problems;
        assert_eq!(found.iter().map(|problem| &problem.flaw).collect::<Vec<_>>(), [&Flaw::Rewritten]);
    }
}

#[test]
fn a_saved_checkpoint_of_another_log_is_refused() {
    let (state, other) = (sealed(10), sealed(10));
    let saved = verify(other.path(), None).unwrap().checkpoint.unwrap();
    let found = verify(state.path(), Some(saved.note())).unwrap().problems;
    assert_eq!(found[0].flaw, Flaw::Signature);
    assert_eq!(verify(state.path(), Some("not a note")).unwrap().problems[0].flaw, Flaw::NotACheckpoint);
}

#[test]
fn a_log_with_a_sealed_record_that_was_changed_is_not_continued() {
    // In the body of the second record: a flip, and zeros as a crash leaves them at the end of a file.
    for damage in [&b"X"[..], &[0; 40]] {
        let state = sealed(5);
        let file = state.path().join("log/tail");
        let mut bytes = fs::read(&file).unwrap();
        let second = bytes.windows(7).position(|window| window == b"\"seq\":1").unwrap();
        bytes[second..][..damage.len()].copy_from_slice(damage);
        fs::write(&file, bytes).unwrap();
        let mut ledger = open(state.path());
        let refused = ledger.record(crate::log::Commands(vec![1])).unwrap_err().to_string();
        assert!(refused.contains("is damaged at byte"), "{refused}");
    }
}
