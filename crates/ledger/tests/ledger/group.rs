//! Many recorders, one thread that writes.

use crate::log::{Commands, clean, event, open, sealed};
use ledger::{Error, Group, QUEUE_EVENTS_MAX, Receipt, read};
use model::{Clock, Moment};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Far more than anything here takes on a slow disk.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Ticking(AtomicU64);

impl Clock for Ticking {
    fn now(&self) -> Moment {
        let boot_ns = self.0.fetch_add(1, Ordering::Relaxed);
        Moment { wall_ns: 1_700_000_000_000_000_000, boot_ns }
    }
}

pub(crate) fn start(state: &Path) -> Group {
    Group::start(state, Ticking::default()).unwrap()
}

type Answer = Result<Receipt, Arc<Error>>;

/// Hands a command over; its answer comes later.
fn hand(group: &Group, exec: u32) -> Receiver<Answer> {
    let (tell, told) = channel();
    group.record(Commands(vec![exec]), move |recorded| {
        let _ = tell.send(recorded.map(|recorded| {
            assert_eq!(recorded.get(), &Commands(vec![exec]));
            recorded.receipt()
        }));
    });
    told
}

pub(crate) fn record(group: &Group, exec: u32) -> Answer {
    hand(group, exec).recv_timeout(PATIENCE).unwrap()
}

pub(crate) fn seal(group: &Group) -> Result<ledger::Checkpoint, Arc<Error>> {
    let (tell, told) = channel();
    group.seal(move |sealed| drop(tell.send(sealed)));
    told.recv_timeout(PATIENCE).unwrap()
}

/// Keeps the thread from writing until the sender is dropped.
fn hold(group: &Group) -> Sender<()> {
    let (go, wait) = channel::<()>();
    let (tell, told) = channel();
    group.seal(move |_| {
        let _ = tell.send(());
        let _ = wait.recv();
    });
    told.recv_timeout(PATIENCE).unwrap();
    go
}

pub(crate) fn lines(state: &Path) -> Vec<Value> {
    read(state).unwrap().map(|entry| serde_json::from_str(&entry.unwrap().line).unwrap()).collect()
}

/// Makes every attempt to write fail, until [`mend`].
fn spoil(state: &Path) {
    fs::remove_file(state.join("lock/ledger")).unwrap();
    fs::create_dir(state.join("lock/ledger")).unwrap();
}

fn mend(state: &Path) {
    fs::remove_dir(state.join("lock/ledger")).unwrap();
}

#[test]
fn what_sixty_four_threads_record_is_there_once_and_under_one_chain() {
    let state = TempDir::new().unwrap();
    let group = start(state.path());
    let receipts = Mutex::new(BTreeSet::new());
    std::thread::scope(|scope| {
        for n in 0..64 {
            let (group, receipts) = (group.clone(), &receipts);
            scope.spawn(move || {
                for m in 0..20 {
                    let receipt = record(&group, n * 20 + m).unwrap();
                    assert!(receipts.lock().unwrap().insert(receipt.seq));
                    if m % 5 == 0 {
                        assert!(seal(&group).unwrap().size() > receipt.seq);
                    }
                }
            });
        }
    });
    drop(group);
    let report = clean(state.path());
    assert_eq!((report.records, receipts.into_inner().unwrap().len()), (1280, 1280));
    assert!(report.covered.is_some());
    let execs: BTreeSet<u64> =
        lines(state.path()).iter().map(|line| line["exec"].as_u64().unwrap()).collect();
    assert_eq!(execs, (0..1280).collect());
}

#[test]
fn an_effect_of_several_events_gets_the_receipt_of_its_last() {
    let state = TempDir::new().unwrap();
    let group = start(state.path());
    let (tell, told) = channel();
    group.record((Commands(vec![1, 2]), Commands(vec![3])), move |recorded| {
        let (first, second) = recorded.unwrap().split();
        let _ = tell.send((first.receipt().seq, second.receipt().seq));
    });
    assert_eq!(told.recv_timeout(PATIENCE), Ok((2, 2)));
    let (tell, told) = channel();
    group.record(Commands(vec![]), move |recorded| {
        let _ = tell.send(recorded.is_err());
    });
    assert_eq!(told.recv_timeout(PATIENCE), Ok(true));
}

