//! The real program, started as an ordinary child instead of as pid 1, and the client that speaks to it.
#![allow(clippy::unwrap_used, reason = "helpers of tests: what cannot go on fails the test")]

mod answers;
mod commands;
mod door;
mod files;
mod harness;
mod hostile;
mod terminal;
mod transfer;
mod trees;
mod users;
mod wire;
