//! Decides. A document says what a sandbox may do; this crate reads it, refuses what it cannot keep, and
//! answers requests with a [`Permit`] or a [`Denied`].
//!
//! ```text
//! bytes ── Policy::parse ──> Policy ── exec(request) ──> Permit | Denied
//!                 │            │ └── limits, walls, files: what the walls are built from
//!              Rejected        └── to_cache / from_cache
//! ```
//!
//! Invariants:
//! - A [`Policy`] exists only whole: one problem in the document, or one key that this version does not
//!   enforce, and there is none.
//! - Only this crate makes a [`Permit`], so what takes one cannot run undecided.
//! - No I/O, no clock: the same bytes and the same request give the same answer everywhere.

mod cache;
mod compute;
mod decide;
mod document;
mod explain;
mod later;
mod lease;
mod parse;
mod policy;
mod problem;
mod shipped;
mod zones;

pub use compute::DEFAULT_LIMITS;
pub use decide::{Denied, ExecRequest, FileRequest, Permit, Terminal, User};
pub use explain::Line;
pub use parse::hash_of;
pub use policy::{ALWAYS, Policy};
pub use problem::{Problem, Rejected};
pub use shipped::{SHIPPED, shipped};
pub use zones::{Access, FileRule, ZONES_MAX, ZoneError};
