//! Tallies by key in one piece of memory, in the order of the keys.
//!
//! A ledger is counted once and then only read, from one end to the other and often. A tree would do, but one that is filled in order
//! leaves its nodes half empty; a million keys take half as much here, and lie in the order in which they are read.
//!
//! INVARIANT: keys ascend and none is there twice.

use crate::ledger::Tally;

/// Tallies by key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tallies<K>(Vec<(K, Tally)>);

impl<K> Default for Tallies<K> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Ord> Tallies<K> {
    /// Takes in tallies in the order of their keys, among which one may be there several times.
    pub(crate) fn take_in(&mut self, mut more: Vec<(K, Tally)>) {
        if self.0.is_empty() {
            self.0 = more;
        } else {
            self.0.append(&mut more);
            self.0.sort_by(|(a, _), (b, _)| a.cmp(b));
        }
        self.0.dedup_by(|(again, more), (key, tally)| {
            let is_again = again == key;
            if is_again {
                tally.absorb(more);
            }
            is_again
        });
    }
}

impl<K> Tallies<K> {
    /// Keys and tallies, the least key first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &Tally)> + ExactSizeIterator + Clone {
        self.0.iter().map(|(key, tally)| (key, tally))
    }

    /// The keys, the least first.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &K> + ExactSizeIterator + Clone {
        self.0.iter().map(|(key, _)| key)
    }

    /// The tallies, in the order of their keys.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &Tally> + ExactSizeIterator + Clone {
        self.0.iter().map(|(_, tally)| tally)
    }

    /// How many keys there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<K> IntoIterator for Tallies<K> {
    type Item = (K, Tally);
    type IntoIter = std::vec::IntoIter<(K, Tally)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a, K> IntoIterator for &'a Tallies<K> {
    type Item = (&'a K, &'a Tally);
    type IntoIter = std::iter::Map<std::slice::Iter<'a, (K, Tally)>, fn(&'a (K, Tally)) -> Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter().map(|(key, tally)| (key, tally))
    }
}

#[cfg(test)]
mod tests {
    use portreeve_engine::Digest;

    use super::*;
    use crate::assessment::Evidence;
    use crate::testing::start;

    #[test]
    fn runs_in_order_become_one_in_order_with_each_key_once() {
        let one = |n: u64| Tally::one(start(), &Evidence { input: 0, line: n, sha256: Digest::ZERO });
        let run = |keys: &[u64]| keys.iter().map(|k| (*k, one(*k))).collect::<Vec<_>>();
        let mut tallies = Tallies::default();
        assert!(tallies.is_empty());
        for keys in [&[2, 2, 5, 9][..], &[], &[1, 5, 10], &[0], &[11, 11]] {
            tallies.take_in(run(keys));
        }
        assert_eq!(tallies.keys().copied().collect::<Vec<_>>(), [0, 1, 2, 5, 9, 10, 11]);
        assert_eq!(tallies.values().map(|t| t.count).collect::<Vec<_>>(), [1, 1, 2, 2, 1, 1, 2]);
        assert_eq!((tallies.len(), tallies.iter().count(), (&tallies).into_iter().count()), (7, 7, 7));
        assert_eq!(tallies.into_iter().map(|(key, _)| key).sum::<u64>(), 38);
    }
}
