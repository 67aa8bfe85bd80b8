//! The one place for `unsafe`: system calls that rustix does not wrap. One function, one call.
//!
//! Everything here returns the kernel's error as it is; the callers add what they tried and with what.

#![allow(unsafe_code)]

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ffi::CStr;
use std::io;

pub mod landlock;
pub mod seccomp;

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

/// Becomes the program behind `program`, with `argv0` as its only argument and an empty environment.
/// Returns only if that failed.
pub fn exec_fd(program: BorrowedFd<'_>, argv0: &CStr) -> io::Error {
    let argv = [argv0.as_ptr(), std::ptr::null()];
    let envp: [*const libc::c_char; 1] = [std::ptr::null()];
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

/// Brings the loopback interface of this network namespace up.
///
/// # Errors
/// What `ioctl(SIOCSIFFLAGS)` says.
pub fn loopback_up(socket: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: an all-zero `ifreq` is a valid value of that plain structure.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: `request` is the structure that SIOCSIFFLAGS reads, and outlives the call.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) } as i64)
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

/// Blocks `signals` for this thread and gives a descriptor from which they are read instead.
///
/// # Errors
/// What `sigprocmask` and `signalfd` say.
pub fn signals_as_fd(signals: &[i32]) -> io::Result<OwnedFd> {
    // SAFETY: an all-zero set is valid storage, and `sigemptyset` makes it a valid set.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` outlives the three calls; `sigaddset` refuses numbers that are no signals.
    unsafe {
        libc::sigemptyset(&raw mut set);
        for signal in signals {
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

/// Runs `work` on a second thread of this process, beside what the caller does meanwhile; [`Beside::join`] gives its
/// result.
///
/// The thread is made by `clone` alone, because this process may itself be the child of a bare `clone3`, in which the C
/// library's own threads are not to be used. It shares the caller's thread-local storage, so `work` must neither
/// allocate, nor panic, nor look at `errno`: system calls that return their error, and nothing else.
///
/// # Errors
/// What `mmap` and `clone` say.
pub fn beside(work: fn() -> i32) -> io::Result<Beside> {
    const STACK_BYTES: usize = 64 << 10;
    extern "C" fn enter(cell: *mut libc::c_void) -> libc::c_int {
        // SAFETY: `cell` is the one that `beside` leaked for this thread; it is freed only after this thread is gone.
        let cell = unsafe { &*cell.cast::<Cell>() };
        cell.result.store((cell.work)(), std::sync::atomic::Ordering::Release);
        0
    }
    let cell = Box::into_raw(Box::new(Cell {
        work,
        result: std::sync::atomic::AtomicI32::new(0),
        alive: std::sync::atomic::AtomicI32::new(1),
    }));
    // SAFETY: a fresh private mapping that nothing else refers to.
    let stack = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            STACK_BYTES,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK,
            -1,
            0,
        )
    };
    if stack == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let flags = libc::CLONE_VM
        | libc::CLONE_FS
        | libc::CLONE_FILES
        | libc::CLONE_SIGHAND
        | libc::CLONE_THREAD
        | libc::CLONE_SYSVSEM
        | libc::CLONE_CHILD_CLEARTID;
    // SAFETY: the stack is ours and its top is aligned to a page; `cell` lives until the thread is joined; the kernel
    // clears `alive` when the thread is gone, and the contract above keeps the two threads out of each other's way.
    let made = unsafe {
        let alive = (&raw mut (*cell).alive).cast::<libc::pid_t>();
        let null = std::ptr::null_mut::<libc::c_void>();
        libc::clone(enter, stack.byte_add(STACK_BYTES), flags, cell.cast(), null, null, alive)
    };
    check(made as i64)?;
    Ok(Beside { cell })
}

struct Cell {
    work: fn() -> i32,
    result: std::sync::atomic::AtomicI32,
    alive: std::sync::atomic::AtomicI32,
}

/// Work that goes on beside.
#[must_use]
pub struct Beside {
    cell: *mut Cell,
}

impl Beside {
    /// Waits until the thread is gone, and gives what the work returned.
    pub fn join(self) -> i32 {
        use std::sync::atomic::Ordering::Acquire;
        // SAFETY: the cell is freed below, by the only owner of this value, once the kernel says the thread is gone.
        let cell = unsafe { &*self.cell };
        while cell.alive.load(Acquire) != 0 {
            // SAFETY: waits on a word that outlives the call; it returns at once if the word is no longer 1.
            unsafe {
                libc::syscall(
                    libc::SYS_futex,
                    cell.alive.as_ptr(),
                    libc::FUTEX_WAIT,
                    1,
                    std::ptr::null::<u8>(),
                )
            };
        }
        let result = cell.result.load(Acquire);
        // SAFETY: made by `Box::into_raw` in `beside`, and nobody else has it any more.
        drop(unsafe { Box::from_raw(self.cell) });
        result
    }
}

/// A network namespace with nothing but its loopback, up; for [`beside`]. Gives its descriptor, or a negative errno.
pub fn network_namespace() -> i32 {
    let made = || -> Result<i32, rustix::io::Errno> {
        use rustix::fs::{Mode, OFlags};
        use rustix::net::{AddressFamily, SocketFlags, SocketType};
        // SAFETY: this flag shares neither memory nor descriptors with anyone.
        unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET)? };
        let socket =
            rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
        loopback_up(socket.as_fd())
            .map_err(|error| rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO))?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let namespace = rustix::fs::open(c"/proc/thread-self/ns/net", flags, Mode::empty())?;
        Ok(rustix::fd::IntoRawFd::into_raw_fd(namespace))
    };
    made().unwrap_or_else(|errno| -errno.raw_os_error())
}

/// Enters the network namespace that [`network_namespace`] made.
///
/// # Errors
/// The error that it returned, or what `setns` says.
pub fn enter_network_namespace(made: i32) -> io::Result<()> {
    if made < 0 {
        return Err(io::Error::from_raw_os_error(-made));
    }
    // SAFETY: the thread that opened this descriptor is gone and left it to us.
    let namespace = unsafe { OwnedFd::from_raw_fd(made) };
    rustix::thread::move_into_link_name_space(
        namespace.as_fd(),
        Some(rustix::thread::LinkNameSpaceType::Network),
    )?;
    Ok(())
}

/// Which of the descriptors 0, 1 and 2 the caller left open, as seen before the standard library's start-up put
/// `/dev/null` in the gaps.
pub fn standard_descriptors_given() -> [bool; 3] {
    let bits = GIVEN.load(std::sync::atomic::Ordering::Relaxed);
    [bits & 1 != 0, bits & 2 != 0, bits & 4 != 0]
}

static GIVEN: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(7);

/// Runs before `main`: the C library calls what stands in `.init_array`, the standard library mends later.
// SAFETY: a function pointer of the type that `.init_array` holds; it touches only an atomic and `fcntl`.
#[used]
#[unsafe(link_section = ".init_array")]
static NOTE_GIVEN: extern "C" fn() = {
    extern "C" fn note_given() {
        let open = |fd: RawFd| {
            // SAFETY: F_GETFD takes any number and changes nothing.
            unsafe { libc::fcntl(fd, libc::F_GETFD) != -1 }
        };
        let bits = u8::from(open(0)) | u8::from(open(1)) << 1 | u8::from(open(2)) << 2;
        GIVEN.store(bits, std::sync::atomic::Ordering::Relaxed);
    }
    note_given
};

fn check(returned: i64) -> io::Result<()> {
    if returned == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
