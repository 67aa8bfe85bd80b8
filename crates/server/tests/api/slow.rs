//! Clients that are slow, half there, or too many: nobody else notices.

use crate::client::{Connection, DESCRIPTORS, Server, framed};
use serde_json::json;
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

pub(crate) fn add(add: &mut impl FnMut(&'static str, fn(&Server))) {
    add("idle_connections_never_keep_another_out", idle_connections_never_keep_another_out);
    add("a_client_that_is_gone_leaves_its_command_running", a_client_that_is_gone);
    add("a_client_that_does_not_read_holds_up_nobody", a_client_that_does_not_read);
    add("a_sandbox_that_nobody_waits_for_any_more_ends", nobody_waits);
    add("headers_that_come_too_slowly_end_the_connection", slow_headers);
}

/// Many more than there are places, some with half a request: each takes the place of the longest idle.
fn idle_connections_never_keep_another_out(server: &Server) {
    let places = usize::try_from(DESCRIPTORS / 4).unwrap();
    let mut idle: Vec<TcpStream> = Vec::new();
    for n in 0..places + 100 {
        let mut stream = TcpStream::connect(server.address).unwrap();
        if n % 2 == 0 {
            stream.write_all(b"GET /health HT").unwrap();
        }
        idle.push(stream);
        if n % 100 == 0 {
            assert_eq!(server.ask("GET", "/health", &[], b"").status, 200);
        }
    }
    for _ in 0..20 {
        let begun = Instant::now();
        assert_eq!(server.ask("GET", "/health", &[], b"").status, 200);
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
    assert!(Connection::over(idle.swap_remove(0)).is_closed(), "the first one was idle longest");
}

fn a_client_that_is_gone(server: &Server) {
    let made = server.create();
    let message =
        framed(&json!({"process": {"cmd": "/bin/sleep", "args": ["60"]}, "tag": "t", "stdin": false}));
    let mut connection = server.connect();
    let headers = made.with(&[("content-type", "application/connect+json")]);
    let mut head =
        format!("POST /process.Process/Start HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n", message.len());
    for (name, value) in &headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    connection.stream.write_all(head.as_bytes()).unwrap();
    connection.stream.write_all(b"\r\n").unwrap();
    connection.stream.write_all(&message).unwrap();
    let listed = || {
        let headers = made.with(&[("content-type", "application/json")]);
        server.ask("POST", "/process.Process/List", &headers, b"{}").json()["processes"]
            .as_array()
            .unwrap()
            .len()
    };
    let until = Instant::now() + Duration::from_secs(20);
    while listed() == 0 {
        assert!(Instant::now() < until);
        std::thread::yield_now();
    }
    connection.stream.shutdown(Shutdown::Both).unwrap();
    drop(connection);
    for _ in 0..20 {
        assert_eq!(listed(), 1);
    }
    let headers = made.with(&[("content-type", "application/json")]);
    let kill = json!({"process": {"tag": "t"}, "signal": "SIGNAL_SIGKILL"}).to_string();
    assert_eq!(server.ask("POST", "/process.Process/SendSignal", &headers, kill.as_bytes()).status, 200);
    assert_eq!(listed(), 0);
    server.kill(&made);
}

fn a_client_that_does_not_read(server: &Server) {
    let made = server.create();
    let message =
        framed(&json!({"process": {"cmd": "/bin/sh", "args": ["-c", "exec cat /dev/zero"]}, "stdin": false}));
    let headers = made.with(&[("content-type", "application/connect+json")]);
    let mut stalled = Vec::new();
    for _ in 0..4 {
        let mut connection = server.connect();
        connection.send("POST", "/process.Process/Start", &headers, &message);
        stalled.push(connection);
    }
    for _ in 0..50 {
        let answer = server.ask(
            "POST",
            "/process.Process/List",
            &made.with(&[("content-type", "application/json")]),
            b"{}",
        );
        assert_eq!(answer.status, 200);
    }
    server.kill(&made);
    drop(stalled);
}

/// Ten seconds of real time: that the clock of a connection runs is what is tested.
fn slow_headers(server: &Server) {
    let mut connection = server.connect();
    connection.stream.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n").unwrap();
    let begun = Instant::now();
    assert!(connection.is_closed());
    let took = begun.elapsed();
    assert!((Duration::from_secs(5)..Duration::from_secs(40)).contains(&took), "{took:?}");
}

/// Whatever it was doing for clients that hung up, in the end there is none of it.
fn nobody_waits(server: &Server) {
    let body = r#"{"templateID":"base","metadata":{"of":"nobody"}}"#;
    for _ in 0..8 {
        let mut stream = TcpStream::connect(server.address).unwrap();
        // The request leaves with the end of its connection, so that no answer is sent in between.
        rustix::net::sockopt::set_tcp_cork(&stream, true).unwrap();
        let (key, length) = (&server.key, body.len());
        let head = format!(
            "POST /v2/sandboxes HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\ncontent-length: {length}\r\n\r\n"
        );
        stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    }
    // One that is waited for comes after them; then those that came to be are on their way out.
    server.kill(&server.create());
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let listed = server.control("GET", "/v2/sandboxes?metadata=of%3Dnobody", "").json();
        if listed.as_array().unwrap().is_empty() {
            break;
        }
        assert!(Instant::now() < until, "{listed}");
        std::thread::yield_now();
    }
}
