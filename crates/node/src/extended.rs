//! Which texts a policy that extends others was made of, so that the compiled one is used again only while each of them is
//! what it was. All are read each time; only what they come to is remembered.

use crate::PolicySource;
use policy::{Library, SHIPPED, hash_of};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::path::Path;

/// What a policy was made of, beside its own text.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Extended {
    /// Its own hash.
    pub hash: String,
    /// Each document that was read, as it was named, with the hash of its text.
    texts: Vec<(String, String)>,
}

impl Extended {
    /// Under which name that is remembered of a text in a directory. Shipped policies are of this program.
    pub(crate) fn key(text_hash: &str, directory: &Path) -> String {
        let directory = hash_of(directory.as_os_str().as_encoded_bytes());
        let shipped: Vec<String> = SHIPPED.iter().map(|(_, text)| hash_of(text.as_bytes())).collect();
        hash_of(format!("{text_hash}\n{directory}\n{}\n", shipped.join("\n")).as_bytes())
    }

    /// What was remembered; none of a file that is not there or damaged.
    pub(crate) fn read(file: &Path) -> Option<Extended> {
        let bytes = std::fs::read(file).ok()?;
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let (digest, body) = (&bytes[..end], &bytes[end + 1..]);
        if digest != hash_of(body).as_bytes() {
            return None;
        }
        let (extended, rest) = postcard::take_from_bytes(body).ok()?;
        rest.is_empty().then_some(extended)
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        // Strings into a growing vector: nothing can fail.
        let body = postcard::to_stdvec(self).unwrap_or_default();
        [hash_of(&body).as_bytes(), b"\n", &body].concat()
    }

    /// Whether every text is, at this moment, what it was.
    pub(crate) fn still_holds(&self, library: &impl Library) -> bool {
        self.texts.iter().all(|(path, hash)| library.text(path).is_ok_and(|text| hash_of(&text) == *hash))
    }
}

/// A library that remembers what was read of it.
pub(crate) struct Reading<'s> {
    source: &'s PolicySource,
    texts: RefCell<Vec<(String, String)>>,
}

impl<'s> Reading<'s> {
    pub(crate) fn of(source: &'s PolicySource) -> Reading<'s> {
        Reading { source, texts: RefCell::default() }
    }

    /// What the policy with this hash was made of.
    pub(crate) fn made(self, hash: &str) -> Extended {
        Extended { hash: hash.to_owned(), texts: self.texts.into_inner() }
    }
}

impl Library for Reading<'_> {
    fn text(&self, path: &str) -> Result<Vec<u8>, String> {
        let text = self.source.text(path)?;
        self.texts.borrow_mut().push((path.to_owned(), hash_of(&text)));
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::State;
    use policy::Policy;
    use std::fs;

    const CHILD: &str = "version = 1\nname = \"child\"\nextends = \"./middle.toml\"\n";
    const MIDDLE: &str = "version = 1\nname = \"middle\"\nextends = \"./base.toml\"\n";
    const BASE: &str = "version = 1\nname = \"base\"\n[compute]\npids = 100\n";

    struct Place {
        directory: tempfile::TempDir,
        state: State,
    }

    impl Place {
        fn new() -> Place {
            let directory = tempfile::tempdir().unwrap();
            let state = State::open(&directory.path().join("state")).unwrap();
            let place = Place { directory, state };
            place.write("middle.toml", MIDDLE);
            place.write("base.toml", BASE);
            place
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.directory.path().join(name), text).unwrap();
        }

        fn source(&self, text: &str) -> PolicySource {
            let (directory, origin) = (self.directory.path().to_owned(), "child.toml".to_owned());
            PolicySource { text: text.into(), origin, directory }
        }

        fn pids(&self) -> Option<u32> {
            Some(self.state.load_policy(&self.source(CHILD)).ok()?.limits().pids)
        }

        /// Puts another policy in the place of every compiled one, under the hash that is looked for.
        fn forge(&self) {
            let hash = self.state.load_policy(&self.source(CHILD)).unwrap().hash().to_owned();
            let forged =
                Policy::parse(b"version = 1\nname = \"forged\"\n[compute]\npids = 7\n", "t").unwrap();
            let bytes = forged.to_cache();
            let own = forged.hash().as_bytes();
            let at = bytes.windows(own.len()).position(|part| part == own).unwrap();
            let mut body = bytes[at..].to_vec();
            body[..own.len()].copy_from_slice(hash.as_bytes());
            let hex = hash_of(&body);
            let digest =
                (7..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
            let sealed = [&bytes[..at - 32], &digest.collect::<Vec<u8>>(), &body].concat();
            assert_eq!(Policy::from_cache(&sealed, &hash).unwrap().limits().pids, 7);
            fs::write(self.state.extended(&hash), sealed).unwrap();
        }
    }

    #[test]
    fn a_policy_that_extends_others_is_compiled_once() {
        let place = Place::new();
        assert_eq!(place.pids(), Some(100));
        // What is used again is what was kept.
        place.forge();
        assert_eq!(place.pids(), Some(7));
    }

    #[test]
    fn a_changed_parent_is_seen_at_once() {
        let place = Place::new();
        assert_eq!(place.pids(), Some(100));
        place.forge();
        // Of the same length and within the same tick, as far as the file system tells.
        place.write("base.toml", &BASE.replace("100", "101"));
        assert_eq!(place.pids(), Some(101));
        place.write("middle.toml", &format!("{MIDDLE}[compute]\npids = 50\n"));
        assert_eq!(place.pids(), Some(50));
        place.write("middle.toml", MIDDLE);
        assert_eq!(place.pids(), Some(101));
        fs::remove_file(place.directory.path().join("base.toml")).unwrap();
        assert_eq!(place.pids(), None);
        place.write("base.toml", "version = 1\n");
        assert_eq!(place.pids(), None);
    }

    #[test]
    fn the_same_text_elsewhere_extends_what_is_there() {
        let (one, mut two) = (Place::new(), Place::new());
        assert_eq!(one.pids(), Some(100));
        two.write("base.toml", &BASE.replace("100", "60"));
        two.state = one.state.clone();
        assert_eq!((two.pids(), one.pids()), (Some(60), Some(100)));
    }

    #[test]
    fn a_hash_of_several_texts_is_no_document() {
        let place = Place::new();
        assert_eq!(place.pids(), Some(100));
        let middle =
            hash_of(format!("{}\n{}\n", hash_of(MIDDLE.as_bytes()), hash_of(BASE.as_bytes())).as_bytes());
        let text = format!("{}\n{middle}\n", hash_of(CHILD.as_bytes()));
        let policy = place.state.load_policy(&place.source(CHILD)).unwrap();
        assert_eq!(policy.hash(), hash_of(text.as_bytes()), "the text is the one that is meant");
        assert!(place.state.load_policy(&place.source(&text)).is_err());
    }

    #[test]
    fn a_damaged_index_costs_only_time() {
        let place = Place::new();
        assert_eq!(place.pids(), Some(100));
        for entry in fs::read_dir(place.state.path().join("cache")).unwrap() {
            let path = entry.unwrap().path();
            let whole = fs::read(&path).unwrap();
            for length in (0..whole.len()).step_by(97) {
                fs::write(&path, &whole[..length]).unwrap();
                assert_eq!(place.pids(), Some(100));
            }
        }
    }
}
