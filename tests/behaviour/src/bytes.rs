//! Many bytes that are easily made again.

use sha2::{Digest, Sha256};
use std::io::{Read, Result};

/// A reader of so many bytes that look random and are always the same (Marsaglia's xorshift64).
#[derive(Debug, Clone)]
pub struct Bytes {
    left: u64,
    state: u64,
}

impl Bytes {
    /// So many.
    pub fn new(length: u64) -> Bytes {
        Bytes { left: length, state: 0x9e37_79b9_7f4a_7c15 }
    }
}

impl Read for Bytes {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let length = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        for chunk in buffer[..length].chunks_mut(8) {
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            chunk.copy_from_slice(&self.state.to_le_bytes()[..chunk.len()]);
        }
        self.left -= length as u64;
        Ok(length)
    }
}

/// Reads to the end, and gives the number of bytes and their SHA-256.
///
/// # Errors
/// What the reader says.
pub fn digest(mut source: impl Read) -> Result<(u64, [u8; 32])> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut total = 0;
    loop {
        let length = source.read(&mut buffer)?;
        if length == 0 {
            return Ok((total, hash.finalize().into()));
        }
        hash.update(&buffer[..length]);
        total += length as u64;
    }
}
