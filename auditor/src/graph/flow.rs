//! Minimum cuts: the fewest edges, or the fewest nodes, without which there is no way from one node to another.
//!
//! By the theorem of maximum flow and minimum cut, with augmenting ways found breadth first. Of several smallest cuts it gives the
//! one nearest the target, which parts it from the most. `tests.rs` holds it against an exhaustive search.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::graph::net::Net;

/// The fewest edges of which `removable` holds without which `to` is not reached; `None` where others suffice to reach it.
pub(crate) fn edge_cut(net: &Net, from: usize, to: usize, removable: impl Fn(usize, usize) -> bool) -> Option<Vec<(usize, usize)>> {
    let mut flow = Flow::default();
    for (a, b) in net.edges() {
        flow.add(a, b, if removable(a, b) { 1 } else { UNBOUNDED });
    }
    flow.cut(from, to, net.edges().filter(|(a, b)| removable(*a, *b)).count())
}

/// The fewest nodes of which `removable` holds without which `to` is not reached; `None` where others suffice to reach it.
pub(crate) fn node_cut(net: &Net, from: usize, to: usize, removable: impl Fn(usize) -> bool) -> Option<Vec<usize>> {
    if from == to {
        return None;
    }
    // Each node becomes two, one that is entered and one that is left, with the node itself as the edge between.
    let mut flow = Flow::default();
    for node in 0..net.nodes() {
        let may_go = removable(node) && node != from && node != to;
        flow.add(entry(node), exit(node), if may_go { 1 } else { UNBOUNDED });
    }
    for (a, b) in net.edges() {
        flow.add(exit(a), entry(b), UNBOUNDED);
    }
    let cut = flow.cut(exit(from), entry(to), net.nodes())?;
    Some(cut.into_iter().map(|(a, _)| a / 2).collect())
}

const fn entry(node: usize) -> usize {
    node * 2
}

const fn exit(node: usize) -> usize {
    node * 2 + 1
}

/// What is left of the capacity of each edge.
#[derive(Default)]
struct Flow {
    left: BTreeMap<(usize, usize), u64>,
    beside: BTreeMap<usize, BTreeSet<usize>>,
    whole: BTreeMap<(usize, usize), u64>,
}

impl Flow {
    fn add(&mut self, a: usize, b: usize, capacity: u64) {
        let left = self.left.entry((a, b)).or_default();
        *left = left.saturating_add(capacity).min(UNBOUNDED);
        self.whole.insert((a, b), capacity);
        self.beside.entry(a).or_default().insert(b);
        self.beside.entry(b).or_default().insert(a);
    }

    /// The edges of a smallest cut, or `None` where more than `most` ways lead past one another: then no removable edges part the two.
    fn cut(mut self, from: usize, to: usize, most: usize) -> Option<Vec<(usize, usize)>> {
        if from == to {
            return None;
        }
        let mut flow = 0_usize;
        while let Some(way) = self.way(from, to) {
            // Every way through a removable edge has room for one; a way without one would have room for ever.
            let narrowest = way.windows(2).filter_map(|pair| self.left.get(&(*pair.first()?, *pair.last()?))).min().copied()?;
            flow += 1;
            if narrowest >= UNBOUNDED / 2 || flow > most {
                return None;
            }
            for pair in way.windows(2) {
                let (Some(a), Some(b)) = (pair.first(), pair.last()) else { continue };
                *self.left.entry((*a, *b)).or_default() -= 1;
                *self.left.entry((*b, *a)).or_default() += 1;
            }
        }
        let side = self.side_of(to);
        let crosses = |(a, b): &(usize, usize)| !side.contains(a) && side.contains(b);
        Some(self.whole.keys().filter(|edge| crosses(edge)).copied().collect())
    }

    /// A shortest way with room left on it.
    fn way(&self, from: usize, to: usize) -> Option<Vec<usize>> {
        let mut by: BTreeMap<usize, usize> = BTreeMap::from([(from, from)]);
        let mut queue = VecDeque::from([from]);
        while let Some(node) = queue.pop_front() {
            if node == to {
                let mut way = vec![to];
                let mut at = to;
                while at != from {
                    at = *by.get(&at)?;
                    way.push(at);
                }
                way.reverse();
                return Some(way);
            }
            for next in self.beside.get(&node).into_iter().flatten() {
                if !by.contains_key(next) && self.has_room(node, *next) {
                    by.insert(*next, node);
                    queue.push_back(*next);
                }
            }
        }
        None
    }

    /// The nodes from which there is still room to the target.
    fn side_of(&self, to: usize) -> BTreeSet<usize> {
        let mut side = BTreeSet::from([to]);
        let mut queue = VecDeque::from([to]);
        while let Some(node) = queue.pop_front() {
            for before in self.beside.get(&node).into_iter().flatten() {
                if !side.contains(before) && self.has_room(*before, node) {
                    side.insert(*before);
                    queue.push_back(*before);
                }
            }
        }
        side
    }

    fn has_room(&self, a: usize, b: usize) -> bool {
        self.left.get(&(a, b)).is_some_and(|left| *left > 0)
    }
}

/// More than any number of removable edges.
const UNBOUNDED: u64 = u64::MAX / 4;