#[test]
fn seals_that_wait_together_become_one_checkpoint_over_all_that_came_before() {
    let state = TempDir::new().unwrap();
    let group = start(state.path());
    let go = hold(&group);
    let (tell, told) = channel();
    for n in 0..50 {
        group.observe(event(n));
        let tell = tell.clone();
        group.seal(move |sealed| drop(tell.send(sealed.unwrap())));
    }
    drop((go, tell));
    let checkpoints: Vec<_> = told.iter().collect();
    assert_eq!(checkpoints.len(), 50);
    assert!(checkpoints.iter().all(|checkpoint| checkpoint.size() == 50));
    let tail = fs::read(state.path().join("log/tail")).unwrap();
    let notes = tail
        .windows(12)
        .filter(|window| window == b"\ncasemate\n50\n" || window == b"casemate\n50\n")
        .count();
    assert_eq!(notes, 1);
}

#[test]
fn an_observation_is_written_without_anybody_asking_for_it() {
    let state = sealed(1);
    let group = start(state.path());
    group.observe(event(7));
    let deadline = Instant::now() + PATIENCE;
    while lines(state.path()).len() < 2 {
        assert!(Instant::now() < deadline, "the observation is not written");
        std::thread::yield_now();
    }
}

#[test]
fn the_last_handle_writes_what_waits() {
    let state = TempDir::new().unwrap();
    let group = start(state.path());
    let other = group.clone();
    let go = hold(&group);
    let answers: Vec<_> = (0..100).map(|n| hand(&group, n)).collect();
    group.observe(event(100));
    drop(go);
    drop(group);
    drop(other);
    assert!(answers.iter().all(|answer| answer.try_recv().unwrap().is_ok()));
    assert_eq!(clean(state.path()).records, 101);
}

#[test]
fn the_last_handle_may_go_within_an_answer() {
    let state = TempDir::new().unwrap();
    let group = start(state.path());
    let (tell, told) = channel();
    let last = group.clone();
    group.record(Commands(vec![1]), move |recorded| {
        drop(last);
        let _ = tell.send(recorded.is_ok());
    });
    drop(group);
    assert_eq!(told.recv_timeout(PATIENCE), Ok(true));
}

#[test]
fn while_the_log_cannot_be_written_everybody_is_told_and_later_it_works_again() {
    let state = sealed(1);
    let group = start(state.path());
    assert!(group.failure().is_none());
    spoil(state.path());
    let error = record(&group, 1).unwrap_err();
    assert!(matches!(*error, Error::Io { call: "openat", .. }), "{error}");
    assert!(seal(&group).is_err());
    assert!(group.failure().is_some());
    // What is observed meanwhile is not lost, and keeps its place before what comes later.
    group.observe(event(2));
    assert!(record(&group, 3).is_err());
    mend(state.path());
    assert_eq!(record(&group, 4).unwrap().seq, 2);
    assert!(group.failure().is_none());
    let execs: Vec<_> = lines(state.path()).iter().map(|line| line["exec"].as_u64().unwrap()).collect();
    assert_eq!(execs, [0, 2, 4]);
    clean(state.path());
}

#[test]
fn an_observation_that_could_not_be_written_is_tried_again_by_itself() {
    let state = sealed(1);
    let group = start(state.path());
    spoil(state.path());
    group.observe(event(2));
    let deadline = Instant::now() + PATIENCE;
    while group.failure().is_none() {
        assert!(Instant::now() < deadline, "no failure is told");
        std::thread::yield_now();
    }
    mend(state.path());
    while group.failure().is_some() {
        assert!(Instant::now() < deadline, "the failure stays");
        std::thread::yield_now();
    }
    assert_eq!(clean(state.path()).records, 2);
}

#[test]
fn a_full_queue_refuses_by_name_and_a_gap_is_on_record() {
    let state = TempDir::new().unwrap();
    let group = start(state.path());
    let go = hold(&group);
    let observed = QUEUE_EVENTS_MAX as u32 / 2 + 10;
    (0..observed).for_each(|n| group.observe(event(n)));
    let mut answers = Vec::new();
    let refused = loop {
        let answer = hand(&group, observed);
        match answer.try_recv() {
            Ok(answer) => break answer.unwrap_err(),
            Err(_) => answers.push(answer),
        }
    };
    assert!(matches!(*refused, Error::Full { .. }), "{refused}");
    assert!(seal_is_refused(&group));
    drop(go);
    for answer in answers {
        answer.recv_timeout(PATIENCE).unwrap().unwrap();
    }
    assert!(record(&group, 1).is_ok());
    drop(group);
    let lines = lines(state.path());
    let gaps: Vec<_> = lines.iter().filter(|line| line["event"] == "ledger.lost").collect();
    assert_eq!(gaps.iter().map(|gap| gap["observations"].as_u64()).collect::<Vec<_>>(), [Some(10)]);
    clean(state.path());
}

