//! The state directory, reached by one descriptor, so that the ledger stays with it wherever its process goes.
//! Every function is one call or one rule, and its error names the call and the file.

use crate::Error;
use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};

/// Where the lock is.
const LOCK: &str = "lock/ledger";

/// Where a file is written before it takes its place: outside of `log/`, so that what a crash leaves half
/// written is never part of the log. The lock protects it.
const STAGE: &str = "lock/ledger.new";

/// The state directory.
pub(crate) struct State {
    dir: OwnedFd,
    path: PathBuf,
}

/// Keeps every other writer out until it is dropped.
#[must_use]
pub(crate) struct Lock(OwnedFd);

impl State {
    /// Opens a state directory.
    pub(crate) fn open(path: &Path) -> Result<State, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir =
            rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| failed("open", path, errno))?;
        Ok(State { dir, path: path.to_owned() })
    }

    /// Opens a state directory, and makes it first where it is missing.
    pub(crate) fn open_or_create(path: &Path) -> Result<State, Error> {
        match State::open(path) {
            Err(error) if error.is_missing() => {
                std::fs::DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(path)
                    .map_err(|source| Error::Io { call: "mkdir", path: path.to_owned(), source })?;
                State::open(path)
            }
            other => other,
        }
    }

    /// The full path of a file, for messages.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Opens a file; a symbolic link in its place is an error.
    pub(crate) fn file(&self, name: &str, flags: OFlags) -> Result<File, Error> {
        // NONBLOCK, so that a pipe put in a file's place cannot make us wait.
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.dir, name, flags, Mode::from_raw_mode(0o600));
        fd.map(File::from).map_err(|errno| self.failed("openat", name, errno))
    }

    /// Reads a regular file of at most `bytes_max` bytes.
    pub(crate) fn read(&self, name: &str, bytes_max: u64) -> Result<Vec<u8>, Error> {
        let mut file = self.file(name, OFlags::RDONLY)?;
        self.read_from(name, &mut file, 0, bytes_max)
    }

    /// Reads a regular file from `offset` to its end, which may be at most `bytes_max`.
    pub(crate) fn read_from(
        &self,
        name: &str,
        file: &mut File,
        offset: u64,
        bytes_max: u64,
    ) -> Result<Vec<u8>, Error> {
        let stat = rustix::fs::fstat(&*file).map_err(|errno| self.failed("fstat", name, errno))?;
        let size = stat.st_size as u64;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(self.damaged(name, 0, "not a regular file"));
        }
        if size > bytes_max {
            return Err(self.damaged(name, bytes_max, "the file is longer than any of its kind"));
        }
        let wanted = size.saturating_sub(offset);
        let mut bytes = Vec::with_capacity(wanted as usize);
        file.seek(SeekFrom::Start(offset))
            .and_then(|_| file.take(wanted).read_to_end(&mut bytes))
            .map_err(|source| Error::Io { call: "read", path: self.path(name), source })?;
        Ok(bytes)
    }

    /// What is at `name`, links not followed.
    pub(crate) fn stat(&self, name: &str) -> Result<Stat, Error> {
        rustix::fs::statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| self.failed("statat", name, errno))
    }

    /// The names in a directory, in no order.
    pub(crate) fn list(&self, name: &str) -> Result<Vec<String>, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let failed = |errno| self.failed("getdents", name, errno);
        let dir = rustix::fs::openat(&self.dir, name, flags, Mode::empty()).map_err(failed)?;
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::new(dir).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Makes a directory; says whether it was missing. It lasts once its parent is synced.
    pub(crate) fn make_dir(&self, name: &str) -> Result<bool, Error> {
        match rustix::fs::mkdirat(&self.dir, name, Mode::from_raw_mode(0o700)) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(errno) => Err(self.failed("mkdirat", name, errno)),
        }
    }

    /// Makes the names in a directory last.
    pub(crate) fn sync_dir(&self, name: &str) -> Result<(), Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(&self.dir, name, flags, Mode::empty())
            .and_then(rustix::fs::fsync)
            .map_err(|errno| self.failed("fsync", name, errno))
    }

    /// Puts a whole file in its place: it is there with all its bytes or not at all. The name lasts once its
    /// directory is synced. Call it under the lock.
    pub(crate) fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        match rustix::fs::unlinkat(&self.dir, STAGE, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(self.failed("unlinkat", STAGE, errno)),
        }
        let file = self.file(STAGE, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL)?;
        self.write_at(STAGE, &file, 0, bytes)?;
        rustix::fs::fsync(&file).map_err(|errno| self.failed("fsync", STAGE, errno))?;
        rustix::fs::renameat(&self.dir, STAGE, &self.dir, name)
            .map_err(|errno| self.failed("renameat", name, errno))
    }

    /// Writes all of `bytes` at `offset`.
    pub(crate) fn write_at(&self, name: &str, file: &File, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        file.write_all_at(bytes, offset).map_err(|source| Error::Io {
            call: "pwrite",
            path: self.path(name),
            source,
        })
    }

    /// Waits until no other writer holds the log.
    ///
    /// The lock file is opened anew each time, because `flock` belongs to an open file: a child that shared
    /// ours after a fork would not be kept out.
    pub(crate) fn lock(&self) -> Result<Lock, Error> {
        let flags = OFlags::RDWR | OFlags::CREATE;
        let file = match self.file(LOCK, flags) {
            Err(error) if error.is_missing() => {
                self.make_dir("lock")?;
                self.file(LOCK, flags)
            }
            other => other,
        }?;
        rustix::io::retry_on_intr(|| rustix::fs::flock(&file, FlockOperation::LockExclusive))
            .map_err(|errno| self.failed("flock", LOCK, errno))?;
        Ok(Lock(file.into()))
    }

    /// An error about a file.
    pub(crate) fn failed(&self, call: &'static str, name: &str, errno: Errno) -> Error {
        failed(call, &self.path(name), errno)
    }

    /// A damage in a file.
    pub(crate) fn damaged(&self, name: &str, offset: u64, what: &'static str) -> Error {
        Error::Damaged { path: self.path(name), offset, what }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Said aloud, because a process that was forked meanwhile holds a copy of the descriptor.
        let _ = rustix::fs::flock(self.0.as_fd(), FlockOperation::Unlock);
    }
}

impl Error {
    /// Whether the file was not there.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
    }
}

/// The directory that a name is in.
pub(crate) fn parent(name: &str) -> &str {
    name.rsplit_once('/').map_or(".", |(parent, _)| parent)
}

fn failed(call: &'static str, path: &Path, errno: Errno) -> Error {
    Error::Io { call, path: path.to_owned(), source: errno.into() }
}
