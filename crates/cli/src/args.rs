//! The words that `casemate` understands.

use clap::{Args as ClapArgs, Parser, Subcommand};
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
    /// Check a policy.
    Policy {
        #[command(subcommand)]
        command: Policy,
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

#[derive(Debug, ClapArgs)]
#[command(after_long_help = RUN_HELP)]
pub(crate) struct Run {
    /// A policy file, or the name of a shipped policy: default, locked.
    #[arg(long, value_name = "FILE|NAME", default_value = "default")]
    pub policy: OsString,
    /// Show a host directory inside, read-only. May be given more than once.
    #[arg(long, value_name = "DIR:AT")]
    pub read: Vec<OsString>,
    /// Give the sandbox a private writable directory at AT and copy its files to DIR at the end. May be given more
    /// than once.
    #[arg(long, value_name = "DIR:AT")]
    pub write: Vec<OsString>,
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

#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Load a policy and say what each of its rules turns into.
    Check {
        /// A policy file, or the name of a shipped policy.
        #[arg(value_name = "FILE|NAME")]
        policy: OsString,
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
