//! What the tests of the command line share.

use std::path::Path;
use std::process::{Command, Output};

/// `casemate` with these words, without the caller's environment.
pub(crate) fn casemate(program: &Path, words: &[&str]) -> Command {
    #[allow(clippy::disallowed_methods, reason = "these tests start the program that they test")]
    let mut command = Command::new(program);
    command.args(words).env_clear();
    command
}

/// Runs the built program; gives its status, standard output and standard error.
pub(crate) fn run(words: &[&str]) -> (i32, String, String) {
    told(casemate(Path::new(env!("CARGO_BIN_EXE_casemate")), words).output().expect("the program starts"))
}

/// The same for an output.
pub(crate) fn told(output: Output) -> (i32, String, String) {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("answers are text");
    (output.status.code().expect("no signal ends it"), text(output.stdout), text(output.stderr))
}
