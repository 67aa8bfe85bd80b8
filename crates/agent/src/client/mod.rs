//! The trusted end of an agent's control socket, and the reader of what work on files answers.
//!
//! Everything that arrives is hostile: bounded, decoded strictly, matched with what was asked, and received
//! without room for descriptors, so the kernel drops any that are sent. The first thing that is wrong poisons the
//! connection: from then on every call is refused.
//!
//! Nothing here waits: whoever owns an [`Agent`] polls its socket, from a loop of its own or from a runtime.

mod answers;
mod error;
mod queue;

pub use answers::Answers;
pub use error::{AnswerError, Error};
pub use queue::QUEUED_BYTES_MAX;

use crate::protocol::{
    COMMANDS_MAX, DESCRIPTORS_MAX, ENDED_MAX, End, Exec, INWARD_BYTES_MAX, Known, OUTWARD_BYTES_MAX, PID_MAX,
    Reply, Request, Whom, Work, body_length, decode, encode,
};
use queue::Queue;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{self, RecvFlags};
use std::collections::{BTreeMap, BTreeSet};

const RECEIVED_AT_ONCE_BYTES: usize = 16 << 10;

/// The connection to one sandbox's agent.
///
/// The caller names its requests: an id is in use from the request until its last reply, and where the agent has a
/// door, until it is forgotten. Requests are queued: call [`Agent::flush`] after them, and again when the socket takes
/// more while [`Agent::wants_to_send`]. Wait on [`AsFd`] for reading, and then call [`Agent::next`] until it gives
/// `None`, also while requests wait: an agent whose replies nobody takes stops reading, and the two would wait for
/// each other.
#[derive(Debug)]
pub struct Agent {
    socket: OwnedFd,
    queue: Queue,
    received: Vec<u8>,
    /// How much of `received` was handed out already.
    taken: usize,
    expected: BTreeMap<u32, Expected>,
    introduction: Introduction,
    poisoned: bool,
}

/// What the next reply about an id may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Start,
    End,
    /// The end, or that it was not started: of a command that an introduction told of, or of work.
    StartOrEnd,
}

/// Whether the agent says first of all which commands there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Introduction {
    Due,
    None,
}

impl Agent {
    /// The agent at the other end of `socket`, the connected stream socket that it was started with.
    pub fn over(socket: OwnedFd) -> Self {
        Agent {
            socket,
            queue: Queue::default(),
            received: Vec::new(),
            taken: 0,
            expected: BTreeMap::new(),
            introduction: Introduction::None,
            poisoned: false,
        }
    }

    /// The agent at the other end of `socket`, which it got by its door. Its first reply is [`Reply::Here`]; of the
    /// commands in it that run, the end is to come.
    pub fn adopt(socket: OwnedFd) -> Self {
        Agent { introduction: Introduction::Due, ..Agent::over(socket) }
    }

    /// Asks for a command. `descriptors` are those that its `stdio` and `terminal` name by their place.
    ///
    /// # Errors
    /// [`Error::Busy`] and the errors about the request itself: nothing was queued. [`Error::Poisoned`]: the agent is
    /// lost.
    pub fn exec(&mut self, exec: Exec, descriptors: Vec<OwnedFd>) -> Result<(), Error> {
        let expected = if exec.only { Expected::StartOrEnd } else { Expected::Start };
        self.ask(exec.id, expected, &Request::Exec(exec), descriptors)
    }

    /// Asks for work on files. The first of `descriptors` takes the answers, which [`Answers`] reads; for
    /// [`crate::Op::Write`] the second brings the bytes. Both are pipes, which the caller has given the size it wants.
    ///
    /// # Errors
    /// As [`Agent::exec`].
    pub fn work(&mut self, work: Work, descriptors: Vec<OwnedFd>) -> Result<(), Error> {
        self.ask(work.id, Expected::StartOrEnd, &Request::Work(work), descriptors)
    }

