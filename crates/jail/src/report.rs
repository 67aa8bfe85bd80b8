//! The one message that a builder sends: the walls stand, or one does not.

use crate::error::{Error, For};
use model::{Wall, Walls};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;

/// Descriptors in one report: the disk, the board, the listener, the terminal, the directory of terminals, and zones.
const MOST: usize = 69;
/// Write zones that one sandbox may have, so that a report always holds their descriptors.
pub const WRITE_ZONES_MAX: usize = 64;

/// What builder, warden and caller tell each other, each in a message of its own.
pub(crate) mod word {
    /// To the builder: the maps of the user namespace are written.
    pub(crate) const MAPPED: u8 = b'm';
    /// To the builder: here are the files that put you into your cgroups.
    pub(crate) const ENTER: u8 = b'c';
    /// To the builder: the agent's program is sealed.
    pub(crate) const SEALED: u8 = b'i';
    /// To the warden: here is the first process, and its mount namespace to hold. From now on there may be records of it.
    pub(crate) const WATCH: u8 = b'w';
    /// To the caller, before the first process is killed: its time is up.
    pub(crate) const TIME_IS_UP: u8 = b't';
    /// The same: its memory is up.
    pub(crate) const MEMORY_IS_UP: u8 = b'o';
    /// To the warden: the cgroup's counters are read, it may go.
    pub(crate) const COUNTED: u8 = b'n';
    /// To the caller: it is gone.
    pub(crate) const GONE: u8 = b'g';
    /// To the warden: the end is on record, there is nothing left for you to do. With it comes the last descriptor of the
    /// sandbox's disk.
    pub(crate) const RECORDED: u8 = b'r';
}

const STANDS: u8 = 1;
const FAILED: u8 = 0;

/// What came out of the building of one sandbox.
#[derive(Debug)]
pub struct Built {
    /// The walls that stand.
    pub walls: Walls,
    /// The root of the sandbox's disk.
    pub disk: OwnedFd,
    /// Its board, open for writing, where the plan has a program that shows it.
    pub board: Option<OwnedFd>,
    /// Calls that the filter refused arrive here.
    pub denials: Option<OwnedFd>,
    /// The master end of the sandbox's terminal.
    pub terminal: Option<OwnedFd>,
    /// The directory of the sandbox's terminals, for [`crate::terminal::open`]; of one whose agent has a door.
    pub terminals: Option<OwnedFd>,
    /// The directories of the write zones, in the plan's order.
    pub zones: Vec<OwnedFd>,
}

/// Says one word, and gives descriptors with it. Both ends of this are trusted code.
pub(crate) fn tell(socket: BorrowedFd<'_>, word: u8, fds: &[OwnedFd]) -> Result<(), Error> {
    let fds: Vec<BorrowedFd<'_>> = fds.iter().map(|fd| fd.as_fd()).collect();
    send_with(socket, &[word], &fds).wall(Wall::UserNamespace, || format!("sendmsg({:?})", word as char))
}

/// Waits for one word and the descriptors that come with it.
pub(crate) fn hear(socket: BorrowedFd<'_>) -> io::Result<(u8, Vec<OwnedFd>)> {
    let mut word = [0];
    match receive_with(socket, &mut word)? {
        (1, fds) => Ok((word[0], fds)),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// What a builder said that failed, if it did.
pub(crate) fn failure(socket: BorrowedFd<'_>) -> Option<Error> {
    if said(socket) { receive(socket).err() } else { None }
}

/// Whether there is something to hear, or nobody any more who could say it.
pub(crate) fn said(socket: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(socket, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) == Ok(1)
}

fn send_with(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::from(Errno::NOBUFS));
    }
    sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives one message: its length and its descriptors.
fn receive_with(socket: BorrowedFd<'_>, bytes: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = recvmsg(socket, &mut [IoSliceMut::new(bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    // Descriptors were lost: this process may not have that many.
    if message.flags.contains(ReturnFlags::CTRUNC) {
        return Err(Errno::MFILE.into());
    }
    let fds = control.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => fds.collect::<Vec<_>>(),
        _ => Vec::new(),
    });
    Ok((message.bytes, fds.collect()))
}

/// What a builder reports: [`Built`] from its side.
pub(crate) struct Standing<'a> {
    pub walls: Walls,
    pub disk: &'a OwnedFd,
    pub board: Option<&'a OwnedFd>,
    pub denials: Option<&'a OwnedFd>,
    pub terminal: Option<&'a OwnedFd>,
    pub terminals: Option<&'a OwnedFd>,
    pub zones: &'a [OwnedFd],
}

pub(crate) fn send(socket: BorrowedFd<'_>, standing: &Standing<'_>) -> io::Result<()> {
    let Standing { walls, disk, board, denials, terminal, terminals, zones } = standing;
    let optional = [board, denials, terminal, terminals];
    let mut text = vec![STANDS];
    text.extend(optional.iter().map(|fd| u8::from(fd.is_some())));
    text.extend(walls.to_bits().to_le_bytes());
    let optional = optional.into_iter().filter_map(|fd| *fd);
    let fds: Vec<BorrowedFd<'_>> =
        std::iter::once(*disk).chain(optional).chain(*zones).map(|fd| fd.as_fd()).collect();
    send_with(socket, &text, &fds)
}

pub(crate) fn send_failure(socket: BorrowedFd<'_>, error: &Error) {
    let mut text = vec![FAILED, error.wall as u8];
    text.extend(error.source.raw_os_error().unwrap_or(0).to_le_bytes());
    text.extend(error.call.as_bytes());
    if error.source.raw_os_error().is_none() {
        text.extend(format!(": {}", error.source).as_bytes());
    }
    // If nobody listens any more, nobody needs to know.
    let _ = rustix::net::send(socket, &text, SendFlags::NOSIGNAL);
}

/// Waits for the report.
///
/// # Errors
/// The wall that failed; or that the builder died without a word.
pub(crate) fn receive(socket: BorrowedFd<'_>) -> Result<Built, Error> {
    let lost =
        |source: io::Error| Error { wall: Wall::UserNamespace, call: "recvmsg(report)".to_owned(), source };
    let mut text = vec![0; 4096];
    let (length, fds) = receive_with(socket, &mut text).map_err(lost)?;
    let mut fds = fds.into_iter();
    match &text[..length] {
        [STANDS, board, denials, terminal, terminals, a, b, c, d] => Ok(Built {
            walls: Walls::from_bits(u32::from_le_bytes([*a, *b, *c, *d])),
            disk: fds.next().ok_or_else(|| lost(io::Error::other("no descriptor came with it")))?,
            board: if *board == 1 { fds.next() } else { None },
            denials: if *denials == 1 { fds.next() } else { None },
            terminal: if *terminal == 1 { fds.next() } else { None },
            terminals: if *terminals == 1 { fds.next() } else { None },
            zones: fds.collect(),
        }),
        [FAILED, wall, a, b, c, d, call @ ..] => {
            let errno = i32::from_le_bytes([*a, *b, *c, *d]);
            let source = if errno == 0 {
                io::Error::other("see the call")
            } else {
                io::Error::from_raw_os_error(errno)
            };
            let wall = Wall::ALL.get(usize::from(*wall)).copied().unwrap_or(Wall::UserNamespace);
            Err(Error { wall, call: String::from_utf8_lossy(call).into_owned(), source })
        }
        _ => Err(lost(io::Error::other("the builder died without a word"))),
    }
}
