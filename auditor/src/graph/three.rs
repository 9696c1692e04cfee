//! The declared, the allowed and the observed graph, edge by edge, and how they differ.

use std::collections::{BTreeMap, BTreeSet};

use portreeve_engine::AllowedEdge;
use portreeve_engine::decision::Effect;

use crate::assessment::analyses::Part;
use crate::assessment::graphs::{DeadDeclaration, DeadKind, Difference, DifferenceClass, GraphEdge, ThreeGraphs};
use crate::graph::map::{Edge, Map};
use crate::limits::{ANALYSIS_ENTRIES_MAX, GRAPH_EXAMPLES_MAX};

/// The three graphs.
pub(crate) fn three<'a>(map: &Map<'_, 'a>, declared: &[AllowedEdge<'a>]) -> ThreeGraphs {
    let declared: BTreeSet<Edge<'a>> = declared.iter().map(key).collect();
    let allowed: BTreeSet<Edge<'a>> = map.examined.granted.edges.iter().map(key).collect();
    let observed: BTreeSet<Edge<'a>> = map.requests.keys().copied().collect();
    let mut classes: BTreeMap<DifferenceClass, (u64, Vec<GraphEdge>)> = BTreeMap::new();
    for edge in declared.iter().chain(&allowed).chain(&observed).collect::<BTreeSet<_>>() {
        let class = class(declared.contains(edge), allowed.contains(edge), observed.contains(edge));
        let (count, examples) = classes.entry(class).or_default();
        *count += 1;
        if examples.len() < GRAPH_EXAMPLES_MAX {
            let (from, to, operation) = edge;
            examples.push(GraphEdge { from: from.map(str::to_owned), to: (*to).to_owned(), operation: operation.map(str::to_owned) });
        }
    }
    let difference = |(class, (edges, examples))| {
        let (declared, allowed, observed) = facts(class);
        Difference { class, declared, allowed, observed, edges, examples }
    };
    ThreeGraphs {
        declared: declared.len() as u64,
        allowed: allowed.len() as u64,
        observed: observed.len() as u64,
        operations: map.services.iter().map(|s| s.operations.len() as u64).sum(),
        differences: classes.into_iter().map(difference).collect(),
        rests_on: "An edge is a caller (all identities outside the inventory are one), a service and an operation. Declared: some grant \
                   of the newest bundle names it. Allowed: the compiled policy can allow it, conditions taken as met. Observed: an \
                   allowed record shows it, under whatever bundle."
            .to_owned(),
    }
}

fn key<'a>(edge: &AllowedEdge<'a>) -> Edge<'a> {
    (edge.from.map(|s| &*s.name), &edge.to.name, edge.operation.map(|o| &*o.id))
}

const fn class(declared: bool, allowed: bool, observed: bool) -> DifferenceClass {
    match (declared, allowed, observed) {
        (_, true, true) => DifferenceClass::Used,
        (_, true, false) => DifferenceClass::Unused,
        (true, false, true) => DifferenceClass::ObservedProhibited,
        (true, false, false) => DifferenceClass::Prohibited,
        (false, false, _) => DifferenceClass::Shadow,
    }
}

const fn facts(class: DifferenceClass) -> (bool, bool, bool) {
    match class {
        DifferenceClass::Used => (true, true, true),
        DifferenceClass::Unused => (true, true, false),
        DifferenceClass::Prohibited => (true, false, false),
        DifferenceClass::ObservedProhibited => (true, false, true),
        DifferenceClass::Shadow => (false, false, true),
    }
}

/// What is declared and cannot be used: operations that no grant leads to, and grants without a way left.
pub(crate) fn dead_declarations<'a>(map: &Map<'_, 'a>, declared: &[AllowedEdge<'a>]) -> Vec<DeadDeclaration> {
    let edges = &map.examined.granted.edges;
    let called: BTreeSet<(&str, &str)> = edges.iter().filter_map(|e| Some((&*e.to.name, &*e.operation?.id))).collect();
    let granting: BTreeSet<&str> = edges.iter().flat_map(|e| e.policies.iter().map(|p| &*p.id)).collect();
    let written: BTreeSet<&str> = declared.iter().flat_map(|e| e.policies.iter().map(|p| &*p.id)).collect();
    let asked = map.examined.group(|key| Some((key.to.as_str(), key.operation.as_deref(), key.effect == Effect::Allow)));
    let asked = |service, operation, allowed| asked.get(&(service, Some(operation), allowed)).map_or(0, |t| t.count);
    let mut out = Vec::new();
    for service in map.services {
        let unreachable = service.operations.iter().filter(|o| !called.contains(&(&*service.name, &*o.id)));
        out.extend(unreachable.map(|operation| DeadDeclaration {
            kind: DeadKind::Operation,
            subject: format!("{} {}", service.name, operation.id),
            at: operation.at.short(),
            denied: asked(&*service.name, &*operation.id, false),
            allowed: asked(&*service.name, &*operation.id, true),
        }));
    }
    for policy in map.examined.grants().filter(|p| !granting.contains(&*p.reference.id)) {
        let id = &*policy.reference.id;
        let kind = if written.contains(id) { DeadKind::ProhibitedGrant } else { DeadKind::EmptyGrant };
        out.push(DeadDeclaration { kind, subject: id.to_owned(), at: policy.reference.at.short(), denied: 0, allowed: 0 });
    }
    out.sort();
    out
}

/// The same as an analysis.
pub(crate) fn dead<'a>(map: &Map<'_, 'a>, declared: &[AllowedEdge<'a>]) -> Part<DeadDeclaration> {
    let entries = dead_declarations(map, declared);
    let operations: u64 = map.services.iter().map(|s| s.operations.len() as u64).sum();
    Part {
        what: "declared operations and grants that can never be used".to_owned(),
        have: entries.len() as u64,
        of: operations + map.examined.grants().count() as u64,
        rests_on: "The newest bundle alone: an operation to which no grant leads, and a grant all of whose edges are prohibited or \
                   that meets nothing of the inventory. An operation kept for later is dead until then."
            .to_owned(),
        ..Part::default()
    }
    .listing(entries, ANALYSIS_ENTRIES_MAX)
}
