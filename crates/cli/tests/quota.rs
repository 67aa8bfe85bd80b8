//! What a key may have is counted over the death of a server: who takes over counts what lives.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use support::{casemate, run};

const PATIENCE: Duration = Duration::from_secs(30);

/// A server that is ended, with all that it made, however its test ends.
struct Serving {
    child: Child,
    state: String,
    listen: String,
}

impl Serving {
    fn start(state: &str) -> Serving {
        let words = ["serve", "--json", "--listen", "127.0.0.1:0", "--state", state];
        let mut command = casemate(Path::new(env!("CARGO_BIN_EXE_casemate")), &words);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
        let mut line = String::new();
        let out = child.stdout.take().expect("a pipe");
        BufReader::new(out).read_line(&mut line).expect("it says where it listens");
        let said: serde_json::Value = serde_json::from_str(&line).expect("one line of JSON");
        let listen = said["listen"].as_str().expect("an address").to_owned();
        Serving { child, state: state.to_owned(), listen }
    }

    /// The status and the body of a creation; none while nobody answers.
    fn create(&self, key: &str) -> Option<(u16, serde_json::Value)> {
        let mut stream = TcpStream::connect(&self.listen).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let body = r#"{"templateID":"base"}"#;
        let head = format!(
            "POST /v2/sandboxes HTTP/1.1\r\nhost: casemate\r\nx-api-key: {key}\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let status = answer.split(' ').nth(1)?.parse().ok()?;
        Some((status, serde_json::from_str(answer.split("\r\n\r\n").nth(1)?).ok()?))
    }

    /// The process that serves, beneath the one that was started.
    fn server(&self) -> Option<rustix::process::Pid> {
        let pid = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
        let pids = children.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok());
        pids.filter_map(rustix::process::Pid::from_raw).next()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.child.id() as i32) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.child.wait();
        run(&["stop", "--all", "--state", &self.state]);
    }
}

#[test]
fn a_server_that_takes_over_counts_what_lives() {
    let dir = tempfile::tempdir().expect("a directory can be made");
    let state = dir.path().join("state").to_str().expect("a path of ours is text").to_owned();
    let serving = Serving::start(&state);
    let (status, key, said) = run(&["key", "create", "--sandboxes", "1", "--state", &state]);
    assert_eq!(status, 0, "{said}");
    let key = key.trim_end();
    let (status, made) = serving.create(key).expect("it answers");
    assert_eq!(status, 201, "{made}");
    let before = serving.server().expect("a server");
    rustix::process::kill_process(before, rustix::process::Signal::KILL).expect("it is ours");
    let end = Instant::now() + PATIENCE;
    let (status, said) = loop {
        let answered = serving.create(key);
        match answered {
            Some(answered) if serving.server().is_some_and(|server| server != before) => break answered,
            _ => assert!(Instant::now() < end, "no server came back"),
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!((status, &said["denial"]["rule"]), (429, &"quota.sandboxes".into()), "{said}");
    let (_, log, _) = run(&["audit", "show", "--state", &state, "--json"]);
    assert!(log.contains(r#""event":"server.adopt""#), "{log}");
}
