//! The words that `casemate` understands.

use clap::{Args as ClapArgs, Parser, Subcommand};
use model::SandboxId;
use std::ffi::OsString;
use std::net::SocketAddr;
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

#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Load a policy, run its examples, and say what each of its rules turns into.
    #[command(after_long_help = CHECK_HELP)]
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
    /// Say whether a policy allows an act, by which rule, and what would change the answer.
    #[command(after_long_help = EXPLAIN_HELP)]
    Explain {
        /// A policy file, or the name of a shipped policy.
        #[arg(value_name = "FILE|NAME")]
        policy: OsString,
        /// The act, as one word: 'GET https://api.example.com/v1/items'. Without it, what each rule turns into.
        #[arg(value_name = "ACT")]
        act: Option<String>,
        /// Answer as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print the JSON Schema of the language.
    Schema,
    /// Say what became possible from one policy to another, each with an act that shows it.
    #[command(after_help = PROVE_HELP)]
    Diff {
        /// The policy before: a file, or the name of a shipped policy.
        #[arg(value_name = "OLD")]
        old: OsString,
        /// The policy after.
        #[arg(value_name = "NEW")]
        new: OsString,
        /// Print one JSON object instead of text.
        #[arg(long)]
        json: bool,
    },
    /// Answer a question about a policy for all acts at once: reach, private, secrets, trusted, dead.
    #[command(after_help = PROVE_HELP)]
    Prove {
        /// A policy file, or the name of a shipped policy.
        #[arg(value_name = "POLICY")]
        policy: OsString,
        /// reach: which hosts, methods and paths can it reach? private: can it reach a private or metadata address?
        /// secrets: can a request fall under rules with different secrets? trusted: can it write what somebody with
        /// more rights later runs or reads as settings? dead: are there rules that make no difference?
        question: String,
        /// Print one JSON object instead of text.
        #[arg(long)]
        json: bool,
    },
    /// Make a policy of another program's settings, never wider than they are, and say what could not be carried.
    Import {
        /// Whose settings they are.
        #[arg(long, value_name = "PROGRAM")]
        from: From,
        /// The settings.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Answer as JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Programs whose settings can be imported.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum From {
    ClaudeCode,
}

const CHECK_HELP: &str = "\
Exit status: 0 sound, and this version can use it; 1 sound, and this version would refuse to use it for the rules that it
names; 65 not sound.";

const PROVE_HELP: &str = "\
It takes the solver cvc5, which `casemate doctor` looks for. Each act that is shown was decided by the engine, too.

Exit status: 0 proved, or nothing opened; 1 something opened, or found; 65 a policy is not sound;
  67 not known: no solver, or it gave up.";

const EXPLAIN_HELP: &str = "\
An act is one of: exec PROGRAM ARG..., read /PATH, write /PATH, METHOD URL, tool NAME ARG..., use LIMIT AMOUNT, use root.

Exit status: 0 allowed; 77 denied; 64 not an act; 65 the policy is not sound.";

#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Make a key and print it. It is shown this once, and kept as a hash.
    Create {
        /// What to call it: 1 to 64 characters.
        #[arg(long, value_name = "NAME", default_value = "unnamed")]
        name: String,
        /// What it may do: creator (make, use and end its own sandboxes), approver (approve and widen), operator (see all
        /// sandboxes, end any), auditor (read lists and the record) [default: creator]. May be given more than once, but
        /// a creator is neither approver nor operator.
        #[arg(long = "role", value_name = "ROLE")]
        roles: Vec<model::Role>,
        #[command(flatten)]
        quota: Quota,
        /// Answer as JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        state: State,
    },
    /// List the keys: id, when it was made, whether it opens anything, name. Never what opens.
    List {
        /// Answer as JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        state: State,
    },
    /// Revoke a key: it opens nothing from now on, also in a server that runs.
    Revoke {
        /// Which one, as `casemate key list` names it.
        #[arg(value_name = "ID")]
        id: String,
        /// Answer as JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        state: State,
    },
}

/// What a key may have at one time.
#[derive(Debug, ClapArgs)]
pub(crate) struct Quota {
    /// The most sandboxes that it has at one time.
    #[arg(long, value_name = "N")]
    pub sandboxes: Option<u32>,
    /// The most processors that the policies of its sandboxes give them together, such as 2.5.
    #[arg(long, value_name = "X", value_parser = thousandths)]
    pub cpus: Option<u32>,
    /// The most memory that they give them together, such as 8GiB.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub memory: Option<u64>,
    /// The most sandboxes that it makes in a second, such as 0.5; so many, or one, at once.
    #[arg(long, value_name = "X", value_parser = thousandths)]
    pub creates_per_second: Option<u32>,
}

