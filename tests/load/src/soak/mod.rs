//! Many clients, many sandboxes, mixed work, for a long time.

pub mod flat;
pub mod run;
pub mod work;
