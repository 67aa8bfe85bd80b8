//! The one place of this crate that says `unsafe`. One function, one call, one error.
//!
//! All of it holds for a process with one thread, which the agent is: it starts none, and the library half, which
//! others link, has no part in this module.
#![allow(unsafe_code)]

mod descriptors;
mod entry;
mod identity;
mod process;
mod signals;

pub(crate) use descriptors::{adopt, close_others};
pub(crate) use identity::set_file_user;
pub(crate) use process::{Strings, execve, fork, kill};
pub(crate) use signals::{block_signals, child_signals, reset_signals};

use rustix::io::Errno;

/// The error of the C library call that has just returned -1.
fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
