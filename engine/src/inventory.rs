//! Who exists and what they offer, with the look-ups that a decision needs: identity → service, method and path → operation.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use hashbrown::HashMap;

use crate::diagnostic::Diagnostic;
use crate::id::{IdPattern, PatternIndex, SpiffeId};
use crate::model::{AttributeType, Endpoint, Group, Operation, Service};
use crate::outside::Outside;
use crate::path::PathRef;
use crate::request::{METHODS, Method, TargetRef};
use crate::router::{Root, Router, Templates};

type FixedState = foldhash::fast::FixedState;

/// The services and groups of a bundle.
pub(crate) struct Inventory {
    services: Vec<Service>,
    groups: Vec<Group>,
    by_name: HashMap<Box<str>, usize, FixedState>,
    groups_by_name: HashMap<Box<str>, usize, FixedState>,
    by_id: HashMap<SpiffeId, usize, FixedState>,
    patterns: PatternIndex<usize>,
    outside: Outside,
    routes: Vec<Routes>,
    router: Router,
}

/// The operations of one service, by what reaches them.
struct Routes {
    /// By the place of the method among [`METHODS`].
    known: [Root; METHODS.len()],
    other: Vec<(Method, Root)>,
    ports: BTreeMap<u16, usize>,
    /// Whether a path of any of them has a sensitive segment.
    sensitive: bool,
}

impl fmt::Debug for Inventory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inventory").field("services", &self.services.len()).field("groups", &self.groups.len()).finish_non_exhaustive()
    }
}

impl Inventory {
    /// Indexes the inventory and reports what is ambiguous in it.
    pub(crate) fn build(mut services: Vec<Service>, groups: Vec<Group>, problems: &mut Vec<Diagnostic>) -> Self {
        services.sort_by(|a, b| a.name.cmp(&b.name));
        services.dedup_by(|b, a| a.name == b.name);
        let by_name = services.iter().enumerate().map(|(n, s)| (s.name.clone(), n)).collect();
        let groups_by_name = groups.iter().enumerate().rev().map(|(n, g)| (g.name.clone(), n)).collect();
        let (by_id, listed) = identities(&services, problems);
        let mut patterns = PatternIndex::default();
        for (pattern, service) in &listed {
            patterns.insert(pattern, *service);
        }
        let outside = Outside::build(&services, problems);
        let mut router = Router::default();
        let routes = services.iter().map(|s| Routes::build(s, &mut router, problems)).collect();
        one_type_each(&services, problems);
        Self { services, groups, by_name, groups_by_name, by_id, patterns, outside, routes, router }
    }

    pub(crate) fn services(&self) -> &[Service] {
        &self.services
    }

    pub(crate) fn groups(&self) -> &[Group] {
        &self.groups
    }

    pub(crate) fn group(&self, name: &str) -> Option<&Group> {
        self.groups.get(*self.groups_by_name.get(name)?)
    }

    pub(crate) fn service(&self, name: &str) -> Option<&Service> {
        self.services.get(self.index(name)?)
    }

    /// The position of a service among [`Inventory::services`].
    pub(crate) fn index(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// The position of the service that has this identity.
    pub(crate) fn identify(&self, id: &SpiffeId) -> Option<usize> {
        self.by_id.get(id).copied().or_else(|| {
            // An identity belongs to one service: patterns of two cannot both cover it in a valid bundle.
            let mut found: Option<usize> = None;
            self.patterns.covering(id, &mut |service| found = Some(found.map_or(service, |first| first.min(service))));
            found
        })
    }

    /// Which names stand for which service outside the mesh.
    pub(crate) const fn outside(&self) -> &Outside {
        &self.outside
    }

    /// The position of the declared operation among those of its service.
    pub(crate) fn route(&self, service: usize, target: TargetRef<'_>) -> Option<usize> {
        let routes = self.routes.get(service)?;
        match target {
            TargetRef::Connect { port } => routes.ports.get(&port).copied(),
            TargetRef::Http { method, path } => self.router.find(routes.root(method), path),
        }
    }

    /// The path of a target as it may be recorded. The operation is looked for only where one could have something to hide.
    pub(crate) fn shown_of<'p>(&self, service: usize, target: TargetRef<'_>, path: PathRef<'p>) -> Cow<'p, str> {
        let hides = self.routes.get(service).is_none_or(|routes| routes.sensitive);
        let operation = if hides { self.route(service, target) } else { None };
        self.shown(service, operation, path)
    }

    /// The path as it may be recorded and shown to policies: sensitive segments stand as their `{name}`.
    pub(crate) fn shown<'p>(&self, service: usize, operation: Option<usize>, path: PathRef<'p>) -> Cow<'p, str> {
        let declared = self.services.get(service).and_then(|s| s.operations.get(operation?));
        match declared.map(|o| &o.endpoint) {
            Some(Endpoint::Http { path: template, .. }) if template.has_sensitive() => Cow::Owned(template.redact(path)),
            _ => Cow::Borrowed(path.as_str()),
        }
    }
}

