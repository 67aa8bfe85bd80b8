//! The words that `casemate` understands.

mod draft;
mod key;
mod policy;
mod serve;

pub(crate) use draft::{Commit, Diff, Discard};
pub(crate) use key::Key;
pub(crate) use policy::{From, Policy};
pub(crate) use serve::{Log, Serve};

use clap::{Args as ClapArgs, FromArgMatches, Parser, Subcommand};
use model::SandboxId;
use std::ffi::OsString;
use std::path::PathBuf;

/// The safe house for AI agents: runs what an agent does behind walls that hold, under a policy, on the record.
#[derive(Debug, Parser)]
#[command(name = "casemate", version, max_term_width = 100, disable_help_subcommand = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub command: Command,
}

// Deferred: a start of a sandbox does not wait for the words of the other commands.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(crate) enum Command {
    /// Run a command in a sandbox of its own.
    Run(Run),
    /// Say what this machine can enforce: each wall is tried, and what is missing is named with its mend.
    Doctor(Doctor),
    /// Read and verify the tamper-evident record.
    Audit {
        #[command(subcommand)]
        command: Audit,
    },
    /// Check, explain and import policies.
    Policy {
        #[command(subcommand)]
        command: Policy,
    },
    /// Show what a sandbox changed in its draft zones; without a name, the drafts that are kept.
    Diff(Diff),
    /// Apply changes of a draft to the host directory: all that are selected, or none.
    Commit(Commit),
    /// Throw a draft away.
    Discard(Discard),
    /// Serve sandboxes to programs that speak E2B's protocol.
    Serve(Serve),
    /// Show the sandboxes of a server, or the commands of one of them.
    Ps(Ps),
    /// Run a command in a sandbox of a server.
    Exec(Exec),
    /// End sandboxes, with everything in them.
    Kill(Kill),
    /// End every sandbox of a state directory at once, whether its server answers or not.
    Stop(Stop),
    /// Make, list and revoke the keys of the API.
    Key {
        #[command(subcommand)]
        command: Key,
    },
    /// As root, once for an ordinary user: give that user a cgroup subtree and a range of ids for sandboxes.
    Setup(Setup),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct State {
    /// Directory of the ledger, its key and the cache [default: /var/lib/casemate for root, else
    /// ~/.local/state/casemate].
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
}

impl Run {
    /// The words of `casemate run`, read without those of the other commands, which takes less time. None if these are
    /// the words of another command, or are wrong.
    pub(crate) fn alone() -> Option<Run> {
        let mut words = std::env::args_os().skip(1).peekable();
        words.peek().filter(|word| *word == "run")?;
        let command = Run::augment_args(clap::Command::new("run"));
        Run::from_arg_matches(&command.try_get_matches_from(words).ok()?).ok()
    }
}

