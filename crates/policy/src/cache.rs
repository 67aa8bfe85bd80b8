//! A policy in the form in which it loads fastest.
//!
//! ```text
//! tag '\n' | SHA-256 of all that follows | source hash '\n' | postcard of `Stored`
//! ```
//!
//! The checksum finds accidents, not attackers: who may write the file may write any policy into it. So it
//! belongs where only its owner writes. Whatever it holds passes the checks of the language again, and a file
//! that fails in any way is none.
//!
//! The decisions are in it as far as they are known without an act: who loads it to run one command touches none of
//! Cedar's code, unless a `cedar` block has something to say about commands.

use crate::decide::Decided;
use crate::engine::{Answer, Specialised, places};
use crate::keys::LANDLOCK_MAX;
use crate::parse::{SOURCE_BYTES_MAX, is_about, is_name};
use crate::zones::{Access, FileRule, first_conflict};
use crate::{CommitRules, Forbid, Policy, compute, lease};
use model::{Lease, Limits, Walls};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Names the format: a number that changes with [`Stored`], and the version, as a later one may know more rules.
const TAG: &[u8] = concat!("casemate-policy-cache 5 ", env!("CARGO_PKG_VERSION"), "\n").as_bytes();
const DIGEST_BYTES: usize = 32;

#[derive(Serialize, Deserialize)]
struct Stored {
    name: String,
    about: Option<String>,
    root: bool,
    require: u32,
    landlock_min: u32,
    limits: Limits,
    lease: Lease,
    files: Vec<StoredRule>,
    /// The names and texts.
    forbids: Vec<(String, String)>,
    /// For each user and action, in the order of [`places`].
    answers: Vec<Answer>,
}

#[derive(Serialize, Deserialize)]
struct StoredRule {
    at: String,
    access: StoredAccess,
    line: u32,
}

#[derive(Serialize, Deserialize)]
enum StoredAccess {
    Read(String),
    Scratch,
    Write(String),
    Draft(String, CommitRules),
}

impl Policy {
    /// The cached form of the document. Zones that were added are not in it: they are not the document's.
    pub fn to_cache(&self) -> Vec<u8> {
        let mut body = self.hash.clone().into_bytes();
        body.push(b'\n');
        // Every field is a plain value and the target a growing vector: there is nothing that can fail. Were
        // there something, the body would end here and `from_cache` would refuse it.
        body.extend(postcard::to_stdvec(&stored(&self.without_zones())).unwrap_or_default());
        [TAG, Sha256::digest(&body).as_slice(), &body].concat()
    }

    /// This policy as its document has it.
    fn without_zones(&self) -> std::borrow::Cow<'_, Policy> {
        if self.files.iter().all(|rule| rule.line().is_some()) {
            return std::borrow::Cow::Borrowed(self);
        }
        let mut policy = self.clone();
        policy.files.retain(|rule| rule.line().is_some());
        policy.decided = Decided::default();
        std::borrow::Cow::Owned(policy)
    }

    /// The policy that [`Policy::to_cache`] wrote for the document with the hash `source_hash`.
    ///
    /// None for anything else: another document, another version, a damaged file.
    pub fn from_cache(bytes: &[u8], source_hash: &str) -> Option<Policy> {
        let (digest, body) = bytes.strip_prefix(TAG)?.split_at_checked(DIGEST_BYTES)?;
        // Of a document that is bounded nothing larger comes.
        if body.len() > 2 * SOURCE_BYTES_MAX || Sha256::digest(body).as_slice() != digest {
            return None;
        }
        let body = body.strip_prefix(source_hash.as_bytes())?.strip_prefix(b"\n")?;
        let (stored, rest) = postcard::take_from_bytes::<Stored>(body).ok()?;
        if rest.is_empty() { restored(stored, source_hash) } else { None }
    }
}

