//! Loads `casemate serve`; `cargo xtask` starts it.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use load::{bench, faults, soak};

#[derive(Parser)]
#[command(name = "casemate-load", about = "Measures, wears out and breaks `casemate serve`")]
struct Words {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// How long create, exec and files take through the API, beside the kernel's own floor
    Api(bench::api::Words),
    /// What an idle sandbox costs in memory
    Density(bench::density::Words),
    /// What a policy adds to a command
    Policy(bench::policy::Words),
    /// How long `stop --all` takes, with the server alive, stopped and dead
    Stop(bench::stop::Words),
    /// Mixed work by many clients for a long time: no error, flat memory, nothing left
    Soak(soak::run::Words),
    /// SIGKILL to parts of the server at random points under load
    Faults(faults::command::Words),
}

fn main() -> ExitCode {
    let done = match Words::parse().command {
        Task::Api(words) => bench::api::run(&words),
        Task::Density(words) => bench::density::run(&words),
        Task::Policy(words) => bench::policy::run(&words),
        Task::Stop(words) => bench::stop::run(&words),
        Task::Soak(words) => soak::run::run(&words),
        Task::Faults(words) => faults::command::run(&words),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
