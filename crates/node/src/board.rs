//! What those inside are told: what is allowed, and what was denied last. They read it in `/.casemate/denials`, also by
//! way of `casemate-why`.
//!
//! One writer, in place, never more than [`BOARD_BYTES`], which the sandbox took at its start: neither a full disk nor a
//! flood of denials stops or grows it.

use crate::finish::full;
use jail::BOARD_BYTES;
use model::{Denial, LimitHit, Limits};
use policy::Policy;
use rustix::fd::OwnedFd;
use std::collections::VecDeque;
use std::time::Duration;

/// The program that shows it, inside.
pub(crate) const WHY: &[u8] = include_bytes!(env!("CASEMATE_WHY"));
/// How often it is looked whether a limit was hit that ends nothing.
pub(crate) const LOOK: Duration = Duration::from_millis(500);

/// The most denials that are shown, the latest.
const DENIALS_MAX: usize = 16;
/// The most bytes of the policy's lines; the rest is for denials.
const ALLOWED_BYTES_MAX: usize = BOARD_BYTES / 2;

/// What is written on one board. The board itself is a file on its disk that the builder opened.
#[derive(Debug)]
pub(crate) struct Board {
    limits: Limits,
    /// What is allowed, until it is written.
    allowed: String,
    /// Where what changes begins.
    from: usize,
    /// How far something was ever written.
    to: usize,
    /// The latest last, and how often each was.
    denials: VecDeque<(Denial, u32)>,
    /// Limits that were hit so far.
    hits: Vec<LimitHit>,
}

/// A board together with what is written on it.
#[derive(Debug)]
pub(crate) struct Told<'a> {
    pub board: Board,
    pub at: &'a OwnedFd,
}

impl Board {
    /// Nothing is written yet.
    pub(crate) fn new(policy: &Policy) -> Board {
        let (limits, allowed) = (policy.limits(), allowed(policy));
        Board { limits, allowed, from: 0, to: 0, denials: VecDeque::new(), hits: Vec::new() }
    }

    /// Writes what the policy allows, and that nothing was denied.
    pub(crate) fn open(&mut self, board: &OwnedFd) {
        let text = std::mem::take(&mut self.allowed);
        write(board, text.as_bytes(), 0);
        self.from = text.len();
        self.to = self.from;
        self.show(board);
    }

    /// Tells of a denial. One like it that was told before is the latest again.
    pub(crate) fn post(&mut self, board: &OwnedFd, denial: Denial) {
        let known = self.denials.iter().position(|(known, _)| *known == denial);
        let times = known.and_then(|at| self.denials.remove(at)).map_or(0, |(_, times)| times);
        if self.denials.len() == DENIALS_MAX {
            self.denials.pop_front();
        }
        self.denials.push_back((denial, times.saturating_add(1)));
        self.show(board);
    }

    /// Looks whether a limit was hit that ended nothing, and tells of it.
    pub(crate) fn look(&mut self, board: &OwnedFd, hits: Vec<LimitHit>) {
        let lasting = hits.into_iter().filter(|hit| *hit == LimitHit::Pids);
        for hit in lasting.chain(full(board).0) {
            if !self.hits.contains(&hit) {
                self.hits.push(hit);
                self.post(board, Denial::limit(hit, &self.limits));
            }
        }
    }

    fn show(&mut self, board: &OwnedFd) {
        let mut text = self.text();
        // What was written before and is no more is written over, not cut off: the file keeps its bytes.
        let end = self.to.max(self.from + text.len());
        text.resize(end - self.from, b'\n');
        self.to = end;
        write(board, &text, self.from);
    }

    /// The latest first, as many as there is room for.
    fn text(&self) -> Vec<u8> {
        if self.denials.is_empty() {
            return b"Nothing was denied so far.\n".to_vec();
        }
        let mut text = "What was denied, the latest first:\n".to_owned();
        for (denial, times) in self.denials.iter().rev() {
            let Denial { code, rule, asked, nearest_allowed, how_to_ask } = denial;
            let often = if *times > 1 { format!(" ({times} times)") } else { String::new() };
            let nearest = nearest_allowed.as_deref().unwrap_or("nothing like it");
            let entry = format!(
                "  {code}: {asked}{often}\n    rule: {rule}\n    allowed: {nearest}\n    to have it: {how_to_ask}\n"
            );
            if self.from + text.len() + entry.len() > BOARD_BYTES {
                break;
            }
            text.push_str(&entry);
        }
        text.into_bytes()
    }
}

