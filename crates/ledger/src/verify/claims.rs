//! What is claimed about the log from outside of its records, until there are as many as a claim is about.

use super::problem::Flaw;
use crate::{Checkpoint, Hash};

/// Something outside of the records that claims a root for a number of them.
pub(super) struct Claim {
    pub(super) file: &'static str,
    pub(super) size: u64,
    pub(super) root: Hash,
    /// What it means if the root is another.
    pub(super) otherwise: Flaw,
    /// The checkpoint that makes the claim, if it counts as the log's own.
    pub(super) checkpoint: Option<Checkpoint>,
}

/// The claims that were not judged yet.
#[derive(Default)]
pub(super) struct Claims(Vec<Claim>);

impl Claims {
    pub(super) fn add(&mut self, claim: Claim) {
        self.0.push(claim);
        self.0.sort_by_key(|claim| std::cmp::Reverse(claim.size));
    }

    /// A claim about the first `size` records. Ask for every size in turn.
    pub(super) fn due(&mut self, size: u64) -> Option<Claim> {
        self.0.pop_if(|claim| claim.size == size)
    }

    /// The claims about more records than there are.
    pub(super) fn into_rest(self) -> Vec<Claim> {
        self.0
    }
}
