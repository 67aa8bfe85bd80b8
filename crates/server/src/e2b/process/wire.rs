//! Messages of `process.Process`, as proto3's JSON writes them.

use super::signal::signal_words;
use crate::bounds::{EVENT_BYTES_MAX, TAG_BYTES_MAX};
use crate::e2b::call::path;
use crate::e2b::failure::{Failure, Kind, fail};
use crate::e2b::frame;
use crate::e2b::json::{Base64, Number, bounded, nullable, object, optional_object};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use node::host::{CommandEnd, CommandInfo, Input, Selector, Stdin, TerminalSize};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// `StartRequest`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Start {
    #[serde(deserialize_with = "object")]
    process: Config,
    #[serde(deserialize_with = "optional_object")]
    pty: Option<Pty>,
    tag: Option<String>,
    stdin: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Config {
    #[serde(deserialize_with = "nullable")]
    cmd: String,
    #[serde(deserialize_with = "bounded")]
    args: Vec<String>,
    #[serde(deserialize_with = "bounded")]
    envs: BTreeMap<String, String>,
    cwd: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Pty {
    #[serde(deserialize_with = "optional_object")]
    size: Option<Size>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Size {
    #[serde(deserialize_with = "nullable")]
    cols: Number,
    #[serde(deserialize_with = "nullable")]
    rows: Number,
}

/// What a start asks for, understood. The user, the deadline and the sandbox's own variables are not in the message.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub argv: Vec<Vec<u8>>,
    pub env: Vec<(Vec<u8>, Vec<u8>)>,
    pub cwd: Option<Vec<u8>>,
    pub tag: Option<String>,
    pub stdin: Stdin,
}

impl Start {
    pub(crate) fn understood(self) -> Result<Wanted, Failure> {
        let stdin = match (self.pty, self.stdin) {
            (Some(pty), _) => Stdin::Terminal(pty.size()?),
            (None, Some(false)) => Stdin::Null,
            (None, Some(true) | None) => Stdin::Pipe,
        };
        if self.tag.as_ref().is_some_and(|tag| tag.len() > TAG_BYTES_MAX) {
            return fail(Kind::Invalid, format!("the tag is longer than {TAG_BYTES_MAX} bytes"));
        }
        let Config { cmd, args, envs, cwd } = self.process;
        if cmd.is_empty() {
            return fail(Kind::Invalid, "process.cmd: no command");
        }
        let cwd = cwd.filter(|cwd| !cwd.is_empty()).map(|cwd| path(Cow::Owned(cwd))).transpose()?;
        Ok(Wanted {
            argv: std::iter::once(cmd).chain(args).map(String::into_bytes).collect(),
            env: envs.into_iter().map(|(name, value)| (name.into_bytes(), value.into_bytes())).collect(),
            cwd,
            tag: self.tag,
            stdin,
        })
    }
}

impl Pty {
    fn size(self) -> Result<TerminalSize, Failure> {
        let Size { cols, rows } = self.size.unwrap_or_default();
        Ok(TerminalSize { rows: rows.unsigned("pty.size.rows")?, columns: cols.unsigned("pty.size.cols")? })
    }
}

/// `ProcessSelector`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Process {
    pid: Option<Number>,
    tag: Option<String>,
}

impl Process {
    pub(crate) fn selector(self) -> Result<Selector, Failure> {
        match (self.pid, self.tag) {
            (Some(pid), None) => Ok(Selector::Pid(pid.unsigned("process.pid")?)),
            (None, Some(tag)) => Ok(Selector::Tag(tag)),
            _ => fail(Kind::Invalid, "process: expected a pid or a tag"),
        }
    }
}

/// A request that says nothing.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Nothing {}

/// A request that names a process and nothing else.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Naming {
    #[serde(deserialize_with = "object")]
    pub process: Process,
}

/// `UpdateRequest`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Update {
    #[serde(deserialize_with = "object")]
    pub process: Process,
    #[serde(deserialize_with = "optional_object")]
    pty: Option<Pty>,
}

impl Update {
    /// Whose terminal is to have which size; none if nothing is to change.
    pub(crate) fn understood(self) -> Result<(Selector, Option<TerminalSize>), Failure> {
        Ok((self.process.selector()?, self.pty.map(Pty::size).transpose()?))
    }
}

/// `SendInputRequest`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SendInput {
    #[serde(deserialize_with = "object")]
    process: Process,
    #[serde(deserialize_with = "object")]
    input: ProcessInput,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ProcessInput {
    stdin: Option<Base64>,
    pty: Option<Base64>,
}

impl SendInput {
    pub(crate) fn understood(self) -> Result<(Selector, Input), Failure> {
        let selector = self.process.selector()?;
        match (self.input.stdin, self.input.pty) {
            (Some(bytes), None) => Ok((selector, Input::Stdin(bytes.0.into()))),
            (None, Some(bytes)) => Ok((selector, Input::Terminal(bytes.0.into()))),
            _ => fail(Kind::Invalid, "input: expected stdin or pty"),
        }
    }
}

