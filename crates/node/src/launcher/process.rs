//! The launcher's life: one loop that waits for everything.

use super::clients::Connection;
use super::ends::Stop;
use super::keeper::Keeper;
use super::sandbox::Sandbox;
use super::timers::{Due, MS, Timers, now_ns};
use crate::run::AGENT;
use jail::{Image, sys};
use model::SandboxId;
use rustix::event::epoll;
use rustix::fd::{AsFd, OwnedFd};
use rustix::process::{Resource, Rlimit};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};

/// How long a launcher stays that nobody needs.
const IDLE_NS: u64 = 10_000 * MS;
/// How long until something that could not be sent is tried again.
const RETRY_NS: u64 = 2 * MS;
/// Events that are taken up in one turn.
const EVENTS_PER_TURN: usize = 64;
/// How long nobody is let in when there is no descriptor for them.
const SHUT_NS: u64 = 100 * MS;

/// All that a launcher knows.
pub(super) struct Launcher {
    pub state: PathBuf,
    pub image: Image,
    pub listener: OwnedFd,
    /// Makes this the only launcher of its state directory.
    _lock: OwnedFd,
    pub epoll: OwnedFd,
    pub timers: Timers,
    pub keeper: Keeper,
    /// Whether it died and there could not be another one so far.
    keeper_is_gone: bool,
    /// Sandboxes and clients have keys from one row of numbers; none is used twice.
    last_key: u32,
    pub sandboxes: BTreeMap<u32, Sandbox>,
    pub by_id: HashMap<SandboxId, u32>,
    pub clients: BTreeMap<u32, Connection>,
    /// The client that is the server.
    pub server: Option<u32>,
    pub stops: Vec<Stop>,
    pub last_barrier: u32,
    /// Room for one message.
    pub room: Vec<u8>,
    idle_ns: Option<u64>,
    retry_ns: Option<u64>,
}

/// What a descriptor that is waited for belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Watched {
    Listener,
    Timers,
    KeeperLine,
    KeeperProcess,
    Client,
    First,
    Report,
    Denials,
    Memory,
}

impl Watched {
    const ALL: [Watched; 9] = [
        Watched::Listener,
        Watched::Timers,
        Watched::KeeperLine,
        Watched::KeeperProcess,
        Watched::Client,
        Watched::First,
        Watched::Report,
        Watched::Denials,
        Watched::Memory,
    ];

    pub(super) fn token(self, key: u32) -> u64 {
        u64::from(key) << 8 | self as u64
    }

    fn of(token: u64) -> Option<(Watched, u32)> {
        Some((*Watched::ALL.get(token as u8 as usize)?, (token >> 8) as u32))
    }
}

impl Launcher {
    pub(super) fn new(state: &Path, listener: OwnedFd, lock: OwnedFd) -> io::Result<Launcher> {
        sys::wait_for_children();
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
        raise_open_files();
        let keeper = Keeper::start(state)?;
        let image = Image::sealed(AGENT).map_err(io::Error::other)?;
        let launcher = Launcher {
            state: state.to_owned(),
            image,
            listener,
            _lock: lock,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            timers: Timers::new()?,
            keeper,
            keeper_is_gone: false,
            last_key: 0,
            sandboxes: BTreeMap::new(),
            by_id: HashMap::new(),
            clients: BTreeMap::new(),
            server: None,
            stops: Vec::new(),
            last_barrier: 0,
            room: Vec::new(),
            idle_ns: None,
            retry_ns: None,
        };
        launcher.watch(0, Watched::Listener, &launcher.listener);
        launcher.watch(0, Watched::Timers, &launcher.timers);
        launcher.watch_keeper();
        Ok(launcher)
    }

