//! A directed graph over numbered nodes, and what is asked of it: shortest ways, and what every way passes.
//!
//! It knows nothing of services. `tests.rs` holds it against definitions, by trying everything on small graphs.

use std::collections::{BTreeSet, VecDeque};

use petgraph::algo::dominators::simple_fast;
use petgraph::graph::{DiGraph, NodeIndex};

/// A directed graph; its nodes are `0..nodes()`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Net {
    /// The nodes one step from each, in order.
    out: Vec<Vec<usize>>,
}

/// How a node is reached from the nearest start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    /// Steps; 0 for a start.
    pub(crate) steps: usize,
    /// The node next to it on the way, towards the start.
    pub(crate) by: Option<usize>,
}

impl Net {
    pub(crate) fn new(nodes: usize) -> Self {
        Self { out: vec![Vec::new(); nodes] }
    }

    /// Adds an edge; one between nodes that are not there is none.
    pub(crate) fn add(&mut self, from: usize, to: usize) {
        if to < self.out.len()
            && let Some(next) = self.out.get_mut(from)
            && let Err(place) = next.binary_search(&to)
        {
            next.insert(place, to);
        }
    }

    pub(crate) fn nodes(&self) -> usize {
        self.out.len()
    }

    /// The nodes one step from here, in order.
    pub(crate) fn next(&self, node: usize) -> impl Iterator<Item = usize> + '_ {
        self.out.get(node).into_iter().flatten().copied()
    }

    pub(crate) fn edges(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.out.iter().enumerate().flat_map(|(from, next)| next.iter().map(move |to| (from, *to)))
    }

    /// The same graph with every edge the other way round.
    pub(crate) fn reversed(&self) -> Self {
        let mut reversed = Self::new(self.nodes());
        for (from, to) in self.edges() {
            reversed.add(to, from);
        }
        reversed
    }

    /// For each node, how it is reached from the nearest start; `None` where it is not. Of equal ways it takes the one over the
    /// smaller nodes.
    pub(crate) fn ways(&self, starts: impl IntoIterator<Item = usize>) -> Vec<Option<Way>> {
        let mut ways: Vec<Option<Way>> = vec![None; self.nodes()];
        let mut queue = VecDeque::new();
        for start in starts.into_iter().collect::<BTreeSet<_>>() {
            if let Some(way) = ways.get_mut(start) {
                *way = Some(Way { steps: 0, by: None });
                queue.push_back((start, 0));
            }
        }
        while let Some((node, steps)) = queue.pop_front() {
            for next in self.next(node) {
                if let Some(way @ None) = ways.get_mut(next) {
                    *way = Some(Way { steps: steps + 1, by: Some(node) });
                    queue.push_back((next, steps + 1));
                }
            }
        }
        ways
    }

    /// For each node, the nodes that every way from `root` to it passes, from the outside in, root and node left out; `None` where
    /// there is no way.
    pub(crate) fn dominators(&self, root: usize) -> Vec<Option<Vec<usize>>> {
        let mut graph: DiGraph<(), ()> = DiGraph::new();
        for _ in 0..self.nodes() {
            graph.add_node(());
        }
        graph.extend_with_edges(self.edges().map(|(from, to)| (NodeIndex::new(from), NodeIndex::new(to))));
        let dominators = simple_fast(&graph, NodeIndex::new(root));
        let of = |node: usize| {
            let mut on_every_way: Vec<usize> = dominators.strict_dominators(NodeIndex::new(node))?.map(NodeIndex::index).collect();
            on_every_way.reverse();
            on_every_way.retain(|n| *n != root);
            Some(on_every_way)
        };
        (0..self.nodes()).map(of).collect()
    }
}

/// The nodes from a start to this one, both included; of ways on a reversed graph, from this one to the start.
pub(crate) fn trail(ways: &[Option<Way>], node: usize) -> Vec<usize> {
    let mut trail = vec![node];
    let mut at = node;
    while let Some(by) = ways.get(at).copied().flatten().and_then(|way| way.by) {
        trail.push(by);
        at = by;
    }
    trail
}
