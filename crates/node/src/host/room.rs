//! One sandbox that lives: what everybody who works in it shares.

use super::beside::{Begun, Beside, Look};
use super::command::{CommandEnd, CommandInfo, Output};
use super::driver::Driver;
use super::journal::Journal;
use super::link::Orders;
use super::note::{self, CommandNote, SandboxNote};
use super::places::{Place, Places, Shared};
use super::running::{Running, Sources, Streams};
use super::{Error, Selector};
use crate::effects::Execution;
use crate::effects::api::{FileAccess, Signaling};
use crate::launcher::protocol::{INPUT, Order};
use agent::{Agent, End};
use jail::plan::capability::ROOT_INSIDE;
use ledger::Recorded;
use model::{Event, KeyId, Limits, SandboxId, quote};
use policy::{Access, Denied, FileRule, Policy, User};
use rustix::fd::OwnedFd;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, oneshot, watch};

/// How long the end of a command can still be asked for.
const REMEMBERED: Duration = Duration::from_secs(30);
/// The most ended commands of a sandbox whose end can still be asked for.
const REMEMBERED_MAX: usize = 256;
/// Requests that wait for the task that owns the agent.
const ASKS_MAX: usize = 64;
/// File work is numbered from here, so that commands are numbered without gaps.
pub(super) const WORK: u32 = 1 << 30;

/// A sandbox that lives.
#[derive(Debug)]
pub(super) struct Room {
    pub id: SandboxId,
    pub owner: KeyId,
    pub note: SandboxNote,
    pub limits: Limits,
    pub ends: Mutex<SystemTime>,
    pub policy: Arc<Policy>,
    pub journal: Journal,
    pub orders: Orders,
    /// Where its terminals are made.
    pub terminals: OwnedFd,
    asks: mpsc::Sender<Ask>,
    pub commands: Mutex<BTreeMap<u32, Arc<Running>>>,
    next_command: AtomicU32,
    next_work: AtomicU32,
    pub places: Places,
    /// What else goes on when something begins.
    pub beside: Arc<Beside>,
    pub gone: watch::Sender<bool>,
    /// Why its agent could not be relied on any more.
    pub failed: OnceLock<String>,
}

/// A command or file work that was recorded, on its way to the agent.
pub(super) enum Ask {
    Start(Box<Start>),
    Work(Box<AskWork>),
    Signal(Recorded<Signaling>),
}

/// A command to start.
pub(super) struct Start {
    pub exec: u32,
    /// The proof that it may, and that this is on record.
    pub recorded: Recorded<Execution>,
    pub deadline_ms: Option<u64>,
    /// What the command gets: one descriptor for all three, or one for each that is not `/dev/null`.
    pub passed: Vec<OwnedFd>,
    pub on_the_way: OnTheWay,
}

/// A command between its request and its first sign of life.
pub(super) struct OnTheWay {
    /// What was asked for, and where, for an error about it.
    pub program: String,
    pub cwd: String,
    pub note: CommandNote,
    /// What stays here.
    pub streams: Streams,
    pub place: Place,
    /// Until it is listed among the commands that run.
    pub begun: Begun,
    pub tell: oneshot::Sender<Result<(CommandInfo, Output), Error>>,
}

/// File work on its way.
pub(super) struct AskWork {
    pub id: u32,
    pub recorded: Recorded<FileAccess>,
    /// How many levels a list goes down.
    pub depth: u32,
    pub passed: Vec<OwnedFd>,
    /// Until its process has ended.
    pub begun: Begun,
    /// Told when the work did not start, or ended; dropped with the sandbox.
    pub tell: oneshot::Sender<Result<End, Error>>,
}

/// What the launcher kept of a command for this server.
pub(super) type Kept = HashMap<u32, (Vec<u8>, Vec<OwnedFd>)>;

/// Which commands a sandbox has when its room is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    /// None: it is new.
    Nothing,
    /// Those that its agent will tell of first.
    Untold,
}

