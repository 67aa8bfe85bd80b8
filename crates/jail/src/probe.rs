//! Proves each wall by trying it, in a throw-away process that makes the same calls as the builder: a wall stands where
//! what it is to prevent was tried behind it and did not work.
//!
//! Every trial has its own process and its own five seconds, so one that fails or hangs says nothing of the others.
//! For this, and only for this, all other walls are left out: what is missing here is missing for this wall.

mod child;
mod files;
mod limits;
mod namespaces;
mod process;

pub use child::attempt;

use crate::cgroup::Home;
use crate::error::{Error, Result};
use crate::ids::{Ids, Profile};
use model::Wall;
use std::io;

/// One wall, and what became of trying it.
#[derive(Debug)]
pub struct Tried {
    /// The wall.
    pub wall: Wall,
    /// What was seen that proves it, or the call that failed.
    pub found: Result<String>,
}

/// Tries every wall, in the order of [`Wall::ALL`], with the rights of this process.
///
/// Only for a single-threaded process: it forks.
pub fn all(profile: Profile, home: Option<&Home>) -> Vec<Tried> {
    Wall::ALL.iter().map(|wall| Tried { wall: *wall, found: one(*wall, profile, home) }).collect()
}

fn one(wall: Wall, profile: Profile, home: Option<&Home>) -> Result<String> {
    match wall {
        Wall::UserNamespace => namespaces::user(),
        Wall::PidNamespace => namespaces::pid(),
        Wall::MountNamespace => namespaces::mount(),
        Wall::NetworkNamespace => namespaces::network(),
        Wall::IpcNamespace => namespaces::ipc(),
        Wall::UtsNamespace => namespaces::uts(),
        Wall::CgroupNamespace => namespaces::cgroup(),
        Wall::OwnRoot => files::own_root(),
        Wall::ReadOnlySystem => files::read_only_system(),
        Wall::PrivateProc => files::private_proc(),
        Wall::MinimalDev => files::minimal_dev(),
        Wall::DiskLimit => files::disk_limit(),
        Wall::NoNewPrivileges => process::no_new_privileges(),
        Wall::NoCapabilities => process::no_capabilities(),
        Wall::Seccomp => process::seccomp(),
        Wall::Landlock => process::landlock(),
        Wall::CpuLimit => limits::cpu(home),
        Wall::MemoryLimit => limits::memory(home),
        Wall::PidsLimit => limits::pids(home),
        Wall::Rlimits => process::rlimits(),
        Wall::NamespaceLimits => namespaces::limits(),
        Wall::OwnUid => namespaces::own_uid(profile),
        Wall::OwnSession => process::own_session(),
    }
}

/// The caller's own ids: what every caller has, so that a trial of another wall does not depend on a range.
fn own_ids() -> Ids {
    Ids::Own { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() }
}

/// A call that worked and should not have, or that said something else than it should.
fn not_so(wall: Wall, call: impl Into<String>, why: impl Into<String>) -> Error {
    Error { wall, call: call.into(), source: io::Error::other(why.into()) }
}

/// Sees to it that a call behind a wall fails, and for the wall's reason.
fn refused<T, E: Into<io::Error>>(
    wall: Wall,
    call: &str,
    result: std::result::Result<T, E>,
    reason: rustix::io::Errno,
) -> Result<()> {
    match result.map_err(Into::into) {
        Ok(_) => Err(not_so(wall, call, format!("it worked; expected: {}", io::Error::from(reason)))),
        Err(error) if error.raw_os_error() == Some(reason.raw_os_error()) => Ok(()),
        Err(source) => Err(Error { wall, call: call.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_should_fail_must_fail_for_the_right_reason() {
        use rustix::io::Errno;
        let ask =
            |result: std::result::Result<(), Errno>| refused(Wall::Seccomp, "call()", result, Errno::ROFS);
        assert!(ask(Err(Errno::ROFS)).is_ok());
        assert!(ask(Err(Errno::ACCESS)).is_err());
        assert!(ask(Ok(())).is_err());
    }
}
