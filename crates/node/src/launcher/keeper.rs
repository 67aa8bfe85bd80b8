//! The launcher's line to its keeper.

use super::ensure::shed;
use super::keeping::Keeping;
use super::protocol::{DESCRIPTORS_MAX, Ended};
use super::wire;
use jail::sys::{self, Forked};
use model::{Denial, SandboxId};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// What a keeper is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Word {
    /// A sandbox is about to be one. With it come the pidfd of its first process, its lease of host ids if it has one, and
    /// the directories of its cgroup.
    Watch { id: SandboxId, begun_boot_ns: u64, lease: Lease },
    /// It is dead: remove what is left. With it may come descriptors that are dear to close.
    Clean { id: SandboxId, ended: Ended },
    /// No server will record its end.
    Record { id: SandboxId, denied: Vec<Denial> },
    /// So many sandboxes are being ended at once.
    StopAll { sandboxes: u32 },
    /// Its end is on record.
    Forget { id: SandboxId },
    /// Say when all that was asked for until now is done.
    Barrier { number: u32 },
}

/// Whether a lease of host ids comes with a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Lease {
    Comes,
    None,
}

/// What a keeper says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Answer {
    /// Ends were recorded, by it or by somebody else; [`RECORDED_AT_ONCE_MAX`] at most.
    Recorded { ids: Vec<SandboxId> },
    /// All that was asked for before this barrier is done, or has failed and cannot be waited for.
    Reached { number: u32 },
}

/// Ends that one answer speaks of.
pub(super) const RECORDED_AT_ONCE_MAX: usize = 256;
/// Room for the longest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 8 << 10;

/// A keeper, and what it is still to be told.
pub(super) struct Keeper {
    line: OwnedFd,
    process: OwnedFd,
    queue: VecDeque<(Word, Vec<OwnedFd>)>,
}

impl Keeper {
    /// Forks one.
    pub(super) fn start(state: &Path) -> io::Result<Keeper> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (line, keepers) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        match sys::clone3(0, None)? {
            Forked::Child => {
                // A panic must not unwind into what this process was before.
                let _ = catch_unwind(AssertUnwindSafe(|| {
                    if shed(c"casemate-keeper", &[keepers.as_fd()]).is_ok() {
                        Keeping::new(state, keepers).live()
                    }
                }));
                sys::exit_now(1)
            }
            Forked::Parent { pidfd, .. } => Ok(Keeper { line, process: pidfd, queue: VecDeque::new() }),
        }
    }

    /// Polls readable when it says something.
    pub(super) fn line(&self) -> BorrowedFd<'_> {
        self.line.as_fd()
    }

    /// Polls readable when it is gone.
    pub(super) fn process(&self) -> BorrowedFd<'_> {
        self.process.as_fd()
    }

    /// Waits for a keeper that is gone, as the kernel wants it.
    pub(super) fn bury(self) {
        let _ = waitid(WaitId::PidFd(self.process.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    }

    /// Tells it something, with copies of `descriptors`. Never waits: what it does not hear now it hears later.
    pub(super) fn tell(&mut self, word: Word, descriptors: &[BorrowedFd<'_>]) {
        debug_assert!(descriptors.len() <= DESCRIPTORS_MAX);
        if self.queue.is_empty() && wire::send(self.line.as_fd(), &word, descriptors).is_ok() {
            return;
        }
        // Without a copy the keeper opens what it can anew, by the sandbox's name.
        let copies = descriptors.iter().filter_map(|fd| fd.try_clone_to_owned().ok()).collect();
        self.queue.push_back((word, copies));
    }

    /// Tells what is still to be told, and says whether that is all.
    pub(super) fn flush(&mut self) -> bool {
        while let Some((word, descriptors)) = self.queue.front() {
            let descriptors: Vec<BorrowedFd<'_>> = descriptors.iter().map(|fd| fd.as_fd()).collect();
            match wire::send(self.line.as_fd(), word, &descriptors) {
                Ok(()) => drop(self.queue.pop_front()),
                // If it is gone its process says so, and another is told everything.
                Err(_) => return false,
            }
        }
        true
    }

    /// What it said, if it did.
    pub(super) fn answer(&self) -> Option<Answer> {
        wire::receive(self.line.as_fd(), &mut [0; ANSWER_BYTES_MAX]).ok().map(|packet| packet.message)
    }

    /// Whether there is something that it was not told yet.
    pub(super) fn has_more_to_hear(&self) -> bool {
        !self.queue.is_empty()
    }
}
