//! Whose a request is: told from the host, two headers and the path alone, before anything else is looked at.

use model::SandboxId;

/// The port at which a sandbox's own interface answers.
pub const ENVD_PORT: u16 = 49983;
/// The header that names the sandbox, where the host does not.
pub const SANDBOX_ID: &str = "e2b-sandbox-id";
/// The header that names the port with it.
pub const SANDBOX_PORT: &str = "e2b-sandbox-port";

/// What a request is addressed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The interface that makes and ends sandboxes.
    Control,
    /// A port of a sandbox.
    Sandbox {
        /// Which one, as it was named. What is no id of ours names no sandbox.
        id: Name,
        /// Which port.
        port: u16,
    },
    /// A file of the sandbox that its signature or its token tells.
    Signed,
}

/// A sandbox's name as a stranger wrote it: short, of harmless letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(String);

/// Why a request is addressed to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Misplaced {
    /// Only one of the two headers.
    #[error("E2b-Sandbox-Id and E2b-Sandbox-Port go together: only one of them is here")]
    HalfNamed,
    /// The id has letters that no id has.
    #[error("invalid sandbox id")]
    Id,
    /// The port is no port.
    #[error("invalid sandbox port")]
    Port,
    /// The host names one sandbox, the headers another.
    #[error("the host names another sandbox or port than E2b-Sandbox-Id and E2b-Sandbox-Port do")]
    Contradiction,
}

impl Name {
    const BYTES_MAX: usize = 64;

    /// Reads a name of a-z, 0-9 and `-`. What follows the first `-` was once the name of a node, and is ignored.
    pub fn read(text: &str) -> Option<Name> {
        let harmless = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        let fits = text.len() <= Self::BYTES_MAX && text.bytes().all(harmless);
        let name = text.split('-').next().filter(|name| fits && !name.is_empty())?;
        Some(Name(name.to_owned()))
    }

    /// The id, if it can be one of ours.
    pub fn id(&self) -> Option<SandboxId> {
        self.0.parse().ok()
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Finds out what a request is addressed to.
///
/// # Errors
/// Headers that are half there, unreadable, or contradict the host.
pub fn place(
    host: Option<&[u8]>,
    id: Option<&[u8]>,
    port: Option<&[u8]>,
    path: &str,
) -> Result<Place, Misplaced> {
    let by_header = match (id, port) {
        (None, None) => None,
        (Some(id), Some(port)) => Some((read_name(id)?, read_port(port)?)),
        _ => return Err(Misplaced::HalfNamed),
    };
    let by_host = host.map(by_label).transpose()?.flatten();
    match (by_header, by_host) {
        (Some(named), Some(label)) if named != label => Err(Misplaced::Contradiction),
        (Some((id, port)), _) | (None, Some((id, port))) => Ok(Place::Sandbox { id, port }),
        (None, None) if path == "/files" => Ok(Place::Signed),
        (None, None) => Ok(Place::Control),
    }
}

/// The sandbox in `PORT-ID.domain` or `PORT-ID-NODE.domain`. Other hosts name none.
fn by_label(host: &[u8]) -> Result<Option<(Name, u16)>, Misplaced> {
    let label = host.split(|byte| matches!(byte, b'.' | b':')).next().unwrap_or_default();
    let Some(dash) = label.iter().position(|byte| *byte == b'-') else { return Ok(None) };
    let (port, id) = (&label[..dash], &label[dash + 1..]);
    if port.is_empty() || !port.iter().all(u8::is_ascii_digit) {
        return Ok(None);
    }
    Ok(Some((read_name(&id.to_ascii_lowercase())?, read_port(port)?)))
}

fn read_name(bytes: &[u8]) -> Result<Name, Misplaced> {
    std::str::from_utf8(bytes).ok().and_then(Name::read).ok_or(Misplaced::Id)
}

fn read_port(bytes: &[u8]) -> Result<u16, Misplaced> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    text.and_then(|text| text.parse().ok()).filter(|port| *port != 0).ok_or(Misplaced::Port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "i0123456789abcdefghij";

    fn at(port: u16) -> Result<Place, Misplaced> {
        Ok(Place::Sandbox { id: Name(ID.to_owned()), port })
    }

    #[test]
    fn two_headers_or_the_first_label_of_the_host_name_a_sandbox() {
        assert_eq!(place(Some(b"127.0.0.1:3000"), Some(ID.as_bytes()), Some(b"49983"), "/health"), at(49983));
        assert_eq!(place(Some(b"49999-i0123456789abcdefghij.localhost:8443"), None, None, "/x"), at(49999));
        assert_eq!(place(Some(b"80-i0123456789abcdefghij-6532622b.e2b.app"), None, None, "/files"), at(80));
        assert_eq!(place(Some(b"80-I0123456789ABCDEFGHIJ.x"), None, None, "/"), at(80));
    }

    #[test]
    fn without_them_it_is_the_control_plane_or_a_signed_file() {
        for host in
            [&b"localhost"[..], b"127.0.0.1:3000", b"[::1]:3000", b"my-host.example", b"-x.example", b""]
        {
            assert_eq!(place(Some(host), None, None, "/sandboxes"), Ok(Place::Control));
        }
        assert_eq!(place(None, None, None, "/files"), Ok(Place::Signed));
        assert_eq!(place(None, None, None, "/files/compose"), Ok(Place::Control));
    }

    #[test]
    fn what_names_half_a_sandbox_or_two_is_refused() {
        let id = Some(ID.as_bytes());
        assert_eq!(place(None, id, None, "/"), Err(Misplaced::HalfNamed));
        assert_eq!(place(None, None, Some(b"1"), "/"), Err(Misplaced::HalfNamed));
        for port in [&b""[..], b"0", b"65536", b"+1", b"-1", b"1 ", b"\xff"] {
            assert_eq!(place(None, id, Some(port), "/"), Err(Misplaced::Port));
        }
        for id in [&b""[..], b"../x", b"A", b"-x", b"\xff", &[b'a'; 65]] {
            assert_eq!(place(None, Some(id), Some(b"1"), "/"), Err(Misplaced::Id));
        }
        assert_eq!(
            place(Some(b"81-i0123456789abcdefghij.x"), id, Some(b"80"), "/"),
            Err(Misplaced::Contradiction)
        );
    }

    proptest! {
        #[test]
        fn no_request_makes_it_panic_and_every_name_is_harmless(
            host in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..80)),
            id in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..80)),
            port in proptest::option::of("[0-9]{0,6}"),
        ) {
            let place = place(host.as_deref(), id.as_deref(), port.as_deref().map(str::as_bytes), "/");
            if let Ok(Place::Sandbox { id, port }) = place {
                prop_assert!(port != 0);
                prop_assert!(id.as_str().bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
            }
        }
    }
}
