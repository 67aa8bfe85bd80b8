//! Zones: the places where files go in, stay a while, or come out.

use crate::CommitRules;
use crate::problem::is_plain;
use model::quote;

/// So many zones has a policy at most.
pub const ZONES_MAX: usize = 64;

const PATH_BYTES_MAX: usize = 4096;
const COMPONENT_BYTES_MAX: usize = 255;

/// Trees that the walls themselves are made of: no zone is one of them or lies inside.
const RESERVED: &[&str] = &[
    "/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/proc", "/root", "/run",
    "/sbin", "/sys", "/usr", "/var",
];

/// Directories that a sandbox has anyway: a zone lies inside of them or elsewhere, and covers none of them.
const PRESENT: &[&str] = &["/home", "/home/user", "/tmp"];

/// One zone: a place inside, and what it is there for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRule {
    at: String,
    access: Access,
    line: Option<u32>,
}

/// What a zone is for.
///
/// Host paths stand as they were written. Relative ones are the caller's to join: to the directory of the
/// document, or to the working directory for those of the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// A host directory, read-only inside.
    Read {
        /// The host directory.
        from: String,
    },
    /// Private and writable; vanishes with the sandbox.
    Scratch,
    /// Private and writable; copied to a host directory at the end.
    Write {
        /// The host directory.
        to: String,
    },
    /// A host directory, writable inside and unchanged outside: what changed is kept apart until it is committed.
    Draft {
        /// The host directory.
        from: String,
        /// What may be committed.
        commit: CommitRules,
    },
}

/// Why something is no zone, or not beside the others.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ZoneError {
    /// The place is not an absolute path in its shortest form.
    #[error("`{0}` is not an absolute path in its shortest form")]
    NotNormal(String),
    /// The place has a character outside printable ASCII, or a name that begins or ends with a space.
    #[error("`{0}` has characters that a place inside may not have")]
    Characters(String),
    /// The place is longer than a path can be.
    #[error("`{0}` is too long: a path has at most 4096 bytes and each name in it 255")]
    TooLong(String),
    /// The place is the sandbox's own.
    #[error("`{at}` is not free for a zone: {why}")]
    Taken {
        /// The place.
        at: String,
        /// Whose it is.
        why: String,
    },
    /// One zone covers another.
    #[error("the zones `{at}` and `{other}` overlap")]
    Overlap {
        /// The later zone.
        at: String,
        /// The earlier one.
        other: String,
    },
    /// More than [`ZONES_MAX`].
    #[error("more than {ZONES_MAX} zones")]
    TooMany,
    /// The host path is empty, too long, begins with `~` or has characters that do not show.
    #[error("`{path}` is not a host directory's path: {why}")]
    HostPath {
        /// The path.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl ZoneError {
    /// The mend.
    pub fn mend(&self) -> &'static str {
        match self {
            ZoneError::NotNormal(_) => {
                "begin with `/`, leave out empty names, `.` and `..`, and end without `/`: `/input`"
            }
            ZoneError::Characters(_) => "use printable ASCII, no space at either end of a name",
            ZoneError::TooLong(_) => "choose a shorter place, such as `/input`",
            ZoneError::Taken { .. } => {
                "choose a new directory at the top such as `/input`, or one beneath `/home/user` or `/tmp`"
            }
            ZoneError::Overlap { .. } => "place them beside one another",
            ZoneError::TooMany => "put directories together on the host and make them one zone",
            ZoneError::HostPath { .. } => {
                "write the directory's path, absolute or relative to the policy's directory: `./reports`"
            }
        }
    }
}

impl FileRule {
    /// A zone `at` a place inside. The path of `access` may be relative.
    ///
    /// # Errors
    /// A place or a host path that no zone can have.
    pub fn new(at: impl Into<String>, access: Access) -> Result<FileRule, ZoneError> {
        let rule = FileRule { at: at.into(), access, line: None };
        rule.check()?;
        Ok(rule)
    }

    pub(crate) fn check(&self) -> Result<(), ZoneError> {
        check_place(&self.at)?;
        match &self.access {
            Access::Read { from: path } | Access::Write { to: path } | Access::Draft { from: path, .. } => {
                check_host_path(path)
            }
            Access::Scratch => Ok(()),
        }
    }

    /// The place inside.
    pub fn at(&self) -> &str {
        &self.at
    }

    /// What it is for.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// The line of the document that says so; none for a zone that was added.
    pub fn line(&self) -> Option<u32> {
        self.line
    }

    pub(crate) fn on_line(self, line: u32) -> FileRule {
        FileRule { line: Some(line), ..self }
    }

