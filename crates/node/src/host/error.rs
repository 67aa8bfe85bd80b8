//! Why something that a server asked of its node was not done.

use std::io;

/// What a key may not have, and when it may ask again, where time alone changes the answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{denial}")]
pub struct OverQuota {
    /// The denial.
    pub denial: model::Denial,
    /// How long to wait.
    pub retry_after: Option<std::time::Duration>,
}

/// What kept a request from being done. Every variant is one answer on a wire.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The sandbox ended while it was asked, or before.
    #[error("the sandbox is gone")]
    Gone,
    /// No command by that pid or tag runs in the sandbox, or ended within the last 30 s.
    #[error("process with {0} not found")]
    NoCommand(String),
    /// The node has as many sandboxes as it may.
    #[error("{limit} is reached: {most}")]
    Full {
        /// Which limit, as `sandboxes`, `commands of a sandbox`.
        limit: &'static str,
        /// Its number.
        most: usize,
    },
    /// The sandbox could not be built, or its walls are fewer than required.
    #[error("the sandbox could not be built: {what}")]
    Refused {
        /// What was tried and why it failed.
        what: String,
        /// What to do about it.
        mend: Option<String>,
    },
    /// Its key would have more than it may.
    #[error(transparent)]
    Quota(Box<OverQuota>),
    /// The policy says no.
    #[error(transparent)]
    Denied(#[from] policy::Denied),
    /// The record cannot be written; without it nothing happens.
    #[error("the ledger cannot be written, so nothing is started: {0}")]
    Ledger(String),
    /// The command's program could not be entered.
    #[error("`{program}` could not be started: {source}")]
    NotStarted {
        /// What was to be run, quoted.
        program: String,
        /// What the kernel said inside.
        source: io::Error,
    },
    /// The working directory could not be entered; not found is the usual reason.
    #[error("cwd '{cwd}' does not exist")]
    NoDirectory {
        /// As it was asked for, quoted.
        cwd: String,
        /// What the kernel said inside.
        source: io::Error,
    },
    /// Input to a command whose standard input is not connected or was closed.
    #[error("stdin not enabled or closed")]
    InputClosed,
    /// Input of the other kind than the command has: a terminal has no `stdin`, a pipe no `pty`.
    #[error("the process {0}")]
    WrongInput(&'static str),
    /// A file operation failed inside.
    #[error("{path}: {source}")]
    File {
        /// The path, quoted.
        path: String,
        /// What the kernel said inside: not found, permission denied, is a directory, no space...
        source: io::Error,
    },
    /// A directory was to be made where one is.
    #[error("{0}: directory already exists")]
    Exists(String),
    /// A directory was to be made or read where something else is.
    #[error("{0}: not a directory")]
    NotADirectory(String),
    /// Neither a regular file nor anything else that can be read or written this way.
    #[error("{0}: not a regular file")]
    NotAFile(String),
    /// A path that names nothing that this can be done to.
    #[error("{path}: {why}")]
    BadPath {
        /// The path, quoted.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// A request that is too long, too deep or otherwise beyond a stated bound.
    #[error("{0}")]
    TooMuch(String),
    /// The agent inside does not do its part: it is busy, or says what makes no sense. The sandbox is ended for the latter.
    #[error("the sandbox does not answer: {0}")]
    Unresponsive(String),
    /// The launcher cannot be reached.
    #[error("the launcher cannot be reached: {0}")]
    Launcher(String),
}
