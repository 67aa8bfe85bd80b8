//! `casemate audit` over logs that the ledger wrote, and over such a log after somebody changed it.

mod support;

use ledger::Ledger;
use model::{
    Code, Decision, Denial, EndReason, Event, FileOp, LimitHit, Quota, Roles, SandboxId, Source, Usage, Wall,
    Walls, quote,
};
use std::path::Path;
use std::process::Stdio;
use support::{casemate, run};

const HOSTILE: &[u8] = b"\x1b[2J\xff it's\n";

fn first() -> SandboxId {
    SandboxId::from_random([0; 20])
}

fn second() -> SandboxId {
    SandboxId::from_random([1; 20])
}

fn decision(verdict: &'static str, rule: &str) -> Decision {
    Decision { verdict, rule: rule.to_owned() }
}

/// A log of six records, five of them under a checkpoint.
fn write_log(state: &Path) {
    let mut ledger = Ledger::open(state, Box::new(node::SystemClock)).expect("a log can be begun");
    for event in [
        Event::Ready { sandbox: first(), walls: Walls::all().without(Wall::Landlock), landlock: 0 },
        Event::Exec {
            sandbox: first(),
            exec: 1,
            argv: vec!["sh".to_owned(), quote(HOSTILE)],
            cwd: "/home/user".to_owned(),
            user: "user".to_owned(),
            decision: decision("allow", "exec"),
            source: Source::Caller,
            beside: None,
        },
        Event::denied(
            Some(first()),
            None,
            Denial::new(Code::Syscall, "seccomp.bpf", "bpf(…)", "do the work without it"),
        ),
        Event::limit(first(), LimitHit::Pids),
        Event::End {
            sandbox: first(),
            reason: EndReason::Finished,
            usage: Usage { wall_ms: 12, cpu_ms: Some(3), memory_peak_bytes: None },
            denials: 1,
        },
    ] {
        ledger.observe(event).expect("an event can be recorded");
    }
    ledger.seal().expect("the log can be sealed");
    ledger
        .observe(Event::ExecEnd { sandbox: second(), exec: 1, status: 7 })
        .expect("an event can be recorded");
}

fn log() -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().expect("a directory can be made");
    write_log(dir.path());
    let path = dir.path().to_str().expect("a path of ours is text").to_owned();
    (dir, path)
}

#[test]
fn each_record_is_one_line_and_what_a_stranger_wrote_cannot_speak_to_the_terminal() {
    let (_dir, state) = log();
    let (status, text, said) = run(&["audit", "show", "--state", &state]);
    assert_eq!((status, said.as_str()), (0, ""));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 6, "{text}");
    assert!(!text.bytes().any(|b| b < 0x20 && b != b'\n'), "{text:?}");
    assert!(lines[0].contains("22 walls stand, without landlock"), "{}", lines[0]);
    assert!(
        lines[1].contains(r"allow by exec: #1 sh $'\x1b[2J\xff it\'s\x0a' (as user in /home/user)"),
        "{}",
        lines[1]
    );
    assert!(lines[2].contains("deny by seccomp.bpf: bpf(…)"), "{}", lines[2]);
    assert!(lines[3].contains("limit.hit") && lines[3].ends_with("pids"), "{}", lines[3]);
    assert!(lines[4].ends_with("finished, 1 denials, 12 ms, 3 ms of cpu"), "{}", lines[4]);
    assert!(lines[..5].iter().all(|line| line.contains(" + ")), "{text}");
    assert!(lines[5].starts_with("     5 ? ") && lines[5].ends_with("#1 status 7"), "{}", lines[5]);
}

