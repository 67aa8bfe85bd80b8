//! What a client of E2B asks for, over one connection that it keeps.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::http::{Connection, Error, Head, Result};

/// The longest answer that is one JSON text.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// What the official SDK asks for when nobody says otherwise.
pub const TEMPLATE: &str = "base";

/// What gives access to a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Sandbox {
    /// Its name.
    pub id: String,
    /// What its services want to see.
    pub token: String,
}

/// A client with a connection of its own.
#[derive(Debug)]
pub struct Client {
    address: SocketAddr,
    key: String,
    patience: Duration,
    pub(crate) connection: Option<Connection>,
}

impl Client {
    /// A client that is not connected yet. It waits for no answer longer than `patience`.
    pub fn new(address: SocketAddr, key: &str, patience: Duration) -> Client {
        Client { address, key: key.to_owned(), patience, connection: None }
    }

    /// Another one like it, with a connection of its own.
    pub fn another(&self) -> Client {
        Client::new(self.address, &self.key, self.patience)
    }

    /// Lets go of the connection.
    pub fn hang_up(&mut self) {
        self.connection = None;
    }

    /// A new sandbox that lives for so long.
    ///
    /// # Errors
    /// It is refused, or the answer is not one.
    pub fn create(&mut self, timeout_s: u64) -> Result<Sandbox> {
        self.create_with(&json!({"templateID": TEMPLATE, "timeout": timeout_s}))
    }

    /// A new sandbox, asked for in these words.
    ///
    /// # Errors
    /// It is refused, or the answer is not one.
    pub fn create_with(&mut self, words: &Value) -> Result<Sandbox> {
        self.sandbox("create", "/v2/sandboxes", words, 201)
    }

    /// The sandbox of this name; it lives at least so long from now.
    ///
    /// # Errors
    /// It is refused, or the answer is not one.
    pub fn connect(&mut self, id: &str, timeout_s: u64) -> Result<Sandbox> {
        let path = format!("/v2/sandboxes/{id}/connect");
        let found = self.sandbox("connect", &path, &json!({"timeout": timeout_s}), 200)?;
        if found.id == id {
            Ok(found)
        } else {
            Err(Error::wrong("connect", format!("{} for {id}", found.id)))
        }
    }

    /// Its description; none if there is no such sandbox.
    ///
    /// # Errors
    /// It is refused in another way.
    pub fn get(&mut self, id: &str) -> Result<Option<Value>> {
        match self.ask("get", "GET", &format!("/sandboxes/{id}"), None, 200) {
            Err(error) if error.status() == Some(404) => Ok(None),
            other => other.map(Some),
        }
    }

    /// The descriptions of all that live, page by page.
    ///
    /// # Errors
    /// It is refused, or a page is none.
    pub fn list(&mut self) -> Result<Vec<Value>> {
        let mut all = Vec::new();
        let mut next = String::new();
        loop {
            let path = format!("/v2/sandboxes?state=running&limit=100{next}");
            let (head, body) = self.call("list", "GET", &path, &self.control(), None)?;
            let page = parse("list", &body)?;
            let page = page.as_array().ok_or_else(|| Error::wrong("list", "no array"))?;
            all.extend(page.iter().cloned());
            match head.header("x-next-token") {
                Some(token) if !token.is_empty() => next = format!("&nextToken={token}"),
                _ => return Ok(all),
            }
        }
    }

    /// Sets when it ends: so many seconds from now.
    ///
    /// # Errors
    /// It is refused.
    pub fn set_timeout(&mut self, id: &str, timeout_s: u64) -> Result<()> {
        let words = json!({"timeout": timeout_s});
        self.ask("timeout", "POST", &format!("/sandboxes/{id}/timeout"), Some(&words), 204).map(drop)
    }

    /// Ends it. Whether there was one.
    ///
    /// # Errors
    /// It is refused in another way.
    pub fn kill(&mut self, id: &str) -> Result<bool> {
        match self.ask("kill", "DELETE", &format!("/sandboxes/{id}"), None, 204) {
            Err(error) if error.status() == Some(404) => Ok(false),
            other => other.map(|_| true),
        }
    }

    /// A request as bytes, for what an honest client does not do with one.
    pub fn request(&self, method: &str, path: &str, headers: &str, body: Option<&[u8]>) -> Vec<u8> {
        let length = body.map(|body| format!("Content-Length: {}\r\n", body.len())).unwrap_or_default();
        let mut request =
            format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n{headers}{length}\r\n", self.address)
                .into_bytes();
        request.extend_from_slice(body.unwrap_or_default());
        request
    }

