//! Commands that run in a sandbox, as its server sees them.

use policy::User;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};

/// Bytes that a client chose: a path, a word of a command.
pub type Argument = Vec<u8>;

/// A command to start.
#[derive(Debug, Clone)]
pub struct Command {
    /// The program and its arguments.
    pub argv: Vec<Argument>,
    /// Variables beyond those of the sandbox and the ones that every command gets; these win.
    pub env: Vec<(Argument, Argument)>,
    /// Working directory: absolute, or relative to the user's home (`~` is the home). None is the home.
    pub cwd: Option<Argument>,
    /// As whom.
    pub user: User,
    /// A name for it.
    pub tag: Option<String>,
    /// What its standard input is.
    pub stdin: Stdin,
    /// When to kill it, in milliseconds from now.
    pub deadline_ms: Option<u64>,
}

/// What a command's standard streams are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stdin {
    /// Output by pipes; input is `/dev/null`.
    Null,
    /// Output by pipes; input is a pipe, too.
    Pipe,
    /// All three are a terminal of its own.
    Terminal(TerminalSize),
}

/// The size of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Height.
    pub rows: u16,
    /// Width.
    pub columns: u16,
}

/// What is known of a running command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandInfo {
    /// Its pid inside.
    pub pid: u32,
    /// Its name, if it was given one.
    pub tag: Option<String>,
    /// The program and its arguments, as asked for.
    pub argv: Vec<Argument>,
    /// The variables, as asked for.
    pub env: Vec<(Argument, Argument)>,
    /// The working directory, as asked for.
    pub cwd: Option<Argument>,
}

/// Which command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// By its pid inside.
    Pid(u32),
    /// By its name.
    Tag(String),
}

/// What goes into a command.
#[derive(Debug, Clone)]
pub enum Input {
    /// For its standard input.
    Stdin(bytes::Bytes),
    /// For its terminal.
    Terminal(bytes::Bytes),
}

/// One piece of what comes out of a command.
#[derive(Debug, Clone)]
pub enum OutputPiece {
    /// Standard output.
    Stdout(bytes::Bytes),
    /// Standard error.
    Stderr(bytes::Bytes),
    /// Its terminal.
    Terminal(bytes::Bytes),
    /// It ended: the last piece.
    End(CommandEnd),
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandEnd {
    /// By itself, with this status.
    Exited(u8),
    /// By this signal.
    Signaled(u8),
    /// It was killed at its deadline.
    Deadline,
    /// Its sandbox ended.
    SandboxGone,
    /// It runs, but whoever listened was too slow for the others who do.
    LeftBehind,
}

/// The output of one command from some moment on. Dropping it does not end the command.
#[derive(Debug)]
pub struct Output {
    pieces: mpsc::Receiver<OutputPiece>,
    last: watch::Receiver<Option<CommandEnd>>,
    ended: bool,
}

impl Output {
    /// Pieces until the channel closes; then `last`.
    pub(super) fn over(
        pieces: mpsc::Receiver<OutputPiece>,
        last: watch::Receiver<Option<CommandEnd>>,
    ) -> Output {
        Output { pieces, last, ended: false }
    }

    /// The next piece. None after [`OutputPiece::End`].
    ///
    /// Nothing is lost when the future is dropped before it is ready.
    pub async fn next(&mut self) -> Option<OutputPiece> {
        if self.ended {
            return None;
        }
        let piece = self.pieces.recv().await;
        self.ended = piece.is_none();
        Some(piece.unwrap_or_else(|| OutputPiece::End(self.last.borrow().unwrap_or(CommandEnd::LeftBehind))))
    }
}
