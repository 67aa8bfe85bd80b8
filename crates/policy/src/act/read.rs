//! Reads an act from a line of text.

use super::{Act, Limit, Request};
use crate::User;
use crate::host::{self, Named};
use crate::words::{Written, split};
use model::{parse_duration_ms, parse_size_bytes, quote};

/// A longer line is no act.
pub const ACT_BYTES_MAX: usize = 8192;

/// Why a text is not an act.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{shown} is not an act: {why}")]
pub struct NotAnAct {
    shown: String,
    why: String,
    mend: &'static str,
}

impl NotAnAct {
    /// The mend.
    pub fn mend(&self) -> &'static str {
        self.mend
    }
}

const FORMS: &str = "write one of: `exec PROGRAM ARG...`, `read /PATH`, `write /PATH`, `GET https://HOST/PATH`, \
`tool NAME ARG...`, `use LIMIT AMOUNT`, `use root`";
const SHORTEST: &str =
    "write the path from `/`, without empty names, `.` and `..`, and without a `/` at its end";

type Why = (String, &'static str);

fn why<T>(why: impl Into<String>, mend: &'static str) -> Result<T, Why> {
    Err((why.into(), mend))
}

impl Act {
    /// Reads an act as [`Act`]'s variants tell and as `Display` writes it.
    ///
    /// # Errors
    /// What is written in no such way. Nothing is guessed: a path that is not in its shortest form, a URL with a user,
    /// a query or an encoded `/` are refused.
    pub fn parse(text: &str) -> Result<Act, NotAnAct> {
        let act = match text.len() > ACT_BYTES_MAX {
            true => why(format!("it has more than {ACT_BYTES_MAX} bytes"), "shorten it"),
            false => split(text).map_err(|error| (error.to_owned(), FORMS)).and_then(|words| act(&words)),
        };
        act.map_err(|(why, mend)| NotAnAct { shown: crate::problem::excerpt(text), why, mend })
    }
}

fn act(words: &[Written]) -> Result<Act, Why> {
    let Some((first, rest)) = words.split_first() else { return why("it is empty", FORMS) };
    let keyword = if first.quoted { None } else { std::str::from_utf8(&first.bytes).ok() };
    match keyword {
        Some("exec") => exec(rest),
        Some("read") => file(rest).map(|(path, user)| Act::Read { path, user }),
        Some("write") => file(rest).map(|(path, user)| Act::Write { path, user }),
        Some("tool") => tool(rest),
        Some("use") => uses(rest),
        Some(method) if host::is_method(method) => match rest {
            [url] if !url.quoted => request(method, &String::from_utf8_lossy(&url.bytes)).map(Act::Request),
            _ => why("one URL follows a method", "write it like `GET https://api.example.com/v1/items`"),
        },
        _ => why("it begins with no known word", FORMS),
    }
}

/// `as root`, if it is there, and what follows.
fn user(words: &[Written]) -> Result<(User, &[Written]), Why> {
    match words {
        [r#as, who, rest @ ..] if r#as.is("as") && who.is("root") => Ok((User::Root, rest)),
        [r#as, who, rest @ ..] if r#as.is("as") && who.is("user") => Ok((User::User, rest)),
        [r#as, ..] if r#as.is("as") => why(
            "`as` is followed by neither `root` nor `user`",
            "put a program of the name `as` in quotes: `'as'`",
        ),
        _ => Ok((User::User, words)),
    }
}

fn exec(words: &[Written]) -> Result<Act, Why> {
    let (user, words) = user(words)?;
    let (cwd, words) = match words {
        [r#in, place, rest @ ..] if r#in.is("in") => (path(&place.bytes)?, rest),
        _ => (home(user).to_vec(), words),
    };
    let argv: Vec<Vec<u8>> = words.iter().map(|word| word.bytes.clone()).collect();
    if argv.first().is_none_or(Vec::is_empty) {
        return why("it names no program", "write it like `exec git status`");
    }
    no_nul(&argv)?;
    Ok(Act::Exec { argv, cwd, user })
}

/// Where a command of `user` begins if nothing else is said.
pub(crate) fn home(user: User) -> &'static [u8] {
    match user {
        User::User => b"/home/user",
        User::Root => b"/root",
    }
}

fn no_nul(words: &[Vec<u8>]) -> Result<(), Why> {
    match words.iter().any(|word| word.contains(&0)) {
        true => why("it has a NUL byte", "leave NUL bytes out; no program can be given one"),
        false => Ok(()),
    }
}

fn file(words: &[Written]) -> Result<(Vec<u8>, User), Why> {
    let (user, words) = user(words)?;
    match words {
        [place] => Ok((path(&place.bytes)?, user)),
        _ => why(
            "it does not name one path",
            "write it like `read /input/a.csv`; put a path with spaces in `'`",
        ),
    }
}

/// An absolute path in its shortest form.
fn path(bytes: &[u8]) -> Result<Vec<u8>, Why> {
    no_nul(&[bytes.to_vec()])?;
    let names = bytes.strip_prefix(b"/").ok_or(("the path does not begin with `/`".to_owned(), SHORTEST))?;
    let odd = |name: &[u8]| matches!(name, b"" | b"." | b"..");
    if !names.is_empty() && names.split(|b| *b == b'/').any(odd) {
        return why("the path is not in its shortest form", SHORTEST);
    }
    Ok(bytes.to_vec())
}

fn tool(words: &[Written]) -> Result<Act, Why> {
    let Some((name, args)) = words.split_first() else {
        return why("it names no tool", "write it like `tool git status`");
    };
    let name = String::from_utf8_lossy(&name.bytes).into_owned();
    if !crate::parse::is_name(&name) {
        return why(
            format!("`{}` is not a tool's name", quote(&name)),
            "a name has 1 to 64 of the characters a-z, 0-9 and `-`",
        );
    }
    let args: Vec<Vec<u8>> = args.iter().map(|word| word.bytes.clone()).collect();
    no_nul(&args)?;
    Ok(Act::Tool { name, args })
}

fn uses(words: &[Written]) -> Result<Act, Why> {
    let words: Vec<&str> = words.iter().filter_map(|word| std::str::from_utf8(&word.bytes).ok()).collect();
    let (limit, amount) = match words.as_slice() {
        ["root"] => return Ok(Act::Root),
        [limit, amount] => (*limit, *amount),
        _ => return why("it does not name a limit and an amount", "write it like `use memory 1GiB`"),
    };
    let Some(limit) = Limit::ALL.iter().copied().find(|known| known.name() == limit) else {
        return why(
            format!("`{}` is not a limit", quote(limit)),
            "the limits are: cpus, memory, pids, disk, inodes, open_files, wall",
        );
    };
    let (amount, example) = match limit {
        Limit::Cpus => (thousandths(amount), "write processors, such as `use cpus 1.5`"),
        Limit::Memory | Limit::Disk => {
            (parse_size_bytes(amount).ok(), "write a size, such as `use memory 1GiB`")
        }
        Limit::Pids | Limit::Inodes | Limit::OpenFiles => {
            (count(amount), "write a number, such as `use pids 100`")
        }
        Limit::Wall if amount == "none" => (Some(u64::MAX), ""),
        Limit::Wall => {
            (parse_duration_ms(amount).ok(), "write a time, such as `use wall 10m`, or `use wall none`")
        }
    };
    match amount {
        Some(amount) => Ok(Act::Use { limit, amount }),
        None => why(format!("the amount is not one of `{}`", limit.name()), example),
    }
}

/// Digits alone: `+1` and `1_0` are no numbers here.
fn count(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

fn thousandths(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let fits = (1..=3).contains(&part.len());
    let part = count(part).filter(|_| fits)? * 10u64.pow(3 - part.len() as u32);
    count(whole)?.checked_mul(1000)?.checked_add(part)
}

fn request(method: &str, url: &str) -> Result<Request, Why> {
    const MEND: &str = "write it like `GET https://api.example.com:8443/v1/items`";
    let (default_port, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => (443, rest),
        (_, Some(rest)) => (80, rest),
        _ => return why("the URL begins with neither `https://` nor `http://`", MEND),
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if rest.contains('?') {
        return why("the URL has a query", "leave out `?...`: no rule decides by it");
    }
    if rest.contains('#') {
        return why("the URL has a fragment", "leave out `#...`: it is never sent");
    }
    if authority.contains('@') {
        return why("the URL has a user", "leave out what stands before the `@`");
    }
    let (name, port) = match authority.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => {
            let port = count(port).and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
            (name, port.ok_or(("the port is not one of 1 to 65535".to_owned(), MEND))?)
        }
        _ => (authority, default_port),
    };
    let host = match host::named(name).map_err(|why| (why, MEND))? {
        Named::Name(labels) => labels.join("."),
        Named::Address(address) => address.to_string(),
    };
    Ok(Request { method: method.to_owned(), host, port, path: segments(path)? })
}

/// The segments of a URL's path. `/` has none; a `/` at the end makes a last one that is empty.
fn segments(path: &str) -> Result<Vec<Vec<u8>>, Why> {
    let Some(path) = path.strip_prefix('/').filter(|path| !path.is_empty()) else { return Ok(Vec::new()) };
    let encoded: Vec<&str> = path.split('/').collect();
    let last = encoded.len() - 1;
    let decode = |(place, segment): (usize, &&str)| {
        if segment.is_empty() && place < last {
            return why("the URL's path has an empty segment", SHORTEST);
        }
        let bytes = percent_decoded(segment)?;
        let name = bytes.split(|b| *b == b';').next().unwrap_or_default();
        match bytes.as_slice() {
            // Some servers take parameters off a segment, and some decode twice.
            _ if matches!(name, b"." | b"..") && name.len() < bytes.len() => {
                why("the URL's path has a segment `.` or `..` with parameters", SHORTEST)
            }
            bytes if is_encoded_twice(bytes) => why(
                "the URL's path is encoded twice: a `.`, `/`, `\\` or `%`",
                "leave it out: servers do not agree on what it means",
            ),
            b"." | b".." => why("the URL's path has a segment `.` or `..`", SHORTEST),
            bytes if bytes.iter().any(|b| matches!(b, b'/' | b'\\' | 0)) => why(
                "the URL's path has an encoded `/`, a `\\` or a NUL byte",
                "leave it out: servers do not agree on what it means",
            ),
            _ => Ok(bytes),
        }
    };
    encoded.iter().enumerate().map(decode).collect()
}

/// Whether decoded bytes would decode once more to what separates segments or leads out of them.
fn is_encoded_twice(bytes: &[u8]) -> bool {
    let encoded: [&[u8]; 5] = [b"%2e", b"%2f", b"%5c", b"%25", b"%00"];
    bytes.windows(3).any(|window| encoded.contains(&window.to_ascii_lowercase().as_slice()))
}

fn percent_decoded(segment: &str) -> Result<Vec<u8>, Why> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = match (first, tail) {
            (b'%', [high, low, tail @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let digit = |b: u8| (b as char).to_digit(16).map_or(0, |digit| digit as u8);
                bytes.push(digit(*high) << 4 | digit(*low));
                tail
            }
            (b'%', _) => return why("a `%` in the URL is not followed by two hexadecimal digits", SHORTEST),
            (byte, tail) => {
                bytes.push(*byte);
                tail
            }
        };
    }
    Ok(bytes)
}
