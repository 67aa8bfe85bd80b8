//! The sandboxes of one machine, as a server sees them: created, listed, worked in, ended.
//!
//! ```text
//! Node ──orders──→ launcher (parent of all sandboxes; outlives this process)
//!   └─ one task per sandbox: owns the connection to its agent ─→ commands, files
//!   └─ ledger: group commit; what is caused here takes a Recorded
//! ```
//!
//! A [`Node`] that is opened while a launcher runs finds every sandbox and every running command as it was. It knows
//! no HTTP and no other machine.

mod admit;
mod adopt;
mod beside;
mod command;
mod driver;
mod error;
mod files;
mod inner;
mod journal;
mod link;
mod note;
mod orphans;
mod paths;
mod pipes;
mod places;
mod quota;
mod room;
mod running;
mod sandbox;
mod start;

pub use command::{
    Argument, Command, CommandEnd, CommandInfo, Input, Output, OutputPiece, Selector, Stdin, TerminalSize,
};
pub use error::{Error, OverQuota};
pub use files::{Entry, EntryKind, FileReader, FileWriter, Target};
pub use sandbox::{Info, Sandbox, Timeout};

use self::inner::Inner;
use self::journal::Journal;
use self::link::{Link, Orders};
use self::places::Shared;
use self::room::lock;
use crate::State;
use crate::clock::SystemClock;
use crate::launcher::Client;
use crate::launcher::protocol::Order;
use jail::ids::Profile;
use ledger::Group;
use model::{Event, KeyId, Quota, SandboxId};
use policy::Policy;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, oneshot, watch};

/// What a node is opened with.
#[derive(Debug)]
pub struct Settings {
    /// Where the ledger, the keys and the launcher's socket are.
    pub state: State,
    /// What sandboxes are made from: the one that is called [`DEFAULT_TEMPLATE`], and others by their names.
    pub templates: BTreeMap<String, Arc<Template>>,
    /// The most sandboxes at one time.
    pub sandboxes_max: usize,
}

/// The template of a request that asks for none in particular. There always is one.
pub const DEFAULT_TEMPLATE: &str = "base";

/// What a sandbox is made from.
#[derive(Debug, Clone)]
pub struct Template {
    /// Its policy.
    pub policy: Arc<Policy>,
    /// Where the policy came from, for the record.
    pub origin: String,
    /// The directory that the policy's relative host paths start from.
    pub base: PathBuf,
}

/// A sandbox that somebody asks for.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Whose it will be.
    pub owner: KeyId,
    /// What the owner may have at one time.
    pub quota: Quota,
    /// The name of the template.
    pub template: String,
    /// What it is made from: the template, narrowed to what is asked for.
    pub made_from: Arc<Template>,
    /// What the owner wants to remember about it.
    pub metadata: BTreeMap<String, String>,
    /// Variables of every command in it.
    pub env: BTreeMap<String, String>,
    /// How long it lives unless that is changed.
    pub timeout: Duration,
}

/// The sandboxes of this machine. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Node(Arc<Inner>);

impl Node {
    /// Takes over what `launcher` has: every sandbox and every running command.
    ///
    /// # Errors
    /// The launcher or the ledger cannot be used, or the policy cannot be enforced here.
    pub async fn open(settings: Settings, launcher: Client) -> Result<Node, crate::Error> {
        let failed = |call: &str| {
            let call = format!("{call}(launcher)");
            move |source| crate::Error::Caller { call, source }
        };
        let group = Group::start(settings.state.path(), SystemClock)?;
        let size = ledger::size(settings.state.path())?;
        let link = Link::over(launcher).map_err(failed("epoll_ctl"))?;
        link.send(&Order::Serve, &[]).await.map_err(failed("sendmsg"))?;
        let (orders, queue) = Orders::channel();
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        let descriptors = limit.current.unwrap_or(u64::MAX);
        let inner = Arc::new(Inner {
            profile: Profile::current(),
            places: Arc::new(Shared::new(settings.sandboxes_max, descriptors)),
            settings,
            journal: Journal::over(group),
            orders,
            rooms: Mutex::new(HashMap::new()),
            building: Mutex::new(HashMap::new()),
            unrecorded: Mutex::default(),
            buckets: Mutex::default(),
            opened: Instant::now(),
            turn: Notify::new(),
            lost: watch::Sender::new(false),
        });
        let mut found = adopt::Found::default();
        loop {
            let (report, descriptors) = link.hear().await.map_err(failed("recvmsg"))?;
            match found.take(report, descriptors) {
                adopt::More::Yes => {}
                adopt::More::No => break,
                adopt::More::Refused(why) => return Err(crate::Error::Failed { what: why }),
            }
        }
        // Before anything is heard: an end that came first would find nothing to end.
        let told = found.settle(&inner);
        let living: Vec<SandboxId> = lock(&inner.rooms).keys().copied().collect();
        crate::draft::sweep_living(inner.settings.state.path(), &living);
        tokio::spawn(link::tend(link, queue, Arc::downgrade(&inner)));
        tokio::spawn(orphans::close(inner.clone(), size, told));
        Ok(Node(inner))
    }

    /// Creates a sandbox. Returns when its walls stand and its creation is on record.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Refused`], [`Error::Ledger`]; nothing is left of it then.
    pub async fn create(&self, spec: Spec) -> Result<Sandbox, Error> {
        let inner = self.0.clone();
        let (tell, told) = oneshot::channel();
        // On a task of its own: whoever asked may go away at any point, and half a sandbox must not be left; nor a whole one
        // whose name nobody heard.
        tokio::spawn(async move {
            if let Err(Ok(room)) = tell.send(inner.create(spec).await) {
                let _ = inner.orders.send(Order::Kill { id: room.id }, Vec::new()).await;
            }
        });
        told.await.unwrap_or(Err(Error::Gone)).map(Sandbox::of)
    }

    /// The sandbox of that name, if it lives.
    pub fn sandbox(&self, id: SandboxId) -> Option<Sandbox> {
        lock(&self.0.rooms).get(&id).cloned().map(Sandbox::of)
    }

    /// All that live, in no order.
    pub fn sandboxes(&self) -> Vec<Sandbox> {
        lock(&self.0.rooms).values().cloned().map(Sandbox::of).collect()
    }

    /// A template by its name.
    pub fn template(&self, name: &str) -> Option<Arc<Template>> {
        self.0.settings.templates.get(name).cloned()
    }

    /// The names of all templates.
    pub fn templates(&self) -> Vec<&str> {
        self.0.settings.templates.keys().map(String::as_str).collect()
    }

    /// Waits until the launcher is gone, and with it every sandbox. Nothing can be created here any more then.
    pub async fn until_lost(&self) {
        let _ = self.0.lost.subscribe().wait_for(|lost| *lost).await;
    }

    /// Why the ledger cannot be written, as long as it cannot: nothing new starts then.
    pub fn ledger_failure(&self) -> Option<String> {
        self.0.journal.failure()
    }

    /// Writes down what the server itself did: it began, it stops, it made a key.
    pub fn observe(&self, event: Event) {
        self.0.journal.observe(event);
    }

    /// Makes durable and signs everything so far.
    pub async fn seal(&self) -> bool {
        self.0.journal.seal().await
    }
}
