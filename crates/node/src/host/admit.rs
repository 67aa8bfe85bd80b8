//! Whether one more sandbox may be made: a pure function of what there is.

/// What decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Load {
    /// Sandboxes that live.
    pub living: usize,
    /// Sandboxes that are being built.
    pub building: usize,
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
}

/// Decides for one more, where there may be `most` in all.
pub(super) fn admit(load: Load, most: usize) -> Admission {
    if load.living.saturating_add(load.building) >= most {
        Admission::Full
    } else if load.building >= BUILDING_MAX {
        Admission::Later
    } else {
        Admission::Now
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn there_are_never_more_than_there_may_be(
            most in 0..300usize,
            steps in proptest::collection::vec(0..3u8, 0..600),
        ) {
            let mut load = Load { living: 0, building: 0 };
            for step in steps {
                match step {
                    0 => match admit(load, most) {
                        Admission::Now => load.building += 1,
                        Admission::Later => prop_assert_eq!(load.building, BUILDING_MAX),
                        Admission::Full => prop_assert_eq!(load.living + load.building, most),
                    },
                    1 if load.building > 0 => {
                        load.building -= 1;
                        load.living += 1;
                    }
                    2 => load.living = load.living.saturating_sub(1),
                    _ => {}
                }
                prop_assert!(load.living + load.building <= most);
                prop_assert!(load.building <= BUILDING_MAX);
            }
        }
    }
}
