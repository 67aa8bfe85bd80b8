//! What is said to a key that would have more than it may.

use super::Error;
use super::admit::Bound;
use super::error::OverQuota;
use model::{Code, Denial, KeyId};
use std::time::Duration;

/// A key would have more sandboxes, or sandboxes that have more, than it may.
pub(super) fn over(bound: Bound, owner: KeyId) -> Error {
    let cpus = |milli: u64| milli as f64 / 1000.0;
    let (rule, asked, nearest) = match bound {
        Bound::Sandboxes { held, most } => {
            ("quota.sandboxes", format!("one more sandbox beside {held}"), format!("{most} at one time"))
        }
        Bound::Cpus { held_milli, asked_milli, most_milli } => (
            "quota.cpus",
            format!("{} cpus beside {}", cpus(asked_milli), cpus(held_milli)),
            format!("{} cpus at one time", cpus(most_milli)),
        ),
        Bound::Memory { held_bytes, asked_bytes, most_bytes } => (
            "quota.memory",
            format!("{asked_bytes} bytes of memory beside {held_bytes}"),
            format!("{most_bytes} bytes at one time"),
        ),
    };
    let how = format!("end sandboxes of the key {owner}, or ask the operator for a key that may have more");
    let denial = Denial::new(Code::Quota, rule, asked, how).nearest(nearest);
    Error::Quota(OverQuota { denial, retry_after: None }.into())
}

/// A key makes sandboxes faster than it may.
pub(super) fn too_fast(rate_milli: u32, wait: Duration, owner: KeyId) -> Error {
    let how = format!("wait {} ms", wait.as_nanos().div_ceil(1_000_000));
    let asked = format!("one more creation with the key {owner} so soon");
    let denial = Denial::new(Code::Quota, "quota.creates-per-second", asked, how);
    let denial = denial.nearest(format!("{} creations in a second", f64::from(rate_milli) / 1000.0));
    Error::Quota(OverQuota { denial, retry_after: Some(wait) }.into())
}
