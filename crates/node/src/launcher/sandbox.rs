//! One sandbox, as its launcher keeps it.

use super::creation::refusal;
use super::keeper::{self, Keeper, Word};
use super::protocol::{DENIED_MAX, Ended, Reason, Report, Standing};
use super::timers::{MS, now_ns};
use crate::board::Board;
use crate::denials::{Answered, Denials};
use crate::finish::full;
use jail::cgroup::{Cgroup, MemoryWatch, Motion};
use jail::{Building, Launched};
use model::{Denial, Lease, LimitHit, SandboxId};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, sendmsg,
    socketpair,
};
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::time::Duration;

/// Refused calls of one sandbox that are answered in one turn, and in one window of time. Who makes more of them waits:
/// that costs itself, and nobody else.
const DENIALS_PER_TURN: u32 = 8;
const DENIALS_PER_WINDOW: u32 = 200;
pub(super) const DENIAL_WINDOW_NS: u64 = 100 * MS;

/// A sandbox, from its order until its end is on record.
pub(super) struct Sandbox {
    pub id: SandboxId,
    pub note: Vec<u8>,
    pub lease: Lease,
    /// When its lease runs out; set while there is no server.
    pub lease_ns: Option<u64>,
    pub deadline_ns: Option<u64>,
    /// When its wall-clock limit ends it.
    pub wall_ns: Option<u64>,
    pub begun_ns: u64,
    pub standing: Option<Standing>,
    pub life: Life,
    /// Refused calls, each kind once.
    pub denied: Vec<Denial>,
    /// How many of those a server was told of.
    pub denied_told: usize,
    /// What is held for its commands.
    pub held: BTreeMap<u32, Held>,
    /// Whether it is looked after soon, as commands run in it.
    pub looked_after: bool,
    /// The first number that no command had.
    pub next_command: u32,
    /// Whether the keeper records its end.
    pub recorder: Recorder,
}

/// Whether it lives.
pub(super) enum Life {
    Alive(Box<Alive>),
    Ended(Ended),
}

/// Who records its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recorder {
    Server,
    Keeper,
}

/// What is held for a command.
pub(super) struct Held {
    pub note: Vec<u8>,
    pub descriptors: Vec<OwnedFd>,
}

/// A sandbox that has a first process.
pub(super) struct Alive {
    pub first: OwnedFd,
    pub building: Option<Building>,
    /// The agent's first control socket, which goes to a server with the news that it stands.
    pub control: Option<OwnedFd>,
    /// Another one, made for a server that came later, which did not read so far.
    pub fresh: Option<OwnedFd>,
    pub door: OwnedFd,
    pub cgroup: Option<Cgroup>,
    /// The lease of its host ids.
    pub ids: Option<OwnedFd>,
    pub memory: Option<MemoryWatch>,
    pub disk: Option<OwnedFd>,
    pub terminals: Option<OwnedFd>,
    /// What those inside are told.
    pub board: Board,
    /// Where it is written, once there is where.
    pub at: Option<OwnedFd>,
    pub denials: Denials,
    pub window: Window,
    /// What the walls have to be.
    pub required: model::Walls,
    /// Why it is being ended.
    pub ending: Option<Reason>,
    pub pid: i32,
    pub profile: &'static str,
    pub landlock: u32,
}

/// Refused calls that were answered in the present window of time.
#[derive(Default)]
pub(super) struct Window {
    begun_ns: u64,
    answered: u32,
}

/// What to do about a sandbox's refused calls.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Listen {
    /// Wait for the next one.
    On,
    /// Not before the window is over.
    Later { at_ns: u64 },
}

impl Sandbox {
    /// The parts of one that lives.
    pub(super) fn alive(&self) -> Option<&Alive> {
        match &self.life {
            Life::Alive(alive) => Some(alive),
            Life::Ended(_) => None,
        }
    }

    /// The parts of one that lives.
    pub(super) fn alive_mut(&mut self) -> Option<&mut Alive> {
        match &mut self.life {
            Life::Alive(alive) => Some(alive),
            Life::Ended(_) => None,
        }
    }

