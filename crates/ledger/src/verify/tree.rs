//! The verifier's Merkle tree: every tile as it fills, straight from the definition in RFC 6962, section 2.1.

use crate::Hash;
use crate::layout::WIDTH;

/// A tree, as the hashes of the tile that is being filled at each level.
#[derive(Default)]
pub(super) struct Tree {
    filling: Vec<Vec<Hash>>,
    size: u64,
}

/// A tile that became full.
pub(super) struct FullTile {
    pub(super) level: u32,
    pub(super) index: u64,
    pub(super) hashes: Vec<Hash>,
}

impl Tree {
    /// Adds a leaf; gives the tiles that it fills, the lowest first.
    pub(super) fn push(&mut self, leaf: Hash) -> Vec<FullTile> {
        self.size += 1;
        let mut full = Vec::new();
        let (mut level, mut hash, mut index) = (0, leaf, self.size - 1);
        loop {
            if self.filling.len() == level {
                self.filling.push(Vec::with_capacity(WIDTH));
            }
            self.filling[level].push(hash);
            index /= WIDTH as u64;
            if self.filling[level].len() < WIDTH {
                return full;
            }
            let hashes = std::mem::take(&mut self.filling[level]);
            hash = subtree(&hashes);
            full.push(FullTile { level: level as u32, index, hashes });
            level += 1;
        }
    }

    /// How many leaves there are.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// The root. Below a level lies one smaller tree at the right edge, which counts as one more leaf there.
    pub(super) fn root(&self) -> Hash {
        let mut right: Option<Hash> = None;
        for level in &self.filling {
            let leaves: Vec<Hash> = level.iter().copied().chain(right).collect();
            right = if leaves.is_empty() { None } else { Some(subtree(&leaves)) };
        }
        right.unwrap_or_else(Hash::empty)
    }

    /// The largest full subtrees from left to right.
    pub(super) fn subtrees(&self) -> Vec<Hash> {
        let mut list = Vec::new();
        for level in self.filling.iter().rev() {
            let mut rest = level.as_slice();
            while !rest.is_empty() {
                let (full, right) = rest.split_at(1 << rest.len().ilog2());
                list.push(subtree(full));
                rest = right;
            }
        }
        list
    }
}

/// MTH of the RFC, over hashes that are leaves already.
fn subtree(leaves: &[Hash]) -> Hash {
    match leaves {
        [one] => *one,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            Hash::node(subtree(left), subtree(right))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ct_merkle::mem_backed_tree::MemoryBackedTree;

    #[test]
    fn every_root_is_the_one_that_an_independent_library_computes() {
        let mut oracle = MemoryBackedTree::<oracle_sha2::Sha256, Vec<u8>>::new();
        let mut tree = Tree::default();
        for n in 0..66_100u32 {
            oracle.push(n.to_be_bytes().to_vec());
            tree.push(Hash::leaf(&n.to_be_bytes()));
            if !(1100..=65_400).contains(&n) {
                assert_eq!(tree.root().as_bytes().as_slice(), oracle.root().as_bytes().as_slice(), "{n}");
                assert_eq!(tree.subtrees().len() as u32, (n + 1).count_ones());
            }
        }
    }
}
