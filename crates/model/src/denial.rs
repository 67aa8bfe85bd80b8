//! A refusal, in the one shape in which everybody reads it: a client, the record, a person, and the agent inside.

use crate::{LimitHit, Limits, quote};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The longest `rule`, in bytes.
pub const RULE_BYTES_MAX: usize = 128;
/// The longest `asked`, `nearest_allowed` and `how_to_ask`, in bytes each.
pub const TEXT_BYTES_MAX: usize = 512;

/// What was refused, by what, and what would not be.
///
/// Its strings are bounded when it is made, and safe to show: whoever makes one [`quote`]s what a stranger chose.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("denied by the rule `{rule}`: {asked}")]
#[serde(deny_unknown_fields)]
pub struct Denial {
    /// What kind of thing was refused.
    pub code: Code,
    /// The rule that refused it, by a name that its policy or the documentation explains.
    pub rule: String,
    /// What was asked.
    pub asked: String,
    /// The nearest thing that is allowed; none where nothing like it is.
    pub nearest_allowed: Option<String>,
    /// How to come to have it allowed.
    pub how_to_ask: String,
}

/// The kind of a [`Denial`]: a short word that never changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Code {
    /// A request that no policy could allow: an empty command, a NUL byte, a path that is not absolute.
    #[serde(rename = "request")]
    Request,
    /// A command.
    #[serde(rename = "exec")]
    Exec,
    /// A file.
    #[serde(rename = "files")]
    Files,
    /// To be root inside.
    #[serde(rename = "root")]
    Root,
    /// A system call.
    #[serde(rename = "syscall")]
    Syscall,
    /// The network.
    #[serde(rename = "net")]
    Net,
    /// A tool.
    #[serde(rename = "tools")]
    Tools,
    /// Memory.
    #[serde(rename = "limit.memory")]
    LimitMemory,
    /// Processes and threads.
    #[serde(rename = "limit.pids")]
    LimitPids,
    /// Bytes of disk.
    #[serde(rename = "limit.disk")]
    LimitDisk,
    /// Inodes of disk.
    #[serde(rename = "limit.inodes")]
    LimitInodes,
    /// Wall-clock time.
    #[serde(rename = "limit.wall")]
    LimitWall,
    /// A request beyond a layer that holds it: the operator's ceiling, or a template.
    #[serde(rename = "ceiling")]
    Ceiling,
    /// More than a key may have.
    #[serde(rename = "quota")]
    Quota,
    /// A right that a key has not.
    #[serde(rename = "role")]
    Role,
    /// Something that the machine could not do, such as to take over a sandbox.
    #[serde(rename = "machine")]
    Machine,
    /// A change of a draft, which its zone's rules keep from its original.
    #[serde(rename = "commit")]
    Commit,
}

impl Code {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Code::Request => "request",
            Code::Exec => "exec",
            Code::Files => "files",
            Code::Root => "root",
            Code::Syscall => "syscall",
            Code::Net => "net",
            Code::Tools => "tools",
            Code::LimitMemory => "limit.memory",
            Code::LimitPids => "limit.pids",
            Code::LimitDisk => "limit.disk",
            Code::LimitInodes => "limit.inodes",
            Code::LimitWall => "limit.wall",
            Code::Ceiling => "ceiling",
            Code::Quota => "quota",
            Code::Role => "role",
            Code::Machine => "machine",
            Code::Commit => "commit",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl LimitHit {
    /// The code of a denial by this limit.
    pub const fn code(self) -> Code {
        match self {
            LimitHit::Memory => Code::LimitMemory,
            LimitHit::Pids => Code::LimitPids,
            LimitHit::DiskBytes => Code::LimitDisk,
            LimitHit::DiskInodes => Code::LimitInodes,
            LimitHit::Wall => Code::LimitWall,
        }
    }
}

impl Denial {
    /// A denial for which nothing near it is allowed. Strings that are too long are cut.
    pub fn new(
        code: Code,
        rule: impl Into<String>,
        asked: impl Into<String>,
        how_to_ask: impl Into<String>,
    ) -> Denial {
        Denial {
            code,
            rule: cut(rule.into(), RULE_BYTES_MAX),
            asked: cut(asked.into(), TEXT_BYTES_MAX),
            nearest_allowed: None,
            how_to_ask: cut(how_to_ask.into(), TEXT_BYTES_MAX),
        }
    }