    /// How it ended.
    pub(super) fn ended(&self) -> Option<&Ended> {
        match &self.life {
            Life::Alive(_) => None,
            Life::Ended(ended) => Some(ended),
        }
    }

    /// Tells the keeper all that it has to know of it.
    pub(super) fn introduce(&self, keeper: &mut Keeper) {
        let id = self.id;
        match &self.life {
            Life::Alive(alive) => {
                let lease = if alive.ids.is_some() { keeper::Lease::Comes } else { keeper::Lease::None };
                let mut descriptors = vec![alive.first.as_fd()];
                descriptors.extend(alive.ids.as_ref().map(|lease| lease.as_fd()));
                descriptors.extend(alive.cgroup.iter().flat_map(Cgroup::directories));
                keeper.tell(Word::Watch { id, begun_boot_ns: self.begun_ns, lease }, &descriptors);
            }
            Life::Ended(ended) => {
                keeper.tell(Word::Clean { id, ended: ended.clone() }, &[]);
                if self.recorder == Recorder::Keeper {
                    self.have_recorded(keeper);
                }
            }
        }
    }

    /// Has its end recorded by the keeper.
    pub(super) fn have_recorded(&self, keeper: &mut Keeper) {
        let denied = self.denied[self.denied_told..].to_vec();
        keeper.tell(Word::Record { id: self.id, denied }, &[]);
    }

    /// Answers refused calls, within bounds; gives how to go on.
    pub(super) fn answer_denials(&mut self, now_ns: u64) -> Listen {
        let Life::Alive(alive) = &mut self.life else { return Listen::On };
        let window = &mut alive.window;
        if now_ns.saturating_sub(window.begun_ns) >= DENIAL_WINDOW_NS {
            *window = Window { begun_ns: now_ns, answered: 0 };
        }
        for _ in 0..DENIALS_PER_TURN {
            if window.answered >= DENIALS_PER_WINDOW {
                return Listen::Later { at_ns: window.begun_ns + DENIAL_WINDOW_NS };
            }
            if !alive.denials.is_waiting() {
                break;
            }
            window.answered += 1;
            if let Answered::New(denial) = alive.denials.next()
                && self.denied.len() < DENIED_MAX
            {
                if let Some(at) = &alive.at {
                    alive.board.post(at, denial.clone());
                }
                self.denied.push(denial);
            }
        }
        Listen::On
    }

