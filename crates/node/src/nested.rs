//! Mounts beneath a directory. A zone shows one mount: what lies beneath another would be missing, or what that one
//! covers would be seen.

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, StatxFlags, statx};
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The place of a mount beneath `directory`, whose canonical path is `path`; none if there is none.
pub(crate) fn beneath(directory: &OwnedFd, path: &Path) -> io::Result<Option<PathBuf>> {
    let found = statx(directory, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?;
    let table = std::fs::read("/proc/self/mountinfo")?;
    Ok(first_beneath(&table, found.stx_mnt_id, path))
}

/// The first mount on the mount `parent` that is placed beneath `path`. What such a mount carries in its turn, or what
/// another one hides, has another parent.
fn first_beneath(table: &[u8], parent: u64, path: &Path) -> Option<PathBuf> {
    table.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.split(|byte| *byte == b' ').skip(1);
        let its_parent: u64 = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
        let place = PathBuf::from(OsString::from_vec(unescape(fields.nth(2)?)));
        let is_beneath =
            place.starts_with(path) && place.as_os_str().as_bytes() != path.as_os_str().as_bytes();
        (its_parent == parent && is_beneath).then_some(place)
    })
}

/// The kernel writes a space, a tab, a line break and a backslash as a backslash and three octal digits.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        rest = tail;
        let digit =
            |at: usize| tail.get(at).filter(|b| (b'0'..=b'7').contains(b)).map(|b| u32::from(b - b'0'));
        match (first, digit(0), digit(1), digit(2)) {
            (b'\\', Some(a), Some(b), Some(c)) if a < 4 => {
                bytes.push((a * 64 + b * 8 + c) as u8);
                rest = &tail[3..];
            }
            (byte, ..) => bytes.push(*byte),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"\
20 1 8:1 / / rw - ext4 /dev/sda1 rw
30 20 0:5 / /data/one rw shared:1 - tmpfs none rw
31 30 0:6 / /data/one/two rw - tmpfs none rw
32 20 0:7 / /with\\040space/\\134x rw - tmpfs none rw
33 20 0:8 / /database rw - tmpfs none rw
broken
34 x 0:9 / /data/y rw
";

    #[test]
    fn a_mount_is_beneath_a_directory_only_if_it_is_on_the_same_mount_and_below() {
        let first = |parent, path: &str| first_beneath(TABLE, parent, Path::new(path));
        assert_eq!(first(20, "/data"), Some("/data/one".into()));
        assert_eq!(first(30, "/data/one"), Some("/data/one/two".into()));
        assert_eq!(first(31, "/data/one/two"), None);
        assert_eq!(first(20, "/data/one"), None);
        assert_eq!(first(20, "/dat"), None);
        assert_eq!(first(20, "/with space"), Some("/with space/\\x".into()));
    }

    #[test]
    fn no_table_makes_the_reader_panic() {
        for table in
            [&b""[..], b"\n\n", b"1 2 3 4 \\", b"1 2 3 4 \\77", b"1 2 3 4 \\777", b"\xff \xff \xff \xff \xff"]
        {
            assert_eq!(first_beneath(table, 9, Path::new("/x")), None);
        }
        assert_eq!(unescape(b"\\777\\0"), b"\\777\\0");
    }
}
