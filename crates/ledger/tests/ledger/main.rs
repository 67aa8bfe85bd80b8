//! The promises of the ledger, kept from the outside.

#![allow(clippy::unwrap_used, reason = "what cannot be made ends the test")]

mod crash;
mod errors;
mod format;
mod group;
mod log;
mod scale;
mod tamper;
mod together;
