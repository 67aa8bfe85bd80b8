//! What becomes of a sandbox that nobody looks after any more.

use serde::{Deserialize, Serialize};

/// How long a sandbox may be without a server, and what happens to it then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// How long nothing happens, in milliseconds.
    pub after_ms: u64,
    /// What happens then.
    pub then: Then,
}

/// What happens to a sandbox whose lease has run out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Then {
    /// Nothing: it goes on.
    Keep,
    /// It stands still until a server is there again.
    Freeze,
    /// It ends.
    End,
}

impl Default for Lease {
    /// Nothing, after ten minutes.
    fn default() -> Self {
        Lease { after_ms: 600_000, then: Then::Keep }
    }
}
