//! Whether one more sandbox may be made: pure functions of what there is.

use model::{Limits, Quota};
use std::time::Duration;

/// What decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Load {
    /// Sandboxes that live.
    pub living: usize,
    /// Sandboxes that are being built.
    pub building: usize,
    /// What the key that asks has of both.
    pub held: Held,
}

/// What the sandboxes of one key have together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Held {
    pub sandboxes: u64,
    pub cpu_milli: u64,
    pub memory_bytes: u64,
}

/// The most sandboxes that are built at one time; a request that comes then waits for its turn.
pub(super) const BUILDING_MAX: usize = 16;

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// Now.
    Now,
    /// When one that is being built is done.
    Later,
    /// There are as many as there may be.
    Full,
    /// The key would have more than it may.
    Over(Bound),
}

/// A bound of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    Sandboxes { held: u64, most: u64 },
    Cpus { held_milli: u64, asked_milli: u64, most_milli: u64 },
    Memory { held_bytes: u64, asked_bytes: u64, most_bytes: u64 },
}

impl Held {
    /// With one more.
    pub(super) fn with(self, limits: &Limits) -> Held {
        Held {
            sandboxes: self.sandboxes.saturating_add(1),
            cpu_milli: self.cpu_milli.saturating_add(limits.cpu_milli.into()),
            memory_bytes: self.memory_bytes.saturating_add(limits.memory_bytes),
        }
    }
}

/// Decides for one more of these limits, where there may be `most` in all and the key may have `quota`.
pub(super) fn admit(load: Load, most: usize, limits: &Limits, quota: &Quota) -> Admission {
    if let Some(bound) = over(load.held, limits, quota) {
        Admission::Over(bound)
    } else if load.living.saturating_add(load.building) >= most {
        Admission::Full
    } else if load.building >= BUILDING_MAX {
        Admission::Later
    } else {
        Admission::Now
    }
}

fn over(held: Held, limits: &Limits, quota: &Quota) -> Option<Bound> {
    let then = held.with(limits);
    let sandboxes = quota.sandboxes.map(u64::from).filter(|most| then.sandboxes > *most);
    let sandboxes = sandboxes.map(|most| Bound::Sandboxes { held: held.sandboxes, most });
    let cpus = quota.cpu_milli.filter(|most| then.cpu_milli > *most).map(|most_milli| Bound::Cpus {
        held_milli: held.cpu_milli,
        asked_milli: limits.cpu_milli.into(),
        most_milli,
    });
    let memory = quota.memory_bytes.filter(|most| then.memory_bytes > *most);
    let memory = memory.map(|most_bytes| Bound::Memory {
        held_bytes: held.memory_bytes,
        asked_bytes: limits.memory_bytes,
        most_bytes,
    });
    sandboxes.or(cpus).or(memory)
}

/// What a creation takes out of a [`Bucket`]: a thousandth in a second for so many nanoseconds.
const ONE: u128 = 1_000_000_000_000;

/// Creations that a key may still make now. It fills with time, to what one second brings, or one creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bucket {
    level: u128,
    at: Duration,
}

impl Bucket {
    /// A full one. `rate_milli` are creations in a second, in thousandths.
    pub(super) fn full(rate_milli: u32, now: Duration) -> Bucket {
        Bucket { level: most(rate_milli), at: now }
    }

    /// Takes one creation out.
    ///
    /// # Errors
    /// How long until there is one.
    pub(super) fn take(&mut self, rate_milli: u32, now: Duration) -> Result<(), Duration> {
        let rate = u128::from(rate_milli.max(1));
        let passed = now.saturating_sub(self.at);
        self.level = self.level.saturating_add(passed.as_nanos().saturating_mul(rate)).min(most(rate_milli));
        self.at = self.at.max(now);
        if self.level >= ONE {
            self.level -= ONE;
            return Ok(());
        }
        let ns = (ONE - self.level).div_ceil(rate);
        Err(Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX)))
    }
}

