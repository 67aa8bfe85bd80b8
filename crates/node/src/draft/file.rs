//! One file of a draft in the state directory: a value, whole and durable.

use super::{Error, For};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::Write;
use std::path::Path;

/// Names the format of every file of a draft.
const TAG: &[u8] = concat!("casemate-draft 3 ", env!("CARGO_PKG_VERSION"), "\n").as_bytes();

/// Writes a value as a file of a draft: whole, durable, or not at all.
pub(super) fn put<T: Serialize>(path: &Path, value: &T) -> Result<(), Error> {
    let half = path.with_extension("half");
    let mut bytes = TAG.to_vec();
    let body = postcard::to_stdvec(value).map_err(|_| Error::Damaged(path.to_owned()))?;
    bytes.extend(body);
    let written = File::create(&half).and_then(|mut file| {
        file.write_all(&bytes)?;
        file.sync_all()
    });
    written.and_then(|()| std::fs::rename(&half, path)).call(|| format!("write({path:?})"))?;
    let parent = path.parent().unwrap_or(path);
    File::open(parent).and_then(|file| file.sync_all()).call(|| format!("fsync({parent:?})"))
}

/// Reads what [`put`] wrote.
pub(super) fn get<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let bytes = std::fs::read(path).call(|| format!("read({path:?})"))?;
    let body = bytes.strip_prefix(TAG).ok_or_else(|| Error::Damaged(path.to_owned()))?;
    match postcard::take_from_bytes(body) {
        Ok((value, [])) => Ok(value),
        _ => Err(Error::Damaged(path.to_owned())),
    }
}
