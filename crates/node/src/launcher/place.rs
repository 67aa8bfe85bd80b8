//! Where a launcher listens, and the lock that makes it the only one.

use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{CWD, FlockOperation, Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

pub(super) const RUN: &str = "run";
const SOCKET: &str = "launcher";
const LOCK: &str = "lock";
/// Connections that wait to be accepted.
const BACKLOG: i32 = 64;

/// Names the socket for as long as `work` takes. The path may be longer than the address of a socket; a path below
/// `/proc/self/fd` never is.
pub(super) fn at<T>(state: &Path, work: impl FnOnce(PathBuf) -> rustix::io::Result<T>) -> io::Result<T> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let run = rustix::fs::openat(CWD, state.join(RUN), flags, Mode::empty())?;
    Ok(work(PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", run.as_raw_fd())))?)
}

/// Takes the lock of the state directory's launcher; none if there is one. It is held until the last copy of the
/// descriptor closes.
pub(super) fn lock(state: &Path) -> io::Result<Option<OwnedFd>> {
    make(&state.join(LOCK))?;
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::open(state.join(LOCK).join(SOCKET), flags, Mode::RUSR | Mode::WUSR)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Listens in place of whoever listened here before and is gone. To be called with the lock.
pub(super) fn listener(state: &Path) -> io::Result<OwnedFd> {
    make(&state.join(RUN))?;
    remove(state)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    at(state, |name| {
        bind(&socket, &SocketAddrUnix::new(&name)?)?;
        // Nobody else reaches it: its directory is closed to others.
        rustix::fs::chmod(&name, Mode::RUSR | Mode::WUSR)?;
        listen(&socket, BACKLOG)
    })?;
    Ok(socket)
}

/// Removes the name of a socket that nobody listens at any more.
fn remove(state: &Path) -> io::Result<()> {
    match std::fs::remove_file(state.join(RUN).join(SOCKET)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn make(directory: &Path) -> io::Result<()> {
    match std::fs::DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}
