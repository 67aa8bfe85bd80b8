//! Making, becoming and signalling processes.

use super::last_errno;
use rustix::io::Errno;
use rustix::process::Pid;
use std::ffi::{CStr, CString, c_char};
use std::ptr;

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
}

/// Runs `child` in a new process, which ends with status 127 when `child` returns; gives the new process's id.
pub(crate) fn fork(child: impl FnOnce()) -> Result<Pid, Errno> {
    // SAFETY: a child of a process with several threads may find locks taken that nobody will release. This
    // process has one thread, so the child finds none.
    match unsafe { libc::fork() } {
        0 => {
            let end = EndOnDrop;
            child();
            drop(end);
            Err(Errno::CHILD)
        }
        number => Pid::from_raw(number).filter(|_| number > 0).ok_or_else(last_errno),
    }
}

/// Keeps a child from ever running on in the agent's code, also when it panics.
struct EndOnDrop;

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        // SAFETY: `_exit` touches no memory, and runs none of the handlers that belong to the parent.
        unsafe { libc::_exit(127) }
    }
}

/// Becomes `program`; returns only to say why not.
pub(crate) fn execve(program: &CStr, argv: &Strings, env: &Strings) -> Errno {
    // SAFETY: execve reads strings that end in NUL and arrays of them that end in null. `Strings` keeps its
    // pointers aimed at strings that it owns, and a null at their end.
    unsafe { libc::execve(program.as_ptr(), argv.pointers.as_ptr(), env.pointers.as_ptr()) };
    last_errno()
}

/// Sends `signal` to the process group that `leader` made, or to `leader` alone if it has not come to that yet.
pub(crate) fn kill(leader: Pid, signal: i32) {
    let number = leader.as_raw_nonzero().get();
    // SAFETY: both calls take integers and touch no memory.
    unsafe {
        if libc::kill(-number, signal) == -1 {
            libc::kill(number, signal);
        }
    }
}
