//! Commands in a sandbox: `process.Process` over Connect's JSON streams.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::http::{Connection, Error, Result};

/// What such an answer says that it is, to the letter.
pub const CONTENT_TYPE: &str = "application/connect+json";
/// The header lines of such a request.
pub const HEADERS: &str = "Content-Type: application/connect+json\r\nConnect-Protocol-Version: 1\r\nKeepalive-Ping-Interval: 50\r\n";

const FRAME_BYTES_MAX: usize = 4 << 20;
const COMPRESSED: u8 = 1;
const LAST: u8 = 2;

/// A message in its frame.
pub fn frame(message: &Value) -> Vec<u8> {
    let text = message.to_string();
    let mut frame = vec![0];
    frame.extend_from_slice(&(text.len() as u32).to_be_bytes());
    frame.extend_from_slice(text.as_bytes());
    frame
}

pub(crate) fn encoded(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// A command to start.
#[derive(Debug, Clone, Default)]
pub struct Command {
    words: Vec<String>,
    stdin: bool,
    /// What the whole stream may take.
    pub(crate) timeout_ms: Option<u64>,
}

impl Command {
    /// A program and its arguments.
    pub fn of(words: &[&str]) -> Command {
        Command { words: words.iter().map(|word| (*word).to_owned()).collect(), ..Command::default() }
    }

    /// A shell script; its `$0` is a mark by which the record knows it.
    pub fn shell(script: &str, mark: &str) -> Command {
        Command::of(&["/bin/sh", "-c", script, mark])
    }

    /// The same, with input that is given later.
    #[must_use]
    pub fn with_input(self) -> Command {
        Command { stdin: true, ..self }
    }

    /// The same, ended by the server after so long.
    #[must_use]
    pub fn within_ms(self, timeout_ms: u64) -> Command {
        Command { timeout_ms: Some(timeout_ms), ..self }
    }

    pub(crate) fn message(&self) -> Value {
        json!({"process": {"cmd": self.words[0], "args": self.words[1..]}, "stdin": self.stdin})
    }
}

/// What happened to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It runs.
    Start(u32),
    /// It wrote to standard output.
    Stdout(Vec<u8>),
    /// It wrote to standard error.
    Stderr(Vec<u8>),
    /// It still runs.
    KeepAlive,
    /// It ended: exit code, and how that is said.
    End(i32, String),
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ended {
    /// Its pid, as the server calls it.
    pub pid: u32,
    /// Its exit code.
    pub code: i32,
    /// How that is said.
    pub status: String,
    /// All it wrote to standard output.
    pub stdout: Vec<u8>,
    /// All it wrote to standard error.
    pub stderr: Vec<u8>,
}

/// What a command does, as it does it.
#[derive(Debug)]
pub struct Stream<'a> {
    connection: &'a mut Connection,
    payload: Vec<u8>,
    started: bool,
    ended: bool,
}

