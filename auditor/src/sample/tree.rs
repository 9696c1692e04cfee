//! The Merkle tree of RFC 6962, built in one pass: a stack of whole subtrees, and for each leaf that is held the path to the root
//! as far as it is known. Memory grows with the number of held leaves and the logarithm of the length, never with the length.
//!
//! INVARIANT: a leaf's hash begins with a zero byte and a node's with a one, so that neither can be taken for the other.

use std::collections::BTreeMap;

use portreeve_engine::Digest;
use sha2::{Digest as _, Sha256};

/// A tree under construction.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// Whole subtrees, from left to right; sizes are falling powers of two.
    stack: Vec<Subtree>,
    size: u64,
    /// Paths of held leaves so far, from the leaf up.
    proofs: BTreeMap<u64, Vec<Digest>>,
}

#[derive(Debug)]
struct Subtree {
    size: u64,
    hash: Digest,
    held: Vec<u64>,
}

impl Tree {
    /// Puts a leaf at the end and gives its index; its path is kept if `hold` says so.
    pub(crate) fn push(&mut self, data: &[u8], hold: bool) -> u64 {
        let index = self.size;
        self.size += 1;
        if hold {
            self.proofs.insert(index, Vec::new());
        }
        self.stack.push(Subtree { size: 1, hash: leaf(data), held: if hold { vec![index] } else { Vec::new() } });
        while let [.., left, right] = self.stack.as_slice()
            && left.size == right.size
        {
            self.join();
        }
        index
    }

    /// The path of this leaf is not wanted any more.
    pub(crate) fn release(&mut self, index: u64) {
        self.proofs.remove(&index);
    }

    /// How many leaves there are.
    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    /// The root, and the paths of the leaves that are held.
    pub(crate) fn finish(mut self) -> (Digest, BTreeMap<u64, Vec<Digest>>) {
        while self.stack.len() > 1 {
            self.join();
        }
        (self.stack.pop().map_or_else(|| Digest::of(b""), |whole| whole.hash), self.proofs)
    }

    /// The two last subtrees become one.
    fn join(&mut self) {
        let (Some(right), Some(left)) = (self.stack.pop(), self.stack.pop()) else { return };
        let mut held = Vec::with_capacity(left.held.len() + right.held.len());
        for (inside, beside) in [(&left.held, &right.hash), (&right.held, &left.hash)] {
            for index in inside {
                if let Some(proof) = self.proofs.get_mut(index) {
                    proof.push(*beside);
                    held.push(*index);
                }
            }
        }
        self.stack.push(Subtree { size: left.size + right.size, hash: node(&left.hash, &right.hash), held });
    }
}

/// The hash of a leaf.
pub(crate) fn leaf(data: &[u8]) -> Digest {
    hash(&[&[0], data])
}

/// The root that follows from a leaf, its place and its path; `None` where the path has another length than the place asks for.
pub(crate) fn root_of(data: &[u8], index: u64, size: u64, proof: &[Digest]) -> Option<Digest> {
    if index >= size {
        return None;
    }
    let (mut at, mut last) = (index, size - 1);
    let mut out = leaf(data);
    for beside in proof {
        if last == 0 {
            return None;
        }
        if at & 1 == 1 || at == last {
            out = node(beside, &out);
            while at & 1 == 0 && at != 0 {
                (at, last) = (at >> 1, last >> 1);
            }
        } else {
            out = node(&out, beside);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    (last == 0).then_some(out)
}

fn node(left: &Digest, right: &Digest) -> Digest {
    hash(&[&[1], left.as_bytes(), right.as_bytes()])
}

fn hash(parts: &[&[u8]]) -> Digest {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    Digest::from_bytes(hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition of RFC 6962, word for word.
    fn naive(leaves: &[Vec<u8>]) -> Digest {
        match leaves {
            [] => Digest::of(b""),
            [one] => leaf(one),
            many => {
                let half = many.len().next_power_of_two() / 2;
                let (left, right) = many.split_at(half);
                node(&naive(left), &naive(right))
            }
        }
    }

    #[test]
    fn roots_and_paths_are_those_of_the_definition() {
        for size in 0..70_u64 {
            let leaves: Vec<Vec<u8>> = (0..size).map(|n| n.to_be_bytes()[..(n % 9) as usize].to_vec()).collect();
            let mut tree = Tree::default();
            for (n, data) in leaves.iter().enumerate() {
                assert_eq!(tree.push(data, n % 3 != 1), n as u64);
            }
            tree.release(0);
            let (root, proofs) = tree.finish();
            assert_eq!(root, naive(&leaves), "{size}");
            assert_eq!(proofs.len() as u64, (1..size).filter(|n| n % 3 != 1).count() as u64);
            for (index, proof) in &proofs {
                let data = &leaves[usize::try_from(*index).unwrap()];
                assert_eq!(root_of(data, *index, size, proof), Some(root), "leaf {index} of {size}");
                // Another leaf, place, length or path leads elsewhere or nowhere.
                assert_ne!(root_of(b"other", *index, size, proof), Some(root));
                assert!(root_of(data, *index + 1, size, proof) != Some(root) || leaves.get(*index as usize + 1) == Some(data));
                assert_ne!(root_of(data, *index, size, &[proof.as_slice(), &[Digest::ZERO]].concat()), Some(root));
                for n in 0..proof.len() {
                    let mut wrong = proof.clone();
                    wrong[n] = Digest::ZERO;
                    assert_ne!(root_of(data, *index, size, &wrong), Some(root));
                    wrong.remove(n);
                    assert_ne!(root_of(data, *index, size, &wrong), Some(root));
                }
            }
        }
    }

    /// The vectors that Certificate Transparency's own tests use.
    #[test]
    fn the_known_roots() {
        assert_eq!(Tree::default().finish().0.hex(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        let mut tree = Tree::default();
        tree.push(b"", false);
        assert_eq!(tree.finish().0.hex(), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
        let mut tree = Tree::default();
        [&b""[..], b"\x00", b"\x10"].iter().for_each(|data| _ = tree.push(data, false));
        assert_eq!(tree.finish().0.hex(), "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77");
    }
}
