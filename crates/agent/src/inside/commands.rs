//! The commands that run, and the orphans that they leave.

use super::launch::{self, Launched};
use crate::sys;
use agent::protocol::{COMMANDS_MAX, End, Reply, Stage};
use alloc::vec::Vec;
use core::time::Duration;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, wait};

/// How many commands may be between fork and exec before no more requests are read. Each holds a descriptor.
const STARTING_MAX: usize = 64;
/// How many dead are reaped before the loop turns to something else.
const REAPED_AT_ONCE_MAX: usize = 256;

#[derive(Default)]
pub(crate) struct Commands {
    running: Vec<Command>,
}

struct Command {
    id: u32,
    pid: Pid,
    /// The pipe of a command that is not yet known to have started.
    status: Option<OwnedFd>,
    /// On the clock of [`sys::now`].
    deadline: Option<Duration>,
    /// Whether its deadline has passed and it was killed for that.
    overdue: bool,
}

impl Commands {
    /// Whether one more command may be taken on now.
    pub(crate) fn has_place(&self) -> bool {
        self.running.len() < COMMANDS_MAX
    }

    /// Whether so many commands are between fork and exec that no more requests should be read.
    pub(crate) fn is_busy(&self) -> bool {
        self.starting().count() >= STARTING_MAX
    }

    pub(crate) fn add(&mut self, id: u32, launched: Launched, deadline_ms: Option<u64>) {
        let Launched { pid, status } = launched;
        let deadline = deadline_ms.and_then(|ms| sys::now().checked_add(Duration::from_millis(ms)));
        self.running.push(Command { id, pid, status: Some(status), deadline, overdue: false });
    }

    /// Sends a signal to a command's process group, if the command is still there.
    pub(crate) fn signal(&self, id: u32, signal: i32) {
        if let Some(command) = self.running.iter().find(|c| c.id == id) {
            sys::kill(command.pid, signal);
        }
    }

    /// The commands between fork and exec, each with its pipe.
    pub(crate) fn starting(&self) -> impl Iterator<Item = (Pid, &OwnedFd)> {
        self.running.iter().filter_map(|c| Some((c.pid, c.status.as_ref()?)))
    }

    /// Reads the pipe of a command whose pipe is readable, if it still has one.
    pub(crate) fn heard_from(&mut self, pid: Pid, say: impl FnOnce(Reply)) {
        let Some(place) = self.running.iter().position(|c| c.pid == pid) else { return };
        let command = &mut self.running[place];
        let Some(status) = command.status.take() else { return };
        say(match launch::outcome(&status) {
            Ok(()) => Reply::Started { id: command.id },
            Err((stage, errno)) => not_started(self.running.swap_remove(place).id, stage, errno),
        });
    }

    /// Reaps the dead. Gives whether there may be more of them.
    pub(crate) fn reap(&mut self, mut say: impl FnMut(Reply)) -> bool {
        for _ in 0..REAPED_AT_ONCE_MAX {
            // Anything else is `no child is dead` or `there are no children`.
            let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) else { return false };
            // The pipe of a dead child is closed: if nothing was read from it yet, what it says comes first.
            self.heard_from(pid, &mut say);
            let Some(place) = self.running.iter().position(|c| c.pid == pid) else { continue };
            let Command { id, overdue, .. } = self.running.swap_remove(place);
            let end = end_of(status);
            let deadline = overdue && end == End::Signaled(Signal::KILL.as_raw() as u8);
            say(Reply::Ended { id, end, deadline });
        }
        true
    }

    /// Kills the commands whose time is up.
    pub(crate) fn kill_overdue(&mut self) {
        if self.next_deadline().is_none() {
            return;
        }
        let now = sys::now();
        for command in self.running.iter_mut().filter(|c| c.deadline.is_some_and(|at| at <= now)) {
            command.deadline = None;
            command.overdue = true;
            sys::kill(command.pid, Signal::KILL.as_raw());
        }
    }

    /// When the next command's time is up, on the clock of [`sys::now`].
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        self.running.iter().filter_map(|c| c.deadline).min()
    }
}

/// The reply about a command that was not started.
pub(crate) fn not_started(id: u32, stage: Stage, errno: Errno) -> Reply {
    Reply::NotStarted { id, errno: errno.raw_os_error(), stage }
}

fn end_of(status: WaitStatus) -> End {
    match status.terminating_signal() {
        Some(signal) => End::Signaled(signal as u8),
        None => End::Exited(status.exit_status().unwrap_or_default() as u8),
    }
}
