//! The same namespaces, mounts, seccomp filter and Landlock domain as `casemate run`, and nothing else: no cgroup, no
//! warden, no agent, no policy, no record. What a start costs beyond this is what Casemate adds.
//!
//! `floor PROGRAM`, and its exit status.

use jail::ids::{Ids, Profile};
use model::SandboxId;
use rustix::fd::OwnedFd;
use rustix::fs::MemfdFlags;
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let program = std::env::args_os().nth(1).unwrap_or_else(|| "/bin/true".into());
    // From a memory file, as the agent is: the Landlock domain lets nobody execute a file of the host by its descriptor.
    let copied = std::fs::read(&program).and_then(|bytes| {
        let file = std::fs::File::from(rustix::fs::memfd_create("floor", MemfdFlags::CLOEXEC)?);
        (&file).write_all(&bytes)?;
        Ok(OwnedFd::from(file))
    });
    let program = match copied {
        Ok(program) => program,
        Err(error) => return fail(&format!("read({program:?}): {error}")),
    };
    let id = SandboxId::from_random(*b"floor floor floor fl");
    let ids = match Ids::take(Profile::current(), std::process::id()) {
        Ok(ids) => ids,
        Err(error) => return fail(&format!("{error}: {}", error.source)),
    };
    let limits = policy_defaults();
    let plan = jail::Plan::host_template(id, limits, ids, None, jail::landlock::abi());
    match jail::bare(&plan, program) {
        Ok(status) => ExitCode::from(status),
        Err(error) => fail(&format!("{error}: {}", error.source)),
    }
}

/// As the shipped policy `default` has them.
fn policy_defaults() -> model::Limits {
    model::Limits {
        cpu_milli: 2000,
        memory_bytes: 2 << 30,
        pids: 256,
        disk_bytes: 1 << 30,
        disk_inodes: 262_144,
        open_files: 1024,
        wall_ms: None,
    }
}

fn fail(what: &str) -> ExitCode {
    eprintln!("floor: {what}");
    ExitCode::FAILURE
}
