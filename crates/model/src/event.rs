//! What is worth remembering. One closed list, so that the ledger's format is a promise that can be kept.
//!
//! Strings that a stranger chose (arguments, paths) are [`crate::quote`]d before they get here.

use crate::{Code, Denial, KeyId, Limits, Quota, Roles, SandboxId, Walls};
use serde::{Deserialize, Serialize};

/// Something that the ledger remembers.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event")]
pub enum Event {
    /// A policy was read and accepted.
    #[serde(rename = "policy.load")]
    PolicyLoad {
        /// The name it gives itself.
        policy: String,
        /// SHA-256 of its text, as `sha256:` and 64 hexadecimal digits.
        hash: String,
        /// `shipped:NAME`, or the path it was read from.
        origin: String,
    },
    /// Somebody asked for a sandbox through the API; its `sandbox.start` follows.
    #[serde(rename = "sandbox.create")]
    Create {
        /// Which one.
        sandbox: SandboxId,
        /// Whose it will be.
        key: KeyId,
        /// The template, as it was asked for.
        template: String,
        /// When it is ended unless that is changed, in milliseconds from now.
        timeout_ms: u64,
        /// What its owner notes about it is not recorded; its bytes, as JSON.
        metadata_bytes: u64,
        /// SHA-256 of that, as `sha256:` and 64 hexadecimal digits; none when there is nothing.
        #[serde(skip_serializing_if = "Option::is_none")]
        metadata: Option<String>,
    },
    /// A sandbox is about to be built.
    #[serde(rename = "sandbox.start")]
    Start {
        /// Which one.
        sandbox: SandboxId,
        /// Hash of its policy.
        policy: String,
        /// `root`, `user`, or `user+setup`.
        profile: &'static str,
        /// Its ceilings.
        limits: Limits,
        /// The walls without which it must not start.
        required: Walls,
        /// Its zones, each as `ACCESS FROM -> AT`.
        zones: Vec<String>,
    },
    /// A sandbox's walls stand.
    #[serde(rename = "sandbox.ready")]
    Ready {
        /// Which one.
        sandbox: SandboxId,
        /// The walls that really stand.
        walls: Walls,
        /// The Landlock ABI in force; 0 is none.
        landlock: u32,
    },
    /// A command is about to run.
    #[serde(rename = "exec.start")]
    Exec {
        /// Where.
        sandbox: SandboxId,
        /// Which command of that sandbox, from 1.
        exec: u32,
        /// The command and its arguments.
        argv: Vec<String>,
        /// Working directory inside.
        cwd: String,
        /// User inside.
        user: String,
        /// What decided that it may.
        decision: Decision,
        /// Who asked.
        #[serde(skip_serializing_if = "Source::is_caller")]
        source: Source,
        /// In a sandbox of a server with draft zones: what went on when this began; none where that was not known.
        #[serde(skip_serializing_if = "Option::is_none")]
        beside: Option<Beside>,
    },
    /// A command is about to be sent a signal that was asked for through the API.
    #[serde(rename = "exec.signal")]
    Signal {
        /// Where.
        sandbox: SandboxId,
        /// Which command.
        exec: u32,
        /// The signal's number.
        signal: i32,
    },
    /// A command ended.
    #[serde(rename = "exec.end")]
    ExecEnd {
        /// Where.
        sandbox: SandboxId,
        /// Which command.
        exec: u32,
        /// Exit status, 128+n when signal n ended it.
        status: u8,
    },
    /// A file is about to be touched, as was asked for through the API.
    #[serde(rename = "file")]
    File {
        /// Where.
        sandbox: SandboxId,
        /// What is done.
        op: FileOp,
        /// To which file.
        path: String,
        /// Where a file is moved to.
        #[serde(skip_serializing_if = "Option::is_none")]
        to: Option<String>,
        /// With the rights of which user inside.
        user: String,
        /// What decided that it may.
        decision: Decision,
        /// The same as of a command.
        #[serde(skip_serializing_if = "Option::is_none")]
        beside: Option<Beside>,
    },
    /// A sandbox is about to get another time to end, as was asked for through the API.
    #[serde(rename = "sandbox.timeout")]
    Timeout {
        /// Which one.
        sandbox: SandboxId,
        /// When it is ended, in milliseconds from now.
        timeout_ms: u64,
    },
    /// Something was asked for and refused.
    #[serde(rename = "denial")]
    Denial {
        /// Who asked; none when no sandbox came to be.
        #[serde(skip_serializing_if = "Option::is_none")]
        sandbox: Option<SandboxId>,
        /// By which key, where it was one of the API's and no sandbox says so.
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<KeyId>,
        /// What was asked.
        asked: String,
        /// What decided.
        decision: Decision,
        /// What kind of thing was refused. Records of earlier versions have neither this nor what follows.
        code: Code,
        /// The nearest thing that is allowed.
        #[serde(skip_serializing_if = "Option::is_none")]
        nearest_allowed: Option<String>,
        /// How to come to have it allowed.
        how_to_ask: String,
    },
    /// A sandbox ran into one of its limits.
    #[serde(rename = "limit.hit")]
    Limit {
        /// Which sandbox.
        sandbox: SandboxId,
        /// Which limit.
        limit: LimitHit,
        /// The same as the code of a denial.
        code: Code,
    },
    /// The files of a write zone are about to be copied to the host.
    #[serde(rename = "zone.handout")]
    HandOut {
        /// Which sandbox.
        sandbox: SandboxId,
        /// The zone's place inside.
        at: String,
        /// The host directory.
        to: String,
    },
    /// The files of a write zone were copied to the host.
    #[serde(rename = "zone.handed_out")]
    HandedOut {
        /// Which sandbox.
        sandbox: SandboxId,
        /// The zone's place inside.
        at: String,
        /// Regular files copied.
        files: u64,
        /// Their bytes.
        bytes: u64,
        /// What was left behind because it is no regular file or directory, or could not be copied; the first 100.
        refused: Vec<String>,
    },
    /// A draft zone opens: what its original is was written down.
    #[serde(rename = "draft.open")]
    DraftOpen {
        /// Which sandbox.
        sandbox: SandboxId,
        /// The zone's place inside.
        at: String,
        /// The host directory.
        from: String,
        /// How many entries it has.
        entries: u64,
        /// SHA-256 of the list of them, as `sha256:` and 64 hexadecimal digits.
        manifest: String,
    },
    /// A sandbox with a draft zone has ended.
    #[serde(rename = "draft.end")]
    DraftEnd {
        /// Which sandbox.
        sandbox: SandboxId,
        /// The zone's place inside.
        at: String,
        /// How many paths had changed.
        changes: u64,
        /// Whether they are kept in the state directory; otherwise they went with the sandbox.
        kept: bool,
    },
    /// Changes of a draft are about to be applied to its original.
    #[serde(rename = "draft.commit")]
    DraftCommit {
        /// Which sandbox made them.
        sandbox: SandboxId,
        /// The host directories.
        to: Vec<String>,
        /// The user id of whoever commits.
        uid: u32,
        /// How many paths.
        changes: u64,
        /// Bytes of new content.
        bytes: u64,
        /// SHA-256 of the list of changes with the hashes of their content.
        digest: String,
        /// The first 100 of them, as `KIND PATH`.
        paths: Vec<String>,
        /// Whether it completes a commit that was cut short.
        resumed: bool,
    },
    /// Changes of a draft were applied, or undone.
    #[serde(rename = "draft.committed")]
    DraftCommitted {
        /// Which sandbox made them.
        sandbox: SandboxId,
        /// Whether all of them were applied; otherwise none was.
        applied: bool,
        /// Why not.
        #[serde(skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// A commit was refused; nothing was applied.
    #[serde(rename = "draft.refused")]
    DraftRefused {
        /// Which sandbox made the changes.
        sandbox: SandboxId,
        /// The user id of whoever asked.
        uid: u32,
        /// The first 100 reasons, each as `RULE: PATH`.
        reasons: Vec<String>,
    },
    /// A draft is about to be thrown away.
    #[serde(rename = "draft.discard")]
    DraftDiscard {
        /// Which sandbox made it.
        sandbox: SandboxId,
        /// The user id of whoever asked.
        uid: u32,
        /// How many paths had changed.
        changes: u64,
    },
    /// A server is about to listen.
    #[serde(rename = "server.start")]
    ServerStart {
        /// Casemate's version.
        version: String,
        /// Address and port.
        listen: String,
    },
    /// A server found sandboxes that outlived the one before, and took them over.
    #[serde(rename = "server.adopt")]
    ServerAdopt {
        /// How many.
        sandboxes: u32,
    },
    /// A server was asked to end, and does; its sandboxes live on.
    #[serde(rename = "server.stop")]
    ServerStop {
        /// How many.
        sandboxes: u32,
    },
    /// Every sandbox was ended at once.
    #[serde(rename = "stop.all")]
    StopAll {
        /// How many there were.
        sandboxes: u32,
    },
    /// An API key is about to be made.
    #[serde(rename = "key.create")]
    KeyCreate {
        /// Which one. Its secret is on no record.
        key: KeyId,
        /// What it is called.
        name: String,
        /// Its roles. A key whose record has none is a creator.
        roles: Roles,
        /// What it may have at one time.
        #[serde(skip_serializing_if = "Quota::is_none")]
        quota: Quota,
    },
    /// An API key is about to be revoked.
    #[serde(rename = "key.revoke")]
    KeyRevoke {
        /// Which one.
        key: KeyId,
    },
    /// More was observed than could be kept until it was written: a gap, at this place.
    #[serde(rename = "ledger.lost")]
    Lost {
        /// How many observations are not on record.
        observations: u64,
    },
    /// A sandbox is gone.
    #[serde(rename = "sandbox.end")]
    End {
        /// Which one.
        sandbox: SandboxId,
        /// Why.
        reason: EndReason,
        /// What it used.
        usage: Usage,
        /// Denials in all, also those that repeat a recorded one.
        denials: u64,
    },
}

impl Event {
    /// A denial, of something that was asked for in a sandbox or with a key.
    pub fn denied(sandbox: Option<SandboxId>, key: Option<KeyId>, denial: Denial) -> Event {
        let Denial { code, rule, asked, nearest_allowed, how_to_ask } = denial;
        let decision = Decision { verdict: "deny", rule };
        Event::Denial { sandbox, key, asked, decision, code, nearest_allowed, how_to_ask }
    }

