//! The proof that something was written down.

use crate::Hash;

/// An effect whose events are on disk.
///
/// Only [`crate::Ledger::record`] and [`crate::Group::record`] make one, so a function that takes a `Recorded` cannot be called for
/// something that was not written down. It is not `Clone`: one record allows one effect.
///
/// ```compile_fail,E0451
/// let receipt: ledger::Receipt = todo!();
/// let forged = ledger::Recorded { value: "never written", receipt };
/// ```
///
/// ```compile_fail,E0599
/// fn twice<T>(once: ledger::Recorded<T>) -> (ledger::Recorded<T>, ledger::Recorded<T>) {
///     (once.clone(), once)
/// }
/// ```
#[derive(Debug, PartialEq, Eq)]
#[must_use = "what was recorded may now be done"]
pub struct Recorded<T> {
    value: T,
    receipt: Receipt,
}

/// Where a record stands in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The record's number, from 0.
    pub seq: u64,
    /// Its leaf hash.
    pub hash: Hash,
}

impl<T> Recorded<T> {
    pub(crate) fn new(value: T, receipt: Receipt) -> Self {
        Recorded { value, receipt }
    }

    /// The place of the effect's last event; the chain of `prev` ties the earlier ones to it.
    pub fn receipt(&self) -> Receipt {
        self.receipt
    }

    /// The effect.
    pub fn get(&self) -> &T {
        &self.value
    }

    /// The effect, to be carried out; the proof is used up.
    pub fn into_inner(self) -> T {
        self.value
    }
}

impl<A, B> Recorded<(A, B)> {
    /// Two effects that were recorded in one write. Both carry the receipt of the last event.
    pub fn split(self) -> (Recorded<A>, Recorded<B>) {
        let (a, b) = self.value;
        (Recorded::new(a, self.receipt), Recorded::new(b, self.receipt))
    }
}
