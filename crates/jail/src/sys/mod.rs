//! The one place for `unsafe`: system calls that rustix does not wrap. One function, one call.
//!
//! Everything here returns the kernel's error as it is; the callers add what they tried and with what.

#![allow(unsafe_code)]

use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ffi::CStr;
use std::io;

mod beside;
mod given;
pub mod landlock;
pub mod seccomp;

pub use beside::{Beside, beside, enter_network_namespace, loopback_up, network_namespace};
pub use given::standard_descriptors_given;

/// The two sides of a fork.
pub enum Forked {
    /// We are the new process.
    Child,
    /// We are the old one; the new one's pid, and a descriptor that becomes readable when it ends.
    Parent {
        /// Pid as seen here.
        pid: i32,
        /// Its pidfd, close-on-exec.
        pidfd: OwnedFd,
    },
}

/// Of `linux/sched.h`; the `libc` crate has it in a type that is too narrow.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

#[repr(C, align(8))]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Makes a copy of this process: `clone3` with `flags` (namespaces), straight into `cgroup` if one is given.
///
/// Only for a single-threaded process: the copy has this thread alone, so a lock that another thread held
/// would stay locked in it for ever.
///
/// # Errors
/// What `clone3` says: `EPERM` and `ENOSPC` for namespaces that may not be made, `EACCES` for the cgroup.
pub fn clone3(flags: u64, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Forked> {
    let mut pidfd: RawFd = -1;
    let mut args = CloneArgs {
        flags: flags | libc::CLONE_PIDFD as u64,
        pidfd: &raw mut pidfd as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArgs::default()
    };
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: `args` and `pidfd` outlive the call and have the kernel's layout and size. Without CLONE_VM the
    // child runs on its own copy of this stack; the process is single-threaded by this function's contract.
    match unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<CloneArgs>()) } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Forked::Child),
        // SAFETY: the kernel has just opened `pidfd` for us and nobody else knows its number.
        pid => Ok(Forked::Parent { pid: pid as i32, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } }),
    }
}

/// Enters the user namespace `namespace`: all capabilities in it, and the same user as before outside it.
///
/// # Errors
/// What `setns` says.
pub fn enter_user_namespace(namespace: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: takes an open descriptor; a user namespace shares neither memory nor descriptors with anyone.
    check(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWUSER) } as i64)
}

/// Leaves the cgroup namespace for a new one, rooted where this process is now.
///
/// # Errors
/// What `unshare(CLONE_NEWCGROUP)` says.
pub fn new_cgroup_namespace() -> io::Result<()> {
    // SAFETY: takes a plain number; this flag shares neither memory nor descriptors with anyone.
    check(unsafe { libc::unshare(libc::CLONE_NEWCGROUP) } as i64)
}

/// How a thread comes to its turn on a processor, other than as usual, where who wakes up may displace who runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Whoever runs goes on first.
    After,
    /// When nobody else wants to run.
    Last,
}

/// From now on this thread runs as `turn` says, and so does what it forks. Nobody needs a right for that.
///
/// # Errors
/// What `sched_setscheduler` says.
pub fn take_turn(turn: Turn) -> io::Result<()> {
    let policy = match turn {
        Turn::After => libc::SCHED_BATCH,
        Turn::Last => libc::SCHED_IDLE,
    };
    let none = libc::sched_param { sched_priority: 0 };
    // SAFETY: `none` outlives the call, which changes this thread's policy and nothing else.
    check(unsafe { libc::sched_setscheduler(0, policy, &raw const none) } as i64)
}

/// Ends this process at once: no destructors, no exit handlers, no flushing of a buffer inherited from the parent.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: `_exit` takes any status and does not return.
    unsafe { libc::_exit(status) }
}

/// Flags and identity mapping for a mount; see `mount_setattr(2)`.
#[derive(Debug, Default, Clone, Copy)]
pub struct MountAttributes<'a> {
    /// `MOUNT_ATTR_*` to set.
    pub set: u64,
    /// Propagation type (`MS_PRIVATE` and the like), 0 to leave it.
    pub propagation: u64,
    /// User namespace that maps the owners of files, with `MOUNT_ATTR_IDMAP`.
    pub idmap: Option<BorrowedFd<'a>>,
}

/// Changes the mount behind `mount`, and with `recursive` all beneath it.
///
/// # Errors
/// What `mount_setattr` says.
pub fn mount_setattr(mount: BorrowedFd<'_>, recursive: bool, change: MountAttributes<'_>) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: change.set,
        attr_clr: 0,
        propagation: change.propagation,
        userns_fd: change.idmap.map_or(0, |fd| fd.as_raw_fd() as u64),
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: `attributes` outlives the call and its true size is passed; the path is an empty C string.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    check(done)
}

/// Closes every descriptor from `first` to `last`, both included.
///
/// For the moment after a fork in which a process sheds what it inherited. The caller owns none of these numbers
/// as an `OwnedFd` that it will still use or drop.
///
/// # Errors
/// What `close_range` says.
pub fn close_range(first: u32, last: u32) -> io::Result<()> {
    // SAFETY: takes plain numbers; the contract above keeps owned descriptors out of the range.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) })
}

