//! Names that are drawn at random: of sandboxes, of API keys.
//!
//! Their alphabet is safe in a host name, a file name, a cgroup name and a URL, so a name is never escaped.

use std::fmt;
use std::str::FromStr;

const LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";

/// A kind of names: a letter that says which, and so many characters of a-z and 0-9.
macro_rules! name {
    (
        $(#[$about:meta])* $Name:ident: $letter:literal, $length:literal;
        $(#[$wrong:meta])* $Wrong:ident
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $Name([u8; $length + 1]);

        #[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
        $(#[$wrong])*
        pub struct $Wrong(String);

        impl $Name {
            /// Makes the name that random bytes give. The caller draws them; this crate has no source of randomness.
            ///
            /// 256 is not a multiple of 36, so the first four letters are drawn 8/7 as often as the others: it is a
            /// name, not a secret.
            pub fn from_random(bytes: [u8; $length]) -> Self {
                let mut text = [$letter; $length + 1];
                for (place, byte) in text[1..].iter_mut().zip(bytes) {
                    *place = LETTERS[byte as usize % LETTERS.len()];
                }
                $Name(text)
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                std::str::from_utf8(&self.0).unwrap_or_default()
            }
        }

        impl FromStr for $Name {
            type Err = $Wrong;

            fn from_str(text: &str) -> Result<Self, $Wrong> {
                match <[u8; $length + 1]>::try_from(text.as_bytes()) {
                    Ok(bytes) if bytes[0] == $letter && bytes[1..].iter().all(|b| LETTERS.contains(b)) => {
                        Ok($Name(bytes))
                    }
                    _ => Err($Wrong(crate::quote(text))),
                }
            }
        }

        impl fmt::Display for $Name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $Name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl serde::Serialize for $Name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $Name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

name! {
    /// The name of one sandbox: `i` and 20 characters of a-z and 0-9 (103 bits when drawn at random).
    SandboxId: b'i', 20;
    /// Why a text is not a [`SandboxId`].
    #[error("`{0}` is not a sandbox id: expected `i` and 20 characters of a-z and 0-9")]
    NotAnId
}

name! {
    /// The name of one API key: `k` and 8 characters of a-z and 0-9. It is no secret.
    KeyId: b'k', 8;
    /// Why a text is not a [`KeyId`].
    #[error("`{0}` is not a key id: expected `k` and 8 characters of a-z and 0-9")]
    NotAKeyId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_being_written_and_read() {
        let id = SandboxId::from_random(*b"0123456789abcdefghij");
        assert_eq!(id.to_string().parse(), Ok(id));
        let key = KeyId::from_random(*b"01234567");
        assert_eq!(key.to_string().parse(), Ok(key));
    }

    #[test]
    fn a_text_of_another_form_is_refused_and_shown_neutralised() {
        for text in ["", "i", "iABCDEFGHIJ0123456789", "x0123456789abcdefghij", "i0123456789abcdefghi/"] {
            assert!(text.parse::<SandboxId>().is_err(), "{text}");
        }
        for text in ["", "k", "kABCDEFGH", "i01234567", "k0123456/", "k012345678"] {
            assert!(text.parse::<KeyId>().is_err(), "{text}");
        }
        let error = "\x1b[2J".parse::<SandboxId>().unwrap_err().to_string();
        assert!(error.starts_with(r"`\x1b[2J` is not a sandbox id"), "{error}");
    }
}