    /// Sends a signal to a command or to work. There is no reply; one that has ended is no error.
    ///
    /// # Errors
    /// As [`Agent::exec`], and a number that is no signal.
    pub fn signal(&mut self, id: u32, signal: i32, whom: Whom) -> Result<(), Error> {
        if !(1..=64).contains(&signal) {
            return Err(Error::NotASignal(signal));
        }
        self.send(&Request::Signal { id, signal, whom }, Vec::new())
    }

    /// Tells an agent with a door that a command's end is known. There is no reply.
    ///
    /// # Errors
    /// As [`Agent::exec`]; [`Error::IdInUse`] for a command whose end is still to come.
    pub fn forget(&mut self, id: u32) -> Result<(), Error> {
        if self.expected.contains_key(&id) {
            return Err(Error::IdInUse(id));
        }
        self.send(&Request::Forget { id }, Vec::new())
    }

    /// Sends what can be sent now. Never waits.
    ///
    /// # Errors
    /// [`Error::Gone`]: what it said before is still here. Any other: the agent is lost.
    pub fn flush(&mut self) -> Result<(), Error> {
        self.in_step()?;
        let outcome = self.queue.flush(self.socket.as_fd());
        self.poisoned |= outcome.as_ref().is_err_and(|e| *e != Error::Gone);
        outcome
    }

    /// Whether to wait for the socket to take more, and then to [`Agent::flush`].
    pub fn wants_to_send(&self) -> bool {
        !self.queue.is_empty()
    }

    /// The next whole reply that is already here, if there is one. Never waits; after `None` the socket has nothing
    /// more, so a runtime may clear its readiness then.
    ///
    /// # Errors
    /// The agent is gone, or said something that it may not say: the sandbox is lost.
    #[expect(clippy::should_implement_trait, reason = "an iterator could not say `not yet`")]
    pub fn next(&mut self) -> Result<Option<Reply>, Error> {
        self.in_step()?;
        let reply = self.take_reply();
        if let Err(error) = &reply {
            self.poisoned |= *error != Error::Gone;
            self.queue.clear();
        }
        reply
    }

    /// Asks nothing any more: lets go of the requests that were not sent, and of the descriptors in them. Whoever waits
    /// for the other ends of those would wait for ever.
    pub fn give_up(&mut self) {
        self.queue.clear();
        self.poisoned = true;
    }

    fn take_reply(&mut self) -> Result<Option<Reply>, Error> {
        // Each turn receives something or returns, and a longest frame is the most that can be here without
        // being whole: an agent that never stops talking cannot keep us here.
        loop {
            if let Some(body) = self.whole_frame()? {
                let reply = decode(body).map_err(|_| Error::NotAReply)?;
                self.taken += 4 + body.len();
                self.meet(&reply)?;
                return Ok(Some(reply));
            }
            if self.receive()? == Received::Nothing {
                return Ok(None);
            }
        }
    }

    fn whole_frame(&self) -> Result<Option<&[u8]>, Error> {
        let Some((header, rest)) = self.received[self.taken..].split_first_chunk() else { return Ok(None) };
        let length = body_length(*header, OUTWARD_BYTES_MAX).map_err(|long| Error::Announced(long.0))?;
        Ok(rest.get(..length))
    }

    /// Checks that `reply` answers something, and remembers what may follow it.
    fn meet(&mut self, reply: &Reply) -> Result<(), Error> {
        let introduces = matches!(reply, Reply::Here { .. });
        if introduces != (self.introduction == Introduction::Due) {
            return Err(Error::Introduction);
        }
        let (id, after) = match *reply {
            Reply::Here { ref commands } => return self.meet_all(commands),
            Reply::Started { id, .. } => (id, Some(Expected::End)),
            Reply::NotStarted { id, .. } | Reply::Ended { id, .. } => (id, None),
        };
        let fits = match self.expected.get(&id) {
            Some(Expected::Start) => !matches!(reply, Reply::Ended { .. }),
            Some(Expected::End) => matches!(reply, Reply::Ended { .. }),
            Some(Expected::StartOrEnd) => !matches!(reply, Reply::Started { .. }),
            None => false,
        };
        if !fits {
            return Err(Error::Unasked(id));
        }
        match after {
            Some(expected) => self.expected.insert(id, expected),
            None => self.expected.remove(&id),
        };
        if numbers_hold(reply) { Ok(()) } else { Err(Error::NotAReply) }
    }

