//! The inside of a node: what its clones share, how a sandbox comes to be and how its end is written down.

use super::admit::{Admission, Bucket, Held, Load, admit};
use super::journal::Journal;
use super::link::Orders;
use super::note::{self, SandboxNote};
use super::places::Shared;
use super::room::{Before, Common, Kept, Parts, Room, is_draft, lock};
use super::{Error, Settings, Spec, Template, adopt, quota};
use crate::draft;
use crate::effects::Beginning;
use crate::effects::api::{Creation, Ending};
use crate::keys::KEYS_MAX;
use crate::launcher::protocol::{
    Ended, NOTE_BYTES_MAX, Order, Reason, Refusal, RefusalKind, Report, SANDBOXES_MAX, Standing,
};
use crate::prepare;
use agent::Agent;
use jail::ids::Profile;
use model::{Code, Denial, EndReason, Event, KeyId, LimitHit, Limits, SandboxId, Usage, quote};
use policy::{Access, FileRule};
use rustix::fd::OwnedFd;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{Notify, oneshot, watch};

/// How long until an end that could not be recorded is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// The most that building may add to the life of a sandbox whose server dies meanwhile.
const BUILT_WITHIN: Duration = Duration::from_secs(60);
/// How long until it is looked again whether a creation is on record.
const SOON: Duration = Duration::from_millis(5);

#[derive(Debug)]
pub(super) struct Inner {
    pub settings: Settings,
    pub profile: Profile,
    pub journal: Journal,
    pub orders: Orders,
    pub places: Arc<Shared>,
    pub rooms: Mutex<HashMap<SandboxId, Arc<Room>>>,
    pub building: Mutex<HashMap<SandboxId, Being>>,
    /// The keys that made something, as far as their creations are counted.
    pub buckets: Mutex<HashMap<KeyId, Bucket>>,
    pub opened: Instant,
    /// Sandboxes whose creation is not on record: their end is not to be, either.
    pub unrecorded: Mutex<HashMap<SandboxId, Recording>>,
    /// Wakes those who wait for their turn to build.
    pub turn: Notify,
    /// Whether the launcher is gone, and with it everything.
    pub lost: watch::Sender<bool>,
}

/// What became of the record of a creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recording {
    /// It is being written.
    Pending,
    /// It could not be written.
    Failed,
}

/// A sandbox that counts before it lives.
#[derive(Debug)]
pub(super) struct Being {
    owner: KeyId,
    limits: Limits,
    coming: Coming,
}

/// A sandbox between its order and its place among those that live.
#[derive(Debug)]
pub(super) enum Coming {
    /// Its walls go up.
    Building(oneshot::Sender<Result<Up, Error>>),
    /// They stand.
    Up,
    /// It has ended already.
    Ended,
}

/// A sandbox that came up.
#[derive(Debug)]
pub(super) struct Up {
    standing: Standing,
    agent: OwnedFd,
    terminals: OwnedFd,
}