impl Quota {
    pub(crate) fn as_model(&self) -> model::Quota {
        model::Quota {
            sandboxes: self.sandboxes,
            cpu_milli: self.cpus.map(u64::from),
            memory_bytes: self.memory,
            creates_per_second_milli: self.creates_per_second,
        }
    }
}

/// A number with up to three digits behind the point, in thousandths.
fn thousandths(text: &str) -> Result<u32, String> {
    let refuse = || format!("`{}`: expected a number such as 2 or 0.5, at least 0.001", model::quote(text));
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 3 {
        return Err(refuse());
    }
    let part: u32 = format!("{part:0<3}").parse().map_err(|_| refuse())?;
    let whole = whole.parse::<u32>().ok().and_then(|whole| whole.checked_mul(1000));
    whole.and_then(|whole| whole.checked_add(part)).filter(|milli| *milli > 0).ok_or_else(refuse)
}

fn size(text: &str) -> Result<u64, String> {
    model::parse_size_bytes(text).map_err(|error| error.to_string())
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
#[command(after_long_help = SERVE_HELP)]
pub(crate) struct Serve {
    /// Where to listen. Anything but this machine's loopback needs --tls-cert and --tls-key, or --insecure-listen.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:3000")]
    pub listen: SocketAddr,
    /// The policy of the template `base`, which every request has that names no other: a file, or the name of a
    /// shipped policy.
    #[arg(long, value_name = "FILE|NAME", default_value = "default")]
    pub policy: OsString,
    /// A policy that no policy here goes beyond: what exceeds it is refused, by its first rule that does. One that root put
    /// at /etc/casemate/ceiling.toml holds as well.
    #[arg(long, value_name = "FILE|NAME")]
    pub ceiling: Option<OsString>,
    /// A template by its name, and its policy. May be given more than once.
    #[arg(long = "template", value_name = "NAME=FILE")]
    pub templates: Vec<OsString>,
    /// The most sandboxes at one time.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub sandboxes_max: u16,
    /// The domain that clients are told: hosts `PORT-ID.DOMAIN` name sandboxes. Needs a wildcard name that leads here.
    #[arg(long, value_name = "DOMAIN")]
    pub domain: Option<String>,
    /// A certificate chain, as PEM: speak TLS.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's key, as PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Listen beyond the loopback without TLS: keys and tokens can be read on the way.
    #[arg(long)]
    pub insecure_listen: bool,
    /// What to write to standard error.
    #[arg(long, value_name = "LEVEL", default_value = "warn")]
    pub log: Log,
    /// Say where it listens, and the key if one was made, as one line of JSON.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub state: State,
}

/// How much is written to standard error.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum Log {
    Off,
    Error,
    Warn,
    Info,
    Debug,
}

const SERVE_HELP: &str = "\
The first serve of a state directory makes a key and shows it, once; `casemate key` makes more. SIGTERM or Ctrl-C ends
the server, and its sandboxes live on: the next serve of the same state directory finds them. `casemate stop --all` ends
them. One state directory has one server.

Exit status: 0 when it was told to end. Casemate's own failures:
  64 command line    65 policy    69 wall missing    70 server failed    71 system (address, descriptors)
  73 state dir       74 ledger";

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
pub(crate) struct Diff {
    /// The sandbox that made the draft.
    #[arg(value_name = "ID")]
    pub id: Option<SandboxId>,
    /// Names and kinds of changes alone, no text.
    #[arg(long)]
    pub stat: bool,
    /// Answer as JSON.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub state: State,
}

#[derive(Debug, ClapArgs)]
#[command(after_long_help = COMMIT_HELP)]
pub(crate) struct Commit {
    /// The sandbox that made the draft.
    #[arg(value_name = "ID")]
    pub id: SandboxId,
    /// Only these and what is below: paths inside, such as /work/src, or relative to the only zone [default: all].
    #[arg(value_name = "PATH")]
    pub paths: Vec<OsString>,
    /// Answer as JSON.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub state: State,
}

const COMMIT_HELP: &str = "\
Nothing is applied unless the zone's commit rules permit every selected change, and the host directory is, at each of
them, as it was when the zone opened. A commit that was cut short is completed by the next one.

Exit status: 0 applied; 1 a conflict, nothing was applied; 77 refused by the rules, nothing was applied. Casemate's own
failures:
  64 command line    66 host directory    68 no such draft    71 system    73 state dir    74 ledger";

#[derive(Debug, ClapArgs)]
pub(crate) struct Discard {
    /// The sandbox that made the draft.
    #[arg(value_name = "ID")]
    pub id: SandboxId,
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
