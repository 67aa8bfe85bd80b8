//! Why a key was not made, revoked or checked.

use super::{KEYS_MAX, NAME_CHARS_MAX};
use model::KeyId;
use std::io;
use std::path::PathBuf;

/// What can go wrong with API keys.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call failed.
    #[error("{call}({path})", path = path.display())]
    Call {
        /// The call.
        call: &'static str,
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The file of the keys is none. No key opens anything until somebody has looked.
    #[error("`{path}` holds no API keys: {what}", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A key cannot be called that.
    #[error("`{0}` is no name for a key: expected 1 to {NAME_CHARS_MAX} characters that show")]
    Name(String),
    /// There are as many keys as there may be.
    #[error("there are {KEYS_MAX} API keys, and none of them is revoked")]
    Full,
    /// There is no such key.
    #[error("there is no API key `{0}`")]
    Unknown(KeyId),
    /// The record cannot be written; without it nothing happens.
    #[error("the ledger cannot be continued")]
    Ledger(#[from] ledger::Error),
}

impl Error {
    /// What the reader can do about it.
    pub fn mend(&self) -> &'static str {
        match self {
            Error::Call { .. } => {
                "make room or give access where the error says, or name another state directory with --state"
            }
            Error::Damaged { .. } => {
                "put back a copy of the file, or move it away and make new keys with `casemate key create`"
            }
            Error::Name(_) => "choose a short name such as `laptop`",
            Error::Full => "revoke keys that nobody uses with `casemate key revoke`",
            Error::Unknown(_) => "the ids are in `casemate key list`",
            Error::Ledger(_) => "make room or give access where the error says; see `casemate audit verify`",
        }
    }
}
