//! The nouns that every other crate speaks in. No I/O, no clock of its own, nothing that must not run
//! between a fork and an exec.

mod clock;
mod denial;
mod event;
mod id;
mod lease;
mod limits;
mod quota;
mod quoted;
mod role;
mod wall;

pub use clock::{Clock, Moment, rfc3339};
pub use denial::{Code, Denial, RULE_BYTES_MAX, TEXT_BYTES_MAX};
pub use event::{Beside, Decision, Effect, EndReason, Event, FileOp, LimitHit, Source, Usage};
pub use id::{KeyId, NotAKeyId, NotAnId, SandboxId};
pub use lease::{Lease, Then};
pub use limits::{Limits, NotASize, NotATime, parse_duration_ms, parse_size_bytes};
pub use quota::Quota;
pub use quoted::{NotQuoted, quote, unquote};
pub use role::{NotARole, NotRoles, Reach, Right, Role, Roles};
pub use wall::{NotAWall, Wall, Walls};
