//! Ways to what must stay outside. What can be read is printed, so that a secret shows wherever it comes through.

use crate::walk::open;
use containment::errno::outcome;
use containment::sys::{attempt, call};
use containment::{Facts, errno};
use rustix::fd::{AsRawFd, OwnedFd};
use std::ffi::CString;
use std::io::Read;
use std::os::unix::fs::symlink;

/// Every place where something is mounted.
pub(crate) fn mount_points() -> Vec<String> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    text.lines().filter_map(|line| line.split(' ').nth(4).map(str::to_owned)).collect()
}

/// Where a text stands: in the environment and words of any process, or in a file of the trees. It is given backwards,
/// so as not to be found in the probe's own words.
pub(crate) fn search(reversed: &str, trees: &[&str]) -> Facts {
    let needle: String = reversed.chars().rev().collect();
    let mut facts = Facts::new();
    let mut look = |path: String| {
        if std::fs::read(&path)
            .is_ok_and(|bytes| bytes.windows(needle.len()).any(|part| part == needle.as_bytes()))
        {
            facts.insert(path, "there".to_owned());
        }
    };
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_string_lossy().into_owned();
        if pid.bytes().all(|byte| byte.is_ascii_digit()) {
            for name in ["environ", "cmdline", "comm", "mountinfo", "cgroup"] {
                look(format!("/proc/{pid}/{name}"));
            }
        }
    }
    let mut trees: Vec<String> = trees.iter().map(|tree| (*tree).to_owned()).collect();
    while let Some(tree) = trees.pop() {
        for entry in std::fs::read_dir(&tree).into_iter().flatten().flatten() {
            let path = format!("{tree}/{}", entry.file_name().to_string_lossy());
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => trees.push(path),
                Ok(kind) if kind.is_file() && entry.metadata().is_ok_and(|m| m.len() < 1 << 20) => look(path),
                _ => {}
            }
        }
    }
    facts
}

/// What stands in files.
pub(crate) fn read(paths: &[&str]) -> Facts {
    paths.iter().map(|path| ((*path).to_owned(), content(open(path, libc::O_RDONLY)))).collect()
}

fn content(opened: Result<OwnedFd, i32>) -> String {
    let fd = match opened {
        Ok(fd) => fd,
        Err(errno) => return errno::name(errno),
    };
    let mut text = String::new();
    match std::fs::File::from(fd).take(256).read_to_string(&mut text) {
        Ok(_) => format!("read {text}"),
        Err(error) => errno::name(error.raw_os_error().unwrap_or(0)),
    }
}

/// Every way to the paths that is known. Some change the mount table of whoever gets through.
pub(crate) fn reach(paths: &[&str]) -> Facts {
    let mut facts = Facts::new();
    let roots = roots();
    for (number, path) in paths.iter().enumerate() {
        for root in &roots {
            facts.insert(
                format!("open {root}{path}"),
                content(open(&format!("{root}{path}"), libc::O_RDONLY)),
            );
        }
        facts.insert(format!("openat2 {path}"), content(openat2(path)));
        let link = format!("/tmp/symbolic-{number}");
        facts.insert(
            format!("symlink {path}"),
            match symlink(path, &link) {
                Ok(()) => content(open(&link, libc::O_RDONLY)),
                Err(error) => errno::name(error.raw_os_error().unwrap_or(0)),
            },
        );
        let link = format!("/tmp/hard-{number}");
        facts.insert(
            format!("link {path}"),
            match std::fs::hard_link(path, &link) {
                Ok(()) => content(open(&link, libc::O_RDONLY)),
                Err(error) => errno::name(error.raw_os_error().unwrap_or(0)),
            },
        );
        facts.insert(format!("handle of {path}"), handle_of(path));
    }
    for (name, fd) in descriptors() {
        for path in paths {
            let text = content(openat(&fd, path.trim_start_matches('/')));
            if text.starts_with("read") {
                facts.insert(format!("below {name}: {path}"), text);
            }
        }
    }
    facts.extend(mounts(paths));
    facts
}

