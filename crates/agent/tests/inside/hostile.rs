//! The client against an agent that says anything it likes.

use crate::harness::{command, pair};
use agent::protocol::{OUTWARD_BYTES_MAX, decode, encode};
use agent::{Agent, End, Error, Exec, FileStage, Read, Reply, SEND_WAIT_MS_MAX, Stage, Write};
use proptest::prelude::*;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::time::{Duration, Instant};

fn read(id: u32, len: u32) -> Read {
    Read { id, path: b"/x".to_vec(), uid: 0, gid: 0, offset: 0, len }
}

/// A client that has asked for a command (1), a read of 4 bytes (2) and a write (3), and its hostile other end.
fn asked() -> (Agent, OwnedFd) {
    let (ours, theirs) = pair();
    let mut agent = Agent::over(ours);
    agent.exec(command(&["/bin/true"]), &[]).unwrap();
    agent.read(read(2, 4)).unwrap();
    let (path, bytes) = (b"/x".to_vec(), vec![1]);
    agent.write(Write { id: 3, path, uid: 0, gid: 0, mode: 0, offset: 0, truncate: false, bytes }).unwrap();
    (agent, theirs)
}

fn say(theirs: &OwnedFd, bytes: &[u8]) {
    assert_eq!(rustix::io::write(theirs, bytes), Ok(bytes.len()));
}

fn said(reply: &Reply) -> Vec<u8> {
    encode(reply, OUTWARD_BYTES_MAX).unwrap()
}

#[test]
fn replies_are_matched_with_what_was_asked() {
    let honest = [
        Reply::Started { id: 1 },
        Reply::Bytes { id: 2, bytes: vec![0; 4], end: false },
        Reply::Failed { id: 3, errno: 13, stage: FileStage::Open },
        Reply::Ended { id: 1, end: End::Signaled(64), deadline: false },
    ];
    let (mut agent, theirs) = asked();
    assert_eq!(agent.exec(command(&["/bin/true"]), &[]), Err(Error::IdInUse(1)));
    for reply in &honest {
        say(&theirs, &said(reply));
    }
    for reply in honest {
        assert_eq!(agent.next(), Ok(Some(reply)));
    }
    assert_eq!(agent.next(), Ok(None));
    drop(theirs);
    assert_eq!(agent.next(), Err(Error::Gone));
}

#[test]
fn a_reply_that_answers_nothing_poisons() {
    let lies = [
        (Reply::Started { id: 9 }, Error::Unasked(9)),
        (Reply::Ended { id: 1, end: End::Exited(0), deadline: false }, Error::Unasked(1)),
        (Reply::Written { id: 2 }, Error::Unasked(2)),
        (Reply::Bytes { id: 2, bytes: vec![0; 5], end: false }, Error::Unasked(2)),
        (Reply::Bytes { id: 3, bytes: vec![], end: true }, Error::Unasked(3)),
        (Reply::Failed { id: 1, errno: 1, stage: FileStage::Open }, Error::Unasked(1)),
        (Reply::NotStarted { id: 2, errno: 1, stage: Stage::Cwd }, Error::Unasked(2)),
        (Reply::NotStarted { id: 1, errno: 0, stage: Stage::Cwd }, Error::NotAReply),
        (Reply::NotStarted { id: 1, errno: 4096, stage: Stage::Cwd }, Error::NotAReply),
        (Reply::Failed { id: 3, errno: -1, stage: FileStage::Open }, Error::NotAReply),
    ];
    for (lie, error) in lies {
        let (mut agent, theirs) = asked();
        say(&theirs, &said(&lie));
        assert_eq!(agent.next(), Err(error), "{lie:?}");
        assert_eq!(agent.next(), Err(Error::Poisoned));
        assert_eq!(agent.signal(1, 9), Err(Error::Poisoned));
    }
    for signal in [0, 65, 255] {
        let (mut agent, theirs) = asked();
        say(&theirs, &said(&Reply::Started { id: 1 }));
        say(&theirs, &said(&Reply::Ended { id: 1, end: End::Signaled(signal), deadline: false }));
        assert_eq!(agent.next(), Ok(Some(Reply::Started { id: 1 })));
        assert_eq!(agent.next(), Err(Error::NotAReply));
    }
}

#[test]
fn a_frame_of_a_wrong_length_poisons_before_it_arrives() {
    for length in [0, OUTWARD_BYTES_MAX + 1, u32::MAX as usize] {
        let (mut agent, theirs) = asked();
        say(&theirs, &(length as u32).to_le_bytes());
        assert_eq!(agent.next(), Err(Error::Announced(length)));
        assert_eq!(agent.next(), Err(Error::Poisoned));
    }
    let (mut agent, theirs) = asked();
    say(&theirs, &[&[3, 0, 0, 0][..], &said(&Reply::Started { id: 1 })[4..], &[0]].concat());
    assert_eq!(agent.next(), Err(Error::NotAReply));
}

