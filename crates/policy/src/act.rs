//! What somebody wants to do, as a document, a command line and the corpus write it.

use crate::compute::{show_bytes, show_millis};
use crate::{User, words};
use std::fmt;

mod read;

pub(crate) use read::home;
pub use read::{ACT_BYTES_MAX, NotAnAct};

/// One act. [`Act::parse`] reads it from a line of text; a decision is about one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// `exec PROGRAM ARG…`: a command inside. `exec as root PROGRAM ARG…` for root, `exec in DIR PROGRAM ARG…` for a
    /// working directory other than the user's home. A program that is called `as` or `in` stands in quotes.
    Exec {
        /// The program and its arguments.
        argv: Vec<Vec<u8>>,
        /// The working directory inside.
        cwd: Vec<u8>,
        /// As whom.
        user: User,
    },
    /// `read PATH`, `read as root PATH`: opens, lists or looks at a file inside.
    Read {
        /// The path inside, absolute.
        path: Vec<u8>,
        /// As whom.
        user: User,
    },
    /// `write PATH`, `write as root PATH`: makes, changes, moves or removes a file inside.
    Write {
        /// The path inside, absolute.
        path: Vec<u8>,
        /// As whom.
        user: User,
    },
    /// `METHOD URL`: a request through the gateway, by `https` or `http`.
    Request(Request),
    /// `tool NAME ARG…`: a call of a tool.
    Tool {
        /// The tool's name.
        name: String,
        /// The arguments.
        args: Vec<Vec<u8>>,
    },
    /// `use LIMIT AMOUNT`: an amount of what is limited, as the document writes it: `use memory 1GiB`.
    Use {
        /// Which limit.
        limit: Limit,
        /// How much: bytes, a count, milliseconds (`u64::MAX` for `none`), thousandths of a processor.
        amount: u64,
    },
    /// `use root`: to be root inside.
    Root,
}

/// A request through the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The method, in capitals.
    pub method: String,
    /// The host: a name in lower case, or an address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The path, percent-decoded and in its shortest form, split at `/`: none for `/`, a last one that is empty for a
    /// `/` at the end.
    pub path: Vec<Vec<u8>>,
}

/// What `[compute]` limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Limit {
    /// Thousandths of a processor.
    Cpus,
    /// Bytes.
    Memory,
    /// Processes and threads.
    Pids,
    /// Bytes.
    Disk,
    /// Files, directories and links.
    Inodes,
    /// Open descriptors of one process.
    OpenFiles,
    /// Milliseconds.
    Wall,
}

impl Limit {
    /// All of them, in the order of the reference.
    pub const ALL: &[Limit] =
        &[Limit::Cpus, Limit::Memory, Limit::Pids, Limit::Disk, Limit::Inodes, Limit::OpenFiles, Limit::Wall];

    /// The key under `[compute]`.
    pub fn name(self) -> &'static str {
        match self {
            Limit::Cpus => "cpus",
            Limit::Memory => "memory",
            Limit::Pids => "pids",
            Limit::Disk => "disk",
            Limit::Inodes => "inodes",
            Limit::OpenFiles => "open_files",
            Limit::Wall => "wall",
        }
    }

    /// What `limits` grants of it; none for a sandbox that may live without end.
    pub fn of(self, limits: &model::Limits) -> Option<u64> {
        match self {
            Limit::Cpus => Some(limits.cpu_milli.into()),
            Limit::Memory => Some(limits.memory_bytes),
            Limit::Pids => Some(limits.pids.into()),
            Limit::Disk => Some(limits.disk_bytes),
            Limit::Inodes => Some(limits.disk_inodes),
            Limit::OpenFiles => Some(limits.open_files.into()),
            Limit::Wall => limits.wall_ms,
        }
    }

    /// An amount of it as a document writes it.
    pub fn show(self, amount: u64) -> String {
        match self {
            Limit::Cpus if amount.is_multiple_of(1000) => format!("{}.0", amount / 1000),
            Limit::Cpus => {
                let text = format!("{}.{:03}", amount / 1000, amount % 1000);
                text.trim_end_matches('0').to_owned()
            }
            Limit::Memory | Limit::Disk => show_bytes(amount),
            Limit::Wall if amount == u64::MAX => "none".to_owned(),
            Limit::Wall => show_millis(amount),
            Limit::Pids | Limit::Inodes | Limit::OpenFiles => amount.to_string(),
        }
    }
}

