//! The command line: parses words, prints answers, decides nothing.

mod args;
mod audit;
mod doctor;
mod exit;
mod output;
mod policy;
mod run;
mod setup;

use clap::Parser;
pub use exit::Exit;
use std::process::ExitCode;

/// Runs the program. `hooks` is nothing in the real one; a test build weakens walls with it.
pub fn main(hooks: node::Hooks) -> ExitCode {
    let args = match args::Args::try_parse() {
        Ok(args) => args,
        Err(error) => return output::usage(&error),
    };
    let exit = match args.command {
        args::Command::Run(run) => return run::run(run, hooks),
        args::Command::Doctor(doctor) => doctor::doctor(&doctor),
        args::Command::Audit { command } => audit::audit(&command),
        args::Command::Policy { command } => policy::policy(&command),
        args::Command::Setup(setup) => setup::setup(&setup),
    };
    exit.into()
}
