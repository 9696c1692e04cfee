//! What of the grants was needed: use of each permission, wildcards and narrower grants for them, least privilege by caller.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use portreeve_engine::decision::Effect;
use portreeve_engine::{AllowedEdge, SpiffeId};

use crate::assessment::analyses::{Part, Ratio};
use crate::assessment::usage::{NarrowerGrant, PermissionUse, Privilege, Usage, WildcardUse};
use crate::foreign::Lawful;
use crate::graph::map::{Edge, Map};
use crate::ledger::{Key, Tally};
use crate::limits::ANALYSIS_ENTRIES_MAX;

/// What each grant gives, and what of it traffic took.
pub(crate) struct Needed<'a> {
    granted: BTreeMap<&'a str, Vec<&'a AllowedEdge<'a>>>,
    used: BTreeMap<&'a str, Used<'a>>,
    /// Allowed records of which nobody can say by which grant, by what is known of their edge.
    untold: BTreeMap<(Whose<'a>, &'a str, Option<&'a str>), u64>,
    /// Services of which the log that would show calls to them was given.
    observable: BTreeSet<&'a str>,
}

/// What of one grant was used.
struct Used<'a> {
    tally: Tally,
    /// Edge, and the caller in words.
    edges: BTreeSet<(Edge<'a>, &'a str)>,
    undeclared: u64,
}

/// What a record knows of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Whose<'a> {
    Service(&'a str),
    /// An identity outside the inventory.
    Stranger,
    /// It may be anybody.
    Nobody,
}

impl<'a> Whose<'a> {
    fn of(key: &'a Key) -> Self {
        match (&key.from, &key.from_id) {
            (Some(service), _) => Self::Service(service),
            (None, Some(_)) => Self::Stranger,
            (None, None) => Self::Nobody,
        }
    }

    /// Whether it can be the caller of a grant; `None`: whoever is outside the inventory.
    fn may_be(self, by: Option<&str>) -> bool {
        match self {
            Self::Service(service) => by == Some(service),
            Self::Stranger => by.is_none(),
            Self::Nobody => true,
        }
    }
}

