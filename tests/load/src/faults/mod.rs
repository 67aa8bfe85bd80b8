//! Kills parts of the server, and looks at what is left.

pub mod command;
mod epoch;
mod hand;
