//! The ceilings: `[compute]`.

use crate::document::{Value, integer};
use crate::problem::Report;
use model::{Limits, parse_duration_ms, parse_size_bytes};
use toml::de::{DeTable, DeValue};

/// The ceilings of a policy that states none.
pub const DEFAULT_LIMITS: Limits = Limits {
    cpu_milli: 1000,
    memory_bytes: 512 << 20,
    pids: 256,
    disk_bytes: 1 << 30,
    disk_inodes: 262_144,
    open_files: 1024,
    wall_ms: Some(600_000),
};

const KEYS: &[&str] = &["cpus", "memory", "pids", "disk", "inodes", "open_files", "wall"];

#[derive(Clone, Copy)]
enum Unit {
    MilliCpu,
    Bytes,
    Count,
    Millis,
}

/// What one key takes. The smallest values are those with which a shell still starts.
struct Bound {
    key: &'static str,
    unit: Unit,
    min: u64,
    max: u64,
    example: &'static str,
}

const CPUS: Bound =
    Bound { key: "cpus", unit: Unit::MilliCpu, min: 1, max: 1_024_000, example: "cpus = 1.5" };
const MEMORY: Bound =
    Bound { key: "memory", unit: Unit::Bytes, min: 4 << 20, max: 16 << 40, example: "memory = \"512MiB\"" };
/// The kernel has no more process ids (PID_MAX_LIMIT).
const PIDS: Bound = Bound { key: "pids", unit: Unit::Count, min: 4, max: 4_194_304, example: "pids = 256" };
const DISK: Bound =
    Bound { key: "disk", unit: Unit::Bytes, min: 1 << 20, max: 16 << 40, example: "disk = \"1GiB\"" };
const INODES: Bound =
    Bound { key: "inodes", unit: Unit::Count, min: 64, max: 1 << 32, example: "inodes = 262144" };
/// The kernel's own ceiling where nobody raised it (fs.nr_open).
const OPEN_FILES: Bound =
    Bound { key: "open_files", unit: Unit::Count, min: 16, max: 1 << 20, example: "open_files = 1024" };
const WALL: Bound = Bound {
    key: "wall",
    unit: Unit::Millis,
    min: 100,
    max: 365 * 86_400_000,
    example: "wall = \"10m\"` or `wall = \"none\"",
};

impl Bound {
    fn read(&self, value: &DeValue<'_>) -> Option<u64> {
        let number = match self.unit {
            Unit::MilliCpu => milli(value)?,
            Unit::Bytes => parse_size_bytes(value.as_str()?).ok()?,
            Unit::Count => integer(value)?,
            Unit::Millis => parse_duration_ms(value.as_str()?).ok()?,
        };
        self.holds(number).then_some(number)
    }

    fn holds(&self, number: u64) -> bool {
        (self.min..=self.max).contains(&number)
    }

    fn expected(&self) -> String {
        let (min, max) = (self.min, self.max);
        match self.unit {
            Unit::MilliCpu => "a number above 0, at most 1024, in steps of 0.001".to_owned(),
            Unit::Bytes => format!("a size from `{}` to `{}`", show_bytes(min), show_bytes(max)),
            Unit::Count => format!("an integer from {min} to {max}"),
            Unit::Millis => {
                format!("a time from `{}` to `{}`, or `none`", show_millis(min), show_millis(max))
            }
        }
    }
}

/// Reads `[compute]`; a value that is refused leaves the default in its place.
pub(crate) fn read(report: &mut Report, table: &DeTable<'_>) -> Limits {
    report.only(table, "[compute]", KEYS);
    let defaults = DEFAULT_LIMITS;
    let mut number = |bound: &Bound, default: u64| match table.get(bound.key) {
        Some(value) => bounded(report, value, bound).unwrap_or(default),
        None => default,
    };
    // No value is past its bound, and every bound fits the field that it is cut to.
    Limits {
        cpu_milli: number(&CPUS, defaults.cpu_milli.into()) as u32,
        memory_bytes: number(&MEMORY, defaults.memory_bytes),
        pids: number(&PIDS, defaults.pids.into()) as u32,
        disk_bytes: number(&DISK, defaults.disk_bytes),
        disk_inodes: number(&INODES, defaults.disk_inodes),
        open_files: number(&OPEN_FILES, defaults.open_files.into()) as u32,
        wall_ms: match table.get(WALL.key) {
            Some(value) if value.get_ref().as_str() == Some("none") => None,
            Some(value) => bounded(report, value, &WALL),
            None => defaults.wall_ms,
        },
    }
}

fn bounded(report: &mut Report, value: Value<'_, '_>, bound: &Bound) -> Option<u64> {
    let number = bound.read(value.get_ref());
    if number.is_none() {
        report.unexpected(value, bound.key, &bound.expected(), bound.example);
    }
    number
}

/// Whether every ceiling lies within its bounds.
pub(crate) fn holds(limits: &Limits) -> bool {
    CPUS.holds(limits.cpu_milli.into())
        && MEMORY.holds(limits.memory_bytes)
        && PIDS.holds(limits.pids.into())
        && DISK.holds(limits.disk_bytes)
        && INODES.holds(limits.disk_inodes)
        && OPEN_FILES.holds(limits.open_files.into())
        && limits.wall_ms.is_none_or(|ms| WALL.holds(ms))
}

/// Thousandths; none for what has finer steps, is negative or is no number.
fn milli(value: &DeValue<'_>) -> Option<u64> {
    match value {
        DeValue::Integer(_) => integer(value)?.checked_mul(1000),
        DeValue::Float(number) => {
            let thousandths = number.as_str().parse::<f64>().ok()? * 1000.0;
            let whole = thousandths.round();
            // A decimal fraction is not exact in binary: 0.29 * 1000 is 290 only nearly.
            let is_whole = (thousandths - whole).abs() < 1e-6;
            (is_whole && (0.0..=1e9).contains(&whole)).then_some(whole as u64)
        }
        _ => None,
    }
}

/// A size in the largest unit that shows it whole.
pub(crate) fn show_bytes(bytes: u64) -> String {
    show(bytes, &[(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "B")])
}

/// A time in the largest unit that shows it whole.
pub(crate) fn show_millis(ms: u64) -> String {
    show(ms, &[(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms")])
}

fn show(number: u64, units: &[(u64, &str)]) -> String {
    let (scale, unit) = units.iter().find(|(scale, _)| number.is_multiple_of(*scale)).unwrap_or(&(1, ""));
    format!("{}{unit}", number / scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_within_the_bounds() {
        assert!(holds(&DEFAULT_LIMITS));
    }

    #[test]
    fn every_bound_that_is_cut_to_32_bits_fits_them() {
        for bound in [&CPUS, &PIDS, &OPEN_FILES] {
            assert!(u32::try_from(bound.max).is_ok(), "{}", bound.key);
        }
    }

    #[test]
    fn every_thousandth_is_read_as_itself() {
        for n in 1..=1_024_000u64 {
            let text = format!("{}.{:03}", n / 1000, n % 1000);
            assert_eq!(milli(DeValue::parse(&text).unwrap().get_ref()), Some(n), "{text}");
        }
    }

    #[test]
    fn what_is_shown_is_read_back() {
        for n in [1, 1000, 1024, 512 << 20, 3 << 39, (1 << 40) + 1] {
            assert_eq!(parse_size_bytes(&show_bytes(n)), Ok(n));
            assert_eq!(parse_duration_ms(&show_millis(n)), Ok(n));
        }
    }
}
