//! Against peers that say what they are told to, in pieces.

use super::*;
use std::net::TcpListener;
use std::thread;

const PATIENCE: Duration = Duration::from_secs(5);

/// Connects to somebody who says just that, in pieces of so many bytes, and closes.
fn to(said: &'static [u8], piece: usize) -> Connection {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        said.chunks(piece).for_each(|bytes| stream.write_all(bytes).unwrap());
    });
    Connection::open(address, PATIENCE).unwrap()
}

#[test]
fn answers_follow_one_another_however_they_are_cut() {
    let said = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello\
        HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n02;x=y\r\nde\r\n0\r\n\r\n\
        HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 404 Not Found\r\nX-A: b\r\nContent-Length: 0\r\n\r\n";
    for piece in [1, 2, 3, 7, 1000] {
        let mut connection = to(said, piece);
        assert_eq!(connection.head().unwrap().status, 200);
        assert!(!connection.reusable());
        assert_eq!(connection.body(5).unwrap(), b"hello");
        assert!(connection.reusable());
        assert_eq!(connection.head().unwrap().status, 200);
        assert_eq!(connection.body(99).unwrap(), b"abcde");
        assert_eq!(connection.head().unwrap().status, 204);
        let last = connection.head().unwrap();
        assert_eq!((last.status, last.header("x-a")), (404, Some("b")));
        assert!(connection.reusable());
        connection.closed().unwrap();
    }
}

#[test]
fn a_body_that_is_cut_short_is_an_error() {
    for said in [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell".as_slice(),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
    ] {
        let mut connection = to(said, 100);
        connection.head().unwrap();
        assert!(matches!(connection.body(99), Err(Error::Broken { .. })));
    }
}

#[test]
fn chunks_that_lie_are_an_error() {
    for said in [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n".as_slice(),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nabc\r\n0\r\n\r\n",
    ] {
        let mut connection = to(said, 100);
        connection.head().unwrap();
        assert!(matches!(connection.body(99), Err(Error::Wrong { .. })));
    }
}

#[test]
fn a_body_without_a_length_ends_with_its_connection() {
    let mut connection = to(b"HTTP/1.1 400 Bad\r\n\r\nno", 100);
    assert_eq!(connection.head().unwrap().status, 400);
    assert_eq!(connection.body(99).unwrap(), b"no");
    assert!(!connection.reusable());
}

#[test]
fn a_large_body_arrives_whole() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let body: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
    let sent = body.clone();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n").unwrap();
        stream.write_all(&sent).unwrap();
    });
    let mut connection = Connection::open(address, PATIENCE).unwrap();
    connection.head().unwrap();
    let mut got = vec![0; body.len()];
    connection.read_exact(&mut got).unwrap();
    assert!(got == body && connection.read(&mut [0]).unwrap() == 0 && connection.reusable());
}
