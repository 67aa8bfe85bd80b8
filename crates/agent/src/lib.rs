//! Works inside: commands, terminals and files of one sandbox; and the client that speaks to it.
//!
//! The crate has two halves. The program `casemate-agent` is pid 1 inside every sandbox and is not trusted:
//! whatever takes it over can make it say anything. [`Agent`] is the trusted end of its control socket and
//! reads every reply as hostile input. [`protocol`] is what they say to each other.

#![cfg_attr(not(feature = "client"), no_std)]

extern crate alloc;

#[cfg(feature = "client")]
mod client;
pub mod protocol;

#[cfg(feature = "client")]
pub use client::{Agent, AnswerError, Answers, Error, QUEUED_BYTES_MAX};
pub use protocol::{
    Answer, Deadline, End, Entry, Exec, Kind, Known, Link, Op, Reply, Stage, Stdio, Target, Terminal, Whom,
    Why, Work,
};
