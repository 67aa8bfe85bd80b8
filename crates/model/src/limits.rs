//! What a sandbox may use, with the units in the names.

use serde::{Deserialize, Serialize};

/// The ceilings of one sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Processor time per second of wall-clock time, in thousandths of one processor.
    pub cpu_milli: u32,
    /// Memory of all processes together, page cache and what they write to their disk included, in bytes.
    pub memory_bytes: u64,
    /// Processes and threads together.
    pub pids: u32,
    /// What can be written to the sandbox's file system, in bytes.
    pub disk_bytes: u64,
    /// Files, directories and links in what can be written.
    pub disk_inodes: u64,
    /// Open descriptors of one process.
    pub open_files: u32,
    /// How long the sandbox may live, in milliseconds of wall-clock time; `None` is without end.
    pub wall_ms: Option<u64>,
}

/// Why a text is not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a size: expected a whole number and one of B, KiB, MiB, GiB, TiB, such as `512MiB`")]
pub struct NotASize(String);

/// Why a text is not a time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a time: expected a whole number and one of ms, s, m, h, d, such as `10m`")]
pub struct NotATime(String);

/// Reads a size such as `512MiB`; gives bytes.
///
/// Only binary units, and always a unit: `512M` means two things, so it means none here.
///
/// # Errors
/// Anything else, and what does not fit 64 bits.
pub fn parse_size_bytes(text: &str) -> Result<u64, NotASize> {
    const UNITS: &[(&str, u64)] =
        &[("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40), ("B", 1)];
    scaled(text, UNITS).ok_or_else(|| NotASize(crate::quote(text)))
}

/// Reads a time such as `10m`; gives milliseconds.
///
/// # Errors
/// Anything else, and what does not fit 64 bits.
pub fn parse_duration_ms(text: &str) -> Result<u64, NotATime> {
    const UNITS: &[(&str, u64)] =
        &[("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
    scaled(text, UNITS).ok_or_else(|| NotATime(crate::quote(text)))
}

fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, unit) = text.split_at(end);
    let (_, scale) = units.iter().find(|(name, _)| *name == unit)?;
    digits.parse::<u64>().ok()?.checked_mul(*scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_and_a_time_carry_their_unit() {
        assert_eq!(parse_size_bytes("512MiB"), Ok(512 << 20));
        assert_eq!(parse_size_bytes("1B"), Ok(1));
        assert_eq!(parse_duration_ms("10m"), Ok(600_000));
        assert_eq!(parse_duration_ms("250ms"), Ok(250));
    }

    #[test]
    fn what_could_mean_two_things_means_none() {
        for text in ["", "512", "512M", "MiB", "-1MiB", "1.5GiB", " 1B", "1 B", "99999999999TiB"] {
            assert!(parse_size_bytes(text).is_err(), "{text}");
        }
        for text in ["10", "m", "1.5h", "-1s", "1w", "99999999999999999d"] {
            assert!(parse_duration_ms(text).is_err(), "{text}");
        }
    }
}
