//! Kinds of caller: two identities are of one kind if they belong to the same services and every policy of both bundles that
//! names identities or patterns covers both or neither.
//!
//! Strangers are among them. Each kind is kept as one identity of it.

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::HashMap;

use crate::algebra::diagram::TooLarge;
use crate::algebra::law::{Law, Who};
use crate::algebra::words::{Symbol, kinds};
use crate::authorizer::Authorizer;
use crate::id::{IdPattern, SpiffeId};
use crate::model::Service;

type FixedState = foldhash::fast::FixedState;

/// One kind of caller.
#[derive(Clone, Debug)]
pub(crate) struct Principal {
    /// An identity of this kind.
    pub(crate) id: SpiffeId,
    /// The service it belongs to, under the old and the new bundle.
    pub(crate) services: [Option<usize>; 2],
    /// Whether the identity is named somewhere; otherwise it stands for all that its patterns, or none, cover.
    pub(crate) named: bool,
    /// Whether a pattern of some policy covers it.
    pub(crate) covered: bool,
}

/// What tells kinds apart: the service in each bundle, the identity where a policy names it, and the patterns that policies
/// name.
type Marks = ([Option<usize>; 2], Option<SpiffeId>, Vec<u32>);

/// All kinds of caller under two bundles.
#[derive(Debug)]
pub(crate) struct Principals {
    pub(crate) kinds: Vec<Principal>,
    numbers: BTreeMap<Marks, u32>,
    marker: Marker,
    members: [HashMap<Who, Vec<u32>, FixedState>; 2],
}

#[derive(Debug)]
struct Marker {
    identities: BTreeSet<SpiffeId>,
    patterns: Vec<IdPattern>,
}

impl Marker {
    fn marks(&self, authorizers: [&Authorizer; 2], id: &SpiffeId) -> Marks {
        let services = authorizers.map(|a| a.inventory.identify(id));
        let patterns = self.patterns.iter().enumerate().filter(|(_, p)| p.matches(id)).filter_map(|(n, _)| u32::try_from(n).ok());
        (services, self.identities.get(id).cloned(), patterns.collect())
    }
}

impl Principals {
    pub(crate) fn new(laws: [&Law<'_>; 2]) -> Result<Self, TooLarge> {
        let whos = || laws.into_iter().flat_map(|law| &law.clauses).flat_map(|clause| &clause.who);
        let identities = whos().filter_map(|w| if let Who::Identity(id) = w { Some(id.clone()) } else { None }).collect();
        let patterns: BTreeSet<IdPattern> = whos().filter_map(|w| if let Who::Pattern(p) = w { Some(p.clone()) } else { None }).collect();
        let marker = Marker { identities, patterns: patterns.into_iter().collect() };
        let mut out = Self { kinds: Vec::new(), numbers: BTreeMap::new(), marker, members: Default::default() };
        for (id, named) in identities_of_each_kind(laws, &out.marker)? {
            let marks = out.marker.marks(laws.map(|law| law.authorizer), &id);
            let Ok(next) = u32::try_from(out.kinds.len()) else { return Err(TooLarge) };
            if let std::collections::btree_map::Entry::Vacant(free) = out.numbers.entry(marks) {
                let covered = !free.key().2.is_empty();
                out.kinds.push(Principal { id, services: free.key().0, named, covered });
                free.insert(next);
            }
        }
        out.members = [0, 1].map(|side| out.index(laws, side));
        Ok(out)
    }

    /// For each caller that policies can name, the kinds it covers under one bundle. Who is for all is left out.
    fn index(&self, laws: [&Law<'_>; 2], side: usize) -> HashMap<Who, Vec<u32>, FixedState> {
        let mut out: HashMap<Who, Vec<u32>, FixedState> = HashMap::default();
        let Some(law) = laws.get(side) else { return out };
        for (number, kind) in (0_u32..).zip(&self.kinds) {
            if let Some(service) = law.service(kind.services.get(side).copied().flatten()) {
                out.entry(Who::Service(service.name.clone())).or_default().push(number);
                for group in &service.groups {
                    out.entry(Who::Group(group.clone())).or_default().push(number);
                }
            }
            if self.marker.identities.contains(&kind.id) {
                out.entry(Who::Identity(kind.id.clone())).or_default().push(number);
            }
            for pattern in self.marker.patterns.iter().filter(|p| p.matches(&kind.id)) {
                out.entry(Who::Pattern(pattern.clone())).or_default().push(number);
            }
        }
        out
    }

    /// The kinds that a caller named by a policy covers under one bundle; `None` for those that cover all, or all with a
    /// service.
    pub(crate) fn members(&self, side: usize, who: &Who) -> Option<&[u32]> {
        if matches!(who, Who::Anyone | Who::Authenticated) {
            return None;
        }
        Some(self.members.get(side).and_then(|m| m.get(who)).map(Vec::as_slice).unwrap_or_default())
    }

    pub(crate) fn kind(&self, number: u32) -> Option<&Principal> {
        self.kinds.get(number as usize)
    }

    /// The kind of an identity.
    pub(crate) fn number(&self, authorizers: [&Authorizer; 2], id: &SpiffeId) -> Option<u32> {
        self.numbers.get(&self.marker.marks(authorizers, id)).copied()
    }
}

/// One identity of each kind, perhaps several; those that are named come first.
fn identities_of_each_kind(laws: [&Law<'_>; 2], marker: &Marker) -> Result<Vec<(SpiffeId, bool)>, TooLarge> {
    let services = || laws.into_iter().flat_map(Law::services);
    let named: BTreeSet<&SpiffeId> = services().flat_map(|s: &Service| &s.identities).chain(&marker.identities).collect();
    let patterns: BTreeSet<&IdPattern> = services().flat_map(|s| &s.patterns).chain(&marker.patterns).collect();
    let mut out: Vec<(SpiffeId, bool)> = named.iter().map(|id| ((*id).clone(), true)).collect();
    let domains: BTreeSet<&str> = patterns.iter().map(|p| p.trust_domain()).collect();
    for domain in &domains {
        let here = named.iter().filter(|id| id.trust_domain() == *domain).map(|id| {
            let path = id.path();
            path.strip_prefix('/').unwrap_or(path).split('/').map(Symbol::Literal).collect::<Vec<_>>()
        });
        let wide = patterns.iter().filter(|p| p.trust_domain() == *domain).map(|p| {
            let segments = p.segments().map(|s| s.map_or(Symbol::Any, Symbol::Literal));
            segments.chain(p.is_open().then_some(Symbol::Rest)).collect::<Vec<_>>()
        });
        let words: Vec<Vec<Symbol<'_>>> = here.chain(wide).collect();
        let paths = kinds(&words, false)?.into_values();
        out.extend(paths.filter_map(|path| format!("spiffe://{domain}/{}", path.join("/")).parse().ok()).map(|id| (id, false)));
    }
    let taken = |domain: &String| domains.contains(domain.as_str()) || named.iter().any(|id| id.trust_domain() == domain);
    let elsewhere = (0_u32..).map(|n| if n == 0 { "stranger.example".to_owned() } else { format!("stranger{n}.example") });
    out.extend(elsewhere.into_iter().find(|d| !taken(d)).and_then(|d| format!("spiffe://{d}/x").parse().ok()).map(|id| (id, false)));
    Ok(out)
}
