//! The writer's Merkle tree: only the full subtrees at the left edge of what comes next.

use crate::Hash;

/// The full subtrees of a tree, the largest first: one for each bit set in the number of leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frontier {
    size: u64,
    subtrees: Vec<Hash>,
}

impl Frontier {
    /// The frontier of `size` leaves.
    pub(crate) fn new(size: u64, subtrees: Vec<Hash>) -> Frontier {
        Frontier { size, subtrees }
    }

    /// Adds one leaf: as many subtrees join as the size ends in set bits.
    pub(crate) fn push(&mut self, leaf: Hash) {
        let mut joined = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.subtrees.pop() {
                joined = Hash::node(left, joined);
            }
        }
        self.subtrees.push(joined);
        self.size += 1;
    }

    /// How many leaves it has.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The subtrees.
    pub(crate) fn subtrees(&self) -> &[Hash] {
        &self.subtrees
    }

    /// The root of the whole tree.
    pub(crate) fn root(&self) -> Hash {
        let mut subtrees = self.subtrees.iter().rev().copied();
        let Some(last) = subtrees.next() else { return Hash::empty() };
        subtrees.fold(last, |right, left| Hash::node(left, right))
    }
}

impl Extend<Hash> for Frontier {
    fn extend<I: IntoIterator<Item = Hash>>(&mut self, leaves: I) {
        leaves.into_iter().for_each(|leaf| self.push(leaf));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ct_merkle::mem_backed_tree::MemoryBackedTree;

    #[test]
    fn every_root_is_the_one_that_an_independent_library_computes() {
        let mut oracle = MemoryBackedTree::<oracle_sha2::Sha256, Vec<u8>>::new();
        let mut frontier = Frontier::new(0, Vec::new());
        assert_eq!(frontier.root().as_bytes().as_slice(), oracle.root().as_bytes().as_slice());
        for n in 0..1100u32 {
            oracle.push(n.to_be_bytes().to_vec());
            frontier.push(Hash::leaf(&n.to_be_bytes()));
            assert_eq!(frontier.root().as_bytes().as_slice(), oracle.root().as_bytes().as_slice(), "{n}");
            assert_eq!(frontier.subtrees().len() as u32, (n + 1).count_ones());
        }
    }
}
