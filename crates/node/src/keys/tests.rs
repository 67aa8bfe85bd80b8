use super::*;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Barrier;
use tempfile::TempDir;

fn state() -> (TempDir, State) {
    let place = TempDir::new().unwrap();
    let state = State::open(&place.path().join("state")).unwrap();
    (place, state)
}

fn creator(id: KeyId) -> Holder {
    Holder { id, roles: Roles::CREATOR, quota: Quota::NONE }
}

fn file(state: &State) -> PathBuf {
    state.path().join("keys/api.json")
}

fn events(state: &Path) -> Vec<String> {
    ledger::read(state).unwrap().map(|entry| entry.unwrap().line).collect()
}

#[test]
fn a_key_opens_until_it_is_revoked_and_nothing_else_does() {
    let (_place, state) = state();
    let keys = Keys::open(&state).unwrap();
    assert_eq!(keys.check(&format!("e2b_{}", "0".repeat(40))), None);
    let (first, secret) = keys.create("laptop", Roles::CREATOR, Quota::NONE).unwrap();
    let (second, other) = keys.create("größe \\ 'x'", Roles::CREATOR, Quota::NONE).unwrap();
    let text = secret.reveal();
    assert_eq!((text.len(), &text[..4]), (44, "e2b_"));
    assert!(text[4..].bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)));
    assert_eq!((keys.check(text), keys.check(other.reveal())), (Some(creator(first)), Some(creator(second))));
    for wrong in [
        String::new(),
        "e2b_".to_owned(),
        text[1..].to_owned(),
        format!("{text}0"),
        format!("{text}\n"),
        text.to_uppercase(),
        format!("e2b_{}", text[4..].to_uppercase()),
        format!("{}é", &text[..42]),
        text.replace("e2b_", "e2b-"),
        "e".repeat(1 << 20),
    ] {
        assert_eq!(keys.check(&wrong), None, "{wrong:.60}");
    }
    keys.revoke(first).unwrap();
    keys.revoke(first).unwrap();
    assert_eq!((keys.check(text), keys.check(other.reveal())), (None, Some(creator(second))));
    let list = keys.list().unwrap();
    assert_eq!(
        list.iter().map(|key| (key.id, key.revoked_ms.is_some())).collect::<Vec<_>>(),
        [(first, true), (second, false)]
    );
    assert_eq!(list[1].name, "größe \\ 'x'");
    assert!(matches!(keys.revoke("k00000000".parse().unwrap()), Err(Error::Unknown(_))));
}

#[test]
fn the_secret_is_neither_on_disk_nor_in_a_debug_print() {
    let (_place, state) = state();
    let (id, secret) = Keys::open(&state).unwrap().create("a", Roles::CREATOR, Quota::NONE).unwrap();
    assert_eq!(format!("{secret:?}"), "Secret(…)");
    let text = std::fs::read_to_string(file(&state)).unwrap();
    assert!(!text.contains(&secret.reveal()[4..]) && text.contains(id.as_str()));
    assert_eq!(std::fs::metadata(file(&state)).unwrap().permissions().mode() & 0o7777, 0o600);
    let log = events(state.path()).concat();
    assert!(!log.contains(&secret.reveal()[4..]), "{log}");
}