    /// Checks an introduction, and expects the end of the commands in it that run.
    fn meet_all(&mut self, commands: &[Known]) -> Result<(), Error> {
        self.introduction = Introduction::None;
        let running = commands.iter().filter(|known| known.end.is_none()).count();
        let ids: BTreeSet<u32> = commands.iter().map(|known| known.id).collect();
        let bounded = running <= COMMANDS_MAX && commands.len() - running <= ENDED_MAX;
        if !bounded || ids.len() < commands.len() || !commands.iter().all(known_holds) {
            return Err(Error::NotAReply);
        }
        for known in commands {
            if self.expected.contains_key(&known.id) {
                return Err(Error::Unasked(known.id));
            }
            if known.end.is_none() {
                self.expected.insert(known.id, Expected::StartOrEnd);
            }
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<Received, Error> {
        self.received.drain(..self.taken);
        self.taken = 0;
        self.received.reserve(RECEIVED_AT_ONCE_BYTES);
        // `recv` has no control buffer: descriptors that the agent attaches are dropped by the kernel.
        let room = rustix::buffer::spare_capacity(&mut self.received);
        match net::recv(&self.socket, room, RecvFlags::DONTWAIT) {
            Ok((0, _)) | Err(Errno::CONNRESET) => Err(Error::Gone),
            // Who waits for edges must not be told `nothing` before the socket has said so.
            Ok(_) | Err(Errno::INTR) => Ok(Received::Something),
            Err(Errno::AGAIN) => Ok(Received::Nothing),
            Err(errno) => Err(Error::Socket { call: "recv", errno }),
        }
    }

    fn ask(
        &mut self,
        id: u32,
        expected: Expected,
        request: &Request,
        descriptors: Vec<OwnedFd>,
    ) -> Result<(), Error> {
        if self.expected.contains_key(&id) {
            return Err(Error::IdInUse(id));
        }
        self.send(request, descriptors)?;
        self.expected.insert(id, expected);
        Ok(())
    }

    fn send(&mut self, request: &Request, descriptors: Vec<OwnedFd>) -> Result<(), Error> {
        self.in_step()?;
        let (passed, given) = (request.passed(), descriptors.len());
        if passed != given || passed > DESCRIPTORS_MAX {
            return Err(Error::Descriptors { passed, given });
        }
        let frame = encode(request, INWARD_BYTES_MAX).map_err(|long| Error::TooLong(long.0))?;
        self.queue.push(frame, descriptors)
    }

    fn in_step(&self) -> Result<(), Error> {
        if self.poisoned { Err(Error::Poisoned) } else { Ok(()) }
    }
}

impl AsFd for Agent {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[derive(PartialEq, Eq)]
enum Received {
    Something,
    Nothing,
}

/// Whether every number in `reply` is one that the kernel could have said.
fn numbers_hold(reply: &Reply) -> bool {
    match reply {
        Reply::Here { commands } => commands.iter().all(known_holds),
        Reply::Started { pid, .. } => pid_holds(*pid),
        Reply::Ended { end, .. } => end_holds(*end),
        Reply::NotStarted { errno, .. } => (1..4096).contains(errno),
    }
}

fn known_holds(known: &Known) -> bool {
    pid_holds(known.pid) && known.end.is_none_or(|(end, _)| end_holds(end))
}

/// 1 is the agent itself.
fn pid_holds(pid: u32) -> bool {
    (2..=PID_MAX).contains(&pid)
}

fn end_holds(end: End) -> bool {
    match end {
        End::Exited(_) => true,
        End::Signaled(signal) => (1..=64).contains(&signal),
    }
}
