//! Proves. Questions about policies, answered for all acts at once by Cedar's symbolic compiler and a solver.
//!
//! ```text
//! Document ── Engine ── policies ──┐
//!                                  ├─ formula ── solver ──> proved | model ── Act ── Engine ──> example | not known
//! what an act is, as forbids ──────┘
//! ```
//!
//! Invariants:
//! - An example is shown only when the engine decides it as claimed. A model that is no such act is "not known".
//! - Without a solver, or where it gives up, nothing is called proved.
//! - The solver is never asked while something runs.

mod diff;
mod joint;
mod model;
mod possible;
mod prove;
mod query;
mod solver;

pub use diff::{Diff, Opened, diff, is_within};
pub use joint::joint;
pub use prove::{Finding, Proof, QUESTIONS, Question, prove};
pub use query::{Failed, Prover};
pub use solver::{CPU_SECONDS_MAX, Found, HOW_TO_GET, MEMORY_BYTES_MAX, find};
