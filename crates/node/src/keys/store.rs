//! `keys/api.json`: all keys in one file, which is replaced as a whole.

use super::{Error, HASH_BYTES, KEYS_MAX, Key, KeyInfo, hex};
use model::{Quota, Roles};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// Four times as much as [`KEYS_MAX`] keys with the longest names take.
const FILE_BYTES_MAX: u64 = 2 << 20;

/// Where the file, its lock and its successor are.
#[derive(Debug)]
pub(super) struct Store {
    state: PathBuf,
    file: PathBuf,
}

/// The keys as they were in one file.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    keys: Vec<Key>,
    /// Held open, so that no other file can get its number.
    file: Option<(File, Generation)>,
}

/// Tells one state of the file from the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Generation {
    device: u64,
    inode: u64,
    size: i64,
    changed: (i64, i64),
}

/// Keeps every other writer out until it is dropped, or its process dies.
#[must_use]
pub(super) struct Lock(#[expect(dead_code, reason = "the lock belongs to the open file")] OwnedFd);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    v: u32,
    keys: Vec<StoredKey>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredKey {
    id: String,
    name: String,
    sha256: String,
    created_ms: u64,
    revoked_ms: Option<u64>,
    /// Keys that earlier versions made are creators.
    #[serde(default = "creator")]
    roles: Roles,
    #[serde(default, skip_serializing_if = "Quota::is_none")]
    quota: Quota,
}

fn creator() -> Roles {
    Roles::CREATOR
}

impl Loaded {
    /// In the order in which they were made.
    pub(super) fn keys(&self) -> &[Key] {
        &self.keys
    }
}

impl Store {
    pub(super) fn new(state: &Path) -> Store {
        Store { state: state.to_owned(), file: state.join("keys/api.json") }
    }

    /// Whether the file is still the one that was loaded: one call, no reading.
    pub(super) fn is_current(&self, loaded: &Loaded) -> Result<bool, Error> {
        let known = loaded.file.as_ref().map(|(_, generation)| *generation);
        match rustix::fs::statat(CWD, &self.file, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(known == Some(generation(&stat))),
            Err(Errno::NOENT) => Ok(known.is_none()),
            Err(errno) => Err(failed("stat", &self.file, errno)),
        }
    }

    /// Reads the keys. No file is no keys.
    pub(super) fn load(&self) -> Result<Loaded, Error> {
        // Neither a link nor a pipe in the file's place may lead elsewhere or make us wait.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut file = match rustix::fs::open(&self.file, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(Loaded::default()),
            opened => File::from(opened.map_err(|errno| failed("open", &self.file, errno))?),
        };
        let stat = rustix::fs::fstat(&file).map_err(|errno| failed("fstat", &self.file, errno))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile
            || stat.st_size as u64 > FILE_BYTES_MAX
        {
            return Err(self.damaged("it is no regular file of at most 2 MiB"));
        }
        let mut text = Vec::new();
        (&mut file).take(FILE_BYTES_MAX).read_to_end(&mut text).map_err(|source| Error::Call {
            call: "read",
            path: self.file.clone(),
            source,
        })?;
        Ok(Loaded { keys: self.parse(&text)?, file: Some((file, generation(&stat))) })
    }

    /// Waits until no other process makes or revokes a key.
    pub(super) fn lock(&self) -> Result<Lock, Error> {
        for directory in ["lock", "keys"] {
            let path = self.state.join(directory);
            match rustix::fs::mkdir(&path, Mode::from_raw_mode(0o700)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(failed("mkdir", &path, errno)),
            }
        }
        let path = self.state.join("lock/keys");
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::open(&path, flags, Mode::from_raw_mode(0o600))
            .map_err(|errno| failed("open", &path, errno))?;
        rustix::io::retry_on_intr(|| rustix::fs::flock(&file, FlockOperation::LockExclusive))
            .map_err(|errno| failed("flock", &path, errno))?;
        Ok(Lock(file))
    }

    /// Puts these keys in the place of those before: all of them or none, and lasting. Call it under the lock.
    pub(super) fn save(&self, keys: &[Key]) -> Result<(), Error> {
        let stored = Stored { v: 1, keys: keys.iter().map(StoredKey::from).collect() };
        let mut text = serde_json::to_vec(&stored).map_err(|error| self.damaged(&error.to_string()))?;
        text.push(b'\n');
        // Outside of `keys/`, so that what a kill leaves half written is no key; the next writer removes it.
        let half = self.state.join("lock/keys.new");
        match rustix::fs::unlink(&half) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(failed("unlink", &half, errno)),
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mut file = rustix::fs::open(&half, flags, Mode::from_raw_mode(0o600))
            .map(File::from)
            .map_err(|errno| failed("open", &half, errno))?;
        file.write_all(&text).map_err(|source| Error::Call { call: "write", path: half.clone(), source })?;
        rustix::fs::fsync(&file).map_err(|errno| failed("fsync", &half, errno))?;
        rustix::fs::rename(&half, &self.file).map_err(|errno| failed("rename", &self.file, errno))?;
        let directory = self.state.join("keys");
        rustix::fs::open(&directory, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .and_then(rustix::fs::fsync)
            .map_err(|errno| failed("fsync", &directory, errno))
    }

    fn parse(&self, text: &[u8]) -> Result<Vec<Key>, Error> {
        let stored: Stored =
            serde_json::from_slice(text).map_err(|error| self.damaged(&error.to_string()))?;
        if stored.v != 1 || stored.keys.len() > KEYS_MAX {
            return Err(self.damaged("it is of another version, or has too many keys"));
        }
        stored.keys.into_iter().map(|key| self.key(key)).collect()
    }

    fn key(&self, stored: StoredKey) -> Result<Key, Error> {
        let StoredKey { id, name, sha256, created_ms, revoked_ms, roles, quota } = stored;
        let id = id.parse().map_err(|error: model::NotAKeyId| self.damaged(&error.to_string()))?;
        let hash = unhex(&sha256).ok_or_else(|| self.damaged("a hash is not 64 hexadecimal digits"))?;
        Ok(Key { info: KeyInfo { id, name, created_ms, revoked_ms, roles, quota }, hash })
    }

    fn damaged(&self, what: &str) -> Error {
        Error::Damaged { path: self.file.clone(), what: model::quote(what) }
    }
}

impl From<&Key> for StoredKey {
    fn from(key: &Key) -> StoredKey {
        let KeyInfo { id, name, created_ms, revoked_ms, roles, quota } = key.info.clone();
        StoredKey { id: id.to_string(), name, sha256: hex(&key.hash), created_ms, revoked_ms, roles, quota }
    }
}

fn generation(stat: &Stat) -> Generation {
    Generation {
        device: stat.st_dev,
        inode: stat.st_ino,
        size: stat.st_size,
        changed: (stat.st_ctime, stat.st_ctime_nsec as i64),
    }
}

fn unhex(text: &str) -> Option<[u8; HASH_BYTES]> {
    let digit = |b: u8| (b as char).to_digit(16).map(|digit| digit as u8);
    let bytes: Option<Vec<u8>> =
        text.as_bytes().chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?)).collect();
    bytes?.try_into().ok()
}

fn failed(call: &'static str, path: &Path, errno: Errno) -> Error {
    Error::Call { call, path: path.to_owned(), source: errno.into() }
}
