//! The keeper: removes what sandboxes leave, and records the ends that no server records.

mod records;

use super::keeper::{Answer, Lease, Word};
use super::protocol::{Ended, MESSAGE_BYTES_MAX, Reason};
use super::scribe::{self, Batch, Entry};
use super::timers::now_ns;
use super::wire;
use jail::cgroup::{Cgroup, Home};
use jail::ids::Profile;
use jail::sys;
use model::SandboxId;
use records::{End, Missing, Progress, StopAll};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a cgroup may be busy with processes that are being torn down before it is tried again.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
/// How long until a record that could not be written is tried again.
const AGAIN: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };
/// How long a server has, after the launcher's death, to record the ends that it was told of.
const SERVERS_TURN: Duration = Duration::from_millis(500);

pub(super) struct Keeping {
    state: PathBuf,
    line: OwnedFd,
    home: Option<Home>,
    kept: BTreeMap<SandboxId, Kept>,
    /// Orders to end everything that are to be on record.
    stops: Vec<StopAll>,
    /// Sandboxes whose cgroup is still to be removed.
    busy: Vec<SandboxId>,
    scribe: Option<Scribe>,
    barriers: Vec<Barrier>,
    /// When what could not be written is tried again.
    again_ns: u64,
}

/// What is kept of one sandbox.
#[derive(Default)]
struct Kept {
    first: Option<OwnedFd>,
    _lease: Option<OwnedFd>,
    cgroup: Option<Cgroup>,
    begun_boot_ns: u64,
    ended: Option<Ended>,
    /// Closed when the sandbox is forgotten: by then nobody else has them, so it is the keeper who takes the time.
    _dear: Vec<OwnedFd>,
    end: End,
}

struct Scribe {
    process: OwnedFd,
    writes: Vec<SandboxId>,
}

struct Barrier {
    number: u32,
    waits_for: HashSet<SandboxId>,
}

impl Keeping {
    pub(super) fn new(state: &Path, line: OwnedFd) -> Keeping {
        let home = Home::find(Profile::current());
        Keeping {
            state: state.to_owned(),
            line,
            home,
            kept: BTreeMap::new(),
            stops: Vec::new(),
            busy: Vec::new(),
            scribe: None,
            barriers: Vec::new(),
            again_ns: 0,
        }
    }

    /// The keeper's life.
    pub(super) fn live(mut self) -> ! {
        // What a launcher and a keeper before us left behind.
        if let Some(home) = &self.home {
            home.sweep();
        }
        let mut room = vec![0; MESSAGE_BYTES_MAX];
        loop {
            self.wait();
            loop {
                match wire::receive(self.line.as_fd(), &mut room) {
                    Ok(packet) => self.hear(packet.message, packet.descriptors),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => self.alone(),
                }
            }
            self.remove_cgroups();
            self.see_to_scribe();
            self.answer_barriers();
        }
    }

    fn wait(&self) {
        let mut fds = vec![PollFd::new(&self.line, PollFlags::IN)];
        if let Some(scribe) = &self.scribe {
            fds.push(PollFd::new(&scribe.process, PollFlags::IN));
        }
        let failed = || {
            self.stops.iter().any(|stop| stop.progress == Progress::Failed)
                || self.kept.values().any(|kept| matches!(kept.end, End::Failed(..)))
        };
        let patience = if !self.busy.is_empty() {
            Some(&PAUSE)
        } else if self.scribe.is_none() && failed() {
            Some(&AGAIN)
        } else {
            None
        };
        let _ = poll(&mut fds, patience);
    }

    fn hear(&mut self, word: Word, descriptors: Vec<OwnedFd>) {
        match word {
            Word::Watch { id, begun_boot_ns, lease } => {
                let mut descriptors = descriptors.into_iter();
                let first = descriptors.next();
                let lease = if lease == Lease::Comes { descriptors.next() } else { None };
                if self.home.is_none() {
                    self.home = Home::find(Profile::current());
                }
                let cgroup = self.home.as_ref().map(|home| home.hold(id, descriptors));
                self.kept.insert(id, Kept { first, _lease: lease, cgroup, begun_boot_ns, ..Kept::default() });
            }
            Word::Clean { id, ended } => {
                let kept = self.kept.entry(id).or_default();
                // The id may be leased again, and the pid be somebody else's.
                (kept.first, kept._lease) = (None, None);
                kept.ended = Some(ended);
                kept._dear = descriptors;
                if kept.cgroup.is_none() {
                    kept.cgroup = self.home.as_ref().map(|home| home.reopen(id));
                }
                self.busy.push(id);
            }
            Word::Record { id, denied } => {
                let from = scribe::open_from(&self.state);
                if let Some(kept) = self.kept.get_mut(&id)
                    && matches!(kept.end, End::Servers)
                {
                    kept.end = End::Wanted(Missing { denied, from });
                }
            }
            Word::StopAll { sandboxes } => {
                self.stops.push(StopAll { sandboxes, progress: Progress::Wanted });
            }
            Word::Forget { id } => {
                if let Some(kept) = self.kept.get_mut(&id) {
                    kept.end = End::OnRecord;
                    kept._dear.clear();
                    self.let_go(id);
                }
            }
            Word::Barrier { number } => {
                let waits_for = self.kept.iter().filter(|(_, kept)| kept.is_unfinished()).map(|(id, _)| *id);
                self.barriers.push(Barrier { number, waits_for: waits_for.collect() });
            }
        }
    }

