//! The user of a sandbox that a request names.

use super::failure::{Failure, Kind, fail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use policy::User;

/// The user by its name; none, or an empty name, is the ordinary one.
pub(crate) fn named(name: Option<&str>) -> Result<User, Failure> {
    match name {
        None | Some("" | "user") => Ok(User::User),
        Some("root") => Ok(User::Root),
        Some(other) => {
            let mut shown = model::quote(other);
            shown.truncate(shown.floor_char_boundary(64));
            fail(Kind::Unauthenticated, format!("invalid username: '{shown}'"))
        }
    }
}

/// The user of an `Authorization: Basic` header, whose password means nothing.
pub(crate) fn of(authorization: Option<&str>) -> Result<User, Failure> {
    let Some(text) = authorization else { return named(None) };
    let refuse = || Failure::said(Kind::Unauthenticated, "Authorization: expected Basic and a user name");
    let (scheme, encoded) = text.split_once(' ').ok_or_else(refuse)?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(refuse());
    }
    let decoded = STANDARD.decode(encoded.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let decoded = decoded.ok_or_else(refuse)?;
    named(decoded.split(':').next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_basic_header_names_the_user() {
        assert_eq!(of(None), Ok(User::User));
        assert_eq!(of(Some("Basic dXNlcjo=")), Ok(User::User));
        assert_eq!(of(Some("basic cm9vdDo=")), Ok(User::Root));
        for bad in ["Basic", "Bearer x", "Basic !", "Basic bm9ib2R5Og=="] {
            assert!(of(Some(bad)).is_err(), "{bad}");
        }
        let Failure::Said { message, .. } = named(Some("nobody")).unwrap_err() else { panic!() };
        assert_eq!(message, "invalid username: 'nobody'");
    }
}
