//! What is worth remembering. One closed list, so that the ledger's format is a promise that can be kept.
//!
//! Strings that a stranger chose (arguments, paths) are [`crate::quote`]d before they get here.

use crate::{Limits, SandboxId, Walls};
use serde::Serialize;

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
    /// Something was asked for and refused.
    #[serde(rename = "denial")]
    Denial {
        /// Who asked; none when no sandbox came to be.
        #[serde(skip_serializing_if = "Option::is_none")]
        sandbox: Option<SandboxId>,
        /// What was asked.
        asked: String,
        /// What decided.
        decision: Decision,
    },
    /// A sandbox ran into one of its limits.
    #[serde(rename = "limit.hit")]
    Limit {
        /// Which sandbox.
        sandbox: SandboxId,
        /// Which limit.
        limit: LimitHit,
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

/// Who decided, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// `allow` or `deny`.
    pub verdict: &'static str,
    /// The rule, by a name that its policy or the documentation of the walls explains.
    pub rule: String,
}

/// A limit that was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
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
    /// Whoever watched it died; it was ended with it.
    Abandoned,
    /// It never came up, or its walls fell short; why.
    Refused(String),
    /// It ended by itself in a way that none of these names; what was seen.
    Failed(String),
}

/// What a sandbox used in its life. A figure that this machine cannot give is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
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