fn stored(policy: &Policy) -> Stored {
    let rule = |rule: &FileRule| {
        Some(StoredRule {
            at: rule.at().to_owned(),
            line: rule.line()?,
            access: match rule.access() {
                Access::Read { from } => StoredAccess::Read(from.clone()),
                Access::Scratch => StoredAccess::Scratch,
                Access::Write { to } => StoredAccess::Write(to.clone()),
                Access::Draft { from, commit } => StoredAccess::Draft(from.clone(), commit.clone()),
            },
        })
    };
    Stored {
        name: policy.name.clone(),
        about: policy.about.clone(),
        root: policy.root,
        require: policy.require.to_bits(),
        landlock_min: policy.landlock_min,
        limits: policy.limits,
        lease: policy.lease,
        files: policy.files.iter().filter_map(rule).collect(),
        forbids: policy.forbids.iter().map(|forbid| (forbid.rule.clone(), forbid.text.clone())).collect(),
        answers: policy.decided().answers().cloned().collect(),
    }
}

fn restored(stored: Stored, source_hash: &str) -> Option<Policy> {
    let Stored { name, about, root, require, landlock_min, limits, lease, files, forbids, answers } = stored;
    let rule = |rule: StoredRule| {
        let access = match rule.access {
            StoredAccess::Read(from) => Access::Read { from },
            StoredAccess::Scratch => Access::Scratch,
            StoredAccess::Write(to) => Access::Write { to },
            StoredAccess::Draft(from, commit) if commit.holds() => Access::Draft { from, commit },
            StoredAccess::Draft(..) => return None,
        };
        Some(FileRule::new(rule.at, access).ok()?.on_line(rule.line))
    };
    let files: Vec<FileRule> = files.into_iter().map(rule).collect::<Option<_>>()?;
    let valid = is_name(&name)
        && about.as_deref().is_none_or(is_about)
        && Walls::from_bits(require).to_bits() == require
        && landlock_min <= LANDLOCK_MAX
        && compute::holds(&limits)
        && lease::holds(&lease)
        && first_conflict(&files).is_none()
        && answers.len() == places().count();
    let require = Walls::from_bits(require);
    valid.then(|| Policy {
        name,
        about,
        hash: source_hash.to_owned(),
        root,
        require,
        landlock_min,
        limits,
        lease,
        files,
        forbids: forbids.into_iter().map(|(rule, text)| Forbid { rule, text }).collect(),
        decided: Decided::known(Specialised::new(answers)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(body: &[u8]) -> Vec<u8> {
        [TAG, Sha256::digest(body).as_slice(), body].concat()
    }

    #[test]
    fn a_cache_with_a_right_checksum_still_has_to_hold_a_valid_policy() {
        let source = b"version = 1\nname = \"a\"\n";
        let policy = Policy::parse(source, "test").unwrap();
        let with = |change: fn(&mut Stored)| {
            let mut stored = stored(&policy);
            change(&mut stored);
            let mut body = format!("{}\n", policy.hash()).into_bytes();
            body.extend(postcard::to_stdvec(&stored).unwrap());
            Policy::from_cache(&sealed(&body), policy.hash())
        };
        assert_eq!(with(|_| ()), Some(policy.clone()));
        assert_eq!(with(|stored| stored.name = "A".to_owned()), None);
        assert_eq!(with(|stored| stored.about = Some("a\nb".to_owned())), None);
        assert_eq!(with(|stored| stored.require = 1 << 31), None);
        assert_eq!(with(|stored| stored.landlock_min = 17), None);
        assert_eq!(with(|stored| stored.limits.memory_bytes = u64::MAX), None);
        assert_eq!(with(|stored| stored.lease.after_ms = 0), None);
        fn etc() -> StoredRule {
            StoredRule { at: "/etc".to_owned(), access: StoredAccess::Scratch, line: 1 }
        }
        assert_eq!(with(|stored| stored.files.push(etc())), None);
    }

    #[test]
    fn a_cache_of_another_document_or_with_something_behind_it_is_none() {
        let policy = Policy::parse(b"version = 1\nname = \"a\"\n", "test").unwrap();
        let cache = policy.to_cache();
        assert_eq!(Policy::from_cache(&cache, policy.hash()).as_ref(), Some(&policy));
        assert_eq!(Policy::from_cache(&cache, "sha256:00"), None);
        assert_eq!(Policy::from_cache(&cache, ""), None);
        let mut body = cache[TAG.len() + DIGEST_BYTES..].to_vec();
        body.push(0);
        assert_eq!(Policy::from_cache(&sealed(&body), policy.hash()), None);
    }
}
