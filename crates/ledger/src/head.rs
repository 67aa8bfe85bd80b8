//! `STATE/head`: how many records the last checkpoint covered that reached the disk, and their root.
//!
//! It is written after the log was synced and is not synced itself, so it can only lag behind the log. A log
//! that is shorter than its head was truncated.

use crate::disk::State;
use crate::{Error, Hash};
use rustix::fs::OFlags;

pub(crate) const NAME: &str = "head";
const LEN: usize = 20 + 1 + 2 * Hash::LEN + 1;

/// What the head says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) size: u64,
    pub(crate) root: Hash,
}

/// What was found in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// A head.
    Head(Head),
    /// No file, or an empty one, as a power cut can leave it.
    Nothing,
    /// Bytes that are no head.
    Garbage,
}

/// Reads the head.
pub(crate) fn read(state: &State) -> Result<Found, Error> {
    match state.read(NAME, LEN as u64) {
        Ok(bytes) if bytes.is_empty() => Ok(Found::Nothing),
        Ok(bytes) => Ok(parse(&bytes).map_or(Found::Garbage, Found::Head)),
        Err(Error::Damaged { .. }) => Ok(Found::Garbage),
        Err(error) if error.is_missing() => Ok(Found::Nothing),
        Err(error) => Err(error),
    }
}

/// Writes the head; one small write in place, which no crash tears in two.
pub(crate) fn write(state: &State, head: Head) -> Result<(), Error> {
    let file = state.file(NAME, OFlags::WRONLY | OFlags::CREATE)?;
    state.write_at(NAME, &file, 0, text(head).as_bytes())
}

fn text(head: Head) -> String {
    format!("{:020} {}\n", head.size, head.root)
}

fn parse(bytes: &[u8]) -> Option<Head> {
    let (size, rest) = std::str::from_utf8(bytes).ok()?.split_at_checked(20)?;
    let hex = rest.as_bytes().get(1..1 + 2 * Hash::LEN)?;
    let digit = |b: u8| (b as char).to_digit(16).map(|d| d as u8);
    let root: Option<Vec<u8>> =
        hex.chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect();
    let head = Head { size: size.parse().ok()?, root: Hash::from_slice(&root?)? };
    (text(head).as_bytes() == bytes).then_some(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_comes_back_and_a_changed_byte_is_garbage_or_another_head() {
        let head = Head { size: 600, root: Hash::leaf(b"x") };
        let bytes = text(head).into_bytes();
        assert_eq!((bytes.len(), parse(&bytes)), (LEN, Some(head)));
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            assert_ne!(parse(&changed), Some(head), "byte {place}");
        }
    }
}
