//! What the trusted side and the agent say to each other, as it is on the wire.
//!
//! A frame is the length of its body as a little-endian `u32`, then the body: one message in postcard. The frame of
//! an `Exec` or a `Work` may bring descriptors; they travel with its first byte, and only inward. Both ends come from
//! one build, so the format carries no version.
//!
//! An agent with a door ([`DOOR_FD`]) outlives its control socket: each message of the door brings one descriptor, a
//! new control socket, on which the first reply is [`Reply::Here`]. The old one is dropped with all that was under way
//! on it, and so is its work on files. Commands go on, and how they end is kept until [`Request::Forget`].

mod files;
mod frame;

pub use files::{
    ANSWER_BYTES_MAX, Answer, DEPTH_MAX, Entry, Kind, LISTED_MAX, Link, Op, PATH_BYTES_MAX, Target, Why, Work,
};
pub use frame::{Malformed, Oversized, body_length, decode, encode};

use alloc::vec::Vec;
use core::fmt;
use serde::{Deserialize, Serialize};

/// The descriptor at which the agent finds its control socket.
pub const CONTROL_FD: i32 = 3;
/// The descriptor at which the agent finds the sandbox's terminal, if there is one.
pub const TERMINAL_FD: i32 = 4;
/// The descriptor at which the agent finds its door, if there is one: a socket of sequenced packets.
pub const DOOR_FD: i32 = 5;
/// The longest body of a frame to the agent, in bytes.
pub const INWARD_BYTES_MAX: usize = 4 << 20;
/// The longest body of a frame from the agent, in bytes.
pub const OUTWARD_BYTES_MAX: usize = 64 << 10;
/// The most descriptors that one frame brings.
pub const DESCRIPTORS_MAX: usize = 3;
/// The most commands that run at one time; one more is refused with `EAGAIN`.
pub const COMMANDS_MAX: usize = 1024;
/// The most work on files at one time; one more is refused with `EAGAIN`.
pub const WORKS_MAX: usize = 64;
/// The most commands whose end is kept; with one more the oldest is forgotten.
pub const ENDED_MAX: usize = 1024;
/// The highest process id that Linux knows.
pub const PID_MAX: u32 = 4 << 20;

/// What the agent is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Start a command.
    Exec(Exec),
    /// Send a signal to a command, or to work on files. Has no reply; one that is not there is no error, because it
    /// may have ended while the request was on its way.
    Signal {
        /// Which one.
        id: u32,
        /// The signal's number.
        signal: i32,
        /// To whom of it.
        whom: Whom,
    },
    /// Work on files.
    Work(Work),
    /// A command's end is known. Has no reply, and no effect on one that runs.
    Forget {
        /// Which command.
        id: u32,
    },
}

impl Request {
    /// How many descriptors come with it.
    pub fn passed(&self) -> usize {
        match self {
            Request::Exec(exec) => exec.passed(),
            Request::Work(work) => work.op.passed(),
            Request::Signal { .. } | Request::Forget { .. } => 0,
        }
    }
}

/// Whom of a command a signal is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Whom {
    /// The process that was started.
    Process,
    /// Its process group.
    Group,
}

/// A command to start. Answered by [`Reply::NotStarted`], or by [`Reply::Started`] and later [`Reply::Ended`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exec {
    /// The name under which replies speak of it; free again after the last reply, or, with a door, once it is forgotten.
    pub id: u32,
    /// The program and its arguments. A program without `/` is looked for in `PATH` of `env`, with the rights of
    /// the command; a script without `#!` is run by `/bin/sh`, as shells do.
    pub argv: Vec<Vec<u8>>,
    /// The whole environment.
    pub env: Vec<(Vec<u8>, Vec<u8>)>,
    /// Working directory: an absolute path, entered with the rights of the command.
    pub cwd: Vec<u8>,
    /// User inside. An agent that cannot switch users refuses all but its own.
    pub uid: u32,
    /// Group inside; there are no supplementary groups.
    pub gid: u32,
    /// Descriptors 0, 1 and 2.
    pub stdio: [Stdio; 3],
    /// Which terminal becomes the controlling terminal of its session, if any does.
    pub terminal: Option<Terminal>,
    /// The capabilities that a command of uid 0 keeps (bit n is capability n): its permitted, effective and
    /// bounding sets. Inheritable and ambient are always empty. Any other user has none.
    pub capabilities: u64,
    /// When to kill it.
    pub deadline: Option<Deadline>,
    /// Whether it is all that the agent is there for: its start is not told, and the agent ends with it.
    pub only: bool,
}

