//! Statuses, bytes, signals and terminals pass through `casemate run` as if it were not there.

mod ending;
mod status;
mod streams;
mod terminals;
