//! Opens listeners. This needs no runtime: they are opened by the process that stays when a server is replaced.

use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// Connections that the kernel keeps ready to be accepted.
const BACKLOG: i32 = 1024;
const RUN: &str = "run";
const SOCKET: &str = "serve";

/// Listens at an address.
///
/// # Errors
/// The address is not this machine's, or is taken.
pub fn open_network(at: SocketAddr) -> io::Result<TcpListener> {
    let family = if at.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &at)?;
    listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

/// A name of the operator's socket of a state directory, for as long as this lives. The directory's path may be longer than
/// the address of a socket; a path below `/proc/self/fd` never is.
#[derive(Debug)]
pub struct LocalName {
    _run: OwnedFd,
    path: PathBuf,
}

impl LocalName {
    /// Names it.
    ///
    /// # Errors
    /// No server ever served here, or the directory is closed to us.
    pub fn of(state: &Path) -> io::Result<LocalName> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let run = rustix::fs::open(state.join(RUN), flags, Mode::empty())?;
        let path = PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", run.as_raw_fd()));
        Ok(LocalName { _run: run, path })
    }
}

impl AsRef<Path> for LocalName {
    fn as_ref(&self) -> &Path {
        &self.path
    }
}

/// Listens for the operator. What a server that died left there is replaced; so this is for whoever knows that none runs.
///
/// # Errors
/// The directory or the socket cannot be made.
pub(crate) fn open_local(state: &Path) -> io::Result<UnixListener> {
    let directory = state.join(RUN);
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o700))?;
    let name = LocalName::of(state)?;
    match std::fs::remove_file(&name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&name)?;
    std::fs::set_permissions(&name, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_state_directory_may_have_a_path_longer_than_an_address() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("d".repeat(200));
        std::fs::create_dir(&state).unwrap();
        assert_eq!(LocalName::of(&state).unwrap_err().kind(), io::ErrorKind::NotFound);
        let _old = open_local(&state).unwrap();
        let listener = open_local(&state).unwrap();
        UnixStream::connect(LocalName::of(&state).unwrap()).unwrap();
        listener.accept().unwrap();
        let mode = std::fs::metadata(state.join("run/serve")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
