//! Casemate with one wall weakened.

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main(node::Hooks { plan: containment::mutants::mutate })
}
