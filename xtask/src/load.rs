//! Starts `casemate-load`, which measures, wears out and breaks the server. Its dependencies are not xtask's.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use clap::Args;

use crate::program::{check, program};
use crate::{bench, place};

/// What it can do, as its own command line calls it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Load {
    Api,
    Density,
    Policy,
    Stop,
    Soak,
    Faults,
}

/// The words go to it as they are: `--help` lists them.
#[derive(Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Words {
    /// Its options
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

/// Builds what is needed and runs it, with its figures under `target/bench`.
pub(crate) fn command(what: Load, words: &Words) -> Result<()> {
    let mut load = prepared(what, &place::casemate()?)?;
    check(load.args(&words.words))
}

/// `faults server`, with a binary that is there.
pub(crate) fn faults(casemate: &Path, times: u32) -> Result<()> {
    check(prepared(Load::Faults, casemate)?.args(["--times", &times.to_string()]))
}

pub(crate) fn prepared(what: Load, casemate: &Path) -> Result<Command> {
    let mut command = program(built()?);
    command.env("CASEMATE_BIN", casemate);
    command.arg(match what {
        Load::Api => "api",
        Load::Density => "density",
        Load::Policy => "policy",
        Load::Stop => "stop",
        Load::Soak => "soak",
        Load::Faults => "faults",
    });
    command.arg("--directory").arg(place::target()?.join("bench"));
    if matches!(what, Load::Api) {
        command.arg("--floor").arg(bench::floor()?);
    }
    Ok(command)
}

fn built() -> Result<PathBuf> {
    check(place::cargo().args(["build", "--release", "--package", "load"]))?;
    Ok(place::target()?.join("release/casemate-load"))
}
