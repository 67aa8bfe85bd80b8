//! The side of a launcher's client.

use super::protocol::{MESSAGE_BYTES_MAX, Order, PROTOCOL, Report};
use super::{LauncherError, place, wire};
use rustix::event::PollFlags;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long a launcher may take to say who it is.
const HELLO: Duration = Duration::from_secs(5);

/// A connection to the launcher of a state directory. Nothing of it waits but [`Client::connect`] and
/// [`Client::receive_within`]; wait on [`AsFd`], for reading and for writing.
#[derive(Debug)]
pub struct Client {
    socket: OwnedFd,
    launcher_pid: i32,
    /// Room for the message that is being received.
    room: Mutex<Vec<u8>>,
}

impl Client {
    /// Connects to the launcher of the state directory `state`, and waits until it says who it is.
    ///
    /// # Errors
    /// There is none; it does not answer; or it speaks another protocol.
    pub fn connect(state: &Path) -> Result<Client, LauncherError> {
        let call = |call: &'static str| move |source| LauncherError::Call { call: call.to_owned(), source };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
            .map_err(|error| call("socket(AF_UNIX)")(error.into()))?;
        place::at(state, |name| connect(&socket, &SocketAddrUnix::new(name)?))
            .map_err(call("connect(run/launcher)"))?;
        let room = Mutex::new(vec![0; MESSAGE_BYTES_MAX]);
        let mut client = Client { socket, launcher_pid: 0, room };
        match client.receive_within(HELLO).map_err(call("recvmsg(run/launcher)"))? {
            Some((Report::Hello { protocol: PROTOCOL, launcher_pid }, _)) => {
                client.launcher_pid = launcher_pid;
                Ok(client)
            }
            Some((Report::Hello { protocol, .. }, _)) => Err(LauncherError::Protocol { found: protocol }),
            Some(_) => Err(LauncherError::Protocol { found: 0 }),
            None => Err(call("recvmsg(run/launcher)")(io::ErrorKind::TimedOut.into())),
        }
    }

    /// The launcher's pid.
    pub fn launcher_pid(&self) -> i32 {
        self.launcher_pid
    }

    /// Sends an order, with descriptors.
    ///
    /// # Errors
    /// `WouldBlock` when the launcher has to read first, `InvalidInput` for what is too long, and what the kernel says.
    pub fn send(&self, order: &Order, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        wire::send(self.socket.as_fd(), order, descriptors)
    }

    /// The next report, and the descriptors that came with it: all, or none where this process has no room for them.
    ///
    /// # Errors
    /// `WouldBlock` when there is none yet, `UnexpectedEof` when the launcher is gone, `InvalidData` when it is not one.
    pub fn receive(&self) -> io::Result<(Report, Vec<OwnedFd>)> {
        let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        let packet = wire::receive(self.socket.as_fd(), &mut room)?;
        let descriptors = if packet.lost { Vec::new() } else { packet.descriptors };
        Ok((packet.message, descriptors))
    }

    /// Waits for the next report, but not for longer than `patience`.
    ///
    /// # Errors
    /// As [`Client::receive`].
    pub fn receive_within(&self, patience: Duration) -> io::Result<Option<(Report, Vec<OwnedFd>)>> {
        if !wire::wait(&self.socket, PollFlags::IN, patience) {
            return Ok(None);
        }
        match self.receive() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            other => other.map(Some),
        }
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Client {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}
