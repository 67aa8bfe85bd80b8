//! Starts the agent and waits for what it says.

use agent::{Agent, Answer, Answers, End, Error, Exec, Known, Op, Reply, Stage, Stdio, Whom, Work};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, sendmsg,
    socketpair,
};
use rustix::process::{getegid, geteuid};
use std::fs::File;
use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};

const PATIENCE: Timespec = Timespec { tv_sec: 20, tv_nsec: 0 };

/// A running agent and the connection to it; killed when dropped.
pub(crate) struct Inside {
    pub(crate) agent: Agent,
    process: Process,
}

pub(crate) struct Process(Child);

/// The other end of an agent's door.
pub(crate) struct Door(pub(crate) OwnedFd);

impl Door {
    /// Brings a new control socket; gives the trusted end of it.
    pub(crate) fn enter(&self) -> OwnedFd {
        let (ours, theirs) = pair();
        self.bring(&[&theirs]);
        ours
    }

    pub(crate) fn bring(&self, descriptors: &[&OwnedFd]) {
        let descriptors: Vec<_> = descriptors.iter().map(|d| d.as_fd()).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
        }
        assert_eq!(sendmsg(&self.0, &[IoSlice::new(b"!")], &mut control, SendFlags::NOSIGNAL), Ok(1));
    }
}

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
        let script = r#"exec 3<&0 9<"$0" </dev/null >/dev/null 2>&1
            exec setpriv --reuid=1000 --regid=1000 --clear-groups --inh-caps=-all --bounding-set=-all \
                --no-new-privs /proc/self/fd/9"#;
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

    /// An agent with a door.
    pub(crate) fn with_door() -> (Self, Door) {
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        (Self::with_fifth(theirs), Door(ours))
    }

    /// An agent with something where its door would be.
    pub(crate) fn with_fifth(found: OwnedFd) -> Self {
        Self::launch(r#"exec "$0" 3<&0 5<&1 </dev/null >/dev/null 2>&1"#, Some(found))
    }

    /// Comes in by the door, in the place of the connection so far; gives the commands that the agent tells of.
    pub(crate) fn adopt(&mut self, door: &Door) -> Vec<Known> {
        self.agent = Agent::adopt(door.enter());
        match self.reply() {
            Reply::Here { commands } => commands,
            other => panic!("{other:?}"),
        }
    }

    /// Waits for the agent's own end.
    pub(crate) fn end(&mut self) -> ExitStatus {
        self.process.end()
    }

    fn launch(script: &str, terminal: Option<OwnedFd>) -> Self {
        let (ours, process) = launch(script, terminal);
        Inside { agent: Agent::over(ours), process }
    }

    /// Waits for the next reply.
    pub(crate) fn reply(&mut self) -> Reply {
        await_reply(&mut self.agent).unwrap()
    }

    /// Waits for the end of the connection.
    pub(crate) fn next_error(&mut self) -> Error {
        loop {
            if let Err(error) = await_reply(&mut self.agent) {
                return error;
            }
        }
    }

    /// Runs a command with a pipe for its output; gives the output and how it ended.
    pub(crate) fn run(&mut self, exec: Exec) -> (String, End) {
        let id = exec.id;
        let (read, write) = std::io::pipe().unwrap();
        let exec = Exec { stdio: [Stdio::Null, Stdio::Passed(0), Stdio::Null], ..exec };
        self.exec(exec, &[write.as_fd()]).unwrap();
        drop(write);
        self.started(id);
        let output = read_all(read.into());
        match self.reply() {
            Reply::Ended { id: of, end, deadline: false } if of == id => (output, end),
            other => panic!("{other:?}"),
        }
    }

    /// Runs a shell script; gives what it wrote, and expects that it succeeds.
    pub(crate) fn shell(&mut self, script: &str) -> String {
        self.shell_as(1, script)
    }

    /// As [`Inside::shell`], under another name.
    pub(crate) fn shell_as(&mut self, id: u32, script: &str) -> String {
        let (output, end) = self.run(Exec { id, ..command(&["/bin/sh", "-c", script]) });
        assert_eq!(end, End::Exited(0), "{script}: {output}");
        output
    }

    /// Asks for a command that has no descriptors and waits for the first reply.
    pub(crate) fn first_reply(&mut self, exec: Exec) -> Reply {
        self.exec(exec, &[]).unwrap();
        self.reply()
    }

    /// Asks for a command at once.
    pub(crate) fn exec(&mut self, exec: Exec, descriptors: &[BorrowedFd<'_>]) -> Result<(), Error> {
        self.agent.exec(exec, own(descriptors)).and_then(|()| self.agent.flush())
    }

    /// Asks for work on files at once.
    pub(crate) fn work(&mut self, work: Work, descriptors: Vec<OwnedFd>) -> Result<(), Error> {
        self.agent.work(work, descriptors).and_then(|()| self.agent.flush())
    }

    /// Does work that is not started; gives what the agent says.
    pub(crate) fn refusal(&mut self, asked: Work) -> (Stage, Errno) {
        let (_read, write) = std::io::pipe().unwrap();
        self.work(asked, vec![write.into()]).unwrap();
        match self.reply() {
            Reply::NotStarted { stage, errno, .. } => (stage, Errno::from_raw_os_error(errno)),
            other => panic!("{other:?}"),
        }
    }

    /// Does work on files; gives its answers and how it ended.
    pub(crate) fn answers(&mut self, asked: Work) -> (Vec<Answer>, End) {
        let (answers, _, end) = self.all_answers(asked, b"");
        (answers, end)
    }

    /// As [`Inside::answers`], with bytes to write.
    pub(crate) fn answers_to_bytes(&mut self, asked: Work, bytes: &[u8]) -> (Vec<Answer>, End) {
        let (answers, _, end) = self.all_answers(asked, bytes);
        (answers, end)
    }

    /// Does an operation as the test's own user, which fails or has one answer.
    pub(crate) fn answer(&mut self, op: Op) -> Answer {
        let (answers, end) = self.answers(work(op.clone()));
        let [answer] = &answers[..] else { panic!("{op:?}: {answers:?}") };
        let status = u8::from(matches!(answer, Answer::Failed { .. }));
        assert_eq!(end, End::Exited(status), "{op:?}: {answer:?}");
        answer.clone()
    }

    pub(crate) fn read_file(&mut self, asked: Work) -> Vec<u8> {
        let (answers, data, end) = self.all_answers(asked, b"");
        let [Answer::Reading { bytes, .. }] = answers[..] else { panic!("{answers:?}") };
        assert!(bytes.is_none_or(|bytes| bytes == data.len() as u64));
        assert_eq!(end, End::Exited(0));
        data
    }

    pub(crate) fn write_file(&mut self, path: impl AsRef<Path>, bytes: &[u8]) -> Answer {
        let op = Op::Write { path: path.as_ref().as_os_str().as_bytes().to_vec(), offset: None };
        let (answers, end) = self.answers_to_bytes(work(op), bytes);
        assert_eq!(end, End::Exited(0), "{answers:?}");
        answers[0].clone()
    }

    fn all_answers(&mut self, asked: Work, bytes: &[u8]) -> (Vec<Answer>, Vec<u8>, End) {
        let (id, mut decoder) = (asked.id, Answers::to(&asked.op));
        let (mut read, write) = std::io::pipe().unwrap();
        let mut passed = vec![write.into()];
        let mut writer = None;
        if matches!(asked.op, Op::Write { .. }) {
            let (source, mut sink) = std::io::pipe().unwrap();
            passed.push(source.into());
            let bytes = bytes.to_vec();
            // What cannot be written is not read, either.
            writer = Some(std::thread::spawn(move || drop(sink.write_all(&bytes))));
        }
        self.work(asked, passed).unwrap();
        let (mut answers, mut data) = (vec![], vec![]);
        let mut buffer = vec![0; 100_000];
        loop {
            let count = read.read(&mut buffer).unwrap();
            if count == 0 {
                break;
            }
            decoder.feed(&buffer[..count]);
            while let Some(answer) = decoder.next().unwrap() {
                answers.push(answer);
            }
            data.extend_from_slice(decoder.data().unwrap());
        }
        decoder.end().unwrap();
        if let Some(writer) = writer {
            writer.join().unwrap();
        }
        match self.reply() {
            Reply::Ended { id: of, end, deadline: false } if of == id => (answers, data, end),
            other => panic!("{other:?}"),
        }
    }

    /// Sends a signal to the process group of a command at once.
    pub(crate) fn signal(&mut self, id: u32, signal: i32) -> Result<(), Error> {
        self.agent.signal(id, signal, Whom::Group).and_then(|()| self.agent.flush())
    }

    /// Waits for the start of a command; gives its process id.
    pub(crate) fn started(&mut self, id: u32) -> u32 {
        match self.reply() {
            Reply::Started { id: of, pid } if of == id => pid,
            other => panic!("{other:?}"),
        }
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
pub(crate) fn await_reply(agent: &mut Agent) -> Result<Reply, Error> {
    loop {
        if let Some(reply) = agent.next()? {
            return Ok(reply);
        }
        agent.flush()?;
        let mut interest = PollFlags::IN;
        interest.set(PollFlags::OUT, agent.wants_to_send());
        let mut fds = [PollFd::new(agent, interest)];
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
        terminal: None,
        capabilities: 0,
        deadline: None,
        only: false,
    }
}

pub(crate) fn read_all(fd: OwnedFd) -> String {
    let mut text = String::new();
    File::from(fd).read_to_string(&mut text).unwrap();
    text
}

/// Descriptors of one's own for what others go on using.
pub(crate) fn own(descriptors: &[BorrowedFd<'_>]) -> Vec<OwnedFd> {
    descriptors.iter().map(|fd| fd.try_clone_to_owned().unwrap()).collect()
}

/// Work as the test's own user.
pub(crate) fn work(op: Op) -> Work {
    Work { id: 1, uid: geteuid().as_raw(), gid: getegid().as_raw(), capabilities: 0, op }
}

/// All of a file.
pub(crate) fn read(path: impl AsRef<Path>) -> Op {
    Op::Read { path: path.as_ref().as_os_str().as_bytes().to_vec(), offset: 0, bytes_max: u64::MAX }
}
