//! Checkpoints: C2SP signed notes (<https://c2sp.org/signed-note>, <https://c2sp.org/tlog-checkpoint>) that say
//! how many records there are and what their root is.

use crate::Hash;
use base64ct::{Base64, Encoding};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};
use std::fmt;

/// The name of the log and of its key. The key tells one log from another.
const NAME: &str = "casemate";

/// The signature type of Ed25519, from the signed-note specification.
const ED25519: u8 = 1;

/// A signed statement: the first `size` records have this root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    size: u64,
    root: Hash,
    note: String,
}

impl Checkpoint {
    /// How many records it covers.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root of the Merkle tree (RFC 6962) over them.
    pub fn root(&self) -> Hash {
        self.root
    }

    /// The signed note. Kept elsewhere, it is what [`crate::verify`] can compare the log with.
    pub fn note(&self) -> &str {
        &self.note
    }

    /// Reads a note without judging its signatures. `None` when it is no checkpoint of a log of ours.
    pub(crate) fn parse(note: &str) -> Option<Checkpoint> {
        let (text, signatures) = parts(note)?;
        let mut lines = text.lines();
        let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
        let canonical = size.bytes().all(|b| b.is_ascii_digit()) && (size == "0" || !size.starts_with('0'));
        if origin != NAME || !canonical || signatures.is_empty() {
            return None;
        }
        let root = Hash::from_slice(&Base64::decode_vec(root).ok()?)?;
        Some(Checkpoint { size: size.parse().ok()?, root, note: note.to_owned() })
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.note)
    }
}

/// The text, which ends with a newline, and the signature lines after the last blank line.
fn parts(note: &str) -> Option<(&str, &str)> {
    let end = note.rfind("\n\n")?;
    Some((&note[..=end], &note[end + 2..]))
}

/// Signs checkpoints.
pub(crate) struct Key(SigningKey);

impl Key {
    /// Bytes of the seed.
    pub(crate) const LEN: usize = 32;

    /// The key that a seed names; `None` when it has another length.
    pub(crate) fn from_seed(seed: &[u8]) -> Option<Key> {
        Some(Key(SigningKey::from_bytes(seed.try_into().ok()?)))
    }

    /// Signs the statement that `size` records have the root `root`.
    pub(crate) fn sign(&self, size: u64, root: Hash) -> Checkpoint {
        let text = format!("{NAME}\n{size}\n{}\n", Base64::encode_string(root.as_bytes()));
        let mut signature = self.verifier().id().to_vec();
        signature.extend_from_slice(&self.0.sign(text.as_bytes()).to_bytes());
        let note = format!("{text}\n\u{2014} {NAME} {}\n", Base64::encode_string(&signature));
        Checkpoint { size, root, note }
    }

    /// What its signatures are checked with.
    pub(crate) fn verifier(&self) -> Verifier {
        Verifier(self.0.verifying_key())
    }
}

/// Checks signatures.
pub(crate) struct Verifier(VerifyingKey);

impl Verifier {
    /// Reads a verifier key line, `casemate+<key id>+<base64>`.
    pub(crate) fn parse(line: &str) -> Option<Verifier> {
        // Base64 has `+` among its digits too: the key is what follows the second one of the line.
        let key = line.strip_suffix('\n')?.splitn(3, '+').nth(2)?;
        let bytes = Base64::decode_vec(key).ok()?;
        let (kind, key) = bytes.split_first()?;
        let verifier = Verifier(VerifyingKey::from_bytes(key.try_into().ok()?).ok()?);
        (*kind == ED25519 && verifier.to_string() == line).then_some(verifier)
    }

    /// Whether one of the checkpoint's signatures is this key's, and right. Signatures of other keys (of
    /// witnesses, say) are passed over, as the specification asks.
    pub(crate) fn accepts(&self, checkpoint: &Checkpoint) -> bool {
        let Some((text, signatures)) = parts(&checkpoint.note) else { return false };
        signatures.lines().any(|line| {
            let encoded = line.strip_prefix("\u{2014} ").and_then(|rest| rest.strip_prefix(NAME));
            let Some(encoded) = encoded.and_then(|rest| rest.strip_prefix(' ')) else { return false };
            let Ok(bytes) = Base64::decode_vec(encoded) else { return false };
            let Some((id, signature)) = bytes.split_first_chunk::<4>() else { return false };
            let Ok(signature) = Signature::from_slice(signature) else { return false };
            *id == self.id() && self.0.verify_strict(text.as_bytes(), &signature).is_ok()
        })
    }

    fn id(&self) -> [u8; 4] {
        let hash =
            Sha256::new().chain_update(NAME).chain_update([b'\n', ED25519]).chain_update(self.0.as_bytes());
        let hash: [u8; 32] = hash.finalize().into();
        [hash[0], hash[1], hash[2], hash[3]]
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![ED25519];
        bytes.extend_from_slice(self.0.as_bytes());
        writeln!(f, "{NAME}+{:08x}+{}", u32::from_be_bytes(self.id()), Base64::encode_string(&bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key() -> Key {
        Key::from_seed(&[7; 32]).unwrap()
    }

    #[test]
    fn a_checkpoint_is_the_note_that_the_specification_shows() {
        let note = key().sign(3, Hash::empty()).note;
        let lines: Vec<&str> = note.lines().collect();
        assert_eq!(lines[..4], ["casemate", "3", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", ""]);
        assert!(lines[4].starts_with("\u{2014} casemate ") && lines.len() == 5 && note.ends_with('\n'));
    }

    #[test]
    fn a_checkpoint_is_accepted_by_its_own_key_alone_and_with_a_witness_beside() {
        let checkpoint = key().sign(300, Hash::leaf(b"x"));
        let other = Key::from_seed(&[8; 32]).unwrap().verifier();
        let read = Checkpoint::parse(checkpoint.note()).unwrap();
        assert_eq!(read, checkpoint);
        assert!(key().verifier().accepts(&read) && !other.accepts(&read));
        let witnessed = format!("{}\u{2014} witness.example bm8gc2lnbmF0dXJl\n", checkpoint.note());
        assert!(key().verifier().accepts(&Checkpoint::parse(&witnessed).unwrap()));
    }

    #[test]
    fn a_changed_text_is_not_accepted() {
        let note = key().sign(300, Hash::leaf(b"x")).note.replace("300", "301");
        assert!(!key().verifier().accepts(&Checkpoint::parse(&note).unwrap()));
    }

    #[test]
    fn a_verifier_key_comes_back_and_any_other_line_is_refused() {
        for seed in 0..64 {
            let line = Key::from_seed(&[seed; 32]).unwrap().verifier().to_string();
            assert_eq!(Verifier::parse(&line).unwrap().to_string(), line);
            assert!(Verifier::parse(&line.replace("casemate", "another")).is_none());
        }
        assert!(Verifier::parse("").is_none());
    }

    proptest! {
        #[test]
        fn hostile_notes_are_read_without_a_panic(note in "\\PC{0,60}(\n){0,3}\\PC{0,60}") {
            for note in [note.clone(), format!("casemate\n1\n{note}"), format!("casemate\n1\n\n\u{2014} {note}")] {
                if let Some(checkpoint) = Checkpoint::parse(&note) {
                    prop_assert!(!key().verifier().accepts(&checkpoint));
                }
            }
        }
    }
}
