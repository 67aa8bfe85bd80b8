//! API keys: who may ask a server of this state directory for something.
//!
//! A secret is 160 random bits. It is shown once, when it is made, and kept as its SHA-256: so many random bits need
//! no salt and no slow hash. Creating and revoking is on record before it happens, and whole or not at all, whatever
//! is killed meanwhile; what another process changed counts from the next [`Keys::check`] on.

mod error;
mod store;

pub use error::Error;

use crate::{State, SystemClock};
use ledger::{Ledger, Recorded};
use model::{Clock, Effect, Event, KeyId, Quota, Roles, quote};
use rustix::rand::{GetRandomFlags, getrandom};
use sha2::{Digest, Sha256};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use store::{Loaded, Store};

/// So many keys are kept; past it the one that was revoked first is forgotten.
pub const KEYS_MAX: usize = 1024;
/// Characters of a key's name.
pub const NAME_CHARS_MAX: usize = 64;

/// What E2B's clients want a key to begin with. It is said here and not in the protocol: it is a part of the secret,
/// which is hashed as a whole and looks the same to whoever makes it, checks it, or searches for one that leaked.
const PREFIX: &str = "e2b_";
const SECRET_BYTES: usize = 20;
/// Of a whole secret, with its prefix.
const SECRET_CHARS: usize = PREFIX.len() + 2 * SECRET_BYTES;
const HASH_BYTES: usize = 32;

/// The API keys of one state directory. Every process may have its own.
#[derive(Debug)]
pub struct Keys {
    store: Store,
    state: PathBuf,
    /// As the file was when it was last read.
    loaded: RwLock<Arc<Loaded>>,
}

/// What may be known of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInfo {
    /// Which one.
    pub id: KeyId,
    /// What its maker called it.
    pub name: String,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
    /// When it was revoked.
    pub revoked_ms: Option<u64>,
    /// What it may do.
    pub roles: Roles,
    /// What it may have at one time.
    pub quota: Quota,
}

/// What a key that opens stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// Which key.
    pub id: KeyId,
    /// What it may do.
    pub roles: Roles,
    /// What it may have at one time.
    pub quota: Quota,
}

/// What opens the API. It does not show itself by accident.
pub struct Secret(String);

impl Secret {
    /// The text, to be given to whoever asked for it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A key with the hash of its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    info: KeyInfo,
    hash: [u8; HASH_BYTES],
}

/// A key is about to be made.
struct Creation(Key);

impl Effect for Creation {
    fn events(&self) -> Vec<Event> {
        let KeyInfo { id, name, roles, quota, .. } = &self.0.info;
        vec![Event::KeyCreate { key: *id, name: quote(name), roles: *roles, quota: *quota }]
    }
}

/// A key is about to be revoked.
struct Revocation(KeyId);

impl Effect for Revocation {
    fn events(&self) -> Vec<Event> {
        vec![Event::KeyRevoke { key: self.0 }]
    }
}

impl Keys {
    /// Opens the keys of a state directory; there may be none yet.
    ///
    /// # Errors
    /// The file cannot be read, or is not one of ours.
    pub fn open(state: &State) -> Result<Keys, Error> {
        let store = Store::new(state.path());
        let loaded = RwLock::new(Arc::new(store.load()?));
        Ok(Keys { store, state: state.path().to_owned(), loaded })
    }

    /// Makes a key, and gives its secret, which nobody can give again. Blocks for a few syncs of the disk.
    ///
    /// # Errors
    /// A name that is empty, too long or does not show; [`KEYS_MAX`] keys that are not revoked; a ledger or a file
    /// that cannot be written. No key was made then.
    pub fn create(&self, name: &str, roles: Roles, quota: Quota) -> Result<(KeyId, Secret), Error> {
        let shows = name.chars().count() <= NAME_CHARS_MAX && quote(name).replace(r"\\", r"\") == name;
        if name.trim().is_empty() || !shows {
            return Err(Error::Name(quote(&name[..name.floor_char_boundary(4 * NAME_CHARS_MAX)])));
        }
        let _lock = self.store.lock()?;
        let mut keys = self.store.load()?.keys().to_vec();
        if keys.len() >= KEYS_MAX {
            let oldest =
                keys.iter().enumerate().filter_map(|(at, key)| Some((key.info.revoked_ms?, at))).min();
            let (_, at) = oldest.ok_or(Error::Full)?;
            keys.remove(at);
        }
        let secret = Secret(format!("{PREFIX}{}", hex(&random::<SECRET_BYTES>()?)));
        let mut id = KeyId::from_random(random()?);
        while keys.iter().any(|key| key.info.id == id) {
            id = KeyId::from_random(random()?);
        }
        let (name, created_ms) = (name.to_owned(), now_ms());
        let info = KeyInfo { id, name, created_ms, revoked_ms: None, roles, quota };
        let key = Key { info, hash: Sha256::digest(&secret.0).into() };
        self.record(Creation(key), |creation| {
            keys.push(creation.into_inner().0);
            self.store.save(&keys)
        })?;
        Ok((id, secret))
    }

    /// All keys, the oldest first, revoked ones too.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn list(&self) -> Result<Vec<KeyInfo>, Error> {
        Ok(self.current()?.keys().iter().map(|key| key.info.clone()).collect())
    }

