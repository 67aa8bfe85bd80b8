//! A message as bytes: a length, and a body that is exactly one message.

use alloc::vec;
use alloc::vec::Vec;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A message that cannot be framed: its body would have this many bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Oversized(pub usize);

/// A body that is not exactly one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// Writes `message` as a frame.
///
/// # Errors
/// Its body is longer than `bytes_max`.
pub fn encode<T: Serialize>(message: &T, bytes_max: usize) -> Result<Vec<u8>, Oversized> {
    // Postcard refuses only sequences of unknown length; no message has one.
    let mut frame = postcard::to_extend(message, vec![0; 4]).map_err(|_| Oversized(usize::MAX))?;
    let length = frame.len() - 4;
    let header = u32::try_from(length).ok().filter(|_| length <= bytes_max).ok_or(Oversized(length))?;
    frame[..4].copy_from_slice(&header.to_le_bytes());
    Ok(frame)
}

/// Reads a frame's header; gives the length of its body.
///
/// # Errors
/// An empty body, or one longer than `bytes_max`.
pub fn body_length(header: [u8; 4], bytes_max: usize) -> Result<usize, Oversized> {
    let length = u32::from_le_bytes(header) as usize;
    if (1..=bytes_max).contains(&length) { Ok(length) } else { Err(Oversized(length)) }
}

/// Reads a frame's body.
///
/// # Errors
/// Anything that is not one message and nothing after it.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, Malformed> {
    match postcard::take_from_bytes(body) {
        Ok((message, [])) => Ok(message),
        _ => Err(Malformed),
    }
}

/// Bytes as one run. Serde's own way with a `Vec<u8>`, byte by byte, makes the same wire but takes many times as long.
pub(super) mod blob {
    use alloc::vec::Vec;
    use core::fmt;
    use serde::de::{Deserializer, Error, Visitor};
    use serde::ser::Serializer;

    pub(in crate::protocol) fn serialize<S: Serializer>(
        bytes: &[u8],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(in crate::protocol) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        deserializer.deserialize_bytes(Run)
    }

    struct Run;

    impl Visitor<'_> for Run {
        type Value = Vec<u8>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("bytes")
        }

        fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
            Ok(bytes.to_vec())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{OUTWARD_BYTES_MAX, Reply};
    use super::*;

    #[test]
    fn a_body_is_one_message_and_nothing_after_it() {
        let frame = encode(&Reply::Started { id: 7, pid: 8 }, OUTWARD_BYTES_MAX).unwrap();
        assert_eq!(decode(&frame[4..]), Ok(Reply::Started { id: 7, pid: 8 }));
        assert_eq!(decode::<Reply>(&[&frame[4..], &[0]].concat()), Err(Malformed));
        assert_eq!(decode::<Reply>(&frame[4..frame.len() - 1]), Err(Malformed));
    }

    #[test]
    fn a_frame_is_never_empty_and_never_longer_than_its_direction_allows() {
        assert_eq!(body_length([0; 4], 10), Err(Oversized(0)));
        assert_eq!(body_length([10, 0, 0, 0], 10), Ok(10));
        assert_eq!(body_length([11, 0, 0, 0], 10), Err(Oversized(11)));
        assert_eq!(encode(&vec![1u8; 10], 10), Err(Oversized(11)));
    }
}