    /// The launcher's life.
    pub(super) fn live(mut self) -> ! {
        let mut events = Vec::with_capacity(EVENTS_PER_TURN);
        loop {
            let now_ns = now_ns();
            while let Some((at_ns, due)) = self.timers.take(now_ns) {
                self.due(at_ns, due);
            }
            self.mind_idleness(now_ns);
            if self.keeper.has_more_to_hear() {
                self.retry_soon();
            }
            let armed = self.timers.arm();
            let waited = epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), None);
            if armed.is_err() || waited.is_err_and(|error| error != rustix::io::Errno::INTR) {
                // Neither can fail with what we give them; without either we would be of no use. The keeper takes over.
                sys::exit_now(1)
            }
            for event in events.drain(..) {
                if let Some((watched, key)) = Watched::of(event.data.u64()) {
                    self.ready(watched, key, event.flags);
                }
            }
        }
    }

    fn ready(&mut self, watched: Watched, key: u32, flags: epoll::EventFlags) {
        match watched {
            Watched::Listener => self.accept(),
            Watched::Timers => self.timers.rang(),
            Watched::KeeperLine => self.hear_keeper(),
            Watched::KeeperProcess => self.replace_keeper(),
            Watched::Client => {
                if flags.contains(epoll::EventFlags::OUT) {
                    self.flush(key);
                }
                if flags.intersects(epoll::EventFlags::IN) {
                    self.hear(key);
                } else if flags.intersects(epoll::EventFlags::HUP | epoll::EventFlags::ERR) {
                    self.disconnect(key);
                }
            }
            Watched::First => self.ended(key),
            Watched::Report => self.reported(key),
            Watched::Denials => {
                if flags.contains(epoll::EventFlags::IN) {
                    self.denials(key);
                } else if let Some(alive) = self.sandboxes.get(&key).and_then(Sandbox::alive)
                    && let Some(listener) = alive.denials.as_fd()
                {
                    // Nothing is left inside that could make a call.
                    let _ = epoll::delete(&self.epoll, listener);
                }
            }
            Watched::Memory => self.memory(key),
        }
    }

    /// The keeper is gone: another one is told everything.
    fn replace_keeper(&mut self) {
        self.keeper_is_gone = false;
        match Keeper::start(&self.state) {
            Ok(keeper) => {
                let _ = epoll::delete(&self.epoll, self.keeper.line());
                let _ = epoll::delete(&self.epoll, self.keeper.process());
                std::mem::replace(&mut self.keeper, keeper).bury();
                self.watch_keeper();
                for sandbox in self.sandboxes.values() {
                    sandbox.introduce(&mut self.keeper);
                }
                self.repeat_barriers();
            }
            Err(_) => {
                // Its death is told of without end, by both; it is looked at again when it is tried again.
                let _ = epoll::delete(&self.epoll, self.keeper.line());
                let _ = epoll::delete(&self.epoll, self.keeper.process());
                self.keeper_is_gone = true;
                self.retry_soon();
            }
        }
    }

    fn watch_keeper(&self) {
        self.watch(0, Watched::KeeperLine, &self.keeper.line());
        self.watch(0, Watched::KeeperProcess, &self.keeper.process());
    }

    /// Waits for `fd` from now on.
    pub(super) fn watch(&self, key: u32, watched: Watched, fd: &impl AsFd) {
        self.watch_for(key, watched, fd, epoll::EventFlags::IN);
    }

    pub(super) fn watch_for(&self, key: u32, watched: Watched, fd: &impl AsFd, interest: epoll::EventFlags) {
        let data = epoll::EventData::new_u64(watched.token(key));
        // It fails for want of kernel memory alone. Then the sandbox goes on unwatched until we are gone.
        let _ = epoll::add(&self.epoll, fd, data, interest);
    }

    pub(super) fn next_key(&mut self) -> u32 {
        loop {
            self.last_key = self.last_key.wrapping_add(1);
            let key = self.last_key;
            if key != 0 && !self.sandboxes.contains_key(&key) && !self.clients.contains_key(&key) {
                return key;
            }
        }
    }

    /// Comes back in a moment to what could not be sent now.
    pub(super) fn retry_soon(&mut self) {
        if self.retry_ns.is_none() {
            let at_ns = now_ns() + RETRY_NS;
            self.retry_ns = Some(at_ns);
            self.timers.set(at_ns, Due::Retry);
        }
    }

    pub(super) fn retry(&mut self) {
        self.retry_ns = None;
        if self.keeper_is_gone {
            self.replace_keeper();
        }
        if !self.keeper.flush() {
            self.retry_soon();
        }
        let clients: Vec<u32> = self.clients.keys().copied().collect();
        for client in clients {
            self.flush(client);
        }
    }

    /// Lets nobody in for a moment. Who waits to be let in would wake us without end.
    pub(super) fn shut(&mut self) {
        self.listen(epoll::EventFlags::empty());
        self.timers.set(now_ns() + SHUT_NS, Due::Open);
    }

    /// Lets in who came meanwhile.
    pub(super) fn open(&mut self) {
        self.listen(epoll::EventFlags::IN);
    }

    fn listen(&self, interest: epoll::EventFlags) {
        let data = epoll::EventData::new_u64(Watched::Listener.token(0));
        let _ = epoll::modify(&self.epoll, &self.listener, data, interest);
    }

    fn mind_idleness(&mut self, now_ns: u64) {
        let idle = self.sandboxes.is_empty() && self.clients.is_empty();
        match (idle, self.idle_ns) {
            (true, None) => {
                self.idle_ns = Some(now_ns + IDLE_NS);
                self.timers.set(now_ns + IDLE_NS, Due::Idle);
            }
            (false, at_ns @ Some(_)) => {
                self.timers.unset(at_ns, Due::Idle);
                self.idle_ns = None;
            }
            _ => {}
        }
    }

    /// Ends, if nobody came at the last moment.
    pub(super) fn end_if_idle(&mut self) {
        self.idle_ns = None;
        self.accept();
        if self.sandboxes.is_empty() && self.clients.is_empty() {
            self.end()
        }
    }

    /// Ends, if there is nothing, and nobody but a client who just had everything ended and was told that it is.
    pub(super) fn end_if_stopped(&mut self, client: u32) {
        self.accept();
        let told = self.clients.get(&client).is_none_or(Connection::is_told);
        let alone = self.server.is_none() && self.clients.keys().all(|other| *other == client);
        if told && alone && self.sandboxes.is_empty() {
            self.end()
        }
    }

    /// The keeper ends by itself. The socket's name stays: by now it may be that of another launcher, if somebody removed
    /// the state directory and made it anew, and who comes next replaces it anyhow. Whoever connected at the last moment
    /// finds the connection closed, and looks again.
    fn end(&self) -> ! {
        sys::exit_now(0)
    }
}

/// A sandbox takes a dozen descriptors, and commands of its own. Root may have as many as the kernel has room for; others
/// as many as their hard limit says.
fn raise_open_files() {
    let had = rustix::process::getrlimit(Resource::Nofile);
    let room = std::fs::read_to_string("/proc/sys/fs/nr_open").ok().and_then(|text| text.trim().parse().ok());
    let all = Rlimit { current: room, maximum: room };
    if room.is_none() || rustix::process::setrlimit(Resource::Nofile, all).is_err() {
        let _ = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: had.maximum, ..had });
    }
}
