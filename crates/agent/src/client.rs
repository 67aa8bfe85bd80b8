//! The trusted end of an agent's control socket.
//!
//! Everything that arrives is hostile: bounded, decoded strictly, matched with what was asked, and received
//! without room for descriptors, so the kernel drops any that are sent. The first thing that is wrong poisons the
//! connection: from then on every call is refused.

use crate::protocol::{
    CHUNK_BYTES_MAX, DESCRIPTORS_MAX, End, Exec, INWARD_BYTES_MAX, OUTWARD_BYTES_MAX, Read, Reply, Request,
    Stdio, Write, body_length, decode, encode,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{self, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use std::collections::BTreeMap;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::time::{Duration, Instant};

/// How long one request may wait for the agent to take it, in milliseconds.
pub const SEND_WAIT_MS_MAX: u64 = 1000;

/// How much of what the agent says is kept while a request waits to be sent, in bytes.
const BUFFERED_BYTES_MAX: usize = 1 << 20;
const RECEIVED_AT_ONCE_BYTES: usize = 16 << 10;

/// The connection to one sandbox's agent.
///
/// The caller names its requests: an id is in use from the request until its last reply. Wait on [`AsFd`] for
/// reading, and then call [`Agent::next`] until it gives `None`: replies that arrived while a request was being
/// sent are kept here, where a poll does not see them, so do the same after every request.
#[derive(Debug)]
pub struct Agent {
    socket: OwnedFd,
    received: Vec<u8>,
    /// How much of `received` was handed out already.
    taken: usize,
    expected: BTreeMap<u32, Expected>,
    poisoned: bool,
}

/// What the next reply about an id may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Start,
    End,
    Bytes { len_max: u32 },
    Written,
}

/// Why an agent could not be asked or heard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The agent ended, and with it everything in its sandbox.
    #[error("the agent is gone")]
    Gone,
    /// It did not read; nothing of the request was sent, so the connection still stands.
    #[error("the agent took no request for {SEND_WAIT_MS_MAX} ms")]
    Busy,
    /// It stopped reading in the middle of a request. Poisons.
    #[error("the agent stopped reading in the middle of a request for {SEND_WAIT_MS_MAX} ms")]
    Stuck,
    /// A frame without a body, or with too long a one. Poisons.
    #[error("the agent announced a reply of {0} bytes; expected 1 to {OUTWARD_BYTES_MAX}")]
    Announced(usize),
    /// A frame that is no reply. Poisons.
    #[error("the agent sent a frame that is no reply")]
    NotAReply,
    /// A reply to nothing that was asked. Poisons.
    #[error("the agent sent a reply about id {0} that answers nothing asked")]
    Unasked(u32),
    /// An earlier error made everything after it meaningless.
    #[error("the connection to the agent is no longer in step")]
    Poisoned,
    /// A request too long to send.
    #[error("the request has {0} bytes; the most is {INWARD_BYTES_MAX}")]
    TooLong(usize),
    /// A piece of a file that is too long.
    #[error("the piece of a file has {0} bytes; the most is {CHUNK_BYTES_MAX}")]
    ChunkTooLong(usize),
    /// An id that still awaits a reply.
    #[error("the request's id {0} is in use")]
    IdInUse(u32),
    /// Not as many descriptors as `stdio` says.
    #[error("the command passes {passed} descriptors but {given} were given")]
    Descriptors {
        /// How many `stdio` names as passed.
        passed: usize,
        /// How many were given.
        given: usize,
    },
    /// A number outside 1 to 64.
    #[error("{0} is not a signal")]
    NotASignal(i32),
    /// The kernel refused to send or to receive.
    #[error("{call}: {errno}")]
    Socket {
        /// The system call.
        call: &'static str,
        /// Why.
        errno: Errno,
    },
}

impl Agent {
    /// The agent at the other end of `socket`, a connected stream socket.
    pub fn over(socket: OwnedFd) -> Self {
        Agent { socket, received: Vec::new(), taken: 0, expected: BTreeMap::new(), poisoned: false }
    }

