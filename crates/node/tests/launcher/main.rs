//! The launcher as its clients see it, in the root profile and as an ordinary user.
//!
//! A launcher is forked by a single-threaded process, which a test is not: the example `launcher_bench` starts it.
#![allow(clippy::unwrap_used, reason = "helpers of tests: what cannot go on fails the test")]

mod agents;
mod deaths;
mod dire;
mod life;
mod messages;
mod place;
mod stops;
