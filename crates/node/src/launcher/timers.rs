//! Moments at which something is due, on the clock that counts from boot and does not stop when the machine sleeps.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};
use std::collections::BTreeSet;
use std::io;

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// The deadline of a sandbox.
    Deadline(u32),
    /// The limit on its wall-clock time.
    Wall(u32),
    /// Its lease.
    Lease(u32),
    /// Refused calls of it may be answered again.
    Resume(u32),
    /// It is looked whether a sandbox hit limits that end nothing.
    Look(u32),
    /// What could not be sent to the keeper, or a client, is tried again.
    Retry,
    /// There may be descriptors again for who connects.
    Open,
    /// Nobody needs a launcher any more.
    Idle,
}

/// Moments to come.
pub(super) struct Timers {
    fd: OwnedFd,
    due: BTreeSet<(u64, Due)>,
    armed: Option<u64>,
}

impl Timers {
    pub(super) fn new() -> io::Result<Timers> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        Ok(Timers { fd: timerfd_create(TimerfdClockId::Boottime, flags)?, due: BTreeSet::new(), armed: None })
    }

    pub(super) fn set(&mut self, at_ns: u64, due: Due) {
        self.due.insert((at_ns, due));
    }

    pub(super) fn unset(&mut self, at_ns: Option<u64>, due: Due) {
        if let Some(at_ns) = at_ns {
            self.due.remove(&(at_ns, due));
        }
    }

    /// Takes something that is due, with the moment that was set for it.
    pub(super) fn take(&mut self, now_ns: u64) -> Option<(u64, Due)> {
        let first = *self.due.first()?;
        if first.0 <= now_ns { self.due.pop_first() } else { None }
    }

    /// Makes the descriptor readable at the next moment. To be called before waiting for it.
    pub(super) fn arm(&mut self) -> io::Result<()> {
        let next = self.due.first().map(|(at, _)| (*at).max(1));
        if next == self.armed {
            return Ok(());
        }
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let it_value = next.map_or(zero, |at| Timespec {
            tv_sec: (at / 1_000_000_000) as i64,
            tv_nsec: (at % 1_000_000_000) as i64,
        });
        timerfd_settime(&self.fd, TimerfdTimerFlags::ABSTIME, &Itimerspec { it_interval: zero, it_value })?;
        self.armed = next;
        Ok(())
    }

    /// The descriptor was readable: what armed it is over.
    pub(super) fn rang(&mut self) {
        let _ = rustix::io::read(&self.fd, &mut [0; 8]);
        self.armed = None;
    }
}

impl AsFd for Timers {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Now, in nanoseconds since boot.
pub(super) fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

pub(super) const MS: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_comes_in_order_and_not_before_its_time() {
        let mut timers = Timers::new().unwrap();
        timers.set(30, Due::Wall(1));
        timers.set(10, Due::Lease(2));
        timers.set(20, Due::Deadline(3));
        timers.unset(Some(20), Due::Deadline(3));
        timers.unset(None, Due::Idle);
        assert_eq!(timers.take(9), None);
        assert_eq!(timers.take(30), Some((10, Due::Lease(2))));
        assert_eq!(timers.take(30), Some((30, Due::Wall(1))));
        assert_eq!(timers.take(u64::MAX), None);
    }

    #[test]
    fn the_descriptor_is_readable_at_the_moment_that_is_next() {
        use rustix::event::PollFlags;
        use std::time::Duration;
        let mut timers = Timers::new().unwrap();
        timers.set(now_ns() + 3600 * 1000 * MS, Due::Idle);
        timers.arm().unwrap();
        assert!(!super::super::wire::wait(&timers, PollFlags::IN, Duration::ZERO));
        timers.set(1, Due::Retry);
        timers.arm().unwrap();
        assert!(super::super::wire::wait(&timers, PollFlags::IN, Duration::from_secs(5)));
        timers.rang();
        assert_eq!(timers.take(now_ns()), Some((1, Due::Retry)));
    }
}
