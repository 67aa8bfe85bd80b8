//! `casemate`: the safe house for AI agents.

fn main() -> std::process::ExitCode {
    cli::main(node::Hooks::none())
}
