//! Terminals: typing into one for somebody else.

use crate::walk::open;
use containment::Facts;
use containment::errno::outcome;
use containment::sys::{attempt, call};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::pty::OpenptFlags;

const TIOCSTI: u64 = 0x5412;
const TIOCLINUX: u64 = 0x541c;
const TIOCSETD: u64 = 0x5423;
const TIOCSCTTY: u64 = 0x540e;

/// The three ioctls on a terminal of the probe's own, on its standard input and on /dev/tty; and which those are.
pub(crate) fn inject() -> Facts {
    let mut facts = Facts::new();
    for (name, request) in [("TIOCSTI", TIOCSTI), ("TIOCLINUX", TIOCLINUX), ("TIOCSETD", TIOCSETD)] {
        facts.insert(format!("own {name}"), attempt(|| on_own(request)));
        facts.insert(format!("stdin {name}"), attempt(|| type_into(0, request)));
        facts.insert(
            format!("/dev/tty {name}"),
            attempt(|| type_into(open("/dev/tty", libc::O_RDWR)?.as_raw_fd(), request)),
        );
    }
    let stdin = rustix::fs::fstat(rustix::stdio::stdin());
    facts.insert("stdin device".to_owned(), stdin.map_or(String::new(), |stat| stat.st_dev.to_string()));
    let name = std::fs::read_link("/proc/self/fd/0").unwrap_or_default();
    facts.insert("stdin".to_owned(), name.display().to_string());
    facts.insert("/dev/tty".to_owned(), outcome(&open("/dev/tty", libc::O_RDWR)));
    facts
}

/// On a new terminal that is the controlling one of a session of its own: what the kernel lets everybody do.
fn on_own(request: u64) -> Result<i64, i32> {
    let (master, slave) = terminal().map_err(rustix::io::Errno::raw_os_error)?;
    // Its end would hang up the session, and so end this process before it can tell.
    std::mem::forget(master);
    let _ = rustix::process::setsid();
    call(libc::SYS_ioctl, [slave.as_raw_fd() as u64, TIOCSCTTY, 0, 0, 0, 0])?;
    type_into(slave.as_raw_fd(), request)
}

fn terminal() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    rustix::pty::unlockpt(&master)?;
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    Ok((master, slave))
}

/// The argument is an `x`, subcode and line discipline at once; no subcode and no discipline has its number.
fn type_into(fd: i32, request: u64) -> Result<i64, i32> {
    let argument = [u64::from(b'x')];
    call(libc::SYS_ioctl, [fd as u64, request, argument.as_ptr() as u64, 0, 0, 0])
}
