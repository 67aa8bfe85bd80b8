//! Two processes can end a sandbox and clean up after it: the caller that made it, and its warden.
//!
//! The caller forks a warden and then clones the builder, which becomes the agent. The warden stands before anything is
//! made that would have to be removed, and outlives the caller. It has none of the caller's files, no terminal and no
//! business on the network; it waits for four things:
//!
//! ```text
//!   time is up ─────────┐
//!   memory is up ───────┴─→ say so to the caller, SIGKILL to the first process inside
//!   the first process ──┬─→ remove the cgroup, when the caller has read its counters
//!   or the caller ends ─┘   (and record the end, if the caller no longer can)
//! ```
//!
//! The kernel kills the first process inside when the caller dies, and everything inside with it. If it is the warden
//! that dies, the caller does the warden's work itself.

use crate::cgroup::{Cgroup, MemoryWatch};
use crate::error::{For, Result};
use crate::ids::Ids;
use crate::image::Image;
use crate::plan::Plan;
use crate::report::{self, word};
use crate::sandbox::{Ended, discard, enter_files};
use crate::sys::{self, Turn};
use model::{LimitHit, Wall};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::process::{Signal, pidfd_send_signal};
use std::time::{Duration, Instant};

/// What a warden watches over.
pub(crate) struct Post<'a> {
    pub plan: &'a Plan,
    pub line: OwnedFd,
    pub begun: Instant,
}

/// What a builder waits for when all else is built, and how a warden says that it is there or what failed.
pub(crate) struct Supply<'a> {
    pub image: &'a Image,
    pub program: &'a [u8],
    pub tell: OwnedFd,
    pub report: OwnedFd,
}

#[derive(PartialEq, Eq)]
enum Caller {
    There,
    Gone,
}

impl Supply<'_> {
    /// The cgroup, where the builder is not born into one, and the agent's program.
    fn give(self, plan: &Plan, cgroup: &mut Option<Cgroup>) {
        let given = enter_files(plan, cgroup)
            .and_then(|enter| report::tell(self.tell.as_fd(), word::ENTER, &enter))
            .and_then(|()| self.image.fill(self.program))
            .and_then(|()| report::tell(self.tell.as_fd(), word::SEALED, &[]));
        if let Err(error) = given {
            // Of a builder that is gone, the report says why already.
            report::send_failure(self.report.as_fd(), &error);
        }
    }
}