#[test]
fn what_a_server_records_is_one_line_each() {
    let (sandbox, key) = (first(), "kaaaa0000".parse().unwrap());
    let path = |op, path: &[u8], to: Option<&[u8]>| Event::File {
        sandbox,
        op,
        path: quote(path),
        to: to.map(quote),
        user: "user".to_owned(),
        decision: decision("allow", "files"),
        beside: None,
    };
    let create = |metadata: Option<String>| Event::Create {
        sandbox,
        key,
        template: quote("base\x1b"),
        timeout_ms: 300_000,
        metadata_bytes: metadata.as_ref().map_or(0, |_| 17),
        metadata,
    };
    let told = [
        (create(None), format!(r"{sandbox} for key kaaaa0000, template base\x1b, ends after 300000 ms")),
        (
            create(Some(format!("sha256:{}", "ab".repeat(32)))),
            format!(
                r"{sandbox} for key kaaaa0000, template base\x1b, ends after 300000 ms, 17 bytes of metadata sha256:abababababab"
            ),
        ),
        (
            Event::Exec {
                sandbox,
                exec: 2,
                argv: vec!["ls".to_owned()],
                cwd: "/".to_owned(),
                user: "user".to_owned(),
                decision: decision("allow", "exec"),
                source: Source::Api,
                beside: None,
            },
            "allow by exec through the API: #2 ls (as user in /)".to_owned(),
        ),
        (Event::Signal { sandbox, exec: 2, signal: 9 }, "#2 signal 9".to_owned()),
        (path(FileOp::MakeDir, b"/a b", None), "make-dir '/a b' (as user)".to_owned()),
        (path(FileOp::Move, b"/a", Some(b"/\xff\n")), r"move /a $'/\xff\x0a' (as user)".to_owned()),
        (Event::Timeout { sandbox, timeout_ms: 5 }, "ends after 5 ms".to_owned()),
        (
            Event::ServerStart { version: "0.1.0".to_owned(), listen: "127.0.0.1:3000".to_owned() },
            "version 0.1.0 listens on 127.0.0.1:3000".to_owned(),
        ),
        (Event::ServerAdopt { sandboxes: 3 }, "3 sandboxes found and taken over".to_owned()),
        (Event::ServerStop { sandboxes: 3 }, "3 sandboxes live on".to_owned()),
        (Event::StopAll { sandboxes: 3 }, "3 sandboxes ended".to_owned()),
        (
            Event::KeyCreate { key, name: quote("a\x07"), roles: Roles::CREATOR, quota: Quota::NONE },
            r"kaaaa0000 a\x07, roles: creator".to_owned(),
        ),
        (Event::KeyRevoke { key }, "kaaaa0000".to_owned()),
        (Event::Lost { observations: 4 }, "4 observations are not on record".to_owned()),
    ];
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(dir.path(), Box::new(node::SystemClock)).unwrap();
    let (events, expected): (Vec<Event>, Vec<String>) = told.into_iter().unzip();
    let reference = include_str!("../../../docs/reference/ledger.md");
    for event in events {
        let name = serde_json::to_value(&event).unwrap()["event"].as_str().unwrap().to_owned();
        assert!(reference.contains(&format!("\n| `{name}` |")), "the reference has no row for {name}");
        ledger.observe(event).unwrap();
    }
    let (status, text, said) = run(&["audit", "show", "--state", dir.path().to_str().unwrap()]);
    assert_eq!((status, said.as_str()), (0, ""));
    let rest = |line: &str| line.split_whitespace().skip(6).collect::<Vec<_>>().join(" ");
    let shown: Vec<String> = text.lines().map(rest).collect();
    assert_eq!(shown, expected, "{text}");
}

#[test]
fn json_shows_the_stored_bytes_and_an_id_selects_one_sandbox() {
    let (_dir, state) = log();
    let stored: Vec<String> =
        ledger::read(state.as_ref()).unwrap().map(|entry| entry.unwrap().line).collect();
    let (_, text, _) = run(&["audit", "show", "--json", "--state", &state]);
    assert_eq!(text.lines().collect::<Vec<_>>(), stored);
    let (_, text, _) = run(&["audit", "show", "--json", "--sandbox", second().as_str(), "--state", &state]);
    assert_eq!(text.lines().collect::<Vec<_>>(), stored[5..]);
    let (status, text, said) = run(&["audit", "show", "--sandbox", "i\u{1b}[2J", "--state", &state]);
    assert_eq!((status, text.as_str()), (64, ""));
    assert!(said.contains(r"`i\x1b[2J` is not a sandbox id"), "{said}");
}

