//! `cargo xtask`: what people and CI run. One file per command.

mod apt;
mod audit;
mod bench;
mod cpio;
mod demo;
mod draft;
mod e2b;
mod expected;
mod faults;
mod guest;
mod layers;
mod leftovers;
mod load;
mod place;
mod policy;
mod program;
mod qemu;
mod rivals;
mod sdks;
mod serve;
mod solver;
mod tally;
mod test;
mod uml;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::guest::Shown;
use crate::load::Load;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Builds, tests and measures Casemate")]
struct Words {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Check the crates against the layer table in docs/ARCHITECTURE.md
    Layers,
    /// Set up what the tests need and run them
    Test(test::Test),
    /// Run the official E2B SDKs against `casemate serve`
    E2b(e2b::E2b),
    /// Run the main job: three real jobs behind walls and an agent's day over the API, on the record
    Demo,
    /// Break something on purpose
    #[command(subcommand)]
    Faults(Faults),
    /// Measure
    #[command(subcommand)]
    Bench(Bench),
    /// Wear something out
    #[command(subcommand)]
    Soak(Soak),
    /// Run a command under user-mode Linux: kernel 6.1, cgroup v2, no Landlock
    Uml(Guest),
    /// Run a command under Debian's stock kernel in QEMU: cgroup v2, Landlock
    Qemu(Guest),
}

#[derive(Subcommand)]
enum Bench {
    /// How long `casemate run -- /bin/true` takes, beside bwrap, runc, a floor and a bare start
    Start(bench::Start),
    /// How long create, exec and files take through the API, beside the kernel's own floor
    Api(load::Words),
    /// What a draft zone costs a start, and a commit of 10,000 files beside `cp`
    Draft(draft::Draft),
    /// What an idle sandbox costs in memory
    Density(load::Words),
    /// What a policy of 200 rules costs: loaded, asked, compared, on a command's way, and in a commit of 10,000 files
    Policy(policy::Policy),
    /// How long `casemate stop --all` takes, with the server alive, stopped and dead
    Stop(load::Words),
}

#[derive(Subcommand)]
enum Soak {
    /// Mixed work by many clients for a long time: no error, flat memory, nothing left
    Server(load::Words),
}

#[derive(Subcommand)]
enum Faults {
    /// SIGKILL to `casemate run` at random points: nothing stays, no record is lost
    Kill(faults::Kill),
    /// SIGKILL to parts of the server at random points under load: what ought to live lives, no record is lost
    Server(load::Words),
}

#[derive(Args)]
struct Guest {
    /// End the machine after so many seconds
    #[arg(long, default_value_t = 600)]
    timeout_s: u64,
    /// Set in the command's environment: NAME=VALUE
    #[arg(long, value_parser = pair)]
    env: Vec<(String, String)>,
    /// The command and its arguments
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

impl Guest {
    fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_s)
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn main() -> ExitCode {
    match run(Words::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<ExitCode> {
    match task {
        Task::Layers => layers::check()?,
        Task::Test(words) => test::run(&words)?,
        Task::E2b(words) => e2b::run(&words)?,
        Task::Demo => demo::run()?,
        Task::Faults(Faults::Kill(words)) => faults::command(&words)?,
        Task::Faults(Faults::Server(words)) => load::command(Load::Faults, &words)?,
        Task::Bench(Bench::Start(words)) => bench::start(&words)?,
        Task::Bench(Bench::Api(words)) => load::command(Load::Api, &words)?,
        Task::Bench(Bench::Draft(words)) => draft::bench(&words)?,
        Task::Bench(Bench::Density(words)) => load::command(Load::Density, &words)?,
        Task::Bench(Bench::Policy(words)) => policy::bench(&words)?,
        Task::Bench(Bench::Stop(words)) => load::command(Load::Stop, &words)?,
        Task::Soak(Soak::Server(words)) => load::command(Load::Soak, &words)?,
        Task::Uml(guest) => {
            return Ok(uml::run(&guest.command, &guest.env, guest.timeout(), Shown::AsItComes)?.code());
        }
        Task::Qemu(guest) => {
            return Ok(qemu::run(&guest.command, &guest.env, guest.timeout(), Shown::AsItComes)?.code());
        }
    }
    Ok(ExitCode::SUCCESS)
}