    /// The header lines that prove whose request it is.
    pub fn control(&self) -> String {
        format!("X-API-KEY: {}\r\n", self.key)
    }

    fn sandbox(&mut self, what: &'static str, path: &str, words: &Value, wanted: u16) -> Result<Sandbox> {
        let answer = self.ask(what, "POST", path, Some(words), wanted)?;
        let field = |name: &str| {
            let text = answer[name].as_str().filter(|text| !text.is_empty());
            text.map(str::to_owned).ok_or_else(|| Error::wrong(what, format!("no {name} in {answer}")))
        };
        Ok(Sandbox { id: field("sandboxID")?, token: field("envdAccessToken")? })
    }

    fn ask(
        &mut self,
        what: &'static str,
        method: &str,
        path: &str,
        words: Option<&Value>,
        wanted: u16,
    ) -> Result<Value> {
        let headers = format!("{}Content-Type: application/json\r\n", self.control());
        let body = words.map(Value::to_string);
        let (head, body) = self.call(what, method, path, &headers, body.as_deref().map(str::as_bytes))?;
        if head.status != wanted {
            return Err(Error::wrong(what, format!("status {} instead of {wanted}", head.status)));
        }
        if wanted == 204 { Ok(Value::Null) } else { parse(what, &body) }
    }

    pub(crate) fn call(
        &mut self,
        what: &'static str,
        method: &str,
        path: &str,
        headers: &str,
        body: Option<&[u8]>,
    ) -> Result<(Head, Vec<u8>)> {
        // A large body is not copied behind its head.
        let (small, large) = match body {
            Some(bytes) if bytes.len() > 64 << 10 => (None, Some(bytes)),
            other => (other, None),
        };
        let mut request = self.request(method, path, headers, small.or(large.map(|_| [].as_slice())));
        if let Some(bytes) = large {
            let length = format!("Content-Length: {}\r\n{headers}", bytes.len());
            request = self.request(method, path, &length, None);
        }
        self.over(what, |connection| {
            connection.send(&request)?;
            connection.send(large.unwrap_or_default())?;
            let head = connection.head()?;
            refused(what, &head, connection, 0)?;
            let body = connection.body(ANSWER_BYTES_MAX)?;
            Ok((head, body))
        })
    }

    /// Does something over the connection, and keeps it if it can be used again.
    pub(crate) fn over<T>(
        &mut self,
        what: &'static str,
        act: impl FnOnce(&mut Connection) -> Result<T>,
    ) -> Result<T> {
        let mut connection = self.taken()?;
        let result = act(&mut connection);
        let fine = matches!(&result, Ok(_) | Err(Error::Refused { .. }));
        if fine && connection.reusable() {
            self.connection = Some(connection);
        }
        result.map_err(|error| named(what, error))
    }

    /// The kept connection, or a new one.
    pub(crate) fn taken(&mut self) -> Result<Connection> {
        match self.connection.take().filter(Connection::reusable) {
            Some(connection) => Ok(connection),
            None => Connection::open(self.address, self.patience),
        }
    }
}

/// An error says which request it was rather than which part of HTTP.
fn named(what: &'static str, error: Error) -> Error {
    match error {
        Error::Broken { what: part, source } => {
            Error::Broken { what, source: std::io::Error::new(source.kind(), format!("{part}: {source}")) }
        }
        Error::Wrong { what: part, wrong } if part != what => {
            Error::Wrong { what, wrong: format!("{part}: {wrong}") }
        }
        other => other,
    }
}

pub(crate) fn refused(
    what: &'static str,
    head: &Head,
    connection: &mut Connection,
    wanted: u16,
) -> Result<()> {
    if head.status == wanted || (wanted == 0 && matches!(head.status, 200..300)) {
        return Ok(());
    }
    let body = connection.body(ANSWER_BYTES_MAX)?;
    Err(Error::Refused { what, status: head.status, body: String::from_utf8_lossy(&body).into_owned() })
}

pub(crate) fn parse(what: &'static str, body: &[u8]) -> Result<Value> {
    serde_json::from_slice(body)
        .map_err(|error| Error::wrong(what, format!("{error}: `{}`", String::from_utf8_lossy(body))))
}