impl Routes {
    fn build(service: &Service, router: &mut Router, problems: &mut Vec<Diagnostic>) -> Self {
        let mut out = Self { known: [Root::NOWHERE; METHODS.len()], other: Vec::new(), ports: BTreeMap::new(), sensitive: false };
        let has_sensitive = |endpoint: &Endpoint| matches!(endpoint, Endpoint::Http { path, .. } if path.has_sensitive());
        out.sensitive = service.operations.iter().any(|operation| has_sensitive(&operation.endpoint));
        let mut gathered: Vec<(&Method, Templates)> = Vec::new();
        let mut ids: BTreeMap<&str, &Operation> = BTreeMap::new();
        for (index, operation) in service.operations.iter().enumerate() {
            if let Some(first) = ids.insert(&operation.id, operation) {
                problems.push(
                    Diagnostic::error("duplicate-name", format!("`{}` already has an operation `{}`", service.name, operation.id))
                        .at(operation.at.clone())
                        .help(format!("the first one is at {}", first.at.short())),
                );
            }
            match &operation.endpoint {
                Endpoint::Connect { port } => {
                    if let Some(first) = out.ports.insert(*port, index) {
                        problems.push(overlap(service, operation, first, &format!("port {port}")));
                    }
                }
                Endpoint::Http { methods, path } => {
                    for method in methods {
                        // Of two operations of equal rank neither comes first.
                        let entered = templates_of(&mut gathered, method).map(|templates| templates.insert(path, index));
                        if let Some(Err(first)) = entered {
                            problems.push(overlap(service, operation, first, &format!("{method} {path}")));
                        }
                    }
                }
            }
        }
        for (method, templates) in gathered {
            let root = router.add(templates);
            match method.known().and_then(|known| out.known.get_mut(usize::from(known))) {
                Some(place) => *place = root,
                None => out.other.push((method.clone(), root)),
            }
        }
        out
    }

    fn root(&self, method: &Method) -> Root {
        let found = match method.known() {
            Some(known) => self.known.get(usize::from(known)),
            None => self.other.iter().find(|(m, _)| m == method).map(|(_, root)| root),
        };
        found.copied().unwrap_or(Root::NOWHERE)
    }
}

/// The templates of a method among those gathered so far.
fn templates_of<'m, 's>(gathered: &'m mut Vec<(&'s Method, Templates)>, method: &'s Method) -> Option<&'m mut Templates> {
    if !gathered.iter().any(|(m, _)| *m == method) {
        gathered.push((method, Templates::new()));
    }
    gathered.iter_mut().find(|(m, _)| *m == method).map(|(_, templates)| templates)
}

fn overlap(service: &Service, operation: &Operation, first: usize, what: &str) -> Diagnostic {
    let first = service.operations.get(first).unwrap_or(operation);
    Diagnostic::error("overlapping-operations", format!("`{what}` already belongs to operation `{}` of `{}`", first.id, service.name))
        .at(operation.at.clone())
        .help(format!("the other one is at {}; a request must reach exactly one operation", first.at.short()))
}

type Identities = (HashMap<SpiffeId, usize, FixedState>, Vec<(IdPattern, usize)>);

fn identities(services: &[Service], problems: &mut Vec<Diagnostic>) -> Identities {
    let mut by_id: HashMap<SpiffeId, usize, FixedState> = HashMap::default();
    let mut patterns: Vec<(IdPattern, usize)> = Vec::new();
    let shared = |what: &str, a: &Service, b: &Service| {
        Diagnostic::error("shared-identity", format!("`{what}` belongs to `{}` already; an identity belongs to one service", b.name))
            .at(a.at.clone())
            .help(format!("`{}` is at {}; leave it out of one of the two", b.name, b.at.short()))
    };
    for (index, service) in services.iter().enumerate() {
        for pattern in &service.patterns {
            let other = patterns.iter().find(|(p, n)| *n != index && p.overlaps(pattern)).and_then(|(_, n)| services.get(*n));
            if let Some(other) = other {
                problems.push(shared(pattern.as_str(), service, other));
            }
            patterns.push((pattern.clone(), index));
        }
    }
    for (index, service) in services.iter().enumerate() {
        for id in &service.identities {
            let twice = by_id.insert(id.clone(), index);
            let covered = patterns.iter().find(|(p, n)| *n != index && p.matches(id)).map(|(_, n)| *n);
            if let Some(other) = twice.or(covered).and_then(|n| services.get(n)) {
                problems.push(shared(id.as_str(), service, other));
            }
        }
    }
    (by_id, patterns)
}

/// One name means one type everywhere: the generated Cedar schema has one context for all services.
fn one_type_each(services: &[Service], problems: &mut Vec<Diagnostic>) {
    let mut seen: BTreeMap<(&str, &str), (AttributeType, &Service)> = BTreeMap::new();
    for service in services {
        let visible = &service.visible;
        let all = [("header", &visible.headers), ("query parameter", &visible.query), ("claim", &visible.claims)];
        for (what, name, kind) in all.into_iter().flat_map(|(what, map)| map.iter().map(move |(n, k)| (what, &**n, *k))) {
            match seen.get(&(what, name)) {
                Some((other, first)) if *other != kind => problems.push(
                    Diagnostic::error(
                        "type-conflict",
                        format!("the {what} `{name}` is a {} here and a {} in `{}`", kind.as_str(), other.as_str(), first.name),
                    )
                    .at(service.at.clone())
                    .help("give it one type in the whole bundle"),
                ),
                Some(_) => {}
                None => drop(seen.insert((what, name), (kind, service))),
            }
        }
    }
}
