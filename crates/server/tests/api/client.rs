//! A server to test, and a client that says exactly what it is told to.

use model::{Quota, Role, Roles};
use node::State;
use node::host::{DEFAULT_TEMPLATE, Settings, Template};
use node::keys::{Holder, Keys};
use node::launcher::protocol::{Order, Report};
use node::launcher::{Client as Launcher, ensure};
use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::Value;
use server::{Worker, open_network};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;
use tempfile::TempDir;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Descriptors of this process: a quarter of them is what the server gives to connections.
pub(crate) const DESCRIPTORS: u64 = 1024;

/// A server with two keys.
pub(crate) struct Server {
    pub address: SocketAddr,
    pub key: String,
    pub other_key: String,
    /// One key for each role, in the order of `Role::ALL`.
    pub role_keys: Vec<String>,
    keys: Option<Arc<Keys>>,
    running: Mutex<Option<Running>>,
}

struct Running {
    state: TempDir,
    end: std::io::PipeWriter,
    served: JoinHandle<()>,
}

/// A sandbox, and what opens it.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub id: String,
    pub token: String,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Server {
    /// For a listing of the tests, which runs none.
    pub(crate) fn none() -> Server {
        let address = SocketAddr::from(([127, 0, 0, 1], 9));
        Server {
            address,
            key: String::new(),
            other_key: String::new(),
            role_keys: Vec::new(),
            keys: None,
            running: Mutex::new(None),
        }
    }

    pub(crate) fn start() -> Server {
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = Some(DESCRIPTORS);
        setrlimit(Resource::Nofile, limit).unwrap();
        let directory = TempDir::new().unwrap();
        let state = State::open(directory.path()).unwrap();
        let launcher = ensure(&state).unwrap();
        let keys = Arc::new(Keys::open(&state).unwrap());
        let [key, other_key] = ["one", "other"]
            .map(|name| keys.create(name, Roles::CREATOR, Quota::NONE).unwrap().1.reveal().to_owned());
        let of_role = |role: Role| keys.create(role.as_str(), Roles::new([role]).unwrap(), Quota::NONE);
        let role_keys = Role::ALL.map(|role| of_role(role).unwrap().1.reveal().to_owned()).to_vec();
        let kept = Some(keys.clone());
        let network = open_network(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = network.local_addr().unwrap();
        let (ending, end) = std::io::pipe().unwrap();
        let source = node::PolicySource {
            text: policy::shipped("default").unwrap().into(),
            origin: "shipped:default".to_owned(),
            directory: "/".into(),
        };
        let policy = Arc::new(state.load_policy(&source).unwrap());
        let template = Template { policy, origin: source.origin, base: "/".into() };
        let tiny = "version = 1\nname = \"tiny\"\n[compute]\nmemory = \"200MiB\"\ndisk = \"64MiB\"\nwall = \"60s\"\n";
        let policy = Arc::new(policy::Policy::parse(tiny.as_bytes(), "tiny").unwrap());
        let tiny = Template { policy, origin: "tiny".to_owned(), base: "/".into() };
        let templates = [(DEFAULT_TEMPLATE.to_owned(), template.into()), ("tiny".to_owned(), tiny.into())];
        let templates = BTreeMap::from(templates);
        let check = move |secret: &str| -> Option<Holder> { keys.check(secret) };
        let worker = Worker {
            settings: Settings { state, templates, sandboxes_max: 64 },
            launcher,
            keys: Arc::new(check),
            domain: None,
            network,
            tls: None,
            ending: ending.into(),
        };
        let (tell, ready) = mpsc::channel();
        let served = std::thread::spawn(move || {
            let over = worker.serve(|| tell.send(()).unwrap());
            assert!(matches!(over, server::Over::Asked), "{over:?}");
        });
        ready.recv_timeout(PATIENCE).unwrap();
        let running = Mutex::new(Some(Running { state: directory, end, served }));
        Server { address, key, other_key, role_keys, keys: kept, running }
    }

    /// Ends the server and its sandboxes.
    pub(crate) fn stop(&self) {
        let Some(Running { state, mut end, served }) = self.running.lock().unwrap().take() else { return };
        end.write_all(b"e").unwrap();
        served.join().unwrap();
        let launcher = Launcher::connect(state.path()).unwrap();
        launcher.send(&Order::StopAll, &[]).unwrap();
        while !matches!(launcher.receive_within(PATIENCE).unwrap(), Some((Report::Stopped { .. }, _)) | None)
        {
        }
    }

    /// A new creator's key, which may have so much.
    pub(crate) fn key_with(&self, quota: Quota) -> String {
        self.keys.as_ref().unwrap().create("bounded", Roles::CREATOR, quota).unwrap().1.reveal().to_owned()
    }

    /// The record, as it is on disk now.
    pub(crate) fn records(&self) -> Vec<Value> {
        let running = self.running.lock().unwrap();
        let entries = ledger::read(running.as_ref().unwrap().state.path()).unwrap();
        entries.map(|entry| serde_json::from_str(&entry.unwrap().line).unwrap()).collect()
    }

    /// The name of the operator's socket.
    pub(crate) fn local(&self) -> server::LocalName {
        server::LocalName::of(self.running.lock().unwrap().as_ref().unwrap().state.path()).unwrap()
    }

    pub(crate) fn connect(&self) -> Connection<TcpStream> {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Connection { stream, read: Vec::new() }
    }

    /// One request on a connection of its own.
    pub(crate) fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.connect().ask(method, path, headers, body)
    }

    /// A control request with the first key.
    pub(crate) fn control(&self, method: &str, path: &str, body: &str) -> Answer {
        self.ask(method, path, &[("x-api-key", &self.key)], body.as_bytes())
    }

    pub(crate) fn create(&self) -> Made {
        self.create_for(&self.key)
    }

    pub(crate) fn create_for(&self, key: &str) -> Made {
        let answer = self.ask("POST", "/v2/sandboxes", &[("x-api-key", key)], br#"{"templateID":"base"}"#);
        assert_eq!(answer.status, 201, "{answer:?}");
        let value = answer.json();
        let text = |name: &str| value[name].as_str().unwrap().to_owned();
        Made { id: text("sandboxID"), token: text("envdAccessToken") }
    }

    pub(crate) fn kill(&self, made: &Made) {
        assert_eq!(self.control("DELETE", &format!("/sandboxes/{}", made.id), "").status, 204);
    }
}

impl Made {
    /// The headers of a request to it.
    pub(crate) fn headers(&self) -> Vec<(&str, &str)> {
        vec![
            ("e2b-sandbox-id", self.id.as_str()),
            ("e2b-sandbox-port", "49983"),
            ("x-access-token", self.token.as_str()),
        ]
    }

    pub(crate) fn with<'a>(&'a self, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        [self.headers(), more.to_vec()].concat()
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A connection.
pub(crate) struct Connection<S> {
    pub stream: S,
    read: Vec<u8>,
}

impl<S: Read + Write> Connection<S> {
    pub(crate) fn over(stream: S) -> Self {
        Connection { stream, read: Vec::new() }
    }

    pub(crate) fn ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.send(method, path, headers, body);
        self.answer()
    }

    /// Asks, and does not wait for the answer.
    pub(crate) fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) {
        let host = if headers.iter().any(|(name, _)| *name == "host") { "" } else { "host: localhost\r\n" };
        let mut text = format!("{method} {path} HTTP/1.1\r\n{host}content-length: {}\r\n", body.len());
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        // A server that refuses early may have closed its side already; its answer is there all the same.
        let _ = self.stream.write_all(text.as_bytes()).and_then(|()| self.stream.write_all(body));
    }

    /// Reads one answer.
    pub(crate) fn answer(&mut self) -> Answer {
        let end = self.until(b"\r\n\r\n").expect("an answer");
        let head = String::from_utf8(self.read.drain(..end + 4).collect()).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status: u16 = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<(String, String)> = lines
            .map(|line| {
                line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned())).unwrap()
            })
            .collect();
        let mut answer = Answer { status, headers, body: Vec::new() };
        if status == 100 {
            return self.answer();
        }
        answer.body = match (answer.header("content-length"), answer.header("transfer-encoding")) {
            (Some(length), _) => self.exactly(length.parse().unwrap()),
            (None, Some(_)) => self.chunks(),
            (None, None) => Vec::new(),
        };
        answer
    }

    fn more(&mut self) -> bool {
        let mut buffer = [0; 65536];
        match self.stream.read(&mut buffer) {
            Ok(0) => false,
            Ok(count) => {
                self.read.extend_from_slice(&buffer[..count]);
                true
            }
            Err(error) => panic!("{error}, after {:?}", String::from_utf8_lossy(&self.read)),
        }
    }

    fn until(&mut self, wanted: &[u8]) -> Option<usize> {
        loop {
            if let Some(at) = self.read.windows(wanted.len()).position(|window| window == wanted) {
                return Some(at);
            }
            if !self.more() {
                return None;
            }
        }
    }

    fn exactly(&mut self, length: usize) -> Vec<u8> {
        while self.read.len() < length {
            assert!(self.more(), "the answer breaks off");
        }
        self.read.drain(..length).collect()
    }

    fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let at = self.until(b"\r\n").expect("a chunk");
            let line: Vec<u8> = self.read.drain(..at + 2).collect();
            let length = usize::from_str_radix(std::str::from_utf8(&line[..at]).unwrap(), 16).unwrap();
            body.extend(self.exactly(length));
            self.exactly(2);
            if length == 0 {
                return body;
            }
        }
    }

    /// Whether the server closes the connection, without another byte.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.read.is_empty() && !matches!(self.stream.read(&mut [0; 1]), Ok(1..))
    }
}

/// The messages of a stream, and the content of its last frame.
pub(crate) fn events(answer: &Answer) -> (Vec<Value>, Value) {
    use server::e2b::frame::{Frames, Received};
    assert_eq!(answer.header("content-type"), Some("application/connect+json"), "{answer:?}");
    let mut frames = Frames::default();
    frames.push(&answer.body);
    let mut messages = Vec::new();
    while let Some(received) = frames.next_frame().unwrap() {
        match received {
            Received::Message(content) => messages.push(serde_json::from_slice(&content).unwrap()),
            Received::Last(content) => return (messages, serde_json::from_slice(&content).unwrap()),
        }
    }
    panic!("no last frame: {messages:?}");
}

/// One message as the body of a stream's request.
pub(crate) fn framed(message: &Value) -> Vec<u8> {
    server::e2b::frame::message(message.to_string().as_bytes()).to_vec()
}
