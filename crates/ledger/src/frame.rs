//! The layout of `log/tail`: a header, then frames. Pure: bytes in, structure out, never a panic.
//!
//! A frame is `kind (1) | length (2, big-endian) | the complement of these three bytes (3) | body | leaf hash
//! of the body (32)`. The complement tells a length that was changed from a frame that was cut short: the
//! first is damage, the second is what a crash leaves.

use crate::Hash;

const MAGIC: &[u8; 12] = b"casemate\0\0\0\x01";
const HEAD: usize = 6;

/// A file system that grew a file before it wrote the bytes shows zeros after a power cut. A frame that was
/// written whole never holds this many in a row: bodies are text, and the rest is short or a hash.
const ZEROS_OF_A_HOLE: usize = 16;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A record.
    Entry,
    /// A signed checkpoint over all records before it.
    Checkpoint,
}

/// One whole frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) kind: Kind,
    pub(crate) body: &'a [u8],
    /// The leaf hash as the frame gives it.
    pub(crate) hash: Hash,
}

/// Whether a frame's body is compared with its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    /// Yes.
    Body,
    /// No: it is only asked where it ends.
    Layout,
}

/// What stands at one place of the tail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next<'a> {
    /// A whole frame.
    Frame(Frame<'a>),
    /// Nothing more.
    End,
    /// A write that a crash cut short, up to the end of the file. It was never acknowledged.
    Torn,
    /// Bytes that neither a writer nor a crash leaves.
    Damaged(&'static str),
}

impl Frame<'_> {
    /// Bytes in the file.
    pub(crate) fn len(&self) -> usize {
        HEAD + self.body.len() + Hash::LEN
    }
}

/// Adds a frame to `bytes`. The body fits 16 bits: `record` and `note` make none longer.
pub(crate) fn push(bytes: &mut Vec<u8>, kind: Kind, body: &[u8], hash: Hash) {
    let [high, low] = u16::try_from(body.len()).unwrap_or(u16::MAX).to_be_bytes();
    let head = [letter(kind), high, low];
    bytes.extend_from_slice(&head);
    bytes.extend(head.map(|byte| !byte));
    bytes.extend_from_slice(body);
    bytes.extend_from_slice(hash.as_bytes());
}

/// Reads the frame at the beginning of `bytes`, which go to the end of the file.
pub(crate) fn next(bytes: &[u8], check: Check) -> Next<'_> {
    if bytes.is_empty() {
        return Next::End;
    }
    let Some(head) = bytes.first_chunk::<HEAD>() else { return Next::Torn };
    let kind = match head[0] {
        b'E' => Kind::Entry,
        b'C' => Kind::Checkpoint,
        _ if is_hole(&bytes[..bytes.len().min(ZEROS_OF_A_HOLE)]) => return Next::Torn,
        _ => return Next::Damaged("no frame begins here"),
    };
    if head[..3].iter().zip(&head[3..]).any(|(byte, complement)| *byte != !*complement) {
        return match is_hole(&bytes[HEAD..bytes.len().min(HEAD + ZEROS_OF_A_HOLE)]) {
            true => Next::Torn,
            false => Next::Damaged("the frame's length does not match its complement"),
        };
    }
    let body_len = usize::from(u16::from_be_bytes([head[1], head[2]]));
    let Some(hash) = bytes.get(HEAD + body_len..HEAD + body_len + Hash::LEN).and_then(Hash::from_slice)
    else {
        return Next::Torn;
    };
    let body = &bytes[HEAD..HEAD + body_len];
    if check == Check::Body && Hash::leaf(body) != hash {
        // The zeros begin inside of the frame; they may go on behind it.
        let end = (HEAD + body_len + Hash::LEN + ZEROS_OF_A_HOLE - 1).min(bytes.len());
        return match bytes[HEAD..end].windows(ZEROS_OF_A_HOLE).any(is_hole) {
            true => Next::Torn,
            false => Next::Damaged("the frame does not match its hash"),
        };
    }
    Next::Frame(Frame { kind, body, hash })
}

