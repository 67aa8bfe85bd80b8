//! Why a sandbox did not run. Every variant is somebody's to mend, and says whose.

use model::{Wall, Walls};
use std::io;
use std::path::PathBuf;

/// What kept a command from running in a sandbox, or its results from coming back.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state directory cannot be used.
    #[error(transparent)]
    State(#[from] crate::StateError),
    /// The kernel is older than what the walls need.
    #[error("this kernel is {found}; Casemate needs Linux {} or newer", crate::KERNEL_MIN)]
    Kernel {
        /// Its release.
        found: String,
    },
    /// Walls that the policy requires and this machine or profile cannot put up.
    #[error("the policy `{policy}` requires walls that cannot stand here ({profile} profile): {missing}")]
    Missing {
        /// Which policy.
        policy: String,
        /// In which profile.
        profile: &'static str,
        /// The walls.
        missing: Walls,
    },
    /// Landlock is there and too old.
    #[error("the policy `{policy}` requires Landlock ABI {wanted}; this kernel has {found}")]
    LandlockTooOld {
        /// Which policy.
        policy: String,
        /// At least.
        wanted: u32,
        /// What there is.
        found: u32,
    },
    /// A wall was tried and did not come to stand.
    #[error("could not build the sandbox")]
    Wall(#[from] jail::Error),
    /// The policy says no.
    #[error(transparent)]
    Denied(#[from] policy::Denied),
    /// A zone's host directory cannot be used.
    #[error("zone `{at}`: {problem}: `{path}`")]
    Zone {
        /// Where it would be inside.
        at: String,
        /// The host directory.
        path: PathBuf,
        /// What is wrong.
        problem: &'static str,
        /// What the kernel said, if it was asked.
        #[source]
        source: Option<io::Error>,
    },
    /// The original of a draft zone cannot be written down.
    #[error("draft zone `{at}`")]
    Draft {
        /// Where it would be inside.
        at: String,
        /// Why.
        #[source]
        source: crate::draft::Error,
    },
    /// Another file system is mounted beneath a read zone's host directory. The zone would not show it.
    #[error("zone `{at}`: another file system is mounted beneath the directory: `{mount}`", mount = mount.display())]
    Nested {
        /// Where it would be inside.
        at: String,
        /// Where that one is mounted.
        mount: PathBuf,
    },
    /// The record cannot be written or continued; without it nothing happens.
    #[error("the ledger cannot be continued")]
    Ledger(#[from] ledger::Error),
    /// The command could not be started inside.
    #[error("`{program}` could not be started in the sandbox")]
    NotStarted {
        /// What was to be run.
        program: String,
        /// What the agent was doing.
        stage: agent::Stage,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The command's working directory cannot be entered inside.
    #[error("the working directory `{cwd}` cannot be entered in the sandbox")]
    NoDirectory {
        /// Which one.
        cwd: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The sandbox ended before its command did, or said something that makes no sense.
    #[error("the sandbox failed: {what}")]
    Failed {
        /// What was seen.
        what: String,
    },
    /// The caller's own descriptors, terminal or signals.
    #[error("{call}")]
    Caller {
        /// The call that failed.
        call: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// What the reader can do about it.
    pub fn mend(&self) -> Option<String> {
        Some(match self {
            Error::State(error) => error.mend(),
            Error::Kernel { .. } => "boot a newer kernel".to_owned(),
            Error::Missing { missing, .. } => missing_mend(*missing),
            Error::LandlockTooOld { .. } => {
                "boot a newer kernel, or lower `landlock` in [walls] if the policy can do with less".to_owned()
            }
            Error::Wall(error) => wall_mend(error)?,
            Error::Denied(denied) => denied.how_to_ask.clone(),
            Error::Draft { source, .. } => source.mend()?.to_owned(),
            Error::Nested { .. } => {
                "unmount it, or show directories that have none beneath them, each as a zone of its own".to_owned()
            }
            Error::Ledger(ledger::Error::Io { .. }) => {
                "make room or give write access where the error says, or choose another place with --state".to_owned()
            }
            Error::Ledger(_) => {
                "see `casemate audit verify`; keep the log as evidence, and begin another one elsewhere with --state".to_owned()
            }
            Error::NotStarted { stage: agent::Stage::Program, source, .. } => match source.kind() {
                io::ErrorKind::NotFound => {
                    "the sandbox shows the host's /usr and its own zones only: name a program that is there, or bring it in with --read".to_owned()
                }
                io::ErrorKind::PermissionDenied => "make the file executable for others, or run it through its interpreter".to_owned(),
                _ => return None,
            },
            Error::NoDirectory { .. } => "choose a directory of the sandbox with --cwd".to_owned(),
            _ => return None,
        })
    }
}

fn missing_mend(missing: Walls) -> String {
    let by_setup = [Wall::CpuLimit, Wall::MemoryLimit, Wall::PidsLimit, Wall::OwnUid];
    if missing.iter().all(|wall| by_setup.contains(&wall)) {
        "run `casemate setup` once as root for this user, or run as root, or choose a policy that does not require them".to_owned()
    } else {
        "see `casemate doctor`; or choose a policy that does not require them".to_owned()
    }
}

fn wall_mend(error: &jail::Error) -> Option<String> {
    let errno = error.source.raw_os_error();
    Some(match (error.wall, errno) {
        (Wall::UserNamespace, Some(1 | 13 | 28)) => {
            "this machine forbids user namespaces: see `sysctl user.max_user_namespaces kernel.unprivileged_userns_clone kernel.apparmor_restrict_unprivileged_userns`, or run as root".to_owned()
        }
        (Wall::UserNamespace, Some(2)) => "mount /proc: without it the maps of a user namespace cannot be written".to_owned(),
        (Wall::PrivateProc, Some(1)) => {
            "something covers parts of this machine's /proc (a container?); the kernel then allows no /proc of one's own: run Casemate outside it".to_owned()
        }
        (Wall::OwnUid, _) => "see `casemate doctor`: it tries the range of ids and says what is missing".to_owned(),
        _ => "see `casemate doctor`".to_owned(),
    })
}
