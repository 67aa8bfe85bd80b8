//! Carries bytes between the caller's descriptors and the sandbox's, so that the sandbox never holds one of ours.
//!
//! A stream moves what there is and never waits: the loop of [`crate::run`] asks it what to poll for. Bytes go from
//! pipe to pipe inside the kernel where that is possible, and through one buffer where it is not. Nothing is kept
//! beyond that buffer: who reads slowly slows down who writes, as a pipe of one's own would.

use rustix::event::{PollFd, PollFlags};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::SendFlags;
use rustix::pipe::{SpliceFlags, splice};
use std::io;

/// As much as one step moves inside the kernel, and what our pipes hold where the system allows it.
const PIPE_BYTES: usize = 1 << 20;
/// The buffer where the kernel cannot move bytes by itself.
const BUFFER_BYTES: usize = 64 << 10;

/// One direction.
#[derive(Debug)]
pub(crate) struct Stream {
    ends: Option<(OwnedFd, OwnedFd)>,
    waits_for: End,
    way: Way,
    failure: Option<Errno>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Source,
    Sink,
}

#[derive(Debug)]
enum Way {
    /// `splice`.
    Kernel,
    /// `read` and `write`, with what was read and not yet written.
    Buffer { bytes: Vec<u8>, written: usize },
}

impl Stream {
    /// From `source` to `sink`, until the first ends or the second refuses.
    pub(crate) fn new(source: OwnedFd, sink: OwnedFd) -> Stream {
        // Into a socket `splice` would wait, whatever it is told.
        let way = match rustix::fs::fstat(&sink).map(|stat| FileType::from_raw_mode(stat.st_mode)) {
            Ok(FileType::Socket) => Way::Buffer { bytes: Vec::new(), written: 0 },
            _ => Way::Kernel,
        };
        Stream { ends: Some((source, sink)), waits_for: End::Source, way, failure: None }
    }

    /// What to poll for; nothing when the stream has ended.
    pub(crate) fn interest(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let (source, sink) = self.ends.as_ref()?;
        Some(match self.waits_for {
            End::Source => (source.as_fd(), PollFlags::IN),
            End::Sink => (sink.as_fd(), PollFlags::OUT),
        })
    }

    /// Moves what there is. To be called when what was polled for is ready.
    pub(crate) fn step(&mut self) {
        let Some((source, sink)) = &self.ends else { return };
        let moved = match &mut self.way {
            Way::Kernel => {
                let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
                match splice(source, None, sink, None, PIPE_BYTES, flags) {
                    Err(Errno::INVAL) => {
                        self.way = Way::Buffer { bytes: Vec::new(), written: 0 };
                        return self.step();
                    }
                    other => other,
                }
            }
            Way::Buffer { bytes, written } => through_buffer(source, sink, bytes, written),
        };
        match moved {
            Ok(0) => self.ends = None,
            Ok(_) => self.waits_for = End::Source,
            Err(Errno::INTR) => {}
            // One end is not ready; it must be the one that was not asked.
            Err(Errno::AGAIN) => {
                self.waits_for = if self.waits_for == End::Source { End::Sink } else { End::Source };
            }
            // The reader is gone (EPIPE), the terminal hung up (EIO): closing our end tells the other side.
            Err(error) => {
                if !matches!(error, Errno::PIPE | Errno::IO | Errno::CONNRESET) {
                    self.failure = Some(error);
                }
                self.ends = None;
            }
        }
        // A step that left something in the buffer has to go on with that.
        if let Way::Buffer { bytes, written } = &self.way
            && *written < bytes.len()
        {
            self.waits_for = End::Sink;
        }
    }

    /// Why the stream ended early, other than by its reader's will.
    pub(crate) fn failure(&self) -> Option<io::Error> {
        self.failure.map(io::Error::from)
    }

    /// Ends the stream now.
    pub(crate) fn close(&mut self) {
        self.ends = None;
    }
}

/// Adds what the open streams wait for to `fds`; gives their numbers in that order.
pub(crate) fn ask<'a>(streams: &'a [Stream], fds: &mut Vec<PollFd<'a>>) -> Vec<usize> {
    let mut open = Vec::new();
    for (number, stream) in streams.iter().enumerate() {
        if let Some((fd, flags)) = stream.interest() {
            fds.push(PollFd::from_borrowed_fd(fd, flags));
            open.push(number);
        }
    }
    open
}

/// Which of the `open` streams are ready, by the answers to what [`ask`] added.
pub(crate) fn ready(open: &[usize], answers: &[PollFd<'_>]) -> Vec<usize> {
    open.iter().zip(answers).filter(|(_, fd)| !fd.revents().is_empty()).map(|(number, _)| *number).collect()
}

fn through_buffer(
    source: &OwnedFd,
    sink: &OwnedFd,
    bytes: &mut Vec<u8>,
    written: &mut usize,
) -> Result<usize, Errno> {
    if *written == bytes.len() {
        bytes.resize(BUFFER_BYTES, 0);
        *written = 0;
        let length = rustix::io::read(source, &mut bytes[..]).inspect_err(|_| bytes.clear())?;
        bytes.truncate(length);
        if length == 0 {
            return Ok(0);
        }
    }
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    let length = match rustix::net::send(sink, &bytes[*written..], flags) {
        Err(Errno::NOTSOCK) => rustix::io::write(sink, &bytes[*written..])?,
        sent => sent?,
    };
    *written += length;
    // More is left: the sink has to be asked again before the source.
    if *written < bytes.len() { Err(Errno::AGAIN) } else { Ok(length) }
}

/// A pipe for one of the command's descriptors: (read end, write end).
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    // The system may allow less (fs.pipe-max-size, user limits); then it carries less at a time.
    let _ = rustix::pipe::fcntl_setpipe_size(&write, PIPE_BYTES);
    Ok((read, write))
}

/// Puts `/dev/null` in the place of the caller's descriptor 0 or 1, once a stream has its own copy: when the command
/// closes its end, whoever is at the other end of the caller's is to notice.
pub(crate) fn let_go(number: i32) -> io::Result<()> {
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    match number {
        0 => rustix::stdio::dup2_stdin(null)?,
        _ => rustix::stdio::dup2_stdout(null)?,
    }
    Ok(())
}

/// Our own descriptor for what the caller gave us. A terminal is opened anew, so that writing to it never blocks us
/// and the caller's own descriptor keeps its flags.
pub(crate) fn callers(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let kind = FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode);
    if kind == FileType::CharacterDevice && rustix::termios::isatty(fd) {
        let path = format!("/proc/self/fd/{}", rustix::fd::AsRawFd::as_raw_fd(&fd));
        let mode = rustix::fs::fcntl_getfl(fd)? & OFlags::ACCMODE;
        let flags = mode | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        if let Ok(own) = rustix::fs::open(path, flags, Mode::empty()) {
            return Ok(own);
        }
    }
    Ok(rustix::io::fcntl_dupfd_cloexec(fd, 3)?)
}
