//! `casemate serve`, for tests of the command line.

use crate::support::{casemate, run};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A server that is ended, with all that it made, however its test ends.
pub(crate) struct Serving {
    pub child: Child,
    state: String,
    listen: String,
    /// The first key, from the server that made it.
    #[allow(dead_code, reason = "a test may make keys of its own")]
    pub key: Option<String>,
    /// Whether another server goes on with its sandboxes.
    goes_on: bool,
}

impl Serving {
    /// Starts one with further words.
    pub(crate) fn start(state: &str, more: &[&str]) -> Serving {
        let words = ["serve", "--json", "--listen", "127.0.0.1:0", "--state", state];
        let words = [&words[..], more].concat();
        let mut command = casemate(Path::new(env!("CARGO_BIN_EXE_casemate")), &words);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
        let mut line = String::new();
        let out = child.stdout.take().expect("a pipe");
        BufReader::new(out).read_line(&mut line).expect("it says where it listens");
        let said: serde_json::Value = serde_json::from_str(&line).expect("one line of JSON");
        let listen = said["listen"].as_str().expect("an address").to_owned();
        let key = said["key"].as_str().map(str::to_owned);
        Serving { child, state: state.to_owned(), listen, key, goes_on: false }
    }

    /// Ends the server in good order; its sandboxes live on.
    #[allow(dead_code, reason = "not every test ends one")]
    pub(crate) fn end(mut self) {
        self.goes_on = true;
    }

    fn terminate(&mut self) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.child.id() as i32)
            && matches!(self.child.try_wait(), Ok(None))
        {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.child.wait();
    }

    /// The status and the body of a creation; none while nobody answers.
    pub(crate) fn create(&self, key: &str, template: &str) -> Option<(u16, serde_json::Value)> {
        let mut stream = TcpStream::connect(&self.listen).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let body = format!(r#"{{"templateID":"{template}"}}"#);
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
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.terminate();
        if !self.goes_on {
            run(&["stop", "--all", "--state", &self.state]);
        }
    }
}
