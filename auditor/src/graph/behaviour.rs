//! What traffic shows that policy does not: shadow edges, services that take no part, bursts of denials, scanning, weak connections.

use std::collections::{BTreeMap, BTreeSet};

use portreeve_engine::decision::Effect;

use crate::assessment::analyses::{Part, Ratio};
use crate::assessment::usage::{Scanner, ShadowEdge, Spike, SpikeOf, StaleService, WeakConnection};
use crate::checks::weak_tls::is_strong;
use crate::examined::{Examined, caller};
use crate::foreign::{Lack, Lawful};
use crate::graph::map::Map;
use crate::graph::spikes::spikes;
use crate::ledger::Tally;
use crate::limits::{ANALYSIS_ENTRIES_MAX, SCAN_OPERATIONS_MIN, SCAN_PATHS_MIN, SCAN_SERVICES_MIN, SPIKE_DENIALS_MIN, SPIKE_FACTOR};

/// What was allowed in the logs and no policy of the newest bundle can allow.
pub(crate) fn shadow_edges(examined: &Examined<'_>) -> Vec<ShadowEdge> {
    let newest = examined.newest.revision();
    let mut under_no_other = BTreeSet::new();
    let allowed = examined.group(|key| {
        let is_granted = examined.granted.edge(key.from.as_deref(), &key.to, key.operation.as_deref()).is_some();
        // Of a caller that the line does not name nobody can say what it is granted, and of a line that lacks what policy asks for
        // nobody can say that nothing grants it. A path that can be read in two ways is granted by nothing.
        let is_told = matches!(key.lawful, Lawful::Recorded | Lawful::Says(_) | Lawful::NotAsked(Lack::Path));
        let is_known = is_told && (key.from.is_some() || key.from_id.is_some());
        (key.effect == Effect::Allow && !is_granted && is_known).then(|| {
            // What can be read in two ways is no undeclared path, and policy was not asked about it.
            let ambiguous = (key.lawful == Lawful::NotAsked(Lack::Path)).then_some(TWO_WAYS);
            let edge = (caller(key), key.to.as_str(), key.operation.as_deref().or(ambiguous));
            if key.revision == *newest || !examined.fold.knows(&key.revision) {
                under_no_other.insert(edge.clone());
            }
            edge
        })
    });
    let shadow = |(edge, tally): ((String, &str, Option<&str>), Tally)| ShadowEdge {
        older_bundle: !under_no_other.contains(&edge),
        from: edge.0,
        to: edge.1.to_owned(),
        operation: edge.2.map(str::to_owned),
        requests: tally.count,
        first: tally.first,
        last: tally.last,
        evidence: tally.evidence.into_vec(),
    };
    allowed.into_iter().map(shadow).collect()
}

/// The same as an analysis.
pub(crate) fn shadow(map: &Map<'_, '_>, window: &str) -> Part<ShadowEdge> {
    let entries = shadow_edges(map.examined);
    Part {
        what: "observed edges that no policy of the newest bundle can allow".to_owned(),
        have: entries.len() as u64,
        of: map.requests.len() as u64,
        rests_on: format!(
            "Allowed records of {window}. Where all of them fall under an older bundle that was given, they may have been lawful then."
        ),
        ..Part::default()
    }
    .listing(entries, ANALYSIS_ENTRIES_MAX)
}

/// Stands for the operation of paths that servers read in two ways.
const TWO_WAYS: &str = "paths that can be read in two ways";

/// Services that took no part in any allowed request.
pub(crate) fn stale_services(map: &Map<'_, '_>) -> Vec<StaleService> {
    let logged = map.examined.logged();
    let active: BTreeSet<&str> = map.requests.keys().flat_map(|(from, to, _)| from.iter().copied().chain([*to])).collect();
    let denied = map.examined.group(|key| (key.effect == Effect::Deny).then_some(key.to.as_str()));
    let idle = map.services.iter().filter(|s| !active.contains(&*s.name));
    let entry = |s: &portreeve_engine::model::Service| StaleService {
        service: s.name.to_string(),
        at: s.at.short(),
        logged: logged.contains(&*s.name),
        denied: denied.get(&*s.name).map_or(0, |t| t.count),
    };
    let mut entries: Vec<StaleService> = idle.map(entry).collect();
    entries.sort_by(|a, b| (!a.logged, &a.service).cmp(&(!b.logged, &b.service)));
    entries
}

/// The same as an analysis.
pub(crate) fn stale(map: &Map<'_, '_>, window: &str) -> Part<StaleService> {
    let entries = stale_services(map);
    Part {
        what: "services that took no part in any allowed request, though their own log was given".to_owned(),
        have: entries.iter().filter(|e| e.logged).count() as u64,
        of: map.services.len() as u64,
        rests_on: format!("Allowed records of {window}, as caller or as called. Of a service whose log was not given nobody can say whether it was called."),
        ..Part::default()
    }
    .listing(entries, ANALYSIS_ENTRIES_MAX)
}

/// The same as an analysis.
pub(crate) fn spike_part(examined: &Examined<'_>, window: &str) -> Part<Spike> {
    let entries = spikes(examined);
    let denied = examined.group(|key| (key.effect == Effect::Deny).then(|| caller(key)));
    Part {
        what: "callers with an hour of many denials against their own history".to_owned(),
        have: entries.iter().filter(|e| e.of == SpikeOf::Caller).count() as u64,
        of: denied.len() as u64,
        rests_on: format!(
            "Denied records of {window}. At least {SPIKE_DENIALS_MIN} denials in an hour, and more than {SPIKE_FACTOR} times the mean of \
             the other hours of the caller. A client that repeats what was denied makes many of one. Operations and services are listed \
             besides, where so many denials are left without those of any single caller."
        ),
        ..Part::default()
    }
    .listing(entries, ANALYSIS_ENTRIES_MAX)
}

