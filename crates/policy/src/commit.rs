//! What of a draft may reach its original: the rules of one zone, as a type, and the decision.
//!
//! Pure: changes in, refusals out. Whoever commits asks about all that was selected before anything is applied,
//! and applies nothing if one change is refused.

mod fold;
mod links;
mod pattern;
mod protected;

pub use pattern::{PATTERNS_MAX, PatternError};

use crate::pattern::Pattern;
use crate::problem::is_plain;
use model::{Code, Denial, quote};
use serde::{Deserialize, Serialize};

/// What a commit of one draft zone may bring.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitRules {
    /// Paths beneath the zone that may change; none stands for all.
    pub paths: Vec<Pattern>,
    /// The most bytes of new content in one commit.
    pub bytes: u64,
    /// The most changed files in one commit, deleted ones and links included.
    pub files: u64,
    /// Whether a file may become executable.
    pub executables: bool,
    /// Paths that may change although they have a protected name.
    pub unprotect: Vec<Pattern>,
}

/// The most that `bytes` may say.
pub(crate) const BYTES_MAX: u64 = 16 << 40;
/// The most that `files` may say.
pub(crate) const FILES_MAX: u64 = 1_000_000;

impl Default for CommitRules {
    fn default() -> CommitRules {
        CommitRules {
            paths: Vec::new(),
            bytes: 64 << 20,
            files: 10_000,
            executables: false,
            unprotect: Vec::new(),
        }
    }
}

/// One change of a draft, as the rules see it.
#[derive(Debug, Clone)]
pub struct Proposal<'a> {
    /// Beneath the zone, names joined by `/`.
    pub path: &'a [u8],
    /// What the original had there when the zone opened.
    pub was: Option<Was>,
    /// What the draft has there.
    pub now: Now<'a>,
    /// What of it cannot be committed whatever the rules say.
    pub taint: Option<&'a Taint>,
}

/// What was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Was {
    /// A file.
    File {
        /// Whether anybody might execute it.
        executable: bool,
    },
    /// A directory, a link, or something else.
    Other,
}

/// What is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Now<'a> {
    /// Nothing any more.
    Gone,
    /// A directory.
    Directory,
    /// A file whose content is new.
    File {
        /// Its length.
        bytes: u64,
        /// Whether anybody may execute it.
        executable: bool,
    },
    /// A file whose mode alone is new.
    Mode {
        /// Whether anybody may execute it.
        executable: bool,
    },
    /// A symbolic link.
    Link {
        /// Where it leads.
        target: &'a [u8],
    },
    /// None of these.
    Special,
}

/// What makes a change one that is never committed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Taint {
    /// A device, a FIFO or a socket.
    Special(String),
    /// A set-user-id, set-group-id or sticky bit.
    ModeBits(u32),
    /// So many names for one file.
    HardLinks(u64),
    /// An extended attribute that means something to the kernel.
    Attribute(String),
    /// Beneath more directories than are walked.
    Depth,
    /// What could not be read or was too large to be kept, and why.
    Unreadable(String),
}

/// The tree that the changes belong to: links and entries of the original, with the selected changes in it.
pub trait Tree {
    /// Where the link at `path` leads, if there is a link.
    fn link(&self, path: &[u8]) -> Option<Vec<u8>>;
    /// Whether anything is at `path`.
    fn has(&self, path: &[u8]) -> bool;
}

impl CommitRules {
    /// Whether they let nothing through that `outer` does not.
    pub(crate) fn is_within(&self, outer: &CommitRules) -> bool {
        let all_of = |asked: &[Pattern], outer: &[Pattern]| {
            asked.iter().all(|path| outer.iter().any(|outer| outer.covers(path)))
        };
        let paths = outer.paths.is_empty() || (!self.paths.is_empty() && all_of(&self.paths, &outer.paths));
        paths
            && all_of(&self.unprotect, &outer.unprotect)
            && self.bytes <= outer.bytes
            && self.files <= outer.files
            && (outer.executables || !self.executables)
    }

