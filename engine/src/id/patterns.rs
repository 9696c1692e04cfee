//! Many patterns at once: which of them cover an id, found segment by segment, whatever their number.
//!
//! INVARIANT: a look-up visits only nodes whose segments fit the id, so its cost follows the id and how patterns overlap,
//! not how many there are; it allocates nothing.

use hashbrown::HashMap;

use super::{IdPattern, Segment, SpiffeId};

type FixedState = foldhash::fast::FixedState;

/// Values filed under patterns.
#[derive(Debug)]
pub(crate) struct PatternIndex<T> {
    domains: HashMap<Box<str>, u32, FixedState>,
    nodes: Vec<Node<T>>,
}

#[derive(Debug)]
struct Node<T> {
    exact: HashMap<Box<str>, u32, FixedState>,
    any: Option<u32>,
    /// Patterns that end here.
    here: Vec<T>,
    /// Patterns whose `**` begins here.
    open: Vec<T>,
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { exact: HashMap::default(), any: None, here: Vec::new(), open: Vec::new() }
    }
}

impl<T> Default for PatternIndex<T> {
    fn default() -> Self {
        Self { domains: HashMap::default(), nodes: Vec::new() }
    }
}

impl<T: Copy> PatternIndex<T> {
    pub(crate) fn insert(&mut self, pattern: &IdPattern, value: T) {
        let root = match self.domains.get(pattern.domain.as_str()) {
            Some(root) => *root,
            None => {
                let root = self.push();
                self.domains.insert(pattern.domain.as_str().into(), root);
                root
            }
        };
        let end = pattern.segments.iter().fold(root, |at, segment| self.child(at, segment));
        if let Some(node) = self.nodes.get_mut(end as usize) {
            if pattern.open { node.open.push(value) } else { node.here.push(value) }
        }
    }

    fn push(&mut self) -> u32 {
        let next = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        self.nodes.push(Node::default());
        next
    }

    fn child(&mut self, at: u32, segment: &Segment) -> u32 {
        let node = self.nodes.get(at as usize);
        let found = match segment {
            Segment::Any => node.and_then(|n| n.any),
            Segment::Exact(text) => node.and_then(|n| n.exact.get(text).copied()),
        };
        if let Some(found) = found {
            return found;
        }
        let next = self.push();
        if let Some(node) = self.nodes.get_mut(at as usize) {
            match segment {
                Segment::Any => node.any = Some(next),
                Segment::Exact(text) => drop(node.exact.insert(text.clone(), next)),
            }
        }
        next
    }

    /// Gives each value whose pattern covers `id` to `visit`.
    pub(crate) fn covering(&self, id: &SpiffeId, visit: &mut impl FnMut(T)) {
        if self.nodes.is_empty() {
            return;
        }
        if let (Some(root), Some(path)) = (self.domains.get(id.trust_domain()), id.path().strip_prefix('/')) {
            self.descend(*root, Some(path), visit);
        }
    }

    fn descend(&self, at: u32, left: Option<&str>, visit: &mut impl FnMut(T)) {
        let Some(node) = self.nodes.get(at as usize) else { return };
        let Some(left) = left else { return node.here.iter().copied().for_each(visit) };
        node.open.iter().copied().for_each(&mut *visit);
        let (segment, rest) = left.split_once('/').map_or((left, None), |(segment, rest)| (segment, Some(rest)));
        for child in node.exact.get(segment).copied().into_iter().chain(node.any) {
            self.descend(child, rest, visit);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn finds_what_the_patterns_themselves_say(
            patterns in prop::collection::vec("spiffe://(a|b)\\.example(/(x|y|\\*)){1,3}(/\\*\\*)?", 1..12),
            ids in prop::collection::vec("spiffe://(a|b|c)\\.example(/(x|y|z)){1,5}", 1..12),
        ) {
            let patterns: Vec<IdPattern> = patterns.iter().map(|p| p.parse().unwrap()).collect();
            let mut index = PatternIndex::default();
            for (n, pattern) in patterns.iter().enumerate() {
                index.insert(pattern, n);
            }
            for id in ids {
                let id: SpiffeId = id.parse().unwrap();
                let mut found = Vec::new();
                index.covering(&id, &mut |n| found.push(n));
                found.sort_unstable();
                let want: Vec<usize> = (0..patterns.len()).filter(|n| patterns[*n].matches(&id)).collect();
                prop_assert_eq!(found, want, "{} {:?}", id, patterns);
            }
        }
    }
}
