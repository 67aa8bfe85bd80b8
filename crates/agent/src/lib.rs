//! Works inside: commands, terminals and files of one sandbox; and the client that speaks to it.
//!
//! The crate has two halves. The program `casemate-agent` is pid 1 inside every sandbox and is not trusted:
//! whatever takes it over can make it say anything. [`Agent`] is the trusted end of its control socket and
//! reads every reply as hostile input. [`protocol`] is what they say to each other.

mod client;
pub mod protocol;

pub use client::{Agent, Error, SEND_WAIT_MS_MAX};
pub use protocol::{End, Exec, FileStage, Read, Reply, Stage, Stdio, Write};
