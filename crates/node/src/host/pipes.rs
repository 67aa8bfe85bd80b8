//! Descriptors of commands and files, read and written without a thread waiting.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use std::io;
use std::os::fd::AsRawFd;
use tokio::io::unix::AsyncFd;

/// Has the runtime watch the descriptor of `inner`, which owns it and never changes it.
#[expect(deprecated, reason = "its successor is unsafe to call; what it asks for is that very promise")]
pub(super) fn watch<T: AsRawFd>(inner: T) -> io::Result<AsyncFd<T>> {
    AsyncFd::new(inner)
}

/// Which end of a pipe stays here. That one does not block; the other does, as programs expect.
pub(super) enum Here {
    /// The reading end stays.
    Reads,
    /// The writing end stays.
    Writes,
}

/// A pipe; `bytes` is how much is to fit into it at one time, 0 the kernel's own choice.
pub(super) fn pipe(here: Here, bytes: usize) -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    nonblocking(match here {
        Here::Reads => &read,
        Here::Writes => &write,
    })?;
    if bytes > 0 {
        // Past the user's quota of pipe pages the size stays as it is, and that only costs time.
        let _ = rustix::pipe::fcntl_setpipe_size(&read, bytes);
    }
    Ok((read, write))
}

/// Makes reading and writing say so when they would wait.
pub(super) fn nonblocking(fd: impl AsFd) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(&fd)?;
    Ok(rustix::fs::fcntl_setfl(&fd, flags | OFlags::NONBLOCK)?)
}

/// Reads once; gives how many bytes. None is the end.
pub(super) async fn read(fd: &AsyncFd<OwnedFd>, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        let mut ready = fd.readable().await?;
        match rustix::io::read(fd.get_ref(), &mut *buffer) {
            // What a terminal says when nobody has it open inside any more.
            Err(Errno::IO) => return Ok(0),
            Err(Errno::AGAIN) => ready.clear_ready(),
            Err(Errno::INTR) => {}
            done => return Ok(done?),
        }
    }
}

/// Reads once into the spare room of `buffer`.
pub(super) async fn read_into(fd: &AsyncFd<OwnedFd>, buffer: &mut Vec<u8>) -> io::Result<usize> {
    loop {
        let mut ready = fd.readable().await?;
        match rustix::io::read(fd.get_ref(), rustix::buffer::spare_capacity(buffer)) {
            Err(Errno::AGAIN) => ready.clear_ready(),
            Err(Errno::INTR) => {}
            done => return Ok(done?),
        }
    }
}

/// Writes all of `bytes`.
pub(super) async fn write_all(fd: &AsyncFd<OwnedFd>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let mut ready = fd.writable().await?;
        match rustix::io::write(fd.get_ref(), bytes) {
            Err(Errno::AGAIN) => ready.clear_ready(),
            Err(Errno::INTR) => {}
            done => bytes = &bytes[done?..],
        }
    }
    Ok(())
}
