//! What a launcher and its clients say to each other.
//!
//! A message is one packet of a `SOCK_SEQPACKET` socket: a postcard-encoded [`Order`] or [`Report`], and up to
//! [`DESCRIPTORS_MAX`] descriptors. Both ends are trusted and of one user; all the same everything that arrives is
//! bounded and decoded strictly, and a message that is none ends the connection.
//!
//! ```text
//! server                                   launcher
//!   │ ←── Hello ──────────────────────────────│   at once; another protocol is refused by the client
//!   │ ─── Serve ─────────────────────────────→│
//!   │ ←── Welcome, Have*, Held*, AllTold ─────│   (Busy, if there is a server)
//!   │ ─── Create ────────────────────────────→│
//!   │ ←── Built | Refused | Ended ────────────│
//!   │ ─── Keep, Deadline, Drop, Tell ────────→│   not answered (NotKept, if a descriptor could not be held)
//!   │ ─── Kill ──────────────────────────────→│
//!   │ ←── Ended ──────────────────────────────│   whatever ended it; kept until …
//!   │ ─── Forget ────────────────────────────→│   … its end is on record
//! ```

use model::{Denial, Lease, LimitHit, SandboxId, Usage, Walls};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// This version. Launcher and server may come from different builds: the launcher outlives the server.
pub const PROTOCOL: u32 = 4;
/// The longest message, in bytes: the longest compiled policy, and room for the rest.
pub const MESSAGE_BYTES_MAX: usize = 184 << 10;
/// Descriptors that one message may bring.
pub const DESCRIPTORS_MAX: usize = 8;
/// The longest note, in bytes.
pub const NOTE_BYTES_MAX: usize = 40 << 10;
/// Commands of one sandbox whose descriptors are held.
pub const HELD_MAX: usize = 1024;
/// Set in the number of a command under which its input is held, apart from the rest so that it can be closed.
pub const INPUT: u32 = 1 << 31;
/// Sandboxes of one launcher, those included whose end is not on record yet.
pub const SANDBOXES_MAX: usize = 4096;
/// Clients of one launcher, the server included.
pub const CLIENTS_MAX: usize = 16;
/// Different denials of one sandbox that are told one by one.
pub const DENIED_MAX: usize = 64;

/// What a client wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// I am the server. There is one at a time.
    Serve,
    /// Say what there is. Answered by [`Report::Have`] for each sandbox, without descriptors, and [`Report::AllTold`].
    List,
    /// Build a sandbox. Of the server alone, like all that follow but [`Order::StopAll`].
    Create {
        /// Its name, which no other has.
        id: SandboxId,
        /// Its policy, as `Policy::to_cache` gives it.
        policy: Vec<u8>,
        /// The hash of its policy's text.
        hash: String,
        /// The directory that relative host paths of the policy start from.
        base: PathBuf,
        /// Whatever the server wants to know of it later.
        note: Vec<u8>,
        /// When it has to end, on the clock that counts from boot, in nanoseconds.
        deadline_boot_ns: Option<u64>,
        /// What becomes of it without a server.
        lease: Lease,
    },
    /// Replaces the deadline of a sandbox.
    Deadline {
        /// Which one.
        id: SandboxId,
        /// When; a moment that is over ends it at once.
        at_boot_ns: Option<u64>,
    },
    /// Holds the descriptors that come with it, and a note, for a command; in place of what was held for it before.
    Keep {
        /// In which sandbox.
        id: SandboxId,
        /// Which command.
        exec: u32,
        /// The note.
        note: Vec<u8>,
    },
    /// Lets go of what is held for a command.
    Drop {
        /// In which sandbox.
        id: SandboxId,
        /// Which command.
        exec: u32,
    },
    /// Tells those inside a sandbox of a denial.
    Tell {
        /// In which sandbox.
        id: SandboxId,
        /// What was denied.
        denial: Denial,
    },
    /// Ends a sandbox. [`Report::Ended`] tells when it is done; one that has ended already is no error.
    Kill {
        /// Which one.
        id: SandboxId,
    },
    /// The end of this sandbox is on record, and its disk and terminals are closed on the server's side.
    Forget {
        /// Which one.
        id: SandboxId,
    },
    /// Asks for the disk of a sandbox that lives, whoever asks. Answered by [`Report::Disk`] or [`Report::NoDisk`].
    Disk {
        /// Which one.
        id: SandboxId,
    },
    /// Ends every sandbox that there is now. Answered by [`Report::Stopped`] when nothing of them is left.
    StopAll,
}

