//! The machine's clocks.

use model::{Clock, Moment};
use rustix::time::{ClockId, clock_gettime};

/// Wall clock and time since boot, as the kernel has them.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        let (wall, boot) = (clock_gettime(ClockId::Realtime), clock_gettime(ClockId::Boottime));
        Moment {
            wall_ns: wall.tv_sec * 1_000_000_000 + wall.tv_nsec,
            boot_ns: boot.tv_sec as u64 * 1_000_000_000 + boot.tv_nsec as u64,
        }
    }
}
