//! Trees of the kernel's: what of them can be opened.

use containment::Facts;
use containment::errno;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use std::os::unix::fs::PermissionsExt;

/// `open` with the flags of libc.
pub(crate) fn open(path: &str, flags: i32) -> Result<OwnedFd, i32> {
    let flags = OFlags::from_bits_retain(flags as u32) | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(rustix::io::Errno::raw_os_error)
}

/// Every file below that can be opened for writing. The probe's own number is shown as `self`; of other processes only
/// the first is looked at, and of threads and descriptors none.
pub(crate) fn writable(trees: &[&str]) -> Facts {
    let own = std::process::id().to_string();
    let mut facts = Facts::new();
    let mut left: Vec<String> = trees.iter().map(|tree| (*tree).to_owned()).collect();
    let mut files = 0;
    while let Some(tree) = left.pop() {
        for entry in std::fs::read_dir(&tree).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("{tree}/{name}");
            let of_a_process = tree == "/proc" && name.bytes().all(|byte| byte.is_ascii_digit());
            if of_a_process && name != own && name != "1" {
                continue;
            }
            match entry.file_type() {
                Ok(kind)
                    if kind.is_dir() && !["task", "fd", "fdinfo", "map_files"].contains(&name.as_str()) =>
                {
                    left.push(path);
                }
                Ok(kind) if kind.is_file() => {
                    files += 1;
                    // Root opens for writing also what nobody can write to.
                    let meant =
                        entry.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o222 != 0);
                    if meant && open(&path, libc::O_WRONLY | libc::O_NONBLOCK).is_ok() {
                        facts.insert(
                            path.replacen(&format!("/proc/{own}/"), "/proc/self/", 1),
                            "writable".to_owned(),
                        );
                    }
                }
                _ => {}
            }
        }
    }
    facts.insert("looked at some files".to_owned(), (files > 0).to_string());
    facts
}

/// Every entry of a directory and what reading it gives: its error, `empty`, or `ok`.
pub(crate) fn readable(tree: &str) -> Facts {
    let mut facts = Facts::new();
    for entry in std::fs::read_dir(tree).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.bytes().all(|byte| byte.is_ascii_digit()) {
            let path = format!("{tree}/{name}");
            let outcome = match open(&path, libc::O_RDONLY | libc::O_NONBLOCK) {
                Err(errno) => errno::name(errno),
                Ok(_) if std::fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_none()) => {
                    "empty".to_owned()
                }
                Ok(fd) => match rustix::io::read(&fd, &mut [0; 1]) {
                    Ok(0) => "empty".to_owned(),
                    // A directory cannot be read as a file is; that it is not empty has been seen.
                    Ok(_) | Err(rustix::io::Errno::ISDIR) => "ok".to_owned(),
                    Err(error) => errno::name(error.raw_os_error()),
                },
            };
            facts.insert(name, outcome);
        }
    }
    facts
}