    /// Revokes a key; one that was revoked before stays so. Blocks for a few syncs of the disk.
    ///
    /// # Errors
    /// No such key; a ledger or a file that cannot be written: the key is as good as before then.
    pub fn revoke(&self, id: KeyId) -> Result<(), Error> {
        let _lock = self.store.lock()?;
        let mut keys = self.store.load()?.keys().to_vec();
        let at = keys.iter().position(|key| key.info.id == id).ok_or(Error::Unknown(id))?;
        if keys[at].info.revoked_ms.is_some() {
            return Ok(());
        }
        self.record(Revocation(id), |_| {
            keys[at].info.revoked_ms = Some(now_ms());
            self.store.save(&keys)
        })
    }

    /// Whose key this is. None for anything else, and for everybody while the keys cannot be read.
    pub fn check(&self, presented: &str) -> Option<Holder> {
        self.try_check(presented).ok().flatten()
    }

    /// The same, with why the keys cannot be read.
    ///
    /// # Errors
    /// The file cannot be read, or is not one of ours.
    pub fn try_check(&self, presented: &str) -> Result<Option<Holder>, Error> {
        let digits = presented.strip_prefix(PREFIX).unwrap_or_default();
        let is_digit = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        if presented.len() != SECRET_CHARS || !digits.bytes().all(is_digit) {
            return Ok(None);
        }
        let hash: [u8; HASH_BYTES] = Sha256::digest(presented).into();
        let current = self.current()?;
        // Every key is looked at to its end, so that the time says neither which one is near nor how near.
        let mut found = None;
        for key in current.keys().iter().filter(|key| key.info.revoked_ms.is_none()) {
            let differ =
                key.hash.iter().zip(&hash).fold(0, |differ, (a, b)| std::hint::black_box(differ | (a ^ b)));
            if differ == 0 {
                let KeyInfo { id, roles, quota, .. } = &key.info;
                found = Some(Holder { id: *id, roles: *roles, quota: *quota });
            }
        }
        Ok(found)
    }

    /// The keys as they are on disk; read again only when the file is another one.
    fn current(&self) -> Result<Arc<Loaded>, Error> {
        let loaded = Arc::clone(&self.loaded.read().unwrap_or_else(PoisonError::into_inner));
        if self.store.is_current(&loaded)? {
            return Ok(loaded);
        }
        let loaded = Arc::new(self.store.load()?);
        *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&loaded);
        Ok(loaded)
    }

    /// Does what is on record, and signs the record.
    fn record<E: Effect>(
        &self,
        effect: E,
        act: impl FnOnce(Recorded<E>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut ledger = Ledger::open(&self.state, Box::new(SystemClock))?;
        act(ledger.record(effect)?)?;
        // What was to happen has happened; the next checkpoint covers it if this one cannot be written.
        let _ = ledger.seal();
        Ok(())
    }
}

fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    let failed = |source| Error::Call { call: "getrandom", path: "/dev/urandom".into(), source };
    match getrandom(&mut bytes, GetRandomFlags::empty()) {
        Ok(filled) if filled == N => Ok(bytes),
        Ok(_) => Err(failed(std::io::ErrorKind::UnexpectedEof.into())),
        Err(errno) => Err(failed(errno.into())),
    }
}

fn now_ms() -> u64 {
    u64::try_from(SystemClock.now().wall_ns / 1_000_000).unwrap_or(0)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
