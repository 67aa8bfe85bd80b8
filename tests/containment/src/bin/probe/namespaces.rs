//! Namespaces: making and entering them.

use containment::Facts;
use containment::sys::{attempt, call};
use rustix::fd::AsRawFd;

const KINDS: &[(&str, i32)] = &[
    ("user", libc::CLONE_NEWUSER),
    ("pid", libc::CLONE_NEWPID),
    ("mnt", libc::CLONE_NEWNS),
    ("net", libc::CLONE_NEWNET),
    ("ipc", libc::CLONE_NEWIPC),
    ("uts", libc::CLONE_NEWUTS),
    ("cgroup", libc::CLONE_NEWCGROUP),
    ("time", 0x80),
];

/// Every kind by every call. Outside, an ordinary user may make a user namespace and with it all others.
pub(crate) fn all() -> Facts {
    let mut facts = Facts::new();
    for (name, flag) in KINDS {
        let flag = *flag as u64;
        let with_user = flag | libc::CLONE_NEWUSER as u64;
        facts.insert(format!("unshare {name}"), attempt(|| call(libc::SYS_unshare, [flag, 0, 0, 0, 0, 0])));
        facts.insert(
            format!("unshare user and {name}"),
            attempt(|| call(libc::SYS_unshare, [with_user, 0, 0, 0, 0, 0])),
        );
        if *name != "time" {
            // In clone, time's flag is part of the signal's number.
            facts.insert(
                format!("clone {name}"),
                attempt(|| born(libc::SYS_clone, [flag | 17, 0, 0, 0, 0, 0])),
            );
            facts.insert(
                format!("clone user and {name}"),
                attempt(|| born(libc::SYS_clone, [with_user | 17, 0, 0, 0, 0, 0])),
            );
        }
        let arguments = [with_user, 0, 0, 0, 17, 0, 0, 0];
        let size = size_of_val(&arguments) as u64;
        let clone3 = [arguments.as_ptr() as u64, size, 0, 0, 0, 0];
        facts.insert(format!("clone3 {name}"), attempt(|| born(libc::SYS_clone3, clone3)));
        let path = format!("/proc/self/ns/{name}");
        facts.insert(
            format!("setns {name}"),
            match crate::walk::open(&path, libc::O_RDONLY) {
                Ok(fd) => attempt(|| call(libc::SYS_setns, [fd.as_raw_fd() as u64, flag, 0, 0, 0, 0])),
                Err(errno) => containment::errno::name(errno),
            },
        );
    }
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let host_root = map.lines().any(|line| line.split_whitespace().nth(1) == Some("0"));
    facts.insert("the host's root is mapped".to_owned(), host_root.to_string());
    facts
}

/// A call that returns twice; the child leaves at once.
fn born(number: i64, arguments: [u64; 6]) -> Result<i64, i32> {
    let result = call(number, arguments);
    if result == Ok(0) {
        let _ = call(libc::SYS_exit_group, [0; 6]);
    }
    result
}
