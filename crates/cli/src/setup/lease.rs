//! The directory of set-ups, and in it for each user the lease file and a note of what was added to the system.
//!
//! The directory and its parents are root's alone; the lease file is the user's, who locks bytes of it. Root's own
//! state directory is a parent: it gets execute permission for others (0711), so that users can pass through. What
//! root keeps in it stays closed (0700 each).

use super::user::User;
use super::{Refused, Result, Step, Went};
use crate::Exit;
use jail::ids::{SETUP_DIR, lease_file};
use rustix::fs::{FlockOperation, Gid, Mode, OFlags, Uid};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

const OPEN: u32 = 0o755;
const PASSABLE: u32 = 0o711;

/// What was added to `/etc/subuid` and `/etc/subgid`, by whole lines, so that `--undo` removes these and no others.
#[derive(Debug, Default, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Note {
    pub subuid: Option<String>,
    pub subgid: Option<String>,
}

impl Note {
    fn path(user: &User) -> PathBuf {
        Path::new(SETUP_DIR).join(format!("{}.added", user.uid))
    }

    /// The note of an earlier run; an empty one if there is none.
    pub(super) fn read(user: &User) -> Result<Note> {
        let path = Note::path(user);
        match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map_err(|error| Refused::call("parse", &path, io::Error::from(error))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Note::default()),
            Err(error) => Err(Refused::call("read", &path, error)),
        }
    }

    /// Durable before anything that it tells of is done.
    pub(super) fn write(&self, user: &User) -> Result<()> {
        let path = Note::path(user);
        let text = serde_json::to_vec(self).unwrap_or_default();
        replace(&path, &text, 0o644, None)
    }

    pub(super) fn remove(user: &User) -> Result<()> {
        let path = Note::path(user);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Refused::call("unlink", &path, error))
            }
            _ => Ok(()),
        }
    }
}

/// Puts a whole file in its place: temporary file, fsync, rename, fsync of the directory.
pub(super) fn replace(path: &Path, bytes: &[u8], mode: u32, owner: Option<(u32, u32)>) -> Result<()> {
    let mut half = path.as_os_str().to_owned();
    half.push(".casemate-new");
    let half = PathBuf::from(half);
    let write = || {
        // Left by a run that was killed. Its directory is root's, so nobody else put it there.
        let _ = std::fs::remove_file(&half);
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&half)?;
        if let Some((uid, gid)) = owner {
            std::os::unix::fs::fchown(&file, Some(uid), Some(gid))?;
        }
        file.set_permissions(PermissionsExt::from_mode(mode))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&half, path)?;
        let parent = path.parent().unwrap_or(Path::new("/"));
        std::fs::File::open(parent)?.sync_all()
    };
    write().map_err(|error: io::Error| Refused::call("replace", path, error))
}

/// Makes the directories, and the ones above passable.
pub(super) fn directories() -> Result<Vec<Step>> {
    let setup = Path::new(SETUP_DIR);
    let parent = setup.parent().unwrap_or(Path::new("/"));
    let steps = vec![directory(parent, PASSABLE)?, directory(setup, OPEN)?];
    Ok(steps)
}

fn directory(path: &Path, wanted: u32) -> Result<Step> {
    let shown = path.display();
    let there = match std::fs::DirBuilder::new().mode(wanted).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => true,
        made => made.map(|()| false).map_err(|error| Refused::call("mkdir", path, error))?,
    };
    let metadata = std::fs::symlink_metadata(path).map_err(|error| Refused::call("stat", path, error))?;
    let mode = metadata.permissions().mode() & 0o7777;
    if !metadata.is_dir() || metadata.uid() != 0 || mode & 0o022 != 0 {
        let what = format!("`{shown}` is not a directory that root alone can change");
        return Err(Refused::new(Exit::State, what, "move it away, or `chown root` and `chmod go-w` it"));
    }
    // The umask may have taken bits away.
    let missing = wanted & !mode;
    if missing != 0 {
        let mode = PermissionsExt::from_mode(mode | wanted);
        std::fs::set_permissions(path, mode).map_err(|error| Refused::call("chmod", path, error))?;
    }
    let went = if there && missing == 0 { Went::Kept } else { Went::Made };
    Ok(Step::new(went, format!("{shown}: mode {:o}", mode | wanted)))
}

/// Makes the lease file. The last step: from here on the user counts as set up.
pub(super) fn make(user: &User) -> Result<Step> {
    let path = lease_file(user.uid);
    let kept = path.exists();
    // A lease file that is there is never replaced: its locks are what keeps sandboxes apart.
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR)
        .map_err(|error| Refused::call("open", &path, error))?;
    rustix::fs::fchown(&file, Some(Uid::from_raw(user.uid)), Some(Gid::from_raw(user.gid)))
        .and_then(|()| rustix::fs::fchmod(&file, Mode::RUSR | Mode::WUSR))
        .and_then(|()| rustix::fs::fsync(&file))
        .map_err(|error| Refused::call("fchown", &path, error))?;
    let went = if kept { Went::Kept } else { Went::Made };
    Ok(Step::new(went, format!("{}: the lease file of {}", path.display(), user.name)))
}

/// Removes the lease file, unless a sandbox of the user holds a lease.
pub(super) fn remove(user: &User) -> Result<Step> {
    let path = lease_file(user.uid);
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(&path, flags, Mode::empty()) {
        Ok(file) => file,
        Err(rustix::io::Errno::NOENT) => {
            return Ok(Step::new(Went::Kept, format!("{}: not there", path.display())));
        }
        Err(error) => return Err(Refused::call("open", &path, error)),
    };
    // A lock on the whole file meets the lock on any of its bytes.
    match rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => {
            let what = format!("a sandbox of {} is running, with ids of the range", user.name);
            return Err(Refused::new(Exit::System, what, "end it first"));
        }
        Err(error) => return Err(Refused::call("fcntl(F_SETLK)", &path, error)),
    }
    std::fs::remove_file(&path).map_err(|error| Refused::call("unlink", &path, error))?;
    Ok(Step::new(Went::Removed, path.display().to_string()))
}

/// Removes the directories if this was the last user, and closes root's state directory again.
pub(super) fn remove_directories() {
    let setup = Path::new(SETUP_DIR);
    let Some(parent) = setup.parent() else { return };
    if std::fs::remove_dir(setup).is_ok() && std::fs::remove_dir(parent).is_err() {
        let _ = std::fs::set_permissions(parent, PermissionsExt::from_mode(0o700));
    }
}
