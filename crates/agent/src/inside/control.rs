//! The agent's end of the control socket.
//!
//! A frame's header and body are received apart and never more than one frame at a time, so the descriptors that
//! come with the first bytes of a header belong to that frame and to no other.

use agent::protocol::{self, DESCRIPTORS_MAX, INWARD_BYTES_MAX, OUTWARD_BYTES_MAX, Reply, Request};
use alloc::vec;
use alloc::vec::Vec;
use core::mem::{self, MaybeUninit};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, IoSliceMut};
use rustix::net::{self, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendFlags};

/// How many bytes of replies may wait before no more requests are read. What is running adds at most two small
/// replies for each command to it.
const UNSENT_BYTES_MAX: usize = 128 << 10;
const HEADER_BYTES: usize = 4;

pub(crate) struct Control {
    socket: OwnedFd,
    /// The frame that is arriving: its header, and once that is whole, room for the body.
    frame: Vec<u8>,
    /// How much of `frame` has arrived.
    arrived: usize,
    descriptors: Vec<OwnedFd>,
    unsent: Vec<u8>,
    /// How much of `unsent` was sent already.
    sent: usize,
}

/// Why the agent ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The only command has ended, and that was said.
    Over,
    /// The trusted side let go of it.
    Closed,
    /// The trusted side said what cannot be understood.
    Malformed,
    /// The kernel refused what the agent cannot do without.
    Refused(Errno),
}

impl Ended {
    /// The exit status that says so.
    pub(crate) fn status(self) -> u8 {
        match self {
            Ended::Over | Ended::Closed => 0,
            Ended::Malformed => 65,
            Ended::Refused(_) => 71,
        }
    }
}

impl Control {
    pub(crate) fn over(socket: OwnedFd) -> Self {
        let frame = vec![0; HEADER_BYTES];
        Control { socket, frame, arrived: 0, descriptors: Vec::new(), unsent: Vec::new(), sent: 0 }
    }

    /// The next request with its descriptors, if it is here in full. Does not wait.
    pub(crate) fn receive(&mut self) -> Result<Option<(Request, Vec<OwnedFd>)>, Ended> {
        loop {
            if self.arrived == self.frame.len() {
                let Some((header, [])) = self.frame.split_first_chunk() else { break };
                let length =
                    protocol::body_length(*header, INWARD_BYTES_MAX).map_err(|_| Ended::Malformed)?;
                self.frame.resize(HEADER_BYTES + length, 0);
            }
            match self.receive_some() {
                Ok(0) | Err(Ended::Refused(Errno::CONNRESET)) => return Err(Ended::Closed),
                Ok(count) => self.arrived += count,
                Err(Ended::Refused(Errno::AGAIN | Errno::INTR)) => return Ok(None),
                Err(end) => return Err(end),
            }
        }
        let request = protocol::decode(&self.frame[HEADER_BYTES..]).map_err(|_| Ended::Malformed)?;
        self.frame = vec![0; HEADER_BYTES];
        self.arrived = 0;
        Ok(Some((request, mem::take(&mut self.descriptors))))
    }

    fn receive_some(&mut self) -> Result<usize, Ended> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let room = &mut [IoSliceMut::new(&mut self.frame[self.arrived..])];
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let got = net::recvmsg(&self.socket, room, &mut ancillary, flags).map_err(Ended::Refused)?;
        for message in ancillary.drain() {
            match message {
                RecvAncillaryMessage::ScmRights(rights) if self.arrived == 0 => {
                    self.descriptors.extend(rights)
                }
                _ => return Err(Ended::Malformed),
            }
        }
        if got.flags.contains(ReturnFlags::CTRUNC) { Err(Ended::Malformed) } else { Ok(got.bytes) }
    }

    /// Takes `reply` for sending.
    pub(crate) fn say(&mut self, reply: &Reply) {
        // Every reply fits: the longest is the list of all commands, and there is a test that it does.
        if let Ok(frame) = protocol::encode(reply, OUTWARD_BYTES_MAX) {
            self.unsent.extend(frame);
        }
    }

    /// Sends what can be sent now.
    pub(crate) fn flush(&mut self) -> Result<(), Ended> {
        while self.is_waiting() {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match net::send(&self.socket, &self.unsent[self.sent..], flags) {
                Ok(count) => self.sent += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(Errno::PIPE | Errno::CONNRESET) => return Err(Ended::Closed),
                Err(errno) => return Err(Ended::Refused(errno)),
            }
        }
        self.unsent.drain(..self.sent);
        self.sent = 0;
        Ok(())
    }

    /// Whether something waits to be sent.
    pub(crate) fn is_waiting(&self) -> bool {
        self.sent < self.unsent.len()
    }

    /// Whether so much waits to be sent that no more requests should be read.
    pub(crate) fn is_full(&self) -> bool {
        self.unsent.len() >= UNSENT_BYTES_MAX
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
