//! The content of changed files: numbered files of one directory of ours.

use super::manifest::Hash;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Where the content of changed files goes: numbered files of one directory.
pub(crate) struct Store {
    directory: PathBuf,
    next: u32,
    pub bytes_left: u64,
}

impl Store {
    pub(crate) fn new(directory: PathBuf, bytes_max: u64) -> Store {
        Store { directory, next: 0, bytes_left: bytes_max }
    }

    /// Copies a file and gives its number and hash.
    pub(super) fn copy(&mut self, file: &OwnedFd) -> Result<(u32, Hash, u64), String> {
        let number = self.next;
        let path = content(&self.directory, number);
        let fail = |error: &dyn std::fmt::Display| error.to_string();
        let mut to = File::create_new(&path).map_err(|error| fail(&error))?;
        let (mut hasher, mut total) = (Sha256::new(), 0_u64);
        let mut buffer = vec![0; 64 << 10];
        loop {
            let length = match rustix::io::read(file, &mut buffer[..]) {
                Ok(0) => break,
                Ok(length) => length,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(fail(&error)),
            };
            total += length as u64;
            if total > self.bytes_left {
                let _ = std::fs::remove_file(&path);
                return Err("it is larger than the disk limit leaves room for".to_owned());
            }
            hasher.update(&buffer[..length]);
            to.write_all(&buffer[..length]).map_err(|error| fail(&error))?;
        }
        self.bytes_left -= total;
        self.next += 1;
        Ok((number, hasher.finalize().into(), total))
    }
}

/// The file that holds the content of this number.
pub(crate) fn content(directory: &Path, number: u32) -> PathBuf {
    directory.join(format!("{number:08}"))
}