fn seal_is_refused(group: &Group) -> bool {
    let (tell, told) = channel();
    group.seal(move |sealed| {
        let _ = tell.send(sealed.is_err());
    });
    told.try_recv() == Ok(true)
}

#[test]
fn an_event_larger_than_the_queue_is_refused_and_the_next_is_not() {
    let state = TempDir::new().unwrap();
    let group = start(state.path());
    struct Large;
    impl model::Effect for Large {
        fn events(&self) -> Vec<model::Event> {
            let (to, at) = ("x".repeat(ledger::QUEUE_BYTES_MAX), "/out".to_owned());
            vec![model::Event::HandOut { sandbox: model::SandboxId::from_random([1; 20]), at, to }]
        }
    }
    let (tell, told) = channel();
    group.record(Large, move |recorded| drop(tell.send(recorded.map(drop))));
    assert!(matches!(*told.try_recv().unwrap().unwrap_err(), Error::Full { .. }));
    assert_eq!(record(&group, 1).unwrap().seq, 0);
}

#[test]
fn nobody_waits_for_a_thread_that_a_panic_ended() {
    let state = TempDir::new().unwrap();
    let group = start(state.path());
    let go = hold(&group);
    group.record(Commands(vec![1]), |_| panic!("on purpose"));
    let behind: Vec<_> = (0..2000).map(|n| hand(&group, n)).collect();
    drop(go);
    for answer in behind {
        let answer = answer.recv_timeout(PATIENCE);
        // Those of the same write are dropped with it; the others are told.
        assert!(answer.is_err() || matches!(answer, Ok(Err(error)) if matches!(*error, Error::Closed)));
    }
    assert!(matches!(*record(&group, 3).unwrap_err(), Error::Closed));
}

#[test]
fn a_log_that_was_cut_short_or_scribbled_on_is_not_continued() {
    for scribble in [false, true] {
        let state = sealed(3);
        let group = start(state.path());
        let tail = state.path().join("log/tail");
        let before = fs::read(&tail).unwrap();
        let kept = record(&group, 3).unwrap();
        assert_eq!(kept.seq, 3);
        match scribble {
            false => fs::write(&tail, &before).unwrap(),
            true => fs::write(&tail, [fs::read(&tail).unwrap(), b"scribble".to_vec()].concat()).unwrap(),
        }
        let error = record(&group, 4).unwrap_err();
        match scribble {
            false => assert!(matches!(*error, Error::Truncated { records: 3, sealed: 4, .. }), "{error}"),
            true => assert!(matches!(*error, Error::Damaged { .. }), "{error}"),
        }
        assert!(record(&group, 5).is_err());
        assert!(group.failure().is_some());
    }
}

#[test]
fn a_group_and_a_ledger_of_one_log_take_turns() {
    let state = TempDir::new().unwrap();
    let (group, mut ledger) = (start(state.path()), open(state.path()));
    for n in 0..300 {
        assert_eq!(record(&group, n).unwrap().seq, u64::from(n) * 2);
        let recorded = ledger.record(Commands(vec![n])).unwrap();
        assert_eq!(recorded.receipt().seq, u64::from(n) * 2 + 1);
    }
    clean(state.path());
}

#[test]
#[ignore = "needs root: mounts a file system of 256 KiB"]
fn a_full_disk_is_told_and_room_ends_it() {
    use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
    let place = TempDir::new().unwrap();
    mount("tmpfs", place.path(), "tmpfs", MountFlags::empty(), c"size=256k").unwrap();
    let state = place.path().join("state");
    let group = start(&state);
    let mut recorded = 0;
    let error = loop {
        match record(&group, recorded) {
            Ok(_) => recorded += 1,
            Err(error) => break error,
        }
    };
    assert!(
        matches!(&*error, Error::Io { call: "pwrite", source, .. } if source.raw_os_error() == Some(28)),
        "{error:?}"
    );
    assert_eq!(clean(&state).records, u64::from(recorded));
    rustix::mount::mount_remount(place.path(), MountFlags::empty(), c"size=1m").unwrap();
    assert_eq!(record(&group, 1).unwrap().seq, u64::from(recorded));
    assert!(group.failure().is_none());
    drop(group);
    clean(&state);
    unmount(place.path(), UnmountFlags::DETACH).unwrap();
}