    /// A limit that a sandbox ran into.
    pub fn limit(sandbox: SandboxId, limit: LimitHit) -> Event {
        Event::Limit { sandbox, limit, code: limit.code() }
    }
}

/// Who decided, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// `allow` or `deny`.
    pub verdict: &'static str,
    /// The rule, by a name that its policy or the documentation of the walls explains.
    pub rule: String,
}

/// What goes on in a sandbox when something begins there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Beside {
    /// The commands that go on. All others have ended, with every process; where that is not known, there is no list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commands: Option<Vec<u32>>,
    /// A moment in nanoseconds since 1970, on the clock by which the kernel dates files: what begins here changes is dated
    /// after it, and what was changed by all that had ended is dated before it.
    pub ns: u64,
}

/// Who asked for a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Whoever called `casemate run`.
    Caller,
    /// A client of the API.
    Api,
}

impl Source {
    /// Whether it goes without saying: records of a run have no `source`.
    fn is_caller(&self) -> bool {
        *self == Source::Caller
    }
}

/// What is done to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileOp {
    /// Its bytes go out.
    Read,
    /// Its bytes come in.
    Write,
    /// It is described.
    Stat,
    /// A directory is listed.
    List,
    /// A directory is made.
    MakeDir,
    /// It gets another name.
    Move,
    /// It is removed, with all that is below.
    Remove,
}

