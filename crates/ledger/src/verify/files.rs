//! Goes through the names under `log/`: what no ledger writes there is a problem.

use super::problem::{Flaw, Problems};
use crate::disk::State;
use crate::frame::{self, Check, Header, Kind, Next};
use crate::layout::{self, TAIL, WIDTH};
use crate::read::snapshot;
use rustix::fs::FileType;

/// Directories below one another: `tile`, a level, and the digits of an index.
const DEPTH_MAX: usize = 10;

/// Looks at every name. `size` is the number of records that were verified.
pub(super) fn walk(state: &State, size: u64, problems: &mut Problems) {
    visit(state, "log", size, DEPTH_MAX, problems);
}

fn visit(state: &State, dir: &str, size: u64, depth: usize, problems: &mut Problems) {
    let names = match state.list(dir) {
        Ok(names) => names,
        Err(error) => return problems.add(dir, None, None, Flaw::unreadable(&error)),
    };
    for name in names {
        let name = format!("{dir}/{name}");
        let kind = match state.stat(&name) {
            Ok(stat) => FileType::from_raw_mode(stat.st_mode),
            Err(error) => {
                problems.add(&name, None, None, Flaw::unreadable(&error));
                continue;
            }
        };
        match kind {
            FileType::Directory if is_dir_of_ours(&name) && depth > 0 => {
                visit(state, &name, size, depth - 1, problems);
            }
            FileType::RegularFile if is_file_of_ours(&name, size) => {}
            // A writer may have filled a tile since we read the tail.
            FileType::RegularFile if is_file_of_ours(&name, size_now(state)) => {}
            FileType::RegularFile | FileType::Directory => problems.add(&name, None, None, Flaw::Unknown),
            _ => problems.add(&name, None, None, Flaw::NotAFile),
        }
    }
}

fn is_dir_of_ours(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("log/tile") else { return false };
    let mut parts = rest.split('/').skip(1);
    let level = parts.next().is_none_or(|level| level == "entries" || level_of(level).is_some());
    level && parts.all(|part| part.len() == 4 && part.starts_with('x') && digits(&part[1..]).is_some())
}

/// Whether the file is the tail, or a tile or a bundle that a log of `size` records fills.
fn is_file_of_ours(name: &str, size: u64) -> bool {
    if name == TAIL {
        return true;
    }
    let Some((first, number)) = name.strip_prefix("log/tile/").and_then(|rest| rest.split_once('/')) else {
        return false;
    };
    let index = number.split('/').try_fold(0u64, |index, part| {
        let part = digits(part.strip_prefix('x').unwrap_or(part))?;
        index.checked_mul(1000)?.checked_add(part)
    });
    let Some(index) = index else { return false };
    let (level, expected) = match level_of(first) {
        Some(level) => (level, layout::tile(level, index)),
        None => (0, layout::bundle(index)),
    };
    let end = (WIDTH as u64).checked_pow(level + 1).and_then(|width| width.checked_mul(index + 1));
    name == expected && end.is_some_and(|end| end <= size)
}

fn level_of(name: &str) -> Option<u32> {
    name.parse().ok().filter(|level: &u32| *level < 8 && level.to_string() == name)
}

fn digits(text: &str) -> Option<u64> {
    if text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// How many records the log holds at this moment.
fn size_now(state: &State) -> u64 {
    let Ok(bytes) = snapshot(state) else { return 0 };
    let Ok((header, mut at)) = Header::decode(&bytes) else { return 0 };
    let mut size = header.first;
    while let Next::Frame(frame) = frame::next(&bytes[at..], Check::Layout) {
        size += u64::from(frame.kind == Kind::Entry);
        at += frame.len();
    }
    size
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_names_that_a_full_tile_has_belong_to_the_log() {
        for name in ["log/tile/entries/000", "log/tile/0/001", "log/tail"] {
            assert!(is_file_of_ours(name, 512), "{name}");
        }
        for name in ["log/tile/entries/002", "log/tile/1/000", "log/tile/0/x000/001", "log/tile/00/001"] {
            assert!(!is_file_of_ours(name, 512), "{name}");
        }
        assert!(is_file_of_ours("log/tile/0/x001/000", 256_256));
        assert!(!is_file_of_ours("log/tile/0/1001", 1 << 40) && !is_file_of_ours("log/x", 1 << 40));
        assert!(
            is_dir_of_ours("log/tile/0/x001") && !is_dir_of_ours("log/tile/9") && !is_dir_of_ours("log/a")
        );
    }
}
