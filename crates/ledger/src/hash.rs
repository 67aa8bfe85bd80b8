//! The two hashes of a Merkle log (RFC 6962, section 2.1). Writer and verifier share these and the frame
//! layout, nothing else.

use sha2::{Digest, Sha256};
use std::fmt;

/// A SHA-256 hash: of a record, or of a subtree of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash([u8; Hash::LEN]);

impl Hash {
    /// Bytes of one hash.
    pub(crate) const LEN: usize = 32;

    /// What stands for the record before the first.
    pub(crate) const ZERO: Hash = Hash([0; Hash::LEN]);

    /// The hash of a tree without records.
    pub(crate) fn empty() -> Hash {
        Hash(Sha256::digest([]).into())
    }

    /// The hash of one record.
    pub(crate) fn leaf(record: &[u8]) -> Hash {
        Hash(Sha256::new().chain_update([0]).chain_update(record).finalize().into())
    }

    /// The hash of two subtrees side by side.
    pub(crate) fn node(left: Hash, right: Hash) -> Hash {
        Hash(Sha256::new().chain_update([1]).chain_update(left.0).chain_update(right.0).finalize().into())
    }

    /// Reads 32 bytes; `None` for any other number.
    pub(crate) fn from_slice(bytes: &[u8]) -> Option<Hash> {
        bytes.try_into().ok().map(Hash)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digits = self.0.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        let text: String = digits.map(|digit| DIGITS[usize::from(digit)] as char).collect();
        f.write_str(&text)
    }
}
