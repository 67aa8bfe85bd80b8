//! Moves the first 256 entries of a tail into a bundle and a tile.
//!
//! The order makes every crash harmless: bundle and tiles reach the disk first, then a new tail takes the old
//! one's place in one step. Until then the old tail holds everything, and the tiles are written again, the
//! same, by the next writer.

use crate::disk::{State, parent};
use crate::frame::{self, Check, Header, Kind, Next};
use crate::layout::{self, TAIL, TILE_BYTES, WIDTH};
use crate::tree::Frontier;
use crate::{Error, Hash};

/// Rolls a tail, given as its whole bytes, that holds at least 256 entries. Call it under the lock.
pub(crate) fn roll(state: &State, tail: &[u8]) -> Result<(), Error> {
    let (header, start) = Header::decode(tail).map_err(|what| state.damaged(TAIL, 0, what))?;
    let full = take(state, &tail[start..], header.note)?;

    let index = header.first / WIDTH as u64;
    put(state, &layout::bundle(index), &full.bundle)?;
    put(state, &layout::tile(0, index), &concat(&full.leaves))?;
    put_parents(state, index)?;

    let mut tree = Frontier::new(header.first, header.frontier);
    tree.extend(full.leaves.iter().copied());
    let next = Header {
        first: header.first + WIDTH as u64,
        prev: full.leaves.last().copied().unwrap_or(header.prev),
        frontier: tree.subtrees().to_vec(),
        note: full.note,
    };
    let mut bytes = next.encode();
    bytes.extend_from_slice(&tail[start + full.len..]);
    state.replace(TAIL, &bytes)?;
    state.sync_dir("log")
}

/// What leaves the tail: 256 entries and the checkpoints among them, of which the newest is kept.
struct Full {
    bundle: Vec<u8>,
    leaves: Vec<Hash>,
    note: Vec<u8>,
    len: usize,
}

fn take(state: &State, frames: &[u8], note: Vec<u8>) -> Result<Full, Error> {
    let mut full = Full { bundle: Vec::new(), leaves: Vec::with_capacity(WIDTH), note, len: 0 };
    while let Next::Frame(frame) = frame::next(&frames[full.len..], Check::Layout) {
        match frame.kind {
            Kind::Entry if full.leaves.len() == WIDTH => break,
            Kind::Entry => {
                full.bundle.extend_from_slice(&(frame.body.len() as u16).to_be_bytes());
                full.bundle.extend_from_slice(frame.body);
                full.leaves.push(frame.hash);
            }
            Kind::Checkpoint => full.note = frame.body.to_vec(),
        }
        full.len += frame.len();
    }
    match full.leaves.len() == WIDTH {
        true => Ok(full),
        false => Err(state.damaged(TAIL, full.len as u64, "fewer entries than there were")),
    }
}

/// Writes the tiles of higher levels that the level-0 tile `index` completes. Each is made from the 256 tiles
/// below it; that happens once in 65,536 records.
fn put_parents(state: &State, mut index: u64) -> Result<(), Error> {
    let width = WIDTH as u64;
    let mut level = 0;
    while (index + 1).is_multiple_of(width) {
        let below = index + 1 - width..=index;
        let roots: Result<Vec<Hash>, Error> = below.map(|child| tile_root(state, level, child)).collect();
        (level, index) = (level + 1, index / width);
        put(state, &layout::tile(level, index), &concat(&roots?))?;
    }
    Ok(())
}

fn tile_root(state: &State, level: u32, index: u64) -> Result<Hash, Error> {
    let name = layout::tile(level, index);
    let bytes = state.read(&name, TILE_BYTES as u64)?;
    if bytes.len() != TILE_BYTES {
        return Err(state.damaged(&name, bytes.len() as u64, "the tile is cut short"));
    }
    let mut tree = Frontier::new(0, Vec::new());
    tree.extend(bytes.chunks(Hash::LEN).filter_map(Hash::from_slice));
    Ok(tree.root())
}

/// Puts a file and the directories above it in place, durably.
fn put(state: &State, name: &str, bytes: &[u8]) -> Result<(), Error> {
    for (end, _) in name.match_indices('/').skip(1) {
        if state.make_dir(&name[..end])? {
            state.sync_dir(parent(&name[..end]))?;
        }
    }
    state.replace(name, bytes)?;
    state.sync_dir(parent(name))
}

fn concat(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
}
