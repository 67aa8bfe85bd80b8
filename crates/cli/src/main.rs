//! `casemate`: the safe house for AI agents.
//!
//! Users start a small program, because what a start touches is what it costs: it runs a command whose policy is compiled.
//! For all else it executes the whole one, which travels inside it.
//!
//! ```text
//! casemate ── cli::at_once ── done, or ── memory file ── execve ──> casemate (feature `whole`) ── cli::main
//! ```

use std::process::ExitCode;

#[cfg(not(apart))]
fn main() -> ExitCode {
    // It may have been executed from a memory file, whose name it would have.
    let _ = rustix::thread::set_name(c"casemate");
    cli::main(node::Hooks::none())
}

#[cfg(apart)]
fn main() -> ExitCode {
    cli::at_once(node::Hooks::none()).unwrap_or_else(|| {
        let error = cli::execute(include_bytes!(env!("CASEMATE_WHOLE")));
        eprintln!("casemate: could not execute the rest of this program from a memory file: {error}");
        eprintln!("  help: where `sysctl vm.memfd_noexec` is 2, set it to 1");
        cli::Exit::System.into()
    })
}
