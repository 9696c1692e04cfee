//! Proofs: every invariant of a bundle, over all requests. A broken one comes with the request or the path that breaks it.

use std::collections::{BTreeMap, VecDeque};

use crate::authorizer::Authorizer;
use crate::diagnostic::Diagnostic;
use crate::model::{Claim, Endpoint, Invariant, Selector, Service};
use crate::reach::Edge;

/// Proves every invariant and reports those that do not hold.
pub(crate) fn prove(authorizer: &Authorizer, problems: &mut Vec<Diagnostic>) {
    if authorizer.invariants.is_empty() {
        return;
    }
    let edges = authorizer.edges();
    for invariant in &authorizer.invariants {
        let proof = Proof { authorizer, edges: &edges };
        let counterexample = match &invariant.claim {
            Claim::NeverCalls { from, to } => proof.call(from, to),
            Claim::NeverReaches { from, to, except_through } => proof.path(from, to, except_through),
            Claim::AlwaysCalls { from, to } => proof.refusal(from, to),
        };
        if let Some(counterexample) = counterexample {
            problems.push(broken(invariant, &counterexample));
        }
    }
}

fn broken(invariant: &Invariant, counterexample: &Counterexample) -> Diagnostic {
    Diagnostic::error("invariant-broken", format!("`{}` does not hold: {}", invariant.name, counterexample.what))
        .at(invariant.at.clone())
        .help(counterexample.way.clone())
}

struct Counterexample {
    what: String,
    way: String,
}

struct Proof<'a> {
    authorizer: &'a Authorizer,
    edges: &'a [Edge],
}

