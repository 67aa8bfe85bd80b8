//! `casemate exec`: a command in a sandbox, with our own streams.

use super::client::{Asked, Client};
use super::{refuse, terminal};
use crate::Exit;
use crate::args::Exec;
use crate::output::{self, Form};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use model::SandboxId;
use node::State;
use serde_json::{Value, json};
use server::e2b::frame::{Frames, Received};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{Read, Write};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

const STDIN_BYTES: usize = 32 << 10;

/// How it ended.
#[derive(Debug, serde::Serialize)]
struct Report {
    sandbox: SandboxId,
    exit: u8,
    status: String,
}

/// What happens beside the output.
enum Happened {
    Resized,
    Asked,
}

pub(super) async fn exec(args: Exec, state: &State, form: Form) -> Result<u8, Exit> {
    let told = |asked: Asked| match asked {
        // The sandbox is there: what was refused is the command.
        Asked::Refused { status: 404, message } => {
            output::failure(form, &output::neutral(&message), None, Exit::NotFound)
        }
        asked => refuse(form, &asked),
    };
    let system = |error: std::io::Error| output::error(form, &error, None, Exit::System);
    let lends = terminal::is_ours() && !args.no_terminal;
    let message = message(&args, lends).map_err(|what| output::failure(form, &what, None, Exit::Usage))?;
    let stream = Client::connect(state).await.map_err(told)?;
    let stream =
        stream.stream(args.id, "/process.Process/Start", &args.user, &message).await.map_err(told)?;
    let mut running = Running { stream, frames: Frames::default(), id: args.id };
    let pid = match running.next().await.map_err(told)? {
        Some(event) => event["event"]["start"]["pid"].as_u64().unwrap_or_default(),
        None => return Err(told(Asked::Broken("the stream ended before it began".to_owned()))),
    };
    let control = Client::connect(state).await.map_err(told)?;
    let _raw = lends.then(terminal::Raw::enter);
    let (tell, happened) = mpsc::channel(1);
    std::thread::spawn(move || read_stdin(&tell));
    // Each with a connection of its own: input that the command does not read must not keep signals from it.
    let (id, other) = (args.id, Client::connect(state).await.map_err(told)?);
    let typed = Aside { control, id, pid, lends };
    let asked = Aside { control: other, id, pid, lends };
    let signals = Signals::new().map_err(system)?;
    let end = tokio::select! {
        end = running.show() => end.map_err(told)?,
        never = asked.pass_on(signals) => match never {},
        never = typed.feed(happened) => match never {},
    };
    if end.is_null() {
        return Err(told(Asked::Broken("the stream ended without saying how the command ended".to_owned())));
    }
    let status = end["status"].as_str().unwrap_or_default().to_owned();
    let exit = match server::e2b::signal_of(&status) {
        Some(signal) => 128_u8.saturating_add(signal),
        None => end["exitCode"].as_u64().and_then(|code| u8::try_from(code).ok()).unwrap_or(0),
    };
    drop(_raw);
    if form == Form::Json {
        let report = Report { sandbox: args.id, exit, status: output::neutral(&status) };
        output::say(&serde_json::to_string(&report).unwrap_or_default());
    }
    Ok(exit)
}

fn message(args: &Exec, lends: bool) -> Result<Value, String> {
    let mut envs = BTreeMap::new();
    for word in &args.env {
        match word.split_once('=') {
            Some((name, value)) if !name.is_empty() => envs.insert(name, value),
            _ => return Err(format!("--env `{}`: expected NAME=VALUE", model::quote(word))),
        };
    }
    let term = std::env::var("TERM").unwrap_or_else(|_| "xterm".to_owned());
    if lends {
        envs.entry("TERM").or_insert(&term);
    }
    let mut message = json!({
        "process": {"cmd": args.command[0], "args": args.command[1..], "envs": envs, "cwd": args.cwd},
        "stdin": true,
    });
    if lends {
        message["pty"] = terminal::size();
    }
    Ok(message)
}

/// The stream of a command.
struct Running {
    stream: Incoming,
    frames: Frames,
    id: SandboxId,
}

impl Running {
    /// The next event, or none when the stream ended well.
    async fn next(&mut self) -> Result<Option<Value>, Asked> {
        let broken = |what: String| Asked::Broken(what);
        loop {
            match self.frames.next_frame().map_err(|error| broken(error.to_string()))? {
                Some(Received::Message(content)) => {
                    let event =
                        serde_json::from_slice(&content).map_err(|error| broken(error.to_string()))?;
                    return Ok(Some(event));
                }
                Some(Received::Last(content)) => return last(self.id, &content),
                None => {}
            }
            let Some(frame) = self.stream.frame().await else {
                return Err(broken(format!("the stream broke off: is the sandbox {} gone?", self.id)));
            };
            if let Ok(bytes) = frame?.into_data() {
                self.frames.push(&bytes);
            }
        }
    }