/// What a room is made from.
pub(super) struct Parts {
    pub id: SandboxId,
    pub owner: KeyId,
    pub note: SandboxNote,
    pub ends: SystemTime,
    pub policy: Arc<Policy>,
    pub terminals: OwnedFd,
    /// Its first process, on the host.
    pub first_pid: i32,
    /// The first number that no command had.
    pub next_command: u32,
    pub before: Before,
    pub common: Common,
}

/// What all rooms of a node have in common.
pub(super) struct Common {
    pub journal: Journal,
    pub orders: Orders,
    pub places: Arc<Shared>,
}

impl Room {
    /// A room, and the task that serves it until its sandbox is gone.
    pub(super) fn open(parts: Parts, agent: Agent, kept: Kept) -> Result<Arc<Room>, Error> {
        let (asks, asked) = mpsc::channel(ASKS_MAX);
        let Parts { id, owner, note, ends, policy, terminals, first_pid, next_command, before, common } =
            parts;
        let has_drafts = policy.files().iter().any(is_draft);
        let Common { journal, orders, places } = common;
        let limits = note.limits;
        let room = Arc::new(Room {
            id,
            owner,
            note,
            limits,
            ends: Mutex::new(ends),
            policy,
            journal,
            orders,
            terminals,
            asks,
            commands: Mutex::new(BTreeMap::new()),
            next_command: AtomicU32::new(next_command),
            next_work: AtomicU32::new(WORK),
            places: Places::new(places),
            beside: Beside::new(has_drafts.then_some(first_pid)),
            gone: watch::Sender::new(false),
            failed: OnceLock::new(),
        });
        tokio::spawn(Driver::new(room.clone(), agent, kept, before)?.drive(asked));
        Ok(room)
    }

    /// Passes something on to the agent.
    pub(super) async fn ask(&self, ask: Ask) -> Result<(), Error> {
        self.asks.send(ask).await.map_err(|_| Error::Gone)
    }

    /// Writes down that the policy said no, and tells those inside.
    pub(super) fn denied(&self, denied: &Denied) {
        self.journal.observe(Event::denied(Some(self.id), None, denied.clone()));
        self.orders.send_if_room(Order::Tell { id: self.id, denial: denied.clone() });
    }

    /// The uid inside and the capabilities of a user.
    pub(super) fn identity(&self, user: User) -> (u32, u64) {
        match user {
            User::User => (jail::ids::USER, 0),
            User::Root => (0, if self.policy.root() { ROOT_INSIDE } else { 0 }),
        }
    }

    /// What else goes on where something has begun.
    pub(super) async fn look(&self, begun: &Begun) -> Look {
        begun
            .look(|| {
                let commands = lock(&self.commands);
                let running = commands.values().filter(|running| !running.has_ended());
                running.map(|running| (running.info.pid, running.exec)).collect()
            })
            .await
    }

