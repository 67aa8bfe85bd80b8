//! The name of a sandbox.

use std::fmt;
use std::str::FromStr;

const LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
const LENGTH: usize = 20;

/// The name of one sandbox: `i` and 20 characters of a-z and 0-9 (103 bits when drawn at random).
///
/// The alphabet is safe in a host name, a file name, a cgroup name and a URL, so an id is never escaped.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SandboxId([u8; LENGTH + 1]);

/// Why a text is not a [`SandboxId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a sandbox id: expected `i` and 20 characters of a-z and 0-9")]
pub struct NotAnId(String);

impl SandboxId {
    /// Makes the id that 20 random bytes name. The caller draws them; this crate has no source of randomness.
    ///
    /// 256 is not a multiple of 36, so the first four letters are drawn 8/7 as often as the others: the id
    /// keeps more than 103 bits, and is a name, not a secret.
    pub fn from_random(bytes: [u8; LENGTH]) -> Self {
        let mut text = [b'i'; LENGTH + 1];
        for (place, byte) in text[1..].iter_mut().zip(bytes) {
            *place = LETTERS[byte as usize % LETTERS.len()];
        }
        SandboxId(text)
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl FromStr for SandboxId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let bytes: [u8; LENGTH + 1] = text.as_bytes().try_into().map_err(|_| NotAnId(crate::quote(text)))?;
        match bytes {
            [b'i', rest @ ..] if rest.iter().all(|b| LETTERS.contains(b)) => Ok(SandboxId(bytes)),
            _ => Err(NotAnId(crate::quote(text))),
        }
    }
}

impl fmt::Display for SandboxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for SandboxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for SandboxId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for SandboxId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_being_written_and_read() {
        let id = SandboxId::from_random(*b"0123456789abcdefghij");
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn a_text_of_another_form_is_refused_and_shown_neutralised() {
        for text in ["", "i", "iABCDEFGHIJ0123456789", "x0123456789abcdefghij", "i0123456789abcdefghi/"] {
            assert!(text.parse::<SandboxId>().is_err(), "{text}");
        }
        let error = "\x1b[2J".parse::<SandboxId>().unwrap_err().to_string();
        assert!(error.starts_with(r"`\x1b[2J` is not a sandbox id"), "{error}");
    }
}