/// Callers that tried many things that nobody declared or granted.
pub(crate) fn scanners(examined: &Examined<'_>) -> Vec<Scanner> {
    #[derive(Default)]
    struct Tried<'a> {
        services: BTreeSet<&'a str>,
        operations: BTreeSet<(&'a str, &'a str)>,
        /// By service; a log may hold a million of them, so they are put in order only once.
        paths: BTreeMap<&'a str, Vec<&'a str>>,
        denied: Option<Tally>,
        allowed: u64,
        known: bool,
    }
    let mut callers: BTreeMap<String, Tried<'_>> = BTreeMap::new();
    for (key, tally) in &examined.fold.ledger.decided {
        let tried = callers.entry(caller(key)).or_default();
        tried.known = key.from.is_some();
        if key.effect == Effect::Allow {
            tried.allowed += tally.count;
            continue;
        }
        tried.services.insert(&key.to);
        match (&key.operation, &key.path) {
            (Some(operation), _) => drop(tried.operations.insert((&key.to, operation))),
            (None, Some(path)) => tried.paths.entry(&key.to).or_default().push(path),
            (None, None) => {}
        }
        match &mut tried.denied {
            Some(denied) => denied.absorb(tally),
            none => *none = Some(tally.clone()),
        }
    }
    let scanner = |(from, tried): (String, Tried<'_>)| {
        let (services, operations) = (tried.services.len() as u64, tried.operations.len() as u64);
        let paths = tried.paths.into_values().map(|paths| in_order(paths).len() as u64).sum::<u64>();
        let scans = paths >= SCAN_PATHS_MIN || operations >= SCAN_OPERATIONS_MIN || services >= SCAN_SERVICES_MIN;
        let denied = tried.denied.filter(|_| scans)?;
        Some(Scanner {
            from,
            known: tried.known,
            services,
            operations,
            paths,
            denied: denied.count,
            allowed: tried.allowed,
            first: Some(denied.first),
            last: Some(denied.last),
            evidence: denied.evidence.into_vec(),
        })
    };
    callers.into_iter().filter_map(scanner).collect()
}

/// Each path once, in order.
pub(crate) fn in_order(mut paths: Vec<&str>) -> Vec<&str> {
    paths.sort_unstable();
    paths.dedup();
    paths
}

/// The same as an analysis.
pub(crate) fn scanner_part(examined: &Examined<'_>, window: &str) -> Part<Scanner> {
    let mut entries = scanners(examined);
    entries.sort_by(|a, b| (b.paths + b.operations, &a.from).cmp(&(a.paths + a.operations, &b.from)));
    let callers = examined.group(|key| Some(caller(key)));
    Part {
        what: "callers that tried many things that nobody declared or granted".to_owned(),
        have: entries.len() as u64,
        of: callers.len() as u64,
        rests_on: format!(
            "Denied records of {window}: at least {SCAN_PATHS_MIN} undeclared paths, {SCAN_OPERATIONS_MIN} declared operations or \
             {SCAN_SERVICES_MIN} services. Where there are more distinct facts than are kept apart, paths are no longer told apart."
        ),
        ..Part::default()
    }
    .listing(entries, ANALYSIS_ENTRIES_MAX)
}

/// A caller, a service, and what was weak between them.
type Weak<'a> = (String, &'a str, Option<&'a (String, String)>);

/// Calls without TLS, or with weak TLS.
pub(crate) fn weak_connections(map: &Map<'_, '_>, window: &str) -> Part<WeakConnection> {
    let mut pairs: BTreeMap<(String, &str), u64> = BTreeMap::new();
    let mut weak: BTreeMap<Weak<'_>, WeakConnection> = BTreeMap::new();
    let mut all = 0;
    for (key, tally) in map.examined.fold.ledger.decided.iter().filter(|(key, _)| !key.outbound && (key.tls.is_some() || !key.is_foreign()))
    {
        all += tally.count;
        *pairs.entry((caller(key), &key.to)).or_default() += tally.count;
        if key.tls.as_ref().is_some_and(|(version, suite)| is_strong(version, suite)) {
            continue;
        }
        let entry = weak.entry((caller(key), &key.to, key.tls.as_ref())).or_default();
        entry.requests.have += tally.count;
        entry.allowed += if key.effect == Effect::Allow { tally.count } else { 0 };
        let service = map.examined.newest.service(&key.to);
        entry.sensitive |=
            service.is_some_and(|s| map.touches(s, key.operation.as_deref().and_then(|id| s.operations.iter().find(|o| *o.id == *id))));
    }
    let named = |((from, to, tls), found): (Weak<'_>, WeakConnection)| WeakConnection {
        requests: Ratio { have: found.requests.have, of: pairs.get(&(from.clone(), to)).copied().unwrap_or(0) },
        from,
        to: to.to_owned(),
        version: tls.map(|(version, _)| version.clone()),
        suite: tls.map(|(_, suite)| suite.clone()),
        ..found
    };
    let mut entries: Vec<WeakConnection> = weak.into_iter().map(named).collect();
    entries.sort_by(|a, b| (!a.sensitive, &a.from, &a.to).cmp(&(!b.sensitive, &b.from, &b.to)));
    Part {
        what: "requests from within the mesh that came without TLS 1.2 or 1.3 with authenticated encryption".to_owned(),
        have: entries.iter().map(|e| e.requests.have).sum(),
        of: all,
        rests_on: format!("Records of {window}, as the called service's side wrote them. A record without facts of a connection counts as one without TLS."),
        ..Part::default()
    }
    .listing(entries, ANALYSIS_ENTRIES_MAX)
}
