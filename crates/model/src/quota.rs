//! What one key may have at one time.

use serde::{Deserialize, Serialize};

/// The most of each that the sandboxes of one key have together. What is not there is not bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quota {
    /// Sandboxes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sandboxes: Option<u32>,
    /// The sum of their processor limits, in thousandths of one processor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_milli: Option<u64>,
    /// The sum of their memory limits, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Creations in a second, in thousandths: a bucket that holds one second of them, or one if that is more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creates_per_second_milli: Option<u32>,
}

impl Quota {
    /// No bound at all.
    pub const NONE: Quota =
        Quota { sandboxes: None, cpu_milli: None, memory_bytes: None, creates_per_second_milli: None };

    /// Whether nothing is bounded.
    pub fn is_none(&self) -> bool {
        *self == Quota::NONE
    }
}
