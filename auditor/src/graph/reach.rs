//! Who reaches a class of data or a zone, directly or through others, by which shortest chain, and what traffic says about it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use portreeve_engine::AllowedEdge;
use portreeve_engine::model::{Operation, Service};

use crate::assessment::analyses::Part;
use crate::assessment::graphs::{Hop, Reach, ReachEvidence};
use crate::graph::map::Map;
use crate::graph::net::{Net, trail};
use crate::limits::ANALYSIS_ENTRIES_MAX;
use crate::traces::Call;

/// What may be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Target<'a> {
    Data(&'a str),
    Zone(&'a str),
}

impl Target<'_> {
    fn is_touched_by(self, service: &Service, operation: Option<&Operation>) -> bool {
        match self {
            Self::Data(class) => {
                service.data.contains(class) || operation.map_or_else(|| holds(service, class), |operation| operation.data.contains(class))
            }
            Self::Zone(zone) => service.zone.as_deref() == Some(zone),
        }
    }

    /// Whether the service has what is to be reached itself.
    fn is_at(self, service: &Service) -> bool {
        match self {
            Self::Data(class) => holds(service, class),
            Self::Zone(zone) => service.zone.as_deref() == Some(zone),
        }
    }
}

fn holds(service: &Service, class: &str) -> bool {
    service.data.contains(class) || service.operations.iter().any(|o| o.data.contains(class))
}

/// Every class of data and every sensitive zone, and who reaches it.
pub(crate) fn reach(map: &Map<'_, '_>) -> Part<Reach> {
    let entries = every_reach(map);
    let outsiders = |target: Target<'_>| map.services.iter().filter(|s| !target.is_at(s)).count() as u64;
    let pairs = targets(map).into_iter().map(|target| outsiders(target) + 1).sum();
    let traces = map.examined.fold.traces.count();
    let sample = if map.examined.fold.traces.is_sample { ", a sample of those in the logs," } else { "" };
    Part {
        what: "pairs of a caller and a class of data or a zone between which a chain of grants leads".to_owned(),
        have: entries.len() as u64,
        of: pairs,
        rests_on: format!(
            "Chains are those of the newest bundle, conditions taken as met; all identities outside the inventory are one caller. A \
             chain of grants is what somebody could use who takes over the services on it. {traces} traces{sample} tell which steps \
             belonged together; callers choose those ids, and a service that passes none on hides a way, so no trace proves that data \
             did not go it."
        ),
        ..Part::default()
    }
    .listing(entries, ANALYSIS_ENTRIES_MAX)
}

/// All of it, whatever its number.
pub(crate) fn every_reach(map: &Map<'_, '_>) -> Vec<Reach> {
    let mut entries: Vec<Reach> = targets(map).into_iter().flat_map(|target| reach_of(map, target)).collect();
    entries.sort_by(|a, b| order(a).cmp(&order(b)));
    entries
}

/// Sensitive targets first, then those within reach of what is not trusted, then the shortest.
fn order(reach: &Reach) -> (bool, bool, u64, &str, &str, Option<&str>) {
    (!reach.sensitive, !reach.untrusted, reach.steps, &reach.kind, &reach.target, reach.from.as_deref())
}

fn targets<'a>(map: &Map<'_, 'a>) -> BTreeSet<Target<'a>> {
    let mut targets = BTreeSet::new();
    for service in map.services {
        let classes = service.data.iter().chain(service.operations.iter().flat_map(|o| &o.data));
        targets.extend(classes.map(|class| Target::Data(class)));
        if map.is_sensitive(service) {
            targets.extend(service.zone.as_deref().map(Target::Zone));
        }
    }
    targets
}

fn reach_of<'a>(map: &Map<'_, 'a>, target: Target<'a>) -> Vec<Reach> {
    let touches = |edge: &AllowedEdge<'a>| target.is_touched_by(edge.to, edge.operation);
    // The net of services and strangers, with one more node: the target.
    let goal = map.outside();
    let mut net = Net::new(goal + 1);
    for (from, to) in map.net.edges().filter(|(from, to)| *from <= map.strangers() && *to < map.services.len()) {
        net.add(from, to);
        if map.grants(from, to).any(touches) {
            net.add(from, goal);
        }
    }
    let ways = net.reversed().ways([goal]);
    let traced = traced(map, target);
    let callers = (0..map.services.len()).chain([map.strangers()]);
    callers
        .filter(|node| map.service_at(*node).is_none_or(|s| !target.is_at(s)))
        .filter_map(|node| ways.get(node).copied().flatten().map(|_| entry(map, target, node, &trail(&ways, node), &traced)))
        .collect()
}

