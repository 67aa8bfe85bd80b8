//! The typed form of a document: every noun of the language.
//!
//! ```text
//! TOML ─┐                 ┌─ check, explain, diff, prove, schema
//!       ├─ read ─> Document ── narrow(within) ─> Document
//! JSON ─┘                 └─ enforce ─> Policy, or what is understood and not enforced yet, by name
//! ```
//!
//! All values are those that hold: what the text leaves out has its default, or what the outer layer gives.

use crate::pattern::Pattern;
use crate::zones::FileRule;
use model::{Lease, Limits, Walls};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

/// What a document says, all of it understood.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// The name that it gives itself.
    pub name: String,
    /// One line on what it is for.
    pub about: Option<String>,
    /// SHA-256 of its text, and of the texts that it extends, as `sha256:` and 64 hexadecimal digits.
    pub hash: String,
    /// The weakest walls that will do.
    pub tier: Tier,
    /// Whether commands may run as root inside.
    pub root: bool,
    /// Walls required beyond [`crate::ALWAYS`] and `landlock`.
    pub require: Walls,
    /// The least Landlock ABI; 0 permits its absence.
    pub landlock_min: u32,
    /// The ceilings on what it uses.
    pub limits: Limits,
    /// What happens without a server.
    pub lease: Lease,
    /// The zones.
    pub files: Vec<FileRule>,
    /// The network rules. None: no network at all.
    pub net: Vec<NetRule>,
    /// What the gateway puts in and the sandbox never sees.
    pub secrets: Vec<Secret>,
    /// The tools. None: every command may run inside the walls; so an empty list does not load.
    pub tools: Option<Vec<Tool>>,
    /// What it and its children may spend together.
    pub budget: Budget,
    /// How many sandboxes it may make, each no wider than itself.
    pub children_max: u32,
    /// What a person decides.
    pub ask: Vec<Ask>,
    /// Cedar policies that forbid, of this document and of all layers around it.
    pub forbids: Vec<Forbid>,
    /// What was checked when the document was loaded.
    pub examples: Vec<Example>,
    pub(crate) read: Read,
}

/// Where a document was read. It is no part of what it says: documents that say the same are equal.
#[derive(Debug, Clone, Default)]
pub(crate) struct Read {
    pub(crate) origin: Arc<str>,
    pub(crate) text: Arc<[u8]>,
    /// Where in the text its rules are, by their names: `compute.memory`, `files[0]`.
    places: Arc<BTreeMap<String, Range<usize>>>,
    /// The values that it has written, by their names, and those that the documents around it have.
    pub(crate) written: BTreeSet<String>,
}

impl PartialEq for Read {
    fn eq(&self, _: &Read) -> bool {
        true
    }
}

impl Read {
    pub(crate) fn new(
        origin: &str,
        text: &[u8],
        places: BTreeMap<String, Range<usize>>,
        written: BTreeSet<String>,
    ) -> Read {
        Read { origin: origin.into(), text: text.into(), places: Arc::new(places), written }
    }

    /// Where a rule is, or the `extends` that brings it.
    pub(crate) fn place(&self, rule: &str) -> Range<usize> {
        let found = self.places.get(rule).or_else(|| self.places.get("extends"));
        found.cloned().unwrap_or(0..0)
    }

    /// Where a rule is among the rules of its text; what another text brings is last.
    pub(crate) fn order(&self, rule: &str) -> usize {
        self.places.get(rule).map_or(usize::MAX, |span| span.start)
    }
}

/// What the walls are made of, from the weakest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Namespaces, seccomp, Landlock on the host's kernel.
    Native,
    /// A kernel in user space between the sandbox and the host's.
    Gvisor,
    /// A kernel of its own, by hardware virtualisation.
    Microvm,
}

/// `[[net.allow]]`: requests that the gateway lets through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetRule {
    /// The host's name, labels from the right; `**.` stands for one label or more.
    pub host: Pattern,
    /// The ports, sorted, none twice; never empty.
    pub ports: Vec<u16>,
    /// The methods, sorted, none twice. None: all, and anything else that is spoken over TLS.
    pub methods: Option<Vec<String>>,
    /// The paths. None: all.
    pub paths: Option<Vec<Pattern>>,
    /// Requests per time.
    pub rate: Option<Rate>,
    /// Bytes that may go out by this rule.
    pub bytes_out: Option<u64>,
    /// The name of the secret that the gateway puts in.
    pub secret: Option<String>,
    /// Where the document says so.
    pub line: Option<u32>,
}

/// So many in so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: u64,
    /// In how many milliseconds.
    pub per_ms: u64,
}

/// `[secrets.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// Its name.
    pub name: String,
    /// The variable of the gateway's environment that holds it (`from = "env:NAME"`).
    pub from_env: String,
    /// The header that it goes into, and the value around the `{}`.
    pub header: (String, String),
    /// Where the document says so.
    pub line: Option<u32>,
}

/// `[[tools]]`: a program with what may be asked of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// The program inside, an absolute path.
    pub program: String,
    /// The arguments, those after the program's name. None: any.
    pub args: Option<Vec<Pattern>>,
    /// How long a call may take.
    pub timeout_ms: Option<u64>,
    /// Memory of a call.
    pub memory_bytes: Option<u64>,
    /// Where the document says so.
    pub line: Option<u32>,
}

/// `[budget]`: over the sandbox and all its children together. None: not bounded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Budget {
    /// Requests through the gateway.
    pub requests: Option<u64>,
    /// Bytes that go out through it.
    pub bytes_out: Option<u64>,
}

/// `[[ask]]`: acts that need a person's word; silence denies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// Which acts: `tool git push`.
    pub when: AskWhen,
    /// For how long the question stands.
    pub within_ms: u64,
    /// Where the document says so.
    pub line: Option<u32>,
}

/// What a person is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AskWhen {
    /// A tool's call whose arguments begin so.
    Tool {
        /// The tool's name.
        name: String,
        /// The arguments.
        args: Pattern,
    },
    /// Requests of a host.
    Net {
        /// The host's name, labels from the right.
        host: Pattern,
    },
}

/// One Cedar policy of a `cedar` block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forbid {
    /// What the record and the denial call it: `NAME cedar[N]`, or its `@id`.
    pub rule: String,
    /// Its text.
    pub text: String,
}

/// `[[examples]]`: an act, and the answer that the document has to give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// The act.
    pub act: crate::Act,
    /// Whether it is allowed.
    pub allowed: bool,
    /// Where the document says so.
    pub line: Option<u32>,
}
