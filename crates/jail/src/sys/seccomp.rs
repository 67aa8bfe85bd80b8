//! Installing a seccomp filter, and answering what it notifies of.

use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::io;

/// One instruction of classic BPF, as the kernel reads it.
pub type Instruction = libc::sock_filter;

/// A system call that the filter handed to us instead of running it. Arguments that are pointers point into a
/// process that may change what is there: they are for the record, never for a decision.
#[derive(Debug, Clone, Copy)]
pub struct Notification {
    /// Ties the answer to the call.
    pub id: u64,
    /// Its number.
    pub number: i32,
    /// Its arguments.
    pub arguments: [u64; 6],
}

/// Puts this thread, and all it will start, under `program`; gives the descriptor on which calls that the program
/// notifies of arrive. There is no way back.
///
/// # Errors
/// What `seccomp(SECCOMP_SET_MODE_FILTER)` says.
pub fn install(program: &[Instruction]) -> io::Result<OwnedFd> {
    let filter = libc::sock_fprog {
        len: program.len().try_into().map_err(|_| io::ErrorKind::InvalidInput)?,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: `filter` points to `len` instructions that outlive the call; the kernel only reads them.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &raw const filter,
        )
    };
    match fd {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: the kernel has just opened this descriptor for us.
        fd => Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) }),
    }
}

/// Takes the next notification. Waits for one, so ask `poll` first.
///
/// # Errors
/// `ENOENT` when the caller died meanwhile, and whatever else `SECCOMP_IOCTL_NOTIF_RECV` says.
pub fn receive(listener: BorrowedFd<'_>) -> io::Result<Notification> {
    // SAFETY: an all-zero `seccomp_notif` is valid, and the kernel wants it zeroed.
    let mut notification: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the structure is the one this request fills, and outlives the call.
    super::check(unsafe {
        libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut notification)
    } as i64)?;
    Ok(Notification { id: notification.id, number: notification.data.nr, arguments: notification.data.args })
}

/// Lets the call fail with `errno`. There is no way here to let one run: nothing that a notification says may
/// ever widen what the filter allows.
///
/// # Errors
/// `ENOENT` when the caller died meanwhile.
pub fn refuse(listener: BorrowedFd<'_>, id: u64, errno: i32) -> io::Result<()> {
    let mut answer = libc::seccomp_notif_resp { id, val: 0, error: -errno, flags: 0 };
    // SAFETY: the structure is the one this request reads, and outlives the call.
    super::check(
        unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut answer) } as i64,
    )
}
