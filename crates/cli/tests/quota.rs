//! What a key may have is counted over the death of a server: who takes over counts what lives.

#[path = "support/serving.rs"]
mod serving;
mod support;

use serving::{PATIENCE, Serving};
use std::time::{Duration, Instant};
use support::run;

/// The process that serves, beneath the one that was started.
fn server(serving: &Serving) -> Option<rustix::process::Pid> {
    let pid = serving.child.id();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    let pids = children.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok());
    pids.filter_map(rustix::process::Pid::from_raw).next()
}

#[test]
fn a_server_that_takes_over_counts_what_lives() {
    let dir = tempfile::tempdir().expect("a directory can be made");
    let state = dir.path().join("state").to_str().expect("a path of ours is text").to_owned();
    let serving = Serving::start(&state, &[]);
    let (status, key, said) = run(&["key", "create", "--sandboxes", "1", "--state", &state]);
    assert_eq!(status, 0, "{said}");
    let key = key.trim_end();
    let (status, made) = serving.create(key, "base").expect("it answers");
    assert_eq!(status, 201, "{made}");
    let before = server(&serving).expect("a server");
    rustix::process::kill_process(before, rustix::process::Signal::KILL).expect("it is ours");
    let end = Instant::now() + PATIENCE;
    let (status, said) = loop {
        let answered = serving.create(key, "base");
        match answered {
            Some(answered) if server(&serving).is_some_and(|server| server != before) => break answered,
            _ => assert!(Instant::now() < end, "no server came back"),
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!((status, &said["denial"]["rule"]), (429, &"quota.sandboxes".into()), "{said}");
    let (_, log, _) = run(&["audit", "show", "--state", &state, "--json"]);
    assert!(log.contains(r#""event":"server.adopt""#), "{log}");
}
