//! Malformed policies, command lines and environments: each gives a clear error with its documented status, loses
//! nothing and leaves nothing behind.

mod case;
mod command_lines;
mod environments;
mod ledgers;
mod policies;
mod states;
mod zones;
