//! A document that was read and accepted.

use crate::Forbid;
use crate::decide::Decided;
use crate::zones::{FileRule, ZoneError, first_conflict};
use model::{Lease, Limits, Wall, Walls};

/// The walls that stand around every sandbox, whatever its policy says.
///
/// `landlock` joins them unless the policy says `landlock = 0`. The others depend on what the machine grants
/// (a cgroup, a range of user ids), so a policy names them under `require` if it cannot do without.
pub const ALWAYS: &[Wall] = &[
    Wall::UserNamespace,
    Wall::PidNamespace,
    Wall::MountNamespace,
    Wall::NetworkNamespace,
    Wall::IpcNamespace,
    Wall::UtsNamespace,
    Wall::OwnRoot,
    Wall::ReadOnlySystem,
    Wall::PrivateProc,
    Wall::MinimalDev,
    Wall::DiskLimit,
    Wall::NoNewPrivileges,
    Wall::NoCapabilities,
    Wall::Seccomp,
    Wall::Rlimits,
    Wall::NamespaceLimits,
    Wall::OwnSession,
];

/// What a sandbox may do: a document in which every rule was understood and can be enforced.
///
/// It comes from [`Policy::parse`], or from [`Policy::from_cache`] for a document that was parsed before.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    pub(crate) name: String,
    pub(crate) about: Option<String>,
    pub(crate) hash: String,
    pub(crate) root: bool,
    /// Beyond [`ALWAYS`] and `landlock`.
    pub(crate) require: Walls,
    pub(crate) landlock_min: u32,
    pub(crate) limits: Limits,
    pub(crate) lease: Lease,
    pub(crate) files: Vec<FileRule>,
    /// What the `cedar` blocks of the document, and of those around it, forbid.
    pub(crate) forbids: Vec<Forbid>,
    pub(crate) decided: Decided,
}

impl Policy {
    /// The name that the document gives itself.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// One line on what it is for.
    pub fn about(&self) -> Option<&str> {
        self.about.as_deref()
    }

    /// SHA-256 of the document's bytes, as `sha256:` and 64 hexadecimal digits. Zones that
    /// [`Policy::with_zones`] added are not part of it.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The ceilings; what the document leaves out has its value from [`crate::DEFAULT_LIMITS`].
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// What happens to the sandbox when it is without a server; what the document leaves out has its default.
    pub fn lease(&self) -> Lease {
        self.lease
    }

    /// The zones: those of the document in its order, then those added.
    pub fn files(&self) -> &[FileRule] {
        &self.files
    }

    /// The walls without which the sandbox must not start.
    pub fn walls(&self) -> Walls {
        walls(self.require, self.landlock_min)
    }

    /// The least Landlock ABI that will do; 0 permits its absence.
    pub fn landlock_min(&self) -> u32 {
        self.landlock_min
    }

    /// Whether commands may run as root inside.
    pub fn root(&self) -> bool {
        self.root
    }

    /// This policy with more zones, such as those of the command line.
    ///
    /// # Errors
    /// A zone that overlaps another, or one zone too many.
    pub fn with_zones(mut self, extra: Vec<FileRule>) -> Result<Policy, ZoneError> {
        let before = self.files.len();
        self.files.extend(extra.into_iter().map(FileRule::added));
        if let Some((_, error)) = first_conflict(&self.files) {
            return Err(error);
        }
        self.decided.add_zones(before, &self.files);
        Ok(self)
    }

    /// What the `cedar` blocks of the document, and of those around it, forbid.
    pub fn forbids(&self) -> &[Forbid] {
        &self.forbids
    }

    /// This policy with more that is forbidden.
    pub fn with_forbids(mut self, more: Vec<Forbid>) -> Policy {
        self.forbids.extend(more);
        self.decided = Decided::default();
        self
    }
}

impl crate::Document {
    /// The walls without which the sandbox must not start.
    pub fn walls(&self) -> Walls {
        walls(self.require, self.landlock_min)
    }
}

fn walls(require: Walls, landlock_min: u32) -> Walls {
    let walls = ALWAYS.iter().copied().chain(require.iter()).collect::<Walls>();
    if landlock_min >= 1 { walls.with(Wall::Landlock) } else { walls }
}