impl Inner {
    pub(super) async fn create(&self, spec: Spec) -> Result<Arc<Room>, Error> {
        let (id, token) = draw();
        let made_from = spec.made_from.clone();
        let policy = &made_from.policy;
        let mut turn = Turn::take(self, id, &spec).await?;
        let kept = self.settings.state.keep_started(policy).map_err(|error| Error::Refused {
            what: format!("its policy cannot be kept in the state directory: {error}"),
            mend: Some("make room or give write access there".to_owned()),
        })?;
        let started = SystemTime::now();
        let note = SandboxNote {
            owner: spec.owner.to_string(),
            template: spec.template,
            metadata: spec.metadata,
            env: spec.env,
            token,
            limits: policy.limits(),
            policy: kept,
            policy_hash: policy.hash().to_owned(),
            started_ns: started.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i64),
        };
        let bytes = note::encode(&note);
        if bytes.len() > NOTE_BYTES_MAX {
            return Err(Error::TooMuch(format!(
                "metadata and variables have {} bytes together; the most is {NOTE_BYTES_MAX}",
                bytes.len()
            )));
        }
        let drafts = self.open_drafts(id, &made_from).await?;
        let order = Order::Create {
            id,
            policy: policy.to_cache(),
            hash: policy.hash().to_owned(),
            base: made_from.base.clone(),
            note: bytes,
            // Its time begins when it stands; until then it has that of its building, too.
            deadline_boot_ns: Some(boot_ns_in(spec.timeout.saturating_add(BUILT_WITHIN))),
            lease: policy.lease(),
        };
        let metadata = match note.metadata.is_empty() {
            true => Vec::new(),
            false => serde_json::to_vec(&note.metadata).unwrap_or_default(),
        };
        let creation = Creation {
            sandbox: id,
            key: spec.owner,
            template: note.template.clone(),
            timeout_ms: spec.timeout.as_millis() as u64,
            metadata,
        };
        let beginning = Beginning {
            sandbox: id,
            policy: policy.name().to_owned(),
            hash: policy.hash().to_owned(),
            origin: made_from.origin.clone(),
            profile: self.profile.name(),
            limits: policy.limits(),
            required: policy.walls(),
            zones: policy.files().iter().map(zone).collect(),
            drafts,
        };
        lock(&self.unrecorded).insert(id, Recording::Pending);
        let recording = self.journal.record((creation, beginning));
        let recording = async {
            let recorded = recording.await;
            match recorded {
                Ok(_) => lock(&self.unrecorded).remove(&id),
                Err(_) => lock(&self.unrecorded).insert(id, Recording::Failed),
            };
            recorded
        };
        let (recorded, up) = if self.journal.failure().is_some() {
            // While the log cannot be written nothing is even begun.
            let recorded = recording.await.inspect_err(|_| {
                lock(&self.unrecorded).remove(&id);
            })?;
            self.orders.send(order, Vec::new()).await?;
            (Ok(recorded), turn.up().await)
        } else {
            // Written while the walls go up; the name leaves only with it.
            self.orders.send(order, Vec::new()).await?;
            tokio::join!(recording, turn.up())
        };
        if let (Err(_), Ok(_)) | (Ok(_), Err(Error::Launcher(_))) = (&recorded, &up) {
            self.orders.send(Order::Kill { id }, Vec::new()).await?;
        }
        let (_recorded, up) = (recorded?, up?);
        let Standing { walls, landlock, first_pid, .. } = up.standing;
        let ends = SystemTime::now() + spec.timeout;
        let at_boot_ns = Some(boot_ns_in(spec.timeout));
        self.orders.send(Order::Deadline { id, at_boot_ns }, Vec::new()).await?;
        self.journal.observe(Event::Ready { sandbox: id, walls, landlock });
        let parts = Parts {
            id,
            owner: spec.owner,
            note,
            ends,
            policy: policy.clone(),
            terminals: up.terminals,
            first_pid,
            next_command: 1,
            before: Before::Nothing,
            common: self.common(),
        };
        let room = match Room::open(parts, Agent::over(up.agent), Kept::new()) {
            Ok(room) => room,
            Err(error) => {
                self.orders.send(Order::Kill { id }, Vec::new()).await?;
                return Err(error);
            }
        };
        // One lock after the other in the order in which `ended` takes them: it finds the sandbox in one of the two.
        let mut rooms = lock(&self.rooms);
        let mut building = lock(&self.building);
        match building.get(&id).map(|being| &being.coming) {
            // No longer among those that are being built: it counts once.
            Some(Coming::Up) => {
                building.remove(&id);
                rooms.insert(id, room.clone());
            }
            _ => {
                room.over();
                return Err(Error::Gone);
            }
        }
        Ok(room)
    }

    /// What all rooms have in common.
    pub(super) fn common(&self) -> Common {
        let (journal, orders, places) = (self.journal.clone(), self.orders.clone(), self.places.clone());
        Common { journal, orders, places }
    }

    /// What the launcher says while the node is open.
    pub(super) fn heard(self: &Arc<Inner>, report: Report, descriptors: Vec<OwnedFd>) {
        match report {
            Report::Built { id, standing } => {
                let up = adopt::descriptors(descriptors)
                    .map(|(agent, terminals)| Up { standing, agent, terminals })
                    .ok_or_else(|| Error::Launcher("it brought too few descriptors".to_owned()));
                self.built(id, up);
            }
            Report::Refused { id, refusal } => self.refused(id, refusal),
            Report::Denied { id, denied, .. } => {
                self.journal.observe(Event::denied(Some(id), None, denied.checked()));
            }
            Report::Ended { id, ended } => self.ended(id, ended),
            // The command goes on, but a server after this one will not find it: that must not stay untold.
            Report::NotKept { id, exec, what } => {
                let asked = format!("hold the descriptors of command {exec}: {}", quote(what));
                let how = "end commands that nobody needs, or give the server more open files";
                let denial = Denial::new(Code::Machine, "launcher", asked, how);
                self.journal.observe(Event::denied(Some(id), None, denial));
            }
            _ => {}
        }
    }

    fn built(&self, id: SandboxId, up: Result<Up, Error>) {
        let after = if up.is_ok() { Coming::Up } else { Coming::Ended };
        let before =
            lock(&self.building).get_mut(&id).map(|being| std::mem::replace(&mut being.coming, after));
        if let Some(Coming::Building(tell)) = before {
            let _ = tell.send(up);
        }
    }

    fn refused(self: &Arc<Inner>, id: SandboxId, refusal: Refusal) {
        let Refusal { what, mend, kind } = refusal.clone();
        let error = match kind {
            RefusalKind::Full => Error::Full { limit: "sandboxes of the launcher", most: SANDBOXES_MAX },
            _ => Error::Refused { what, mend },
        };
        self.built(id, Err(error));
        self.close(id, EndReason::Refused(quote(&refusal.what)), Vec::new(), Usage::default(), 0);
    }

    /// A sandbox is gone: all who wait in it are told.
    pub(super) fn ended(self: &Arc<Inner>, id: SandboxId, ended: Ended) {
        let Ended { reason, usage, hits, denials } = ended;
        let mut reason = match reason {
            Reason::Killed => EndReason::Killed,
            Reason::Stopped => EndReason::StopAll,
            Reason::Deadline => EndReason::Timeout,
            Reason::Lease => EndReason::Lease,
            Reason::Limit(limit) => EndReason::Limit(limit),
            Reason::ByItself => EndReason::Failed("its first process ended by itself".to_owned()),
            Reason::Refused(refusal) => EndReason::Refused(quote(refusal.what)),
            Reason::Abandoned => EndReason::Abandoned,
        };
        {
            let mut rooms = lock(&self.rooms);
            if let Some(room) = rooms.remove(&id) {
                room.over();
                if let Some(what) = room.failed.get() {
                    reason = EndReason::Failed(what.clone());
                }
            }
            self.built(id, Err(Error::Gone));
        }
        self.close(id, reason, hits, usage, denials);
    }

    /// Writes down an end, for as long as that takes: only then the launcher may forget the sandbox.
    fn close(
        self: &Arc<Inner>,
        id: SandboxId,
        reason: EndReason,
        hits: Vec<LimitHit>,
        usage: Usage,
        denials: u64,
    ) {
        let inner = self.clone();
        tokio::spawn(async move {
            let ending = Ending { sandbox: id, hits, reason, usage, denials };
            if inner.is_recorded(id).await {
                while inner.journal.record(ending.clone()).await.is_err() {
                    tokio::time::sleep(RETRY).await;
                }
                inner.journal.seal().await;
            }
            // What never stood had no end that the launcher saw.
            draft::end_living(inner.settings.state.path(), id);
            let _ = inner.orders.send(Order::Forget { id }, Vec::new()).await;
        });
    }

    /// Writes down what the originals of its draft zones are, before it is built.
    async fn open_drafts(&self, id: SandboxId, template: &Template) -> Result<Vec<Event>, Error> {
        if !template.policy.files().iter().any(is_draft) {
            return Ok(Vec::new());
        }
        let (policy, base, state) =
            (template.policy.clone(), template.base.clone(), self.settings.state.path().to_owned());
        let opened = tokio::task::spawn_blocking(move || {
            let drafts = prepare::drafts(&policy, &base, &state)?;
            draft::begin_living(&state, id, drafts)
        });
        let opened = opened.await.map_err(|error| Error::Unresponsive(error.to_string()))?;
        opened.map_err(|error| {
            let mut what = error.to_string();
            let mut source = std::error::Error::source(&error);
            while let Some(error) = source {
                what = format!("{what}: {error}");
                source = error.source();
            }
            Error::Refused { what: quote(what), mend: error.mend() }
        })
    }

    /// Whether the creation of a sandbox that ended is on record, once that is known.
    async fn is_recorded(&self, id: SandboxId) -> bool {
        loop {
            {
                let mut unrecorded = lock(&self.unrecorded);
                match unrecorded.get(&id) {
                    None => return true,
                    Some(Recording::Failed) => {
                        unrecorded.remove(&id);
                        return false;
                    }
                    Some(Recording::Pending) => {}
                }
            }
            tokio::time::sleep(SOON).await;
        }
    }

    /// Takes one creation out of what a key may still make now.
    fn pay(&self, owner: KeyId, rate_milli: u32) -> Result<(), Error> {
        let now = self.opened.elapsed();
        let mut buckets = lock(&self.buckets);
        if buckets.len() >= KEYS_MAX && !buckets.contains_key(&owner) {
            // Of a key that is no more, perhaps; who still has it gets a full one.
            let oldest = buckets.keys().next().copied();
            oldest.and_then(|oldest| buckets.remove(&oldest));
        }
        let bucket = buckets.entry(owner).or_insert_with(|| Bucket::full(rate_milli, now));
        bucket.take(rate_milli, now).map_err(|wait| quota::too_fast(rate_milli, wait, owner))
    }

    /// The launcher took all sandboxes with it; its keeper records their ends.
    pub(super) fn launcher_is_gone(&self) {
        for (_, room) in lock(&self.rooms).drain() {
            room.over();
        }
        lock(&self.building).clear();
        self.turn.notify_waiters();
        self.lost.send_replace(true);
    }
}

