//! What runs as pid 1: one thread, one loop.

mod commands;
mod control;
mod files;
mod launch;
mod program;
mod serve;
mod user;

pub(crate) use serve::start;