impl Exec {
    /// How many descriptors come with it: one more than the highest that it names.
    pub fn passed(&self) -> usize {
        let named = self.stdio.iter().map(|stdio| match stdio {
            Stdio::Passed(place) => usize::from(*place) + 1,
            Stdio::Null | Stdio::Terminal => 0,
        });
        let terminal = match self.terminal {
            Some(Terminal::Passed(place)) => usize::from(place) + 1,
            Some(Terminal::Sandbox) | None => 0,
        };
        named.chain([terminal]).max().unwrap_or_default()
    }
}

/// When a command is killed, and who of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deadline {
    /// How many milliseconds after the agent read the request.
    pub after_ms: u64,
    /// Who.
    pub whom: Whom,
}

/// A terminal for a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Terminal {
    /// The sandbox's own.
    Sandbox,
    /// The descriptor of this place among those that came with the frame.
    Passed(u8),
}

/// What one of a command's first three descriptors is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stdio {
    /// `/dev/null`.
    Null,
    /// The descriptor of this place, from 0, among those that came with the frame. One may serve several times.
    Passed(u8),
    /// The sandbox's terminal.
    Terminal,
}

/// What the agent says: a claim by something that is not trusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// The first reply on a socket that came by the door: the commands that run or are about to, and those whose end
    /// is kept. Of the former only [`Reply::Ended`] or [`Reply::NotStarted`] will follow.
    Here {
        /// Each once.
        commands: Vec<Known>,
    },
    /// The command's program was entered (or it was killed on the way there; `Ended` says how).
    Started {
        /// Which command.
        id: u32,
        /// Its process id inside.
        pid: u32,
    },
    /// The command, or the work, ended. The last reply about it.
    Ended {
        /// Which one.
        id: u32,
        /// How.
        end: End,
        /// Whether its deadline killed it.
        deadline: bool,
    },
    /// The command, or the work, was not started. The last reply about it.
    NotStarted {
        /// Which one.
        id: u32,
        /// Why, as an error number: 1 to 4095.
        errno: i32,
        /// What it was doing.
        stage: Stage,
    },
}

impl Reply {
    /// Which request it is about, if it is about one.
    pub fn id(&self) -> Option<u32> {
        match *self {
            Reply::Here { .. } => None,
            Reply::Started { id, .. } | Reply::Ended { id, .. } | Reply::NotStarted { id, .. } => Some(id),
        }
    }
}

/// A command of which the agent knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// The name under which replies speak of it.
    pub id: u32,
    /// Its process id inside; free for others once it has ended.
    pub pid: u32,
    /// How it ended, and whether its deadline killed it; nothing while it runs.
    pub end: Option<(End, bool)>,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// By itself, with this status.
    Exited(u8),
    /// By this signal: 1 to 64.
    Signaled(u8),
}

/// What a command that was not started was doing. In the order in which it happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// Making the process.
    Process,
    /// Arranging session, terminal and descriptors.
    Descriptors,
    /// Becoming the user, or being refused it.
    User,
    /// Entering the working directory.
    Cwd,
    /// Finding and entering the program.
    Program,
}

impl Stage {
    /// Every stage, each at the place that its number names.
    pub const ALL: [Stage; 5] = [Stage::Process, Stage::Descriptors, Stage::User, Stage::Cwd, Stage::Program];
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Process => "process",
            Stage::Descriptors => "descriptors",
            Stage::User => "user",
            Stage::Cwd => "working directory",
            Stage::Program => "program",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn every_stage_is_at_its_place() {
        for (place, stage) in Stage::ALL.into_iter().enumerate() {
            assert_eq!(stage as usize, place);
        }
    }

    #[test]
    fn all_that_can_be_known_fits_a_frame() {
        let known = Known { id: u32::MAX, pid: PID_MAX, end: Some((End::Signaled(64), true)) };
        let commands = vec![known; COMMANDS_MAX + ENDED_MAX];
        assert!(encode(&Reply::Here { commands }, OUTWARD_BYTES_MAX).is_ok());
    }
}
