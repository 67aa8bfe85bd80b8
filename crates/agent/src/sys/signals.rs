//! Signals: none reaches the agent except as bytes of a descriptor; all reach a command.

use super::kernel;
use core::ptr;
use linux_raw_sys::general::{
    __NR_rt_sigaction, __NR_rt_sigprocmask, __NR_signalfd4, O_CLOEXEC, O_NONBLOCK, SIG_SETMASK, SIGCHLD,
};
use rustix::fd::{FromRawFd, OwnedFd, RawFd};
use rustix::io::Errno;

/// A set of signals as the kernel has it: bit n is signal n + 1.
type Set = u64;

/// Blocks every signal that can be blocked.
pub(crate) fn block_signals() -> Result<(), Errno> {
    set_blocked(&Set::MAX)
}

/// A descriptor that is readable while a SIGCHLD is pending.
pub(crate) fn child_signals() -> Result<OwnedFd, Errno> {
    let children: Set = 1 << (SIGCHLD - 1);
    let (new, set, flags) = (usize::MAX, ptr::from_ref(&children), O_NONBLOCK | O_CLOEXEC);
    // SAFETY: the kernel reads the set, which has the size it is told.
    let number = unsafe {
        kernel::call(__NR_signalfd4, [new, set.expose_provenance(), size_of::<Set>(), flags as usize])
    }?;
    // SAFETY: signalfd has just opened it, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number as RawFd) })
}

/// Unblocks every signal. Only for a child.
pub(crate) fn unblock_signals() -> Result<(), Errno> {
    set_blocked(&0)
}

/// Gives every signal its default effect. What is ignored stays so across exec.
pub(crate) fn reset_signals() {
    // Four words of zeros are what the kernel reads as SIG_DFL with no flags and no mask.
    let default = ptr::from_ref(&[0u64; 4]).expose_provenance();
    for signal in 1..=Set::BITS as usize {
        // SAFETY: the kernel reads four words at `default` and writes nothing, since the place for the old action is
        // null. That it refuses SIGKILL and SIGSTOP changes nothing: they are what they should be.
        let _ = unsafe { kernel::call(__NR_rt_sigaction, [signal, default, 0, size_of::<Set>()]) };
    }
}

fn set_blocked(set: &Set) -> Result<(), Errno> {
    let (how, set) = (SIG_SETMASK as usize, ptr::from_ref(set).expose_provenance());
    // SAFETY: the kernel reads the set, which has the size it is told, and writes nothing, since the place for the
    // old one is null.
    unsafe { kernel::call(__NR_rt_sigprocmask, [how, set, 0, size_of::<Set>()]) }.map(drop)
}
