//! The walk itself.

use super::claims::{Claim, Claims};
use super::problem::{Flaw, Problems, Report};
use super::tree::{FullTile, Tree};
use crate::disk::State;
use crate::frame::{self, Check, Header, Kind, Next};
use crate::head::{self, Found};
use crate::layout::{self, BUNDLE_BYTES_MAX, TAIL, TILE_BYTES, WIDTH};
use crate::note::Verifier;
use crate::{Checkpoint, Hash, keys, read};

/// The tail as it was read.
pub(super) struct Tail {
    bytes: Vec<u8>,
    header: Header,
    start: usize,
}

/// One verification.
pub(super) struct Audit<'a> {
    state: &'a State,
    key: Option<Verifier>,
    claims: Claims,
    tree: Tree,
    /// Leaf hash of the record before the next.
    prev: Hash,
    /// The number that the next record should have by the one before.
    seq: u64,
    sealed: Option<u64>,
    newest: Option<Checkpoint>,
    torn_bytes: u64,
    problems: Problems,
}

impl<'a> Audit<'a> {
    /// Begins with what lies outside of the log. The head is read before the tail, so it cannot be ahead of it
    /// when a writer is at work.
    pub(super) fn new(state: &'a State, against: Option<&str>) -> Audit<'a> {
        let mut audit = Audit {
            state,
            key: keys::verifier(state),
            claims: Claims::default(),
            tree: Tree::default(),
            prev: Hash::ZERO,
            seq: 0,
            sealed: None,
            newest: None,
            torn_bytes: 0,
            problems: Problems::default(),
        };
        match head::read(state) {
            Ok(Found::Head(head)) => {
                audit.sealed = Some(head.size);
                let (size, root) = (head.size, head.root);
                audit.claims.add(Claim { file: "head", size, root, otherwise: Flaw::Root, checkpoint: None });
            }
            Ok(Found::Nothing) => {}
            Ok(Found::Garbage) => audit.problems.add("head", None, None, Flaw::Head),
            Err(error) => audit.problems.add("head", None, None, Flaw::unreadable(&error)),
        }
        if let Some(note) = against
            && let Some(saved) = audit.checkpoint("saved checkpoint", None, note.as_bytes())
        {
            let (size, root) = (saved.size(), saved.root());
            let otherwise = Flaw::Rewritten;
            audit.claims.add(Claim { file: "saved checkpoint", size, root, otherwise, checkpoint: None });
        }
        audit
    }

    /// Reads the tail, which says how many bundles there are. Without it nothing can be said.
    pub(super) fn begin(&mut self) -> Option<Tail> {
        let bytes = match read::snapshot(self.state) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.problems.add(TAIL, None, None, Flaw::unreadable(&error));
                return None;
            }
        };
        let (header, start) = match Header::decode(&bytes) {
            Ok(decoded) => decoded,
            Err(what) => {
                self.problems.add(TAIL, Some(0), None, Flaw::Header(what));
                return None;
            }
        };
        if !header.note.is_empty()
            && let Some(checkpoint) = self.checkpoint(TAIL, Some(0), &header.note)
        {
            let (size, root) = (checkpoint.size(), checkpoint.root());
            if size > header.first {
                self.problems.add(TAIL, Some(0), None, Flaw::Place(size));
            }
            let (otherwise, checkpoint) = (Flaw::Root, Some(checkpoint));
            self.claims.add(Claim { file: TAIL, size, root, otherwise, checkpoint });
        }
        self.check_claims();
        Some(Tail { bytes, header, start })
    }

    /// Verifies what is in bundles and tiles.
    pub(super) fn bundles(&mut self, tail: &Tail) {
        for index in 0..tail.header.first / WIDTH as u64 {
            let (name, tile_name) = (layout::bundle(index), layout::tile(0, index));
            let bundle = self.read(&name, BUNDLE_BYTES_MAX);
            let tile = self.read_tile(&tile_name);
            if bundle.is_none() && tile.is_none() {
                // Everything from here on would be guesswork, and a hostile header may name any number.
                return;
            }
            let mut rest = bundle.as_deref();
            let mut offset = 0;
            for place in 0..WIDTH {
                let seq = self.tree.size();
                let record = rest.and_then(split_entry);
                if record.is_none() && rest.take().is_some() {
                    self.problems.add(&name, Some(offset), Some(seq), Flaw::Short);
                }
                let known = tile.as_ref().map(|tile| tile[place]);
                let leaf = record.map(|(bytes, _)| Hash::leaf(bytes));
                if let (Some(known), Some(leaf)) = (known, leaf)
                    && known != leaf
                {
                    self.problems.add(&name, Some(offset), Some(seq), Flaw::Leaf);
                }
                let hash = known.or(leaf).unwrap_or(Hash::ZERO);
                if let Some((bytes, behind)) = record {
                    self.record(&name, offset, bytes);
                    offset += 2 + bytes.len() as u64;
                    rest = Some(behind);
                } else {
                    self.seq = seq + 1;
                }
                for full in self.push(hash) {
                    if full.level > 0 {
                        self.compare_tile(&full);
                    }
                }
            }
            if rest.is_some_and(|rest| !rest.is_empty()) {
                self.problems.add(&name, Some(offset), None, Flaw::Surplus);
            }
        }
    }

    /// Verifies what is in the tail.
    pub(super) fn tail(&mut self, tail: &Tail) {
        let (size, header) = (self.tree.size(), &tail.header);
        if size != header.first || header.frontier != self.tree.subtrees() || header.prev != self.prev {
            self.problems.add(TAIL, Some(0), Some(size), Flaw::Frontier);
        }
        let mut at = tail.start;
        let mut bundle = Vec::new();
        loop {
            let rest = &tail.bytes[at..];
            let (offset, seq) = (at as u64, self.tree.size());
            let frame = match (frame::next(rest, Check::Body), frame::next(rest, Check::Layout)) {
                (Next::Frame(frame), _) => frame,
                (Next::End, _) => return,
                (Next::Torn, _) => return self.torn_bytes = rest.len() as u64,
                (Next::Damaged(what), go_on) => {
                    self.problems.add(TAIL, Some(offset), Some(seq), Flaw::Frame(what));
                    let Next::Frame(frame) = go_on else { return };
                    frame
                }
            };
            match frame.kind {
                Kind::Checkpoint => self.sealed_here(offset, frame.body),
                Kind::Entry => {
                    self.record(TAIL, offset, frame.body);
                    bundle.extend_from_slice(&(frame.body.len() as u16).to_be_bytes());
                    bundle.extend_from_slice(frame.body);
                    for full in self.push(frame.hash) {
                        self.compare_leftovers(&full, &mut bundle);
                    }
                }
            }
            at += frame.len();
        }
    }

    /// Judges the claims that the log is too short for.
    pub(super) fn ends(&mut self) {
        let records = self.tree.size();
        for claim in std::mem::take(&mut self.claims).into_rest() {
            let flaw = match claim.otherwise {
                Flaw::Rewritten => Flaw::Rewritten,
                _ => Flaw::Truncated { records, sealed: claim.size },
            };
            self.problems.add(claim.file, None, None, flaw);
        }
        if let Some(sealed) = self.sealed
            && sealed <= records
            && self.newest.as_ref().is_none_or(|newest| newest.size() < sealed)
        {
            self.problems.add(TAIL, None, None, Flaw::Unsealed(sealed));
        }
    }

    /// How many records there are.
    pub(super) fn size(&self) -> u64 {
        self.tree.size()
    }

    /// Where to put what else is found.
    pub(super) fn problems(&mut self) -> &mut Problems {
        &mut self.problems
    }

    /// The result.
    pub(super) fn finish(self) -> Report {
        let size = self.newest.as_ref().map_or(0, Checkpoint::size);
        Report {
            records: self.tree.size(),
            covered: size.checked_sub(1),
            uncovered: self.tree.size() - size,
            torn_bytes: self.torn_bytes,
            checkpoint: self.newest,
            problems: self.problems.into_list(),
        }
    }

    /// A record's own words: its number, and the hash of the one before.
    fn record(&mut self, file: &str, offset: u64, bytes: &[u8]) {
        #[derive(serde::Deserialize)]
        struct Said<'a> {
            v: u32,
            seq: u64,
            prev: &'a str,
        }
        let place = (Some(offset), Some(self.tree.size()));
        let mut add = |flaw| self.problems.add(file, place.0, place.1, flaw);
        match serde_json::from_slice::<Said<'_>>(bytes) {
            Ok(said) if said.v == 1 => {
                if said.seq != self.seq {
                    add(Flaw::Seq(said.seq));
                }
                if said.prev != self.prev.to_string() {
                    add(Flaw::Prev);
                }
                // One dropped record is one problem, not one for each that follows.
                self.seq = said.seq;
            }
            Ok(said) => add(Flaw::Record(format!("it says version {}", said.v))),
            Err(error) => add(Flaw::Record(error.to_string())),
        }
        self.seq = self.seq.wrapping_add(1);
    }

    fn push(&mut self, leaf: Hash) -> Vec<FullTile> {
        let full = self.tree.push(leaf);
        self.prev = leaf;
        self.check_claims();
        full
    }

    /// Judges the claims about the number of records that there are now.
    fn check_claims(&mut self) {
        while let Some(claim) = self.claims.due(self.tree.size()) {
            match (claim.root == self.tree.root(), claim.checkpoint) {
                (true, checkpoint) => self.newest = checkpoint.or(self.newest.take()),
                (false, _) => self.problems.add(claim.file, None, None, claim.otherwise),
            }
        }
    }

    /// A checkpoint that stands behind the records it covers.
    fn sealed_here(&mut self, offset: u64, note: &[u8]) {
        let Some(checkpoint) = self.checkpoint(TAIL, Some(offset), note) else { return };
        let size = self.tree.size();
        if checkpoint.size() != size {
            self.problems.add(TAIL, Some(offset), Some(size), Flaw::Place(checkpoint.size()));
        } else if checkpoint.root() != self.tree.root() {
            self.problems.add(TAIL, Some(offset), Some(size), Flaw::Root);
        } else {
            self.newest = Some(checkpoint);
        }
    }

    /// Reads a checkpoint, and checks that the key of this log signed it.
    fn checkpoint(&mut self, file: &str, offset: Option<u64>, note: &[u8]) -> Option<Checkpoint> {
        let read = std::str::from_utf8(note).ok().and_then(Checkpoint::parse);
        let flaw = match (read, &self.key) {
            (None, _) => Flaw::NotACheckpoint,
            (Some(_), None) => Flaw::NoKey,
            (Some(checkpoint), Some(key)) if key.accepts(&checkpoint) => return Some(checkpoint),
            (Some(_), Some(_)) => Flaw::Signature,
        };
        self.problems.add(file, offset, None, flaw);
        None
    }

    fn read(&mut self, name: &str, bytes_max: u64) -> Option<Vec<u8>> {
        let read = self.state.read(name, bytes_max);
        read.map_err(|error| self.problems.add(name, None, None, Flaw::unreadable(&error))).ok()
    }

    fn read_tile(&mut self, name: &str) -> Option<Vec<Hash>> {
        let bytes = self.read(name, TILE_BYTES as u64)?;
        if bytes.len() != TILE_BYTES {
            self.problems.add(name, None, None, Flaw::TileLength(bytes.len() as u64));
            return None;
        }
        Some(bytes.chunks(Hash::LEN).filter_map(Hash::from_slice).collect())
    }

    fn compare_tile(&mut self, full: &FullTile) {
        let name = layout::tile(full.level, full.index);
        let Some(tile) = self.read_tile(&name) else { return };
        for (place, _) in tile.iter().zip(&full.hashes).enumerate().filter(|(_, (is, due))| is != due) {
            self.problems.add(&name, Some((place * Hash::LEN) as u64), None, Flaw::Node(place));
        }
    }

    /// What a writer that died while it moved entries out of the tail may have left: the right bytes, or none.
    fn compare_leftovers(&mut self, full: &FullTile, bundle: &mut Vec<u8>) {
        let hashes: Vec<u8> = full.hashes.iter().flat_map(|hash| *hash.as_bytes()).collect();
        let mut due = vec![(layout::tile(full.level, full.index), hashes)];
        if full.level == 0 {
            due.push((layout::bundle(full.index), std::mem::take(bundle)));
        }
        for (name, due) in due {
            match self.state.read(&name, BUNDLE_BYTES_MAX) {
                Err(error) if error.is_missing() => {}
                Ok(bytes) if bytes == due => {}
                Ok(_) => self.problems.add(&name, None, None, Flaw::Leftover),
                Err(error) => self.problems.add(&name, None, None, Flaw::unreadable(&error)),
            }
        }
    }
}

/// The first entry of a bundle, and what comes after it.
fn split_entry(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (high, rest) = bytes.split_first()?;
    let (low, rest) = rest.split_first()?;
    rest.split_at_checked((usize::from(*high) << 8) + usize::from(*low))
}
