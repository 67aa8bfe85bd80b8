//! Devices: those that are there, and those that can be made.

use containment::Facts;
use containment::sys::{attempt, call};
use rustix::fs::{AtFlags, CWD, FileType};
use std::ffi::CString;

/// All below /dev by kind and number, and what comes of making one.
pub(crate) fn all() -> Facts {
    let mut facts = Facts::new();
    let mut left = vec!["/dev".to_owned()];
    while let Some(tree) = left.pop() {
        for entry in std::fs::read_dir(&tree).into_iter().flatten().flatten() {
            let path = format!("{tree}/{}", entry.file_name().to_string_lossy());
            let Ok(stat) = rustix::fs::statat(CWD, &path, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
            let shown = match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => {
                    left.push(path.clone());
                    "directory".to_owned()
                }
                FileType::Symlink => {
                    let target = std::fs::read_link(&path).unwrap_or_default();
                    format!("-> {}", target.display())
                }
                FileType::CharacterDevice => format!("character {major}:{minor}"),
                FileType::BlockDevice => format!("block {major}:{minor}"),
                _ => "file".to_owned(),
            };
            facts.insert(path, shown);
        }
    }
    for (name, mode, device) in [
        ("null", libc::S_IFCHR, libc::makedev(1, 3)),
        ("kmsg", libc::S_IFCHR, libc::makedev(1, 11)),
        ("disk", libc::S_IFBLK, libc::makedev(8, 0)),
        ("pipe", libc::S_IFIFO, 0),
    ] {
        for directory in ["/tmp", "/dev", "/dev/shm"] {
            let path =
                CString::new(format!("{directory}/probe-{name}-{}", std::process::id())).unwrap_or_default();
            let arguments = [path.as_ptr() as u64, u64::from(mode | 0o600), device, 0, 0, 0];
            facts.insert(format!("mknod {directory} {name}"), attempt(|| call(libc::SYS_mknod, arguments)));
            let _ = call(libc::SYS_unlink, [path.as_ptr() as u64, 0, 0, 0, 0, 0]);
        }
    }
    facts
}