impl Post<'_> {
    /// The warden's life.
    pub(crate) fn hold(self, supply: Supply<'_>, abandoned: impl FnOnce(Ended)) -> ! {
        if self.shed(&supply).is_err() {
            sys::exit_now(1)
        }
        let home = self.plan.cgroup.as_ref();
        let mut cgroup = None;
        // At once: the builder asks for it last, and there is a processor for it while the caller clones the builder.
        supply.give(self.plan, &mut cgroup);
        let Ok((word::WATCH, mut watched)) = report::hear(self.line.as_fd()) else {
            // The caller gave up, or was killed, before anything was on record. What it made until then has no name but
            // the sandbox's.
            discard(home.map(|home| home.reopen(self.plan.id)));
            sys::exit_now(0)
        };
        let first = watched.remove(0);
        let cgroup = cgroup.or_else(|| Some(home?.reopen(self.plan.id)));
        let mut hits = Vec::new();
        let caller = self.watch(&first, cgroup.as_ref(), &mut hits);
        kill(&first);
        let mut fds = [PollFd::new(&first, PollFlags::IN)];
        while poll(&mut fds, None) == Err(rustix::io::Errno::INTR) {}
        let mut ended = Ended::seen(cgroup.as_ref(), self.begun);
        ended.put_first(hits);
        let hear = || report::hear(self.line.as_fd());
        // The caller reads the counters for itself, while there are any.
        let counted = caller == Caller::There && matches!(hear(), Ok((word::COUNTED, _)));
        discard(cgroup);
        // It still has files to hand out and an end to record; killed before that, it is ours to record.
        let told = counted && self.tell(word::GONE).is_ok();
        let disk = match told.then(hear) {
            Some(Ok((word::RECORDED, disk))) => disk,
            _ => {
                abandoned(ended);
                Vec::new()
            }
        };
        // What is left takes longer than it matters, and whoever waited for the caller goes on now.
        let _ = sys::take_turn(Turn::Last);
        drop((disk, watched));
        if let Some(home) = home {
            home.sweep();
        }
        sys::exit_now(0)
    }

    /// Waits until the first process has ended or the caller is gone, and enforces the limits that need somebody awake.
    fn watch(&self, first: &OwnedFd, cgroup: Option<&Cgroup>, hits: &mut Vec<LimitHit>) -> Caller {
        // A notice that cannot be had leaves the limit standing; v1 then ends one process rather than all.
        let mut memory = cgroup.and_then(|cgroup| cgroup.watch_memory().ok());
        let mut deadline = self.plan.limits.wall_ms.map(|ms| self.begun + Duration::from_millis(ms));
        loop {
            let mut fds =
                vec![PollFd::new(&self.line, PollFlags::empty()), PollFd::new(first, PollFlags::IN)];
            if let Some(memory) = &memory {
                fds.push(PollFd::from_borrowed_fd(memory.as_fd(), memory.interest()));
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let wait = left
                .map(|left| Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() });
            match poll(&mut fds, wait.as_ref()) {
                Err(rustix::io::Errno::INTR) => continue,
                Err(_) => return Caller::Gone,
                Ok(0) => {
                    deadline = None;
                    hits.push(LimitHit::Wall);
                    let _ = self.tell(word::TIME_IS_UP);
                    kill(first);
                    continue;
                }
                Ok(_) => {}
            }
            let [caller_gone, over] = [0, 1].map(|at: usize| !fds[at].revents().is_empty());
            if caller_gone {
                return Caller::Gone;
            }
            if memory.as_ref().is_some_and(MemoryWatch::tripped) {
                // v1 is about to kill one process; the promise is the whole sandbox.
                hits.push(LimitHit::Memory);
                let _ = self.tell(word::MEMORY_IS_UP);
                memory = None;
                kill(first);
            }
            if over {
                return Caller::There;
            }
        }
    }

    /// A caller that cannot be told has just died.
    fn tell(&self, word: u8) -> Result<()> {
        report::tell(self.line.as_fd(), word, &[])
    }

    /// Lets go of all that the fork inherited: the caller's pipes must close when the caller closes them, its
    /// terminal's signals are not for us, and its working directory must stay removable.
    fn shed(&self, supply: &Supply<'_>) -> Result<()> {
        // As the caller does, and for the same.
        let _ = sys::take_turn(Turn::After);
        let wall = Wall::OwnSession;
        rustix::process::setsid().wall(wall, || "setsid()".to_owned())?;
        let _ = rustix::thread::set_name(c"casemate-warden");
        let ours = [self.line.as_fd(), supply.tell.as_fd(), supply.report.as_fd(), supply.image.as_fd()];
        let mut keep = ours.map(|fd| fd.as_raw_fd()).to_vec();
        if let Ids::Block { lease, .. } = &self.plan.ids {
            keep.push(lease.as_raw_fd());
        }
        keep.sort_unstable();
        let mut next = 0;
        for fd in keep.into_iter().map(|fd| fd as u32) {
            if fd > next {
                sys::close_range(next, fd - 1).wall(wall, || format!("close_range({next}, {})", fd - 1))?;
            }
            next = fd + 1;
        }
        sys::close_range(next, u32::MAX).wall(wall, || format!("close_range({next}, ~0)"))?;
        rustix::process::chdir("/").wall(wall, || "chdir(\"/\")".to_owned())
    }
}

fn kill(first: &OwnedFd) {
    let _ = pidfd_send_signal(first, Signal::KILL);
}