impl<'a> Stream<'a> {
    pub(crate) fn new(connection: &'a mut Connection) -> Stream<'a> {
        Stream { connection, payload: Vec::new(), started: false, ended: false }
    }

    /// The next event. None: the stream ended as it should.
    ///
    /// # Errors
    /// It ended in another way; or the events are not in the order of the protocol.
    pub fn event(&mut self) -> Result<Option<Event>> {
        let mut head = [0; 5];
        self.connection.read_exact(&mut head)?;
        let [flags, a, b, c, d] = head;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if length > FRAME_BYTES_MAX || flags & COMPRESSED != 0 || flags & !LAST != 0 {
            return Err(wrong(format!("a frame with flags {flags} of {length} bytes")));
        }
        self.payload.resize(length, 0);
        self.connection.read_exact(&mut self.payload)?;
        let message: Value = serde_json::from_slice(&self.payload)
            .map_err(|error| wrong(format!("{error}: `{}`", String::from_utf8_lossy(&self.payload))))?;
        if flags & LAST != 0 {
            return self.last(&message);
        }
        let event = event(&message)?;
        if self.started == matches!(event, Event::Start(_)) || self.ended {
            return Err(wrong(format!("out of order: {message}")));
        }
        self.started = true;
        self.ended = matches!(event, Event::End(..));
        Ok(Some(event))
    }

    /// The pid, which comes first.
    ///
    /// # Errors
    /// Those of [`Stream::event`].
    pub fn pid(&mut self) -> Result<u32> {
        match self.event()? {
            Some(Event::Start(pid)) if pid > 0 => Ok(pid),
            other => Err(wrong(format!("{other:?} instead of a start"))),
        }
    }

    /// Everything until the end.
    ///
    /// # Errors
    /// Those of [`Stream::event`].
    pub fn finish(mut self) -> Result<Ended> {
        let mut all = Ended { pid: if self.started { 0 } else { self.pid()? }, ..Ended::default() };
        while let Some(event) = self.event()? {
            match event {
                Event::Stdout(bytes) => all.stdout.extend(bytes),
                Event::Stderr(bytes) => all.stderr.extend(bytes),
                Event::End(code, status) => (all.code, all.status) = (code, status),
                Event::Start(_) | Event::KeepAlive => {}
            }
        }
        Ok(all)
    }

    fn last(&mut self, message: &Value) -> Result<Option<Event>> {
        if self.connection.read(&mut [0])? != 0 {
            return Err(wrong("bytes after the last frame".to_owned()));
        }
        if !message["error"].is_null() {
            let body = message["error"].to_string();
            return Err(Error::Refused { what: "stream", status: 200, body });
        }
        if !self.ended {
            return Err(wrong("it ends without the command's end".to_owned()));
        }
        Ok(None)
    }
}

fn event(message: &Value) -> Result<Event> {
    let event = &message["event"];
    let decoded = |field: &Value| {
        let text = field.as_str().unwrap_or_default();
        STANDARD.decode(text).map_err(|error| wrong(format!("{error}: {message}")))
    };
    if let Some(pid) = event["start"]["pid"].as_u64() {
        return Ok(Event::Start(pid as u32));
    }
    if event["data"]["stdout"].is_string() {
        return decoded(&event["data"]["stdout"]).map(Event::Stdout);
    }
    if event["data"]["stderr"].is_string() {
        return decoded(&event["data"]["stderr"]).map(Event::Stderr);
    }
    if event["keepalive"].is_object() {
        return Ok(Event::KeepAlive);
    }
    if let Some(end) = event["end"].as_object() {
        // Proto's JSON omits a zero.
        let code = end.get("exitCode").and_then(Value::as_i64).unwrap_or(0) as i32;
        let status = end.get("status").and_then(Value::as_str).unwrap_or_default();
        return Ok(Event::End(code, status.to_owned()));
    }
    Err(wrong(format!("no event: {message}")))
}

fn wrong(what: String) -> Error {
    Error::wrong("stream", what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Client, Sandbox};
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::time::Duration;

    /// Runs `/bin/x` against somebody who answers with these frames.
    fn answered(frames: Vec<u8>) -> Result<Ended> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).unwrap();
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: {}\r\n\r\n",
                frames.len()
            )
            .unwrap();
            stream.write_all(&frames).unwrap();
            String::from_utf8_lossy(&request).into_owned()
        });
        let sandbox = Sandbox { id: "i1".into(), token: "t".into() };
        let ended =
            Client::new(address, "k", Duration::from_secs(5)).run(&sandbox, &Command::of(&["/bin/x", "y"]));
        let request = server.join().unwrap();
        assert!(request.starts_with("POST /process.Process/Start HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("E2b-Sandbox-Id: i1\r\nE2b-Sandbox-Port: 49983\r\nX-Access-Token: t\r\n"));
        ended
    }

    fn frames(messages: &[Value], last: &str) -> Vec<u8> {
        let mut all: Vec<u8> = messages.iter().flat_map(frame).collect();
        all.push(LAST);
        all.extend_from_slice(&(last.len() as u32).to_be_bytes());
        all.extend_from_slice(last.as_bytes());
        all
    }

    fn start() -> Value {
        json!({"event": {"start": {"pid": 7}}})
    }

    fn end() -> Value {
        json!({"event": {"end": {"exitCode": 3, "exited": true, "status": "exit status 3"}}})
    }

    #[test]
    fn a_command_comes_back_with_all_it_wrote() {
        let out = |text: &str| json!({"event": {"data": {"stdout": encoded(text.as_bytes())}}});
        let said = [start(), out("a"), json!({"event": {"keepalive": {}}}), out("b"), end()];
        let wanted = Ended {
            pid: 7,
            code: 3,
            status: "exit status 3".into(),
            stdout: b"ab".to_vec(),
            stderr: Vec::new(),
        };
        assert_eq!(answered(frames(&said, "{}")).unwrap(), wanted);
    }

    #[test]
    fn a_stream_that_leaves_something_out_is_an_error() {
        for said in [vec![end()], vec![start()], vec![start(), start(), end()], vec![start(), end(), end()]] {
            assert!(matches!(answered(frames(&said, "{}")), Err(Error::Wrong { .. })), "{said:?}");
        }
        let cut = [frame(&start()), frame(&end())].concat();
        assert!(answered(cut).is_err());
    }

    #[test]
    fn an_error_in_the_last_frame_is_a_refusal() {
        let ended = answered(frames(&[start()], r#"{"error":{"code":"deadline_exceeded"}}"#));
        assert!(matches!(ended, Err(Error::Refused { status: 200, body, .. }) if body.contains("deadline")));
    }
}
