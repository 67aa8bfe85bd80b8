//! The key pair of a log: `keys/ledger.key` signs, `keys/ledger.pub` is what others verify with.

use crate::Error;
use crate::disk::State;
use crate::note::{Key, Verifier};
use rustix::rand::{GetRandomFlags, getrandom};

const SEED: &str = "keys/ledger.key";
const PUBLIC: &str = "keys/ledger.pub";
const PUBLIC_BYTES_MAX: u64 = 256;

/// Makes the key pair of a new log. Call it under the lock, before there is a log: a key that is there already
/// is kept, because a crash may have come between the key and the log.
pub(crate) fn create(state: &State) -> Result<(), Error> {
    state.make_dir("keys")?;
    let key = match read(state) {
        Err(error) if error.is_missing() => {
            let mut seed = [0; Key::LEN];
            let filled = getrandom(&mut seed, GetRandomFlags::empty());
            match filled.map_err(|errno| state.failed("getrandom", SEED, errno))? {
                Key::LEN => state.replace(SEED, &seed)?,
                _ => return Err(Error::Key { path: state.path(SEED), what: "too few random bytes" }),
            }
            read(state)?
        }
        other => other?,
    };
    state.replace(PUBLIC, key.verifier().to_string().as_bytes())?;
    state.sync_dir("keys")
}

/// Reads the signing key of a log that others verify with its public half.
pub(crate) fn load(state: &State) -> Result<Key, Error> {
    let key = read(state)?;
    let public = verifier(state).map(|verifier| verifier.to_string());
    match public == Some(key.verifier().to_string()) {
        true => Ok(key),
        false => {
            Err(Error::Key { path: state.path(SEED), what: "it is not the one that `ledger.pub` verifies" })
        }
    }
}

fn read(state: &State) -> Result<Key, Error> {
    let seed = match state.read(SEED, Key::LEN as u64) {
        Err(Error::Damaged { path, what, .. }) => return Err(Error::Key { path, what }),
        other => other?,
    };
    Key::from_seed(&seed).ok_or_else(|| Error::Key { path: state.path(SEED), what: "expected 32 bytes" })
}

/// Reads the verifier key; `None` when it is missing or is no key.
pub(crate) fn verifier(state: &State) -> Option<Verifier> {
    let line = state.read(PUBLIC, PUBLIC_BYTES_MAX).ok()?;
    Verifier::parse(std::str::from_utf8(&line).ok()?)
}