    /// What a sandbox is told that ran into one of its limits.
    pub fn limit(hit: LimitHit, limits: &Limits) -> Denial {
        let Limits { memory_bytes, pids, disk_bytes, disk_inodes, wall_ms, .. } = *limits;
        let (key, most, unit) = match hit {
            LimitHit::Memory => ("memory", memory_bytes, "bytes of memory"),
            LimitHit::Pids => ("pids", u64::from(pids), "processes and threads at one time"),
            LimitHit::DiskBytes => ("disk", disk_bytes, "bytes of disk"),
            LimitHit::DiskInodes => ("inodes", disk_inodes, "files, directories and links"),
            LimitHit::Wall => ("wall", wall_ms.unwrap_or(u64::MAX), "milliseconds of time"),
        };
        let asked = format!("more than {most} {unit}");
        let how = format!("use less, or have `{key}` raised in [compute] of the policy");
        Denial::new(hit.code(), format!("compute.{key}"), asked, how).nearest(format!("{most} {unit}"))
    }

    /// The same with the nearest thing that is allowed.
    #[must_use]
    pub fn nearest(mut self, nearest_allowed: impl Into<String>) -> Denial {
        self.nearest_allowed = Some(cut(nearest_allowed.into(), TEXT_BYTES_MAX));
        self
    }

    /// A denial that somebody else made: bounded and quoted anew, whatever it says.
    #[must_use]
    pub fn checked(self) -> Denial {
        let shown = |text: String| match quote(&text).replace(r"\\", r"\") == text {
            true => text,
            false => quote(&text),
        };
        let Denial { code, rule, asked, nearest_allowed, how_to_ask } = self;
        let denial = Denial::new(code, shown(rule), shown(asked), shown(how_to_ask));
        match nearest_allowed {
            Some(text) => denial.nearest(shown(text)),
            None => denial,
        }
    }
}

fn cut(mut text: String, most: usize) -> String {
    const MARK: char = '…';
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most - MARK.len_utf8()));
        text.push(MARK);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_code_is_written_as_it_is_read() {
        for code in [
            Code::Request,
            Code::Exec,
            Code::Files,
            Code::Root,
            Code::Syscall,
            Code::Net,
            Code::Tools,
            Code::LimitMemory,
            Code::LimitPids,
            Code::LimitDisk,
            Code::LimitInodes,
            Code::LimitWall,
            Code::Ceiling,
            Code::Quota,
            Code::Role,
            Code::Machine,
            Code::Commit,
        ] {
            let text = serde_json::to_string(&code).unwrap();
            assert_eq!(text, format!("\"{code}\""));
            assert_eq!(serde_json::from_str::<Code>(&text).unwrap(), code);
        }
    }

    #[test]
    fn all_five_fields_are_written_also_where_nothing_is_near() {
        let denial = Denial::new(Code::Root, "root", "run `id` as root", "write `root = true` in the policy");
        assert_eq!(
            serde_json::to_string(&denial).unwrap(),
            r#"{"code":"root","rule":"root","asked":"run `id` as root","nearest_allowed":null,"how_to_ask":"write `root = true` in the policy"}"#
        );
    }

    proptest! {
        #[test]
        fn no_text_is_longer_than_its_bound_and_none_drives_a_terminal(
            texts in proptest::array::uniform4(".{0,700}|[\\x00-\\x1f\u{202e}é]{0,300}"),
        ) {
            let [rule, asked, nearest, how] = texts;
            let denial = Denial { code: Code::Exec, rule, asked, nearest_allowed: Some(nearest), how_to_ask: how };
            let denial = denial.checked();
            prop_assert!(denial.rule.len() <= RULE_BYTES_MAX);
            for text in [&denial.asked, &denial.how_to_ask, denial.nearest_allowed.as_ref().unwrap()] {
                prop_assert!(text.len() <= TEXT_BYTES_MAX);
                prop_assert!(!text.chars().any(char::is_control));
                prop_assert!(!text.contains('\u{202e}'), "{}", text);
            }
        }
    }
}
