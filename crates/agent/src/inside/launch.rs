//! From a request to a process that is, or is about to be, the command.
//!
//! The child tells through a pipe why it could not become the command; the pipe closes without a word when it does,
//! because exec closes it. The agent never waits for that: a child can be stopped on its way.

use super::program::Program;
use super::user::{Rights, User};
use crate::sys;
use agent::protocol::{Exec, Stage, Stdio, Terminal};
use alloc::ffi::CString;
use core::convert::Infallible;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, chdir, ioctl_tiocsctty, setsid};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

/// What a command was doing when it could not be started, and why.
pub(crate) type NotStarted = (Stage, Errno);

/// A child on its way to becoming a command.
pub(crate) struct Launched {
    pub(crate) pid: Pid,
    /// Readable once the child is the command, or has said why not, or is dead.
    pub(crate) status: OwnedFd,
}

/// What the child needs, made ready before the fork.
struct Plan<'a> {
    user: User,
    capabilities: u64,
    cwd: CString,
    program: Program,
    /// Descriptors 0, 1 and 2; nothing is the agent's own, which is `/dev/null`.
    stdio: [Option<BorrowedFd<'a>>; 3],
    session_terminal: Option<BorrowedFd<'a>>,
}

/// Starts `exec`, whose `Passed` are places in `descriptors`.
pub(crate) fn launch(
    exec: Exec,
    descriptors: &[OwnedFd],
    terminal: Option<BorrowedFd<'_>>,
    rights: Rights,
) -> Result<Launched, NotStarted> {
    let plan = Plan::new(exec, descriptors, terminal, rights)?;
    let at_process = |errno| (Stage::Process, errno);
    let (status, told) = pipe_with(PipeFlags::CLOEXEC).map_err(at_process)?;
    let pid = sys::fork(move || plan.run(told)).map_err(at_process)?;
    Ok(Launched { pid, status })
}

/// What the child said; `Ok` if it became the command or died before it could. Does not wait if the child is dead
/// or its pipe is readable.
pub(crate) fn outcome(status: &OwnedFd) -> Result<(), NotStarted> {
    let mut said = [0; 5];
    match rustix::io::retry_on_intr(|| rustix::io::read(status, &mut said)) {
        Ok(0) => Ok(()),
        Ok(5) => {
            let [stage, errno @ ..] = said;
            let stage = Stage::ALL.get(usize::from(stage)).copied().unwrap_or(Stage::Process);
            Err((stage, Errno::from_raw_os_error(i32::from_le_bytes(errno))))
        }
        Ok(_) => Err((Stage::Process, Errno::IO)),
        Err(errno) => Err((Stage::Process, errno)),
    }
}

impl<'a> Plan<'a> {
    fn new(
        exec: Exec,
        descriptors: &'a [OwnedFd],
        terminal: Option<BorrowedFd<'a>>,
        rights: Rights,
    ) -> Result<Self, NotStarted> {
        let no_terminal = (Stage::Descriptors, Errno::NOTTY);
        let passed = |place: u8| {
            let descriptor = descriptors.get(usize::from(place)).ok_or((Stage::Descriptors, Errno::BADF))?;
            Ok(descriptor.as_fd())
        };
        let mut stdio = [None; 3];
        for (place, kind) in stdio.iter_mut().zip(exec.stdio) {
            *place = match kind {
                Stdio::Null => None,
                Stdio::Passed(place) => Some(passed(place)?),
                Stdio::Terminal => Some(terminal.ok_or(no_terminal)?),
            };
        }
        let session_terminal = match exec.terminal {
            None => None,
            Some(Terminal::Sandbox) => Some(terminal.ok_or(no_terminal)?),
            Some(Terminal::Passed(place)) => Some(passed(place)?),
        };
        let user = rights.user(exec.uid, exec.gid).map_err(|errno| (Stage::User, errno))?;
        let cwd = CString::new(exec.cwd).ok().filter(|c| c.to_bytes().starts_with(b"/"));
        let cwd = cwd.ok_or((Stage::Cwd, Errno::INVAL))?;
        let program = Program::new(exec.argv, exec.env).map_err(|errno| (Stage::Program, errno))?;
        Ok(Plan { user, capabilities: exec.capabilities, cwd, program, stdio, session_terminal })
    }

    /// The child's whole life as the agent's code. Returns when it failed and has said so.
    fn run(self, told: OwnedFd) {
        let Err((stage, errno)) = self.become_command(told.as_fd());
        let [a, b, c, d] = errno.raw_os_error().to_le_bytes();
        // If it cannot be said, the agent sees a command that ended with status 127, as shells put it.
        let _ = rustix::io::write(&told, &[stage as u8, a, b, c, d]);
    }

    fn become_command(self, told: BorrowedFd<'_>) -> Result<Infallible, NotStarted> {
        self.arrange_descriptors(told).map_err(|errno| (Stage::Descriptors, errno))?;
        self.user.become_for_good(self.capabilities).map_err(|errno| (Stage::User, errno))?;
        // From here on with the command's rights, so that it is led nowhere that it could not go.
        chdir(self.cwd.as_c_str()).map_err(|errno| (Stage::Cwd, errno))?;
        sys::unblock_signals().map_err(|errno| (Stage::Process, errno))?;
        Err((Stage::Program, self.program.enter()))
    }

    fn arrange_descriptors(&self, told: BorrowedFd<'_>) -> Result<(), Errno> {
        setsid()?;
        if let Some(terminal) = self.session_terminal {
            ioctl_tiocsctty(terminal)?;
        }
        let [stdin, stdout, stderr] = self.stdio;
        stdin.map_or(Ok(()), dup2_stdin)?;
        stdout.map_or(Ok(()), dup2_stdout)?;
        stderr.map_or(Ok(()), dup2_stderr)?;
        sys::close_others(told)
    }
}
