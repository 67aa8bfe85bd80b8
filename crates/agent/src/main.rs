//! `casemate-agent`: pid 1 of a sandbox. Starts its commands, reaps its orphans, reads and writes its files, and
//! ends with its control socket; the kernel then ends everything in the pid namespace.
//!
//! It stands inside finished walls and is trusted by nobody outside. What it must keep is the border between the
//! users inside: whoever has no right to a file or a process inside must not get it by way of the agent.

#![no_std]
#![no_main]

extern crate alloc;

mod inside;
mod sys;

/// The whole life of the agent; gives its exit status.
fn run() -> u8 {
    match inside::start() {
        Ok(mut agent) => agent.serve().status(),
        Err(end) => end.status(),
    }
}