/// What the policy allows, line by line.
fn allowed(policy: &Policy) -> String {
    let mut text = format!("What the policy `{}` allows here:\n", model::quote(policy.name()));
    for line in policy.explain_inside() {
        let line = format!("  {line}\n");
        if text.len() + line.len() > ALLOWED_BYTES_MAX {
            text.push_str("  …\n");
            break;
        }
        text.push_str(&line);
    }
    text
}

/// Where it cannot be written, those inside know less; nothing else depends on it.
fn write(board: &OwnedFd, mut bytes: &[u8], mut at: usize) {
    while let Ok(written @ 1..) = rustix::io::retry_on_intr(|| rustix::io::pwrite(board, bytes, at as u64)) {
        at += written;
        bytes = bytes.get(written..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Code;
    use proptest::prelude::*;
    use rustix::fs::{MemfdFlags, memfd_create};
    use std::io::{Read, Seek, SeekFrom};

    fn board() -> OwnedFd {
        memfd_create("board", MemfdFlags::CLOEXEC).unwrap()
    }

    fn shown(board: &OwnedFd) -> String {
        let mut file = std::fs::File::from(board.try_clone().unwrap());
        let mut text = String::new();
        file.seek(SeekFrom::Start(0)).unwrap();
        file.read_to_string(&mut text).unwrap();
        text
    }

    fn policy(text: &str) -> Policy {
        Policy::parse(format!("version = 1\nname = \"p\"\n{text}").as_bytes(), "p.toml").unwrap()
    }

    #[test]
    fn what_is_allowed_is_told_without_names_of_the_host() {
        let policy = policy("[[files]]\nat = \"/in\"\nfrom = \"/very/secret\"\naccess = \"read\"\n");
        let (fd, mut told) = (board(), Board::new(&policy));
        told.open(&fd);
        let text = shown(&fd);
        assert!(text.starts_with("What the policy `p` allows here:\n  tier = native -> "), "{text}");
        assert!(text.contains("  read /in -> read-only\n"), "{text}");
        assert!(!text.contains("secret"), "{text}");
        assert!(text.ends_with("Nothing was denied so far.\n"), "{text}");
    }

    #[test]
    fn a_denial_that_comes_again_is_the_latest_and_counted() {
        let (fd, mut told) = (board(), Board::new(&policy("")));
        told.open(&fd);
        for asked in ["a", "b", "a"] {
            told.post(&fd, Denial::new(Code::Syscall, "seccomp.bpf", asked, "do without"));
        }
        let text = shown(&fd);
        let denied = text.split_once("the latest first:\n").unwrap().1.trim_end();
        let entry = |asked: &str| {
            format!(
                "  syscall: {asked}\n    rule: seccomp.bpf\n    allowed: nothing like it\n    to have it: do without\n"
            )
        };
        assert_eq!(format!("{denied}\n"), entry("a (2 times)") + &entry("b"));
    }

    proptest! {
        #[test]
        fn a_flood_of_denials_stays_within_its_bytes_and_the_latest_is_there(
            texts in proptest::collection::vec(".{0,600}", 1..80),
        ) {
            let (fd, mut told) = (board(), Board::new(&policy("")));
            told.open(&fd);
            let mut length = 0;
            for (number, text) in texts.iter().enumerate() {
                let denial = Denial::new(Code::Exec, format!("rule {number};"), text, text).nearest(text);
                told.post(&fd, denial.checked());
                let now = shown(&fd);
                prop_assert!(now.len() <= BOARD_BYTES && now.len() >= length);
                prop_assert!(now.contains(&format!("rule: rule {number};")), "{}", now);
                length = now.len();
            }
        }
    }
}