fn entry<'a>(map: &Map<'_, 'a>, target: Target<'a>, node: usize, trail: &[usize], traced: &Traced<'a>) -> Reach {
    let touches = |edge: &AllowedEdge<'a>| target.is_touched_by(edge.to, edge.operation);
    let mut chain: Vec<Hop> = Vec::new();
    for pair in trail.windows(2) {
        let (Some(from), Some(to)) = (pair.first().copied(), pair.last().copied()) else { continue };
        if to < map.services.len() {
            chain.push(map.hop(from, to, |_| true));
        } else {
            chain.extend(last_hop(map, from, touches));
        }
    }
    let service = map.service_at(node);
    let (traces, services) = traced.get(&service.map(|s| &*s.name)).cloned().unwrap_or_default();
    let evidence = if traces > 0 {
        ReachEvidence::DataPath
    } else if chain.iter().all(|hop| hop.requests > 0) {
        ReachEvidence::EachStepSeen
    } else {
        ReachEvidence::SteppingStone
    };
    let (kind, name, sensitive) = match target {
        Target::Data(class) => ("data", class, map.examined.scope().is_sensitive_class(class)),
        Target::Zone(zone) => ("zone", zone, map.services.iter().any(|s| s.zone.as_deref() == Some(zone) && map.is_sensitive(s))),
    };
    Reach {
        kind: kind.to_owned(),
        target: name.to_owned(),
        sensitive,
        from: map.name(node),
        untrusted: service.is_none_or(|s| map.examined.scope().is_untrusted(s)),
        steps: chain.len() as u64,
        chain,
        evidence,
        traces,
        traced: services.into_iter().map(str::to_owned).collect(),
    }
}

/// The step into the target: of several services that have it, the first one that was seen called, else the first.
fn last_hop<'a>(map: &Map<'_, 'a>, from: usize, touches: impl Fn(&AllowedEdge<'a>) -> bool + Copy) -> Option<Hop> {
    let into = map.net.next(from).filter(|to| *to < map.services.len() && map.grants(from, *to).any(touches));
    let hops: Vec<Hop> = into.map(|to| map.hop(from, to, touches)).collect();
    hops.iter().find(|hop| hop.requests > 0).or_else(|| hops.first()).cloned()
}

/// By caller: traces in which some chain leads from it to the target, and the services of the shortest such chain.
type Traced<'a> = BTreeMap<Option<&'a str>, (u64, Vec<&'a str>)>;

fn traced<'a>(map: &Map<'_, 'a>, target: Target<'a>) -> Traced<'a> {
    let mut found: Traced<'a> = BTreeMap::new();
    for calls in map.examined.fold.traces.each() {
        for (caller, chain) in chains_of(map, target, &calls) {
            let (count, shortest) = found.entry(caller).or_default();
            *count += 1;
            if shortest.is_empty() || (chain.len(), &chain) < (shortest.len(), shortest) {
                *shortest = chain;
            }
        }
    }
    found
}

/// Within one trace: each caller from which a chain leads to the target, with the services of the shortest one.
fn chains_of<'a>(map: &Map<'_, 'a>, target: Target<'a>, calls: &[&'a Call]) -> BTreeMap<Option<&'a str>, Vec<&'a str>> {
    let reaches = |to: &str, operation: Option<&str>| {
        map.index(to).and_then(|n| map.services.get(n)).is_some_and(|service| {
            match operation.map(|id| service.operations.iter().find(|o| *o.id == *id)) {
                None => target.is_touched_by(service, None),
                Some(Some(operation)) => target.is_touched_by(service, Some(operation)),
                // An operation that the newest bundle does not declare is judged by its service.
                Some(None) => target.is_at(service),
            }
        })
    };
    let mut chains: BTreeMap<Option<&'a str>, Vec<&'a str>> = BTreeMap::new();
    let mut fresh: VecDeque<Option<&'a str>> = VecDeque::new();
    for (from, to, operation) in calls {
        if reaches(to, operation.as_deref()) && !chains.contains_key(&from.as_deref()) {
            chains.insert(from.as_deref(), from.as_deref().into_iter().chain([to.as_str()]).collect());
            fresh.push_back(from.as_deref());
        }
    }
    while let Some(node) = fresh.pop_front() {
        let Some(chain) = node.and_then(|_| chains.get(&node)).cloned() else { continue };
        for (from, to, _) in calls {
            if Some(to.as_str()) == node && !chains.contains_key(&from.as_deref()) {
                chains.insert(from.as_deref(), from.as_deref().into_iter().chain(chain.iter().copied()).collect());
                fresh.push_back(from.as_deref());
            }
        }
    }
    chains
}
