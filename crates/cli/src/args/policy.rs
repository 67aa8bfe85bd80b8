//! `casemate policy`.

use super::State;
use clap::Subcommand;
use std::ffi::OsString;
use std::path::PathBuf;

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
    /// Answer a question about a policy for all acts at once: reach, private, secrets, trusted, dead, joint.
    #[command(after_help = PROVE_HELP)]
    Prove {
        /// A policy file, or the name of a shipped policy.
        #[arg(value_name = "POLICY")]
        policy: OsString,
        /// reach: which hosts, methods and paths can it reach? private: can it reach a private or metadata address?
        /// secrets: can a request fall under rules with different secrets? trusted: can it write what somebody with
        /// more rights later runs or reads as settings? dead: are there rules that make no difference? joint: what does
        /// it reach by what it shares with the policy OTHER?
        question: String,
        /// For `joint`: the policy of the agent beside it.
        #[arg(value_name = "OTHER")]
        other: Option<OsString>,
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