    /// Nothing of it runs any more: waits for its first process, as the kernel wants it, reads the counters, and has the
    /// keeper remove the rest.
    pub(super) fn bury(&mut self, keeper: &mut Keeper) {
        let Life::Alive(alive) = &mut self.life else { return };
        let _ = waitid(WaitId::PidFd(alive.first.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
        let wall = Duration::from_nanos(now_ns().saturating_sub(self.begun_ns));
        let mut seen = jail::Ended::after(alive.cgroup.as_ref(), wall);
        if let Some(disk) = &alive.disk {
            seen.hits.extend(full(disk).0);
        }
        let reason = match (alive.ending.take(), alive.building.take()) {
            (Some(Reason::Limit(limit)), _) => {
                seen.put_first([limit]);
                Reason::Limit(limit)
            }
            (Some(reason), _) => reason,
            (None, Some(building)) => Reason::Refused(refusal(&building.failure().into())),
            (None, None) if seen.hits.contains(&LimitHit::Memory) => Reason::Limit(LimitHit::Memory),
            (None, None) => Reason::ByItself,
        };
        let ended = Ended { reason, usage: seen.usage, hits: seen.hits, denials: alive.denials.count() };
        // A disk may take long to free: the keeper closes it last.
        let dear: Vec<BorrowedFd<'_>> = alive
            .disk
            .iter()
            .chain(&alive.at)
            .chain(&alive.terminals)
            .map(|descriptor| descriptor.as_fd())
            .collect();
        keeper.tell(Word::Clean { id: self.id, ended: ended.clone() }, &dear);
        self.held.clear();
        self.life = Life::Ended(ended);
    }

    /// What a server is told of its coming to be, or of its end.
    pub(super) fn outcome(&self) -> Option<Report> {
        let id = self.id;
        match &self.life {
            Life::Alive(_) => self.standing.clone().map(|standing| Report::Built { id, standing }),
            Life::Ended(Ended { reason: Reason::Refused(refusal), .. }) => {
                Some(Report::Refused { id, refusal: refusal.clone() })
            }
            Life::Ended(ended) => Some(Report::Ended { id, ended: ended.clone() }),
        }
    }

    /// How many calls were refused in it.
    pub(super) fn denials(&self) -> u64 {
        match &self.life {
            Life::Alive(alive) => alive.denials.count(),
            Life::Ended(ended) => ended.denials,
        }
    }

    /// Lets it stand still, or go on.
    pub(super) fn set_motion(&self, motion: Motion) {
        if let Some(cgroup) = self.alive().and_then(|alive| alive.cgroup.as_ref()) {
            // One that just ended needs neither.
            let _ = cgroup.freeze(motion);
        }
    }

    /// What a client is told that asks for all that there is.
    pub(super) fn have(&self) -> Report {
        Report::Have {
            id: self.id,
            note: self.note.clone(),
            standing: self.standing.clone(),
            deadline_boot_ns: self.deadline_ns,
            next_command: self.next_command,
            ended: self.ended().cloned(),
        }
    }
}

impl Alive {
    pub(super) fn new(launched: Launched, ids: Option<OwnedFd>, facts: Facts) -> Alive {
        let Launched { pid, first, building, agent, door, cgroup } = launched;
        // A notice that cannot be had leaves the limit standing; v1 then ends one process rather than all.
        let memory = cgroup.as_ref().and_then(|cgroup| cgroup.watch_memory().ok());
        let memory = memory.map(|memory| memory.map_descriptor(jail::aside));
        let Facts { required, profile, landlock, board } = facts;
        Alive {
            first,
            building: Some(building),
            control: Some(agent),
            fresh: None,
            door,
            cgroup,
            ids,
            memory,
            disk: None,
            terminals: None,
            board,
            at: None,
            denials: Denials::new(None, &[][..]),
            window: Window::default(),
            required,
            ending: None,
            pid,
            profile,
            landlock,
        }
    }

    /// Tells those inside of a denial, once there is where.
    pub(super) fn tell(&mut self, denial: Denial) {
        if let Some(at) = &self.at {
            self.board.post(at, denial);
        }
    }

    /// Tells those inside of limits that were hit and ended nothing.
    pub(super) fn look(&mut self) {
        if let Some(at) = &self.at {
            let hits = self.cgroup.as_ref().map(Cgroup::hits).unwrap_or_default();
            self.board.look(at, hits);
        }
    }

    /// Asks for the death of everything inside. The first reason counts.
    pub(super) fn kill(&mut self, reason: Reason) {
        self.ending.get_or_insert(reason);
        let _ = pidfd_send_signal(&self.first, Signal::KILL);
    }

    /// What a server gets of one that stands. Without a socket to its agent it is still a sandbox that can be ended, and
    /// whose end shows; then the first descriptor comes alone.
    pub(super) fn descriptors<'a>(&'a self, control: Option<&'a OwnedFd>) -> Vec<BorrowedFd<'a>> {
        [Some(&self.first), control, self.disk.as_ref(), self.terminals.as_ref()]
            .into_iter()
            .map_while(|fd| fd.map(|fd| fd.as_fd()))
            .collect()
    }

    /// Gives the agent a new control socket; gives the other end.
    pub(super) fn connect(&mut self) -> io::Result<OwnedFd> {
        let (ours, agents) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        let fds = [agents.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&fds));
        // An agent that does not take them must not keep us.
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        sendmsg(&self.door, &[IoSlice::new(b"c")], &mut control, flags)?;
        Ok(ours)
    }
}

/// What is known of a sandbox before it is built.
pub(super) struct Facts {
    pub board: Board,
    pub required: model::Walls,
    pub profile: &'static str,
    pub landlock: u32,
}