    /// Writes what comes out to our own streams; gives the end event.
    async fn show(&mut self) -> Result<Value, Asked> {
        let mut end = Value::Null;
        while let Some(event) = self.next().await? {
            let event = &event["event"];
            if event["end"].is_object() {
                end = event["end"].clone();
            }
            let bytes =
                |stream: &str| event["data"][stream].as_str().and_then(|text| STANDARD.decode(text).ok());
            // Who reads our output may have gone; the command goes on, as it would in a pipeline that tee began.
            if let Some(bytes) = bytes("stdout").or_else(|| bytes("pty")) {
                let mut stdout = std::io::stdout().lock();
                let _ = stdout.write_all(&bytes).and_then(|()| stdout.flush());
            }
            if let Some(bytes) = bytes("stderr") {
                let _ = std::io::stderr().write_all(&bytes);
            }
        }
        Ok(end)
    }
}

/// The last frame of a stream: nothing, or an error.
fn last(id: SandboxId, content: &[u8]) -> Result<Option<Value>, Asked> {
    let last: Value = serde_json::from_slice(content).map_err(|error| Asked::Broken(error.to_string()))?;
    let error = &last["error"];
    if error.is_null() {
        return Ok(None);
    }
    let message = error["message"].as_str().unwrap_or_default().to_owned();
    let status = match error["code"].as_str().unwrap_or_default() {
        "permission_denied" | "unauthenticated" => 403,
        // The program or its working directory.
        "invalid_argument" | "not_found" => 404,
        "unavailable" => return Err(Asked::Refused { status: 502, message: format!("{message}: {id}") }),
        _ => 500,
    };
    Err(Asked::Refused { status, message })
}

/// What goes to the command: keys, or sizes and signals. What cannot be passed on is the command's end, which the stream
/// tells.
struct Aside {
    control: Client,
    id: SandboxId,
    pid: u64,
    lends: bool,
}

impl Aside {
    /// Passes on what is typed, for as long as the command reads.
    async fn feed(mut self, mut input: mpsc::Receiver<Vec<u8>>) -> Infallible {
        let stream = if self.lends { "pty" } else { "stdin" };
        while let Some(bytes) = input.recv().await {
            let input = json!({stream: STANDARD.encode(bytes)});
            if !self.call("SendInput", json!({"process": self.process(), "input": input})).await {
                // It reads no more. Our own input is left to whoever reads it next.
                return std::future::pending().await;
            }
        }
        if !self.lends {
            self.call("CloseStdin", json!({"process": self.process()})).await;
        }
        std::future::pending().await
    }

    /// Passes on the size of our terminal and signals: the first asks the command to end, the second ends it.
    async fn pass_on(mut self, mut signals: Signals) -> Infallible {
        let mut asked = 0;
        loop {
            match signals.next().await {
                Happened::Resized if self.lends => {
                    self.call("Update", json!({"process": self.process(), "pty": terminal::size()})).await;
                }
                Happened::Resized => {}
                Happened::Asked => {
                    asked += 1;
                    let signal = if asked == 1 { "SIGNAL_SIGTERM" } else { "SIGNAL_SIGKILL" };
                    self.call("SendSignal", json!({"process": self.process(), "signal": signal})).await;
                }
            }
        }
    }

    fn process(&self) -> Value {
        json!({"pid": self.pid})
    }

    async fn call(&mut self, method: &str, message: Value) -> bool {
        self.control.call(self.id, &format!("/process.Process/{method}"), &message).await.is_ok()
    }
}

struct Signals {
    resized: Signal,
    asked: [Signal; 3],
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        let asked = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [interrupt, terminate, hangup] = asked.map(signal);
        Ok(Signals {
            resized: signal(SignalKind::window_change())?,
            asked: [interrupt?, terminate?, hangup?],
        })
    }

    async fn next(&mut self) -> Happened {
        let [interrupt, terminate, hangup] = &mut self.asked;
        tokio::select! {
            _ = self.resized.recv() => Happened::Resized,
            _ = interrupt.recv() => Happened::Asked,
            _ = terminate.recv() => Happened::Asked,
            _ = hangup.recv() => Happened::Asked,
        }
    }
}

/// Reads our standard input, piece by piece, no further ahead than one.
fn read_stdin(tell: &mpsc::Sender<Vec<u8>>) {
    let mut buffer = vec![0; STDIN_BYTES];
    let mut stdin = std::io::stdin().lock();
    while let Ok(count @ 1..) = stdin.read(&mut buffer) {
        if tell.blocking_send(buffer[..count].to_vec()).is_err() {
            return;
        }
    }
}
