//! The loop: waits for the control socket, for the door, for dead children, for starting commands and for the next
//! deadline.
//!
//! It never waits for anything else. The trusted side may be slow: replies are then kept, and once they are many,
//! requests are left in the socket until some were taken. Without a door the control socket is the agent's life; with
//! one it can be lost, and until another comes commands go on and are reaped.

use super::commands::{Commands, not_started};
use super::control::{Control, Ended};
use super::door::Door;
use super::user::Rights;
use super::{launch, work};
use crate::sys;
use agent::protocol::{CONTROL_FD, DESCRIPTORS_MAX, DOOR_FD, Exec, Reply, Request, Stage, TERMINAL_FD, Work};
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
    control: Option<Control>,
    door: Option<Door>,
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
    hung_up: bool,
    door: bool,
    children: bool,
    starting: Vec<Pid>,
}

/// Makes this process the agent.
pub(crate) fn start() -> Result<Agent, Ended> {
    // First, and before anything of this process is worth looking at: nothing inside can trace it, read its memory
    // or reach its descriptors through /proc, also where everything inside has one uid.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(Ended::Refused)?;
    let control = sys::adopt(CONTROL_FD).map(Control::over);
    let terminal = sys::adopt(TERMINAL_FD).filter(|fd| isatty(fd));
    let door = sys::adopt(DOOR_FD).and_then(Door::at);
    if control.is_none() && door.is_none() {
        return Err(Ended::Refused(Errno::BADF));
    }
    // The kernel keeps signals from inside away from pid 1 as long as their effect is the default; blocked they do
    // nothing in any case. Children only have to unblock them.
    sys::reset_signals();
    sys::block_signals().map_err(Ended::Refused)?;
    let children = sys::child_signals().map_err(Ended::Refused)?;
    rustix::thread::set_name(c"casemate-agent").map_err(Ended::Refused)?;
    // What every command and all work begins with.
    umask(Mode::WGRP | Mode::WOTH);
    let rights = Rights::find();
    let commands = if door.is_some() { Commands::kept() } else { Commands::told_once() };
    Ok(Agent { control, door, terminal, children, rights, commands, more_dead: false })
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
            commands.heard_from(pid, |reply| say(control, &reply));
        }
        if ready.children {
            // Before the look: who dies after it makes the descriptor readable again.
            let _ = rustix::io::read(&self.children, &mut [0; 128]);
            self.more_dead = commands.reap(|reply| say(control, &reply));
        }
        commands.kill_overdue();
        if ready.door {
            self.adopt()?;
        } else if ready.hung_up {
            self.lose(Ended::Closed)?;
        } else if ready.requests
            && let Err(end) = self.answer_one()
        {
            self.lose(end)?;
        }
        if let Err(end) = self.control.as_mut().map_or(Ok(()), Control::flush) {
            self.lose(end)?;
        }
        let said = self.control.as_ref().is_none_or(|control| !control.is_waiting());
        if self.commands.are_over() && said { Err(Ended::Over) } else { Ok(()) }
    }

    /// Takes the control socket that is at the door.
    fn adopt(&mut self) -> Result<(), Ended> {
        if let Some(socket) = self.door.as_ref().map_or(Ok(None), Door::take)? {
            let commands = self.commands.introduce();
            self.control = Some(Control::over(socket));
            say(&mut self.control, &Reply::Here { commands });
        }
        Ok(())
    }

    /// Goes on without the control socket, if there is a door by which another can come.
    fn lose(&mut self, end: Ended) -> Result<(), Ended> {
        if self.door.is_none() {
            return Err(end);
        }
        self.control = None;
        Ok(())
    }

    fn wait(&self) -> Result<Ready, Ended> {
        let mut fds = vec![PollFd::new(&self.children, PollFlags::IN)];
        if let Some(control) = &self.control {
            let mut interest = PollFlags::empty();
            interest.set(PollFlags::IN, !control.is_full());
            interest.set(PollFlags::OUT, control.is_waiting());
            fds.push(PollFd::new(control, interest));
        }
        if let Some(door) = &self.door {
            fds.push(PollFd::new(door, PollFlags::IN));
        }
        fds.extend(self.commands.starting().map(|(_, status)| PollFd::new(status, PollFlags::IN)));
        match poll(&mut fds, self.timeout().as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(Ended::Refused(errno)),
        }
        let mut happened = fds.iter().map(PollFd::revents);
        // In the order in which they were asked for.
        let mut next = |asked: bool| if asked { happened.next() } else { None }.unwrap_or(PollFlags::empty());
        let children = next(true);
        let control = next(self.control.is_some());
        let door = next(self.door.is_some());
        let starting = self.commands.starting().map(|(pid, _)| (pid, next(true)));
        let starting = starting.filter(|(_, events)| !events.is_empty()).map(|(pid, _)| pid).collect();
        Ok(Ready {
            requests: control.contains(PollFlags::IN),
            hung_up: control.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL),
            door: !door.is_empty(),
            children: self.more_dead || !children.is_empty(),
            starting,
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

    /// Takes one request, if it is here in full, and does it.
    fn answer_one(&mut self) -> Result<(), Ended> {
        let Some(control) = &mut self.control else { return Ok(()) };
        let Some((request, descriptors)) = control.receive()? else { return Ok(()) };
        let passed = request.passed();
        if descriptors.len() != passed || passed > DESCRIPTORS_MAX {
            return Err(Ended::Malformed);
        }
        match request {
            Request::Exec(exec) => self.exec(exec, &descriptors),
            Request::Work(work) => self.work(work, &descriptors),
            Request::Signal { id, signal, whom } => self.commands.signal(id, signal, whom),
            Request::Forget { id } => self.commands.forget(id),
        }
        Ok(())
    }

    fn exec(&mut self, exec: Exec, descriptors: &[OwnedFd]) {
        let (id, deadline, only) = (exec.id, exec.deadline, exec.only);
        if !self.commands.has_place() {
            return say(&mut self.control, &not_started(id, Stage::Process, Errno::AGAIN));
        }
        let terminal = self.terminal.as_ref().map(AsFd::as_fd);
        match launch::launch(exec, descriptors, terminal, self.rights) {
            Ok(launched) => self.commands.add(id, launched, deadline, only),
            Err((stage, errno)) => say(&mut self.control, &not_started(id, stage, errno)),
        }
    }

    fn work(&mut self, work: Work, descriptors: &[OwnedFd]) {
        let id = work.id;
        if !self.commands.has_place_for_work() {
            return say(&mut self.control, &not_started(id, Stage::Process, Errno::AGAIN));
        }
        match work::start(work, descriptors, self.rights) {
            Ok(pid) => self.commands.add_work(id, pid),
            Err((stage, errno)) => say(&mut self.control, &not_started(id, stage, errno)),
        }
    }
}

/// What is said to nobody is not kept: whoever comes by the door is told all that matters.
fn say(control: &mut Option<Control>, reply: &Reply) {
    if let Some(control) = control {
        control.say(reply);
    }
}
