//! Requests that end too early, and connections that are closed by half.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use load::data;
use load::process;
use load::procfs::sockets;
use load::within;
use serde_json::json;

use crate::stand::Stand;

const PATIENCE: Duration = Duration::from_secs(5);
/// Nothing comes any more when nothing has come for so long.
const QUIET: Duration = Duration::from_secs(1);
/// Cuts of each request: every so-manieth byte, so that there are about this many.
const CUTS: usize = 80;
/// Commands that are left to run.
const STREAMS: usize = 30;
const MARK: &str = "cut-short";

#[test]
fn a_request_that_is_cut_short_does_nothing() -> Result<()> {
    Stand::with(32, |stand| {
        for (name, request) in requests(stand) {
            let step = request.len().div_ceil(CUTS).max(1);
            for end in (0..request.len()).step_by(step).chain([request.len() - 1]) {
                for half in [true, false] {
                    cut(stand, &request[..end], half)
                        .with_context(|| format!("{name}, cut after {end} of {} bytes", request.len()))?;
                }
            }
        }
        ensure!(stand.sandboxes()?.len() == 1, "a create that was cut short made a sandbox");
        let mut record = stand.served.record();
        record.read_on()?;
        ensure!(!record.has_command(&stand.sandbox.id, MARK), "a command that was cut short was run");
        ensure!(record.ends(&stand.sandbox.id).is_empty(), "a kill that was cut short was done");
        Ok(())
    })
}

#[test]
fn a_connection_that_is_closed_by_half_gets_its_whole_answer_or_its_end() -> Result<()> {
    Stand::with(32, |stand| {
        let requests = requests(stand);
        for (name, request) in requests.iter().filter(|(name, _)| *name != "kill") {
            for _ in 0..20 {
                let mut stream = connect(stand)?;
                stream.write_all(request)?;
                stream.shutdown(Shutdown::Write)?;
                let said = rest(&mut stream).with_context(|| format!("{name}, closed by half"))?;
                let text = String::from_utf8_lossy(&said).into_owned();
                let whole = text.starts_with("HTTP/1.1 2") && whole(&text);
                ensure!(whole || said.is_empty(), "{name}, closed by half, is answered: {text}");
            }
        }
        // A create whose client has left may still be under way, and ends by itself.
        let mut quiet = Instant::now();
        while quiet.elapsed() < QUIET {
            for id in stand.sandboxes()? {
                if id != stand.sandbox.id {
                    stand.client.kill(&id)?;
                    quiet = Instant::now();
                }
            }
        }
        Ok(())
    })
}

#[test]
fn a_stream_that_is_closed_by_half_ends_with_its_command() -> Result<()> {
    Stand::with(32, |stand| {
        let mut streams = Vec::new();
        for _ in 0..STREAMS {
            let mut stream = connect(stand)?;
            stream.write_all(&endless(stand))?;
            stream.shutdown(Shutdown::Write)?;
            streams.push(stream);
        }
        end_commands(stand)?;
        streams.iter_mut().try_for_each(|stream| rest(stream).map(drop))
    })
}

#[test]
fn a_stream_whose_client_vanishes_keeps_no_connection() -> Result<()> {
    Stand::with(32, |stand| {
        let server = stand.parts.server.context("no server")?;
        let before = sockets(server);
        let mut streams = Vec::new();
        for _ in 0..STREAMS {
            let mut stream = connect(stand)?;
            stream.write_all(&endless(stand))?;
            // The first event is there: it runs.
            ensure!(stream.read(&mut [0; 16])? > 0, "not answered");
            streams.push(stream);
        }
        drop(streams);
        // The honest client beside us has two.
        within(PATIENCE, || Ok(sockets(server) <= before + 3))
            .with_context(|| format!("{} sockets are left of {before}", sockets(server)))?;
        end_commands(stand)
    })
}

/// A command that does not end by itself.
fn endless(stand: &Stand) -> Vec<u8> {
    let command = json!({"process": {"cmd": "/bin/sleep", "args": ["600"]}, "stdin": false});
    let headers = format!("{}{}", data::address(&stand.sandbox), process::HEADERS);
    stand.client.request("POST", "/process.Process/Start", &headers, Some(&process::frame(&command)))
}

/// Ends all commands that do not end by themselves.
fn end_commands(stand: &mut Stand) -> Result<()> {
    let mut quiet = Instant::now();
    while quiet.elapsed() < QUIET {
        for process in stand.client.processes(&stand.sandbox)? {
            if process["config"]["cmd"] == "/bin/sleep" {
                let pid = process["pid"].as_u64().context("no pid")? as u32;
                stand.client.kill_process(&stand.sandbox, pid)?;
                quiet = Instant::now();
            }
        }
    }
    Ok(())
}

/// One of each kind, whole.
fn requests(stand: &Stand) -> Vec<(&'static str, Vec<u8>)> {
    let client = &stand.client;
    let control = format!("{}Content-Type: application/json\r\n", client.control());
    let data = data::address(&stand.sandbox);
    let command = json!({"process": {"cmd": "/bin/sh", "args": ["-c", "true", MARK]}, "stdin": false});
    let stream = format!("{data}{}", process::HEADERS);
    let octets = format!("{data}Content-Type: application/octet-stream\r\n");
    let chunked = format!("{control}Transfer-Encoding: chunked\r\n");
    let mut create_chunked = client.request("POST", "/v2/sandboxes", &chunked, None);
    create_chunked.extend_from_slice(b"15\r\n{\"templateID\": \"base\"\r\n1\r\n}\r\n0\r\n\r\n");
    let kill = format!("/sandboxes/{}", stand.sandbox.id);
    vec![
        ("create", client.request("POST", "/v2/sandboxes", &control, Some(br#"{"templateID": "base"}"#))),
        ("create in chunks", create_chunked),
        ("start", client.request("POST", "/process.Process/Start", &stream, Some(&process::frame(&command)))),
        ("write", client.request("POST", "/files?path=/home/user/cut", &octets, Some(&[b'x'; 500]))),
        ("list", client.request("GET", "/v2/sandboxes", &control, None)),
        ("kill", client.request("DELETE", &kill, &control, None)),
    ]
}

/// Sends that much and no more. Closed by half, it may be told so; it may not be told that all is well.
fn cut(stand: &Stand, begin: &[u8], half: bool) -> Result<()> {
    let mut stream = connect(stand)?;
    stream.write_all(begin)?;
    if half {
        stream.shutdown(Shutdown::Write)?;
        let said = rest(&mut stream)?;
        let text = String::from_utf8_lossy(&said);
        // Connect tells a stream's failure in its last frame.
        let told = !text.starts_with("HTTP/1.1 2") || text.contains("{\"error\":{\"code\":");
        ensure!(told, "answered: {text}");
    }
    Ok(())
}

fn connect(stand: &Stand) -> Result<TcpStream> {
    let stream = TcpStream::connect(stand.served.address())?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Everything until the server closes.
fn rest(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        Ok(_) => Ok(all),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(all),
        Err(error) => bail!("{error} after {} bytes: neither answered nor closed", all.len()),
    }
}

/// Whether the body is as long as the head says.
fn whole(answer: &str) -> bool {
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { return false };
    let head = head.to_ascii_lowercase();
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    match length {
        Some(length) => body.len() == length,
        None => body.ends_with("0\r\n\r\n") || head.starts_with("http/1.1 204"),
    }
}
