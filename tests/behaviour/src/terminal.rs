//! A terminal of a test's own, and what appears on it.

use crate::PATIENCE;
use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::pty::OpenptFlags;
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// Both ends of a pseudo-terminal. A program that [`crate::Place::run_as`] starts by `setsid --ctty` has it as its
/// controlling terminal.
#[derive(Debug)]
pub struct Terminal {
    master: OwnedFd,
    slave: OwnedFd,
    seen: Vec<u8>,
    read: usize,
}

impl Terminal {
    /// Opens one, which belongs to `uid`.
    ///
    /// # Errors
    /// The system has none left.
    pub fn open(uid: u32, rows: u16, columns: u16) -> Result<Terminal> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = rustix::pty::openpt(flags).context("openpt")?;
        rustix::pty::unlockpt(&master).context("unlockpt")?;
        let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags).context("TIOCGPTPEER")?;
        rustix::fs::fchown(&slave, Some(rustix::fs::Uid::from_raw(uid)), None).context("fchown")?;
        let terminal = Terminal { master, slave, seen: Vec::new(), read: 0 };
        terminal.resize(rows, columns)?;
        Ok(terminal)
    }

    /// Starts a program on it.
    ///
    /// # Errors
    /// It could not be started.
    pub fn start(&self, command: &mut Command) -> Result<Child> {
        let end = || Ok::<_, anyhow::Error>(Stdio::from(self.slave.try_clone()?));
        command.stdin(end()?).stdout(end()?).stderr(end()?);
        command.spawn().with_context(|| format!("could not start {command:?}"))
    }

    /// Types.
    ///
    /// # Errors
    /// The terminal refuses.
    pub fn send(&self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let length = rustix::io::write(&self.master, bytes)?;
            bytes = &bytes[length..];
        }
        Ok(())
    }

    /// Waits until these bytes appear, behind those that were waited for before. Gives what came before them.
    ///
    /// # Errors
    /// They do not appear; shows what did.
    pub fn expect(&mut self, wanted: impl AsRef<[u8]>) -> Result<Vec<u8>> {
        let wanted = wanted.as_ref();
        let end = Instant::now() + PATIENCE / 3;
        loop {
            if let Some(at) = self.seen[self.read..].windows(wanted.len()).position(|part| part == wanted) {
                let before = self.seen[self.read..self.read + at].to_vec();
                self.read += at + wanted.len();
                return Ok(before);
            }
            let left = end.saturating_duration_since(Instant::now());
            let time = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
            let mut fds = [PollFd::new(&self.master, PollFlags::IN)];
            if poll(&mut fds, Some(&time))? == 0 {
                let seen = String::from_utf8_lossy(&self.seen[self.read..]).into_owned();
                bail!("{:?} did not appear; there is {seen:?}", String::from_utf8_lossy(wanted));
            }
            let mut buffer = [0; 4096];
            let length = rustix::io::read(&self.master, &mut buffer).context("read(terminal)")?;
            self.seen.extend_from_slice(&buffer[..length]);
        }
    }

    /// Gives it another size, as a window manager does.
    ///
    /// # Errors
    /// The terminal refuses.
    pub fn resize(&self, rows: u16, columns: u16) -> Result<()> {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.master, size).context("TIOCSWINSZ")
    }

    /// Its modes, in words that can be compared.
    ///
    /// # Errors
    /// The terminal refuses.
    pub fn modes(&self) -> Result<String> {
        let modes = tcgetattr(&self.slave).context("tcgetattr")?;
        Ok(format!(
            "{:?} {:?} {:?} {:?} {:?}",
            modes.input_modes,
            modes.output_modes,
            modes.control_modes,
            modes.local_modes,
            modes.special_codes
        ))
    }

    /// Its name.
    ///
    /// # Errors
    /// The terminal refuses.
    pub fn name(&self) -> Result<std::path::PathBuf> {
        let name = rustix::pty::ptsname(&self.master, Vec::new()).context("ptsname")?;
        Ok(std::path::PathBuf::from(name.to_string_lossy().into_owned()))
    }

    /// Hangs up, as when its window is closed.
    pub fn hang_up(self) {
        drop(self);
    }
}
