//! The command line: parses words, prints answers, decides nothing.

mod args;
mod audit;
mod doctor;
mod draft;
mod execute;
mod exit;
mod key;
mod layers;
mod output;
mod policy;
mod remote;
mod run;
mod serve;
mod setup;

use clap::Parser;
pub use execute::execute;
pub use exit::Exit;
use std::process::ExitCode;

/// Runs the program if it is asked for no more than a command in a sandbox whose policy is compiled and allows it without
/// looking at its words. None, with nothing done: [`main`] has to. What is reached from here makes up the small program
/// that users start; see `build.rs`.
pub fn at_once(hooks: node::Hooks) -> Option<ExitCode> {
    run::run_at_once(args::Run::alone()?, hooks)
}

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
        args::Command::Diff(diff) => draft::diff(&diff),
        args::Command::Commit(commit) => draft::commit(commit),
        args::Command::Discard(discard) => draft::discard(&discard),
        args::Command::Serve(serve) => serve::serve(serve),
        args::Command::Ps(ps) => remote::ps(&ps),
        args::Command::Exec(exec) => return remote::exec(exec),
        args::Command::Kill(kill) => remote::kill(&kill),
        args::Command::Stop(stop) => remote::stop(&stop),
        args::Command::Key { command } => key::key(&command),
        args::Command::Setup(setup) => setup::setup(&setup),
    };
    exit.into()
}
