//! What a policy means, a second time: written from `docs/reference/policy.md` alone, sharing nothing with the engine but the
//! typed form of a document. It knows no Cedar; the conditions of random policies it gets as [`When`].

use policy::{Access, Act, AskWhen, Document, Limit, Pattern, Rest, Tool, User};

/// A condition of a random policy, in a form that can be written as Cedar and worked out here.
#[derive(Debug, Clone)]
pub enum When {
    /// A command called so.
    Name(&'static str),
    /// A command whose argument at a place matches.
    Argument(usize, &'static str),
    /// A command with more arguments than this.
    Arguments(usize),
    /// Writing where the name at a place of the path matches.
    Written(usize, &'static str),
    /// Reading or writing this very file.
    File(&'static str),
    /// Anything that root inside does.
    AsRoot,
}

impl When {
    /// As a policy of a `cedar` block.
    pub fn cedar(&self) -> String {
        let forbid = |action: &str, when: String| {
            format!("forbid (principal, action == Action::\"{action}\", resource) when {{ {when} }};\n")
        };
        match self {
            When::Name(name) => forbid("exec", format!("context.name == \"{name}\"")),
            When::Argument(place, like) => forbid(
                "exec",
                format!("context.args.count > {place} && context.args.w{place} like \"{like}\""),
            ),
            When::Arguments(most) => forbid("exec", format!("context.args.count > {most}")),
            When::Written(place, like) => forbid(
                "write",
                format!("context.path.count > {place} && context.path.w{place} like \"{like}\""),
            ),
            When::File(path) => format!(
                "forbid (principal, action in [Action::\"read\", Action::\"write\"], resource == File::\"{path}\");\n"
            ),
            When::AsRoot => {
                let acts = "[Action::\"exec\", Action::\"read\", Action::\"write\"]";
                format!("forbid (principal == User::\"root\", action in {acts}, resource);\n")
            }
        }
    }

    fn holds(&self, act: &Act, argv: Option<&[Vec<u8>]>) -> bool {
        let file = match act {
            Act::Read { path, user } => Some((names(path), *user, false)),
            Act::Write { path, user } => Some((names(path), *user, true)),
            _ => None,
        };
        match self {
            When::Name(name) => {
                argv.is_some_and(|argv| argv[0].rsplit(|b| *b == b'/').next() == Some(name.as_bytes()))
            }
            When::Argument(place, like) => {
                argv.and_then(|argv| argv.get(place + 1)).is_some_and(|word| glob(like.as_bytes(), word))
            }
            When::Arguments(most) => argv.is_some_and(|argv| argv.len() - 1 > *most),
            When::Written(place, like) => file.is_some_and(|(names, _, written)| {
                written && names.get(*place).is_some_and(|name| glob(like.as_bytes(), name))
            }),
            When::File(path) => file.is_some_and(|(given, _, _)| given == names(path.as_bytes())),
            When::AsRoot => match act {
                Act::Exec { user, .. } | Act::Read { user, .. } | Act::Write { user, .. } => {
                    *user == User::Root
                }
                _ => false,
            },
        }
    }
}

/// Whether `*` in a word, standing for any bytes, makes it `word`.
fn glob(pattern: &[u8], word: &[u8]) -> bool {
    match pattern.split_first() {
        None => word.is_empty(),
        Some((b'*', rest)) => (0..=word.len()).any(|taken| glob(rest, &word[taken..])),
        Some((first, rest)) => {
            word.split_first().is_some_and(|(given, left)| given == first && glob(rest, left))
        }
    }
}

fn fits<W: AsRef<[u8]>>(pattern: &Pattern, words: &[W]) -> bool {
    let enough = match pattern.rest {
        Rest::None => words.len() == pattern.words.len(),
        Rest::Any => words.len() >= pattern.words.len(),
        Rest::Some => words.len() > pattern.words.len(),
    };
    enough
        && pattern
            .words
            .iter()
            .zip(words)
            .all(|(word, given)| glob(word.to_string().as_bytes(), given.as_ref()))
}

fn names(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|b| *b == b'/').filter(|name| !matches!(*name, b"" | b".")).map(<[u8]>::to_vec).collect()
}

/// Whether `path` is the tree at `top`, or in it.
fn in_tree(path: &[Vec<u8>], top: &str) -> bool {
    let top = names(top.as_bytes());
    path.len() >= top.len() && path[..top.len()] == top[..]
}

fn in_one(path: &[Vec<u8>], trees: &[&str]) -> bool {
    trees.iter().any(|top| in_tree(path, top))
}

const READ_ONLY: &[&str] = &[
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/.casemate",
    "/etc/alternatives",
    "/etc/fonts",
    "/etc/java-17-openjdk",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/ssl/certs",
    "/proc/sys",
];
const KNOWN_ETC: &[&str] = &[
    "/etc/group",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/etc/resolv.conf",
    "/etc/shells",
    "/etc/ssl",
];
const READABLE: &[&str] = &["/dev", "/mnt", "/opt", "/proc", "/root", "/run", "/srv", "/sys", "/var"];
const DEVICES: &[&str] = &[
    "/dev/fd",
    "/dev/full",
    "/dev/null",
    "/dev/ptmx",
    "/dev/pts",
    "/dev/random",
    "/dev/stderr",
    "/dev/stdin",
    "/dev/stdout",
    "/dev/tty",
    "/dev/urandom",
    "/dev/zero",
];
const PROC: &[&str] = &[
    "cpuinfo",
    "filesystems",
    "loadavg",
    "meminfo",
    "mounts",
    "net",
    "self",
    "stat",
    "swaps",
    "sys",
    "thread-self",
    "uptime",
    "version",
    "vmstat",
];
const LOCAL: &[&str] = &["arpa", "internal", "invalid", "local", "localdomain", "localhost", "onion"];
const METADATA: &[&str] =
    &["metadata.goog", "metadata.tencentyun.com", "metadata.packet.net", "metadata.platformequinix.com"];

/// The verdict about an act, and the rule that made it.
pub fn judge(document: &Document, when: &[(String, When)], act: &Act) -> (bool, String) {
    let no = |rule: &str| (false, rule.to_owned());
    let yes = |rule: &str| (true, rule.to_owned());
    let forbidden = |argv: Option<&[Vec<u8>]>| {
        when.iter().find(|(_, when)| when.holds(act, argv)).map(|(rule, _)| (false, rule.clone()))
    };
    match act {
        Act::Root => (document.root, "root".to_owned()),
        Act::Use { limit, amount } => {
            let most = Limit::of(*limit, &document.limits);
            (most.is_none_or(|most| *amount <= most), format!("compute.{}", limit.name()))
        }
        Act::Exec { argv, cwd, user } => {
            if argv.is_empty() || !cwd.starts_with(b"/") || names(cwd).contains(&b"..".to_vec()) {
                return no("request");
            }
            if *user == User::Root && !document.root {
                return no("root");
            }
            forbidden(Some(argv)).unwrap_or_else(|| command(document, argv))
        }
        Act::Tool { name, args } => {
            let program = match &document.tools {
                None => name.clone(),
                Some(tools) => match tools.iter().find(|tool| tool.name == *name) {
                    Some(tool) => tool.program.clone(),
                    None => return no("tools"),
                },
            };
            let argv: Vec<Vec<u8>> =
                std::iter::once(program.into_bytes()).chain(args.iter().cloned()).collect();
            forbidden(Some(&argv)).unwrap_or_else(|| command(document, &argv))
        }
        Act::Read { path, user } | Act::Write { path, user } => {
            let written = matches!(act, Act::Write { .. });
            let at = names(path);
            if !path.starts_with(b"/") || at.contains(&b"..".to_vec()) {
                return no("request");
            }
            if *user == User::Root && !document.root {
                return no("root");
            }
            if written && in_one(&at, READ_ONLY) {
                return no("system");
            }
            let process = at.len() >= 2
                && at[0] == b"proc"
                && (at[1] == b"self"
                    || at[1] == b"thread-self"
                    || matches!(at[1].first(), Some(b'1'..=b'9')));
            if at.len() >= 2
                && at[0] == b"proc"
                && !process
                && !PROC.iter().any(|kept| at[1] == kept.as_bytes())
            {
                return no("proc");
            }
            if let Some(denied) = forbidden(None) {
                return denied;
            }
            let zone = document.files.iter().enumerate().find(|(_, zone)| in_tree(&at, zone.at()));
            if let Some((place, zone)) = zone {
                let read_only = matches!(zone.access(), Access::Read { .. });
                return (!(written && read_only), format!("files[{}] {}", place + 1, zone.at()));
            }
            if in_tree(&at, "/home/user") {
                return yes("home");
            }
            if in_one(&at, &["/tmp", "/var/tmp", "/dev/shm"]) {
                return yes("tmp");
            }
            if written && in_one(&at, DEVICES) {
                return yes("devices");
            }
            if written && process {
                return yes("proc");
            }
            let home_or_etc = at.len() == 1 && (at[0] == b"home" || at[0] == b"etc");
            let shown = at.is_empty() || home_or_etc || in_one(&at, READABLE) || in_one(&at, READ_ONLY);
            if !written && (shown || in_one(&at, KNOWN_ETC)) {
                return yes("system");
            }
            if document.root && (!written || *user == User::Root) {
                return yes("root-directory");
            }
            no("files")
        }
        Act::Request(asked) => {
            if document.net.is_empty() {
                return no("net");
            }
            let labels: Vec<&str> = asked.host.rsplit('.').collect();
            let is_address = asked.host.parse::<std::net::IpAddr>().is_ok();
            if is_address
                || labels.len() < 2
                || LOCAL.contains(&labels[0])
                || METADATA.contains(&asked.host.as_str())
            {
                return no("never-open");
            }
            let question = document.ask.iter().enumerate().find_map(|(place, ask)| match &ask.when {
                AskWhen::Net { host } if fits(host, &labels) => Some((place, host)),
                _ => None,
            });
            if let Some((place, host)) = question {
                return no(&format!("ask[{}] net {}", place + 1, shown(host)));
            }
            let rule = document.net.iter().enumerate().find(|(_, rule)| {
                fits(&rule.host, &labels)
                    && rule.ports.contains(&asked.port)
                    && rule.methods.as_ref().is_none_or(|methods| methods.contains(&asked.method))
                    && rule
                        .paths
                        .as_ref()
                        .is_none_or(|paths| paths.iter().any(|path| fits(path, &asked.path)))
            });
            rule.map_or_else(
                || no("net"),
                |(place, rule)| yes(&format!("net[{}] {}", place + 1, shown(&rule.host))),
            )
        }
    }
}

fn shown(host: &Pattern) -> String {
    let labels: Vec<String> = host.words.iter().rev().map(ToString::to_string).collect();
    let first = if host.rest == Rest::Some { "**." } else { "" };
    format!("{first}{}", labels.join("."))
}

/// A command by the rules about tools.
fn command(document: &Document, argv: &[Vec<u8>]) -> (bool, String) {
    let Some(tools) = &document.tools else { return (true, "exec (no [[tools]] rule)".to_owned()) };
    let called = |tool: &&Tool| argv[0] == tool.program.as_bytes();
    let args = &argv[1..];
    for (place, ask) in document.ask.iter().enumerate() {
        let AskWhen::Tool { name, args: begin } = &ask.when else { continue };
        let about = tools.iter().filter(called).any(|tool| tool.name == *name);
        let begins = args.len() >= begin.words.len() && fits(begin, &args[..begin.words.len()]);
        if about && begins {
            let words: Vec<String> = begin.words.iter().map(ToString::to_string).collect();
            return (
                false,
                format!("ask[{}] {}", place + 1, format!("tool {name} {}", words.join(" ")).trim_end()),
            );
        }
    }
    let allows =
        |tool: &&Tool| tool.args.as_ref().is_none_or(|list| list.iter().any(|pattern| fits(pattern, args)));
    match (tools.iter().filter(called).find(allows), tools.iter().find(called)) {
        (Some(tool), _) => (true, format!("tools {}", tool.name)),
        (None, Some(tool)) => (false, format!("tools {}", tool.name)),
        (None, None) => (false, "tools".to_owned()),
    }
}
