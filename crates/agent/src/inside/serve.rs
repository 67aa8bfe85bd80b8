//! The loop: waits for the control socket, for dead children, for starting commands and for the next deadline.
//!
//! It never waits for anything else. The trusted side may be slow: replies are then kept, and once they are many,
//! requests are left in the socket until some were taken.

use super::commands::{Commands, not_started};
use super::control::{Control, Ended};
use super::user::Rights;
use super::{files, launch};
use crate::sys;
use agent::protocol::{CONTROL_FD, Exec, Request, Stage, Stdio, TERMINAL_FD};
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Pid, set_dumpable_behavior, umask};
use rustix::termios::isatty;

/// All that the agent has.
pub(crate) struct Agent {
    control: Control,
    terminal: Option<OwnedFd>,
    /// Readable when a child has died.
    children: OwnedFd,
    rights: Rights,
    commands: Commands,
    /// Whether there may be dead of whom the descriptor has told already.
    more_dead: bool,
}

/// What a wait has found.
struct Ready {
    requests: bool,
    children: bool,
    starting: Vec<Pid>,
}

/// Makes this process the agent.
pub(crate) fn start() -> Result<Agent, Ended> {
    // First, and before anything of this process is worth looking at: nothing inside can trace it, read its memory
    // or reach its descriptors through /proc, also where everything inside has one uid.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(Ended::Refused)?;
    let control = sys::adopt(CONTROL_FD).ok_or(Ended::Refused(Errno::BADF))?;
    let terminal = sys::adopt(TERMINAL_FD).filter(|fd| isatty(fd));
    // The kernel keeps signals from inside away from pid 1 as long as their effect is the default; blocked they do
    // nothing in any case.
    sys::block_signals().map_err(Ended::Refused)?;
    let children = sys::child_signals().map_err(Ended::Refused)?;
    rustix::thread::set_name(c"casemate-agent").map_err(Ended::Refused)?;
    // Files get exactly the mode that a request names.
    umask(Mode::empty());
    let (control, rights) = (Control::over(control), Rights::find());
    Ok(Agent { control, terminal, children, rights, commands: Commands::default(), more_dead: false })
}

impl Agent {
    /// Serves until the trusted side lets go.
    pub(crate) fn serve(&mut self) -> Ended {
        loop {
            if let Err(end) = self.turn() {
                return end;
            }
        }
    }

    fn turn(&mut self) -> Result<(), Ended> {
        let ready = self.wait()?;
        let (commands, control) = (&mut self.commands, &mut self.control);
        for pid in ready.starting {
            commands.heard_from(pid, |reply| control.say(&reply));
        }
        if ready.children {
            // Before the look: who dies after it makes the descriptor readable again.
            let _ = rustix::io::read(&self.children, &mut [0; 128]);
            self.more_dead = commands.reap(|reply| control.say(&reply));
        }
        commands.kill_overdue();
        if ready.requests
            && let Some((request, descriptors)) = self.control.receive()?
        {
            self.answer(request, descriptors)?;
        }
        self.control.flush()
    }

    fn wait(&self) -> Result<Ready, Ended> {
        let takes = !self.control.is_full() && !self.commands.is_busy();
        let mut interest = PollFlags::empty();
        interest.set(PollFlags::IN, takes);
        interest.set(PollFlags::OUT, self.control.is_waiting());
        let mut fds = vec![PollFd::new(&self.control, interest), PollFd::new(&self.children, PollFlags::IN)];
        fds.extend(self.commands.starting().map(|(_, status)| PollFd::new(status, PollFlags::IN)));
        match poll(&mut fds, self.timeout().as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(Ended::Refused(errno)),
        }
        let happened: Vec<PollFlags> = fds.iter().map(PollFd::revents).collect();
        if happened[0].intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) {
            return Err(Ended::Closed);
        }
        let starting = self.commands.starting().zip(&happened[2..]);
        Ok(Ready {
            requests: happened[0].contains(PollFlags::IN),
            children: self.more_dead || !happened[1].is_empty(),
            starting: starting.filter(|(_, events)| !events.is_empty()).map(|((pid, _), _)| pid).collect(),
        })
    }

    fn timeout(&self) -> Option<Timespec> {
        let left = match self.commands.next_deadline() {
            _ if self.more_dead => Duration::ZERO,
            Some(at) => at.saturating_sub(sys::now()),
            None => return None,
        };
        Some(Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) })
    }

    fn answer(&mut self, request: Request, descriptors: Vec<OwnedFd>) -> Result<(), Ended> {
        let announced = match &request {
            Request::Exec(exec) => exec.stdio.iter().filter(|s| **s == Stdio::Passed).count(),
            _ => 0,
        };
        if descriptors.len() != announced {
            return Err(Ended::Malformed);
        }
        match request {
            Request::Exec(exec) => self.exec(exec, &descriptors),
            Request::Signal { id, signal } => self.commands.signal(id, signal),
            Request::Read(read) => self.control.say(&files::read(&read, self.rights)),
            Request::Write(write) => self.control.say(&files::write(&write, self.rights)),
        }
        Ok(())
    }

    fn exec(&mut self, exec: Exec, descriptors: &[OwnedFd]) {
        let (id, deadline_ms) = (exec.id, exec.deadline_ms);
        if !self.commands.has_place() {
            return self.control.say(&not_started(id, Stage::Process, Errno::AGAIN));
        }
        let terminal = self.terminal.as_ref().map(AsFd::as_fd);
        match launch::launch(exec, descriptors, terminal, self.rights) {
            Ok(launched) => self.commands.add(id, launched, deadline_ms),
            Err((stage, errno)) => self.control.say(&not_started(id, stage, errno)),
        }
    }
}
