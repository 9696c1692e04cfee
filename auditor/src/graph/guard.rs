//! Where the sensitive can be guarded: services that every chain from outside passes, smallest cuts, and single permissions whose
//! removal takes the most out of reach.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::assessment::analyses::Part;
use crate::assessment::graphs::{ChokePoint, Cut, CutPair, Protection};
use crate::graph::flow::{edge_cut, node_cut};
use crate::graph::map::Map;
use crate::graph::net::Net;
use crate::limits::{ANALYSIS_ENTRIES_MAX, CUT_TARGETS_MAX, PROTECTION_STEPS_MAX};

const OUTSIDE: &str = "Outside means services of an untrusted zone and all identities outside the inventory; chains are those of the newest \
                       bundle, conditions taken as met";

/// For each sensitive service within reach from outside, the services that every chain to it passes.
pub(crate) fn choke_points(map: &Map<'_, '_>) -> Part<ChokePoint> {
    let ways = map.net.ways([map.outside()]);
    let dominators = map.net.dominators(map.outside());
    let untrusted = map.untrusted();
    let mut entries = Vec::new();
    let mut guarded = 0;
    for service in map.sensitive() {
        let Some(way) = ways.get(map.part(service)).copied().flatten() else { continue };
        let on_every_way = dominators.get(map.part(service)).cloned().flatten().unwrap_or_default();
        guarded += u64::from(on_every_way.iter().any(|node| !untrusted.contains(node)));
        let direct = untrusted.iter().filter(|node| map.net.next(**node).any(|next| next == map.part(service)));
        entries.push(ChokePoint {
            target: map.name(service).unwrap_or_default(),
            dominators: on_every_way.into_iter().filter_map(|node| map.name(node)).collect(),
            exposed_to: direct.map(|node| map.name(*node).unwrap_or_else(|| STRANGERS.to_owned())).collect(),
            // The first step leads from outside to its first service and is no call.
            steps: way.steps.saturating_sub(1) as u64,
        });
    }
    Part {
        what: "sensitive services within reach from outside to which every chain passes some service that is not outside itself".to_owned(),
        have: guarded,
        of: entries.len() as u64,
        rests_on: format!(
            "{OUTSIDE}. A service that every chain passes is where one gate guards all of them, and where one fault opens all."
        ),
        ..Part::default()
    }
    .listing(entries, ANALYSIS_ENTRIES_MAX)
}

/// The smallest cuts between outside and each sensitive service, and between outside and all of them.
pub(crate) fn cuts(map: &Map<'_, '_>) -> Part<Cut> {
    let ways = map.net.ways([map.outside()]);
    let reached: Vec<usize> = map.sensitive().into_iter().filter(|s| ways.get(map.part(*s)).is_some_and(Option::is_some)).collect();
    let mut entries = Vec::new();
    if reached.len() > 1 {
        entries.push(cut(map, None, map.all()));
    }
    entries.extend(reached.iter().take(CUT_TARGETS_MAX).map(|service| cut(map, map.name(*service), map.part(*service))));
    let mut part = Part {
        what: "sensitive services within reach from outside that some service, not outside itself, can be put between".to_owned(),
        have: entries.iter().filter(|c| c.target.is_some() && c.services.is_some()).count() as u64,
        of: reached.len() as u64,
        rests_on: format!(
            "{OUTSIDE}. Of several smallest cuts the one nearest the sensitive service is told. A pair of services is parted when every \
             grant between them that leads on is withdrawn."
        ),
        ..Part::default()
    }
    .listing(entries, ANALYSIS_ENTRIES_MAX);
    part.omitted += reached.len().saturating_sub(CUT_TARGETS_MAX) as u64;
    part
}

fn cut(map: &Map<'_, '_>, target: Option<String>, node: usize) -> Cut {
    let untrusted = map.untrusted();
    let may_go = |n: usize| n < map.services.len() && !untrusted.contains(&n);
    let services = node_cut(&map.net, map.outside(), node, may_go);
    let is_grant = |a: usize, b: usize| a != map.outside() && b != map.all();
    let pairs = edge_cut(&map.net, map.outside(), node, is_grant).unwrap_or_default();
    let mut pairs: Vec<CutPair> = pairs
        .into_iter()
        .map(|(from, to)| CutPair {
            from: map.name(from),
            to: map.service_at(to).map(|s| s.name.to_string()).unwrap_or_default(),
            policies: map.policies(from, to),
        })
        .collect();
    pairs.sort();
    let policies: BTreeSet<String> = pairs.iter().flat_map(|p| p.policies.iter().cloned()).collect();
    Cut {
        target,
        services: services.map(|nodes| nodes.into_iter().filter_map(|n| map.name(n)).collect()),
        pairs,
        policies: policies.into_iter().collect(),
    }
}