#[derive(Debug, ClapArgs)]
#[command(after_long_help = RUN_HELP)]
pub(crate) struct Run {
    /// A policy file, or the name of a shipped policy: default, coding, data-analysis, locked.
    #[arg(long, value_name = "FILE|NAME", default_value = "default")]
    pub policy: OsString,
    /// A policy that no policy here goes beyond: what exceeds it is refused, by its first rule that does. One that root put
    /// at /etc/casemate/ceiling.toml holds as well.
    #[arg(long, value_name = "FILE|NAME")]
    pub ceiling: Option<OsString>,
    /// Show a host directory inside, read-only. May be given more than once.
    #[arg(long, value_name = "DIR:AT")]
    pub read: Vec<OsString>,
    /// Give the sandbox a private writable directory at AT and copy its files to DIR at the end. May be given more
    /// than once.
    #[arg(long, value_name = "DIR:AT")]
    pub write: Vec<OsString>,
    /// Let the sandbox change a copy of a host directory at AT; the directory stays as it is. May be given more than
    /// once.
    #[arg(long, value_name = "DIR:AT")]
    pub draft: Vec<OsString>,
    /// Keep what changed in draft zones, for `casemate diff`, `commit` and `discard`.
    #[arg(long)]
    pub keep: bool,
    /// Set a variable inside. Nothing of the caller's environment is passed on by itself.
    #[arg(long, value_name = "NAME=VALUE")]
    pub env: Vec<OsString>,
    /// Working directory inside.
    #[arg(long, value_name = "DIR", default_value = "/home/user")]
    pub cwd: OsString,
    /// Run as root inside, if the policy grants it. It is no root outside.
    #[arg(long)]
    pub root: bool,
    /// Report how it went as one line of JSON on standard error.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub state: State,
    /// The command and its arguments.
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

const RUN_HELP: &str = "\
The command sees the host's /usr, its own home, /tmp and zones, and a network with nothing but its own loopback.
Standard input, output, error and a terminal pass through.

Exit status: the command's own; 128+n if signal n ended it; 124 if its wall-clock limit did. Casemate's own failures:
  64 command line    65 policy        66 zone directory     69 wall missing     70 sandbox failed
  71 system          73 state dir     74 ledger             77 denied          126 not executable   127 not found";

#[derive(Debug, ClapArgs)]
pub(crate) struct Doctor {
    /// Answer as JSON.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub state: State,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Show the records: number, `+` if a signed checkpoint covers it or `?` if none does yet, time, sandbox, event.
    Show {
        /// Only those of one sandbox.
        #[arg(long, value_name = "ID")]
        sandbox: Option<String>,
        /// Each record as it was written: one line of JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        state: State,
    },
    /// Recompute everything from the bytes of the log, and name what does not fit.
    Verify {
        /// A checkpoint that was saved elsewhere: the log must still contain it.
        #[arg(long, value_name = "FILE")]
        against: Option<PathBuf>,
        /// Save the newest checkpoint of a log that is sound. Keep it where this machine cannot change it.
        #[arg(long, value_name = "FILE")]
        save: Option<PathBuf>,
        /// Answer as JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        state: State,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Setup {
    /// The user to set up [default: the one who called sudo].
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// On cgroup v2, a process of that user to move into the new subtree: what it starts can use it
    /// [default: the process that called sudo].
    #[arg(long, value_name = "PID")]
    pub pid: Option<i32>,
    /// Undo it.
    #[arg(long)]
    pub undo: bool,
    /// Answer as JSON.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub state: State,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Ps {
    /// Show the commands of this sandbox.
    #[arg(value_name = "ID")]
    pub id: Option<SandboxId>,
    /// Answer as JSON.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub state: State,
}

#[derive(Debug, ClapArgs)]
#[command(after_long_help = EXEC_HELP)]
pub(crate) struct Exec {
    /// As which user inside: user or root.
    #[arg(long, value_name = "NAME", default_value = "user")]
    pub user: String,
    /// Working directory inside [default: the user's home].
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<String>,
    /// Set a variable inside.
    #[arg(long, value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// Do not give it a terminal, even where ours is one.
    #[arg(long)]
    pub no_terminal: bool,
    /// Report how it went as one line of JSON on standard error.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub state: State,
    /// The sandbox.
    #[arg(value_name = "ID")]
    pub id: SandboxId,
    /// The command and its arguments.
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    pub command: Vec<String>,
}

const EXEC_HELP: &str = "\
Standard input, output and error pass through. If input and output are a terminal the command gets one of its own, of the
same size, and every key goes to it. Without a terminal the first SIGINT or SIGTERM sends SIGTERM to the command, the
second SIGKILL. If this program is killed, the command goes on.

Exit status: the command's own; 128+n if signal n ended it. Casemate's own failures:
  64 command line    68 no such sandbox    70 sandbox failed    71 system    73 state dir    75 no server
  77 denied          127 not started";

#[derive(Debug, ClapArgs)]
pub(crate) struct Kill {
    /// The sandboxes.
    #[arg(required = true, value_name = "ID")]
    pub ids: Vec<SandboxId>,
    /// Answer as JSON.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub state: State,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Stop {
    /// Every sandbox of the state directory.
    #[arg(long, required = true)]
    pub all: bool,
    /// Answer as JSON.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub state: State,
}
