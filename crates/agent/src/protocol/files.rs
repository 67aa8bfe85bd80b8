//! Work on files: what is asked, and what is answered.
//!
//! The agent starts a process for it, which becomes the user and does one thing. Nothing of it is said on the control
//! socket but its death ([`super::Reply::Ended`]). The answers travel in frames of the same kind through a pipe that
//! comes with the request, and the bytes of files do, too.

use alloc::vec::Vec;
use core::fmt;
use serde::{Deserialize, Serialize};

/// The longest path, in bytes: what the kernel takes.
pub const PATH_BYTES_MAX: usize = 4095;
/// The longest body of an answer's frame, in bytes: two paths and some numbers.
pub const ANSWER_BYTES_MAX: usize = 16 << 10;
/// The most entries that a list has; more is [`Why::TooMany`].
pub const LISTED_MAX: usize = 65_536;
/// The most levels of directories that a list goes down: more do not fit a path.
pub const DEPTH_MAX: u32 = PATH_BYTES_MAX as u32 / 2;

/// One thing to do with files. Answered by [`super::Reply::NotStarted`] or [`super::Reply::Ended`], and through the
/// first descriptor that comes with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// The name under which replies speak of it; free again after the last reply.
    pub id: u32,
    /// With whose rights; who owns what is made.
    pub uid: u32,
    /// With the rights of which group.
    pub gid: u32,
    /// The capabilities that uid 0 keeps for it, as in [`super::Exec::capabilities`].
    pub capabilities: u64,
    /// What to do.
    pub op: Op,
}

/// What to do. Every path is absolute; links on its way are followed as the kernel does it for the user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// Describe what is there, a link itself. Answered by [`Answer::Entry`].
    Stat {
        /// Of what.
        path: Vec<u8>,
    },
    /// List a directory: each directory before what is in it, names in the order of their bytes. Answered by
    /// [`Answer::Entry`] for each, and [`Answer::Done`].
    List {
        /// The directory, or a link to it. Each entry's path begins with this.
        path: Vec<u8>,
        /// How many levels; 0 is 1, and more than [`DEPTH_MAX`] is that.
        depth: u32,
    },
    /// Make a directory, and those that it is to be in. Answered by [`Answer::Entry`]; what is there already fails
    /// with [`Why::Exists`] if it is a directory, and with [`Why::NotADirectory`] otherwise.
    MakeDir {
        /// Which.
        path: Vec<u8>,
    },
    /// Give something another name; makes the directories that it is to be in, and takes the place of a file. From
    /// one mount to another only regular files can go. Answered by [`Answer::Entry`] of the new name.
    Move {
        /// The old name.
        from: Vec<u8>,
        /// The new name.
        to: Vec<u8>,
    },
    /// Remove something with all that is in it; nothing there is fine, too. Answered by [`Answer::Done`].
    Remove {
        /// What. A link is removed itself.
        path: Vec<u8>,
    },
    /// Read a regular file. Answered by [`Answer::Reading`], after which its bytes follow in the same pipe.
    Read {
        /// Which.
        path: Vec<u8>,
        /// Where to begin, in bytes.
        offset: u64,
        /// How many bytes at most.
        bytes_max: u64,
    },
    /// Write to a regular file all that arrives through the second descriptor, to its end. Makes the file, mode
    /// 0644, and the directories that it is to be in. Answered by [`Answer::Entry`] when all is written, or early if
    /// that cannot be.
    Write {
        /// Which.
        path: Vec<u8>,
        /// Where to begin, in bytes, leaving the rest as it is; or nothing, to replace all that it has.
        offset: Option<u64>,
    },
}

impl Op {
    /// How many descriptors come with it: the pipe for answers, and for [`Op::Write`] the one that brings the bytes.
    pub fn passed(&self) -> usize {
        match self {
            Op::Write { .. } => 2,
            _ => 1,
        }
    }
}

/// What work on files says: a claim by something that is not trusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// What is there.
    Entry(Entry),
    /// A file's bytes follow.
    Reading {
        /// The file, with links to it resolved.
        entry: Entry,
        /// How many bytes follow, if the file can tell (files of procfs cannot): fewer is a failure. Otherwise they
        /// are all if the work exits with 0.
        bytes: Option<u64>,
    },
    /// It is done. The last answer.
    Done,
    /// It is not done, or not in full. The last answer.
    Failed {
        /// Why.
        why: Why,
        /// The error number behind it: 1 to 4095.
        errno: i32,
    },
}

/// A file, directory or link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Where, as it was asked for.
    #[serde(with = "super::frame::blob")]
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permission bits: at most `0o7777`.
    pub mode: u32,
    /// How long, in bytes.
    pub size: u64,
    /// Who owns it.
    pub uid: u32,
    /// Which group it belongs to.
    pub gid: u32,
    /// When its content changed, in seconds of the epoch.
    pub mtime_s: i64,
    /// And nanoseconds: less than 1,000,000,000.
    pub mtime_ns: u32,
    /// Where it leads: present if it is a link.
    pub link: Option<Link>,
}

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A device, pipe or socket.
    Other,
}

/// Where a link leads: nowhere, if it dangles, goes in a circle or may not be followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// What is at its end.
    pub target: Option<Target>,
}

/// What is at the end of a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Where, without any link in it.
    #[serde(with = "super::frame::blob")]
    pub path: Vec<u8>,
    /// What it is; never a link.
    pub kind: Kind,
    /// Permission bits: at most `0o7777`.
    pub mode: u32,
}

/// Why something was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Why {
    /// The user could not be taken on.
    User,
    /// The path is not absolute, is too long, or names nothing that this can be done to.
    BadPath,
    /// There is nothing.
    Missing,
    /// There is something already.
    Exists,
    /// Something that is no directory is where one is needed.
    NotADirectory,
    /// A directory is where a file is needed.
    IsADirectory,
    /// It is a device, pipe or socket.
    NotRegular,
    /// The user may not.
    Denied,
    /// There is no space left.
    NoSpace,
    /// A list would have more than [`LISTED_MAX`] entries.
    TooMany,
    /// A directory is on another mount.
    OtherMount,
    /// Something else changed it meanwhile.
    Changed,
    /// Anything else: see the error number.
    Other,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Why::User => "the user could not be taken on",
            Why::BadPath => "not a path for this",
            Why::Missing => "there is nothing",
            Why::Exists => "it is there already",
            Why::NotADirectory => "not a directory",
            Why::IsADirectory => "it is a directory",
            Why::NotRegular => "not a regular file",
            Why::Denied => "permission denied",
            Why::NoSpace => "no space left",
            Why::TooMany => "too many entries",
            Why::OtherMount => "a directory cannot be moved to another mount",
            Why::Changed => "it changed meanwhile",
            Why::Other => "input or output error",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::encode;
    use super::*;
    use alloc::vec;

    #[test]
    fn the_longest_answer_fits_a_frame() {
        let path = vec![0xff; PATH_BYTES_MAX];
        let target = Some(Target { path: path.clone(), kind: Kind::File, mode: u32::MAX });
        let entry = Entry {
            path,
            kind: Kind::Link,
            mode: u32::MAX,
            size: u64::MAX,
            uid: u32::MAX,
            gid: u32::MAX,
            mtime_s: i64::MIN,
            mtime_ns: u32::MAX,
            link: Some(Link { target }),
        };
        assert!(encode(&Answer::Reading { entry, bytes: Some(u64::MAX) }, ANSWER_BYTES_MAX).is_ok());
    }
}
