//! Requests on their way out.

use super::Error;
use crate::protocol::DESCRIPTORS_MAX;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{self, SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use std::collections::VecDeque;
use std::io::IoSlice;
use std::mem::MaybeUninit;

/// How many bytes of requests may wait to be sent.
pub const QUEUED_BYTES_MAX: usize = 8 << 20;

#[derive(Debug, Default)]
pub(super) struct Queue {
    frames: VecDeque<Frame>,
    /// How many bytes of them are still to be sent.
    bytes: usize,
}

#[derive(Debug)]
struct Frame {
    bytes: Vec<u8>,
    sent: usize,
    /// They travel with the first byte.
    descriptors: Vec<OwnedFd>,
}

impl Queue {
    /// Takes one more frame, if there is room.
    pub(super) fn push(&mut self, bytes: Vec<u8>, descriptors: Vec<OwnedFd>) -> Result<(), Error> {
        let together = self.bytes + bytes.len();
        if together > QUEUED_BYTES_MAX {
            return Err(Error::Busy(self.bytes));
        }
        self.bytes = together;
        self.frames.push_back(Frame { bytes, sent: 0, descriptors });
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Lets go of all that was not sent, and of the descriptors in it.
    pub(super) fn clear(&mut self) {
        *self = Queue::default();
    }

    /// Sends what can be sent now. After an error nothing waits any more.
    pub(super) fn flush(&mut self, socket: BorrowedFd<'_>) -> Result<(), Error> {
        let sent = self.send(socket);
        if sent.is_err() {
            self.clear();
        }
        sent
    }

    fn send(&mut self, socket: BorrowedFd<'_>) -> Result<(), Error> {
        while let Some(frame) = self.frames.front_mut() {
            match send_some(socket, &frame.bytes[frame.sent..], &frame.descriptors) {
                Ok(count) => {
                    frame.sent += count;
                    frame.descriptors.clear();
                    self.bytes -= count;
                    if frame.sent == frame.bytes.len() {
                        self.frames.pop_front();
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(Errno::PIPE | Errno::CONNRESET) => return Err(Error::Gone),
                Err(errno) => return Err(Error::Socket { call: "sendmsg", errno }),
            }
        }
        Ok(())
    }
}

fn send_some(socket: BorrowedFd<'_>, bytes: &[u8], descriptors: &[OwnedFd]) -> Result<usize, Errno> {
    let descriptors: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(Errno::INVAL);
    }
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags)
}
