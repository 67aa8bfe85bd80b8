//! Who the agent can be for a command or a file. Never more than was asked: any doubt is an error.

use crate::sys;
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, getegid, geteuid, set_dumpable_behavior};
use rustix::thread::{self, CapabilitySet, CapabilitySets, Gid, Uid};

/// One of the two situations in which the agent may find itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rights {
    /// Root of a user namespace with what it takes to become anyone in it.
    Everyone,
    /// The only user of the sandbox, or one that cannot be left.
    Only { uid: u32, gid: u32 },
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
        if switches {
            Rights::Everyone
        } else {
            Rights::Only { uid: geteuid().as_raw(), gid: getegid().as_raw() }
        }
    }

    /// The user `uid` with the group `gid`.
    pub(crate) fn user(self, uid: u32, gid: u32) -> Result<User, Errno> {
        // To the calls that change ids, -1 means `as it is`, which here would be root.
        if uid == u32::MAX || gid == u32::MAX {
            return Err(Errno::INVAL);
        }
        match self {
            Rights::Only { uid: own, gid: own_gid } if (uid, gid) != (own, own_gid) => Err(Errno::PERM),
            rights => Ok(User { uid, gid, rights }),
        }
    }
}

impl User {
    /// Becomes the user for good, with no capability but `kept`. Only for a child between fork and exec.
    ///
    /// At exec, uid 0 gets what is in its bounding and inheritable sets; under no_new_privs never more than it had.
    /// So bounding, permitted and effective are set to `kept`, and inheritable and ambient to nothing.
    pub(crate) fn become_for_good(self, kept: u64) -> Result<(), Errno> {
        if kept != 0 && self.uid != 0 {
            return Err(Errno::INVAL);
        }
        thread::clear_ambient_capability_set()?;
        match self.rights {
            Rights::Everyone => {
                bound_capabilities(kept)?;
                let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
                thread::set_thread_res_gid(gid, gid, gid)?;
                thread::set_thread_res_uid(uid, uid, uid)?;
            }
            // The bounding set gives something at exec only to uid 0 and by file capabilities, which no_new_privs
            // turns off; and no one without SETPCAP can change it.
            Rights::Only { .. } if self.uid != 0 => {}
            Rights::Only { .. } => bound_capabilities(kept)?,
        }
        let kept = CapabilitySet::from_bits_retain(kept);
        let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
        thread::set_capabilities(None, sets)
    }

    /// Runs `act` with the user's rights to files. `None`: the rights could not be taken on.
    ///
    /// Ends the agent if its own cannot be had back: it must not go on as it knows not whom.
    pub(crate) fn with_files<T>(self, act: impl FnOnce() -> T) -> Option<T> {
        let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
        if (self.uid, self.gid) == (uid, gid) {
            return Some(act());
        }
        let outcome = sys::set_file_user(self.uid, self.gid).then(act);
        // The change of user may have made the agent's memory readable to others, as a sysctl says (proc(5),
        // fs.suid_dumpable).
        let back = sys::set_file_user(uid, gid);
        if !back || set_dumpable_behavior(DumpableBehavior::NotDumpable).is_err() {
            sys::exit(70);
        }
        outcome
    }
}

fn bound_capabilities(kept: u64) -> Result<(), Errno> {
    for bit in (0..u64::BITS).map(|place| 1 << place).filter(|bit| kept & bit == 0) {
        match thread::remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(bit)) {
            Ok(()) => {}
            // Past the last capability that this kernel knows.
            Err(Errno::INVAL) => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
