//! Starts the agent and waits for what it says.

use agent::{Agent, End, Exec, Reply, Stdio};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{getegid, geteuid};
use std::fs::File;
use std::io::Read;
use std::ops::{Deref, DerefMut};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};

const PATIENCE: Timespec = Timespec { tv_sec: 20, tv_nsec: 0 };

/// A running agent and the connection to it; killed when dropped.
pub(crate) struct Inside {
    pub(crate) agent: Agent,
    process: Process,
}

pub(crate) struct Process(Child);

impl Inside {
    pub(crate) fn start() -> Self {
        Self::launch(r#"exec "$0" 3<&0 </dev/null >/dev/null 2>&1"#, None)
    }

    pub(crate) fn with_terminal(terminal: OwnedFd) -> Self {
        Self::launch(r#"exec "$0" 3<&0 4<&1 </dev/null >/dev/null 2>&1"#, Some(terminal))
    }

    /// An agent without any capability, and the one user that it can be. The program is opened before the change
    /// of user, who may have no way to its directory.
    pub(crate) fn with_only_user() -> (Self, u32, u32) {
        if !geteuid().is_root() {
            return (Self::start(), geteuid().as_raw(), getegid().as_raw());
        }
        let script = r#"exec 3<&0 5<"$0" </dev/null >/dev/null 2>&1
            exec setpriv --reuid=1000 --regid=1000 --clear-groups --inh-caps=-all --bounding-set=-all \
                --no-new-privs /proc/self/fd/5"#;
        (Self::launch(script, None), 1000, 1000)
    }

    /// An agent that is what it is in a sandbox: the first process of a pid namespace; and root there.
    pub(crate) fn first_of_its_namespace() -> Self {
        let more = if geteuid().is_root() { "" } else { "--user --map-root-user" };
        let script = format!(
            r#"exec unshare {more} --pid --fork --kill-child --mount-proc "$0" 3<&0 </dev/null >/dev/null 2>&1"#
        );
        Self::launch(&script, None)
    }

    fn launch(script: &str, terminal: Option<OwnedFd>) -> Self {
        let (ours, process) = launch(script, terminal);
        Inside { agent: Agent::over(ours), process }
    }

    /// Waits for the next reply.
    pub(crate) fn reply(&mut self) -> Reply {
        await_reply(&mut self.agent).unwrap()
    }

    /// Runs a command with a pipe for its output; gives the output and how it ended.
    pub(crate) fn run(&mut self, exec: Exec) -> (String, End) {
        let id = exec.id;
        let (read, write) = std::io::pipe().unwrap();
        self.agent
            .exec(Exec { stdio: [Stdio::Null, Stdio::Passed, Stdio::Null], ..exec }, &[write.as_fd()])
            .unwrap();
        drop(write);
        assert_eq!(self.reply(), Reply::Started { id });
        let output = read_all(read.into());
        match self.reply() {
            Reply::Ended { id: of, end, deadline: false } if of == id => (output, end),
            other => panic!("{other:?}"),
        }
    }

    /// Runs a shell script; gives what it wrote, and expects that it succeeds.
    pub(crate) fn shell(&mut self, script: &str) -> String {
        let (output, end) = self.run(command(&["/bin/sh", "-c", script]));
        assert_eq!(end, End::Exited(0), "{script}: {output}");
        output
    }

    /// Asks for a command that has no descriptors and waits for the first reply.
    pub(crate) fn first_reply(&mut self, exec: Exec) -> Reply {
        self.agent.exec(exec, &[]).unwrap();
        self.reply()
    }
}

impl Deref for Inside {
    type Target = Agent;

    fn deref(&self) -> &Agent {
        &self.agent
    }
}

impl DerefMut for Inside {
    fn deref_mut(&mut self) -> &mut Agent {
        &mut self.agent
    }
}

impl Inside {
    pub(crate) fn pid(&self) -> u32 {
        self.process.0.id()
    }
}

impl Process {
    /// Waits for the agent's own end.
    pub(crate) fn end(&mut self) -> ExitStatus {
        for _ in 0..2000 {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            poll(&mut [], Some(&Timespec { tv_sec: 0, tv_nsec: 10_000_000 })).unwrap();
        }
        panic!("the agent does not end");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the agent with a bare socket for its control.
pub(crate) fn start_raw() -> (OwnedFd, Process) {
    launch(r#"exec "$0" 3<&0 </dev/null >/dev/null 2>&1"#, None)
}

/// The shell puts the descriptors in place: the socket comes as 0, the terminal as 1.
#[allow(clippy::disallowed_methods)]
fn launch(script: &str, terminal: Option<OwnedFd>) -> (OwnedFd, Process) {
    let (ours, theirs) = pair();
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(script).arg(env!("CASEMATE_AGENT")).process_group(0).stdin(theirs);
    if let Some(terminal) = terminal {
        shell.stdout(terminal);
    }
    (ours, Process(shell.spawn().unwrap()))
}

pub(crate) fn pair() -> (OwnedFd, OwnedFd) {
    socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap()
}

/// Waits for the next reply of `agent`, or for its error.
pub(crate) fn await_reply(agent: &mut Agent) -> Result<Reply, agent::Error> {
    loop {
        if let Some(reply) = agent.next()? {
            return Ok(reply);
        }
        let mut fds = [PollFd::new(agent, PollFlags::IN)];
        assert_ne!(poll(&mut fds, Some(&PATIENCE)), Ok(0), "the agent says nothing");
    }
}

/// A command of the test's own user, with no descriptors.
pub(crate) fn command(argv: &[&str]) -> Exec {
    Exec {
        id: 1,
        argv: argv.iter().map(|s| s.as_bytes().to_vec()).collect(),
        env: vec![(b"PATH".to_vec(), b"/usr/bin:/bin".to_vec())],
        cwd: b"/".to_vec(),
        uid: geteuid().as_raw(),
        gid: getegid().as_raw(),
        stdio: [Stdio::Null; 3],
        terminal: false,
        capabilities: 0,
        deadline_ms: None,
    }
}

pub(crate) fn read_all(fd: OwnedFd) -> String {
    let mut text = String::new();
    File::from(fd).read_to_string(&mut text).unwrap();
    text
}
