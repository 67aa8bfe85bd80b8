//! Reads the log as it is, one bundle at a time, while others may append to it.

use crate::disk::State;
use crate::frame::{self, Check, Header, Kind, Next};
use crate::layout::{self, BUNDLE_BYTES_MAX, TAIL, TAIL_BYTES_MAX, WIDTH};
use crate::{Checkpoint, Error};
use std::collections::VecDeque;
use std::path::Path;

/// How often a tail that does not parse and keeps changing is read again.
const SNAPSHOTS_MAX: usize = 16;

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number, from 0, by its place in the log.
    pub seq: u64,
    /// Its bytes: one line of JSON, without the newline.
    pub line: String,
    /// Whether a checkpoint covers it. Whether that checkpoint is right is for [`crate::verify()`] to say.
    pub covered: bool,
}

/// Reads all records, oldest first. Needs neither the lock nor a right to write.
///
/// A damaged place is an error among the items; reading goes on behind it where it can.
///
/// # Errors
/// There is no log, or its tail cannot be read.
pub fn read(state: &Path) -> Result<impl Iterator<Item = Result<Entry, Error>>, Error> {
    read_from(state, 0)
}

/// Reads the records from number `first` on, as [`read`] does. What is before costs nothing.
///
/// # Errors
/// As there.
pub fn read_from(state: &Path, first: u64) -> Result<impl Iterator<Item = Result<Entry, Error>>, Error> {
    let state = State::open(state)?;
    let tail = snapshot(&state)?;
    let (header, start) = Header::decode(&tail).map_err(|what| state.damaged(TAIL, 0, what))?;
    let covered = covered(&header, &tail[start..]);
    let bundles = header.first / WIDTH as u64;
    let next = (first / WIDTH as u64).min(bundles);
    let entries = Entries { state, bundles, next, covered, tail, start, ready: VecDeque::new() };
    Ok(entries.filter(move |entry| entry.as_ref().map_or(true, |entry| entry.seq >= first)))
}

/// How many records there are. The cost does not depend on that.
///
/// # Errors
/// There is no log, or its tail cannot be read.
pub fn size(state: &Path) -> Result<u64, Error> {
    let state = State::open(state)?;
    let tail = snapshot(&state)?;
    let (header, mut at) = Header::decode(&tail).map_err(|what| state.damaged(TAIL, 0, what))?;
    let mut size = header.first;
    while let Next::Frame(frame) = frame::next(&tail[at..], Check::Layout) {
        size += u64::from(frame.kind == Kind::Entry);
        at += frame.len();
    }
    Ok(size)
}

/// The bytes of the tail at one moment. A writer that trims while we read could show us two moments at once;
/// so bytes that do not parse are believed when they are read twice the same.
pub(crate) fn snapshot(state: &State) -> Result<Vec<u8>, Error> {
    let mut before = state.read(TAIL, TAIL_BYTES_MAX)?;
    for _ in 0..SNAPSHOTS_MAX {
        if is_whole(&before) {
            break;
        }
        let again = state.read(TAIL, TAIL_BYTES_MAX)?;
        if again == before {
            break;
        }
        before = again;
    }
    Ok(before)
}

fn is_whole(bytes: &[u8]) -> bool {
    let Ok((_, mut at)) = Header::decode(bytes) else { return false };
    loop {
        match frame::next(&bytes[at..], Check::Body) {
            Next::Frame(frame) => at += frame.len(),
            Next::End | Next::Torn => return true,
            Next::Damaged(_) => return false,
        }
    }
}

/// How many records the newest checkpoint covers.
fn covered(header: &Header, frames: &[u8]) -> u64 {
    let size = |note: &[u8]| Some(Checkpoint::parse(std::str::from_utf8(note).ok()?)?.size());
    let mut covered = size(&header.note);
    let mut at = 0;
    while let Next::Frame(frame) = frame::next(&frames[at..], Check::Layout) {
        if frame.kind == Kind::Checkpoint {
            covered = size(frame.body).or(covered);
        }
        at += frame.len();
    }
    covered.unwrap_or(0)
}

/// The records of a log. Holds one bundle and the tail.
struct Entries {
    state: State,
    bundles: u64,
    next: u64,
    covered: u64,
    tail: Vec<u8>,
    start: usize,
    ready: VecDeque<Result<Entry, Error>>,
}

impl Iterator for Entries {
    type Item = Result<Entry, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.ready.is_empty() && self.next <= self.bundles {
            if self.next < self.bundles {
                self.read_bundle()
            } else {
                self.read_tail()
            }
            self.next += 1;
        }
        self.ready.pop_front()
    }
}

impl Entries {
    fn read_bundle(&mut self) {
        let name = layout::bundle(self.next);
        let bytes = match self.state.read(&name, BUNDLE_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(error) => return self.ready.push_back(Err(error)),
        };
        let mut rest = bytes.as_slice();
        for seq in self.next * WIDTH as u64..(self.next + 1) * WIDTH as u64 {
            let at = (bytes.len() - rest.len()) as u64;
            let Some((record, behind)) = split_entry(rest) else {
                let error = self.state.damaged(&name, at, "an entry is cut short");
                return self.ready.push_back(Err(error));
            };
            self.push(seq, record, &name, at);
            rest = behind;
        }
    }

    fn read_tail(&mut self) {
        let tail = std::mem::take(&mut self.tail);
        let mut at = self.start;
        let mut seq = self.bundles * WIDTH as u64;
        loop {
            match frame::next(&tail[at..], Check::Body) {
                Next::Frame(frame) => {
                    if frame.kind == Kind::Entry {
                        self.push(seq, frame.body, TAIL, at as u64);
                        seq += 1;
                    }
                    at += frame.len();
                }
                Next::End | Next::Torn => return,
                Next::Damaged(what) => {
                    return self.ready.push_back(Err(self.state.damaged(TAIL, at as u64, what)));
                }
            }
        }
    }

    fn push(&mut self, seq: u64, record: &[u8], name: &str, at: u64) {
        let line = String::from_utf8(record.to_vec());
        let entry = line.map(|line| Entry { seq, line, covered: seq < self.covered });
        self.ready.push_back(entry.map_err(|_| self.state.damaged(name, at, "the record is not text")));
    }
}

/// The first entry of a bundle, and what comes after it.
fn split_entry(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))
}
