//! An error names the file and the call, and leaves the log valid.

use crate::log::{Commands, Ticking, clean, event, fill, open, sealed};
use ledger::{Error, Ledger, verify};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tempfile::TempDir;

fn refusal(state: &Path) -> String {
    Ledger::open(state, Box::new(Ticking::default())).err().unwrap().to_string()
}

#[test]
fn an_effect_without_events_proves_nothing() {
    let state = sealed(1);
    assert!(matches!(open(state.path()).record(Commands(vec![])), Err(Error::Nothing)));
}

#[test]
fn an_error_names_the_call_and_the_file() {
    let state = sealed(1);
    fs::remove_file(state.path().join("keys/ledger.key")).unwrap();
    let mut ledger = open(state.path());
    fill(&mut ledger, 1);
    let error = ledger.seal().unwrap_err().to_string();
    assert_eq!(error, format!("openat({}/keys/ledger.key)", state.path().display()));
    assert_eq!(clean(state.path()).records, 2);

    fs::remove_file(state.path().join("lock/ledger")).unwrap();
    fs::create_dir(state.path().join("lock/ledger")).unwrap();
    let error = ledger.observe(event(1)).unwrap_err().to_string();
    assert_eq!(error, format!("openat({}/lock/ledger)", state.path().display()));
}

#[test]
fn a_damaged_tail_is_not_continued() {
    let state = sealed(5);
    let tail = state.path().join("log/tail");
    let mut bytes = fs::read(&tail).unwrap();
    bytes[40] ^= 1;
    fs::write(&tail, &bytes).unwrap();
    let expected = format!("`{}` is damaged at byte 0: the header does not match its hash", tail.display());
    assert_eq!(refusal(state.path()), expected);
}

#[test]
fn a_symbolic_link_in_place_of_the_tail_is_not_followed() {
    let state = sealed(5);
    let tail = state.path().join("log/tail");
    fs::rename(&tail, state.path().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink("../elsewhere", &tail).unwrap();
    assert_eq!(refusal(state.path()), format!("openat({})", tail.display()));
    assert!(!verify(state.path(), None).unwrap().problems.is_empty());
}

#[test]
#[ignore = "needs root: mounts a file system of 256 KiB"]
fn a_full_disk_is_an_error_and_the_log_stays_valid() {
    use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
    let place = TempDir::new().unwrap();
    mount("tmpfs", place.path(), "tmpfs", MountFlags::empty(), c"size=256k").unwrap();
    let state = place.path().join("state");
    let mut ledger = open(&state);
    let mut recorded = 0;
    let error = loop {
        match ledger.record(Commands(vec![recorded])) {
            Ok(_) => recorded += 1,
            Err(error) => break error,
        }
    };
    assert!(
        matches!(&error, Error::Io { call: "pwrite", source, .. } if source.raw_os_error() == Some(28)),
        "{error:?}"
    );
    assert!(recorded > 256);
    assert_eq!(clean(&state).records, u64::from(recorded));
    assert!(open(&state).record(Commands(vec![1])).is_err());
    assert_eq!(clean(&state).records, u64::from(recorded));
    rustix::mount::mount_remount(place.path(), MountFlags::empty(), c"size=1m").unwrap();
    assert_eq!(ledger.record(Commands(vec![1])).unwrap().receipt().seq, u64::from(recorded));
    clean(&state);
    unmount(place.path(), UnmountFlags::DETACH).unwrap();
}

#[test]
fn a_directory_that_may_only_be_read_can_be_verified() {
    let state = sealed(300);
    let log = state.path().join("log");
    fs::set_permissions(&log, fs::Permissions::from_mode(0o500)).unwrap();
    fs::remove_dir_all(state.path().join("lock")).unwrap();
    assert_eq!(clean(state.path()).records, 300);
    fs::set_permissions(&log, fs::Permissions::from_mode(0o700)).unwrap();
}
