//! The client against an agent that says anything it likes.

use crate::harness::{command, own, pair};
use agent::protocol::{COMMANDS_MAX, ENDED_MAX, OUTWARD_BYTES_MAX, PID_MAX, decode, encode};
use agent::{Agent, End, Error, Exec, Known, Op, QUEUED_BYTES_MAX, Reply, Stage, Whom, Work};
use proptest::prelude::*;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::io::IoSlice;
use std::mem::MaybeUninit;

const STARTED: Reply = Reply::Started { id: 1, pid: 2 };

fn work(id: u32) -> Work {
    Work { id, uid: 0, gid: 0, capabilities: 0, op: Op::Stat { path: b"/".to_vec() } }
}

/// A client that has asked for two commands (1 and 3) and for work (2), and its hostile other end.
fn asked() -> (Agent, OwnedFd) {
    let (ours, theirs) = pair();
    let mut agent = Agent::over(ours);
    agent.exec(command(&["/bin/true"]), vec![]).unwrap();
    agent.work(work(2), vec![std::io::pipe().unwrap().1.into()]).unwrap();
    agent.exec(Exec { id: 3, ..command(&["/bin/true"]) }, vec![]).unwrap();
    agent.flush().unwrap();
    assert!(!agent.wants_to_send());
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
        STARTED,
        Reply::Ended { id: 2, end: End::Exited(0), deadline: false },
        Reply::NotStarted { id: 3, errno: 13, stage: Stage::Cwd },
        Reply::Ended { id: 1, end: End::Signaled(64), deadline: false },
    ];
    let (mut agent, theirs) = asked();
    assert_eq!(agent.exec(command(&["/bin/true"]), vec![]), Err(Error::IdInUse(1)));
    assert_eq!(agent.work(work(1), vec![]), Err(Error::IdInUse(1)));
    assert_eq!(agent.forget(1), Err(Error::IdInUse(1)));
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
    let ended = |id| Reply::Ended { id, end: End::Exited(0), deadline: false };
    let lies = [
        (Reply::Started { id: 9, pid: 2 }, Error::Unasked(9)),
        (ended(1), Error::Unasked(1)),
        (Reply::Started { id: 2, pid: 2 }, Error::Unasked(2)),
        (Reply::NotStarted { id: 4, errno: 1, stage: Stage::Cwd }, Error::Unasked(4)),
        (Reply::NotStarted { id: 1, errno: 0, stage: Stage::Cwd }, Error::NotAReply),
        (Reply::NotStarted { id: 1, errno: 4096, stage: Stage::Cwd }, Error::NotAReply),
        (Reply::Started { id: 1, pid: 0 }, Error::NotAReply),
        (Reply::Started { id: 1, pid: 1 }, Error::NotAReply),
        (Reply::Started { id: 1, pid: PID_MAX + 1 }, Error::NotAReply),
        (Reply::Here { commands: vec![] }, Error::Introduction),
    ];
    for (lie, error) in lies {
        let (mut agent, theirs) = asked();
        say(&theirs, &said(&lie));
        assert_eq!(agent.next(), Err(error), "{lie:?}");
        assert_eq!(agent.next(), Err(Error::Poisoned));
        assert_eq!(agent.signal(1, 9, Whom::Group), Err(Error::Poisoned));
        assert_eq!(agent.flush(), Err(Error::Poisoned));
    }
    for signal in [0, 65, 255] {
        let (mut agent, theirs) = asked();
        say(&theirs, &said(&STARTED));
        say(&theirs, &said(&Reply::Ended { id: 1, end: End::Signaled(signal), deadline: false }));
        assert_eq!(agent.next(), Ok(Some(STARTED)));
        assert_eq!(agent.next(), Err(Error::NotAReply));
    }
}

fn known(id: u32, end: Option<(End, bool)>) -> Known {
    Known { id, pid: 2, end }
}