impl std::fmt::Display for FileOp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            FileOp::Read => "read",
            FileOp::Write => "write",
            FileOp::Stat => "stat",
            FileOp::List => "list",
            FileOp::MakeDir => "make-dir",
            FileOp::Move => "move",
            FileOp::Remove => "remove",
        })
    }
}

/// A limit that was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LimitHit {
    /// Memory: the kernel ended the whole sandbox.
    Memory,
    /// Processes and threads: the kernel refused to make one more.
    Pids,
    /// Bytes of the sandbox's disk: writes got ENOSPC.
    DiskBytes,
    /// Inodes of the sandbox's disk: creations got ENOSPC.
    DiskInodes,
    /// Wall-clock time: the sandbox was ended.
    Wall,
}

/// Why a sandbox ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndReason {
    /// Its command ended.
    Finished,
    /// A limit ended it.
    Limit(LimitHit),
    /// A person or a program asked for its end; the number of the signal that said so.
    Stopped(i32),
    /// Its owner ended it through the API.
    Killed,
    /// The time that its owner gave it was over.
    Timeout,
    /// It was without a server for as long as its policy permits.
    Lease,
    /// Every sandbox was ended at once.
    StopAll,
    /// Whoever watched it died; it was ended with it.
    Abandoned,
    /// It never came up, or its walls fell short; why.
    Refused(String),
    /// It ended by itself in a way that none of these names; what was seen.
    Failed(String),
}

/// What a sandbox used in its life. A figure that this machine cannot give is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// From the first wall to the last process, in milliseconds.
    pub wall_ms: u64,
    /// Processor time, in milliseconds.
    pub cpu_ms: Option<u64>,
    /// The most memory at one time, in bytes.
    pub memory_peak_bytes: Option<u64>,
}

/// Something that may happen only once it is on record.
///
/// The ledger turns an effect into the proof that it was written; what acts takes the proof.
pub trait Effect {
    /// What the ledger is to remember of it.
    fn events(&self) -> Vec<Event>;
}

impl<A: Effect, B: Effect> Effect for (A, B) {
    fn events(&self) -> Vec<Event> {
        let mut events = self.0.events();
        events.extend(self.1.events());
        events
    }
}