#[test]
fn reading_makes_nothing_and_says_what_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("none");
    for command in ["show", "verify"] {
        let (status, _, said) = run(&["audit", command, "--state", missing.to_str().unwrap()]);
        assert_eq!(status, 73, "{said}");
        assert!(!missing.exists());
    }
    let (status, _, said) = run(&["audit", "show", "--state", dir.path().to_str().unwrap()]);
    assert_eq!(status, 74, "{said}");
    Ledger::open(dir.path(), Box::new(node::SystemClock)).unwrap();
    let (status, text, said) = run(&["audit", "show", "--state", dir.path().to_str().unwrap()]);
    assert_eq!((status, text.as_str()), (0, ""));
    assert!(said.contains("the log is empty"), "{said}");
}

#[test]
fn a_reader_that_goes_away_ends_the_showing_quietly() {
    let (_dir, state) = log();
    let program = Path::new(env!("CARGO_BIN_EXE_casemate"));
    let mut shown = casemate(program, &["audit", "show", "--state", &state])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(shown.stdout.take());
    let (status, _, said) = support::told(shown.wait_with_output().unwrap());
    assert_eq!((status, said.as_str()), (0, ""));
}

#[test]
fn a_sound_log_verifies_and_its_checkpoint_can_be_kept() {
    let (_dir, state) = log();
    let elsewhere = tempfile::tempdir().unwrap();
    let note = elsewhere.path().join("note");
    let note_word = note.to_str().unwrap();
    let (status, text, said) = run(&["audit", "verify", "--save", note_word, "--state", &state]);
    assert_eq!((status, said.as_str()), (0, ""), "{text}");
    assert!(text.starts_with("the log is sound: 6 records\n"), "{text}");
    assert!(text.contains("up to record 4\n") && text.contains("1 records after that"), "{text}");
    let (status, text, _) = run(&["audit", "verify", "--json", "--against", note_word, "--state", &state]);
    let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(status, 0, "{text}");
    assert_eq!(
        (&answer["sound"], &answer["covered"], &answer["uncovered"]),
        (&true.into(), &4.into(), &1.into())
    );
    assert_eq!(answer["checkpoint"]["note"], std::fs::read_to_string(&note).unwrap());
    // Another log does not contain it.
    let (_other, other) = log();
    let (status, text, _) = run(&["audit", "verify", "--against", note_word, "--state", &other]);
    assert_eq!(status, 1, "{text}");
}

#[test]
fn a_changed_record_is_found_and_its_place_named() {
    let (dir, state) = log();
    let tail = dir.path().join("log/tail");
    let mut bytes = std::fs::read(&tail).unwrap();
    let at = bytes.windows(11).position(|window| window == b"seccomp.bpf").unwrap();
    bytes[at] = b'\x1b';
    std::fs::write(&tail, bytes).unwrap();
    let (status, text, _) = run(&["audit", "verify", "--state", &state]);
    assert_eq!(status, 1, "{text}");
    assert!(text.starts_with("the log is NOT sound"), "{text}");
    assert!(text.contains("problem: log/tail, byte "), "{text}");
    let (status, text, _) = run(&["audit", "verify", "--json", "--state", &state]);
    let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, &answer["sound"]), (1, &false.into()));
    assert_eq!(answer["problems"][0]["file"], "log/tail");
    let (status, text, said) = run(&["audit", "show", "--state", &state]);
    assert_eq!(status, 74, "{said}");
    assert!(!text.contains('\x1b') && !said.contains('\x1b'));
}