    pub(super) fn new_command(&self) -> u32 {
        self.next_command.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn new_work(&self) -> u32 {
        // Wraps after a thousand million; by then the first ones have ended long since.
        WORK | self.next_work.fetch_add(1, Ordering::Relaxed) & (WORK - 1)
    }

    /// Has the launcher hold a command's descriptors, its input apart so that it can be closed.
    pub(super) async fn keep(&self, exec: u32, note: &CommandNote, streams: &Streams) -> Result<(), Error> {
        let failed = |error: std::io::Error| Error::Launcher(error.to_string());
        let copies = |fds: &[&Option<OwnedFd>]| {
            let copies = fds.iter().filter_map(|fd| fd.as_ref()).map(OwnedFd::try_clone);
            copies.collect::<Result<Vec<_>, _>>().map_err(failed)
        };
        let outputs = copies(&[&streams.terminal, &streams.stdout, &streams.stderr])?;
        let input = copies(&[&streams.input])?;
        if !input.is_empty() {
            let order = Order::Keep { id: self.id, exec: exec | INPUT, note: Vec::new() };
            self.orders.send(order, input).await?;
        }
        let note = note::encode(note);
        self.orders.send_through(Order::Keep { id: self.id, exec, note }, outputs).await
    }

    /// The launcher lets go of a command's input: only then does the command see its end.
    pub(super) async fn let_go_of_input(&self, exec: u32) -> Result<(), Error> {
        self.orders.send(Order::Drop { id: self.id, exec: exec | INPUT }, Vec::new()).await
    }

    /// The launcher lets go of all that it held of a command.
    pub(super) async fn let_go(&self, exec: u32) {
        // With the launcher everything that it held is gone anyway.
        let _ = self.let_go_of_input(exec).await;
        let _ = self.orders.send(Order::Drop { id: self.id, exec }, Vec::new()).await;
    }

    pub(super) fn commands(&self) -> Vec<Arc<Running>> {
        lock(&self.commands).values().cloned().collect()
    }

    /// The command of that pid or name. Of several, one that still runs, and of these the newest.
    pub(super) fn find(&self, selector: &Selector) -> Result<Arc<Running>, Error> {
        let is = |running: &Running| match selector {
            Selector::Pid(pid) => running.info.pid == *pid,
            Selector::Tag(tag) => running.info.tag.as_ref() == Some(tag),
        };
        let commands = lock(&self.commands);
        let found = commands.values().filter(|running| is(running));
        let best = found.max_by_key(|running| (!running.has_ended(), running.exec));
        best.cloned().ok_or_else(|| {
            Error::NoCommand(match selector {
                Selector::Pid(pid) => format!("pid {pid}"),
                Selector::Tag(tag) => format!("tag {}", quote(tag)),
            })
        })
    }

    /// The sandbox has ended: everybody who waits in it is told.
    pub(super) fn over(&self) {
        self.gone.send_replace(true);
        for running in self.commands() {
            running.ended(CommandEnd::SandboxGone);
        }
    }

    pub(super) fn is_gone(&self) -> bool {
        *self.gone.borrow()
    }

    pub(super) async fn until_gone(&self) {
        let _ = self.gone.subscribe().wait_for(|gone| *gone).await;
    }

    /// Lists a command; of those that have ended the oldest goes when they are many.
    fn list(&self, exec: u32, running: Arc<Running>) {
        let mut commands = lock(&self.commands);
        let ended = commands.values().filter(|running| running.has_ended());
        if ended.clone().count() >= REMEMBERED_MAX
            && let Some(oldest) = ended.map(|running| running.exec).min()
        {
            commands.remove(&oldest);
        }
        commands.insert(exec, running);
    }

    /// From `Started` on: listed, relayed, remembered for a while after its end.
    pub(super) fn run(
        self: &Arc<Room>,
        exec: u32,
        note: &CommandNote,
        pid: u32,
        mut streams: Streams,
        place: Option<Place>,
    ) -> Result<(Arc<Running>, Output), Error> {
        let failed = |error: std::io::Error| Error::Unresponsive(error.to_string());
        let terminal = streams.terminal.as_ref().map(OwnedFd::try_clone).transpose().map_err(failed)?;
        let input = match &terminal {
            Some(terminal) => Some(terminal.try_clone().map_err(failed)?),
            None => streams.input.take(),
        };
        let running = Running::new(exec, note.info(pid), note.stdin(), input, terminal).map_err(failed)?;
        let running = Arc::new(running);
        let sources = Sources::open(streams).map_err(failed)?;
        // Before anything is read of it, so that whoever started it misses nothing.
        let output = running.listen()?;
        self.list(exec, running.clone());
        if self.is_gone() {
            running.ended(CommandEnd::SandboxGone);
        }
        let (room, relayed) = (self.clone(), running.clone());
        tokio::spawn(async move {
            relayed.relay(sources).await;
            room.let_go(exec).await;
            relayed.shut().await;
            drop(place);
            tokio::select! {
                () = tokio::time::sleep(REMEMBERED) => {}
                () = room.until_gone() => {}
            }
            lock(&room.commands).remove(&exec);
        });
        Ok((running, output))
    }
}

pub(super) fn is_draft(rule: &FileRule) -> bool {
    matches!(rule.access(), Access::Draft { .. })
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
