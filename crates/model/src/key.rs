//! The name of an API key.

use std::fmt;
use std::str::FromStr;

const LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
const LENGTH: usize = 8;

/// The name of one API key: `k` and 8 characters of a-z and 0-9. It is no secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; LENGTH + 1]);

/// Why a text is not a [`KeyId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a key id: expected `k` and 8 characters of a-z and 0-9")]
pub struct NotAKeyId(String);

impl KeyId {
    /// Makes the id that 8 random bytes name.
    pub fn from_random(bytes: [u8; LENGTH]) -> Self {
        let mut text = [b'k'; LENGTH + 1];
        for (place, byte) in text[1..].iter_mut().zip(bytes) {
            *place = LETTERS[byte as usize % LETTERS.len()];
        }
        KeyId(text)
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl FromStr for KeyId {
    type Err = NotAKeyId;

    fn from_str(text: &str) -> Result<Self, NotAKeyId> {
        let bytes: [u8; LENGTH + 1] =
            text.as_bytes().try_into().map_err(|_| NotAKeyId(crate::quote(text)))?;
        match bytes {
            [b'k', rest @ ..] if rest.iter().all(|b| LETTERS.contains(b)) => Ok(KeyId(bytes)),
            _ => Err(NotAKeyId(crate::quote(text))),
        }
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for KeyId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
