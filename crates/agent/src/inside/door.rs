//! The door: where a new control socket comes in when the trusted side has lost the old one.

use super::control::Ended;
use alloc::vec::Vec;
use core::mem::{self, MaybeUninit};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, IoSliceMut};
use rustix::net::{
    self, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SocketType, sockopt,
};

pub(crate) struct Door(OwnedFd);

impl Door {
    /// The door, if that is what this descriptor is. What else may be at that number is not the agent's, and is left
    /// as it is.
    pub(crate) fn at(found: OwnedFd) -> Option<Self> {
        if sockopt::socket_type(&found) == Ok(SocketType::SEQPACKET) {
            return Some(Door(found));
        }
        mem::forget(found);
        None
    }

    /// The next control socket, if one is here. Does not wait.
    pub(crate) fn take(&self) -> Result<Option<OwnedFd>, Ended> {
        let mut byte = [0];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let room = &mut [IoSliceMut::new(&mut byte)];
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let got = match net::recvmsg(&self.0, room, &mut ancillary, flags) {
            Ok(got) => got,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
            Err(Errno::CONNRESET) => return Err(Ended::Closed),
            Err(errno) => return Err(Ended::Refused(errno)),
        };
        if got.bytes == 0 {
            return Err(Ended::Closed);
        }
        let mut brought = Vec::new();
        for message in ancillary.drain() {
            match message {
                RecvAncillaryMessage::ScmRights(rights) => brought.extend(rights),
                _ => return Err(Ended::Malformed),
            }
        }
        // There is room for more than one, because the kernel aligns what it puts there.
        match brought.pop() {
            Some(socket) if brought.is_empty() && !got.flags.contains(ReturnFlags::CTRUNC) => {
                Ok(Some(socket))
            }
            _ => Err(Ended::Malformed),
        }
    }
}

impl AsFd for Door {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