    fn remove_cgroups(&mut self) {
        let kept = &mut self.kept;
        let mut gone = Vec::new();
        self.busy.retain(|id| {
            let cgroup = kept.get_mut(id).and_then(|kept| kept.cgroup.as_mut());
            let is_gone = cgroup.is_none_or(Cgroup::remove_empty);
            if is_gone {
                gone.push(*id);
            }
            !is_gone
        });
        for id in gone {
            if let Some(kept) = self.kept.get_mut(&id) {
                kept.cgroup = None;
            }
            self.let_go(id);
        }
    }

    /// Lets go of a sandbox of which nothing is left and whose end is on record.
    fn let_go(&mut self, id: SandboxId) {
        let done = |kept: &Kept| kept.cgroup.is_none() && matches!(kept.end, End::OnRecord);
        if self.kept.get(&id).is_some_and(done) {
            self.kept.remove(&id);
        }
    }

    fn answer_barriers(&mut self) {
        let stops = self.stops.iter().any(|stop| stop.progress != Progress::Failed);
        let kept = &self.kept;
        let mut reached = Vec::new();
        self.barriers.retain_mut(|barrier| {
            barrier.waits_for.retain(|id| kept.get(id).is_some_and(Kept::is_unfinished));
            let waits = stops || !barrier.waits_for.is_empty();
            if !waits {
                reached.push(barrier.number);
            }
            waits
        });
        for number in reached {
            self.say(&Answer::Reached { number });
        }
    }

    /// Says something to the launcher, who always listens; or is gone.
    fn say(&self, answer: &Answer) {
        while wire::send(self.line.as_fd(), answer, &[])
            .is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
        {
            let mut fds = [PollFd::new(&self.line, PollFlags::OUT)];
            let _ = poll(&mut fds, None);
        }
    }

    /// The launcher is gone: its sandboxes die, and nobody else cleans up after them or tells of their end.
    fn alone(mut self) -> ! {
        let from = scribe::open_from(&self.state);
        for kept in self.kept.values() {
            if let Some(first) = &kept.first {
                let _ = pidfd_send_signal(first, Signal::KILL);
            }
        }
        for kept in self.kept.values_mut() {
            if let Some(first) = kept.first.take() {
                let mut fds = [PollFd::new(&first, PollFlags::IN)];
                while poll(&mut fds, None) == Err(rustix::io::Errno::INTR) {}
                let wall = Duration::from_nanos(now_ns().saturating_sub(kept.begun_boot_ns));
                let seen = jail::Ended::after(kept.cgroup.as_ref(), wall);
                kept.ended =
                    Some(Ended { reason: Reason::Abandoned, usage: seen.usage, hits: seen.hits, denials: 0 });
            }
        }
        for kept in self.kept.values_mut() {
            if let Some(cgroup) = kept.cgroup.take() {
                cgroup.remove();
            }
        }
        // A sandbox of which we were not told yet.
        if let Some(home) = &self.home {
            home.sweep();
        }
        if let Some(scribe) = self.scribe.take() {
            let _ = waitid(WaitId::PidFd(scribe.process.as_fd()), WaitIdOptions::EXITED);
            self.written(scribe.writes, false);
        }
        let told = |kept: &Kept| {
            matches!(&kept.end, End::Servers)
                && kept.ended.as_ref().is_some_and(|e| e.reason != Reason::Abandoned)
        };
        if self.kept.values().any(told) {
            std::thread::sleep(SERVERS_TURN);
        }
        let mut batch = Batch::default();
        batch.stops.extend(self.stops.iter().map(|stop| stop.sandboxes));
        for (id, kept) in self.kept {
            let missing = match kept.end {
                End::OnRecord => continue,
                End::Servers => Missing { denied: Vec::new(), from },
                End::Wanted(missing) | End::BeingWritten(missing) | End::Failed(missing) => missing,
            };
            batch.ends.extend(kept.ended.map(|ended| Entry::new(id, ended, &missing.denied, missing.from)));
        }
        // There is nobody left to tell of an error.
        let _ = if batch.is_empty() { Ok(()) } else { scribe::write(&self.state, &batch) };
        sys::exit_now(0)
    }
}

impl Kept {
    /// Whether something of it is still to be done by us.
    fn is_unfinished(&self) -> bool {
        let dead = self.ended.is_some();
        dead && (self.cgroup.is_some() || matches!(self.end, End::Wanted(..) | End::BeingWritten(..)))
    }
}
