//! The ceilings: `[compute]`.

use crate::keys::{self, Key};
use crate::problem::Report;
use crate::reading::Table;
use model::Limits;

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

/// Reads `[compute]`; what it leaves out, or what is refused of it, has the value of `defaults`.
pub(crate) fn read(report: &mut Report, table: &Table, defaults: Limits) -> Limits {
    let mut number = |key: &Key, default: u64| report.number(table, key).unwrap_or(default);
    // No value is past its bound, and every bound fits the field that it is cut to.
    let limits = Limits {
        cpu_milli: number(&keys::CPUS, defaults.cpu_milli.into()) as u32,
        memory_bytes: number(&keys::MEMORY, defaults.memory_bytes),
        pids: number(&keys::PIDS, defaults.pids.into()) as u32,
        disk_bytes: number(&keys::DISK, defaults.disk_bytes),
        disk_inodes: number(&keys::INODES, defaults.disk_inodes),
        open_files: number(&keys::OPEN_FILES, defaults.open_files.into()) as u32,
        wall_ms: defaults.wall_ms,
    };
    let wall_ms = match table.get(keys::WALL.name) {
        Some(value) if value.as_str() == Some("none") => None,
        Some(_) => report.number(table, &keys::WALL),
        None => defaults.wall_ms,
    };
    Limits { wall_ms, ..limits }
}

/// Whether every ceiling lies within its bounds.
pub(crate) fn holds(limits: &Limits) -> bool {
    keys::CPUS.takes.holds(limits.cpu_milli.into())
        && keys::MEMORY.takes.holds(limits.memory_bytes)
        && keys::PIDS.takes.holds(limits.pids.into())
        && keys::DISK.takes.holds(limits.disk_bytes)
        && keys::INODES.takes.holds(limits.disk_inodes)
        && keys::OPEN_FILES.takes.holds(limits.open_files.into())
        && limits.wall_ms.is_none_or(|ms| keys::WALL.takes.holds(ms))
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
    use model::{parse_duration_ms, parse_size_bytes};

    #[test]
    fn the_defaults_are_within_the_bounds() {
        assert!(holds(&DEFAULT_LIMITS));
    }

    #[test]
    fn every_bound_that_is_cut_to_32_bits_fits_them() {
        for key in [&keys::CPUS, &keys::PIDS, &keys::OPEN_FILES] {
            assert!(!key.takes.holds(u64::from(u32::MAX) + 1), "{}", key.name);
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
