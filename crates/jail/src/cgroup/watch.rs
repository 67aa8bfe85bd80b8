//! What tells that a cgroup ran out of memory.

use rustix::event::PollFlags;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

/// A notice of memory that ran out.
#[derive(Debug)]
pub enum MemoryWatch {
    /// v2: the file of events; readable again each time one of its counters moves.
    Events(OwnedFd),
    /// v1: an eventfd that the kernel signals before it kills one process of the group.
    Notice(OwnedFd),
}

impl MemoryWatch {
    /// The same, with its descriptor somewhere else.
    pub fn map_descriptor(self, change: impl FnOnce(OwnedFd) -> OwnedFd) -> MemoryWatch {
        match self {
            MemoryWatch::Events(fd) => MemoryWatch::Events(change(fd)),
            MemoryWatch::Notice(fd) => MemoryWatch::Notice(change(fd)),
        }
    }

    /// What to poll for: an eventfd is readable, a file of events has priority (it is always readable).
    pub fn interest(&self) -> PollFlags {
        match self {
            MemoryWatch::Events(_) => PollFlags::PRI,
            MemoryWatch::Notice(_) => PollFlags::IN,
        }
    }

    /// Polls ready when there is something to look at.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            MemoryWatch::Events(fd) | MemoryWatch::Notice(fd) => fd.as_fd(),
        }
    }

    /// Looks, and says whether memory ran out.
    pub fn tripped(&self) -> bool {
        let mut text = [0; 512];
        match self {
            MemoryWatch::Events(fd) => {
                let length = rustix::io::pread(fd, &mut text, 0).unwrap_or(0);
                let text = String::from_utf8_lossy(&text[..length]);
                text.lines().any(|line| line.strip_prefix("oom_kill ").is_some_and(|count| count != "0"))
            }
            MemoryWatch::Notice(fd) => rustix::io::read(fd, &mut text).is_ok(),
        }
    }
}