    /// Asks for a command. `descriptors` are for the [`Stdio::Passed`] of its `stdio`, in order.
    ///
    /// Like every request it waits at most [`SEND_WAIT_MS_MAX`] for the agent to take it.
    ///
    /// # Errors
    /// [`Error::Busy`] and the errors about the request itself: nothing was sent. Any other: the agent is lost.
    pub fn exec(&mut self, exec: Exec, descriptors: &[BorrowedFd<'_>]) -> Result<(), Error> {
        let passed = exec.stdio.iter().filter(|s| **s == Stdio::Passed).count();
        if passed != descriptors.len() {
            return Err(Error::Descriptors { passed, given: descriptors.len() });
        }
        self.ask(exec.id, Expected::Start, &Request::Exec(exec), descriptors)
    }

    /// Sends a signal to a command's process group. There is no reply; a command that has ended is no error.
    ///
    /// # Errors
    /// As [`Agent::exec`], and a number that is no signal.
    pub fn signal(&mut self, id: u32, signal: i32) -> Result<(), Error> {
        if !(1..=64).contains(&signal) {
            return Err(Error::NotASignal(signal));
        }
        self.send(&Request::Signal { id, signal }, &[])
    }

    /// Asks for a piece of a file.
    ///
    /// # Errors
    /// As [`Agent::exec`], and a piece of more than [`CHUNK_BYTES_MAX`].
    pub fn read(&mut self, read: Read) -> Result<(), Error> {
        check_chunk(read.len as usize)?;
        self.ask(read.id, Expected::Bytes { len_max: read.len }, &Request::Read(read), &[])
    }

    /// Asks to write a piece of a file.
    ///
    /// # Errors
    /// As [`Agent::read`].
    pub fn write(&mut self, write: Write) -> Result<(), Error> {
        check_chunk(write.bytes.len())?;
        self.ask(write.id, Expected::Written, &Request::Write(write), &[])
    }

    /// The next whole reply that is already here, if there is one. Never waits.
    ///
    /// # Errors
    /// The agent is gone, or said something that it may not say: the sandbox is lost.
    #[expect(clippy::should_implement_trait, reason = "an iterator could not say `not yet`")]
    pub fn next(&mut self) -> Result<Option<Reply>, Error> {
        self.in_step()?;
        let reply = self.take_reply();
        self.poisoned |= reply.as_ref().is_err_and(|e| *e != Error::Gone);
        reply
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
        let id = reply.id();
        let after = match (reply, self.expected.get(&id)) {
            (Reply::Started { .. }, Some(Expected::Start)) => Some(Expected::End),
            (Reply::NotStarted { .. }, Some(Expected::Start)) => None,
            (Reply::Ended { .. }, Some(Expected::End)) => None,
            (Reply::Bytes { bytes, .. }, Some(Expected::Bytes { len_max }))
                if bytes.len() <= *len_max as usize =>
            {
                None
            }
            (Reply::Written { .. }, Some(Expected::Written)) => None,
            (Reply::Failed { .. }, Some(Expected::Bytes { .. } | Expected::Written)) => None,
            _ => return Err(Error::Unasked(id)),
        };
        match after {
            Some(expected) => self.expected.insert(id, expected),
            None => self.expected.remove(&id),
        };
        if numbers_hold(reply) { Ok(()) } else { Err(Error::NotAReply) }
    }

    fn receive(&mut self) -> Result<Received, Error> {
        self.received.drain(..self.taken);
        self.taken = 0;
        self.received.reserve(RECEIVED_AT_ONCE_BYTES);
        // `recv` has no control buffer: descriptors that the agent attaches are dropped by the kernel.
        let room = rustix::buffer::spare_capacity(&mut self.received);
        match net::recv(&self.socket, room, RecvFlags::DONTWAIT) {
            Ok((0, _)) | Err(Errno::CONNRESET) => Err(Error::Gone),
            Ok(_) => Ok(Received::Something),
            Err(Errno::AGAIN | Errno::INTR) => Ok(Received::Nothing),
            Err(errno) => Err(Error::Socket { call: "recv", errno }),
        }
    }

    fn ask(
        &mut self,
        id: u32,
        expected: Expected,
        request: &Request,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), Error> {
        if self.expected.contains_key(&id) {
            return Err(Error::IdInUse(id));
        }
        self.send(request, descriptors)?;
        self.expected.insert(id, expected);
        Ok(())
    }

    fn send(&mut self, request: &Request, descriptors: &[BorrowedFd<'_>]) -> Result<(), Error> {
        self.in_step()?;
        let frame = encode(request, INWARD_BYTES_MAX).map_err(|long| Error::TooLong(long.0))?;
        let mut sent = 0;
        let outcome = self.send_all(&frame, &mut sent, descriptors);
        self.poisoned |= outcome.is_err() && sent > 0;
        outcome
    }

    fn send_all(
        &mut self,
        frame: &[u8],
        sent: &mut usize,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), Error> {
        let give_up = Instant::now() + Duration::from_millis(SEND_WAIT_MS_MAX);
        while *sent < frame.len() {
            let descriptors = if *sent == 0 { descriptors } else { &[] };
            match send_some(self.socket.as_fd(), &frame[*sent..], descriptors) {
                Ok(count) => *sent += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if self.wait_to_send(give_up)? => {}
                Err(Errno::AGAIN) => return Err(if *sent == 0 { Error::Busy } else { Error::Stuck }),
                Err(Errno::PIPE | Errno::CONNRESET) => return Err(Error::Gone),
                Err(errno) => return Err(Error::Socket { call: "sendmsg", errno }),
            }
        }
        Ok(())
    }

    /// Waits until sending may go on, and whether it may. Keeps what the agent says meanwhile: an agent whose
    /// replies nobody takes stops reading requests, and the two would wait for each other.
    fn wait_to_send(&mut self, give_up: Instant) -> Result<bool, Error> {
        loop {
            let listens = self.received.len() - self.taken < BUFFERED_BYTES_MAX;
            let interest = if listens { PollFlags::IN | PollFlags::OUT } else { PollFlags::OUT };
            let mut fds = [PollFd::new(&self.socket, interest)];
            let left = give_up.saturating_duration_since(Instant::now());
            let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
            match poll(&mut fds, Some(&timeout)) {
                Ok(_) | Err(Errno::INTR) if left.is_zero() => return Ok(false),
                Ok(0) => return Ok(false),
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(Error::Socket { call: "poll", errno }),
            }
            let events = fds[0].revents();
            if events.intersects(PollFlags::OUT | PollFlags::ERR | PollFlags::HUP) {
                return Ok(true);
            }
            self.receive()?;
        }
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

fn check_chunk(length: usize) -> Result<(), Error> {
    if length <= CHUNK_BYTES_MAX { Ok(()) } else { Err(Error::ChunkTooLong(length)) }
}

/// Whether every number in `reply` is one that the kernel could have said.
fn numbers_hold(reply: &Reply) -> bool {
    match reply {
        Reply::Ended { end: End::Signaled(signal), .. } => (1..=64).contains(signal),
        Reply::NotStarted { errno, .. } | Reply::Failed { errno, .. } => (1..4096).contains(errno),
        _ => true,
    }
}

fn send_some(socket: BorrowedFd<'_>, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<usize, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::INVAL);
    }
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags)
}