    /// The zone with its host path changed.
    pub(crate) fn moved(self, change: impl Fn(&str) -> String) -> FileRule {
        let access = match self.access {
            Access::Read { from } => Access::Read { from: change(&from) },
            Access::Write { to } => Access::Write { to: change(&to) },
            Access::Draft { from, commit } => Access::Draft { from: change(&from), commit },
            Access::Scratch => Access::Scratch,
        };
        FileRule { access, ..self }
    }

    pub(crate) fn added(self) -> FileRule {
        FileRule { line: None, ..self }
    }
}

/// Which zone cannot stand beside the ones before it.
pub(crate) fn first_conflict(rules: &[FileRule]) -> Option<(usize, ZoneError)> {
    if rules.len() > ZONES_MAX {
        return Some((ZONES_MAX, ZoneError::TooMany));
    }
    rules.iter().enumerate().find_map(|(place, rule)| {
        let other = rules[..place].iter().find(|r| beneath(&r.at, &rule.at) || beneath(&rule.at, &r.at))?;
        Some((place, ZoneError::Overlap { at: quote(&rule.at), other: quote(&other.at) }))
    })
}

/// Whether `path` is `tree` or lies inside.
pub(crate) fn beneath(path: &str, tree: &str) -> bool {
    path.strip_prefix(tree).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

pub(crate) fn check_place(at: &str) -> Result<(), ZoneError> {
    let shown = || quote(&at[..at.floor_char_boundary(100)]);
    let names = at.strip_prefix('/').ok_or_else(|| ZoneError::NotNormal(shown()))?;
    if at.len() > PATH_BYTES_MAX || names.split('/').any(|name| name.len() > COMPONENT_BYTES_MAX) {
        return Err(ZoneError::TooLong(shown()));
    }
    if names.split('/').any(|name| matches!(name, "" | "." | "..")) {
        return Err(ZoneError::NotNormal(shown()));
    }
    if !at.bytes().all(|b| matches!(b, b' '..=b'~')) || names.split('/').any(|name| name != name.trim()) {
        return Err(ZoneError::Characters(shown()));
    }
    let taken = |why: &str| Err(ZoneError::Taken { at: shown(), why: why.to_owned() });
    if let Some(tree) = RESERVED.iter().find(|tree| beneath(at, tree)) {
        return taken(&format!("`{tree}` belongs to the sandbox's system"));
    }
    if PRESENT.contains(&at) {
        return taken("the sandbox has that directory already");
    }
    if beneath(at, "/home") && !beneath(at, "/home/user") {
        return taken("the only home inside is `/home/user`");
    }
    if at.starts_with("/.") {
        return taken("names at the top that begin with a dot are kept for Casemate");
    }
    Ok(())
}

pub(crate) fn check_host_path(path: &str) -> Result<(), ZoneError> {
    let why = match path {
        "" => "it is empty",
        _ if path.len() > PATH_BYTES_MAX => "it is longer than 4096 bytes",
        _ if path.starts_with('~') => "`~` is the shell's and means nothing here",
        _ if !path.chars().all(is_plain) => "it has characters that do not show",
        _ => return Ok(()),
    };
    Err(ZoneError::HostPath { path: quote(&path[..path.floor_char_boundary(100)]), why })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_or_not() {
        for at in ["/input", "/a/b/c", "/tmp/x", "/home/user/work", "/usr2", "/mnt", "/tmpfs", "/a b"] {
            assert_eq!(check_place(at), Ok(()), "{at}");
        }
        for at in [
            "",
            "/",
            "input",
            "//a",
            "/a/",
            "/a//b",
            "/a/./b",
            "/a/..",
            "/a\0b",
            "/a\nb",
            "/é",
            "/a /b",
            "/usr",
            "/usr/local",
            "/var/run",
            "/home",
            "/home/user",
            "/home/eve/x",
            "/tmp",
            "/.casemate",
            "/etc",
        ] {
            assert!(check_place(at).is_err(), "{at}");
        }
        assert!(check_place(&format!("/{}", "a".repeat(255))).is_ok());
        assert!(matches!(check_place(&format!("/{}", "a".repeat(256))), Err(ZoneError::TooLong(_))));
        assert!(matches!(check_place(&"/ab".repeat(1366)), Err(ZoneError::TooLong(_))));
    }

    #[test]
    fn zones_overlap_by_whole_names_only() {
        let zones = |places: &[&str]| -> Vec<FileRule> {
            places.iter().map(|at| FileRule::new(*at, Access::Scratch).unwrap()).collect()
        };
        assert_eq!(first_conflict(&zones(&["/in", "/input", "/in2"])), None);
        assert!(matches!(
            first_conflict(&zones(&["/a/b", "/c", "/a"])),
            Some((2, ZoneError::Overlap { .. }))
        ));
        assert!(matches!(first_conflict(&zones(&["/a", "/a"])), Some((1, ZoneError::Overlap { .. }))));
    }
}
