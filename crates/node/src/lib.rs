//! The life of the sandboxes of one machine. So far: of one sandbox that runs one command.
//!
//! ```text
//! policy ─→ prepare ─→ jail::start ─────────→ walls stand ─→ exec ─→ relay … ─→ end ─→ hand out ─→ seal
//!                        └─ meanwhile: Ledger::record(load, start, exec)   ↑ takes the Recorded permit
//! ```
//!
//! It knows no command line and no HTTP. It is synchronous and single-threaded: [`run`] forks.

mod beneath;
mod board;
mod clock;
mod denials;
pub mod draft;
mod effects;
mod error;
mod extended;
mod finish;
mod handout;
pub mod host;
pub mod keys;
pub mod launcher;
mod life;
mod nested;
mod open_from;
mod prepare;
mod relay;
mod run;
mod state;
mod terminal;

pub use clock::SystemClock;
pub use effects::api;
pub use error::Error;
pub use prepare::KERNEL_MIN;
pub use run::{Drafts, Hooks, Outcome, Request, command, decide, refuse, run};
pub use state::{PolicySource, State, StateError};
