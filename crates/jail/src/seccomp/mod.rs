//! The system calls that a sandbox may make: a table that a person can read, and the program made from it.

mod compile;
mod table;

pub use compile::compile;
pub use table::{Action, Check, Rule, Test, X86_64};

use crate::sys::seccomp::Notification;

/// A refused call in words: the rule that refused it, and what was asked, by numbers only (a pointer's target can
/// change under the reader).
pub fn describe(rules: &[Rule], call: &Notification) -> (String, String) {
    let name = rules
        .iter()
        .find(|rule| i64::from(rule.number) == i64::from(call.number))
        .map_or_else(|| format!("syscall_{}", call.number), |rule| rule.name.to_owned());
    let shown = match name.as_str() {
        "socket" | "socketpair" => 3,
        "clone" | "unshare" | "prctl" | "personality" => 1,
        "setns" | "ioctl" | "ptrace" | "bpf" | "keyctl" => 2,
        _ => 0,
    };
    let arguments: Vec<String> = call.arguments[..shown].iter().map(|value| format!("{value:#x}")).collect();
    (
        format!("seccomp.{name}"),
        format!("{name}({})", if shown == 0 { "…".to_owned() } else { arguments.join(", ") }),
    )
}
