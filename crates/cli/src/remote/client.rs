//! A client of the server's local socket.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use model::SandboxId;
use node::State;
use serde_json::Value;
use server::e2b::place::{ENVD_PORT, SANDBOX_ID, SANDBOX_PORT};
use std::io;
use tokio::net::UnixStream;

/// The longest answer that is not a stream.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// One connection, for one request after another.
pub(super) struct Client {
    sender: SendRequest<Full<Bytes>>,
}

/// Why something was not done.
#[derive(Debug)]
pub(super) enum Asked {
    /// Nobody listens.
    NoServer(io::Error),
    /// The connection broke, or what came back makes no sense.
    Broken(String),
    /// The server says no.
    Refused { status: u16, message: String },
}

impl From<hyper::Error> for Asked {
    fn from(error: hyper::Error) -> Asked {
        Asked::Broken(format!("the server does not answer: {error}"))
    }
}

impl Client {
    pub(super) async fn connect(state: &State) -> Result<Client, Asked> {
        let name = server::LocalName::of(state.path()).map_err(Asked::NoServer)?;
        let stream = UnixStream::connect(&name).await.map_err(Asked::NoServer)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Client { sender })
    }

    /// Asks the control plane. Gives what it answers, and the token of the next page.
    pub(super) async fn ask(
        &mut self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(Value, Option<String>), Asked> {
        let body = body.map_or_else(Bytes::new, |body| body.to_string().into());
        let request =
            Request::builder().method(method).uri(path).header("host", "casemate").body(Full::new(body));
        let response = self.send(request).await?;
        let next =
            response.headers().get("x-next-token").and_then(|value| value.to_str().ok()).map(str::to_owned);
        Ok((value(response).await?, next))
    }

    /// A unary call in a sandbox.
    pub(super) async fn call(&mut self, id: SandboxId, path: &str, message: &Value) -> Result<Value, Asked> {
        let body = Full::new(Bytes::from(message.to_string()));
        let request = inside(id, path).header("content-type", "application/json").body(body);
        value(self.send(request).await?).await
    }

    /// A stream of a sandbox. This connection is the stream's from now on.
    pub(super) async fn stream(
        mut self,
        id: SandboxId,
        path: &str,
        user: &str,
        message: &Value,
    ) -> Result<Incoming, Asked> {
        let body = Full::new(server::e2b::frame::message(message.to_string().as_bytes()));
        let user = format!("Basic {}", STANDARD.encode(format!("{user}:")));
        let request =
            inside(id, path).header("content-type", "application/connect+json").header("authorization", user);
        Ok(self.send(request.body(body)).await?.into_body())
    }

    /// Sends a request; an answer that says no is an error.
    async fn send(
        &mut self,
        request: hyper::http::Result<Request<Full<Bytes>>>,
    ) -> Result<Response<Incoming>, Asked> {
        let request = request.map_err(|error| Asked::Broken(error.to_string()))?;
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let body = value(response).await?;
        let message = body["message"].as_str().unwrap_or("the server says no, and not why").to_owned();
        Err(Asked::Refused { status, message })
    }
}

fn inside(id: SandboxId, path: &str) -> hyper::http::request::Builder {
    let builder = Request::post(path).header("host", "casemate").header("connect-protocol-version", "1");
    builder.header(SANDBOX_ID, id.as_str()).header(SANDBOX_PORT, ENVD_PORT)
}

async fn value(response: Response<Incoming>) -> Result<Value, Asked> {
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
    let bytes = body.map_err(|error| Asked::Broken(format!("the answer broke off: {error}")))?.to_bytes();
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&bytes).map_err(|error| Asked::Broken(format!("the answer is no JSON: {error}")))
}