#[test]
fn a_reply_is_given_once_its_last_byte_is_here() {
    let (mut agent, theirs) = asked();
    let frame = said(&Reply::Bytes { id: 2, bytes: b"abcd".to_vec(), end: true });
    for byte in &frame[..frame.len() - 1] {
        say(&theirs, &[*byte]);
        assert_eq!(agent.next(), Ok(None));
    }
    say(&theirs, &frame[frame.len() - 1..]);
    assert_eq!(agent.next(), Ok(Some(Reply::Bytes { id: 2, bytes: b"abcd".to_vec(), end: true })));
}

#[test]
fn a_descriptor_that_the_agent_sends_never_arrives() {
    let (mut agent, theirs) = asked();
    let (read_end, write_end) = std::io::pipe().unwrap();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = [write_end.as_fd()];
    assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
    let frame = said(&Reply::Started { id: 1 });
    sendmsg(&theirs, &[IoSlice::new(&frame)], &mut control, SendFlags::empty()).unwrap();
    drop(write_end);
    assert_eq!(agent.next(), Ok(Some(Reply::Started { id: 1 })));
    let mut fds = [PollFd::new(&read_end, PollFlags::IN)];
    assert_eq!(
        poll(&mut fds, Some(&Timespec { tv_sec: 10, tv_nsec: 0 })),
        Ok(1),
        "somebody holds the other end"
    );
}

#[test]
fn an_agent_that_does_not_read_holds_nobody_up() {
    let (ours, _theirs) = pair();
    let mut agent = Agent::over(ours);
    let argv = vec![vec![b'x'; 1 << 20]];
    let began = Instant::now();
    assert_eq!(agent.exec(Exec { argv, ..command(&[]) }, &[]), Err(Error::Stuck));
    assert!(began.elapsed() < Duration::from_millis(SEND_WAIT_MS_MAX * 3));
    assert_eq!(agent.next(), Err(Error::Poisoned));

    let (ours, _theirs) = pair();
    let mut agent = Agent::over(ours);
    let began = Instant::now();
    while agent.signal(1, 9).is_ok() {}
    assert_eq!(agent.signal(1, 9), Err(Error::Busy));
    assert!(began.elapsed() < Duration::from_millis(SEND_WAIT_MS_MAX * 5));
    assert_eq!(agent.next(), Ok(None));
}

#[test]
fn a_request_that_is_wrong_in_itself_changes_nothing() {
    let (mut agent, theirs) = asked();
    for signal in [-1, 0, 65] {
        assert_eq!(agent.signal(1, signal), Err(Error::NotASignal(signal)));
    }
    let passing = Exec { id: 4, stdio: [agent::Stdio::Passed; 3], ..command(&["/bin/true"]) };
    let fds = [theirs.as_fd(), theirs.as_fd()];
    assert_eq!(agent.exec(passing, &fds), Err(Error::Descriptors { passed: 3, given: 2 }));
    let argv = vec![vec![0; 5 << 20]];
    let error = agent.exec(Exec { id: 4, argv, ..command(&[]) }, &[]).unwrap_err();
    assert!(matches!(error, Error::TooLong(bytes) if bytes > 5 << 20));
    assert_eq!(agent.next(), Ok(None));
}

fn replies() -> impl Strategy<Value = Reply> {
    let id = 0u32..5;
    prop_oneof![
        id.clone().prop_map(|id| Reply::Started { id }),
        (id.clone(), any::<u8>(), any::<bool>()).prop_map(|(id, n, deadline)| Reply::Ended {
            id,
            end: End::Signaled(n),
            deadline
        }),
        (id.clone(), any::<i32>()).prop_map(|(id, errno)| Reply::NotStarted {
            id,
            errno,
            stage: Stage::User
        }),
        (id.clone(), proptest::collection::vec(any::<u8>(), 0..8), any::<bool>())
            .prop_map(|(id, bytes, end)| Reply::Bytes { id, bytes, end }),
        id.prop_map(|id| Reply::Written { id }),
    ]
}

/// What a hostile agent sends: well-formed replies, broken ones and noise.
fn streams() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => replies().prop_map(|reply| said(&reply)),
        1 => (replies(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(reply, place, byte)| {
            let mut frame = said(&reply);
            let place = place.index(frame.len());
            frame[place] = byte;
            frame
        }),
        1 => proptest::collection::vec(any::<u8>(), 0..32),
    ];
    proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn whatever_arrives_is_a_few_replies_and_then_nothing_or_the_end(stream in streams()) {
        let (mut agent, theirs) = asked();
        say(&theirs, &stream);
        drop(theirs);
        let mut told = 0;
        let end = loop {
            match agent.next() {
                Ok(Some(_)) => told += 1,
                Ok(None) => {}
                Err(error) => break error,
            }
        };
        // Three requests have four replies between them at most.
        prop_assert!(told <= 4, "{told}");
        let after = if end == Error::Gone { Error::Gone } else { Error::Poisoned };
        prop_assert_eq!(agent.next(), Err(after));
    }

    #[test]
    fn a_body_decodes_to_one_reply_or_to_none(body in proptest::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(reply) = decode::<Reply>(&body) {
            prop_assert_eq!(decode(&said(&reply)[4..]), Ok(reply));
        }
    }
}
