//! The agent against a trusted side that is not in step: it ends, and never hangs.

use crate::harness::{command, pair, start_raw};
use agent::protocol::{INWARD_BYTES_MAX, Request, encode};
use agent::{Agent, Error, Stdio, Whom};
use rustix::fd::{AsFd, OwnedFd};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown, sendmsg, shutdown};
use std::io::IoSlice;
use std::mem::MaybeUninit;

pub(crate) fn say(socket: &OwnedFd, bytes: &[u8], descriptors: &[&OwnedFd]) {
    let descriptors: Vec<_> = descriptors.iter().map(|d| d.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
    }
    let sent = sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL).unwrap();
    assert_eq!(sent, bytes.len());
}

/// What the agent's exit status is after it was told `bytes`, and nothing more.
fn status_after(bytes: &[u8], descriptors: &[&OwnedFd]) -> Option<i32> {
    let (socket, mut process) = start_raw();
    say(&socket, bytes, descriptors);
    shutdown(&socket, Shutdown::Write).unwrap();
    let status = process.end().code();
    let mut agent = Agent::over(socket);
    while let Ok(Some(_)) = agent.next() {}
    assert_eq!(agent.next(), Err(Error::Gone));
    status
}

fn frame(request: &Request) -> Vec<u8> {
    encode(request, INWARD_BYTES_MAX).unwrap()
}

#[test]
fn every_part_of_a_frame_ends_the_agent() {
    let whole = frame(&Request::Exec(command(&["/bin/true"])));
    for length in 1..whole.len() {
        assert_eq!(status_after(&whole[..length], &[]), Some(0), "the socket ends after {length} bytes");
        if length > 4 {
            let mut claimed = whole[..length].to_vec();
            claimed[..4].copy_from_slice(&(length as u32 - 4).to_le_bytes());
            assert_eq!(status_after(&claimed, &[]), Some(65), "the body ends after {} bytes", length - 4);
        }
    }
}

#[test]
fn what_is_no_frame_ends_the_agent() {
    let garbage: [&[u8]; 5] = [
        &[0; 4],
        &[0xff; 4],
        &(INWARD_BYTES_MAX as u32 + 1).to_le_bytes(),
        &[1, 0, 0, 0, 0xff],
        b"GET / HTTP/1.1\r\n\r\n",
    ];
    for bytes in garbage {
        assert_eq!(status_after(bytes, &[]), Some(65), "{bytes:?}");
    }
    let mut long = frame(&Request::Signal { id: 1, signal: 9, whom: Whom::Group });
    long[0] += 1;
    long.push(0);
    assert_eq!(status_after(&long, &[]), Some(65));
}

#[test]
fn descriptors_that_no_frame_announces_end_the_agent() {
    let (one, _other) = pair();
    let signal = frame(&Request::Signal { id: 1, signal: 9, whom: Whom::Group });
    let exec = |stdio| frame(&Request::Exec(agent::Exec { stdio, ..command(&["/bin/true"]) }));
    assert_eq!(status_after(&signal, &[&one]), Some(65));
    assert_eq!(status_after(&exec([Stdio::Null; 3]), &[&one]), Some(65));
    assert_eq!(status_after(&exec([Stdio::Passed(2); 3]), &[&one, &one]), Some(65));
    assert_eq!(status_after(&exec([Stdio::Passed(3); 3]), &[&one; 4]), Some(65));
    let (socket, mut process) = start_raw();
    let late = exec([Stdio::Passed(0), Stdio::Null, Stdio::Null]);
    say(&socket, &late[..6], &[]);
    say(&socket, &late[6..], &[&one]);
    assert_eq!(process.end().code(), Some(65));
}

#[test]
fn the_agent_ends_with_its_socket() {
    let (socket, mut process) = start_raw();
    drop(socket);
    assert_eq!(process.end().code(), Some(0));
}
