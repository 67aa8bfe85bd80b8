//! The operator's ceiling: what no policy of this machine goes beyond. A policy lies within it, or is refused with the first
//! rule by which it does not; nothing is clipped.

use crate::output::{self, Form};
use crate::{Exit, policy};
use ::policy::{Access, Document, Exceeds, FileRule, Policy, SOURCE_BYTES_MAX};
use model::{Code, Denial};
use node::{PolicySource, State};
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The ceiling that holds for everybody on this machine, if it is there.
const EVERYBODYS: &str = "/etc/casemate/ceiling.toml";

/// The ceilings that hold, the narrowest first.
pub(crate) struct Ceilings(Vec<Document>);

/// A file or directory that anybody but root could have written.
#[derive(Debug, thiserror::Error)]
enum Untrusted {
    #[error("`{path}` {what}", path = path.display())]
    NotRoots { path: PathBuf, what: &'static str },
    #[error("{call}({path})", path = path.display())]
    Call {
        call: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl Ceilings {
    /// Whether there is certainly no ceiling for everybody.
    pub(crate) fn none_for_everybody() -> bool {
        std::fs::symlink_metadata(EVERYBODYS).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    }

    /// That of the machine and that of the command line: both hold.
    pub(crate) fn read(named: Option<&OsString>, form: Form) -> Result<Ceilings, Exit> {
        let mut ceilings = Vec::new();
        if let Some(word) = named {
            let (source, base) = policy::source(word, form)?;
            ceilings.push(document(&source, &base, form)?);
        }
        let everybodys = Path::new(EVERYBODYS);
        let text = roots_own(everybodys).map_err(|error| {
            let (exit, help) = match error {
                Untrusted::NotRoots { .. } => {
                    (Exit::Policy, "have it owned by root and not writable by others, or remove it")
                }
                Untrusted::Call { .. } => {
                    (Exit::System, "a ceiling that is there has to be read: see the error")
                }
            };
            output::error(form, &error, Some(help), exit)
        })?;
        if let Some(text) = text {
            let directory = everybodys.parent().unwrap_or(Path::new("/")).to_owned();
            let source = PolicySource { text, origin: EVERYBODYS.to_owned(), directory: directory.clone() };
            ceilings.push(document(&source, &directory, form)?);
        }
        Ok(Ceilings(ceilings))
    }

    /// A policy with zones of the command line, within all ceilings. What it exceeds is on record.
    pub(crate) fn hold(
        &self,
        state: &State,
        source: &PolicySource,
        base: &Path,
        zones: Vec<FileRule>,
        form: Form,
    ) -> Result<Policy, Exit> {
        let add = |policy: Policy| {
            policy
                .with_zones(zones.clone())
                .map_err(|error| output::error(form, &error, Some(error.mend()), Exit::Usage))
        };
        if self.0.is_empty() {
            let policy = state.load_policy(source).map_err(|rejected| policy::reject(form, &rejected))?;
            return add(policy);
        }
        let mut asked = document(source, base, form)?;
        // Under the checks that zones of a command line have anyhow, before they are compared.
        asked.clone().enforce().map_err(|rejected| policy::reject(form, &rejected)).and_then(add)?;
        asked.files.extend(zones);
        asked.files = followed(std::mem::take(&mut asked.files), form)?;
        let refuse = |exceeds: Exceeds| {
            let denial = denial(exceeds);
            if let Err(error) = node::refuse(state, denial.clone()) {
                return output::error(form, &error, error.mend().as_deref(), Exit::of(&error));
            }
            output::denied(form, &denial, Exit::Denied)
        };
        for ceiling in &self.0 {
            asked = asked.narrow(ceiling).map_err(refuse)?;
        }
        // What it has from a later ceiling may be more than an earlier one has.
        if let Some(exceeds) = self.0.iter().find_map(|ceiling| asked.exceeds(ceiling)) {
            return Err(refuse(exceeds));
        }
        asked.keeps_denying().map_err(|rejected| policy::reject(form, &rejected))?;
        asked.enforce().map_err(|rejected| policy::reject(form, &rejected))
    }
}

fn document(source: &PolicySource, base: &Path, form: Form) -> Result<Document, Exit> {
    let document = Document::parse(&source.text, &source.origin, source)
        .map_err(|rejected| policy::reject(form, &rejected))?;
    let base = base.to_str().ok_or_else(|| {
        let what = format!("{}: a directory with a name that is not UTF-8", source.origin);
        output::failure(form, &what, Some("choose a directory with another name"), Exit::Policy)
    })?;
    let mut document = document.rooted(base);
    document.files = followed(document.files, form)?;
    Ok(document)
}

/// Zones by the names that their host directories really have, so that no link leads out of a ceiling.
fn followed(zones: Vec<FileRule>, form: Form) -> Result<Vec<FileRule>, Exit> {
    let refuse = |path: &str, error: io::Error| {
        let what = format!("zone directory `{}`: {error}", model::quote(path));
        output::failure(form, &what, Some("name a directory that is there"), Exit::Zone)
    };
    let follow = |zone: FileRule| -> Result<FileRule, Exit> {
        let access = match zone.access() {
            Access::Read { from } => Access::Read { from: real(from).map_err(|error| refuse(from, error))? },
            Access::Write { to } => Access::Write { to: real(to).map_err(|error| refuse(to, error))? },
            Access::Draft { from, commit } => Access::Draft {
                from: real(from).map_err(|error| refuse(from, error))?,
                commit: commit.clone(),
            },
            Access::Scratch => Access::Scratch,
        };
        let at = zone.at().to_owned();
        FileRule::new(at, access)
            .map_err(|error| output::error(form, &error, Some(error.mend()), Exit::Usage))
    };
    zones.into_iter().map(follow).collect()
}

/// The name that a directory really has; of one that is still to be made, its own behind that of the one above.
fn real(path: &str) -> io::Result<String> {
    let path = Path::new(path);
    let real = match (path.canonicalize(), path.parent(), path.file_name()) {
        (Err(error), Some(above), Some(name)) if error.kind() == io::ErrorKind::NotFound => {
            above.canonicalize()?.join(name)
        }
        (found, ..) => found?,
    };
    real.into_os_string().into_string().map_err(|_| io::Error::other("its name is not UTF-8"))
}

fn denial(exceeds: Exceeds) -> Denial {
    let Exceeds { rule, asked, most, mend, .. } = exceeds;
    Denial::new(Code::Ceiling, rule, asked, mend).nearest(most).checked()
}

/// The text of a file that only root can have written, if it is there.
fn roots_own(path: &Path) -> Result<Option<Vec<u8>>, Untrusted> {
    let failed =
        |call| move |errno: Errno| Untrusted::Call { call, path: path.to_owned(), source: errno.into() };
    let above = path.parent().unwrap_or(Path::new("/"));
    let flags = OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let directory = match openat(CWD, above, flags | OFlags::DIRECTORY | OFlags::PATH, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        opened => opened.map_err(failed("open"))?,
    };
    let name = path.file_name().unwrap_or_default();
    let file = match openat(&directory, name, flags | OFlags::RDONLY, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        opened => File::from(opened.map_err(failed("open"))?),
    };
    let refuse = |path: &Path, what| Err(Untrusted::NotRoots { path: path.to_owned(), what });
    for (path, stat) in [(above, fstat(&directory)), (path, fstat(&file))] {
        let stat = stat.map_err(failed("fstat"))?;
        if stat.st_uid != 0 {
            return refuse(path, "does not belong to root");
        }
        if stat.st_mode & 0o022 != 0 {
            return refuse(path, "can be written by others than root");
        }
        if !matches!(FileType::from_raw_mode(stat.st_mode), FileType::RegularFile | FileType::Directory) {
            return refuse(path, "is no regular file");
        }
    }
    let mut text = Vec::new();
    file.take(SOURCE_BYTES_MAX as u64 + 1).read_to_end(&mut text).map_err(|source| Untrusted::Call {
        call: "read",
        path: path.to_owned(),
        source,
    })?;
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    #[test]
    fn a_ceiling_that_others_than_root_could_have_written_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("casemate");
        let file = directory.join("ceiling.toml");
        assert!(matches!(roots_own(&file), Ok(None)));
        std::fs::create_dir(&directory).unwrap();
        assert!(matches!(roots_own(&file), Ok(None)));
        std::fs::write(&file, "version = 1").unwrap();
        let mode = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        mode(&directory, 0o755);
        mode(&file, 0o644);
        let what = || roots_own(&file).unwrap_err().to_string();
        if !rustix::process::geteuid().is_root() {
            assert!(what().ends_with("does not belong to root"), "{}", what());
            return;
        }
        assert_eq!(roots_own(&file).unwrap().unwrap(), b"version = 1");
        for (path, bits) in [(&file, 0o664), (&file, 0o646), (&directory, 0o775)] {
            mode(path, bits);
            assert_eq!(what(), format!("`{}` can be written by others than root", path.display()));
            mode(path, 0o755);
        }
        for path in [&file, &directory] {
            chown(path, Some(65_534), None).unwrap();
            assert_eq!(what(), format!("`{}` does not belong to root", path.display()));
            chown(path, Some(0), None).unwrap();
        }
        std::fs::remove_file(&file).unwrap();
        symlink("/etc/passwd", &file).unwrap();
        assert!(what().starts_with("open("), "{}", what());
    }
}
