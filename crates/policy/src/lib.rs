//! Decides. A document says what a sandbox may do; this crate reads it, refuses what it cannot keep, and
//! answers requests with a [`Permit`] or a [`Denied`].
//!
//! ```text
//! bytes ── Document::parse ──> Document ── enforce ──> Policy ── exec(request) ──> Permit | Denied
//!                 │               │ └── narrow(within)   │ └── limits, walls, files: what the walls are built from
//!              Rejected           └── explain, answer    └── to_cache / from_cache
//! ```
//!
//! Invariants:
//! - A [`Policy`] exists only whole: one problem in the document, or one key that this version does not
//!   enforce, and there is none.
//! - Only this crate makes a [`Permit`], so what takes one cannot run undecided.
//! - No I/O, no clock: the same bytes and the same request give the same answer everywhere.

mod act;
mod answer;
mod cache;
mod chain;
mod commit;
mod compute;
mod contradictions;
mod decide;
pub mod engine;
mod explain;
mod form;
mod host;
mod import;
mod keys;
mod later;
mod layers;
mod lease;
mod parse;
mod pattern;
mod plain;
mod policy;
mod problem;
mod reading;
mod reference;
mod rule;
mod schema;
mod shipped;
mod words;
mod zones;

pub use act::{ACT_BYTES_MAX, Act, Limit, NotAnAct, Request};
pub use answer::Answer;
pub use chain::{LAYERS_MAX, Library, NoLibrary};
pub use commit::{CommitRules, Now, PATTERNS_MAX, PatternError, Proposal, Taint, Tree, Was};
pub use compute::DEFAULT_LIMITS;
pub use decide::{Denied, ExecRequest, FileRequest, Permit, Terminal, User};
pub use explain::Line;
pub use form::*;
pub use import::{Imported, Left, SETTINGS_BYTES_MAX, import_claude_code};
pub use later::Unenforced;
pub use layers::{Beside, Exceeds};
pub use parse::{SOURCE_BYTES_MAX, hash_of};
pub use pattern::{Pattern, Rest, WORDS_MAX, Word};
pub use policy::{ALWAYS, Policy};
pub use problem::{Problem, Rejected};
pub use reference::with_tables;
pub use schema::{SCHEMA_ID, schema};
pub use shipped::{SHIPPED, shipped};
pub use zones::{Access, FileRule, ZONES_MAX, ZoneError};
