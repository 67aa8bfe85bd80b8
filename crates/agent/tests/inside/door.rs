//! An agent whose control socket is lost, and another comes by the door.

use crate::harness::{Door, Inside, command, pair, read, read_all, work};
use agent::protocol::{ENDED_MAX, INWARD_BYTES_MAX, Request, encode};
use agent::{Deadline, End, Error, Exec, Known, Op, Reply, Stdio, Whom};
use rustix::event::{Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use std::collections::BTreeMap;
use std::io::{Read, Write};

fn ended(id: u32, pid: u32, end: End) -> Known {
    Known { id, pid, end: Some((end, false)) }
}

fn running(id: u32, pid: u32) -> Known {
    Known { id, pid, end: None }
}

/// A command that writes what it reads, and the ends of its pipes.
fn echo(inside: &mut Inside, id: u32) -> (u32, std::io::PipeWriter, std::io::PipeReader) {
    let (stdin, input) = std::io::pipe().unwrap();
    let (output, stdout) = std::io::pipe().unwrap();
    let stdio = [Stdio::Passed(0), Stdio::Passed(1), Stdio::Null];
    inside.exec(Exec { id, stdio, ..command(&["/bin/cat"]) }, &[stdin.as_fd(), stdout.as_fd()]).unwrap();
    (inside.started(id), input, output)
}

/// Leaves the agent without a control socket.
fn lose(inside: &mut Inside) {
    inside.agent = agent::Agent::over(pair().0);
}

#[test]
fn commands_live_on_and_their_ends_are_kept_until_they_are_forgotten() {
    let (mut inside, door) = Inside::with_door();
    let (first, input, mut output) = echo(&mut inside, 1);
    let (second, other_input, _other_output) = echo(&mut inside, 2);
    lose(&mut inside);
    (&input).write_all(b"still here").unwrap();
    let mut bytes = [0; 10];
    output.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"still here");
    drop(other_input);
    let ended_second = ended(2, second, End::Exited(0));
    wait_until(&mut inside, &door, &[running(1, first), ended_second]);
    assert_eq!(inside.adopt(&door), [running(1, first), ended_second], "told until it is forgotten");
    inside.forget(2).unwrap();
    inside.signal(1, 15).unwrap();
    let end = End::Signaled(15);
    assert_eq!(inside.reply(), Reply::Ended { id: 1, end, deadline: false });
    assert_eq!(inside.adopt(&door), [ended(1, first, end)], "also what was told");
    inside.forget(1).unwrap();
    inside.forget(77).unwrap();
    assert_eq!(inside.shell("echo at work"), "at work\n");
    inside.forget(1).unwrap();
    inside.flush().unwrap();
    assert_eq!(inside.shell("echo again"), "again\n");
}

/// Adopts until the agent knows exactly `expected`.
fn wait_until(inside: &mut Inside, door: &Door, expected: &[Known]) {
    for _ in 0..10_000 {
        if inside.adopt(door) == expected {
            return;
        }
        // Those that are waited for need a processor, too.
        poll(&mut [], Some(&Timespec { tv_sec: 0, tv_nsec: 2_000_000 })).unwrap();
    }
    panic!("never {expected:?}");
}

#[test]
fn with_its_door_the_agent_ends() {
    let (mut inside, door) = Inside::with_door();
    assert_eq!(inside.shell("echo up"), "up\n");
    lose(&mut inside);
    assert_eq!(inside.adopt(&door).len(), 1);
    drop(door);
    assert_eq!(inside.next_error(), Error::Gone);
    assert_eq!(inside.end().code(), Some(0));
}

#[test]
fn a_door_that_brings_anything_but_one_descriptor_is_the_end() {
    let (one, two) = pair();
    for descriptors in [&[][..], &[&one, &two], &[&one, &two, &one]] {
        let (mut inside, door) = Inside::with_door();
        door.bring(descriptors);
        assert_eq!(inside.end().code(), Some(65), "{}", descriptors.len());
    }
    // A descriptor that is no socket is only a useless control.
    let (mut inside, door) = Inside::with_door();
    let file = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
    door.bring(&[&file]);
    assert_eq!(inside.adopt(&door), []);
}

#[test]
fn what_is_no_door_is_none() {
    let flags = rustix::net::SocketFlags::CLOEXEC;
    let kinds = [rustix::net::SocketType::STREAM, rustix::net::SocketType::DGRAM];
    let sockets =
        kinds.map(|kind| rustix::net::socketpair(rustix::net::AddressFamily::UNIX, kind, flags, None));
    let sockets = sockets.map(|pair| pair.unwrap().1);
    for found in sockets.into_iter().chain([std::fs::File::open("/").unwrap().into()]) {
        let mut inside = Inside::with_fifth(found);
        assert_eq!(inside.shell("echo up"), "up\n");
        lose(&mut inside);
        assert_eq!(inside.end().code(), Some(0));
    }
}