    /// Every refusal among `proposals`, which belong to the zone `at`; none if all of them may be committed.
    pub fn check(&self, at: &str, proposals: &[Proposal<'_>], tree: &impl Tree) -> Vec<Denial> {
        let mut refusals: Vec<Denial> =
            proposals.iter().filter_map(|change| self.one(at, change, tree)).collect();
        let refuse = |rule: &str, asked: String, most: String| {
            let how = format!("commit fewer paths at once, or raise `{rule}` in the zone's `commit` rules");
            Denial::new(Code::Commit, format!("commit.{rule}"), asked, how).nearest(most)
        };
        let files = proposals.iter().filter(|change| change.now != Now::Directory).count() as u64;
        if files > self.files {
            let asked = format!("commit {files} files of {}", quote(at));
            refusals.push(refuse("files", asked, format!("{} files", self.files)));
        }
        let bytes = proposals.iter().fold(0_u64, |sum, change| match change.now {
            Now::File { bytes, .. } => sum.saturating_add(bytes),
            _ => sum,
        });
        if bytes > self.bytes {
            let asked = format!("commit {bytes} bytes of {}", quote(at));
            refusals.push(refuse("bytes", asked, format!("{} bytes", self.bytes)));
        }
        refusals
    }

    fn one(&self, at: &str, change: &Proposal<'_>, tree: &impl Tree) -> Option<Denial> {
        let refuse = |rule: String, nearest: Option<&str>, how: String| {
            let asked = format!("{} `{}/{}`", verb(change), quote(at), quote(change.path));
            let denial = Denial::new(Code::Commit, format!("commit.{rule}"), asked, how);
            Some(match nearest {
                Some(nearest) => denial.nearest(nearest),
                None => denial,
            })
        };
        let never = |what: &str| format!("no rule allows it: {what}, or leave it out of the commit");
        match change.taint {
            None => {}
            Some(Taint::Special(what)) => {
                let how = never("remove it in the draft");
                return refuse(format!("special ({what})"), Some("files, directories, links"), how);
            }
            Some(Taint::ModeBits(bits)) => {
                return refuse(format!("mode-bits ({bits:o})"), Some("mode 755"), never("clear the bits"));
            }
            Some(Taint::HardLinks(count)) => {
                let how = never("replace it by a copy");
                return refuse(format!("hard-links ({count} names)"), Some("a file with one name"), how);
            }
            Some(Taint::Attribute(name)) => {
                let rule = format!("attributes ({})", quote(name));
                return refuse(rule, Some("a file without it"), never("remove the attribute"));
            }
            Some(Taint::Depth) => {
                return refuse("depth".to_owned(), Some("128 directories"), never("move it up"));
            }
            Some(Taint::Unreadable(why)) => {
                return refuse(format!("unreadable ({})", quote(why)), None, never("make it readable"));
            }
        }
        // What has such a name already may change or go; nothing new gets one.
        if change.was.is_none() && !plain(change.path) {
            return refuse("names".to_owned(), Some("names of UTF-8 that show"), never("rename it"));
        }
        let names: Vec<&[u8]> = change.path.split(|byte| *byte == b'/').collect();
        if !self.permits_path(change, &names) {
            let how = "widen `paths` in the zone's `commit` rules, or leave it out of the commit";
            return refuse("paths".to_owned(), None, how.to_owned());
        }
        if !self.unprotect.iter().any(|pattern| pattern.matches(&names))
            && let Some(name) = protected::protected(change, tree)
        {
            let how = "name it in `unprotect` of the zone's `commit` rules, or leave it out of the commit";
            return refuse(format!("protected ({name})"), None, how.to_owned());
        }
        if let Now::Link { target } = change.now
            && let Err(why) = links::stays(change.path, target, tree)
        {
            let rule = format!("links ({why}: {})", quote(target));
            return refuse(rule, Some("a relative link that stays in the zone"), never("change the link"));
        }
        let (Now::File { executable, .. } | Now::Mode { executable }) = change.now else { return None };
        if executable && !self.executables && change.was != Some(Was::File { executable: true }) {
            let how = "`executables = true` in the zone's `commit` rules, or leave it out of the commit";
            return refuse("executables".to_owned(), Some("the same file with mode 644"), how.to_owned());
        }
        None
    }

    /// A new directory is permitted also where it only leads to something that is.
    fn permits_path(&self, change: &Proposal<'_>, names: &[&[u8]]) -> bool {
        let leads = |pattern: &Pattern| {
            change.was.is_none() && change.now == Now::Directory && pattern.leads_through(names)
        };
        self.paths.is_empty() || self.paths.iter().any(|pattern| pattern.matches(names) || leads(pattern))
    }

    /// Whether every value is one that a document can say.
    pub(crate) fn holds(&self) -> bool {
        let sound = |list: &[Pattern]| list.len() <= PATTERNS_MAX && list.iter().all(pattern::is_beneath);
        self.bytes <= BYTES_MAX && self.files <= FILES_MAX && sound(&self.paths) && sound(&self.unprotect)
    }
}

fn verb(change: &Proposal<'_>) -> &'static str {
    match (change.was, change.now) {
        (_, Now::Gone) => "delete",
        (None, _) => "add",
        (_, Now::Mode { .. }) => "change the mode of",
        _ => "change",
    }
}

/// Names that show all they are, and none that a commit itself uses.
fn plain(path: &[u8]) -> bool {
    std::str::from_utf8(path).is_ok_and(|path| {
        path.chars().all(is_plain) && path.split('/').all(|name| !name.starts_with(".casemate-"))
    })
}

#[cfg(test)]
mod tests;
