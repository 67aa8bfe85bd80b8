//! The time since some moment before the agent began.

use super::kernel;
use core::time::Duration;
use linux_raw_sys::general::{__NR_clock_gettime, CLOCK_MONOTONIC};

/// What the clock says that is never set back.
///
/// By a system call: the faster way would first have to find and read what the kernel maps for it, and the clock is
/// looked at only for commands with a deadline.
pub(crate) fn now() -> Duration {
    let mut time = [0u64; 2];
    let place = (&raw mut time).expose_provenance();
    // SAFETY: the kernel writes two words, seconds and nanoseconds, and `time` has place for them.
    let told = unsafe { kernel::call(__NR_clock_gettime, [CLOCK_MONOTONIC as usize, place, 0, 0]) };
    assert!(told.is_ok(), "there is no clock");
    let [seconds, nanoseconds] = time;
    Duration::new(seconds, nanoseconds as u32)
}
