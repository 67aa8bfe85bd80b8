//! What a client asks of one sandbox: its commands and its files.

use serde_json::{Value, json};

use crate::api::{Client, Sandbox, parse, refused};
use crate::http::{Connection, Error, Result};
use crate::process::{self, Stream};

/// Where a sandbox's own services answer.
const PORT: &str = "49983";

/// The header lines that lead to a sandbox.
pub fn address(sandbox: &Sandbox) -> String {
    let Sandbox { id, token } = sandbox;
    format!("E2b-Sandbox-Id: {id}\r\nE2b-Sandbox-Port: {PORT}\r\nX-Access-Token: {token}\r\n")
}

impl Client {
    /// The status of the sandbox's own health route: 204 while it lives.
    ///
    /// # Errors
    /// The connection broke.
    pub fn health(&mut self, sandbox: &Sandbox) -> Result<u16> {
        let headers = address(sandbox);
        match self.call("health", "GET", "/health", &headers, None) {
            Ok((head, _)) => Ok(head.status),
            Err(Error::Refused { status, .. }) => Ok(status),
            Err(error) => Err(error),
        }
    }

    /// Starts a command; what it writes comes over this client's connection.
    ///
    /// # Errors
    /// It is refused, or the connection broke.
    pub fn start(&mut self, sandbox: &Sandbox, command: &process::Command) -> Result<Stream<'_>> {
        let deadline =
            command.timeout_ms.map(|ms| format!("Connect-Timeout-Ms: {ms}\r\n")).unwrap_or_default();
        self.stream("start", "/process.Process/Start", sandbox, &deadline, &command.message())
    }

    /// Runs a command to its end, and returns what came of it.
    ///
    /// # Errors
    /// It is refused, or its stream does not end as it should.
    pub fn run(&mut self, sandbox: &Sandbox, command: &process::Command) -> Result<process::Ended> {
        self.start(sandbox, command)?.finish()
    }

    /// Joins a command that runs.
    ///
    /// # Errors
    /// It is refused, or the connection broke.
    pub fn join(&mut self, sandbox: &Sandbox, pid: u32) -> Result<Stream<'_>> {
        let message = json!({"process": {"pid": pid}});
        self.stream("join", "/process.Process/Connect", sandbox, "", &message)
    }

    /// The commands that run in it, as the server describes them.
    ///
    /// # Errors
    /// It is refused.
    pub fn processes(&mut self, sandbox: &Sandbox) -> Result<Vec<Value>> {
        let answer = self.unary("processes", "/process.Process/List", sandbox, &json!({}))?;
        // An empty list is omitted in proto's JSON.
        Ok(answer["processes"].as_array().cloned().unwrap_or_default())
    }

    /// Gives a command bytes to read.
    ///
    /// # Errors
    /// It is refused.
    pub fn input(&mut self, sandbox: &Sandbox, pid: u32, bytes: &[u8]) -> Result<()> {
        let message = json!({"process": {"pid": pid}, "input": {"stdin": process::encoded(bytes)}});
        self.unary("input", "/process.Process/SendInput", sandbox, &message).map(drop)
    }

    /// Ends a command's input.
    ///
    /// # Errors
    /// It is refused.
    pub fn close_input(&mut self, sandbox: &Sandbox, pid: u32) -> Result<()> {
        let message = json!({"process": {"pid": pid}});
        self.unary("close input", "/process.Process/CloseStdin", sandbox, &message).map(drop)
    }

    /// Kills a command.
    ///
    /// # Errors
    /// It is refused.
    pub fn kill_process(&mut self, sandbox: &Sandbox, pid: u32) -> Result<()> {
        let message = json!({"process": {"pid": pid}, "signal": "SIGNAL_SIGKILL"});
        self.unary("kill process", "/process.Process/SendSignal", sandbox, &message).map(drop)
    }

    /// A call of the filesystem service.
    ///
    /// # Errors
    /// It is refused.
    pub fn files(&mut self, sandbox: &Sandbox, method: &str, message: &Value) -> Result<Value> {
        self.unary("filesystem", &format!("/filesystem.Filesystem/{method}"), sandbox, message)
    }

    /// Writes a file, as one body of octets.
    ///
    /// # Errors
    /// It is refused, or the answer is not the one for this file.
    pub fn write(&mut self, sandbox: &Sandbox, path: &str, bytes: &[u8]) -> Result<()> {
        let headers = format!("{}Content-Type: application/octet-stream\r\n", address(sandbox));
        let (_, body) = self.call("write", "POST", &format!("/files?path={path}"), &headers, Some(bytes))?;
        let answer = parse("write", &body)?;
        let name = path.rsplit('/').next();
        let written = &answer[0];
        if written["path"] == path && written["name"].as_str() == name && written["type"] == "file" {
            return Ok(());
        }
        Err(Error::wrong("write", format!("`{answer}` for {path}")))
    }

    /// Reads a file into `into`, which is exactly as long.
    ///
    /// # Errors
    /// It is refused, or longer or shorter.
    pub fn read(&mut self, sandbox: &Sandbox, path: &str, into: &mut [u8]) -> Result<()> {
        let what = "read";
        let request = self.request("GET", &format!("/files?path={path}"), &address(sandbox), None);
        self.over(what, |connection| {
            connection.send(&request)?;
            let head = connection.head()?;
            refused(what, &head, connection, 200)?;
            connection.read_exact(into)?;
            match connection.read(&mut [0])? {
                0 => Ok(()),
                _ => Err(Error::wrong(what, "more than there is")),
            }
        })
    }

    /// The head of a file's answer; its body is left to the caller to read, or not.
    ///
    /// # Errors
    /// It is refused.
    pub fn open(&mut self, sandbox: &Sandbox, path: &str) -> Result<&mut Connection> {
        let request = self.request("GET", &format!("/files?path={path}"), &address(sandbox), None);
        let mut connection = self.taken()?;
        connection.send(&request)?;
        let head = connection.head()?;
        refused("open", &head, &mut connection, 200)?;
        Ok(self.connection.insert(connection))
    }

    fn unary(&mut self, what: &'static str, path: &str, sandbox: &Sandbox, message: &Value) -> Result<Value> {
        let headers =
            format!("{}Content-Type: application/json\r\nConnect-Protocol-Version: 1\r\n", address(sandbox));
        let (_, body) = self.call(what, "POST", path, &headers, Some(message.to_string().as_bytes()))?;
        parse(what, &body)
    }

    fn stream(
        &mut self,
        what: &'static str,
        path: &str,
        sandbox: &Sandbox,
        more: &str,
        message: &Value,
    ) -> Result<Stream<'_>> {
        let headers = format!("{}{}{more}", address(sandbox), process::HEADERS);
        let frame = process::frame(message);
        let request = self.request("POST", path, &headers, Some(&frame));
        let mut connection = self.taken()?;
        connection.send(&request)?;
        let head = connection.head()?;
        refused(what, &head, &mut connection, 200)?;
        if head.header("content-type") != Some(process::CONTENT_TYPE) {
            return Err(Error::wrong(what, format!("content type {:?}", head.header("content-type"))));
        }
        Ok(Stream::new(self.connection.insert(connection)))
    }
}