fn is_hole(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

fn letter(kind: Kind) -> u8 {
    match kind {
        Kind::Entry => b'E',
        Kind::Checkpoint => b'C',
    }
}

/// What the tail says about everything before its first entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    /// Index of the first entry; a multiple of 256.
    pub(crate) first: u64,
    /// Leaf hash of the entry before it.
    pub(crate) prev: Hash,
    /// Hashes of the full subtrees left of it, the largest first: one for each bit set in `first`.
    pub(crate) frontier: Vec<Hash>,
    /// The newest checkpoint over at most `first` entries, as a signed note; empty when there is none.
    pub(crate) note: Vec<u8>,
}

impl Header {
    /// The header of a log without records.
    pub(crate) fn empty() -> Header {
        Header { first: 0, prev: Hash::ZERO, frontier: Vec::new(), note: Vec::new() }
    }

    /// The header's bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&self.first.to_be_bytes());
        bytes.extend_from_slice(self.prev.as_bytes());
        self.frontier.iter().for_each(|hash| bytes.extend_from_slice(hash.as_bytes()));
        bytes.extend_from_slice(&u16::try_from(self.note.len()).unwrap_or(u16::MAX).to_be_bytes());
        bytes.extend_from_slice(&self.note);
        let hash = Hash::leaf(&bytes);
        bytes.extend_from_slice(hash.as_bytes());
        bytes
    }

    /// Reads a header and how long it is.
    pub(crate) fn decode(bytes: &[u8]) -> Result<(Header, usize), &'static str> {
        let mut rest = bytes;
        let mut take = |len: usize| {
            let (taken, left) = rest.split_at_checked(len).ok_or("the header is cut short")?;
            rest = left;
            Ok::<&[u8], &'static str>(taken)
        };
        if take(MAGIC.len())? != MAGIC {
            return Err("not the tail of a log of version 1");
        }
        let first = u64::from_be_bytes(take(8)?.try_into().map_err(|_| "the header is cut short")?);
        let prev = Hash::from_slice(take(Hash::LEN)?).ok_or("the header is cut short")?;
        let mut frontier = Vec::new();
        for _ in 0..first.count_ones() {
            frontier.push(Hash::from_slice(take(Hash::LEN)?).ok_or("the header is cut short")?);
        }
        let note_len = u16::from_be_bytes(take(2)?.try_into().map_err(|_| "the header is cut short")?);
        let note = take(usize::from(note_len))?.to_vec();
        let header = Header { first, prev, frontier, note };
        let check = take(Hash::LEN)?;
        let len = bytes.len() - rest.len();
        if Hash::leaf(&bytes[..len - Hash::LEN]).as_bytes() != check {
            return Err("the header does not match its hash");
        }
        // The largest index is far beyond what anyone writes; it keeps every sum of two from overflowing.
        if first % 256 != 0 || first > 1 << 56 {
            return Err("the first index is not a multiple of 256");
        }
        Ok((header, len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        push(&mut bytes, Kind::Entry, body, Hash::leaf(body));
        bytes
    }

    #[test]
    fn a_frame_cut_at_any_byte_is_torn_and_a_changed_one_is_damaged() {
        let bytes = frame(b"{\"v\":1}");
        for end in 1..bytes.len() {
            assert_eq!(next(&bytes[..end], Check::Body), Next::Torn, "cut at {end}");
        }
        for place in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[place] ^= 1 << bit;
                assert!(matches!(next(&changed, Check::Body), Next::Damaged(_)), "byte {place}, bit {bit}");
            }
        }
    }

    #[test]
    fn zeros_that_a_power_cut_left_are_torn() {
        let whole = frame(&[b'x'; 100]);
        for start in 0..whole.len() - ZEROS_OF_A_HOLE {
            let mut bytes = whole.clone();
            bytes[start..].fill(0);
            assert_eq!(next(&bytes, Check::Body), Next::Torn, "zeros from {start}");
        }
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = Header::decode(&bytes);
            let _ = next(&bytes, Check::Body);
            let marked = [MAGIC.as_slice(), &bytes].concat();
            let _ = Header::decode(&marked);
        }

        #[test]
        fn a_header_comes_back(places in 0u64..1 << 20, seed in any::<u8>(), note in proptest::collection::vec(any::<u8>(), 0..300)) {
            let first = places * 256;
            let frontier = (0..first.count_ones()).map(|n| Hash::leaf(&[seed, n as u8])).collect();
            let header = Header { first, prev: Hash::leaf(&[seed]), frontier, note };
            let bytes = header.encode();
            prop_assert_eq!(Header::decode(&bytes), Ok((header, bytes.len())));
        }
    }
}
