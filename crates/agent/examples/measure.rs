//! What the agent costs: commands, and the bytes of files. Starts it as an ordinary child.
//!
//! ```text
//! cargo run --release --package agent --example measure
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a measurement that cannot go on has failed"
)]

use agent::{Agent, Answer, Answers, Exec, Op, Reply, Stdio, Work};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{SpliceFlags, splice};
use rustix::process::{getegid, geteuid};
use std::fs::File;
use std::io::{Read, Write};
use std::process::Command;
use std::time::{Duration, Instant};

const TIMES: usize = 2000;
const LARGE_BYTES: usize = 100 << 20;
const PIPE_BYTES: usize = 1 << 20;

fn main() {
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    let script = r#"exec "$0" 3<&0 </dev/null >/dev/null 2>&1"#;
    let mut process = Command::new("/bin/sh")
        .arg("-c")
        .arg(script)
        .arg(env!("CASEMATE_AGENT"))
        .stdin(theirs)
        .spawn()
        .unwrap();
    let mut agent = Agent::over(ours);
    let directory = std::env::args().nth(1).unwrap_or_else(|| "/dev/shm".to_owned());
    let path = format!("{directory}/casemate-measure-{}", std::process::id()).into_bytes();

    report("a child of this process, by vfork", || {
        Command::new("/bin/true").status().unwrap();
    });
    report("a command, to its end", || exec(&mut agent));
    let stat = Op::Stat { path: b"/".to_vec() };
    report("stat", || drop(answer(&mut agent, &stat)));
    let write = Op::Write { path: path.clone(), offset: None };
    report("write 1 KiB", || send(&mut agent, &write, &[7; 1024]));
    let read = Op::Read { path: path.clone(), offset: 0, bytes_max: u64::MAX };
    report("read 1 KiB", || assert_eq!(receive(&mut agent, &read), 1024));
    let large = vec![7; LARGE_BYTES];
    for _ in 0..3 {
        rate("write 100 MiB", || send(&mut agent, &write, &large));
    }
    for _ in 0..3 {
        rate("read 100 MiB", || assert_eq!(receive(&mut agent, &read), LARGE_BYTES));
    }
    answer(&mut agent, &Op::Remove { path });
    drop(agent);
    process.wait().unwrap();
}

fn report(what: &str, mut act: impl FnMut()) {
    let mut times: Vec<Duration> = (0..TIMES)
        .map(|_| {
            let began = Instant::now();
            act();
            began.elapsed()
        })
        .collect();
    times.sort();
    let at = |part: usize| times[TIMES * part / 100];
    println!("{what}: p10 {:?}, p50 {:?}, p99 {:?}", at(10), at(50), at(99));
}

fn rate(what: &str, act: impl FnOnce()) {
    let began = Instant::now();
    act();
    let seconds = began.elapsed().as_secs_f64();
    println!("{what}: {:.2} GB/s", LARGE_BYTES as f64 / seconds / 1e9);
}

fn exec(agent: &mut Agent) {
    let exec = Exec {
        id: 1,
        argv: vec![b"/bin/true".to_vec()],
        env: vec![],
        cwd: b"/".to_vec(),
        uid: geteuid().as_raw(),
        gid: getegid().as_raw(),
        stdio: [Stdio::Null; 3],
        terminal: None,
        capabilities: 0,
        deadline: None,
        only: false,
    };
    agent.exec(exec, vec![]).unwrap();
    agent.flush().unwrap();
    await_end(agent);
}

fn await_end(agent: &mut Agent) {
    loop {
        match agent.next().unwrap() {
            Some(Reply::Ended { .. }) => return,
            Some(Reply::Started { .. }) => {}
            Some(other) => panic!("{other:?}"),
            None => drop(poll(&mut [PollFd::new(agent, PollFlags::IN)], None).unwrap()),
        }
    }
}

fn work(op: &Op) -> Work {
    Work { id: 1, uid: geteuid().as_raw(), gid: getegid().as_raw(), capabilities: 0, op: op.clone() }
}

fn answer(agent: &mut Agent, op: &Op) -> Answer {
    let (mut read, write) = std::io::pipe().unwrap();
    agent.work(work(op), vec![write.into()]).unwrap();
    agent.flush().unwrap();
    let mut answers = Answers::to(op);
    let mut bytes = vec![];
    read.read_to_end(&mut bytes).unwrap();
    answers.feed(&bytes);
    let answer = answers.next().unwrap().unwrap();
    await_end(agent);
    answer
}

fn send(agent: &mut Agent, op: &Op, bytes: &[u8]) {
    let (mut read, write) = std::io::pipe().unwrap();
    let (source, mut sink) = std::io::pipe().unwrap();
    rustix::pipe::fcntl_setpipe_size(&sink, PIPE_BYTES).unwrap();
    agent.work(work(op), vec![write.into(), source.into()]).unwrap();
    agent.flush().unwrap();
    sink.write_all(bytes).unwrap();
    drop(sink);
    let mut said = vec![];
    read.read_to_end(&mut said).unwrap();
    await_end(agent);
}

/// Reads the answer, and then moves the bytes away within the kernel, as to a client's socket.
fn receive(agent: &mut Agent, op: &Op) -> usize {
    let (mut read, write) = std::io::pipe().unwrap();
    rustix::pipe::fcntl_setpipe_size(&write, PIPE_BYTES).unwrap();
    agent.work(work(op), vec![write.into()]).unwrap();
    agent.flush().unwrap();
    let mut answers = Answers::to(op);
    while answers.wanted() > 0 {
        let mut bytes = vec![0; answers.wanted()];
        read.read_exact(&mut bytes).unwrap();
        answers.feed(&bytes);
        assert!(matches!(answers.next(), Ok(None | Some(Answer::Reading { .. }))));
    }
    let null = File::options().write(true).open("/dev/null").unwrap();
    let mut count = 0;
    loop {
        match splice(&read, None, &null, None, PIPE_BYTES, SpliceFlags::empty()).unwrap() {
            0 => break,
            moved => count += moved,
        }
    }
    await_end(agent);
    count
}
