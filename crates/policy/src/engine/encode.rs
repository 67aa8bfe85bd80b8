//! Acts as Cedar sees them: words, given one by one.
//!
//! ```text
//! exec git "a b" ""  ->  Program::"git", context.args = { count: 2, w0: "a b", w1: "" }
//! read /input/a.csv  ->  File::"/input/a.csv", context.path = { count: 2, w0: "input", w1: "a.csv" }
//! ```
//!
//! Invariant: no two acts that differ in what a policy may look at have the same encoding. Words are never joined, so
//! nothing depends on quoting; `count` tells an empty last word from none; bytes that are no text have a spelling that no
//! text has.

use super::Action;
use crate::pattern::WORDS_MAX;
use crate::{Act, Request, User};
use std::net::IpAddr;

/// Private characters of Unicode that stand for the single bytes 0x80 to 0xff.
const BYTE: u32 = 0xf700;

const WORDS: u16 = WORDS_MAX as u16;

/// Bytes as a Cedar string. What is UTF-8 is itself; each byte that is not has the character U+F700 + byte; and the bytes of
/// such a character, should a text hold one, are spelled the same way. So it can be undone, and is injective.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    let spell = |text: &mut String, bytes: &[u8]| {
        text.extend(bytes.iter().filter_map(|byte| char::from_u32(BYTE + u32::from(*byte))));
    };
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match (BYTE..BYTE + 0x100).contains(&u32::from(c)) {
                true => spell(&mut text, c.encode_utf8(&mut [0; 4]).as_bytes()),
                false => text.push(c),
            }
        }
        spell(&mut text, chunk.invalid());
    }
    text
}

/// The words of a path: its names. None for one that is not absolute or steps up.
pub(crate) fn path_words(path: &[u8]) -> Option<Vec<&[u8]>> {
    let names = path.strip_prefix(b"/")?;
    let words: Vec<&[u8]> = names.split(|b| *b == b'/').filter(|name| !matches!(*name, b"" | b".")).collect();
    (!words.contains(&b"..".as_slice())).then_some(words)
}

/// How many words of each list a set of rules looks at. No more of them are encoded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Reads {
    pub(crate) args: u16,
    pub(crate) cwd: u16,
    pub(crate) path: u16,
    pub(crate) host: u16,
}

impl Reads {
    /// All that a document's own policies may look at.
    pub(crate) const ALL: Reads = Reads { args: WORDS, cwd: WORDS, path: WORDS, host: WORDS };

    /// What either looks at.
    pub(crate) fn and(self, other: Reads) -> Reads {
        Reads {
            args: self.args.max(other.args),
            cwd: self.cwd.max(other.cwd),
            path: self.path.max(other.path),
            host: self.host.max(other.host),
        }
    }

    /// Each number made 4, or the next power of two.
    pub(crate) fn rounded(self) -> Reads {
        let up = |number: u16| number.max(4).checked_next_power_of_two().unwrap_or(u16::MAX);
        Reads { args: up(self.args), cwd: up(self.cwd), path: up(self.path), host: up(self.host) }
    }

    /// The count of a list's words.
    pub(crate) fn of(&mut self, list: &str) -> Option<&mut u16> {
        match list {
            "args" => Some(&mut self.args),
            "cwd" => Some(&mut self.cwd),
            "path" => Some(&mut self.path),
            "host" => Some(&mut self.host),
            _ => None,
        }
    }
}

/// A value in the context of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    /// How many words there are, and those that are looked at.
    Words(usize, Vec<String>),
    Text(String),
    Number(i64),
    Truth(bool),
    Address(IpAddr),
}

/// A request as Cedar gets it, but for the principal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Encoded {
    pub(crate) user: User,
    pub(crate) action: Action,
    /// The id of the resource; its type follows from the action.
    pub(crate) resource: String,
    pub(crate) context: Vec<(&'static str, Value)>,
}

fn words<W: AsRef<[u8]>>(words: &[W], most: u16) -> Value {
    let seen = words.iter().take(usize::from(most)).map(|word| encode(word.as_ref())).collect();
    Value::Words(words.len(), seen)
}

/// A command.
pub(crate) fn exec(argv: &[Vec<u8>], cwd: &[u8], user: User, reads: Reads) -> Option<Encoded> {
    let (program, args) = argv.split_first()?;
    let resource = encode(program);
    let mut context = vec![
        ("approved", Value::Truth(false)),
        ("args", words(args, reads.args)),
        ("cwd", words(&path_words(cwd)?, reads.cwd)),
    ];
    let name = program.rsplit(|b| *b == b'/').next().unwrap_or_default();
    context.push(("name", Value::Text(encode(name))));
    Some(Encoded { user, action: Action::Exec, resource, context })
}

