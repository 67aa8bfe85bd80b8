//! CT-16: calls that reach far into the kernel, into other processes or into the machine fail before they begin.

use anyhow::Result;
use containment::{Ground, Profile, differences, facts};

containment::proofs!(ct_16::dangerous_syscalls, mutants: &[
    "without:seccomp",
    "allow:bpf",
    "allow:keyctl",
    "allow:ptrace",
    "allow:userfaultfd",
    "allow:name_to_handle_at",
    "allow:pidfd_getfd",
]);

/// Refused with EPERM, each one with its number.
const REFUSED: &[(&str, i64)] = &[
    ("bpf", libc::SYS_bpf),
    ("perf_event_open", libc::SYS_perf_event_open),
    ("userfaultfd", libc::SYS_userfaultfd),
    ("io_uring_setup", libc::SYS_io_uring_setup),
    ("io_uring_enter", libc::SYS_io_uring_enter),
    ("io_uring_register", libc::SYS_io_uring_register),
    ("fanotify_init", libc::SYS_fanotify_init),
    ("fanotify_mark", libc::SYS_fanotify_mark),
    ("ptrace", libc::SYS_ptrace),
    ("process_vm_readv", libc::SYS_process_vm_readv),
    ("process_vm_writev", libc::SYS_process_vm_writev),
    ("process_madvise", libc::SYS_process_madvise),
    ("pidfd_getfd", libc::SYS_pidfd_getfd),
    ("kcmp", libc::SYS_kcmp),
    ("name_to_handle_at", libc::SYS_name_to_handle_at),
    ("open_by_handle_at", libc::SYS_open_by_handle_at),
    ("add_key", libc::SYS_add_key),
    ("request_key", libc::SYS_request_key),
    ("keyctl", libc::SYS_keyctl),
    ("unshare", libc::SYS_unshare),
    ("setns", libc::SYS_setns),
    ("mount", libc::SYS_mount),
    ("umount2", libc::SYS_umount2),
    ("pivot_root", libc::SYS_pivot_root),
    ("chroot", libc::SYS_chroot),
    ("open_tree", libc::SYS_open_tree),
    ("move_mount", libc::SYS_move_mount),
    ("fsopen", libc::SYS_fsopen),
    ("fsconfig", libc::SYS_fsconfig),
    ("fsmount", libc::SYS_fsmount),
    ("fspick", libc::SYS_fspick),
    ("mount_setattr", libc::SYS_mount_setattr),
    ("statmount", 457),
    ("listmount", 458),
    ("open_tree_attr", 467),
    ("kexec_load", libc::SYS_kexec_load),
    ("kexec_file_load", libc::SYS_kexec_file_load),
    ("init_module", libc::SYS_init_module),
    ("finit_module", libc::SYS_finit_module),
    ("delete_module", libc::SYS_delete_module),
    ("reboot", libc::SYS_reboot),
    ("swapon", libc::SYS_swapon),
    ("swapoff", libc::SYS_swapoff),
    ("acct", libc::SYS_acct),
    ("quotactl", libc::SYS_quotactl),
    ("quotactl_fd", libc::SYS_quotactl_fd),
    ("sethostname", libc::SYS_sethostname),
    ("setdomainname", libc::SYS_setdomainname),
    ("iopl", libc::SYS_iopl),
    ("ioperm", libc::SYS_ioperm),
    ("settimeofday", libc::SYS_settimeofday),
    ("clock_settime", libc::SYS_clock_settime),
    ("adjtimex", libc::SYS_adjtimex),
    ("clock_adjtime", libc::SYS_clock_adjtime),
    ("syslog", libc::SYS_syslog),
    ("modify_ldt", libc::SYS_modify_ldt),
    ("vhangup", libc::SYS_vhangup),
];

/// Refused with ENOSYS: programs take that for an older kernel and go on.
const MISSING: &[(&str, i64)] = &[
    ("clone3", libc::SYS_clone3),
    ("mbind", libc::SYS_mbind),
    ("set_mempolicy", libc::SYS_set_mempolicy),
    ("get_mempolicy", libc::SYS_get_mempolicy),
    ("migrate_pages", libc::SYS_migrate_pages),
    ("move_pages", libc::SYS_move_pages),
    ("memfd_secret", libc::SYS_memfd_secret),
];

/// Calls that the control leaves out, with the reason.
const NOT_OUTSIDE: &[(&str, &str)] = &[("vhangup", "it hangs up the terminal of whoever runs the tests")];

/// At least so many of them must work outside; a kernel need not be built with all.
const KNOWN_OUTSIDE: usize = 45;

fn words(calls: &[(&str, i64)], leave: &[(&str, &str)]) -> Vec<String> {
    let numbers = calls.iter().filter(|(name, _)| !leave.iter().any(|(left, _)| left == name));
    std::iter::once("real".to_owned()).chain(numbers.map(|(_, number)| number.to_string())).collect()
}

/// With all bits set, arguments mean nothing, and the calls say so. An ordinary user may not make all of them.
fn control(ground: &Ground) -> Result<Vec<String>> {
    let words = words(&[REFUSED, MISSING].concat(), NOT_OUTSIDE);
    let found = ground.probe_outside(&words.iter().map(String::as_str).collect::<Vec<_>>())?;
    let known = found.values().filter(|outcome| *outcome != "ENOSYS").count();
    let mut failed = Vec::new();
    if known < KNOWN_OUTSIDE {
        failed.push(format!("only {known} of the calls are in this kernel"));
    }
    if ground.profile() == Profile::Root {
        let refused = found.into_iter().filter(|(_, outcome)| outcome == "EPERM");
        failed.extend(refused.map(|(number, _)| format!("{number} is refused")));
    }
    Ok(failed)
}

fn findings(ground: &Ground, mutant: Option<&str>) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for (calls, errno) in [(REFUSED, "EPERM"), (MISSING, "ENOSYS")] {
        let words = words(calls, &[]);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let expected = facts::all(words[1..].iter().copied(), errno);
        found.extend(differences(&expected, &ground.inside(mutant).facts(&words)?));
        if ground.profile().own_block() {
            let root = differences(&expected, &ground.inside(mutant).as_root().facts(&words)?);
            found.extend(root.into_iter().map(|line| format!("root: {line}")));
        }
    }
    Ok(found)
}
