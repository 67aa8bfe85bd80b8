//! Work on files: a child that becomes the user for good, does one thing and tells of it through a pipe.
//!
//! The agent's loop never waits for it, and no path is ever walked with other rights than the user's.
//!
//! The child is a copy of the agent, so what it can be led to read of itself must be worth nothing. It has no
//! descriptor but its pipes. Its memory may hold what was asked for others, but it stays closed: a process that is
//! not dumpable belongs to root in `/proc`, so its `mem` and `environ` open only to root inside, who could look at
//! those others in any case. Written to, it is as lost as any process of its user's.

use super::files::{self, Voice};
use super::launch::NotStarted;
use super::user::{Rights, User};
use crate::sys::{self, stdin, stdout};
use agent::protocol::{Answer, Stage, Why, Work};
use rustix::fd::OwnedFd;
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Pid, set_dumpable_behavior};
use rustix::stdio::{dup2_stdin, dup2_stdout};

/// Exit statuses of a child.
const DONE: u8 = 0;
const NOT_DONE: u8 = 1;

/// Starts `work`. Its `descriptors` are the pipe for answers and, if it writes a file, the one with the bytes.
pub(crate) fn start(work: Work, descriptors: &[OwnedFd], rights: Rights) -> Result<Pid, NotStarted> {
    let user = rights.user(work.uid, work.gid).map_err(|errno| (Stage::User, errno))?;
    sys::fork(|| sys::exit(run(&work, descriptors, user))).map_err(|errno| (Stage::Process, errno))
}

/// The child's whole life; gives its exit status.
fn run(work: &Work, descriptors: &[OwnedFd], user: User) -> u8 {
    if arrange(descriptors).is_err() {
        return NOT_DONE;
    }
    let mut voice = Voice::new();
    let done = match become_user(user, work.capabilities) {
        Ok(()) => files::perform(&work.op, user.ids(), &mut voice),
        Err(errno) => Err((Why::User, errno)),
    };
    if let Err((why, errno)) = done {
        voice.say(&Answer::Failed { why, errno: errno.raw_os_error() });
    }
    let heard = voice.flush();
    if done.is_ok() && heard.is_ok() { DONE } else { NOT_DONE }
}

/// Puts the pipe with the bytes, or `/dev/null`, at 0 and the pipe for answers at 1, and leaves nothing else.
fn arrange(descriptors: &[OwnedFd]) -> Result<(), Errno> {
    let (answers, bytes) = (descriptors.first().ok_or(Errno::BADF)?, descriptors.get(1));
    dup2_stdout(answers)?;
    // The trusted side's own ends do not wait; these do.
    fcntl_setfl(stdout(), OFlags::empty())?;
    if let Some(bytes) = bytes {
        dup2_stdin(bytes)?;
        fcntl_setfl(stdin(), OFlags::empty())?;
    }
    sys::close_from(3)
}

fn become_user(user: User, capabilities: u64) -> Result<(), Errno> {
    user.become_for_good(capabilities)?;
    // The change of user may have opened this process to its user, as a sysctl says (proc(5), fs.suid_dumpable).
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    sys::unblock_signals()
}