#[test]
fn without_a_control_socket_there_is_only_the_door() {
    let (mut inside, door) = Inside::with_door();
    lose(&mut inside);
    assert_eq!(inside.adopt(&door), []);
    assert_eq!(inside.shell("echo up"), "up\n");
}

#[test]
fn what_was_half_said_on_the_old_socket_has_no_part_in_the_new() {
    let (mut inside, door) = Inside::with_door();
    let (_read, write) = std::io::pipe().unwrap();
    let stdio = [Stdio::Passed(0); 3];
    let exec = Exec { id: 9, stdio, ..command(&["/bin/echo", &"x".repeat(5000)]) };
    let frame = encode(&Request::Exec(exec), INWARD_BYTES_MAX).unwrap();
    for length in [1, 3, 4, 5, 100, 5000, frame.len() - 1] {
        let socket = door.enter();
        crate::wire::say(&socket, &frame[..length], &[&write.try_clone().unwrap().into()]);
        assert_eq!(inside.adopt(&door), [], "{length}");
        inside.flush().unwrap();
    }
    let garbage = door.enter();
    crate::wire::say(&garbage, &[0xff; 64], &[]);
    assert_eq!(inside.adopt(&door), []);
    // The descriptors of the half requests are closed: only ours is left.
    let open: u32 =
        inside.shell(&format!("ls /proc/{}/fd | wc -l; true", inside.pid())).trim().parse().unwrap();
    assert!(open < 15, "{open}");
    assert_eq!(inside.shell("echo up"), "up\n");
}

#[test]
fn a_trusted_side_that_says_nonsense_loses_only_its_socket() {
    let (mut inside, door) = Inside::with_door();
    let (pid, _input, _output) = echo(&mut inside, 1);
    for nonsense in [&[0; 4][..], &[0xff; 4], &[1, 0, 0, 0, 0xff]] {
        let socket = door.enter();
        crate::wire::say(&socket, nonsense, &[]);
        let mut agent = agent::Agent::adopt(socket);
        assert!(matches!(crate::harness::await_reply(&mut agent), Ok(Reply::Here { .. })));
        assert_eq!(crate::harness::await_reply(&mut agent), Err(Error::Gone));
    }
    assert_eq!(inside.adopt(&door), [running(1, pid)]);
}

