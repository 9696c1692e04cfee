//! What each service could reach if it were taken over.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::assessment::analyses::Part;
use crate::assessment::graphs::{BlastRadius, SensitiveWithin};
use crate::graph::map::Map;
use crate::limits::ANALYSIS_ENTRIES_MAX;

/// The blast radius of every service.
pub(crate) fn blast(map: &Map<'_, '_>) -> Part<BlastRadius> {
    let mut observed: BTreeMap<&str, (u64, BTreeSet<&str>)> = BTreeMap::new();
    for ((from, to, _), count) in &map.requests {
        if let Some(from) = from {
            let (requests, called) = observed.entry(from).or_default();
            *requests += count;
            called.insert(to);
        }
    }
    let sensitive = map.sensitive();
    let one = |node: usize| {
        let name = map.name(node).unwrap_or_default();
        let ways = map.net.ways([node]);
        let mut by_step: Vec<u64> = Vec::new();
        for way in ways.iter().take(map.services.len()).flatten().filter(|way| way.steps > 0) {
            if by_step.len() < way.steps {
                by_step.resize(way.steps, 0);
            }
            if let Some(count) = by_step.get_mut(way.steps - 1) {
                *count += 1;
            }
        }
        let within = |s: &usize| {
            let steps = ways.get(map.part(*s)).copied().flatten()?.steps as u64;
            Some(SensitiveWithin { steps, service: map.name(*s)? })
        };
        let mut reached: Vec<_> = sensitive.iter().filter(|s| **s != node).filter_map(within).collect();
        reached.sort();
        let (requests, called) = observed.get(name.as_str()).map_or((0, 0), |(requests, called)| (*requests, called.len() as u64));
        BlastRadius {
            reachable: by_step.iter().sum(),
            of: (map.services.len() as u64).saturating_sub(1),
            by_step,
            sensitive: reached,
            holds_sensitive: sensitive.contains(&node),
            requests,
            called,
            service: name,
        }
    };
    let mut entries: Vec<BlastRadius> = (0..map.services.len()).map(one).collect();
    entries.sort_by(|a, b| key(a).cmp(&key(b)));
    Part {
        what: "services from which, taken over, something sensitive other than their own is within reach".to_owned(),
        have: entries.iter().filter(|e| !e.sensitive.is_empty()).count() as u64,
        of: entries.len() as u64,
        rests_on: "Chains of grants of the newest bundle, conditions taken as met, each service on the way taken over in its turn. \
                   Requests and services called are those of the window."
            .to_owned(),
        ..Part::default()
    }
    .listing(entries, ANALYSIS_ENTRIES_MAX)
}

fn key(b: &BlastRadius) -> (Reverse<usize>, Reverse<u64>, &str) {
    (Reverse(b.sensitive.len()), Reverse(b.reachable), &b.service)
}
