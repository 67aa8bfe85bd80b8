//! A sandbox whose parent keeps many: started without a warden, and without waiting for anything.
//!
//! The parent does what a warden does for one sandbox: it enforces the limits that need somebody awake and removes the
//! cgroup. [`start`](crate::start) is for a caller that waits for one.

use crate::cgroup::Cgroup;
use crate::error::{Error, For, Result};
use crate::image::Image;
use crate::plan::{Door, Plan, Zone, ZoneKind};
use crate::report::{self, Built, word};
use crate::sandbox::{Ends, born_into, discard, ends, enter_files, introduce, kill_and_wait};
use crate::stages::{self, Hands};
use crate::sys::{self, Forked};
use model::Wall;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::io;

/// A sandbox whose builder is at work: what its parent has to hold.
#[derive(Debug)]
pub struct Launched {
    /// The builder's pid, later the agent's: the first process inside.
    pub pid: i32,
    /// Polls readable when it has ended, and with it everything inside. The parent waits for it.
    pub first: OwnedFd,
    /// What is still to be heard of the builder.
    pub building: Building,
    /// The agent's first control socket.
    pub agent: OwnedFd,
    /// Through it the agent is given further ones. It ends when this closes.
    pub door: OwnedFd,
    /// Its cgroup.
    pub cgroup: Option<Cgroup>,
}

/// The connection to a builder. Polls readable when the report is there.
#[derive(Debug)]
pub struct Building {
    report: OwnedFd,
    tell: OwnedFd,
    /// What the builder was given. It shares our table of descriptors until its first step, so these stay open until it
    /// was heard of.
    hands: Hands,
    /// The zones of its plan, whose descriptors it uses too.
    zones: Vec<Zone>,
}

/// Starts building and returns at once. The parent makes sure that somebody will clean up, calls [`Building::finish`],
/// and waits for the report.
///
/// Only for a single-threaded process: it forks.
///
/// # Errors
/// The processes or sockets for it cannot be made, or the plan has no door; nothing is left. What fails later comes with
/// [`Building::report`].
pub fn launch(plan: &Plan, image: &Image) -> Result<Launched> {
    let (Ends { report, tell, agent, door }, hands) = ends(plan, image)?;
    let Some(door) = door else {
        return Err(io::Error::from(io::ErrorKind::InvalidInput))
            .wall(Wall::UserNamespace, || format!("launch with {:?}", Door::No));
    };
    let mut cgroup = born_into(plan)?;
    let into = cgroup.as_ref().and_then(Cgroup::clone_into);
    // A parent of many sandboxes has many descriptors. A copy of its whole table would cost each builder as much as they
    // are; so it shares the table, and its first step is to leave with a copy of what it needs, which has low numbers.
    // What it does not need gets high numbers before, and nothing that it needs is closed here before it was heard of.
    let (agent, door) = (aside(agent), aside(door));
    let needed = needed(plan, &hands);
    let flags = plan.namespaces() | libc::CLONE_FILES as u64;
    let forked = sys::clone3(flags, into)
        .wall(Wall::UserNamespace, || format!("clone3({flags:#x}, into a cgroup: {})", into.is_some()));
    let (pid, first) = match forked {
        Ok(Forked::Parent { pid, pidfd }) => (pid, pidfd),
        Ok(Forked::Child) => {
            // These are left behind, and their numbers may be somebody else's by now.
            std::mem::forget((report, tell, agent, door));
            if keep_only(&needed).is_err() {
                sys::exit_now(1)
            }
            stages::build(plan, hands)
        }
        Err(error) => {
            discard(cgroup);
            return Err(error);
        }
    };
    let building = Building { report, tell, hands, zones: Vec::new() };
    let prepared = introduce(plan, pid, &building.tell)
        .and_then(|()| enter_files(plan, &mut cgroup))
        .and_then(|enter| report::tell(building.tell.as_fd(), word::ENTER, &enter));
    match prepared {
        Ok(()) => Ok(Launched {
            pid,
            first: aside(first),
            building,
            agent,
            door,
            cgroup: cgroup.map(|cgroup| cgroup.map_directories(aside)),
        }),
        Err(error) => {
            kill_and_wait(&first);
            discard(cgroup);
            // A builder that failed says itself what failed.
            Err(report::failure(building.report.as_fd()).unwrap_or(error))
        }
    }
}

impl Building {
    /// Keeps the zones of the plan open for as long as the builder may share them. To be called as soon as it is launched.
    pub fn hold(&mut self, zones: Vec<Zone>) {
        self.zones = zones;
    }

    /// Lets the builder become the agent once its walls stand.
    ///
    /// # Errors
    /// It is gone; then its report says why.
    pub fn finish(&self) -> Result<()> {
        report::tell(self.tell.as_fd(), word::SEALED, &[])
    }

    /// What the builder reported, if it is there. Never waits.
    ///
    /// # Errors
    /// The wall that did not come to stand.
    pub fn report(&self) -> Result<Option<Built>> {
        let mut fds = [PollFd::new(&self.report, PollFlags::IN)];
        match poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
            Ok(0) | Err(rustix::io::Errno::INTR) => Ok(None),
            _ => {
                let built = report::receive(self.report.as_fd())?;
                Ok(Some(Built {
                    disk: aside(built.disk),
                    denials: built.denials.map(aside),
                    terminals: built.terminals.map(aside),
                    ..built
                }))
            }
        }
    }

    /// What to say of a builder that has ended: what it reported, or that it said nothing.
    pub fn failure(self) -> Error {
        let Building { report, hands, zones, .. } = self;
        drop((hands, zones));
        report::failure(report.as_fd()).unwrap_or_else(|| Error {
            wall: Wall::UserNamespace,
            call: "recvmsg(report)".to_owned(),
            source: io::Error::other("the builder died after its report"),
        })
    }
}

impl AsFd for Building {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.report.as_fd()
    }
}

/// Descriptors from here on are those that a parent holds for long.
const ASIDE: i32 = 2048;

/// The same file at a high number, out of the way of the next builder's.
pub fn aside(fd: OwnedFd) -> OwnedFd {
    // Where there is no such number it costs the next builders a little more.
    rustix::io::fcntl_dupfd_cloexec(&fd, ASIDE).unwrap_or(fd)
}

/// The descriptors that a builder uses of those that are open now, in order. The lease is one: it holds the ids until the
/// builder is the agent or is gone.
fn needed(plan: &Plan, hands: &Hands) -> Vec<u32> {
    let Hands { told, report, control, door, image, early: _, nice: _ } = hands;
    let zones = plan.zones.iter().flat_map(|zone| match &zone.kind {
        ZoneKind::Read { directory, mount, .. } | ZoneKind::Draft { directory, mount, .. } => {
            [Some(directory), mount.as_ref()]
        }
        ZoneKind::Scratch | ZoneKind::Write => [None, None],
    });
    let all = [told, report, control, image].into_iter().chain(door).chain(zones.flatten());
    let mut numbers: Vec<u32> = all.chain(plan.ids.lease()).map(|fd| fd.as_raw_fd() as u32).collect();
    numbers.extend(0..3);
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// Leaves the shared table of descriptors for one with nothing but `needed` in it: no other sandbox's, no client's.
fn keep_only(needed: &[u32]) -> io::Result<()> {
    let last = needed.last().copied().unwrap_or(2);
    sys::own_descriptors_up_to(last)?;
    let mut next = 0;
    for number in needed {
        if *number > next {
            sys::close_range(next, number - 1)?;
        }
        next = number + 1;
    }
    Ok(())
}
