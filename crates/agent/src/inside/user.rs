//! Who the agent's children can be. Never more than was asked: any doubt is an error.

use rustix::io::Errno;
use rustix::process::{getegid, geteuid};
use rustix::thread::{self, CapabilitySet, CapabilitySets, Gid, Uid};

/// One of the two situations in which the agent may find itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rights {
    /// Root of a user namespace with what it takes to become anyone in it. `bounding` is its bounding set, which never
    /// grows.
    Everyone { bounding: u64 },
    /// The only user of the sandbox, or one that cannot be left.
    Only { uid: u32, gid: u32, bounding: u64 },
}

/// The user and group that a request names, checked against the agent's [`Rights`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct User {
    uid: u32,
    gid: u32,
    rights: Rights,
}

impl Rights {
    /// Finds out which situation this is. Where it is [`Rights::Everyone`], leaves the agent, and so all that it
    /// starts, without supplementary groups.
    pub(crate) fn find() -> Self {
        let needed = CapabilitySet::SETUID | CapabilitySet::SETGID | CapabilitySet::SETPCAP;
        let switches = geteuid().is_root()
            && thread::capabilities(None).is_ok_and(|sets| sets.effective.contains(needed))
            && thread::set_thread_groups(&[]).is_ok();
        let bounding = bounding_set();
        if switches {
            Rights::Everyone { bounding }
        } else {
            Rights::Only { uid: geteuid().as_raw(), gid: getegid().as_raw(), bounding }
        }
    }

    /// The user `uid` with the group `gid`.
    pub(crate) fn user(self, uid: u32, gid: u32) -> Result<User, Errno> {
        // To the calls that change ids, -1 means `as it is`, which here would be root.
        if uid == u32::MAX || gid == u32::MAX {
            return Err(Errno::INVAL);
        }
        match self {
            Rights::Only { uid: own, gid: own_gid, .. } if (uid, gid) != (own, own_gid) => Err(Errno::PERM),
            rights => Ok(User { uid, gid, rights }),
        }
    }
}

impl User {
    /// The numbers of user and group.
    pub(crate) fn ids(self) -> (u32, u32) {
        (self.uid, self.gid)
    }

    /// Becomes the user for good, with no capability but `kept`. Only for a child.
    ///
    /// At exec, uid 0 gets what is in its bounding and inheritable sets; under no_new_privs never more than it had.
    /// So bounding, permitted and effective are set to `kept`, and inheritable and ambient to nothing.
    pub(crate) fn become_for_good(self, kept: u64) -> Result<(), Errno> {
        if kept != 0 && self.uid != 0 {
            return Err(Errno::INVAL);
        }
        thread::clear_ambient_capability_set()?;
        match self.rights {
            Rights::Everyone { bounding } => {
                bound_capabilities(bounding, kept)?;
                let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
                thread::set_thread_res_gid(gid, gid, gid)?;
                thread::set_thread_res_uid(uid, uid, uid)?;
            }
            // The bounding set gives something at exec only to uid 0 and by file capabilities, which no_new_privs
            // turns off; and no one without SETPCAP can change it.
            Rights::Only { .. } if self.uid != 0 => {}
            Rights::Only { bounding, .. } => bound_capabilities(bounding, kept)?,
        }
        let kept = CapabilitySet::from_bits_retain(kept);
        let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
        thread::set_capabilities(None, sets)
    }
}

/// What this process's bounding set has. What cannot be asked for counts as there.
fn bounding_set() -> u64 {
    let mut set = 0;
    for bit in (0..u64::BITS).map(|place| 1 << place) {
        match thread::capability_is_in_bounding_set(CapabilitySet::from_bits_retain(bit)) {
            Ok(false) => {}
            // Past the last capability that this kernel knows.
            Err(Errno::INVAL) => break,
            Ok(true) | Err(_) => set |= bit,
        }
    }
    set
}

/// Takes from the set all but `kept`.
fn bound_capabilities(set: u64, kept: u64) -> Result<(), Errno> {
    let surplus = set & !kept;
    (0..u64::BITS)
        .map(|place| 1 << place)
        .filter(|bit| surplus & bit != 0)
        .try_for_each(|bit| thread::remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(bit)))
}
