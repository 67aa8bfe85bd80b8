//! What runs as pid 1: one thread, one loop.

mod commands;
mod control;
mod door;
mod files;
mod launch;
mod program;
mod serve;
mod user;
mod work;

pub(crate) use serve::start;
