//! What verification finds, and where.

use crate::{Checkpoint, Error};
use std::fmt;

/// Problems that are listed. A log can be wrong at every byte; a report has an end.
const PROBLEMS_MAX: usize = 1000;

/// What verification found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Records in the log.
    pub records: u64,
    /// The last record that a good checkpoint covers.
    pub covered: Option<u64>,
    /// Records after it. Nothing signed vouches for them yet.
    pub uncovered: u64,
    /// Bytes at the end of the tail that a crash left half written, or that a writer is writing now. They hold
    /// no record that was acknowledged.
    pub torn_bytes: u64,
    /// The newest good checkpoint.
    pub checkpoint: Option<Checkpoint>,
    /// Everything that is wrong; the first 1000. None: the log is what was written.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong, and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, by its name in the state directory.
    pub file: String,
    /// The byte where it begins, where one can be named.
    pub offset: Option<u64>,
    /// The record that it is about, or that should stand there.
    pub seq: Option<u64>,
    /// What is wrong.
    pub flaw: Flaw,
}

/// A way in which a log can be wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Flaw {
    /// The file is not there.
    #[error("the file is missing")]
    Missing,
    /// The file cannot be read.
    #[error("the file cannot be read: {0}")]
    Unreadable(String),
    /// No ledger writes something of this name.
    #[error("this name has no place in the log")]
    Unknown,
    /// It is a link, a device or a pipe.
    #[error("it is neither a file nor a directory")]
    NotAFile,
    /// The header of the tail is wrong.
    #[error("the header of the tail is wrong: {0}")]
    Header(&'static str),
    /// A frame of the tail is wrong.
    #[error("{0}")]
    Frame(&'static str),
    /// A bundle ends too early.
    #[error("the bundle ends before its 256 entries do")]
    Short,
    /// A bundle goes on after its last entry.
    #[error("there are bytes after the 256th entry")]
    Surplus,
    /// A tile has another length.
    #[error("the tile is {0} bytes long, not 8192")]
    TileLength(u64),
    /// A record and its tile disagree.
    #[error("the record does not have the hash that its tile gives")]
    Leaf,
    /// A tile and what lies below it disagree.
    #[error("the tile's hash number {0} is not that of the tile below")]
    Node(usize),
    /// A file that a crash may leave holds something else than what it was to hold.
    #[error("the file does not hold what the tail says of these entries")]
    Leftover,
    /// A record cannot be read.
    #[error("not a record of version 1: {0}")]
    Record(String),
    /// A record has another number than its place: one was dropped, inserted or moved.
    #[error("the record that stands here says that it is number {0}")]
    Seq(u64),
    /// A record does not follow the one before: one of them was changed, dropped, inserted or moved.
    #[error("the record does not follow the one before it")]
    Prev,
    /// The tail's header disagrees with the bundles.
    #[error("the tail does not follow the last bundle")]
    Frontier,
    /// A checkpoint cannot be read.
    #[error("not a checkpoint of this log")]
    NotACheckpoint,
    /// A checkpoint stands at the wrong place.
    #[error("a checkpoint over {0} records stands here")]
    Place(u64),
    /// A checkpoint names another root.
    #[error("the records do not have the root that was signed")]
    Root,
    /// A checkpoint is not signed by the key of this log.
    #[error("the checkpoint is not signed by the key of this log")]
    Signature,
    /// There are checkpoints, but no key to verify them with.
    #[error("there is no verifier key to check the signatures with")]
    NoKey,
    /// The head is no head.
    #[error("not a head")]
    Head,
    /// The log is shorter than it was.
    #[error("the log has {records} records, but {sealed} were sealed: it was truncated")]
    Truncated {
        /// Records that are there.
        records: u64,
        /// Records that were sealed.
        sealed: u64,
    },
    /// The checkpoint that the head remembers is gone.
    #[error("the checkpoint over {0} records is gone: the log was put back to an older state")]
    Unsealed(u64),
    /// The checkpoint that was saved is not consistent with the log.
    #[error("history was rewritten: the log does not have the root of the checkpoint that was saved")]
    Rewritten,
    /// More than a report lists.
    #[error("and more")]
    More,
}

impl Flaw {
    /// What it means for the log that a file cannot be read.
    pub(super) fn unreadable(error: &Error) -> Flaw {
        match error {
            _ if error.is_missing() => Flaw::Missing,
            Error::Io { source, .. } => Flaw::Unreadable(source.to_string()),
            Error::Damaged { what, .. } => Flaw::Unreadable((*what).to_owned()),
            other => Flaw::Unreadable(other.to_string()),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(offset) = self.offset {
            write!(f, ", byte {offset}")?;
        }
        if let Some(seq) = self.seq {
            write!(f, ", record {seq}")?;
        }
        write!(f, ": {}", self.flaw)
    }
}

/// The list, with its end.
#[derive(Default)]
pub(super) struct Problems(Vec<Problem>);

impl Problems {
    pub(super) fn add(&mut self, file: &str, offset: Option<u64>, seq: Option<u64>, flaw: Flaw) {
        let problem = |flaw| Problem { file: model::quote(file), offset, seq, flaw };
        match self.0.len() {
            ..PROBLEMS_MAX => self.0.push(problem(flaw)),
            PROBLEMS_MAX => self.0.push(problem(Flaw::More)),
            _ => {}
        }
    }

    pub(super) fn into_list(self) -> Vec<Problem> {
        self.0
    }
}