/// As [`Act::parse`] reads it.
impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Act::Exec { argv, cwd, user } => {
                write!(f, "exec{}", of(*user))?;
                if cwd != home(*user) {
                    write!(f, " in {}", words::write(cwd, &[]))?;
                }
                argv.iter().enumerate().try_for_each(|(place, word)| {
                    let keywords: &[&str] = if place == 0 { &["as", "in"] } else { &[] };
                    write!(f, " {}", words::write(word, keywords))
                })
            }
            Act::Read { path, user } => write!(f, "read{} {}", of(*user), words::write(path, &[])),
            Act::Write { path, user } => write!(f, "write{} {}", of(*user), words::write(path, &[])),
            Act::Request(request) => request.fmt(f),
            Act::Tool { name, args } => {
                write!(f, "tool {name}")?;
                args.iter().try_for_each(|word| write!(f, " {}", words::write(word, &[])))
            }
            Act::Use { limit, amount } => write!(f, "use {} {}", limit.name(), limit.show(*amount)),
            Act::Root => f.write_str("use root"),
        }
    }
}

fn of(user: User) -> &'static str {
    match user {
        User::User => "",
        User::Root => " as root",
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Request { method, host, port, path } = self;
        let scheme = if *port == 80 { "http" } else { "https" };
        match host.contains(':') {
            true => write!(f, "{method} {scheme}://[{host}]")?,
            false => write!(f, "{method} {scheme}://{host}")?,
        }
        if !matches!(port, 80 | 443) {
            write!(f, ":{port}")?;
        }
        if path.is_empty() {
            f.write_str("/")?;
        }
        path.iter().try_for_each(|segment| {
            f.write_str("/")?;
            segment.iter().try_for_each(|byte| match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => write!(f, "{}", *byte as char),
                b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'(' | b')' | b'*' | b'+' | b',' | b';'
                | b'=' | b':' | b'@' => write!(f, "{}", *byte as char),
                byte => write!(f, "%{byte:02X}"),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_act_is_read_as_it_is_written() {
        for text in [
            "exec git status",
            "exec as root id -u",
            "exec in /tmp ls -l",
            "exec as root in /tmp 'as'",
            "exec 'in' in",
            r"exec sh -c 'echo \'a b\' \xff'",
            "read /input/a.csv",
            "read '/input/a b'",
            "read /",
            "write as root /output/x",
            "GET https://api.example.com/v1/items",
            "M-SEARCH http://example.com/",
            "GET https://example.com/a/",
            "GET https://example.com:8443/a%20b/%C3%A9",
            "GET https://[2001:db8::1]/",
            "GET http://192.0.2.1/",
            "tool git push",
            "use cpus 0.5",
            "use cpus 2.0",
            "use memory 1GiB",
            "use wall none",
            "use root",
        ] {
            assert_eq!(Act::parse(text).map(|act| act.to_string()), Ok(text.to_owned()));
        }
        let same = |one: &str, other: &str| assert_eq!(Act::parse(one), Act::parse(other), "{one}");
        same("GET https://API.example.com", "GET https://api.example.com:443/");
        same("GET https://example.com/%61", "GET https://example.com/a");
        same("exec as user a", "exec in /home/user a");
        same("use memory 1024MiB", "use memory 1GiB");
    }

    #[test]
    fn what_could_mean_two_things_is_no_act() {
        for (text, why) in [
            ("", "it is empty"),
            ("run git", "it begins with no known word"),
            ("'exec' git", "it begins with no known word"),
            ("get https://example.com/", "it begins with no known word"),
            ("exec", "names no program"),
            ("exec ''", "names no program"),
            ("exec as eve id", "neither `root` nor `user`"),
            (r"exec '\x00'", "NUL byte"),
            ("read a", "does not begin with `/`"),
            ("read /a/../b", "shortest form"),
            ("read /a/", "shortest form"),
            ("read //", "shortest form"),
            ("read /a /b", "one path"),
            ("exec in ../x ls", "does not begin with `/`"),
            ("tool", "names no tool"),
            ("tool Git", "not a tool's name"),
            ("use", "a limit and an amount"),
            ("use money 5", "`money` is not a limit"),
            ("use memory 5", "the amount is not one of `memory`"),
            ("use memory 5M", "the amount is not one"),
            ("use pids +5", "the amount is not one"),
            ("use cpus 1.", "the amount is not one"),
            ("use cpus 0.0001", "the amount is not one"),
            ("use cpus 99999999999999999999", "the amount is not one"),
            ("GET example.com", "neither `https://` nor `http://`"),
            ("GET ftp://example.com/", "neither `https://` nor `http://`"),
            ("GET https://u:p@example.com/", "has a user"),
            ("GET https://example.com@evil.com/", "has a user"),
            ("GET https://example.com/?a=1", "has a query"),
            ("GET https://example.com?a=1", "has a query"),
            ("GET https://example.com/#a", "has a fragment"),
            ("GET https://example.com:0/", "the port"),
            ("GET https://example.com:65536/", "the port"),
            ("GET https://example.com:/", "the port"),
            ("GET https://example.com:+80/", "the port"),
            ("GET https://example.com/a/../b", "`.` or `..`"),
            ("GET https://example.com/a/%2e%2E/b", "`.` or `..`"),
            ("GET https://example.com//a", "empty segment"),
            ("GET https://example.com/a%2Fb", "encoded `/`"),
            ("GET https://example.com/a%5cb", "encoded `/`, a `\\`"),
            ("GET https://example.com/%", "two hexadecimal digits"),
            ("GET https://example.com/%+1", "two hexadecimal digits"),
            ("GET https://ex\u{430}mple.com/", "not ASCII"),
            ("GET https://127.1/", "an address"),
            ("GET https://2130706433/", "an address"),
            ("GET https://0x7f000001/", "an address"),
            ("GET https:///a", "no name"),
            ("GET https://a..b/", "empty label"),
            ("GET https://example.com./", "empty label"),
            ("GET https://%65xample.com/", "characters"),
        ] {
            let error = Act::parse(text).map(|act| act.to_string()).expect_err(text);
            assert!(error.to_string().contains(why), "{text}: {error}");
            assert!(!error.mend().is_empty(), "{text}");
        }
        assert!(Act::parse(&format!("read /{}", "a".repeat(ACT_BYTES_MAX))).is_err());
    }

    proptest! {
        #[test]
        fn every_act_comes_back(
            argv in proptest::collection::vec(proptest::collection::vec(1u8.., 1..8), 1..4),
            segments in proptest::collection::vec("[^/\\\\\0]{1,6}", 0..4),
            root in any::<bool>(),
        ) {
            let user = if root { User::Root } else { User::User };
            let exec = Act::Exec { argv: argv.clone(), cwd: b"/tmp".to_vec(), user };
            prop_assert_eq!(Act::parse(&exec.to_string()), Ok(exec));
            let tool = Act::Tool { name: "t".to_owned(), args: argv };
            prop_assert_eq!(Act::parse(&tool.to_string()), Ok(tool));
            // What leads out of a path, or would if it were decoded once more, is no act.
            let refused = |segment: &String| {
                let twice = ["%2e", "%2f", "%5c", "%25", "%00"];
                matches!(segment.split(';').next(), Some("." | ".."))
                    || twice.iter().any(|twice| segment.to_ascii_lowercase().contains(twice))
            };
            if !segments.iter().any(refused) {
                let path = segments.into_iter().map(String::into_bytes).collect();
                let request = Request { method: "GET".to_owned(), host: "a.example".to_owned(), port: 8080, path };
                let request = Act::Request(request);
                prop_assert_eq!(Act::parse(&request.to_string()), Ok(request));
            }
        }

        #[test]
        fn nothing_makes_it_panic_and_what_it_takes_it_writes(text in "(exec|read|write|tool|use|GET|PUT)? ?.{0,40}") {
            if let Ok(act) = Act::parse(&text) {
                prop_assert_eq!(Act::parse(&act.to_string()), Ok(act));
            }
        }
    }
}
