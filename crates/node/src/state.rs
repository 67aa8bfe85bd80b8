//! The state directory: where the ledger, its key and compiled policies live.

use crate::extended::{Extended, Reading};
use policy::Policy;
use std::collections::HashSet;
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// The directory of the policies that sandboxes were started with.
const STARTED: &str = "policies";

/// A state directory that is there, ours and closed to others.
#[derive(Debug, Clone)]
pub struct State {
    path: PathBuf,
}

/// Why a state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// There is no place for it.
    #[error("no state directory: neither --state, XDG_STATE_HOME nor HOME says where it is")]
    Nowhere,
    /// It cannot be made or read.
    #[error("state directory: {call}")]
    Call {
        /// The call that failed.
        call: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Somebody else could change what is in it.
    #[error("the state directory `{path}` {problem}")]
    NotOurs {
        /// Which one.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl StateError {
    pub(crate) fn mend(&self) -> String {
        match self {
            StateError::Nowhere | StateError::Call { .. } => {
                "name a directory that you may write with --state DIR".to_owned()
            }
            StateError::NotOurs { path, .. } => {
                format!("`chmod go-w` it as its owner, or name another with --state DIR: {}", path.display())
            }
        }
    }
}

/// The text of a policy and where it came from.
#[derive(Debug, Clone)]
pub struct PolicySource {
    /// The document.
    pub text: Vec<u8>,
    /// `shipped:NAME`, or the path it was read from.
    pub origin: String,
    /// Where the paths of what it extends start from.
    pub directory: PathBuf,
}

impl policy::Library for PolicySource {
    fn text(&self, path: &str) -> Result<Vec<u8>, String> {
        // One byte more than a document may have is enough to refuse it.
        const BYTES_MAX: u64 = policy::SOURCE_BYTES_MAX as u64 + 1;
        let path = self.directory.join(path);
        let read = || {
            let mut text = Vec::new();
            // A pipe or a device could keep whoever opens it waiting; what the paths in a document behind a link start from
            // would depend on how it is named.
            if !std::fs::symlink_metadata(&path)?.is_file() {
                return Err(io::Error::other("it is a link, or no regular file"));
            }
            std::fs::File::open(&path)?.take(BYTES_MAX).read_to_end(&mut text)?;
            Ok(text)
        };
        read().map_err(|error| error.to_string())
    }
}

impl State {
    /// The default place: `/var/lib/casemate` for root, else below the user's state home (XDG base directories).
    ///
    /// # Errors
    /// An ordinary user without a home.
    pub fn default_path() -> Result<PathBuf, StateError> {
        if rustix::process::geteuid().is_root() {
            return Ok("/var/lib/casemate".into());
        }
        let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        absolute("XDG_STATE_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
            .map(|base| base.join("casemate"))
            .ok_or(StateError::Nowhere)
    }

    /// Opens the directory, and makes it if it is not there.
    ///
    /// # Errors
    /// It cannot be made, belongs to somebody else, or is open to others.
    pub fn open(path: &Path) -> Result<State, StateError> {
        let at = |call: &str, path: &Path| {
            let call = format!("{call}({path:?})");
            move |source| StateError::Call { call, source }
        };
        let path = std::path::absolute(path).map_err(at("absolute", path))?;
        let metadata = match std::fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&path);
                made.map_err(at("mkdir", &path))?;
                std::fs::symlink_metadata(&path).map_err(at("stat", &path))?
            }
            found => found.map_err(at("stat", &path))?,
        };
        let refuse = |problem| Err(StateError::NotOurs { path: path.clone(), problem });
        if !metadata.is_dir() {
            return refuse("is not a directory");
        }
        if metadata.uid() != rustix::process::geteuid().as_raw() {
            return refuse("belongs to another user");
        }
        if metadata.permissions().mode() & 0o022 != 0 {
            return refuse("can be changed by other users");
        }
        Ok(State { path })
    }

    /// Where it is, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Loads a policy: from the cache of compiled ones if this very text, with what it extends, was compiled by this very
    /// version before.
    ///
    /// # Errors
    /// All that is wrong with the document.
    pub fn load_policy(&self, source: &PolicySource) -> Result<Policy, policy::Rejected> {
        if let Some(policy) = self.cached_policy(source) {
            return Ok(policy);
        }
        let hash = policy::hash_of(&source.text);
        let reading = Reading::of(source);
        let policy = Policy::load(&source.text, &source.origin, &reading)?;
        // A cache that cannot be written only costs time; the ledger will say if the directory is unusable.
        let _ = if policy.hash() == hash {
            self.keep(&self.cached(&hash), &policy.to_cache())
        } else {
            self.keep(&self.extended(policy.hash()), &policy.to_cache())
                .and_then(|()| self.keep(&self.index(&hash, source), &reading.made(policy.hash()).to_bytes()))
        };
        Ok(policy)
    }

    /// The policy that [`State::load_policy`] gives, if it does not have to compile it.
    pub fn cached_policy(&self, source: &PolicySource) -> Option<Policy> {
        let hash = policy::hash_of(&source.text);
        self.compiled(&self.cached(&hash), &hash).or_else(|| {
            let known = Extended::read(&self.index(&hash, source))?;
            known
                .still_holds(source)
                .then(|| self.compiled(&self.extended(&known.hash), &known.hash))
                .flatten()
        })
    }

    fn compiled(&self, file: &Path, hash: &str) -> Option<Policy> {
        Policy::from_cache(&std::fs::read(file).ok()?, hash)
    }

    fn cached(&self, hash: &str) -> PathBuf {
        self.path.join("cache").join(hash.trim_start_matches("sha256:"))
    }

    /// Where it is remembered what a text extends.
    fn index(&self, hash: &str, source: &PolicySource) -> PathBuf {
        self.cached(&Extended::key(hash, &source.directory)).with_extension("extends")
    }

    /// Where a policy is that was made of several texts: apart from those of one, as such a hash is that of a text, too.
    pub(crate) fn extended(&self, hash: &str) -> PathBuf {
        self.cached(hash).with_extension("extended")
    }

    /// Keeps the policy of a sandbox for the servers to come, and gives the name under which it is: the hash of its compiled
    /// form, as host paths in it may differ between policies of one text.
    pub(crate) fn keep_started(&self, policy: &Policy) -> io::Result<String> {
        let bytes = policy.to_cache();
        let name = policy::hash_of(&bytes).trim_start_matches("sha256:").to_owned();
        let file = self.path.join(STARTED).join(&name);
        if !file.exists() {
            self.keep(&file, &bytes)?;
        }
        Ok(name)
    }

    /// The policy that a sandbox was started with; none where it is not what was kept.
    pub(crate) fn started(&self, name: &str, hash: &str) -> Option<Policy> {
        let bytes = std::fs::read(self.path.join(STARTED).join(name)).ok()?;
        let is_it = policy::hash_of(&bytes).strip_prefix("sha256:") == Some(name);
        is_it.then(|| Policy::from_cache(&bytes, hash)).flatten()
    }

    /// Removes the policies of sandboxes that are no more.
    pub(crate) fn sweep_started(&self, used: &HashSet<&str>) {
        for entry in std::fs::read_dir(self.path.join(STARTED)).into_iter().flatten().flatten() {
            if entry.file_name().to_str().is_none_or(|name| !used.contains(name)) {
                // What stays is swept by the next server.
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }

    /// Writes a file in a directory of ours, whole or not at all.
    fn keep(&self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        let directory = file.parent().unwrap_or(&self.path);
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let half = directory.join(format!("writing-{}-{count}", std::process::id()));
        std::fs::write(&half, bytes)?;
        std::fs::rename(&half, file)
    }
}
