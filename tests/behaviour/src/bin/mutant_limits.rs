//! `casemate` with one limit taken away, to show that the tests of the limits notice.
//!
//! `CASEMATE_MUTANT` names the limit: `pids`, `memory`, `data`, `disk`, `inodes`, `wall`; or `relay`, for a program
//! that keeps all output of the real one (`CASEMATE_BIN`) in memory before it passes it on.

use jail::Plan;
use rustix::process::Resource;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, Stdio};

fn main() -> ExitCode {
    if mutation() == "relay" {
        return hoard().unwrap_or(ExitCode::FAILURE);
    }
    cli::main(node::Hooks { plan: mutate })
}

fn mutation() -> String {
    std::env::var("CASEMATE_MUTANT").unwrap_or_default()
}

fn mutate(plan: &mut Plan) {
    const PLENTY: u64 = 16 << 30;
    match mutation().as_str() {
        "pids" => {
            plan.limits.pids = 100_000;
            plan.rlimits.retain(|(resource, _)| *resource != Resource::Nproc);
        }
        "memory" => plan.limits.memory_bytes = PLENTY,
        "data" => plan.rlimits.retain(|(resource, _)| *resource != Resource::Data),
        "disk" => plan.limits.disk_bytes = PLENTY,
        "inodes" => plan.limits.disk_inodes = 1 << 32,
        "wall" => plan.limits.wall_ms = None,
        _ => {}
    }
}

fn hoard() -> std::io::Result<ExitCode> {
    let real = std::env::var_os("CASEMATE_BIN").unwrap_or_else(|| "casemate".into());
    let child = behaviour::program(real).args(std::env::args_os().skip(1)).stdout(Stdio::piped()).spawn()?;
    let output = child.wait_with_output()?;
    std::io::stdout().write_all(&output.stdout)?;
    Ok(ExitCode::from(output.status.into_raw().to_be_bytes()[2]))
}
