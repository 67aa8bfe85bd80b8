//! The commands and the work on files that run, and the orphans that they leave.

use super::launch::{self, Launched};
use crate::sys;
use agent::protocol::{COMMANDS_MAX, Deadline, ENDED_MAX, End, Known, Reply, Stage, WORKS_MAX, Whom};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, wait};

/// How many dead are reaped before the loop turns to something else.
const REAPED_AT_ONCE_MAX: usize = 256;

pub(crate) struct Commands {
    running: Vec<Running>,
    ended: Ended,
    /// Whether the only command has ended.
    over: bool,
}

/// What becomes of the commands that have ended.
enum Ended {
    /// Whoever is told may never be asked again.
    Forgotten,
    /// Each until it is forgotten, the oldest first.
    Kept(VecDeque<Known>),
}

/// A child that something is to be said about.
struct Running {
    id: u32,
    pid: Pid,
    kind: Kind,
}

enum Kind {
    Command(Command),
    Work,
    /// Work for a control socket that is no more.
    Abandoned,
}

struct Command {
    /// The pipe of one that is not yet known to have started.
    status: Option<OwnedFd>,
    /// Whether a [`Known`] has told of it before it started.
    known: bool,
    /// On the clock of [`sys::now`].
    deadline: Option<(Duration, Whom)>,
    /// Whether its deadline has passed and it was killed for that.
    overdue: bool,
    /// Whether nothing is told of its start, and nothing follows its end.
    only: bool,
}

impl Commands {
    /// Of an agent whose commands end with its control socket.
    pub(crate) fn told_once() -> Self {
        Commands { running: Vec::new(), ended: Ended::Forgotten, over: false }
    }

    /// Of an agent that has a door.
    pub(crate) fn kept() -> Self {
        Commands { running: Vec::new(), ended: Ended::Kept(VecDeque::new()), over: false }
    }

    /// Whether one more command may be taken on now.
    pub(crate) fn has_place(&self) -> bool {
        self.running.iter().filter(|r| matches!(r.kind, Kind::Command(_))).count() < COMMANDS_MAX
    }

    /// Whether more work on files may be taken on now.
    pub(crate) fn has_place_for_work(&self) -> bool {
        self.running.iter().filter(|r| !matches!(r.kind, Kind::Command(_))).count() < WORKS_MAX
    }

    /// Whether all is done that the agent is there for.
    pub(crate) fn are_over(&self) -> bool {
        self.over
    }

    pub(crate) fn add(&mut self, id: u32, launched: Launched, deadline: Option<Deadline>, only: bool) {
        let Launched { pid, status } = launched;
        let deadline = deadline.and_then(|deadline| {
            let at = sys::now().checked_add(Duration::from_millis(deadline.after_ms))?;
            Some((at, deadline.whom))
        });
        // A name that is used again was not worth remembering.
        self.forget(id);
        let command = Command { status: Some(status), known: false, deadline, overdue: false, only };
        self.running.push(Running { id, pid, kind: Kind::Command(command) });
    }

    pub(crate) fn add_work(&mut self, id: u32, pid: Pid) {
        self.running.push(Running { id, pid, kind: Kind::Work });
    }

    /// Sends a signal to a command or work, if it is still there.
    pub(crate) fn signal(&self, id: u32, signal: i32, whom: Whom) {
        let is_it = |r: &&Running| r.id == id && !matches!(r.kind, Kind::Abandoned);
        if let Some(running) = self.running.iter().find(is_it) {
            send(running.pid, signal, whom);
        }
    }

    /// Forgets a command that has ended.
    pub(crate) fn forget(&mut self, id: u32) {
        if let Ended::Kept(kept) = &mut self.ended {
            kept.retain(|known| known.id != id);
        }
    }

    /// Turns to a new control socket: gives all that it should know. Work for the old one is of no use any more.
    pub(crate) fn introduce(&mut self) -> Vec<Known> {
        let mut all = Vec::new();
        for running in &mut self.running {
            match &mut running.kind {
                Kind::Command(command) => {
                    command.known = true;
                    all.push(Known { id: running.id, pid: number(running.pid), end: None });
                }
                Kind::Work | Kind::Abandoned => {
                    send(running.pid, Signal::KILL.as_raw(), Whom::Process);
                    running.kind = Kind::Abandoned;
                }
            }
        }
        if let Ended::Kept(kept) = &self.ended {
            all.extend(kept);
        }
        all
    }