/// What the launcher says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// The first message on every connection.
    Hello {
        /// Its [`PROTOCOL`].
        protocol: u32,
        /// Its pid.
        launcher_pid: i32,
    },
    /// You are the server.
    Welcome,
    /// There is a server already.
    Busy,
    /// A sandbox that there is. To the server of one that stands and lives: [`Built::descriptors`].
    ///
    /// [`Built::descriptors`]: Report::Built
    Have {
        /// Which one.
        id: SandboxId,
        /// The server's note.
        note: Vec<u8>,
        /// What stands; none while it is built, or if it never stood.
        standing: Option<Standing>,
        /// When it has to end.
        deadline_boot_ns: Option<u64>,
        /// The first number that no command of it had, as far as something was held for it.
        next_command: u32,
        /// How it ended, if it has.
        ended: Option<Ended>,
    },
    /// Descriptors that are held for a command, with copies of them.
    Held {
        /// In which sandbox.
        id: SandboxId,
        /// Which command.
        exec: u32,
        /// The server's note.
        note: Vec<u8>,
    },
    /// The answer to [`Order::Serve`] or [`Order::List`] is complete.
    AllTold,
    /// A sandbox stands. Four descriptors come with it: the pidfd of its first process, a control socket of its agent, a
    /// place on its disk (for `fstatfs`), and the directory of its terminals (for `jail::terminal::open`).
    Built {
        /// Which one.
        id: SandboxId,
        /// What stands.
        standing: Standing,
    },
    /// A sandbox did not come to be, and nothing of it is left. It is kept, like one that ended, until it is forgotten.
    Refused {
        /// Which one.
        id: SandboxId,
        /// Why.
        refusal: Refusal,
    },
    /// A place on a sandbox's disk, as descriptor.
    Disk {
        /// Of which sandbox.
        id: SandboxId,
    },
    /// There is no such sandbox, or it does not live.
    NoDisk {
        /// Which one.
        id: SandboxId,
    },
    /// The descriptors of a [`Order::Keep`] are not held.
    NotKept {
        /// Of which sandbox.
        id: SandboxId,
        /// Of which command.
        exec: u32,
        /// Why.
        what: String,
    },
    /// A kind of call that was refused in a sandbox for the first time.
    Denied {
        /// In which sandbox.
        id: SandboxId,
        /// The call.
        denied: Denial,
        /// How many calls were refused there so far.
        count: u64,
    },
    /// A sandbox ended.
    Ended {
        /// Which one.
        id: SandboxId,
        /// How.
        ended: Ended,
    },
    /// Nothing is left of what [`Order::StopAll`] found.
    Stopped {
        /// How many sandboxes it ended.
        ended: u32,
    },
}

/// A sandbox whose walls stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The walls.
    #[serde(with = "bits")]
    pub walls: Walls,
    /// The Landlock ABI in force; 0 is none.
    pub landlock: u32,
    /// `root`, `user` or `user+setup`.
    pub profile: String,
    /// Its first process, as seen on the host.
    pub first_pid: i32,
}

/// How a sandbox ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Why.
    pub reason: Reason,
    /// What it used.
    pub usage: Usage,
    /// Limits that it ran into.
    pub hits: Vec<LimitHit>,
    /// Calls that were refused.
    pub denials: u64,
}

/// Why a sandbox ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// [`Order::Kill`].
    Killed,
    /// [`Order::StopAll`].
    Stopped,
    /// Its deadline.
    Deadline,
    /// It was without a server for longer than its lease.
    Lease,
    /// A limit that ends the whole sandbox.
    Limit(LimitHit),
    /// Its first process ended, and nobody here knows why.
    ByItself,
    /// It never stood.
    Refused(Refusal),
    /// Whoever kept it was killed.
    Abandoned,
}

/// Why a sandbox did not come to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Whose it is to mend.
    pub kind: RefusalKind,
    /// What went wrong: the whole chain of causes.
    pub what: String,
    /// What can be done about it.
    pub mend: Option<String>,
}

/// Kinds of [`Refusal`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RefusalKind {
    /// There is a sandbox of this name. It is not touched, and nothing is kept of the order.
    Duplicate,
    /// There are as many sandboxes as there may be. Nothing is kept of the order.
    Full,
    /// The policy or the order asks for what sandboxes of a server do not have.
    Unsupported,
    /// The compiled policy is none of this build.
    Policy,
    /// A zone's host directory cannot be used.
    Zone,
    /// This machine or profile cannot put up a wall that the policy requires.
    Missing,
    /// A wall was tried and did not come to stand.
    Wall,
}

mod bits {
    use model::Walls;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(walls: &Walls, serializer: S) -> Result<S::Ok, S::Error> {
        walls.to_bits().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Walls, D::Error> {
        u32::deserialize(deserializer).map(Walls::from_bits)
    }
}
