//! Bytes that are no HTTP, too much of it, or two requests in the clothes of one.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use load::http::Connection;
use load::random::Random;
use serde_json::Value;

use crate::stand::Stand;

const PATIENCE: Duration = Duration::from_secs(5);
const PIPELINED: usize = 20;

#[test]
fn headers_without_measure_are_refused() -> Result<()> {
    Stand::with(24, |stand| {
        let long = "a".repeat(8 << 20);
        let many: String = (0..100_000).map(|number| format!("X-{number}: y\r\n")).collect();
        for request in [
            format!("GET /health HTTP/1.1\r\nHost: a\r\nX-Long: {long}\r\n\r\n"),
            format!("GET /health HTTP/1.1\r\nHost: a\r\n{long}: x\r\n\r\n"),
            format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"),
            format!("{long} / HTTP/1.1\r\nHost: a\r\n\r\n"),
            format!("GET /health HTTP/1.1\r\nHost: a\r\n{many}\r\n"),
            long.clone(),
        ] {
            refused(stand, request.as_bytes()).with_context(|| shown(request.as_bytes()))?;
        }
        Ok(())
    })
}

#[test]
fn what_is_no_http_is_refused() -> Result<()> {
    Stand::with(24, |stand| {
        let mut random = Random::of(5);
        for round in 0..200_usize {
            let count = 1 + random.below(2000) as usize;
            let mut bytes = random.bytes(count);
            if round % 2 == 0 {
                bytes.splice(0..0, *b"POST /v2/sandboxes HTTP/1.1\r\n");
            }
            bytes.extend_from_slice(b"\r\n\r\n");
            refused(stand, &bytes).with_context(|| shown(&bytes))?;
        }
        ensure!(stand.sandboxes()?.len() == 1, "garbage made a sandbox");
        Ok(())
    })
}

/// Where one reader sees the end of a request, and another does not, a second request hides.
#[test]
fn a_request_whose_end_is_in_doubt_is_refused() -> Result<()> {
    Stand::with(24, |stand| {
        let control = stand.client.control();
        let body = r#"{"templateID":"base"}"#;
        let length = body.len();
        let hidden = format!(
            "POST /v2/sandboxes HTTP/1.1\r\nHost: a\r\n{control}Content-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        let framings = [
            format!("Content-Length: 0\r\nContent-Length: {}\r\n\r\n", hidden.len()),
            "Content-Length: -1\r\n\r\n".to_owned(),
            "Content-Length: +0\r\n\r\n".to_owned(),
            "Content-Length: 0x0\r\n\r\n".to_owned(),
            "Content-Length: 99999999999999999999999\r\n\r\n".to_owned(),
            "Content-Length: 0, 5\r\n\r\n".to_owned(),
            "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n".to_owned(),
            "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n".to_owned(),
            "Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n".to_owned(),
            "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n".to_owned(),
            "Transfer-Encoding: chunked\r\n\r\n1\r\nxx\r\n0\r\n\r\n".to_owned(),
            "Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n".to_owned(),
            "Content-Length : 0\r\n\r\n".to_owned(),
            " Content-Length: 0\r\n\r\n".to_owned(),
            "X-A: b\0c\r\nContent-Length: 0\r\n\r\n".to_owned(),
            "X-A: b\rContent-Length: 0\r\n\r\n".to_owned(),
        ];
        for framing in framings {
            let head = format!(
                "POST /v2/sandboxes HTTP/1.1\r\nHost: a\r\n{control}Content-Type: application/json\r\n"
            );
            let request = format!("{head}{framing}{hidden}");
            refused(stand, request.as_bytes()).with_context(|| framing.escape_debug().to_string())?;
            ensure!(stand.sandboxes()?.len() == 1, "`{}` let a request through", framing.escape_debug());
        }
        // RFC 9112 lets a server read this one by its chunks, if it closes the connection after it.
        let both = format!(
            "POST /v2/sandboxes HTTP/1.1\r\nHost: a\r\n{control}Content-Length: 4\r\n\
             Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"
        );
        refused(stand, both.as_bytes()).context("both a length and chunks")?;
        ensure!(stand.sandboxes()?.len() == 1, "a length beside chunks let a request through");
        Ok(())
    })
}

#[test]
fn requests_in_a_row_are_answered_in_order_and_garbage_behind_them_is_refused() -> Result<()> {
    Stand::with(24, |stand| {
        let control = stand.client.control();
        let one = stand.client.request("GET", &format!("/sandboxes/{}", stand.sandbox.id), &control, None);
        let other = stand.client.request("GET", "/sandboxes/inobodynobodynobodyno", &control, None);
        let mut connection = Connection::open(stand.served.address(), PATIENCE)?;
        let mut all = Vec::new();
        for number in 0..PIPELINED {
            all.extend_from_slice(if number % 3 == 0 { &other } else { &one });
        }
        all.extend_from_slice(b"\x16\x03\x01 garbage\r\n\r\n");
        connection.send(&all)?;
        for number in 0..PIPELINED {
            let head = connection.head()?;
            let body = connection.body(1 << 20)?;
            let answer: Value = serde_json::from_slice(&body)?;
            let wanted = if number % 3 == 0 { 404 } else { 200 };
            ensure!(head.status == wanted, "answer {number} is {}: {answer}", head.status);
            ensure!(wanted == 404 || answer["sandboxID"] == stand.sandbox.id, "answer {number} is {answer}");
        }
        match connection.head() {
            Ok(head) if head.status >= 400 => Ok(()),
            Ok(head) => bail!("garbage is answered with {}", head.status),
            Err(_) => Ok(connection.closed().or_else(|error| match error {
                load::http::Error::Broken { source, .. } if source.kind() != ErrorKind::WouldBlock => Ok(()),
                other => Err(other),
            })?),
        }
    })
}

/// Sends this. The first answer, if there is any, is a refusal, and the server closes within its patience.
fn refused(stand: &Stand, bytes: &[u8]) -> Result<()> {
    let mut stream = TcpStream::connect(stand.served.address())?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let start = Instant::now();
    // It may be closed before all is sent.
    let _ = stream.write_all(bytes);
    // What follows is no request either, so that nobody waits for more of this one.
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut said = vec![0; 64 << 10];
    let mut length = 0;
    loop {
        match stream.read(&mut said[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                bail!("neither refused nor closed after {:?}", start.elapsed());
            }
            Err(_) => break,
        }
        ensure!(length < said.len(), "a long answer: {}", shown(&said));
    }
    let said = &said[..length];
    ensure!(
        said.is_empty() || said.starts_with(b"HTTP/1.1 4") || said.starts_with(b"HTTP/1.1 5"),
        "answered: {}",
        shown(said)
    );
    Ok(())
}

fn shown(bytes: &[u8]) -> String {
    bytes[..bytes.len().min(120)].escape_ascii().to_string()
}
