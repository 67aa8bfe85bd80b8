//! Requests that are too long, too deep or too many: refused with a number, and the next client is served.

use crate::client::{Server, events};
use server::bounds::{CONTROL_BYTES_MAX, HEADER_BYTES_MAX, HEADERS_MAX, JSON_DEPTH_MAX, MESSAGE_BYTES_MAX};

pub(crate) fn add(add: &mut impl FnMut(&'static str, fn(&Server))) {
    add("long_headers_are_refused", long_headers_are_refused);
    add("long_bodies_are_refused", long_bodies_are_refused);
    add("what_is_no_json_is_refused", what_is_no_json_is_refused);
    add("what_are_no_frames_is_refused", what_are_no_frames_is_refused);
    add("bytes_that_are_no_http_end_the_connection", bytes_that_are_no_http_end_the_connection);
    add("a_refusal_keeps_the_connection", a_refusal_keeps_the_connection);
    add("a_refused_upload_reads_its_answer", a_refused_upload_reads_its_answer);
}

fn is_well(server: &Server) {
    assert_eq!(server.ask("GET", "/health", &[], b"").status, 200);
}

fn long_headers_are_refused(server: &Server) {
    let long = "a".repeat(HEADER_BYTES_MAX);
    assert_eq!(server.ask("GET", "/health", &[("x", &long)], b"").status, 431);
    let answer = server.ask("GET", &format!("/health?{long}"), &[], b"");
    assert!([414, 431].contains(&answer.status), "{answer:?}");
    let many = vec![("x", "y"); HEADERS_MAX + 1];
    assert_eq!(server.ask("GET", "/health", &many, b"").status, 431);
    is_well(server);
}

fn long_bodies_are_refused(server: &Server) {
    let body = format!(r#"{{"templateID":"{}"}}"#, "a".repeat(CONTROL_BYTES_MAX));
    let answer = server.control("POST", "/v2/sandboxes", &body);
    assert_eq!((answer.status, &answer.json()["code"]), (413, &413.into()));
    let made = server.create();
    let body = format!(r#"{{"path":"{}"}}"#, "a".repeat(MESSAGE_BYTES_MAX));
    let headers = made.with(&[("content-type", "application/json")]);
    let answer = server.ask("POST", "/filesystem.Filesystem/Stat", &headers, body.as_bytes());
    assert_eq!(answer.json()["code"], "resource_exhausted", "{answer:?}");
    server.kill(&made);
    is_well(server);
}

fn what_is_no_json_is_refused(server: &Server) {
    let deep = format!(
        r#"{{"templateID":"base","x":{}{}}}"#,
        "[".repeat(JSON_DEPTH_MAX),
        "]".repeat(JSON_DEPTH_MAX)
    );
    for body in [deep.as_str(), "{", "[]", "nul", r#"{"templateID":"base"}{}"#, "{\"templateID\":\"\u{0}\"}"]
    {
        let answer = server.control("POST", "/v2/sandboxes", body);
        assert_eq!((answer.status, &answer.json()["code"]), (400, &400.into()), "{body}: {answer:?}");
    }
    let key = [("x-api-key", server.key.as_str())];
    assert_eq!(server.ask("POST", "/v2/sandboxes", &key, b"{\"templateID\":\"\xff\"}").status, 400);
    is_well(server);
}

fn what_are_no_frames_is_refused(server: &Server) {
    let made = server.create();
    let headers = made.with(&[("content-type", "application/connect+json")]);
    let long = [&[0][..], &u32::MAX.to_be_bytes()].concat();
    let bodies = [
        (&long[..], "resource_exhausted"),
        (b"\x01\0\0\0\0", "unimplemented"),
        (b"\x40\0\0\0\0", "invalid_argument"),
        (b"\0\0\0\0\x09{}", "invalid_argument"),
        (b"", "invalid_argument"),
        (b"\0\0\0\0\x02{}\0\0\0\0\x02{}", "invalid_argument"),
        (b"\0\0\0\0\x02{}", "invalid_argument"),
    ];
    for (body, code) in bodies {
        let (_, last) = events(&server.ask("POST", "/process.Process/Start", &headers, body));
        assert_eq!(last["error"]["code"], code, "{body:?}: {last}");
    }
    let other = made.with(&[("content-type", "application/proto")]);
    let answer = server.ask("POST", "/process.Process/List", &other, b"");
    assert_eq!(answer.status, 415, "{answer:?}");
    server.kill(&made);
    is_well(server);
}

fn bytes_that_are_no_http_end_the_connection(server: &Server) {
    use std::io::Write;
    let requests: [&[u8]; 6] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /health HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"POST /v2/sandboxes HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"GET /health HTTP/1.1\r\nho st: x\r\n\r\n",
        b"GET /health HTTP/1.1\r\nx: \x00\r\n\r\n",
    ];
    for request in requests {
        let mut connection = server.connect();
        connection.stream.write_all(request).unwrap();
        connection.stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        let _ = std::io::Read::read_to_end(&mut connection.stream, &mut answer);
        let text = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || text.starts_with("HTTP/1.1 4"), "{request:?}: {text}");
    }
    is_well(server);
}

fn a_refusal_keeps_the_connection(server: &Server) {
    let mut connection = server.connect();
    for _ in 0..50 {
        let answer = connection.ask("POST", "/v2/sandboxes", &[("x-api-key", "wrong")], &[b' '; 2000]);
        assert_eq!((answer.status, answer.header("connection")), (401, None));
    }
}

fn a_refused_upload_reads_its_answer(server: &Server) {
    let made = server.create();
    let headers =
        [("e2b-sandbox-id", made.id.as_str()), ("e2b-sandbox-port", "49983"), ("x-access-token", "wrong")];
    for _ in 0..5 {
        let answer = server.ask("POST", "/files?path=x", &headers, &vec![0; 8 << 20]);
        assert_eq!((answer.status, answer.header("connection")), (401, Some("close")));
    }
    server.kill(&made);
}