/// What may lead to the host's root.
fn roots() -> Vec<String> {
    let mut roots =
        vec![String::new(), "/..".to_owned(), "/../..".to_owned(), "/proc/self/cwd/../../../..".to_owned()];
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_string_lossy().into_owned();
        if pid.bytes().all(|byte| byte.is_ascii_digit()) {
            roots.extend([format!("/proc/{pid}/root"), format!("/proc/{pid}/cwd/../../../..")]);
        }
    }
    roots.extend(mount_points().into_iter().filter(|mount| mount != "/"));
    roots
}

/// Directories that descriptors and mappings of any process stand for.
fn descriptors() -> Vec<(String, OwnedFd)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_string_lossy().into_owned();
        for kind in ["fd", "map_files"] {
            for entry in std::fs::read_dir(format!("/proc/{pid}/{kind}")).into_iter().flatten().flatten() {
                let path = format!("/proc/{pid}/{kind}/{}", entry.file_name().to_string_lossy());
                if let Ok(fd) = open(&path, libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NONBLOCK) {
                    found.push((path, fd));
                }
            }
        }
    }
    found
}

fn openat(fd: &OwnedFd, path: &str) -> Result<OwnedFd, i32> {
    rustix::fs::openat(fd, path, rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty())
        .map_err(rustix::io::Errno::raw_os_error)
}

fn openat2(path: &str) -> Result<OwnedFd, i32> {
    use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
    rustix::fs::openat2(CWD, path, OFlags::RDONLY, Mode::empty(), ResolveFlags::empty())
        .map_err(rustix::io::Errno::raw_os_error)
}

/// A handle for the path; and a file by a handle that is guessed: inode 2, the root of most file systems.
fn handle_of(path: &str) -> String {
    let path = CString::new(path).unwrap_or_default();
    let mut space = [0_u32; 34];
    space[0] = 128;
    let mount = 0_i32;
    let named = call(
        libc::SYS_name_to_handle_at,
        [
            libc::AT_FDCWD as u64,
            path.as_ptr() as u64,
            space.as_mut_ptr() as u64,
            &raw const mount as u64,
            0,
            0,
        ],
    );
    let guess = [8_u32, 1, 2, 0];
    let Ok(below) = open("/usr", libc::O_RDONLY | libc::O_DIRECTORY) else { return "no /usr".to_owned() };
    let by_handle =
        call(libc::SYS_open_by_handle_at, [below.as_raw_fd() as u64, guess.as_ptr() as u64, 0, 0, 0, 0]);
    format!("{} and {}", outcome(&named), outcome(&by_handle))
}

/// Mounts of the host's file systems; what is reached through one is read.
fn mounts(paths: &[&str]) -> Facts {
    let mut facts = Facts::new();
    let text = |word: &str| CString::new(word).unwrap_or_default();
    let at = text("/tmp");
    for (kind, source, flags) in [
        ("proc", "proc", 0),
        ("sysfs", "sysfs", 0),
        ("devtmpfs", "devtmpfs", 0),
        ("ext4", "/dev/vda", 0),
        ("cgroup2", "cgroup2", 0),
        ("", "/proc/1/root", libc::MS_BIND),
        ("", "/..", libc::MS_BIND | libc::MS_REC),
    ] {
        let (k, s) = (text(kind), text(source));
        let arguments = [s.as_ptr() as u64, at.as_ptr() as u64, k.as_ptr() as u64, flags, 0, 0];
        facts.insert(format!("mount {kind} {source}"), attempt(|| call(libc::SYS_mount, arguments)));
    }
    for path in paths {
        let from = text(path);
        let arguments = [from.as_ptr() as u64, at.as_ptr() as u64, 0, libc::MS_BIND, 0, 0];
        facts.insert(format!("bind {path}"), attempt(|| call(libc::SYS_mount, arguments)));
        let tree = [libc::AT_FDCWD as u64, from.as_ptr() as u64, 1, 0, 0, 0];
        facts.insert(format!("open_tree {path}"), attempt(|| call(libc::SYS_open_tree, tree)));
    }
    facts
}
