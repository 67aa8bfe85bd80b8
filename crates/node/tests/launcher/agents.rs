//! Speaks to an agent.

use agent::{Agent, End, Exec, Reply, Stdio};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use std::io::Read;

/// A command of the sandbox's user that runs a shell script and writes to the descriptor that comes with it.
pub(crate) fn shell(id: u32, script: &str) -> Exec {
    Exec {
        id,
        argv: ["/bin/sh", "-c", script].map(|word| word.as_bytes().to_vec()).to_vec(),
        env: vec![(b"PATH".to_vec(), b"/usr/bin:/bin".to_vec())],
        cwd: b"/".to_vec(),
        uid: 1000,
        gid: 1000,
        stdio: [Stdio::Null, Stdio::Passed(0), Stdio::Null],
        terminal: None,
        capabilities: 0,
        deadline: None,
        only: false,
    }
}

pub(crate) fn reply(agent: &mut Agent) -> Reply {
    loop {
        agent.flush().unwrap();
        if let Some(reply) = agent.next().unwrap() {
            return reply;
        }
        let mut fds = [PollFd::new(agent, PollFlags::IN)];
        assert_eq!(poll(&mut fds, Some(&Timespec { tv_sec: 30, tv_nsec: 0 })), Ok(1), "the agent is silent");
    }
}

/// Starts a script; gives the pipe that it writes to.
pub(crate) fn start(agent: &mut Agent, id: u32, script: &str) -> OwnedFd {
    let (read, write) = std::io::pipe().unwrap();
    agent.exec(shell(id, script), vec![write.into()]).unwrap();
    let started = reply(agent);
    assert!(matches!(started, Reply::Started { id: of, .. } if of == id), "{started:?}");
    read.into()
}

/// Runs a script to its end; gives what it wrote.
pub(crate) fn run(agent: &mut Agent, id: u32, script: &str) -> (String, End) {
    let output = start(agent, id, script);
    let mut text = String::new();
    std::fs::File::from(output.as_fd().try_clone_to_owned().unwrap()).read_to_string(&mut text).unwrap();
    match reply(agent) {
        Reply::Ended { end, .. } => (text, end),
        other => panic!("{other:?}"),
    }
}
