//! Work on a second thread of the builder: the network namespace, which costs as much as all the others together.

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::io;

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
    super::check(made as i64)?;
    apart(made);
    Ok(Beside { cell })
}

/// Sends the thread `made` to another processor than ours. The kernel starts a thread where its maker is, and may leave it
/// waiting there for as long as the maker goes on, while another processor is idle. Where that cannot be had, it waits.
fn apart(made: libc::c_int) {
    use rustix::thread::{Pid, sched_getaffinity, sched_getcpu, sched_setaffinity};
    if let Ok(mut others) = sched_getaffinity(None) {
        others.unset(sched_getcpu());
        let _ = sched_setaffinity(Pid::from_raw(made), &others);
    }
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

/// Of `linux/sockios.h`: the network namespace of a socket.
const SIOCGSKNS: libc::Ioctl = 0x894c;

/// A network namespace with nothing but its loopback, up; for [`beside`]. Gives its descriptor, or a negative errno.
pub fn network_namespace() -> i32 {
    let made = || -> Result<i32, rustix::io::Errno> {
        use rustix::net::{AddressFamily, SocketFlags, SocketType};
        // SAFETY: this flag shares neither memory nor descriptors with anyone.
        unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET)? };
        let socket =
            rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
        let errno = |error| rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO);
        loopback_up(socket.as_fd()).map_err(errno)?;
        // Asked of the socket rather than of /proc: a path depends on the root, which changes meanwhile.
        // SAFETY: this request takes a socket and nothing else. It gives a new descriptor, closed on exec.
        let namespace = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCGSKNS) };
        super::check(namespace.into()).map_err(errno)?;
        Ok(namespace)
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
    super::check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) } as i64)
}