/// One place among those that are being built.
struct Turn<'a> {
    inner: &'a Inner,
    id: SandboxId,
    up: oneshot::Receiver<Result<Up, Error>>,
}

impl Turn<'_> {
    /// Waits for a place.
    async fn take<'a>(inner: &'a Inner, id: SandboxId, spec: &Spec) -> Result<Turn<'a>, Error> {
        let (owner, quota, limits) = (spec.owner, &spec.quota, spec.made_from.policy.limits());
        let mut paid = quota.creates_per_second_milli.is_none();
        loop {
            // Before the look, so that a place that becomes free after it is not missed.
            let freed = inner.turn.notified();
            {
                let rooms = lock(&inner.rooms);
                let mut building = lock(&inner.building);
                let most = inner.settings.sandboxes_max;
                // Those of this key, under both locks: what is asked at the same time waits for them.
                let living = rooms.values().filter(|room| room.owner == owner).map(|room| &room.limits);
                let coming =
                    building.values().filter(|being| being.owner == owner).map(|being| &being.limits);
                let held = living.chain(coming).fold(Held::default(), |held, one| held.with(one));
                let load = Load { living: rooms.len(), building: building.len(), held };
                let admission = admit(load, most, &limits, quota);
                match admission {
                    Admission::Over(bound) => return Err(quota::over(bound, owner)),
                    Admission::Full => return Err(Error::Full { limit: "sandboxes", most }),
                    Admission::Now | Admission::Later => {}
                }
                if let (false, Some(rate)) = (paid, quota.creates_per_second_milli) {
                    inner.pay(owner, rate)?;
                    paid = true;
                }
                if admission == Admission::Now {
                    let (tell, up) = oneshot::channel();
                    building.insert(id, Being { owner, limits, coming: Coming::Building(tell) });
                    return Ok(Turn { inner, id, up });
                }
            }
            freed.await;
        }
    }

    async fn up(&mut self) -> Result<Up, Error> {
        match (&mut self.up).await {
            Ok(up) => up,
            Err(_) => Err(Error::Launcher("it ended".to_owned())),
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        lock(&self.inner.building).remove(&self.id);
        self.inner.turn.notify_waiters();
    }
}

/// A zone in words, for the record.
fn zone(rule: &FileRule) -> String {
    match rule.access() {
        Access::Read { from } => format!("read {} -> {}", quote(from), rule.at()),
        Access::Scratch => format!("scratch -> {}", rule.at()),
        Access::Write { to } => format!("write {} <- {}", quote(to), rule.at()),
        Access::Draft { from, .. } => format!("draft {} <> {}", quote(from), rule.at()),
    }
}

/// A new id, and the secret that opens the data plane of its sandbox.
fn draw() -> (SandboxId, String) {
    let mut bytes = [0; 40];
    // The kernel gives so few bytes whole, or waits for its pool at the first boot of a machine.
    while rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty()).is_err() {}
    let (id, secret) = bytes.split_at(20);
    let token = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    (SandboxId::from_random(id.try_into().unwrap_or_default()), token)
}

/// The moment so far from now, on the clock that goes on while the machine sleeps.
pub(super) fn boot_ns_in(timeout: Duration) -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let now = Duration::new(now.tv_sec as u64, now.tv_nsec as u32);
    now.saturating_add(timeout).as_nanos().try_into().unwrap_or(u64::MAX)
}
