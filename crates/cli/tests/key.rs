//! `casemate key`.

mod support;

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use support::{casemate, run, told};

fn state() -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().expect("a directory can be made");
    let state = dir.path().join("state").to_str().expect("a path of ours is text").to_owned();
    (dir, state)
}

/// `casemate key` with these words.
fn key(words: &[&str], state: &str) -> (i32, String, String) {
    run(&[&["key"], words, &["--state", state]].concat())
}

fn is_secret(text: &str) -> bool {
    text.strip_prefix("e2b_").is_some_and(|hex| {
        hex.len() == 40 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

#[test]
fn a_key_is_shown_once_listed_without_its_secret_and_revoked() {
    let (_dir, state) = state();
    let (status, secret, said) = key(&["create", "--name", "laptop"], &state);
    let secret = secret.trim_end();
    assert_eq!(status, 0, "{said}");
    assert!(is_secret(secret), "{secret}");
    let id = said.split("the key ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap().to_owned();
    assert_eq!(said, format!("casemate: made the key {id} (`laptop`, creator); it is shown this once\n"));
    let (_, text, _) = key(&["list"], &state);
    assert!(
        text.starts_with(&format!("{id}  20"))
            && text.ends_with("opens                         creator    laptop\n"),
        "{text}"
    );
    let (status, text, said) = key(&["revoke", &id], &state);
    assert_eq!((status, text.as_str(), said), (0, "", format!("casemate: the key {id} is revoked\n")));
    assert_eq!(key(&["revoke", &id], &state).0, 0);
    let (_, text, said) = key(&["list"], &state);
    assert!(text.contains("revoked 20") && !text.contains(&secret[4..]) && said.is_empty(), "{text}{said}");
    let (_, log, _) = run(&["audit", "show", "--state", &state]);
    assert!(log.contains(&format!("key.create      {id} laptop, roles: creator")), "{log}");
    assert!(log.contains(&format!("key.revoke      {id}")) && !log.contains(&secret[4..]), "{log}");
    assert_eq!(run(&["audit", "verify", "--state", &state]).0, 0);
}

#[test]
fn answers_are_one_value_of_json_each() {
    let (_dir, state) = state();
    let json = |words: &[&str]| {
        let (status, text, said) = key(&[words, &["--json"]].concat(), &state);
        assert_eq!((status, said.as_str()), (0, ""));
        serde_json::from_str::<serde_json::Value>(&text).unwrap()
    };
    let made = json(&["create"]);
    assert!(is_secret(made["key"].as_str().unwrap()) && made["name"] == "unnamed", "{made}");
    let id = made["id"].as_str().unwrap();
    let list = json(&["list"]);
    assert_eq!(
        (list.as_array().unwrap().len(), &list[0]["id"], &list[0]["revoked"]),
        (1, &made["id"], &serde_json::Value::Null)
    );
    assert!(list[0]["key"].is_null() && list[0]["created"].as_str().unwrap().ends_with('Z'), "{list}");
    assert_eq!(json(&["revoke", id])["id"], made["id"]);
    assert!(json(&["list"])[0]["revoked"].is_string());
}

#[test]
fn what_is_wrong_is_named_and_its_mend() {
    let (_dir, state) = state();
    assert_eq!(key(&["list"], &state).0, 73);
    assert!(!Path::new(&state).exists());
    let (status, text, said) = key(&["create", "--name", "a\x1b[2J"], &state);
    assert_eq!((status, text.as_str()), (64, ""));
    assert!(said.contains(r"`a\x1b[2J` is no name for a key"), "{said}");
    let (status, _, said) = key(&["list"], &state);
    assert_eq!((status, said.contains("there are no keys")), (0, true), "{said}");
    let (status, _, said) = key(&["revoke", "k00000000"], &state);
    assert_eq!((status, said.contains("there is no API key `k00000000`")), (64, true), "{said}");
    assert_eq!(key(&["revoke", "\x1b"], &state).0, 64);
    std::fs::write(format!("{state}/keys/api.json"), "\x1b").unwrap();
    let (status, _, said) = key(&["list"], &state);
    assert_eq!((status, said.contains('\x1b')), (73, false), "{said}");
}

#[test]
fn a_kill_at_any_time_leaves_whole_keys_and_the_next_one_is_made() {
    let (_dir, state) = state();
    assert_eq!(key(&["create"], &state).0, 0);
    let mut whole = 1;
    for round in 0..60u32 {
        let program = Path::new(env!("CARGO_BIN_EXE_casemate"));
        let mut child = casemate(program, &["key", "create", "--state", &state])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // The race is the test: at another moment in each round.
        std::thread::sleep(Duration::from_micros(u64::from(round) * 100));
        let _ = child.kill();
        let output = child.wait_with_output().unwrap();
        let acknowledged = usize::from(!output.stdout.is_empty());
        let (status, text, said) = key(&["list", "--json"], &state);
        assert_eq!(status, 0, "{said}");
        let now = serde_json::from_str::<Vec<serde_json::Value>>(&text).unwrap().len();
        assert!((whole + acknowledged..=whole + 1).contains(&now), "{now} keys after {whole}");
        whole = now;
    }
    let (status, _, said) = told(
        casemate(Path::new(env!("CARGO_BIN_EXE_casemate")), &["key", "create", "--state", &state])
            .output()
            .unwrap(),
    );
    assert_eq!(status, 0, "{said}");
    assert_eq!(run(&["audit", "verify", "--state", &state]).0, 0);
}

#[test]
fn roles_and_bounds_are_kept_and_shown_and_a_creator_judges_nobody() {
    let (_dir, state) = state();
    let words = ["create", "--name", "ops", "--role", "auditor", "--role", "operator", "--json"];
    let (status, text, said) = key(&words, &state);
    assert_eq!(status, 0, "{said}");
    let made: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(made["roles"], serde_json::json!(["operator", "auditor"]));
    let bounded =
        ["create", "--sandboxes", "3", "--cpus", "2.5", "--memory", "8GiB", "--creates-per-second", "0.5"];
    assert_eq!(key(&bounded, &state).0, 0);
    let (_, text, _) = key(&["list"], &state);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].ends_with("operator, auditor  ops"), "{text}");
    let bounds = "creator    unnamed  (at most 3 sandboxes, 2.5 cpus, 8192 MiB, 0.5 creates/s)";
    assert!(lines[1].ends_with(bounds), "{text}");
    let (_, text, _) = key(&["list", "--json"], &state);
    let listed: serde_json::Value = serde_json::from_str(&text).unwrap();
    let quota = serde_json::json!({
        "sandboxes": 3, "cpu_milli": 2500, "memory_bytes": 8_u64 << 30, "creates_per_second_milli": 500,
    });
    assert_eq!(listed[1]["quota"], quota);
    for judge in ["approver", "operator"] {
        let (status, text, said) = key(&["create", "--role", "creator", "--role", judge], &state);
        assert_eq!((status, text.as_str()), (64, ""), "{said}");
        let why = format!(
            "a key is not both creator and {judge}: who creates may not approve, widen or stop others"
        );
        assert!(said.contains(&why), "{said}");
    }
    for wrong in
        [["--role", "root"], ["--cpus", "0"], ["--cpus", "1.2345"], ["--cpus", "inf"], ["--memory", "8"]]
    {
        assert_eq!(key(&[&["create"], &wrong[..]].concat(), &state).0, 64, "{wrong:?}");
    }
    let (_, text, _) = key(&["list"], &state);
    assert_eq!(text.lines().count(), 2, "{text}");
}
