//! The table for x86_64. Another architecture needs a table of its own; there is none to fall back on.

#[cfg(not(target_arch = "x86_64"))]
compile_error!("Casemate has a system call table for x86_64 only: write one for this architecture first");

/// What happens to one system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Its number.
    pub number: u32,
    /// Its name, which is also the name of the rule: `seccomp.NAME`.
    pub name: &'static str,
    /// What becomes of it.
    pub action: Action,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It runs.
    Allow,
    /// It runs if all checks hold; otherwise it is recorded as a denial and fails with the error.
    AllowIf(&'static [Check], i32),
    /// It is recorded as a denial and fails with the error.
    Deny(i32),
    /// It fails with the error and is not recorded: programs ask for it as a matter of course.
    Refuse(i32),
}

/// A condition on the lower 32 bits of one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Check {
    /// Which argument, from 0.
    pub argument: u8,
    /// The bits that are compared.
    pub mask: u32,
    /// With what.
    pub test: Test,
}

/// How a masked argument is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Test {
    /// It must be one of these.
    In(&'static [u32]),
    /// It must be none of these.
    NotIn(&'static [u32]),
}

impl Rule {
    /// The error that a refused call of this rule fails with.
    pub fn errno(&self) -> i32 {
        match self.action {
            Action::Allow => 0,
            Action::AllowIf(_, errno) | Action::Deny(errno) | Action::Refuse(errno) => errno,
        }
    }
}

/// Namespaces are the walls: nothing inside makes one. Signal number and the flags of threads stay free.
const NO_NEW_NAMESPACE: &[Check] = &[Check { argument: 0, mask: 0x7e02_0000, test: Test::In(&[0]) }];

/// Unix, IPv4 and IPv6; streams and datagrams; the default protocol, TCP or UDP. (Sequenced packets of IP would be SCTP
/// by default; those of unix sockets come in pairs.) AF_ALG, packet, netlink, vsock, raw sockets, SCTP and MPTCP are surface that an agent's work does not need.
const PLAIN_SOCKET: &[Check] = &[
    Check { argument: 0, mask: u32::MAX, test: Test::In(&[1, 2, 10]) },
    Check { argument: 1, mask: 0xf, test: Test::In(&[1, 2]) },
    Check { argument: 2, mask: u32::MAX, test: Test::In(&[0, 6, 17]) },
];

const UNIX_SOCKET: &[Check] = &[Check { argument: 0, mask: u32::MAX, test: Test::In(&[1]) }];

/// TIOCSTI and TIOCLINUX type into a terminal on somebody else's behalf; TIOCSETD loads line disciplines.
const HARMLESS_IOCTL: &[Check] =
    &[Check { argument: 1, mask: u32::MAX, test: Test::NotIn(&[0x5412, 0x541c, 0x5423]) }];

/// PER_LINUX, and the query. Other personalities switch off address randomisation or map page zero.
const PLAIN_PERSONALITY: &[Check] = &[Check { argument: 0, mask: u32::MAX, test: Test::In(&[0, u32::MAX]) }];

/// PR_SET_MM rewrites what /proc says of a process; PR_SET_PTRACER opens it to others.
const PLAIN_PRCTL: &[Check] = &[Check { argument: 0, mask: u32::MAX, test: Test::NotIn(&[35, 0x5961_6d61]) }];

const EPERM: i32 = libc::EPERM;
const ENOSYS: i32 = libc::ENOSYS;

macro_rules! table {
    (
        allow { $($allow:ident)* }
        allow_if { $($conditional:ident $checks:ident $errno:ident,)* }
        deny { $($deny:ident)* }
        refuse { $($refuse:ident $with:ident,)* }
        newer { $($name:ident $number:literal $action:expr,)* }
    ) => {
        /// The table. What it does not name fails with `ENOSYS`; a call of another ABI (i386, x32) ends the process.
        pub const X86_64: &[Rule] = &[
            $(rule(libc::$allow, stringify!($allow), Action::Allow),)*
            $(rule(libc::$conditional, stringify!($conditional), Action::AllowIf($checks, libc::$errno)),)*
            $(rule(libc::$deny, stringify!($deny), Action::Deny(EPERM)),)*
            $(rule(libc::$refuse, stringify!($refuse), Action::Refuse($with)),)*
            $(Rule { number: $number, name: stringify!($name), action: $action },)*
        ];
    };
}

const fn rule(number: libc::c_long, name: &'static str, action: Action) -> Rule {
    // The constants are all named `SYS_` and the call.
    Rule { number: number as u32, name: name.split_at(4).1, action }
}

table! {
    allow {
        SYS_read SYS_write SYS_open SYS_close SYS_stat SYS_fstat SYS_lstat SYS_poll SYS_lseek SYS_mmap
        SYS_mprotect SYS_munmap SYS_brk SYS_rt_sigaction SYS_rt_sigprocmask SYS_rt_sigreturn SYS_pread64
        SYS_pwrite64 SYS_readv SYS_writev SYS_access SYS_pipe SYS_select SYS_sched_yield SYS_mremap SYS_msync
        SYS_mincore SYS_madvise SYS_shmget SYS_shmat SYS_shmctl SYS_dup SYS_dup2 SYS_pause SYS_nanosleep
        SYS_getitimer SYS_alarm SYS_setitimer SYS_getpid SYS_sendfile SYS_connect SYS_accept SYS_sendto
        SYS_recvfrom SYS_sendmsg SYS_recvmsg SYS_shutdown SYS_bind SYS_listen SYS_getsockname SYS_getpeername
        SYS_setsockopt SYS_getsockopt SYS_fork SYS_vfork SYS_execve SYS_exit SYS_wait4 SYS_kill SYS_uname
        SYS_semget SYS_semop SYS_semctl SYS_shmdt SYS_msgget SYS_msgsnd SYS_msgrcv SYS_msgctl SYS_fcntl
        SYS_flock SYS_fsync SYS_fdatasync SYS_truncate SYS_ftruncate SYS_getdents SYS_getcwd SYS_chdir
        SYS_fchdir SYS_rename SYS_mkdir SYS_rmdir SYS_creat SYS_link SYS_unlink SYS_symlink SYS_readlink
        SYS_chmod SYS_fchmod SYS_chown SYS_fchown SYS_lchown SYS_umask SYS_gettimeofday SYS_getrlimit
        SYS_getrusage SYS_sysinfo SYS_times SYS_getuid SYS_getgid SYS_setuid SYS_setgid SYS_geteuid
        SYS_getegid SYS_setpgid SYS_getppid SYS_getpgrp SYS_setsid SYS_setreuid SYS_setregid SYS_getgroups
        SYS_setgroups SYS_setresuid SYS_getresuid SYS_setresgid SYS_getresgid SYS_getpgid SYS_setfsuid
        SYS_setfsgid SYS_getsid SYS_capget SYS_capset SYS_rt_sigpending SYS_rt_sigtimedwait
        SYS_rt_sigqueueinfo SYS_rt_sigsuspend SYS_sigaltstack SYS_utime SYS_mknod SYS_statfs SYS_fstatfs
        SYS_getpriority SYS_setpriority SYS_sched_setparam SYS_sched_getparam SYS_sched_setscheduler
        SYS_sched_getscheduler SYS_sched_get_priority_max SYS_sched_get_priority_min
        SYS_sched_rr_get_interval SYS_mlock SYS_munlock SYS_mlockall SYS_munlockall SYS_arch_prctl
        SYS_setrlimit SYS_sync SYS_gettid SYS_readahead SYS_setxattr SYS_lsetxattr SYS_fsetxattr SYS_getxattr
        SYS_lgetxattr SYS_fgetxattr SYS_listxattr SYS_llistxattr SYS_flistxattr SYS_removexattr
        SYS_lremovexattr SYS_fremovexattr SYS_tkill SYS_time SYS_futex SYS_sched_setaffinity
        SYS_sched_getaffinity SYS_io_destroy SYS_io_getevents SYS_io_submit SYS_io_cancel
        SYS_epoll_create SYS_getdents64 SYS_set_tid_address SYS_restart_syscall SYS_semtimedop SYS_fadvise64
        SYS_timer_create SYS_timer_settime SYS_timer_gettime SYS_timer_getoverrun SYS_timer_delete
        SYS_clock_gettime SYS_clock_getres SYS_clock_nanosleep SYS_exit_group SYS_epoll_wait SYS_epoll_ctl
        SYS_tgkill SYS_utimes SYS_mq_open SYS_mq_unlink SYS_mq_timedsend SYS_mq_timedreceive SYS_mq_notify
        SYS_mq_getsetattr SYS_waitid SYS_ioprio_set SYS_ioprio_get SYS_inotify_init SYS_inotify_add_watch
        SYS_inotify_rm_watch SYS_openat SYS_mkdirat SYS_mknodat SYS_fchownat SYS_futimesat SYS_newfstatat
        SYS_unlinkat SYS_renameat SYS_linkat SYS_symlinkat SYS_readlinkat SYS_fchmodat SYS_faccessat
        SYS_pselect6 SYS_ppoll SYS_set_robust_list SYS_get_robust_list SYS_splice SYS_tee
        SYS_sync_file_range SYS_utimensat SYS_epoll_pwait SYS_signalfd SYS_timerfd_create SYS_eventfd
        SYS_fallocate SYS_timerfd_settime SYS_timerfd_gettime SYS_accept4 SYS_signalfd4 SYS_eventfd2
        SYS_epoll_create1 SYS_dup3 SYS_pipe2 SYS_inotify_init1 SYS_preadv SYS_pwritev SYS_rt_tgsigqueueinfo
        SYS_recvmmsg SYS_prlimit64 SYS_syncfs SYS_sendmmsg SYS_getcpu SYS_sched_setattr SYS_sched_getattr
        SYS_renameat2 SYS_seccomp SYS_getrandom SYS_memfd_create SYS_execveat SYS_membarrier SYS_mlock2
        SYS_copy_file_range SYS_preadv2 SYS_pwritev2 SYS_pkey_mprotect SYS_pkey_alloc SYS_pkey_free SYS_statx
        SYS_rseq SYS_pidfd_send_signal SYS_pidfd_open SYS_close_range SYS_openat2
        SYS_faccessat2 SYS_epoll_pwait2 SYS_landlock_create_ruleset SYS_landlock_add_rule
        SYS_landlock_restrict_self SYS_process_mrelease SYS_futex_waitv SYS_vmsplice
    }
    allow_if {
        SYS_clone NO_NEW_NAMESPACE EPERM,
        SYS_socket PLAIN_SOCKET EAFNOSUPPORT,
        SYS_socketpair UNIX_SOCKET EAFNOSUPPORT,
        SYS_ioctl HARMLESS_IOCTL EPERM,
        SYS_personality PLAIN_PERSONALITY EPERM,
        SYS_prctl PLAIN_PRCTL EPERM,
    }
    deny {
        // Namespaces and mounts: the walls themselves.
        SYS_unshare SYS_setns SYS_mount SYS_umount2 SYS_pivot_root SYS_chroot SYS_open_tree SYS_move_mount
        SYS_fsopen SYS_fsconfig SYS_fsmount SYS_fspick SYS_mount_setattr
        // The kernel's richest surfaces: programs in it, rings into it, faults handled for it.
        SYS_bpf SYS_perf_event_open SYS_userfaultfd SYS_io_uring_setup SYS_io_uring_enter
        SYS_io_uring_register SYS_fanotify_init SYS_fanotify_mark
        // Other processes' memory and descriptors.
        SYS_ptrace SYS_process_vm_readv SYS_process_vm_writev SYS_process_madvise SYS_pidfd_getfd SYS_kcmp
        // Files by handle walk around every path rule.
        SYS_name_to_handle_at SYS_open_by_handle_at
        // Keys outlive namespaces.
        SYS_add_key SYS_request_key SYS_keyctl
        // The machine.
        SYS_kexec_load SYS_kexec_file_load SYS_init_module SYS_finit_module SYS_delete_module SYS_reboot
        SYS_swapon SYS_swapoff SYS_acct SYS_quotactl SYS_quotactl_fd SYS_sethostname SYS_setdomainname
        SYS_iopl SYS_ioperm SYS_settimeofday SYS_clock_settime SYS_syslog SYS_modify_ldt SYS_vhangup
    }
    refuse {
        // Its flags lie behind a pointer where no filter can look; every C library falls back to clone.
        SYS_clone3 ENOSYS,
        // Its quota (fs.aio-max-nr) is the whole machine's; callers fall back to threads.
        SYS_io_setup ENOSYS,
        // Asked for by memory allocators and runtimes that go on without.
        SYS_mbind ENOSYS,
        SYS_set_mempolicy ENOSYS,
        SYS_get_mempolicy ENOSYS,
        SYS_set_mempolicy_home_node ENOSYS,
        SYS_migrate_pages ENOSYS,
        SYS_move_pages ENOSYS,
        SYS_memfd_secret ENOSYS,
        SYS_adjtimex EPERM,
        SYS_clock_adjtime EPERM,
    }
    newer {
        io_pgetevents 333 Action::Allow,
        cachestat 451 Action::Allow,
        fchmodat2 452 Action::Allow,
        map_shadow_stack 453 Action::Allow,
        futex_wake 454 Action::Allow,
        futex_wait 455 Action::Allow,
        futex_requeue 456 Action::Allow,
        statmount 457 Action::Deny(EPERM),
        listmount 458 Action::Deny(EPERM),
        mseal 462 Action::Allow,
        setxattrat 463 Action::Allow,
        getxattrat 464 Action::Allow,
        listxattrat 465 Action::Allow,
        removexattrat 466 Action::Allow,
        open_tree_attr 467 Action::Deny(EPERM),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_call_is_named_twice() {
        let mut numbers: Vec<u32> = X86_64.iter().map(|rule| rule.number).collect();
        numbers.sort_unstable();
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn the_mask_of_namespaces_is_every_clone_flag_that_makes_one() {
        let flags = libc::CLONE_NEWNS
            | libc::CLONE_NEWCGROUP
            | libc::CLONE_NEWUTS
            | libc::CLONE_NEWIPC
            | libc::CLONE_NEWUSER
            | libc::CLONE_NEWPID
            | libc::CLONE_NEWNET;
        assert_eq!(NO_NEW_NAMESPACE[0].mask, flags as u32);
    }
}