/// Work on a file: `action` is reading or writing.
pub(crate) fn file(action: Action, path: &[u8], user: User, reads: Reads) -> Option<Encoded> {
    let names = path_words(path)?;
    let resource = encode(&[b"/", names.join(&b'/').as_slice()].concat());
    Some(Encoded { user, action, resource, context: vec![("path", words(&names, reads.path))] })
}

/// A request through the gateway.
pub(crate) fn request(request: &Request, reads: Reads) -> Encoded {
    let Request { method, host, port, path } = request;
    let address: Option<IpAddr> = host.parse().ok();
    // An address is one word: its parts are no labels, and no rule about names is about it.
    let labels: Vec<&str> = match address {
        Some(_) => vec![host.as_str()],
        None => host.rsplit('.').collect(),
    };
    let mut context = vec![
        ("approved", Value::Truth(false)),
        ("host", words(&labels, reads.host)),
        ("method", Value::Text(encode(method.as_bytes()))),
        ("path", words(path, reads.path)),
        ("port", Value::Number(i64::from(*port))),
    ];
    context.extend(address.map(|address| ("address", Value::Address(address))));
    let resource = encode(host.as_bytes());
    Encoded { user: User::User, action: Action::Request, resource, context }
}

/// An amount of what is limited. Amounts that Cedar's numbers cannot hold are above every limit.
fn amount(resource: &str, amount: u64) -> Encoded {
    let context = vec![("amount", Value::Number(i64::try_from(amount).unwrap_or(i64::MAX)))];
    let resource = resource.to_owned();
    Encoded { user: User::User, action: Action::Use, resource, context }
}

/// An act; `program` finds what a tool's call runs. None: no rule can be about it.
pub(crate) fn act<'t>(
    act: &'t Act,
    program: impl Fn(&'t str) -> Option<&'t str>,
    reads: Reads,
) -> Option<Encoded> {
    match act {
        Act::Exec { argv, cwd, user } => exec(argv, cwd, *user, reads),
        Act::Read { path, user } => file(Action::Read, path, *user, reads),
        Act::Write { path, user } => file(Action::Write, path, *user, reads),
        Act::Request(asked) => Some(request(asked, reads)),
        Act::Tool { name, args } => {
            let argv: Vec<Vec<u8>> =
                std::iter::once(program(name)?.as_bytes().to_vec()).chain(args.iter().cloned()).collect();
            exec(&argv, b"/home/user", User::User, reads)
        }
        Act::Use { limit, amount } => Some(self::amount(limit.name(), *amount)),
        Act::Root => Some(amount("root", 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Undoes [`encode`].
    fn decode(text: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        for c in text.chars() {
            match u32::from(c).checked_sub(BYTE).and_then(|byte| u8::try_from(byte).ok()) {
                Some(byte) => bytes.push(byte),
                None => bytes.extend(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        bytes
    }

    fn word() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..6),
            "[a\u{f780}\u{f7ff}\u{f77f}é ]{0,4}".prop_map(String::into_bytes),
        ]
    }

    proptest! {
        #[test]
        fn every_bytes_are_found_again(bytes in word()) {
            prop_assert_eq!(decode(&encode(&bytes)), bytes);
        }

        #[test]
        fn different_commands_look_different(
            a in proptest::collection::vec(word(), 1..5),
            b in proptest::collection::vec(word(), 1..5),
        ) {
            let seen = |argv: &[Vec<u8>]| exec(argv, b"/", User::User, Reads::ALL);
            prop_assert_eq!(a == b, seen(&a) == seen(&b));
        }

        #[test]
        fn different_paths_look_different(a in word(), b in word(), c in word(), d in word()) {
            let path = |x: &[u8], y: &[u8]| [b"/", x, b"/", y].concat();
            let seen = |path: &[u8]| file(Action::Read, path, User::User, Reads::ALL);
            let (one, two) = (path(&a, &b), path(&c, &d));
            if let (Some(x), Some(y)) = (path_words(&one), path_words(&two)) {
                prop_assert_eq!(x == y, seen(&one) == seen(&two));
            }
        }

        #[test]
        fn a_piece_is_found_in_a_word_where_it_is_in_its_encoding(bytes in word(), piece in "[a\u{f780}é]{1,2}") {
            let inside = bytes.windows(piece.len()).any(|part| part == piece.as_bytes());
            prop_assert_eq!(inside, encode(&bytes).contains(&encode(piece.as_bytes())));
        }
    }

    #[test]
    fn a_path_that_steps_up_is_nothing_that_a_rule_is_about() {
        assert_eq!(path_words(b"/a/../b"), None);
        assert_eq!(path_words(b"a"), None);
        assert_eq!(path_words(b"//a/./b/"), Some(vec![b"a".as_slice(), b"b"]));
    }
}
