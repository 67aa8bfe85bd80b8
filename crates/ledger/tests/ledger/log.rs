//! Logs to test with.

use ledger::{Ledger, Report, verify};
use model::{Clock, Effect, Event, Moment, SandboxId};
use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A clock that moves on by a millisecond each time it is asked.
#[derive(Default)]
pub(crate) struct Ticking(Cell<u64>);

impl Clock for Ticking {
    fn now(&self) -> Moment {
        self.0.set(self.0.get() + 1_000_000);
        Moment { wall_ns: 1_700_000_000_000_000_000 + self.0.get() as i64, boot_ns: self.0.get() }
    }
}

/// Something that is recorded before it happens.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Commands(pub(crate) Vec<u32>);

impl Effect for Commands {
    fn events(&self) -> Vec<Event> {
        self.0.iter().map(|exec| event(*exec)).collect()
    }
}

pub(crate) fn event(exec: u32) -> Event {
    Event::ExecEnd { sandbox: SandboxId::from_random([1; 20]), exec, status: 0 }
}

pub(crate) fn open(state: &Path) -> Ledger {
    Ledger::open(state, Box::new(Ticking::default())).unwrap()
}

/// Appends `count` events without a sync.
pub(crate) fn fill(ledger: &mut Ledger, count: u32) {
    (0..count).for_each(|n| ledger.observe(event(n)).unwrap());
}

/// A state directory with `count` records and a checkpoint over all of them.
pub(crate) fn sealed(count: u32) -> TempDir {
    let state = TempDir::new().unwrap();
    let mut ledger = open(state.path());
    fill(&mut ledger, count);
    ledger.seal().unwrap();
    state
}

/// Verifies, and insists that nothing is wrong.
#[track_caller]
pub(crate) fn clean(state: &Path) -> Report {
    let report = verify(state, None).unwrap();
    assert_eq!(report.problems, vec![], "{report:#?}");
    report
}

/// A copy of a whole state directory.
pub(crate) fn copy(from: &Path) -> TempDir {
    let to = TempDir::new().unwrap();
    copy_into(from, to.path());
    to
}

pub(crate) fn copy_into(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_into(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// All files under a directory, in a fixed order.
pub(crate) fn files(dir: &Path) -> Vec<PathBuf> {
    let mut list = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => list.extend(files(&entry.path())),
            false => list.push(entry.path()),
        }
    }
    list.sort();
    list
}
