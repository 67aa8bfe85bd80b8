//! Loads `casemate serve`: measures it, wears it out, kills parts of it, and abuses its protocol.

pub mod api;
pub mod bench;
pub mod data;
pub mod faults;
pub mod figures;
pub mod http;
pub mod left;
pub mod process;
pub mod procfs;
pub mod random;
pub mod record;
pub mod resident;
pub mod served;
pub mod soak;

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

const POLL: Duration = Duration::from_millis(5);

/// Asks until it is so.
///
/// # Errors
/// Those of the question; or it is not so when the time is over.
pub fn within(limit: Duration, mut so: impl FnMut() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while !so()? {
        if start.elapsed() >= limit {
            bail!("not within {:.1} s", limit.as_secs_f64());
        }
        sleep(POLL);
    }
    Ok(())
}

/// Lets this process, and what it starts, have so many descriptors, or as many as the machine permits. How many.
///
/// # Errors
/// The kernel refuses.
pub fn raise_descriptor_limit(wanted: u64) -> Result<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    let current = now.maximum.map_or(wanted, |most| most.min(wanted)).max(now.current.unwrap_or(wanted));
    setrlimit(Resource::Nofile, Rlimit { current: Some(current), ..now })?;
    Ok(current)
}
