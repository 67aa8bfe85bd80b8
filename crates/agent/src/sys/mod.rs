//! The one place of this crate that says `unsafe`. One function, one call, one error.
//!
//! All of it holds for a process with one thread, which the agent is: it starts none, and the library half, which
//! others link, has no part in this module.
//!
//! There is no C library and no standard library. What both would do before the first line of the agent, and how
//! much of them would have to be copied and mapped, every start of a sandbox would wait for.
#![allow(unsafe_code)]

mod clock;
mod descriptors;
mod entry;
mod heap;
mod kernel;
mod memory;
mod process;
mod signals;

pub(crate) use clock::now;
pub(crate) use descriptors::{adopt, close_from, close_others, stdin, stdout};
pub(crate) use process::{Strings, execve, exit, fork, kill, kill_group};
pub(crate) use signals::{block_signals, child_signals, reset_signals, unblock_signals};
