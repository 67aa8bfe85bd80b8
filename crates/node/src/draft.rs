//! Draft zones: a host directory that a sandbox changes without changing it, until somebody commits.
//!
//! ```text
//! zone opens ─→ Manifest of the original ─→ … the sandbox works in an overlay … ─→ scan of the upper layer
//!                                                                                        │ changes, content
//!           commit ←─ conflicts? ←─ rules? ←─ selection ←─ Kept (state directory) ←──────┘
//!             └─ stage ─→ place ─→ clean, each step in a journal
//! ```
//!
//! What a sandbox made is read once, while nothing can be trusted of it, into a form that is ours: numbered content,
//! and a list of changes with their names as bytes. All that follows reads that form. Nothing is applied unless the rules
//! permit every selected change and the original is, at every one of them, as it was when the zone opened.

mod acts;
mod apply;
mod attributes;
mod commit;
mod conflict;
mod file;
mod journal;
mod kept;
mod living;
mod manifest;
mod recorded;
mod scan;
mod select;
mod show;
mod stage;
mod steps;
mod store;
mod view;
mod who;

pub(crate) use kept::{Draft, Ended, Opened, end, now_ns};

pub(crate) use living::{begin as begin_living, end as end_living, sweep as sweep_living};

pub use commit::{Committed, Conflict, Done, Outcome as CommitOutcome, commit, commit_kept, discard};
pub use kept::{DraftEnd, Kept, list};
pub use living::{is_living, living, snapshot};
pub use show::{ChangeKind, Contents, Shown, TextOf, show};
pub use who::{Act, Attribution, What};

use std::io;
use std::path::PathBuf;

/// The most entries of an original, and the most changes of a draft.
pub const ENTRIES_MAX: usize = 200_000;
/// Files up to this size are compared by content, those above by size and times.
pub const HASHED_BYTES_MAX: u64 = 1 << 20;
/// So much of an original is read when its zone opens.
pub const HASHED_TOTAL_BYTES_MAX: u64 = 64 << 20;

/// What keeps a draft from being opened, kept, read or committed. The original is as it was.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is none of this name.
    #[error("there is no draft of a sandbox `{0}`")]
    None(model::SandboxId),
    /// An original with too many entries.
    #[error("more than {ENTRIES_MAX} entries")]
    TooMany,
    /// A draft with too many changes.
    #[error("more than {ENTRIES_MAX} entries have changed")]
    TooManyChanges,
    /// A tree that is too deep to be walked.
    #[error("deeper than {} directories: `{path}`", crate::beneath::DEPTH_MAX)]
    TooDeep {
        /// Where, quoted.
        path: String,
    },
    /// A file of the original or of the draft.
    #[error("{call}")]
    Call {
        /// The call that failed.
        call: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A file of the state directory that does not say what it should.
    #[error("the draft's file `{0}` is damaged")]
    Damaged(PathBuf),
    /// Somebody else works with it.
    #[error("another process works with this draft")]
    Busy,
    /// A commit that was interrupted has to be completed first.
    #[error("a commit of this draft was interrupted")]
    Interrupted,
    /// Its sandbox lives: what it works on cannot be taken away under it.
    #[error("the sandbox lives and works on its draft, which cannot be taken away under it")]
    Lives,
    /// A user whose sandboxes have host ids of their own.
    #[error(
        "not possible after `casemate setup`: the user's sandboxes have host ids of their own, which may change none of the directory's files"
    )]
    AfterSetUp,
    /// The host directory is not the one that the draft belongs to.
    #[error("another directory is where the draft's original was: `{}`", .0.display())]
    Moved(PathBuf),
    /// No selected path names a change.
    #[error("nothing changed at `{0}`")]
    NothingAt(String),
    /// A path that cannot be one of a zone.
    #[error("`{path}` names no place in a zone of this draft: {why}")]
    Path {
        /// As it was given, quoted.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The file system lacks what a commit needs.
    #[error("the file system of `{}` cannot exchange two names at once (renameat2)", .0.display())]
    NoExchange(PathBuf),
    /// The record.
    #[error("the ledger cannot be continued")]
    Ledger(#[from] ledger::Error),
}

impl Error {
    /// What the reader can do about it.
    pub fn mend(&self) -> Option<&'static str> {
        Some(match self {
            Error::None(_) => {
                "`casemate diff` lists the drafts of this state directory; `casemate run --keep` keeps one"
            }
            Error::TooMany | Error::TooDeep { .. } => "make a directory further down the zone",
            Error::TooManyChanges => {
                "let it write what nobody commits elsewhere, in /tmp or a scratch zone; in a sandbox that lives, remove it there and ask again"
            }
            Error::Busy => "wait until it is done",
            Error::Lives => {
                "`casemate kill ID` ends it, and its draft goes with it; to leave out a part alone, commit the other PATHs"
            }
            Error::AfterSetUp => {
                "run as root or as a user without set-up (`casemate setup --undo`), or show the directory in a read zone and hand out what is new through a write zone"
            }
            Error::Interrupted => "run `casemate commit ID` again: it completes what was begun",
            Error::Moved(_) => "put the directory back in its place, or `casemate discard ID`",
            Error::NothingAt(_) => "`casemate diff ID` lists the paths that changed",
            Error::Path { .. } => "name a path inside, such as /work/src, or one relative to the zone",
            Error::NoExchange(_) => {
                "copy what you need by hand from the content that `casemate diff ID` shows"
            }
            Error::Damaged(_) => "`casemate discard ID` removes it",
            Error::Call { .. } | Error::Ledger(_) => return None,
        })
    }
}

/// Says which call failed.
trait For<T> {
    fn call(self, call: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T, E: Into<io::Error>> For<T> for Result<T, E> {
    fn call(self, call: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|error| Error::Call { call: call(), source: error.into() })
    }
}

#[cfg(test)]
mod tests;