#[test]
fn making_and_revoking_is_on_record_and_signed() {
    let (_place, state) = state();
    let keys = Keys::open(&state).unwrap();
    let (id, _) = keys.create("a\\b", Roles::CREATOR, Quota::NONE).unwrap();
    keys.revoke(id).unwrap();
    keys.revoke(id).unwrap();
    let log = events(state.path());
    assert_eq!(log.len(), 2);
    assert!(log[0].contains(&format!(r#""event":"key.create","key":"{id}","name":"a\\\\b""#)), "{}", log[0]);
    assert!(log[1].contains(&format!(r#""event":"key.revoke","key":"{id}""#)), "{}", log[1]);
    let report = ledger::verify(state.path(), None).unwrap();
    assert_eq!((report.problems.len(), report.uncovered), (0, 0));
}

#[test]
fn without_a_record_no_key_is_made_or_revoked() {
    let (_place, state) = state();
    let keys = Keys::open(&state).unwrap();
    let (id, secret) = keys.create("a", Roles::CREATOR, Quota::NONE).unwrap();
    let before = std::fs::read(file(&state)).unwrap();
    std::fs::write(state.path().join("head"), "no head").unwrap();
    assert!(matches!(keys.create("b", Roles::CREATOR, Quota::NONE), Err(Error::Ledger(_))));
    assert!(matches!(keys.revoke(id), Err(Error::Ledger(_))));
    assert_eq!(std::fs::read(file(&state)).unwrap(), before);
    assert_eq!(keys.check(secret.reveal()), Some(creator(id)));
}

#[test]
fn what_another_process_changes_counts_at_once() {
    let (_place, state) = state();
    let (here, there) = (Keys::open(&state).unwrap(), Keys::open(&state).unwrap());
    for _ in 0..20 {
        let (id, secret) = there.create("a", Roles::CREATOR, Quota::NONE).unwrap();
        assert_eq!(here.check(secret.reveal()), Some(creator(id)));
        there.revoke(id).unwrap();
        assert_eq!(here.check(secret.reveal()), None);
    }
}

#[test]
fn keys_that_are_made_at_once_are_all_there() {
    let (_place, state) = state();
    let together = Barrier::new(4);
    let made: Vec<(KeyId, Secret)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let keys = Keys::open(&state).unwrap();
                    together.wait();
                    (0..10)
                        .map(|_| keys.create("a", Roles::CREATOR, Quota::NONE).unwrap())
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let keys = Keys::open(&state).unwrap();
    assert_eq!(keys.list().unwrap().len(), 40);
    assert!(made.iter().all(|(id, secret)| keys.check(secret.reveal()) == Some(creator(*id))));
}

#[test]
fn a_name_that_does_not_show_or_is_too_long_is_refused() {
    let (_place, state) = state();
    let keys = Keys::open(&state).unwrap();
    for name in ["", " ", "a\nb", "\x1b[2J", "a\u{202e}", &"x".repeat(65), &"é".repeat(10_000)] {
        assert!(matches!(keys.create(name, Roles::CREATOR, Quota::NONE), Err(Error::Name(_))), "{name:.60}");
    }
    assert!(keys.create(&"é".repeat(64), Roles::CREATOR, Quota::NONE).is_ok());
}

#[test]
fn a_file_that_is_none_opens_nothing_and_is_not_written_over() {
    let (_place, state) = state();
    let keys = Keys::open(&state).unwrap();
    let (_, secret) = keys.create("a", Roles::CREATOR, Quota::NONE).unwrap();
    let good = std::fs::read_to_string(file(&state)).unwrap();
    for bad in [
        "",
        "{}",
        "[]",
        r#"{"v":2,"keys":[]}"#,
        r#"{"v":1,"keys":[],"more":1}"#,
        &good.replace("sha256\":\"", "sha256\":\"é"),
        &good.replace("\"k", "\"x"),
        &good[..good.len() / 2],
        &" ".repeat(3 << 20),
    ] {
        std::fs::write(file(&state), bad).unwrap();
        assert_eq!(keys.check(secret.reveal()), None);
        assert!(matches!(keys.try_check(secret.reveal()), Err(Error::Damaged { .. })), "{bad:.80}");
        assert!(
            keys.create("b", Roles::CREATOR, Quota::NONE).is_err()
                && keys.list().is_err()
                && Keys::open(&state).is_err()
        );
        assert_eq!(std::fs::read_to_string(file(&state)).unwrap(), bad);
    }
    std::fs::write(file(&state), good).unwrap();
    assert!(keys.check(secret.reveal()).is_some());
    std::fs::remove_file(file(&state)).unwrap();
    assert_eq!(keys.check(secret.reveal()), None);
    std::os::unix::fs::symlink("elsewhere", file(&state)).unwrap();
    assert!(keys.try_check(secret.reveal()).is_err());
}

#[test]
fn past_the_most_keys_the_one_revoked_first_is_forgotten() {
    let (_place, state) = state();
    let keys = Keys::open(&state).unwrap();
    let (id, secret) = keys.create("a", Roles::CREATOR, Quota::NONE).unwrap();
    let one = keys.current().unwrap().keys()[0].clone();
    let many = |revoked: fn(u64) -> Option<u64>| -> Vec<Key> {
        let key = |n: u64| {
            let mut key = one.clone();
            key.info.id = KeyId::from_random([(n % 36) as u8, (n / 36) as u8, 0, 0, 0, 0, 0, 1]);
            key.info.revoked_ms = revoked(n);
            key.hash[..2].copy_from_slice(&(n as u16).to_be_bytes());
            key
        };
        (0..KEYS_MAX as u64 - 1).map(key).chain([one.clone()]).collect()
    };
    keys.store.save(&many(|_| None)).unwrap();
    assert!(matches!(keys.create("b", Roles::CREATOR, Quota::NONE), Err(Error::Full)));
    keys.store.save(&many(|n| (n >= 1000).then(|| 5000 - n))).unwrap();
    let last = keys.list().unwrap()[KEYS_MAX - 2].id;
    let (new, _) = keys.create("b", Roles::CREATOR, Quota::NONE).unwrap();
    let ids: Vec<KeyId> = keys.list().unwrap().iter().map(|key| key.id).collect();
    assert_eq!(ids.len(), KEYS_MAX);
    assert!(ids.contains(&new) && ids.contains(&id) && !ids.contains(&last));
    assert_eq!(keys.check(secret.reveal()), Some(creator(id)));
}

#[test]
fn a_key_of_an_earlier_version_is_a_creator_and_has_no_bounds() {
    let (_place, state) = state();
    let keys = Keys::open(&state).unwrap();
    let (id, secret) = keys.create("old", Roles::CREATOR, Quota::NONE).unwrap();
    let text = std::fs::read_to_string(file(&state)).unwrap();
    assert!(text.contains(r#","roles":["creator"]"#), "{text}");
    std::fs::write(file(&state), text.replace(r#","roles":["creator"]"#, "")).unwrap();
    assert_eq!(keys.check(secret.reveal()), Some(creator(id)));
    // What no version wrote opens nothing.
    for roles in [r#","roles":[]"#, r#","roles":["creator","operator"]"#, r#","roles":["root"]"#] {
        std::fs::write(file(&state), text.replace(r#","roles":["creator"]"#, roles)).unwrap();
        assert_eq!(keys.check(secret.reveal()), None, "{roles}");
    }
}
