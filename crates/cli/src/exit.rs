//! The statuses with which `casemate` itself ends. A command's own status passes through `run` unchanged, so a number
//! alone cannot say whose it is; `run --json` does.

use std::process::ExitCode;

/// What a status of `casemate` means. Numbers from 64 on follow `sysexits.h`, 124 `timeout(1)`, 126 and 127 the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// What was checked is not as it should be: a log that does not verify, a machine that lacks a wall.
    NotSound = 1,
    /// The command line is wrong.
    Usage = 64,
    /// The policy is wrong.
    Policy = 65,
    /// A zone's host directory cannot be used.
    Zone = 66,
    /// It could be neither proved nor refuted.
    NotKnown = 67,
    /// There is no such sandbox.
    NoSandbox = 68,
    /// A wall that the policy requires cannot stand here, or did not come to stand.
    Wall = 69,
    /// The sandbox failed in a way that is nobody's command line.
    Failed = 70,
    /// The caller's descriptors or the system refuse something that `casemate` itself needs.
    System = 71,
    /// The state directory cannot be used.
    State = 73,
    /// The ledger cannot be read or written.
    Ledger = 74,
    /// No server runs for the state directory, or it does not answer.
    NoServer = 75,
    /// The policy denies it, or the right for it is missing.
    Denied = 77,
    /// The command is there and cannot be executed.
    NotExecutable = 126,
    /// There is no such command.
    NotFound = 127,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

impl Exit {
    /// The status of a process that forwards another's, which is one of these.
    pub(crate) fn with(status: u8) -> Exit {
        const ALL: [Exit; 7] =
            [Exit::Ok, Exit::Usage, Exit::Policy, Exit::Wall, Exit::System, Exit::State, Exit::Ledger];
        ALL.into_iter().find(|exit| *exit as u8 == status).unwrap_or(Exit::Failed)
    }

    /// The status for an error of a run.
    pub(crate) fn of(error: &node::Error) -> Exit {
        match error {
            node::Error::State(_) => Exit::State,
            node::Error::Kernel { .. }
            | node::Error::Missing { .. }
            | node::Error::LandlockTooOld { .. }
            | node::Error::Wall(_) => Exit::Wall,
            node::Error::Denied(_) => Exit::Denied,
            node::Error::Zone { .. } | node::Error::Nested { .. } | node::Error::Draft { .. } => Exit::Zone,
            node::Error::Ledger(_) => Exit::Ledger,
            node::Error::NoDirectory { .. } => Exit::Usage,
            node::Error::NotStarted { source, .. } => match source.kind() {
                std::io::ErrorKind::NotFound => Exit::NotFound,
                _ => Exit::NotExecutable,
            },
            node::Error::Failed { .. } => Exit::Failed,
            node::Error::Caller { .. } => Exit::System,
        }
    }
}
