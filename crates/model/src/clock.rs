//! Time as a value, so that what decides or records can be tested without waiting.

/// One reading of the machine's clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Nanoseconds since 1970-01-01T00:00:00Z by the wall clock. For display; it may jump.
    pub wall_ns: i64,
    /// Nanoseconds since boot, suspended time included. Only this one measures.
    pub boot_ns: u64,
}

/// Where time comes from.
pub trait Clock {
    /// Now.
    fn now(&self) -> Moment;
}