fn most(rate_milli: u32) -> u128 {
    ONE.max(u128::from(rate_milli) * 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn limits(cpu_milli: u32, memory_bytes: u64) -> Limits {
        Limits { cpu_milli, memory_bytes, ..policy::DEFAULT_LIMITS }
    }

    fn quotas() -> impl Strategy<Value = Quota> {
        let sandboxes = proptest::option::of(0..40u32);
        (sandboxes, proptest::option::of(0..30_000u64), proptest::option::of(0..30_000u64)).prop_map(
            |(sandboxes, cpu_milli, memory_bytes)| Quota {
                sandboxes,
                cpu_milli,
                memory_bytes,
                creates_per_second_milli: None,
            },
        )
    }

    fn sum<'a>(sandboxes: impl IntoIterator<Item = &'a Limits>) -> Held {
        sandboxes.into_iter().fold(Held::default(), |held, limits| held.with(limits))
    }

    proptest! {
        #[test]
        fn there_are_never_more_than_there_may_be_and_no_key_has_more_than_it_may(
            most in 0..100usize,
            quota in quotas(),
            steps in proptest::collection::vec((0..3u8, 1..3_000u32, 1..3_000u64), 0..400),
        ) {
            let (mut building, mut living) = (Vec::new(), Vec::new());
            for (step, cpu_milli, memory_bytes) in steps {
                let limits = limits(cpu_milli, memory_bytes);
                let held = sum(building.iter().chain(&living));
                let load = Load { living: living.len(), building: building.len(), held };
                match step {
                    0 => match admit(load, most, &limits, &quota) {
                        Admission::Now => building.push(limits),
                        Admission::Later => prop_assert_eq!(building.len(), BUILDING_MAX),
                        Admission::Full => prop_assert_eq!(living.len() + building.len(), most),
                        // What is refused would have been too much.
                        Admission::Over(Bound::Sandboxes { held, most }) => prop_assert_eq!(held, most),
                        Admission::Over(Bound::Cpus { held_milli, asked_milli, most_milli }) => {
                            prop_assert!(held_milli + asked_milli > most_milli);
                        }
                        Admission::Over(Bound::Memory { held_bytes, asked_bytes, most_bytes }) => {
                            prop_assert!(held_bytes + asked_bytes > most_bytes);
                        }
                    },
                    1 => living.extend(building.pop()),
                    _ => drop(living.pop()),
                }
                prop_assert!(living.len() + building.len() <= most);
                prop_assert!(building.len() <= BUILDING_MAX);
                let held = sum(building.iter().chain(&living));
                prop_assert!(quota.sandboxes.is_none_or(|most| held.sandboxes <= most.into()));
                prop_assert!(quota.cpu_milli.is_none_or(|most| held.cpu_milli <= most));
                prop_assert!(quota.memory_bytes.is_none_or(|most| held.memory_bytes <= most));
            }
        }

        #[test]
        fn in_no_stretch_of_time_more_is_taken_than_flows_in_and_who_waits_as_told_gets_one(
            rate_milli in 1..20_000u32,
            waits_ms in proptest::collection::vec(0..2_000u64, 1..200),
        ) {
            let mut now = Duration::from_secs(5);
            let mut bucket = Bucket::full(rate_milli, now);
            let mut taken = Vec::new();
            for wait_ms in waits_ms {
                now += Duration::from_millis(wait_ms);
                match bucket.take(rate_milli, now) {
                    Ok(()) => taken.push(now),
                    Err(wait) => {
                        prop_assert_eq!(bucket.clone().take(rate_milli, now + wait), Ok(()));
                        let early = wait.saturating_sub(Duration::from_nanos(1));
                        prop_assert!(bucket.clone().take(rate_milli, now + early).is_err());
                    }
                }
            }
            let burst = u128::from(rate_milli).max(1000);
            for (at, first) in taken.iter().enumerate() {
                for (count, last) in taken[at..].iter().enumerate() {
                    let flowed = (*last - *first).as_nanos() * u128::from(rate_milli) / 1_000_000_000;
                    prop_assert!((count as u128 + 1) * 1000 <= burst + flowed + 1);
                }
            }
        }
    }

    #[test]
    fn a_clock_that_stands_or_goes_back_fills_nothing() {
        let mut bucket = Bucket::full(1000, Duration::from_secs(9));
        assert_eq!(bucket.take(1000, Duration::from_secs(9)), Ok(()));
        assert_eq!(bucket.take(1000, Duration::from_secs(3)), Err(Duration::from_secs(1)));
        assert_eq!(bucket.take(1000, Duration::from_secs(10)), Ok(()));
    }
}
