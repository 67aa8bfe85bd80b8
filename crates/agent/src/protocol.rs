//! What the trusted side and the agent say to each other, as it is on the wire.
//!
//! A frame is the length of its body as a little-endian `u32`, then the body: one message in postcard. An `Exec`
//! frame may bring descriptors; they travel with its first byte, and only inward. Both ends come from one build,
//! so the format carries no version.

mod frame;

pub use frame::{Malformed, Oversized, body_length, decode, encode};

use alloc::vec::Vec;
use core::fmt;
use serde::{Deserialize, Serialize};

/// The descriptor at which the agent finds its control socket.
pub const CONTROL_FD: i32 = 3;
/// The descriptor at which the agent finds the sandbox's terminal, if there is one.
pub const TERMINAL_FD: i32 = 4;
/// The longest body of a frame to the agent, in bytes.
pub const INWARD_BYTES_MAX: usize = 4 << 20;
/// The longest body of a frame from the agent, in bytes.
pub const OUTWARD_BYTES_MAX: usize = 256 << 10;
/// The most bytes of a file in one message.
pub const CHUNK_BYTES_MAX: usize = 128 << 10;
/// The most descriptors that one frame brings.
pub const DESCRIPTORS_MAX: usize = 3;
/// The most commands that run at one time; one more is refused with `EAGAIN`.
pub const COMMANDS_MAX: usize = 1024;

/// What the agent is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Start a command.
    Exec(Exec),
    /// Send a signal to a command's process group. Has no reply; a command that is not there is no error,
    /// because it may have ended while the request was on its way.
    Signal {
        /// Which command.
        id: u32,
        /// The signal's number.
        signal: i32,
    },
    /// Read a piece of a file.
    Read(Read),
    /// Write a piece of a file.
    Write(Write),
}

/// A command to start. Answered by [`Reply::NotStarted`], or by [`Reply::Started`] and later [`Reply::Ended`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exec {
    /// The name under which replies speak of it; free again after the last reply.
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
    /// Whether the sandbox's terminal becomes the controlling terminal.
    pub terminal: bool,
    /// The capabilities that a command of uid 0 keeps (bit n is capability n): its permitted, effective and
    /// bounding sets. Inheritable and ambient are always empty. Any other user has none.
    pub capabilities: u64,
    /// When to kill the command's process group, in milliseconds after the agent read the request.
    pub deadline_ms: Option<u64>,
}

/// What one of a command's first three descriptors is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stdio {
    /// `/dev/null`.
    Null,
    /// The next descriptor that came with the frame.
    Passed,
    /// The sandbox's terminal.
    Terminal,
}

/// A piece of a file to read. Answered by [`Reply::Bytes`] or [`Reply::Failed`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Read {
    /// The name under which the reply speaks of it.
    pub id: u32,
    /// The file: an absolute path that does not end in a symbolic link. Only regular files, and none of `/proc`.
    pub path: Vec<u8>,
    /// With whose rights; uid 0 has what the sandbox's root has.
    pub uid: u32,
    /// With the rights of which group.
    pub gid: u32,
    /// Where to begin, in bytes.
    pub offset: u64,
    /// How many bytes at most; up to [`CHUNK_BYTES_MAX`].
    pub len: u32,
}

/// A piece of a file to write. Answered by [`Reply::Written`] or [`Reply::Failed`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Write {
    /// The name under which the reply speaks of it.
    pub id: u32,
    /// The file, made if it is not there: an absolute path, as in [`Read::path`].
    pub path: Vec<u8>,
    /// With whose rights; who owns the file if it is made.
    pub uid: u32,
    /// With the rights of which group.
    pub gid: u32,
    /// Permission bits if the file is made: exactly these, at most `0o777`.
    pub mode: u32,
    /// Where to begin, in bytes.
    pub offset: u64,
    /// Whether to empty the file first.
    pub truncate: bool,
    /// What to write; up to [`CHUNK_BYTES_MAX`].
    #[serde(with = "frame::blob")]
    pub bytes: Vec<u8>,
}

/// What the agent says: a claim by something that is not trusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// The command's program was entered (or it was killed on the way there; `Ended` says how).
    Started {
        /// Which command.
        id: u32,
    },
    /// The command ended. The last reply about it.
    Ended {
        /// Which command.
        id: u32,
        /// How.
        end: End,
        /// Whether its deadline killed it.
        deadline: bool,
    },
    /// The command was not started. The last reply about it.
    NotStarted {
        /// Which command.
        id: u32,
        /// Why, as an error number: 1 to 4095.
        errno: i32,
        /// What it was doing.
        stage: Stage,
    },
    /// A piece of a file.
    Bytes {
        /// Of which request.
        id: u32,
        /// What was read: fewer than asked for only at the end.
        #[serde(with = "frame::blob")]
        bytes: Vec<u8>,
        /// Whether the end of the file was seen.
        end: bool,
    },
    /// A piece of a file was written in full.
    Written {
        /// Of which request.
        id: u32,
    },
    /// A piece of a file was not read or not written in full.
    Failed {
        /// Which request.
        id: u32,
        /// Why, as an error number: 1 to 4095.
        errno: i32,
        /// What it was doing.
        stage: FileStage,
    },
}

impl Reply {
    /// Which request it is about.
    pub fn id(&self) -> u32 {
        match *self {
            Reply::Started { id }
            | Reply::Ended { id, .. }
            | Reply::NotStarted { id, .. }
            | Reply::Bytes { id, .. }
            | Reply::Written { id }
            | Reply::Failed { id, .. } => id,
        }
    }
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

/// What a request about a file was doing when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileStage {
    /// Reading the request: its path, length or mode.
    Request,
    /// Taking on the user's rights, or being refused them.
    User,
    /// Opening the file.
    Open,
    /// Seeing what kind of file it is: it is none that the agent touches.
    Kind,
    /// Reading.
    Read,
    /// Emptying or writing.
    Write,
}

impl fmt::Display for FileStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FileStage::Request => "request",
            FileStage::User => "user",
            FileStage::Open => "open",
            FileStage::Kind => "kind of file",
            FileStage::Read => "read",
            FileStage::Write => "write",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_is_at_its_place() {
        for (place, stage) in Stage::ALL.into_iter().enumerate() {
            assert_eq!(stage as usize, place);
        }
    }
}