impl<'a> Needed<'a> {
    pub(crate) fn of(map: &Map<'a, 'a>) -> Self {
        let mut granted: BTreeMap<&str, Vec<&AllowedEdge<'_>>> = BTreeMap::new();
        for edge in &map.examined.granted.edges {
            edge.policies.iter().for_each(|p| granted.entry(&*p.id).or_default().push(edge));
        }
        let mut used: BTreeMap<&str, Used<'_>> = BTreeMap::new();
        let mut untold: BTreeMap<(Whose<'_>, &str, Option<&str>), u64> = BTreeMap::new();
        for (key, tally) in map.examined.fold.ledger.decided.iter().filter(|(key, _)| key.effect == Effect::Allow) {
            let edge = (key.from.as_deref(), key.to.as_str(), key.operation.as_deref());
            if matches!(key.lawful, Lawful::NotAsked(_)) {
                *untold.entry((Whose::of(key), edge.1, edge.2)).or_default() += tally.count;
            }
            let caller =
                key.from.as_deref().or(key.from_id.as_ref().map(SpiffeId::as_str)).or(key.from_name.as_deref()).unwrap_or("unknown");
            for id in &key.policies {
                let used = used.entry(id.as_str()).or_insert_with(|| Used {
                    tally: Tally { count: 0, ..tally.clone() },
                    edges: BTreeSet::new(),
                    undeclared: 0,
                });
                used.tally.absorb(tally);
                used.edges.insert((edge, caller));
                used.undeclared += if key.operation.is_none() { tally.count } else { 0 };
            }
        }
        Self { granted, used, untold, observable: observable(map) }
    }

    fn granted(&self, id: &str) -> &[&'a AllowedEdge<'a>] {
        self.granted.get(id).map_or(&[], Vec::as_slice)
    }

    /// Edges granted by a policy, and how many of them were used by it.
    fn edges(&self, id: &str) -> Ratio {
        let granted: BTreeSet<Edge<'_>> = self.granted(id).iter().map(|e| key(e)).collect();
        let used: BTreeSet<Edge<'_>> = self.used.get(id).into_iter().flat_map(|u| u.edges.iter().map(|(e, _)| *e)).collect();
        Ratio { have: granted.intersection(&used).count() as u64, of: granted.len() as u64 }
    }

    /// Every grant and whether it was used.
    pub(crate) fn permissions(&self, map: &Map<'_, 'a>, window: &str) -> Part<PermissionUse> {
        let mut entries = self.permissions_of(map);
        let place = |p: &PermissionUse| (p.usage != Usage::Unused, !p.sensitive);
        entries.sort_by(|a, b| (place(a), &a.policy).cmp(&(place(b), &b.policy)));
        let count = |usage| entries.iter().filter(|e| e.usage == usage).count() as u64;
        let hidden = count(Usage::NotObserved);
        Part {
            what: "grants that no allowed record used, though the logs of all services that they lead to were given".to_owned(),
            have: count(Usage::Unused),
            of: entries.len() as u64,
            rests_on: format!(
                "Records of {window}. A record names the grants that determined it; what runs less often than the window is long may \
                 only have missed it. Of {hidden} further grants nothing is told, because a log of what they lead to is missing, or \
                 lines of it do not say enough to tell whether they were used."
            ),
            ..Part::default()
        }
        .listing(entries, ANALYSIS_ENTRIES_MAX)
    }

    /// The same without what is told about all of them.
    pub(crate) fn permissions_of(&self, map: &Map<'_, 'a>) -> Vec<PermissionUse> {
        map.examined.grants().map(|policy| self.permission(map, policy)).collect()
    }

    fn permission(&self, map: &Map<'_, 'a>, policy: &portreeve_engine::Policy) -> PermissionUse {
        let id = &*policy.reference.id;
        let called: BTreeSet<&str> = self.granted(id).iter().map(|e| &*e.to.name).collect();
        let logged = called.iter().filter(|to| self.observable.contains(*to)).count() as u64;
        let services_logged = Ratio { have: logged, of: called.len() as u64 };
        let used = self.used.get(id);
        let untold = if used.is_some() { 0 } else { self.untold(id) };
        PermissionUse {
            policy: id.to_owned(),
            at: policy.reference.at.short(),
            usage: match used {
                Some(_) => Usage::Used,
                None if map.examined.fold.seen.is_some() && services_logged.have == services_logged.of && untold == 0 => Usage::Unused,
                None => Usage::NotObserved,
            },
            edges: self.edges(id),
            requests: used.map_or(0, |u| u.tally.count),
            first: used.map(|u| u.tally.first),
            last: used.map(|u| u.tally.last),
            services_logged,
            untold,
            wildcard: policy.wildcard,
            sensitive: self.is_sensitive(map, id),
        }
    }

    fn is_sensitive(&self, map: &Map<'_, 'a>, id: &str) -> bool {
        self.granted(id).iter().any(|e| map.touches(e.to, e.operation))
    }

    /// Allowed records to what a policy grants of which nobody can say whether it let them through.
    fn untold(&self, id: &str) -> u64 {
        let granted = self.granted(id);
        let may_be = |(whose, to, operation): &(Whose<'_>, &str, Option<&str>)| {
            granted
                .iter()
                .map(|edge| key(edge))
                .any(|(by, at, of)| at == *to && whose.may_be(by) && operation.is_none_or(|operation| of == Some(operation)))
        };
        self.untold.iter().filter(|(edge, _)| may_be(edge)).map(|(_, count)| count).sum()
    }

    /// Wildcards, and the narrower grants that would have allowed what was used of them.
    pub(crate) fn wildcards(&self, map: &Map<'_, 'a>, window: &str) -> Part<WildcardUse> {
        let mut entries = self.wildcards_of(map);
        entries.sort_by(|a, b| (!a.sensitive, &a.policy).cmp(&(!b.sensitive, &b.policy)));
        Part {
            what: "wildcard grants of which less was used than is granted".to_owned(),
            have: entries.iter().filter(|e| e.edges.have < e.edges.of).count() as u64,
            of: entries.len() as u64,
            rests_on: format!(
                "Records of {window}. The narrower grants allow what was recorded and nothing else; conditions, methods and governance \
                 fields stay as they are. What was not recorded, because it is rare or its log is missing, they would deny: replay \
                 before you merge."
            ),
            ..Part::default()
        }
        .listing(entries, ANALYSIS_ENTRIES_MAX)
    }

    /// The same without what is told about all of them.
    pub(crate) fn wildcards_of(&self, map: &Map<'_, 'a>) -> Vec<WildcardUse> {
        let one = |policy: &portreeve_engine::Policy| {
            let id = &*policy.reference.id;
            let narrower = self.narrower(id);
            WildcardUse {
                policy: id.to_owned(),
                at: policy.reference.at.short(),
                edges: self.edges(id),
                sensitive: self.is_sensitive(map, id),
                proposal: narrower.iter().map(line).collect(),
                narrower,
                undeclared: self.used.get(id).map_or(0, |u| u.undeclared),
            }
        };
        map.examined.grants().filter(|p| p.wildcard).map(one).collect()
    }

    /// What was used of a grant, callers with the same operations of one service together.
    fn narrower(&self, id: &str) -> Vec<NarrowerGrant> {
        let mut by_caller: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
        for ((_, to, operation), caller) in self.used.get(id).into_iter().flat_map(|u| &u.edges) {
            if let Some(operation) = operation {
                by_caller.entry((to, caller)).or_default().insert(operation);
            }
        }
        let mut grants: BTreeMap<(&str, Vec<&str>), Vec<String>> = BTreeMap::new();
        for ((to, caller), operations) in by_caller {
            grants.entry((to, operations.into_iter().collect())).or_default().push(caller.to_owned());
        }
        let owned = |((to, operations), from): ((&str, Vec<&str>), Vec<String>)| NarrowerGrant {
            to: to.to_owned(),
            operations: operations.into_iter().map(str::to_owned).collect(),
            from,
        };
        grants.into_iter().map(owned).collect()
    }

    /// How much of what each service may do it did.
    pub(crate) fn privilege(&self, map: &Map<'_, 'a>, window: &str) -> Part<Privilege> {
        let mut callers: BTreeMap<&str, Privilege> = BTreeMap::new();
        for edge in &map.examined.granted.edges {
            let Some(from) = edge.from else { continue };
            let entry = callers.entry(&from.name).or_insert_with(|| Privilege { service: from.name.to_string(), ..Privilege::default() });
            if !self.observable.contains(&*edge.to.name) {
                entry.not_observed += 1;
                continue;
            }
            let used = u64::from(map.requests.get(&key(edge)).is_some_and(|n| *n > 0));
            entry.edges = Ratio { have: entry.edges.have + used, of: entry.edges.of + 1 };
            if map.touches(edge.to, edge.operation) {
                entry.sensitive = Ratio { have: entry.sensitive.have + used, of: entry.sensitive.of + 1 };
            }
        }
        let mut entries: Vec<Privilege> = callers.into_values().collect();
        let unused = |r: Ratio| Reverse(r.of - r.have);
        entries.sort_by(|a, b| (unused(a.sensitive), unused(a.edges), &a.service).cmp(&(unused(b.sensitive), unused(b.edges), &b.service)));
        Part {
            what: "granted edges that were used, of those whose called service has a log".to_owned(),
            have: entries.iter().map(|e| e.edges.have).sum(),
            of: entries.iter().map(|e| e.edges.of).sum(),
            rests_on: format!(
                "Records of {window}. The score of a caller is the edges (service, operation) that it used, of those that it may use; \
                 every edge counts one, and those into what is sensitive are told beside it."
            ),
            ..Part::default()
        }
        .listing(entries, ANALYSIS_ENTRIES_MAX)
    }
}

fn key<'a>(edge: &AllowedEdge<'a>) -> Edge<'a> {
    (edge.from.map(|s| &*s.name), &edge.to.name, edge.operation.map(|o| &*o.id))
}

/// Services of which some log shows the calls to them: their own or, where they are outside the mesh, that of some caller.
fn observable<'a>(map: &Map<'_, 'a>) -> BTreeSet<&'a str> {
    let logged = map.examined.logged();
    let edges = map.examined.granted.edges.iter();
    let outside = edges.filter(|e| e.to.is_outside() && e.from.is_some_and(|from| logged.contains(&*from.name)));
    let outside: BTreeSet<&str> = outside.map(|e| &*e.to.name).collect();
    logged.into_iter().chain(outside).collect()
}

/// The line of a permission.
fn line(grant: &NarrowerGrant) -> String {
    let from = grant.from.iter().map(|caller| if caller.contains(':') { format!("\"{caller}\"") } else { caller.clone() });
    format!("allow: {{from: [{}], to: {}, operations: [{}]}}", from.collect::<Vec<_>>().join(", "), grant.to, grant.operations.join(", "))
}
