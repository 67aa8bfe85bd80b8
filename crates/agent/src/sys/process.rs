//! Making, becoming, signalling and ending processes.

use super::kernel;
use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::{CStr, c_char};
use core::ptr;
use linux_raw_sys::general::{__NR_clone, __NR_execve, __NR_exit_group, __NR_kill, SIGCHLD};
use rustix::io::Errno;
use rustix::process::Pid;

/// Strings in the form in which the kernel takes arguments and environments.
pub(crate) struct Strings {
    /// Into `owned`, and a null at the end.
    pointers: Vec<*const c_char>,
    owned: Vec<CString>,
}

impl Strings {
    pub(crate) fn new(owned: Vec<CString>) -> Self {
        let pointers = owned.iter().map(|s| s.as_ptr()).chain([ptr::null()]).collect();
        Strings { pointers, owned }
    }

    /// The same strings, with `first` in place of the first.
    pub(crate) fn led_by(&self, first: &[&CStr]) -> Self {
        let rest = self.owned.iter().skip(1).cloned();
        Strings::new(first.iter().map(|s| CString::from(*s)).chain(rest).collect())
    }

    fn address(&self) -> usize {
        self.pointers.as_ptr().expose_provenance()
    }
}

/// Runs `child` in a new process, which ends with status 127 when `child` returns; gives the new process's id.
pub(crate) fn fork(child: impl FnOnce()) -> Result<Pid, Errno> {
    // SAFETY: with no flags but the signal that tells of its end, and no stack of its own, the child goes on here in
    // a copy of this memory. In a child of a process with several threads locks may be taken that nobody will
    // release; this process has one thread. The child never runs on in the agent's code: it ends below, and also if
    // it panics (see `entry`).
    match unsafe { kernel::call(__NR_clone, [SIGCHLD as usize, 0, 0, 0]) }? {
        0 => {
            child();
            exit(127)
        }
        number => Pid::from_raw(number as i32).ok_or(Errno::CHILD),
    }
}

/// Becomes `program`; returns only to say why not.
pub(crate) fn execve(program: &CStr, argv: &Strings, env: &Strings) -> Errno {
    let program = program.as_ptr().expose_provenance();
    // SAFETY: execve reads strings that end in NUL and arrays of them that end in null. `Strings` keeps its
    // pointers aimed at strings that it owns, and a null at their end.
    let outcome = unsafe { kernel::call(__NR_execve, [program, argv.address(), env.address(), 0]) };
    outcome.err().unwrap_or(Errno::IO)
}

/// Sends `signal` to the process group that `leader` made, or to `leader` alone if it has not come to that yet.
pub(crate) fn kill_group(leader: Pid, signal: i32) {
    if send_signal(-leader.as_raw_nonzero().get(), signal).is_err() {
        kill(leader, signal);
    }
}

/// Sends `signal` to one process.
pub(crate) fn kill(pid: Pid, signal: i32) {
    let _ = send_signal(pid.as_raw_nonzero().get(), signal);
}

fn send_signal(to: i32, signal: i32) -> Result<usize, Errno> {
    // SAFETY: kill takes integers and touches no memory.
    unsafe { kernel::call(__NR_kill, [to as usize, signal as usize, 0, 0]) }
}

/// Ends this process, without a destructor.
pub(crate) fn exit(status: u8) -> ! {
    loop {
        // SAFETY: the call takes an integer and touches no memory. It does not return.
        let _ = unsafe { kernel::call(__NR_exit_group, [usize::from(status), 0, 0, 0]) };
    }
}