impl Proof<'_> {
    fn services(&self) -> &[Service] {
        self.authorizer.inventory.services()
    }

    fn name(&self, service: usize) -> &str {
        self.services().get(service).map(|s| &*s.name).unwrap_or_default()
    }

    fn is_from(&self, selector: &Selector, from: Option<usize>) -> bool {
        from.and_then(|f| self.services().get(f)).is_some_and(|s| selector.covers_service(s))
    }

    fn is_target(&self, selector: &Selector, edge: &Edge) -> bool {
        self.services().get(edge.to).is_some_and(|s| selector.covers_operation(s, edge.operation))
    }

    /// A call that is allowed and must not be.
    fn call(&self, from: &Selector, to: &Selector) -> Option<Counterexample> {
        let edge = self.edges.iter().find(|e| self.is_from(from, e.from) && self.is_target(to, e))?;
        Some(Counterexample {
            what: format!("{} can be allowed", self.request(edge)),
            way: format!("it is granted by {}", self.grants(edge)),
        })
    }

    /// The shortest chain of calls that is allowed and must not be.
    fn path(&self, from: &Selector, to: &Selector, except: &[Box<str>]) -> Option<Counterexample> {
        let excepted = |service: usize| except.iter().any(|e| **e == *self.name(service));
        let starts = (0..self.services().len()).filter(|s| self.is_from(from, Some(*s)) && !excepted(*s));
        let mut by_caller: BTreeMap<usize, Vec<&Edge>> = BTreeMap::new();
        for edge in self.edges {
            if let Some(caller) = edge.from.filter(|_| !excepted(edge.to)) {
                by_caller.entry(caller).or_default().push(edge);
            }
        }
        let mut came: BTreeMap<usize, Option<&Edge>> = starts.map(|s| (s, None)).collect();
        let mut open: VecDeque<usize> = came.keys().copied().collect();
        while let Some(service) = open.pop_front() {
            for edge in by_caller.get(&service).into_iter().flatten() {
                if self.is_target(to, edge) {
                    return Some(self.chain(&came, edge));
                }
                if let std::collections::btree_map::Entry::Vacant(place) = came.entry(edge.to) {
                    place.insert(Some(edge));
                    open.push_back(edge.to);
                }
            }
        }
        None
    }

    fn chain<'e>(&self, came: &BTreeMap<usize, Option<&'e Edge>>, last: &'e Edge) -> Counterexample {
        let mut edges = vec![last];
        while let Some(Some(edge)) = edges.last().and_then(|e| e.from).and_then(|from| came.get(&from)) {
            edges.push(edge);
        }
        edges.reverse();
        let first = edges.first().and_then(|e| e.from).map(|f| self.name(f)).unwrap_or_default();
        let names = edges.iter().fold(first.to_owned(), |path, e| format!("{path} → {}", self.name(e.to)));
        let steps: Vec<String> = edges.iter().map(|e| format!("{} by {}", self.request(e), self.grants(e))).collect();
        Counterexample { what: format!("{names} is possible"), way: steps.join("; ") }
    }

    /// A call that can be denied and must not be.
    fn refusal(&self, from: &Selector, to: &Selector) -> Option<Counterexample> {
        let callers = (0..self.services().len()).filter(|s| self.is_from(from, Some(*s)));
        for caller in callers {
            for (callee, service) in self.services().iter().enumerate().filter(|(callee, _)| *callee != caller) {
                for operation in (0..service.operations.len()).filter(|o| to.covers_operation(service, Some(*o))) {
                    for method in self.authorizer.methods_of(callee, Some(operation)) {
                        if !self.authorizer.always_allows(caller, callee, operation, method) {
                            let edge = Edge {
                                from: Some(caller),
                                to: callee,
                                operation: Some(operation),
                                conditional: true,
                                grants: Vec::new(),
                                method,
                            };
                            let what = format!("{} can be denied", self.request(&edge));
                            return Some(Counterexample {
                                what,
                                way: "it needs an unconditional grant, and no prohibition and no policy that can fail beside it".to_owned(),
                            });
                        }
                    }
                }
            }
        }
        None
    }

    /// A request that takes the edge: `GET items/v1/items/x from invoices`.
    fn request(&self, edge: &Edge) -> String {
        let caller = edge.from.map_or("a stranger", |f| self.name(f));
        let callee = self.name(edge.to);
        let method = || self.authorizer.methods.method(edge.method).map_or_else(|| "GET".to_owned(), ToString::to_string);
        let operation = edge.operation.and_then(|o| self.services().get(edge.to)?.operations.get(o));
        match operation.map(|o| &o.endpoint) {
            Some(Endpoint::Http { methods, path }) => {
                let named = self.authorizer.methods.method(edge.method).filter(|m| methods.contains(m)).or(methods.first());
                format!("`{} {callee}{}` from `{caller}`", named.map(|m| m.as_str()).unwrap_or_default(), path.example())
            }
            Some(Endpoint::Connect { port }) => format!("`connect {callee}:{port}` from `{caller}`"),
            None => format!("`{} {callee}/undeclared` from `{caller}`", method()),
        }
    }

    fn grants(&self, edge: &Edge) -> String {
        let names = edge.grants.iter().filter_map(|p| self.authorizer.policies.get(*p as usize));
        let names: Vec<String> = names.map(|p| format!("`{}` ({})", p.reference.id, p.reference.at.short())).collect();
        names.join(", ")
    }
}

impl Selector {
    /// Whether the selector takes this service, its operations left aside.
    pub(crate) fn covers_service(&self, service: &Service) -> bool {
        let touches = || {
            service.data.iter().chain(service.operations.iter().flat_map(|o| &o.data)).any(|d| self.data.iter().any(|want| **want == **d))
        };
        self.covers_place(service) && (self.data.is_empty() || touches())
    }

    /// Whether the selector takes this operation of the service (`None`: its undeclared paths).
    pub(crate) fn covers_operation(&self, service: &Service, operation: Option<usize>) -> bool {
        let operation = operation.and_then(|o| service.operations.get(o));
        let touches = |class: &String| self.data.iter().any(|want| **want == **class);
        let data = self.data.is_empty() || service.data.iter().chain(operation.iter().flat_map(|o| &o.data)).any(touches);
        let listed = self.operations.is_empty() || operation.is_some_and(|o| self.operations.contains(&o.id));
        self.covers_place(service) && data && listed
    }

    fn covers_place(&self, service: &Service) -> bool {
        let named = self.services.is_empty() || self.services.iter().any(|n| *n == service.name || service.groups.contains(n));
        let zoned = self.zones.is_empty() || service.zone.as_deref().is_some_and(|z| self.zones.iter().any(|want| **want == *z));
        named && zoned
    }
}