/// Leaves the descriptor table that this process shares with its parent for one of its own, into which only the
/// descriptors up to `last` are copied. It costs as much as these do, however many others there are.
///
/// The caller owns no descriptor above `last` as an `OwnedFd` that it will still use or drop.
///
/// # Errors
/// What `close_range` says.
pub fn own_descriptors_up_to(last: u32) -> io::Result<()> {
    let flags = libc::CLOSE_RANGE_UNSHARE;
    // SAFETY: takes plain numbers; the contract above keeps owned descriptors out of the range.
    check(unsafe { libc::syscall(libc::SYS_close_range, last + 1, u32::MAX, flags) })
}

/// Marks every descriptor from `first` on close-on-exec.
///
/// # Errors
/// What `close_range` says.
pub fn close_on_exec_from(first: u32) -> io::Result<()> {
    // SAFETY: takes plain numbers and closes nothing now.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) })
}

/// Gives `fd` the number `number` for the program that is about to be exec'd.
///
/// # Errors
/// What `dup3` says.
pub fn place_at(fd: BorrowedFd<'_>, number: RawFd) -> io::Result<()> {
    if fd.as_raw_fd() == number {
        // SAFETY: clears close-on-exec on a descriptor that is borrowed and therefore open.
        return check(unsafe { libc::fcntl(number, libc::F_SETFD, 0) } as i64);
    }
    // SAFETY: takes an open descriptor and a number; whatever was open at `number` is replaced, which is the point.
    check(unsafe { libc::dup3(fd.as_raw_fd(), number, 0) } as i64)
}

/// Becomes the program behind `program`. Returns only if that failed.
pub fn exec_fd(program: BorrowedFd<'_>, argv: &[&CStr], environment: &[&CStr]) -> io::Error {
    let ending = |list: &[&CStr]| -> Vec<*const libc::c_char> {
        list.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (argv, envp) = (ending(argv), ending(environment));
    // SAFETY: both arrays end in a null pointer and live until the call returns, if it does.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_raw_fd(),
            c"".as_ptr(),
            argv.as_ptr(),
            envp.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    io::Error::last_os_error()
}

/// Takes the lock on one byte of `file` for this open file description, without waiting. The kernel lets go of it
/// when the last copy of the descriptor closes, however that comes about.
///
/// # Errors
/// `EAGAIN` when another description holds it.
pub fn lock_byte(file: BorrowedFd<'_>, offset: i64) -> io::Result<()> {
    // SAFETY: an all-zero `flock` is a valid value of that plain structure.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock.l_start = offset;
    lock.l_len = 1;
    // SAFETY: `lock` is the structure that F_OFD_SETLK reads, and outlives the call.
    check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) } as i64)
}

/// Lets children be waited for, which a caller that ignores SIGCHLD would have the kernel undo, here and inside.
pub fn wait_for_children() {
    // SAFETY: sets a disposition and runs no code of ours.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

/// Whether the caller had this process ignore `signal`, as `nohup` does.
fn is_ignored(signal: i32) -> bool {
    // SAFETY: an all-zero `sigaction` is valid storage for the answer.
    let mut now: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: with no new action the call only writes `now`, which outlives it.
    let asked = unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut now) };
    asked == 0 && now.sa_sigaction == libc::SIG_IGN
}

/// Blocks `signals` for this thread and gives a descriptor from which they are read instead; but for those that are
/// ignored, which stay so.
///
/// # Errors
/// What `sigprocmask` and `signalfd` say.
pub fn signals_as_fd(signals: &[i32]) -> io::Result<OwnedFd> {
    // SAFETY: an all-zero set is valid storage, and `sigemptyset` makes it a valid set.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` outlives the three calls; `sigaddset` refuses numbers that are no signals.
    unsafe {
        libc::sigemptyset(&raw mut set);
        for signal in signals.iter().filter(|signal| !is_ignored(**signal)) {
            check(libc::sigaddset(&raw mut set, *signal) as i64)?;
        }
        check(libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) as i64)?;
    }
    // SAFETY: `set` is a valid set that outlives the call.
    let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    check(fd as i64)?;
    // SAFETY: the kernel has just opened this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Blocks no signal any more for this thread, whatever whoever forked it had blocked.
///
/// # Errors
/// What `sigprocmask` says.
pub fn unblock_signals() -> io::Result<()> {
    // SAFETY: an all-zero set is valid storage, and `sigemptyset` makes it a valid set.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` outlives both calls.
    unsafe {
        libc::sigemptyset(&raw mut set);
        check(libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut()) as i64).map(drop)
    }
}

/// The next signal that [`signals_as_fd`] caught, if there is one.
pub fn next_signal(signals: BorrowedFd<'_>) -> Option<i32> {
    // `struct signalfd_siginfo` begins with the number.
    let mut record = [0; size_of::<libc::signalfd_siginfo>()];
    match rustix::io::read(signals, &mut record) {
        Ok(length) if length == record.len() => {
            Some(i32::from_ne_bytes([record[0], record[1], record[2], record[3]]))
        }
        _ => None,
    }
}

fn check(returned: i64) -> io::Result<()> {
    if returned == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
