//! A set of whole numbers kept as runs: the lines of a chain that were read. Small as long as the numbers are dense.

use std::collections::BTreeMap;

/// A set of numbers as runs `[from, to]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Intervals(BTreeMap<u64, u64>);

impl Intervals {
    /// Whether the number is in the set.
    pub(crate) fn contains(&self, n: u64) -> bool {
        self.0.range(..=n).next_back().is_some_and(|(_, to)| n <= *to)
    }

    /// Adds a number.
    pub(crate) fn insert(&mut self, n: u64) {
        if self.contains(n) {
            return;
        }
        let end = n.checked_add(1).and_then(|next| self.0.remove(&next)).unwrap_or(n);
        match self.0.range_mut(..n).next_back().filter(|(_, to)| to.checked_add(1) == Some(n)) {
            Some((_, to)) => *to = end,
            None => {
                self.0.insert(n, end);
            }
        }
    }

    /// The smallest and the largest number.
    pub(crate) fn bounds(&self) -> Option<(u64, u64)> {
        Some((*self.0.first_key_value()?.0, *self.0.last_key_value()?.1))
    }

    /// The runs that are not in the set, from 0 to its largest number.
    pub(crate) fn gaps(&self) -> Vec<(u64, u64)> {
        let mut out = Vec::new();
        let mut next = 0;
        for (from, to) in &self.0 {
            if *from > next {
                out.push((next, from - 1));
            }
            next = to.saturating_add(1);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_join_and_gaps_show() {
        let mut set = Intervals::default();
        for n in [5, 1, 2, 0, 7, 6, 2, u64::MAX] {
            set.insert(n);
        }
        assert_eq!(set.0, BTreeMap::from([(0, 2), (5, 7), (u64::MAX, u64::MAX)]));
        assert!(set.contains(0) && set.contains(6) && !set.contains(3) && !set.contains(8));
        assert_eq!(set.bounds(), Some((0, u64::MAX)));
        assert_eq!(set.gaps(), [(3, 4), (8, u64::MAX - 1)]);
    }
}