#[test]
fn an_introduction_is_the_first_thing_on_an_adopted_socket_and_says_what_may_follow() {
    let (ours, theirs) = pair();
    let mut agent = Agent::adopt(ours);
    let here = Reply::Here { commands: vec![known(7, None), known(8, Some((End::Exited(3), false)))] };
    say(&theirs, &said(&here));
    assert_eq!(agent.next(), Ok(Some(here)));
    assert_eq!(agent.exec(Exec { id: 7, ..command(&[]) }, vec![]), Err(Error::IdInUse(7)));
    assert_eq!(agent.forget(7), Err(Error::IdInUse(7)));
    assert_eq!(agent.forget(8), Ok(()));
    let end = Reply::Ended { id: 7, end: End::Exited(0), deadline: false };
    say(&theirs, &said(&end));
    assert_eq!(agent.next(), Ok(Some(end.clone())));
    say(&theirs, &said(&end));
    assert_eq!(agent.next(), Err(Error::Unasked(7)));

    let many = |count, end| (0..count as u32).map(|id| known(id, end)).collect();
    let lies = [
        (STARTED, Error::Introduction),
        (Reply::Here { commands: vec![known(7, None), known(7, None)] }, Error::NotAReply),
        (Reply::Here { commands: vec![known(7, Some((End::Signaled(0), false)))] }, Error::NotAReply),
        (Reply::Here { commands: vec![Known { pid: 1, ..known(7, None) }] }, Error::NotAReply),
        (Reply::Here { commands: many(COMMANDS_MAX + 1, None) }, Error::NotAReply),
        (Reply::Here { commands: many(ENDED_MAX + 1, Some((End::Exited(0), true))) }, Error::NotAReply),
        (Reply::Here { commands: vec![known(1, None)] }, Error::Unasked(1)),
    ];
    for (lie, error) in lies {
        let (ours, theirs) = pair();
        let mut agent = Agent::adopt(ours);
        agent.exec(command(&["/bin/true"]), vec![]).unwrap();
        say(&theirs, &said(&lie));
        assert_eq!(agent.next(), Err(error));
        assert_eq!(agent.next(), Err(Error::Poisoned));
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
    say(&theirs, &[&[4, 0, 0, 0][..], &said(&STARTED)[4..], &[0]].concat());
    assert_eq!(agent.next(), Err(Error::NotAReply));
}

#[test]
fn a_reply_is_given_once_its_last_byte_is_here() {
    let (mut agent, theirs) = asked();
    let frame = said(&STARTED);
    for byte in &frame[..frame.len() - 1] {
        say(&theirs, &[*byte]);
        assert_eq!(agent.next(), Ok(None));
    }
    say(&theirs, &frame[frame.len() - 1..]);
    assert_eq!(agent.next(), Ok(Some(STARTED)));
}

#[test]
fn a_descriptor_that_the_agent_sends_never_arrives() {
    let (mut agent, theirs) = asked();
    let (read_end, write_end) = std::io::pipe().unwrap();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = [write_end.as_fd()];
    assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
    let frame = said(&STARTED);
    sendmsg(&theirs, &[IoSlice::new(&frame)], &mut control, SendFlags::empty()).unwrap();
    drop(write_end);
    assert_eq!(agent.next(), Ok(Some(STARTED)));
    let mut fds = [PollFd::new(&read_end, PollFlags::IN)];
    assert_eq!(
        poll(&mut fds, Some(&Timespec { tv_sec: 10, tv_nsec: 0 })),
        Ok(1),
        "somebody holds the other end"
    );
}

#[test]
fn an_agent_that_does_not_read_holds_nobody_up_and_costs_no_more_than_its_bound() {
    let (ours, theirs) = pair();
    let mut agent = Agent::over(ours);
    let argv = vec![vec![b'x'; 1 << 20]];
    let mut asked = 0;
    let refusal = loop {
        match agent.exec(Exec { id: asked, argv: argv.clone(), ..command(&[]) }, own(&[])) {
            Ok(()) => asked += 1,
            Err(error) => break error,
        }
        agent.flush().unwrap();
        assert!(agent.wants_to_send());
    };
    assert!(matches!(refusal, Error::Busy(bytes) if bytes <= QUEUED_BYTES_MAX), "{refusal:?}");
    assert_eq!((asked, agent.next()), (8, Ok(None)));
    drop(theirs);
    assert_eq!(agent.flush(), Err(Error::Gone));
    assert_eq!(agent.next(), Err(Error::Gone));
}

#[test]
fn what_cannot_be_sent_any_more_is_let_go_with_its_descriptors() {
    let ends: [fn(&mut Agent, OwnedFd); 4] = [
        |agent, theirs| {
            drop(theirs);
            assert_eq!(agent.flush(), Err(Error::Gone));
        },
        |agent, theirs| {
            drop(theirs);
            assert_eq!(agent.next(), Err(Error::Gone));
        },
        |agent, theirs| {
            say(&theirs, &[0; 4]);
            assert_eq!(agent.next(), Err(Error::Announced(0)));
        },
        |agent, _theirs| agent.give_up(),
    ];
    for end in ends {
        let (ours, theirs) = pair();
        let mut agent = Agent::over(ours);
        let (read, write) = std::io::pipe().unwrap();
        let stdio = [agent::Stdio::Passed(0); 3];
        agent.exec(Exec { stdio, ..command(&["/bin/true"]) }, vec![write.into()]).unwrap();
        end(&mut agent, theirs);
        assert!(!agent.wants_to_send());
        assert_eq!(crate::harness::read_all(read.into()), "");
    }
}

#[test]
fn what_was_queued_arrives_in_order_and_with_its_descriptors() {
    let mut inside = crate::harness::Inside::start();
    let argv = vec![b"/bin/echo".to_vec(), vec![b'x'; 100_000]];
    let (mut pipes, count) = (vec![], 20);
    for id in 0..count {
        let (read, write) = std::io::pipe().unwrap();
        let stdio = [agent::Stdio::Null, agent::Stdio::Passed(0), agent::Stdio::Null];
        inside
            .agent
            .exec(Exec { id, argv: argv.clone(), stdio, ..command(&[]) }, vec![write.into()])
            .unwrap();
        pipes.push(read);
    }
    let readers: Vec<_> = pipes
        .into_iter()
        .map(|pipe| std::thread::spawn(|| crate::harness::read_all(pipe.into()).len()))
        .collect();
    for _ in 0..2 * count {
        inside.reply();
    }
    for reader in readers {
        assert_eq!(reader.join().unwrap(), 100_001);
    }
}

#[test]
fn a_request_that_is_wrong_in_itself_changes_nothing() {
    let (mut agent, theirs) = asked();
    for signal in [-1, 0, 65] {
        assert_eq!(agent.signal(1, signal, Whom::Process), Err(Error::NotASignal(signal)));
    }
    let given = || own(&[theirs.as_fd(), theirs.as_fd()]);
    let passing = |place| Exec { id: 4, stdio: [agent::Stdio::Passed(place); 3], ..command(&["/bin/true"]) };
    assert_eq!(agent.exec(passing(2), given()), Err(Error::Descriptors { passed: 3, given: 2 }));
    assert_eq!(agent.exec(passing(0), given()), Err(Error::Descriptors { passed: 1, given: 2 }));
    let many = own(&[theirs.as_fd(); 4]);
    assert_eq!(agent.exec(passing(3), many), Err(Error::Descriptors { passed: 4, given: 4 }));
    assert_eq!(agent.work(work(4), vec![]), Err(Error::Descriptors { passed: 1, given: 0 }));
    let argv = vec![vec![0; 5 << 20]];
    let error = agent.exec(Exec { id: 4, argv, ..command(&[]) }, vec![]).unwrap_err();
    assert!(matches!(error, Error::TooLong(bytes) if bytes > 5 << 20));
    assert_eq!((agent.wants_to_send(), agent.next()), (false, Ok(None)));
}

fn replies() -> impl Strategy<Value = Reply> {
    let id = 0u32..5;
    prop_oneof![
        (id.clone(), any::<u32>()).prop_map(|(id, pid)| Reply::Started { id, pid }),
        (id.clone(), 2u32..9).prop_map(|(id, pid)| Reply::Started { id, pid }),
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
        (id, 0u32..9).prop_map(|(id, pid)| Reply::Here { commands: vec![Known { id, pid, end: None }] }),
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
        // Three requests have five replies between them at most.
        prop_assert!(told <= 5, "{told}");
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
