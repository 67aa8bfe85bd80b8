//! `casemate diff`, `commit` and `discard`.

use super::State;
use clap::Args as ClapArgs;
use model::SandboxId;
use std::ffi::OsString;

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
