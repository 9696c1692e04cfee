//! The allowed graph: who may ever call what under the newest bundle, and what that puts in reach of whom.
//!
//! It is built from the authorizer's table, never from traffic.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef as _;
use portreeve_engine::{AllowedEdge, Authorizer};

use crate::governance::Scope;

/// Everything the newest bundle can allow.
pub(crate) struct Granted<'a> {
    pub(crate) edges: Vec<AllowedEdge<'a>>,
    scope: &'a Scope,
    graph: DiGraph<&'a str, bool>,
    nodes: BTreeMap<&'a str, NodeIndex>,
    by_name: BTreeMap<(Option<&'a str>, &'a str, Option<&'a str>), usize>,
}

impl<'a> Granted<'a> {
    pub(crate) fn of(authorizer: &'a Authorizer, scope: &'a Scope) -> Self {
        let edges = authorizer.allowed();
        let mut graph = DiGraph::new();
        let nodes: BTreeMap<&str, NodeIndex> = authorizer.services().iter().map(|s| (&*s.name, graph.add_node(&*s.name))).collect();
        let mut by_name = BTreeMap::new();
        for (index, edge) in edges.iter().enumerate() {
            by_name.insert((edge.from.map(|s| &*s.name), &*edge.to.name, edge.operation.map(|o| &*o.id)), index);
            let ends = edge.from.and_then(|from| Some((*nodes.get(&*from.name)?, *nodes.get(&*edge.to.name)?)));
            if let Some((from, to)) = ends.filter(|(from, to)| from != to) {
                graph.add_edge(from, to, scope.touches(edge.to, edge.operation));
            }
        }
        Self { edges, scope, graph, nodes, by_name }
    }

    /// The grant from a service (or strangers) to an operation (or undeclared paths).
    pub(crate) fn edge(&self, from: Option<&str>, to: &str, operation: Option<&str>) -> Option<&AllowedEdge<'a>> {
        self.edges.get(*self.by_name.get(&(from, to, operation))?)
    }

    /// The grants of sensitive data to an untrusted zone or to strangers, in one step.
    pub(crate) fn exposed(&self) -> impl Iterator<Item = &AllowedEdge<'a>> {
        let scope = self.scope;
        self.edges.iter().filter(move |e| scope.touches(e.to, e.operation) && e.from.is_none_or(|from| scope.is_untrusted(from)))
    }

    /// For each service from which a chain of grants leads to sensitive data, the shortest chain. Services that hold the data
    /// themselves are not among them.
    pub(crate) fn reach(&self) -> BTreeMap<&'a str, Vec<&'a str>> {
        let mut next: BTreeMap<NodeIndex, NodeIndex> = BTreeMap::new();
        let mut queue = VecDeque::new();
        for edge in self.graph.edge_references().filter(|e| *e.weight()) {
            if let std::collections::btree_map::Entry::Vacant(entry) = next.entry(edge.source()) {
                entry.insert(edge.target());
                queue.push_back(edge.source());
            }
        }
        let direct: BTreeSet<NodeIndex> = next.keys().copied().collect();
        while let Some(node) = queue.pop_front() {
            let mut callers: Vec<_> = self.graph.neighbors_directed(node, Direction::Incoming).collect();
            callers.sort();
            for caller in callers {
                if let std::collections::btree_map::Entry::Vacant(entry) = next.entry(caller) {
                    entry.insert(node);
                    queue.push_back(caller);
                }
            }
        }
        self.nodes.values().filter_map(|node| Some((self.graph.node_weight(*node).copied()?, self.chain(*node, &next, &direct)?))).collect()
    }

    fn chain(&self, from: NodeIndex, next: &BTreeMap<NodeIndex, NodeIndex>, direct: &BTreeSet<NodeIndex>) -> Option<Vec<&'a str>> {
        let mut chain = vec![self.graph.node_weight(from).copied()?];
        let mut at = from;
        loop {
            let is_last_step = direct.contains(&at);
            at = *next.get(&at)?;
            chain.push(self.graph.node_weight(at).copied()?);
            if is_last_step {
                return Some(chain);
            }
        }
    }
}
