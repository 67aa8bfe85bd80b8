//! Packets with descriptors.

use super::protocol::{DESCRIPTORS_MAX, MESSAGE_BYTES_MAX};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::time::Duration;

/// One message, as it arrived.
pub(super) struct Packet<T> {
    pub message: T,
    pub descriptors: Vec<OwnedFd>,
    /// Whether this process had no room for all of its descriptors.
    pub lost: bool,
}

/// Sends one message, without waiting.
///
/// # Errors
/// `WouldBlock` when the other side has to read first, `InvalidInput` for a message that is too long, and what the kernel
/// says; `ETOOMANYREFS` is that so many descriptors of this user are on their way that somebody has to read first.
pub(super) fn send<T: Serialize>(
    socket: BorrowedFd<'_>,
    message: &T,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let bytes = postcard::to_stdvec(message).map_err(io::Error::other)?;
    if bytes.len() > MESSAGE_BYTES_MAX || descriptors.len() > DESCRIPTORS_MAX {
        let what = format!("{} bytes and {} descriptors in one message", bytes.len(), descriptors.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    match sendmsg(socket, &[IoSlice::new(&bytes)], &mut control, flags) {
        Ok(_) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Receives one message, without waiting. `bytes` is room for the longest that is expected.
///
/// # Errors
/// `WouldBlock` when there is none, `UnexpectedEof` when the other side is gone, `InvalidData` when it is not one.
pub(super) fn receive<T: DeserializeOwned>(
    socket: BorrowedFd<'_>,
    bytes: &mut [u8],
) -> io::Result<Packet<T>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let received = match recvmsg(socket, &mut [IoSliceMut::new(bytes)], &mut control, flags) {
        Err(Errno::CONNRESET) => return Err(io::ErrorKind::UnexpectedEof.into()),
        other => other?,
    };
    let descriptors = control
        .drain()
        .flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => fds.collect::<Vec<_>>(),
            _ => Vec::new(),
        })
        .collect();
    if received.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if received.flags.contains(ReturnFlags::TRUNC) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message that is too long"));
    }
    let malformed = |_| io::Error::new(io::ErrorKind::InvalidData, "a message of another protocol");
    let (message, rest) = postcard::take_from_bytes(&bytes[..received.bytes]).map_err(malformed)?;
    if !rest.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message with something behind it"));
    }
    Ok(Packet { message, descriptors, lost: received.flags.contains(ReturnFlags::CTRUNC) })
}

/// Waits until `fd` is ready; false when `patience` is over.
pub(super) fn wait(fd: impl AsFd, interest: PollFlags, patience: Duration) -> bool {
    let fd = fd.as_fd();
    let mut fds = [PollFd::from_borrowed_fd(fd, interest)];
    let patience = Timespec { tv_sec: patience.as_secs() as i64, tv_nsec: patience.subsec_nanos().into() };
    matches!(poll(&mut fds, Some(&patience)), Ok(1..))
}
