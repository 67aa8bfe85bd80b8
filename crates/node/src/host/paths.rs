//! Paths as clients write them, made absolute the way a shell in the user's home would.

use super::Argument;
use policy::User;

/// The home of a user inside.
pub(super) fn home(user: User) -> &'static [u8] {
    match user {
        User::User => b"/home/user",
        User::Root => b"/root",
    }
}

/// The absolute, cleaned form of `path`: `~` and relative paths start at the user's home; `.`, `..` and doubled slashes
/// are taken out as text, as clients expect the answer to name the path that they asked for, links unresolved.
pub(super) fn absolute(path: &[u8], user: User) -> Argument {
    let whole = match path {
        [b'/', ..] => path.to_vec(),
        b"~" => home(user).to_vec(),
        [b'~', b'/', rest @ ..] => [home(user), b"/", rest].concat(),
        _ => [home(user), b"/", path].concat(),
    };
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in whole.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    [b"/", parts.join(&b"/"[..]).as_slice()].concat()
}

/// The last part of an absolute path.
pub(super) fn name(path: &[u8]) -> Argument {
    match path.rsplit(|byte| *byte == b'/').next() {
        Some(b"") | None => b"/".to_vec(),
        Some(name) => name.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_start_where_a_shell_would_start_them() {
        for (given, expected) in [
            ("/a/b", "/a/b"),
            ("/a//b/./c/../d/", "/a/b/d"),
            ("x", "/home/user/x"),
            ("", "/home/user"),
            ("~", "/home/user"),
            ("~/x", "/home/user/x"),
            ("~x", "/home/user/~x"),
            ("../../../..", "/"),
        ] {
            assert_eq!(absolute(given.as_bytes(), User::User), expected.as_bytes(), "{given}");
        }
        assert_eq!(absolute(b"x", User::Root), b"/root/x");
        assert_eq!(name(b"/a/b"), b"b");
        assert_eq!(name(b"/"), b"/");
    }
}