/// For each permission, the pairs of an untrusted caller and a sensitive service between which it alone keeps chains open.
pub(crate) fn protection(map: &Map<'_, '_>) -> Part<Protection> {
    let untrusted = map.untrusted();
    let sensitive = map.sensitive();
    let base = pairs(&map.net, map, &untrusted, &sensitive);
    // The edges that are there for one policy alone.
    let mut alone: BTreeMap<&str, BTreeSet<(usize, usize)>> = BTreeMap::new();
    for (ends, ids) in map.granted_edges() {
        if let (1, Some(id)) = (ids.len(), ids.first()) {
            alone.entry(*id).or_default().insert(ends);
        }
    }
    let candidates: Vec<_> = if base.is_empty() { Vec::new() } else { alone.into_iter().collect() };
    let steps_each = (map.net.edges().count() + map.net.nodes()) * untrusted.len().max(1);
    let most = (PROTECTION_STEPS_MAX / steps_each.max(1)).max(1);
    let used = uses(map);
    let mut entries = Vec::new();
    for (id, edges) in candidates.iter().take(most) {
        let mut without = Net::new(map.net.nodes());
        map.net.edges().filter(|e| !edges.contains(e)).for_each(|(a, b)| without.add(a, b));
        let left = pairs(&without, map, &untrusted, &sensitive);
        let lost: Vec<_> = base.difference(&left).collect();
        let Some(policy) = map.examined.grants().find(|p| &*p.reference.id == *id).filter(|_| !lost.is_empty()) else { continue };
        let services: BTreeSet<String> = lost.iter().filter_map(|(_, service)| map.name(*service)).collect();
        entries.push(Protection {
            policy: (*id).to_owned(),
            at: policy.reference.at.short(),
            pairs: lost.len() as u64,
            of: base.len() as u64,
            services: services.into_iter().collect(),
            requests: used.get(*id).copied().unwrap_or(0),
        });
    }
    entries.sort_by(|a, b| (Reverse(a.pairs), &a.policy).cmp(&(Reverse(b.pairs), &b.policy)));
    let mut part = Part {
        what: "grants without which some untrusted caller would no longer reach some sensitive service".to_owned(),
        have: entries.len() as u64,
        of: map.examined.grants().count() as u64,
        rests_on: format!(
            "{OUTSIDE}. Each grant was taken away alone, and all chains looked for again; requests are the allowed records that it \
             determined, which its removal would have to answer for."
        ),
        ..Part::default()
    }
    .listing(entries, ANALYSIS_ENTRIES_MAX);
    part.omitted += candidates.len().saturating_sub(most) as u64;
    part
}

/// The pairs of an untrusted node and a sensitive service between which there is a way.
fn pairs(net: &Net, map: &Map<'_, '_>, untrusted: &[usize], sensitive: &[usize]) -> BTreeSet<(usize, usize)> {
    let mut pairs = BTreeSet::new();
    for from in untrusted {
        let ways = net.ways([*from]);
        let reached = sensitive.iter().filter(|s| ways.get(map.part(**s)).is_some_and(Option::is_some));
        pairs.extend(reached.filter(|s| *s != from).map(|s| (*from, *s)));
    }
    pairs
}

/// Allowed records by the policies that determined them.
fn uses<'a>(map: &Map<'_, 'a>) -> BTreeMap<&'a str, u64> {
    let mut used = BTreeMap::new();
    for (key, tally) in &map.examined.fold.ledger.decided {
        if key.effect == portreeve_engine::Effect::Allow {
            key.policies.iter().for_each(|id| *used.entry(id.as_str()).or_default() += tally.count);
        }
    }
    used
}

/// Callers that no service of the inventory is.
pub(crate) const STRANGERS: &str = "identities outside the inventory";
