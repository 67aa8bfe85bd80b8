//! Clients that send, or take, as little as they can.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use load::data;
use load::process::{Command, Event};
use load::random::Random;

use crate::stand::Stand;

/// The server gives a request's headers 10 s.
const HEADERS_CUT_WITHIN: Duration = Duration::from_secs(16);
/// The server gives each piece of a body 60 s.
const BODY_CUT_WITHIN: Duration = Duration::from_secs(75);
const DRIP: Duration = Duration::from_millis(200);
const SLOW: usize = 200;
/// A sandbox does 32 things with its files at one time; more would wait for these.
const UPLOADS: usize = 30;
const SLOW_READERS: usize = 20;
const FILE_BYTES: usize = 32 << 20;

#[test]
fn headers_that_never_end_are_cut_off() -> Result<()> {
    Stand::with(32, |stand| {
        let mut slow = connections(stand, SLOW, b"POST /v2/sandboxes HTTP/1.1\r\nHost: a\r\nX-Slow: ")?;
        drip(&mut slow, HEADERS_CUT_WITHIN)?;
        ensure!(slow.is_empty(), "{} of {SLOW} are still open after {HEADERS_CUT_WITHIN:?}", slow.len());
        Ok(())
    })
}

#[test]
fn bodies_that_come_slowly_harm_nobody() -> Result<()> {
    Stand::with(32, |stand| {
        let mut slow = connections(stand, SLOW, &begun_upload(stand))?;
        drip(&mut slow, Duration::from_secs(2))
    })
}

#[test]
#[ignore = "long: the server waits a minute"]
fn a_body_that_stops_coming_is_cut_off() -> Result<()> {
    Stand::with(32, |stand| {
        let mut slow = connections(stand, UPLOADS, &begun_upload(stand))?;
        let start = Instant::now();
        while !slow.is_empty() && start.elapsed() < BODY_CUT_WITHIN {
            slow.retain_mut(still_open);
            sleep(DRIP);
        }
        ensure!(slow.is_empty(), "{} of {UPLOADS} are still open after {BODY_CUT_WITHIN:?}", slow.len());
        Ok(())
    })
}

#[test]
fn output_that_nobody_takes_is_not_kept_in_memory() -> Result<()> {
    Stand::with(64, |stand| {
        let mut clients: Vec<_> = (0..SLOW_READERS).map(|_| stand.client.another()).collect();
        let (mut streams, mut pids) = (Vec::new(), Vec::new());
        for client in &mut clients {
            let mut stream = client.start(&stand.sandbox, &Command::of(&["/usr/bin/yes"]))?;
            pids.push(stream.pid()?);
            streams.push(stream);
        }
        sleep(Duration::from_secs(2));
        // Whoever begins to read after all gets every byte in its place.
        let mut seen = Vec::new();
        while seen.len() < 1 << 20 {
            if let Some(Event::Stdout(bytes)) = streams[0].event()? {
                seen.extend(bytes);
            }
        }
        ensure!(seen.chunks(2).all(|line| line == b"y\n" || line == b"y"), "`yes` says something else");
        pids.iter().try_for_each(|pid| Ok(stand.client.kill_process(&stand.sandbox, *pid)?))
    })
}

#[test]
fn files_that_nobody_takes_are_not_kept_in_memory() -> Result<()> {
    Stand::with(96, |stand| {
        let bytes = Random::of(3).bytes(FILE_BYTES);
        stand.client.write(&stand.sandbox, "/home/user/big", &bytes)?;
        let mut clients: Vec<_> = (0..SLOW_READERS).map(|_| stand.client.another()).collect();
        let mut open = Vec::new();
        for client in &mut clients {
            open.push(client.open(&stand.sandbox, "/home/user/big")?);
        }
        sleep(Duration::from_secs(2));
        let mut back = vec![0; FILE_BYTES];
        open[0].read_exact(&mut back)?;
        ensure!(back == bytes, "other bytes come back");
        Ok(())
    })
}

fn begun_upload(stand: &Stand) -> Vec<u8> {
    let headers = format!(
        "{}Content-Type: application/octet-stream\r\nContent-Length: 200000\r\n",
        data::address(&stand.sandbox)
    );
    [stand.client.request("POST", "/files?path=/home/user/slow", &headers, None), b"begun".to_vec()].concat()
}

/// Many connections that begin a request alike.
fn connections(stand: &Stand, count: usize, begin: &[u8]) -> Result<Vec<TcpStream>> {
    let open = || {
        let mut stream = TcpStream::connect(stand.served.address())?;
        stream.set_nodelay(true)?;
        stream.write_all(begin)?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    };
    (0..count).map(|_| open()).collect()
}

/// Sends one byte now and then on each, until the server has closed them or the time is over.
fn drip(slow: &mut Vec<TcpStream>, time: Duration) -> Result<()> {
    let start = Instant::now();
    while !slow.is_empty() && start.elapsed() < time {
        slow.retain_mut(|stream| {
            let sent = stream.write(b"x");
            let held = sent.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
            (sent.is_ok() || held) && still_open(stream)
        });
        sleep(DRIP);
    }
    Ok(())
}

/// Whatever it is told on the way is not of interest.
fn still_open(stream: &mut TcpStream) -> bool {
    let mut said = [0; 4096];
    loop {
        match stream.read(&mut said) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
    }
}
