//! Signals: none reaches the agent except as bytes of a descriptor; all reach a command.

use super::last_errno;
use rustix::fd::{FromRawFd, OwnedFd};
use rustix::io::Errno;
use std::mem::MaybeUninit;
use std::ptr;

/// Blocks every signal that can be blocked.
pub(crate) fn block_signals() -> Result<(), Errno> {
    let mut all = MaybeUninit::uninit();
    // SAFETY: sigfillset initialises the set it is given; sigprocmask reads it and writes nothing, since the place
    // for the old mask is null.
    let result = unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, all.as_ptr(), ptr::null_mut())
    };
    if result == 0 { Ok(()) } else { Err(last_errno()) }
}

/// A descriptor that is readable while a SIGCHLD is pending.
pub(crate) fn child_signals() -> Result<OwnedFd, Errno> {
    let mut children = MaybeUninit::uninit();
    // SAFETY: sigemptyset initialises the set that sigaddset changes and signalfd reads.
    let number = unsafe {
        libc::sigemptyset(children.as_mut_ptr());
        libc::sigaddset(children.as_mut_ptr(), libc::SIGCHLD);
        libc::signalfd(-1, children.as_ptr(), libc::SFD_NONBLOCK | libc::SFD_CLOEXEC)
    };
    if number == -1 {
        return Err(last_errno());
    }
    // SAFETY: signalfd has just opened it, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Gives every signal its default effect and unblocks it. What was ignored would stay so across exec.
pub(crate) fn reset_signals() -> Result<(), Errno> {
    // Four words of zeros are what the kernel reads as SIG_DFL with no flags and no mask. The C library would keep
    // its own two signals (32 and 33) from us, and they too may come here ignored.
    let default = [0u64; 4];
    for signal in 1..=64 {
        // SAFETY: the kernel reads at most 32 bytes at `default` and writes nothing, since the place for the old
        // action is null. That it refuses SIGKILL and SIGSTOP changes nothing: they are what they should be.
        unsafe {
            libc::syscall(libc::SYS_rt_sigaction, signal, &raw const default, ptr::null_mut::<u64>(), 8)
        };
    }
    let mut none = MaybeUninit::uninit();
    // SAFETY: sigemptyset initialises the set that sigprocmask reads; the place for the old mask is null.
    let result = unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut())
    };
    if result == 0 { Ok(()) } else { Err(last_errno()) }
}