#[test]
fn two_hundred_adoptions_under_load_lose_no_command() {
    let (mut inside, door) = Inside::with_door();
    let (mut next, mut told) = (0, BTreeMap::new());
    let note = |told: &mut BTreeMap<u32, End>, id, end| {
        let before = told.insert(id, end);
        assert!(before.is_none_or(|before| before == end), "{id}: {before:?} and {end:?}");
    };
    let mut asked = BTreeMap::new();
    for round in 0..200u32 {
        let known = inside.adopt(&door);
        for known in &known {
            if let Some((end, false)) = known.end {
                note(&mut told, known.id, end);
                inside.forget(known.id).unwrap();
            }
        }
        // What was asked for on the last socket is known, or ended, or never began.
        for _ in 0..8 {
            let status = (next % 7).to_string();
            let argv = ["/bin/sh", "-c", "exit $0", &status];
            inside.agent.exec(Exec { id: next, ..command(&argv) }, vec![]).unwrap();
            asked.insert(next, (next % 7) as u8);
            next += 1;
        }
        inside.flush().unwrap();
        // In the middle of what it says to that.
        for _ in 0..round % 9 {
            match inside.reply() {
                Reply::Ended { id, end, deadline: false } => {
                    note(&mut told, id, end);
                    inside.forget(id).unwrap();
                }
                Reply::Started { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        let _ = inside.flush();
    }
    let mut left: Vec<Known> = inside.adopt(&door);
    while left.iter().any(|known| known.end.is_none()) {
        let Reply::Ended { id, end, .. } = inside.reply() else { panic!("not an end") };
        assert!(left.iter().any(|known| known.id == id && known.end.is_none()), "{id}");
        left.retain(|known| known.id != id);
        note(&mut told, id, end);
    }
    for known in left {
        note(&mut told, known.id, known.end.unwrap().0);
    }
    for (id, end) in &told {
        assert_eq!(*end, End::Exited(asked[id]), "{id}");
    }
    assert!(told.len() > 800, "{} of {next}", told.len());
    assert_eq!(inside.shell("echo up"), "up\n");
    assert_eq!(inside.shell("ps --ppid $PPID -o stat= | grep -c Z; true"), "0\n", "nobody is left to reap");
}

#[test]
fn an_adoption_in_the_middle_of_a_long_reply_begins_anew() {
    let (mut inside, door) = Inside::with_door();
    for id in 1..=ENDED_MAX as u32 {
        inside.agent.exec(Exec { id, ..command(&["/bin/true"]) }, vec![]).unwrap();
        if id % 64 == 0 {
            for _ in 0..128 {
                inside.reply();
            }
        }
    }
    // Its introduction is longer than a small socket takes, and nobody reads it.
    let (ours, theirs) = pair();
    rustix::net::sockopt::set_socket_send_buffer_size(&theirs, 4096).unwrap();
    door.bring(&[&theirs]);
    drop(theirs);
    inside.adopt(&door);
    let known = inside.adopt(&door);
    assert_eq!(known.len(), ENDED_MAX);
    assert!(known.iter().all(|known| known.end == Some((End::Exited(0), false))));
    drop(ours);
    // One more, and the oldest is forgotten.
    let id = ENDED_MAX as u32 + 1;
    inside.run(Exec { id, ..command(&["/bin/true"]) });
    let known = inside.adopt(&door);
    assert_eq!(known.len(), ENDED_MAX);
    let gone = (1..=id).filter(|id| known.iter().all(|known| known.id != *id)).collect::<Vec<_>>();
    assert!(matches!(gone[..], [early] if early <= 64), "{gone:?} is the one that ended first");
    assert_eq!(known.last().unwrap().id, id);
}

#[test]
fn a_command_that_is_starting_when_its_socket_is_lost_is_known_and_then_told_of() {
    let (mut inside, door) = Inside::with_door();
    let (mut failed, mut ran) = (0, 0);
    for id in (0..400).step_by(2) {
        inside.agent.exec(Exec { id, ..command(&["/no/such"]) }, vec![]).unwrap();
        inside.agent.exec(Exec { id: id + 1, ..command(&["/bin/true"]) }, vec![]).unwrap();
        inside.flush().unwrap();
        let known = inside.adopt(&door);
        for known in known.iter().filter(|known| known.end.is_none()) {
            match inside.reply() {
                Reply::NotStarted { id: of, .. } if of % 2 == 0 => failed += 1,
                Reply::Ended { id: of, end: End::Exited(0), .. } if of % 2 == 1 => ran += 1,
                other => panic!("{known:?}: {other:?}"),
            }
        }
        for known in inside.adopt(&door) {
            assert_eq!(known.end, Some((End::Exited(0), false)));
            assert_eq!(known.id % 2, 1);
            inside.forget(known.id).unwrap();
        }
        inside.flush().unwrap();
    }
    println!("{failed} and {ran} were on their way");
}

#[test]
fn a_deadline_holds_while_nobody_is_there() {
    let (mut inside, door) = Inside::with_door();
    let deadline = Some(Deadline { after_ms: 100, whom: Whom::Group });
    inside.exec(Exec { deadline, ..command(&["/bin/sleep", "600"]) }, &[]).unwrap();
    let pid = inside.started(1);
    lose(&mut inside);
    let end = Some((End::Signaled(9), true));
    wait_until(&mut inside, &door, &[Known { id: 1, pid, end }]);
}

#[test]
fn work_for_the_old_socket_ends_with_it_and_its_name_is_free() {
    let (mut inside, door) = Inside::with_door();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, vec![7; 1 << 20]).unwrap();
    // Nobody reads what it says: it waits, and would for ever.
    let (mut stuck, write) = std::io::pipe().unwrap();
    inside.work(work(read(&file)), vec![write.into()]).unwrap();
    stuck.read_exact(&mut [0; 16]).unwrap();
    assert_eq!(inside.adopt(&door), []);
    let mut rest = vec![];
    stuck.read_to_end(&mut rest).unwrap();
    assert!(rest.len() < 1 << 20);
    assert_eq!(inside.read_file(work(read(&file))).len(), 1 << 20);
    // A write that still waits for its bytes, too.
    let (source, _sink) = std::io::pipe().unwrap();
    let (answers, write) = std::io::pipe().unwrap();
    let op = Op::Write { path: b"/tmp/never".to_vec(), offset: Some(0) };
    inside.work(work(op), vec![write.into(), source.into()]).unwrap();
    inside.adopt(&door);
    assert_eq!(read_all(answers.into()), "");
    let _ = std::fs::remove_file("/tmp/never");
}
