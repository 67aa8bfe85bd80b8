//! What can go wrong while remembering, by the file and the call that failed.

use std::io;
use std::path::PathBuf;

/// Why the ledger could not do what it was asked to. The log on disk is valid after each of these.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A system call failed.
    #[error("{call}({path})", path = path.display())]
    Io {
        /// The call.
        call: &'static str,
        /// The file it was about.
        path: PathBuf,
        /// What the kernel answered.
        source: io::Error,
    },
    /// A file holds bytes that no ledger writes, and that no crash leaves behind.
    #[error("`{path}` is damaged at byte {offset}: {what}", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// Records that were sealed are gone. Nothing is appended to such a log, so that the loss stays visible.
    #[error("`{path}` holds {records} records, but {sealed} were sealed: the log was truncated", path = path.display())]
    Truncated {
        /// The log.
        path: PathBuf,
        /// Records that are there.
        records: u64,
        /// Records that were.
        sealed: u64,
    },
    /// The signing key cannot be used.
    #[error("`{path}` is not a key: {what}", path = path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// More waits to be written than may. Nothing was recorded; it can be tried again.
    #[error("the ledger's queue is full: {events} events of {bytes} bytes wait to be written")]
    Full {
        /// Events that wait.
        events: usize,
        /// Their bytes.
        bytes: usize,
    },
    /// The thread that writes has ended.
    #[error("the ledger is closed")]
    Closed,
    /// An effect that names no event leaves nothing to prove.
    #[error("the effect names no event to record")]
    Nothing,
    /// An event has no JSON form.
    #[error("could not write the event as JSON")]
    Encode(#[source] serde_json::Error),
}
