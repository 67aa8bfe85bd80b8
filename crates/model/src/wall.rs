//! The walls that can stand around a sandbox, each with one name that policy, report and record share.

use std::fmt;
use std::str::FromStr;

macro_rules! walls {
    ($($variant:ident $name:literal $about:literal)*) => {
        /// One wall: a mechanism of the kernel that holds the sandbox in.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Wall {
            $(#[doc = $about] $variant,)*
        }

        impl Wall {
            /// Every wall, in the order in which reports list them.
            pub const ALL: &'static [Wall] = &[$(Wall::$variant),*];

            /// The wall's name in policies, reports and records.
            pub fn name(self) -> &'static str {
                match self { $(Wall::$variant => $name,)* }
            }

            /// One line that says what the wall does.
            pub fn about(self) -> &'static str {
                match self { $(Wall::$variant => $about,)* }
            }
        }
    };
}

walls! {
    UserNamespace    "user-namespace"    "A user namespace of its own: no right inside counts outside."
    PidNamespace     "pid-namespace"     "Sees and signals its own processes only; all of them end with the first."
    MountNamespace   "mount-namespace"   "A mount table of its own, cut off from the host's."
    NetworkNamespace "network-namespace" "A network stack of its own with nothing but its own loopback."
    IpcNamespace     "ipc-namespace"     "System V and POSIX message queues of its own."
    UtsNamespace     "uts-namespace"     "A host name of its own."
    CgroupNamespace  "cgroup-namespace"  "Does not see where in the host's cgroup tree it lives."
    OwnRoot          "own-root"          "A root directory of its own, entered by pivot_root; the host's is detached."
    ReadOnlySystem   "read-only-system"  "The host's system directories are mounted read-only beneath it."
    PrivateProc      "private-proc"      "A /proc of its own, the kernel's knobs read-only and its leaks masked."
    MinimalDev       "minimal-dev"       "Six harmless devices, its own terminals, nothing else."
    DiskLimit        "disk-limit"        "Everything it can write is one tmpfs with a limit on bytes and inodes."
    NoNewPrivileges  "no-new-privileges" "set-user-id programs and file capabilities gain nothing."
    NoCapabilities   "no-capabilities"   "All five capability sets of its commands are empty (or one small named set, for root inside)."
    Seccomp          "seccomp"           "System calls by allowlist; what is not listed is refused by the kernel."
    Landlock         "landlock"          "A Landlock domain, entered before anything runs: a second wall around files."
    CpuLimit         "cpu-limit"         "A cgroup bounds its processor time."
    MemoryLimit      "memory-limit"      "A cgroup bounds its memory; past it the whole sandbox ends, and nothing else."
    PidsLimit        "pids-limit"        "A cgroup bounds how many processes and threads it has."
    Rlimits          "rlimits"           "Resource limits on every process in it."
    NamespaceLimits  "namespace-limits"  "Ceilings on the kernel objects it can make (user.max_*)."
    OwnUid           "own-uid"           "Host user ids that no other sandbox and no person has."
    OwnSession       "own-session"       "A session of its own: it cannot reach the caller's terminal."
}

impl fmt::Display for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Wall {
    type Err = NotAWall;

    fn from_str(text: &str) -> Result<Self, NotAWall> {
        Wall::ALL.iter().copied().find(|w| w.name() == text).ok_or_else(|| NotAWall(crate::quote(text)))
    }
}

/// Why a text names no wall.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a wall; the walls are: {list}", list = Walls::all())]
pub struct NotAWall(String);

/// A set of walls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Walls(u32);

impl Walls {
    /// No wall.
    pub const fn none() -> Self {
        Walls(0)
    }

    /// Every wall there is.
    pub fn all() -> Self {
        Wall::ALL.iter().copied().collect()
    }

    /// Whether `wall` is among them.
    pub fn has(self, wall: Wall) -> bool {
        self.0 & bit(wall) != 0
    }

    /// These and `wall`.
    #[must_use]
    pub fn with(self, wall: Wall) -> Self {
        Walls(self.0 | bit(wall))
    }

    /// These without `wall`.
    #[must_use]
    pub fn without(self, wall: Wall) -> Self {
        Walls(self.0 & !bit(wall))
    }

    /// Those of these that are not in `other`.
    #[must_use]
    pub fn missing_from(self, other: Walls) -> Self {
        Walls(self.0 & !other.0)
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The walls in the order of [`Wall::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Wall> {
        Wall::ALL.iter().copied().filter(move |w| self.has(*w))
    }

    /// The set as a number, for a message between two processes of the same build.
    pub fn to_bits(self) -> u32 {
        self.0
    }

    /// The set that [`Walls::to_bits`] gave; bits that name no wall are dropped.
    pub fn from_bits(bits: u32) -> Self {
        Walls(bits & Walls::all().0)
    }
}

fn bit(wall: Wall) -> u32 {
    1 << wall as u32
}

impl FromIterator<Wall> for Walls {
    fn from_iter<I: IntoIterator<Item = Wall>>(walls: I) -> Self {
        walls.into_iter().fold(Walls::none(), Walls::with)
    }
}

impl fmt::Display for Walls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, wall) in self.iter().enumerate() {
            write!(f, "{}{wall}", if place == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl serde::Serialize for Walls {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(Wall::name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wall_is_read_by_the_name_it_is_written_with() {
        for wall in Wall::ALL {
            assert_eq!(wall.name().parse(), Ok(*wall));
        }
        assert!("Seccomp".parse::<Wall>().is_err());
    }

    #[test]
    fn a_set_knows_what_another_lacks() {
        let want: Walls = [Wall::Seccomp, Wall::Landlock].into_iter().collect();
        let missing = want.missing_from(Walls::all().without(Wall::Landlock));
        assert_eq!(missing.to_string(), "landlock");
        assert_eq!(Walls::from_bits(want.to_bits()), want);
    }
}