    /// The commands between fork and exec, each with its pipe.
    pub(crate) fn starting(&self) -> impl Iterator<Item = (Pid, &OwnedFd)> {
        self.running.iter().filter_map(|running| match &running.kind {
            Kind::Command(command) => Some((running.pid, command.status.as_ref()?)),
            Kind::Work | Kind::Abandoned => None,
        })
    }

    /// Reads the pipe of a command whose pipe is readable, if it still has one.
    pub(crate) fn heard_from(&mut self, pid: Pid, say: impl FnOnce(Reply)) {
        let Some(place) = self.running.iter().position(|r| r.pid == pid) else { return };
        let Running { id, kind: Kind::Command(command), .. } = &mut self.running[place] else { return };
        let (id, known, only) = (*id, command.known, command.only);
        let Some(status) = command.status.take() else { return };
        match launch::outcome(&status) {
            Ok(()) if known || only => {}
            Ok(()) => say(Reply::Started { id, pid: number(pid) }),
            Err((stage, errno)) => {
                self.running.swap_remove(place);
                self.over |= only;
                say(not_started(id, stage, errno));
            }
        }
    }

    /// Reaps the dead. Gives whether there may be more of them.
    pub(crate) fn reap(&mut self, mut say: impl FnMut(Reply)) -> bool {
        for _ in 0..REAPED_AT_ONCE_MAX {
            // Anything else is `no child is dead` or `there are no children`.
            let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) else { return false };
            // The pipe of a dead child is closed: if nothing was read from it yet, what it says comes first.
            self.heard_from(pid, &mut say);
            let Some(place) = self.running.iter().position(|r| r.pid == pid) else { continue };
            let Running { id, kind, .. } = self.running.swap_remove(place);
            let end = end_of(status);
            match kind {
                Kind::Command(command) => {
                    self.over |= command.only;
                    let deadline = command.overdue && end == End::Signaled(Signal::KILL.as_raw() as u8);
                    self.keep(Known { id, pid: number(pid), end: Some((end, deadline)) });
                    say(Reply::Ended { id, end, deadline });
                }
                Kind::Work => say(Reply::Ended { id, end, deadline: false }),
                Kind::Abandoned => {}
            }
        }
        true
    }

    fn keep(&mut self, known: Known) {
        if let Ended::Kept(kept) = &mut self.ended {
            if kept.len() == ENDED_MAX {
                kept.pop_front();
            }
            kept.push_back(known);
        }
    }

    /// Kills the commands whose time is up.
    pub(crate) fn kill_overdue(&mut self) {
        if self.next_deadline().is_none() {
            return;
        }
        let now = sys::now();
        for running in &mut self.running {
            let Kind::Command(command) = &mut running.kind else { continue };
            if let Some((_, whom)) = command.deadline.take_if(|(at, _)| *at <= now) {
                command.overdue = true;
                send(running.pid, Signal::KILL.as_raw(), whom);
            }
        }
    }

    /// When the next command's time is up, on the clock of [`sys::now`].
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        let deadlines = self.running.iter().filter_map(|running| match &running.kind {
            Kind::Command(command) => Some(command.deadline?.0),
            Kind::Work | Kind::Abandoned => None,
        });
        deadlines.min()
    }
}

/// The reply about a command or work that was not started.
pub(crate) fn not_started(id: u32, stage: Stage, errno: Errno) -> Reply {
    Reply::NotStarted { id, errno: errno.raw_os_error(), stage }
}

fn send(pid: Pid, signal: i32, whom: Whom) {
    match whom {
        Whom::Process => sys::kill(pid, signal),
        Whom::Group => sys::kill_group(pid, signal),
    }
}

fn number(pid: Pid) -> u32 {
    pid.as_raw_nonzero().get().unsigned_abs()
}

fn end_of(status: WaitStatus) -> End {
    match status.terminating_signal() {
        Some(signal) => End::Signaled(signal as u8),
        None => End::Exited(status.exit_status().unwrap_or_default() as u8),
    }
}