/// `SendSignalRequest`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SendSignal {
    #[serde(deserialize_with = "object")]
    pub process: Process,
    #[serde(deserialize_with = "nullable")]
    signal: Signal,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Signal {
    Name(String),
    Number(Number),
}

impl Default for Signal {
    fn default() -> Self {
        Signal::Number(Number(0))
    }
}

impl SendSignal {
    pub(crate) fn understood(self) -> Result<(Selector, i32), Failure> {
        let signal = match &self.signal {
            Signal::Name(name) if name == "SIGNAL_SIGTERM" => 15,
            Signal::Name(name) if name == "SIGNAL_SIGKILL" => 9,
            Signal::Number(Number(15)) => 15,
            Signal::Number(Number(9)) => 9,
            _ => return fail(Kind::Invalid, "signal: expected SIGNAL_SIGTERM or SIGNAL_SIGKILL"),
        };
        Ok((self.process.selector()?, signal))
    }
}

/// `ProcessInfo`. Bytes that are no UTF-8 cannot come from a client of this protocol.
#[derive(Debug, Serialize)]
pub(crate) struct Listed {
    config: ListedConfig,
    pid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<String>,
}

#[derive(Debug, Serialize)]
struct ListedConfig {
    cmd: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    args: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    envs: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cwd: Option<String>,
}

impl From<CommandInfo> for Listed {
    fn from(info: CommandInfo) -> Listed {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let mut words = info.argv.into_iter().map(text);
        let config = ListedConfig {
            cmd: words.next().unwrap_or_default(),
            args: words.collect(),
            envs: info.env.into_iter().map(|(name, value)| (text(name), text(value))).collect(),
            cwd: info.cwd.map(text),
        };
        Listed { config, pid: info.pid, tag: info.tag }
    }
}

/// Which stream a piece of output is of.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
    Pty,
}

/// The frames that carry some output: base64 between fixed texts, written once.
pub(crate) fn data(stream: Stream, mut output: Bytes) -> Bytes {
    let head: &[u8] = match stream {
        Stream::Stdout => br#"{"event":{"data":{"stdout":""#,
        Stream::Stderr => br#"{"event":{"data":{"stderr":""#,
        Stream::Pty => br#"{"event":{"data":{"pty":""#,
    };
    const TAIL: &[u8] = br#""}}}"#;
    const FRAME_HEAD: usize = 5;
    let events = output.len().div_ceil(EVENT_BYTES_MAX);
    let mut frames = Vec::with_capacity(
        output.len().div_ceil(3) * 4 + events * (FRAME_HEAD + head.len() + TAIL.len() + 4),
    );
    while !output.is_empty() {
        let part = output.split_to(output.len().min(EVENT_BYTES_MAX));
        let content = head.len() + part.len().div_ceil(3) * 4 + TAIL.len();
        frames.push(0);
        frames.extend_from_slice(&u32::try_from(content).unwrap_or(u32::MAX).to_be_bytes());
        frames.extend_from_slice(head);
        let at = frames.len();
        frames.resize(at + part.len().div_ceil(3) * 4, 0);
        // The space is exactly what base64 with padding needs.
        let written = STANDARD.encode_slice(&part, &mut frames[at..]).unwrap_or(0);
        frames.truncate(at + written);
        frames.extend_from_slice(TAIL);
    }
    frames.into()
}

pub(crate) fn start(pid: u32) -> Bytes {
    frame::message(format!(r#"{{"event":{{"start":{{"pid":{pid}}}}}}}"#).as_bytes())
}

pub(crate) fn keepalive() -> Bytes {
    frame::message(br#"{"event":{"keepalive":{}}}"#)
}

/// How a stream ends for a command that ended so: its end event, or an error.
pub(crate) fn end(end: CommandEnd) -> Result<Bytes, Failure> {
    let event = match end {
        CommandEnd::Exited(0) => json!({"exited": true, "status": "exit status 0"}),
        CommandEnd::Exited(status) => {
            let words = format!("exit status {status}");
            json!({"exitCode": status, "exited": true, "status": words, "error": words})
        }
        CommandEnd::Signaled(signal) => {
            let words = format!("signal: {}", signal_words(signal));
            json!({"exitCode": -1, "status": words, "error": words})
        }
        CommandEnd::Deadline => return fail(Kind::Deadline, "the command was killed at its deadline"),
        CommandEnd::SandboxGone => return Err(Failure::Gone),
        CommandEnd::LeftBehind => {
            return fail(
                Kind::Exhausted,
                "this stream was read too slowly for the others; the command goes on",
            );
        }
    };
    Ok(frame::message(end_event(event).to_string().as_bytes()))
}

fn end_event(event: Value) -> Value {
    json!({"event": {"end": event}})
}

#[cfg(test)]
mod tests;
