//! Who may ever call what: read off the table, never by trying requests.
//!
//! The answer errs on the side of *possible*: a grant on conditions counts, a prohibition counts only where it is
//! unconditional and covers every identity of the caller.

use std::collections::{BTreeMap, BTreeSet};

use crate::authorizer::{AllowedEdge, Authorizer, Body, Policy};
use crate::decision::{Effect, PolicyRef};
use crate::footprint::{Footprint, Reads};
use crate::model::{Endpoint, Service};
use crate::request::{Request, TargetRef};
use crate::table::{Atoms, CallerAtom, MethodBit, TargetAtom};

/// A caller (`None`: identities outside the inventory), a service, and an operation of it (`None`: undeclared paths).
#[derive(Clone, Debug)]
pub(crate) struct Edge {
    pub(crate) from: Option<usize>,
    pub(crate) to: usize,
    pub(crate) operation: Option<usize>,
    pub(crate) conditional: bool,
    /// The grants, by position.
    pub(crate) grants: Vec<u32>,
}

/// Whether what is prohibited counts as granted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Prohibitions {
    Heeded,
    Ignored,
}

/// The atoms of a caller, apart: those of every identity, and those that only some identities have.
struct Callers {
    every: Atoms,
    any: Atoms,
}

impl Authorizer {
    /// Who may ever call what, from the table (never by sampling requests).
    #[must_use]
    pub fn allowed(&self) -> Vec<AllowedEdge<'_>> {
        self.named(self.edges())
    }

    /// What grants name, whatever prohibitions take away again. Every edge of [`Authorizer::allowed`] is among these.
    #[must_use]
    pub fn declared(&self) -> Vec<AllowedEdge<'_>> {
        self.named(self.every_edge(Prohibitions::Ignored))
    }

    fn named(&self, edges: Vec<Edge>) -> Vec<AllowedEdge<'_>> {
        let services = self.inventory.services();
        let named = edges.into_iter().filter_map(|edge| {
            let to = services.get(edge.to)?;
            let policies = edge.grants.iter().filter_map(|p| self.policies.get(*p as usize)).map(|p| &p.reference).collect();
            let operation = edge.operation.and_then(|o| to.operations.get(o));
            Some(AllowedEdge { from: edge.from.and_then(|f| services.get(f)), to, operation, conditional: edge.conditional, policies })
        });
        named.collect()
    }

    /// Every edge that some request could take.
    pub(crate) fn edges(&self) -> Vec<Edge> {
        self.every_edge(Prohibitions::Heeded)
    }

    fn every_edge(&self, prohibitions: Prohibitions) -> Vec<Edge> {
        let granted = self.table.granted_targets();
        let callers = std::iter::once(None).chain((0..self.inventory.services().len()).map(Some));
        callers.flat_map(|from| self.edges_from(from, &granted, prohibitions)).collect()
    }

    fn edges_from(&self, from: Option<usize>, granted: &BTreeMap<u32, Vec<&TargetAtom>>, prohibitions: Prohibitions) -> Vec<Edge> {
        let callers = self.callers_of(from);
        let atoms = callers.any.iter().filter_map(|atom| granted.get(atom)).flatten();
        let candidates: BTreeSet<(usize, Option<usize>)> = atoms.flat_map(|atom| self.operations_of(atom)).collect();
        candidates.into_iter().filter_map(|(to, operation)| self.edge(from, &callers, to, operation, prohibitions)).collect()
    }

    fn callers_of(&self, from: Option<usize>) -> Callers {
        let every = self.table.service_atoms(from).clone();
        let service = from.and_then(|f| self.inventory.services().get(f));
        let belongs = |atom: &CallerAtom| match (atom, service) {
            (CallerAtom::Identity(id), _) => self.inventory.identify(id) == from,
            (CallerAtom::Pattern(pattern), Some(service)) => {
                service.identities.iter().any(|id| pattern.matches(id)) || service.patterns.iter().any(|p| p.overlaps(pattern))
            }
            // A stranger can meet a pattern unless all its identities belong to services.
            (CallerAtom::Pattern(pattern), None) => !self.inventory.services().iter().any(|s| s.patterns.iter().any(|p| p.covers(pattern))),
            _ => false,
        };
        let any = every.iter().copied().chain(self.table.identity_atoms(belongs)).collect();
        Callers { every, any }
    }

    pub(crate) fn operations_of(&self, atom: &TargetAtom) -> Vec<(usize, Option<usize>)> {
        let services = self.inventory.services();
        let all = |index: usize, service: &Service, declared: bool| {
            let each = (0..service.operations.len()).map(move |o| (index, Some(o)));
            each.chain((!declared).then_some((index, None)))
        };
        match atom {
            TargetAtom::Anything => services.iter().enumerate().flat_map(|(n, s)| all(n, s, false)).collect(),
            TargetAtom::Service { service, declared } => {
                services.get(*service).into_iter().flat_map(|s| all(*service, s, *declared)).collect()
            }
            TargetAtom::Group { group, declared } => {
                services.iter().enumerate().filter(|(_, s)| s.groups.contains(group)).flat_map(|(n, s)| all(n, s, *declared)).collect()
            }
            TargetAtom::Operation { service, operation } => vec![(*service, Some(*operation))],
            TargetAtom::Undeclared { service } => vec![(*service, None)],
        }
    }

    fn edge(
        &self,
        from: Option<usize>,
        callers: &Callers,
        to: usize,
        operation: Option<usize>,
        prohibitions: Prohibitions,
    ) -> Option<Edge> {
        let targets = self.table.targets(to, operation);
        let mut grants: BTreeSet<u32> = BTreeSet::new();
        let mut conditional = true;
        for method in self.methods_of(to, operation) {
            let prohibits = || self.table.entries(&callers.every, targets, method).any(|e| e.effect == Effect::Deny && !e.conditional);
            if prohibitions == Prohibitions::Heeded && prohibits() {
                continue;
            }
            for entry in self.table.entries(&callers.any, targets, method).filter(|e| e.effect == Effect::Allow) {
                grants.insert(entry.policy);
                conditional &= entry.conditional;
            }
        }
        (!grants.is_empty()).then(|| Edge { from, to, operation, conditional, grants: grants.into_iter().collect() })
    }

    /// The methods with which an operation can be reached.
    pub(crate) fn methods_of(&self, service: usize, operation: Option<usize>) -> Vec<MethodBit> {
        let declared = self.inventory.services().get(service).and_then(|s| s.operations.get(operation?));
        match declared.map(|o| &o.endpoint) {
            None => self.methods.bits().collect(),
            Some(Endpoint::Connect { port }) => vec![self.methods.bit(TargetRef::Connect { port: *port })],
            Some(Endpoint::Http { methods, .. }) => methods.iter().map(|m| self.methods.bit_of(m)).collect(),
        }
    }

    /// Whether every request of callers with these atoms, with this method, is allowed whatever its context.
    pub(crate) fn always_allows(&self, callers: &[u32], to: usize, operation: Option<usize>, method: MethodBit) -> bool {
        let mut granted = false;
        for entry in self.table.entries(callers, self.table.targets(to, operation), method) {
            match (entry.effect, entry.conditional) {
                (Effect::Deny, _) => return false,
                _ if self.can_err(entry.policy) => return false,
                (Effect::Allow, conditional) => granted |= !conditional,
            }
        }
        granted
    }

    /// The grants for callers with these atoms and this method.
    pub(crate) fn grants_of(&self, callers: &[u32], to: usize, operation: Option<usize>, method: MethodBit) -> Vec<&Policy> {
        let entries = self.table.entries(callers, self.table.targets(to, operation), method).filter(|e| e.effect == Effect::Allow);
        let positions: BTreeSet<u32> = entries.map(|e| e.policy).collect();
        positions.into_iter().filter_map(|p| self.policies.get(p as usize)).collect()
    }

    /// The policies whose scope covers a request, by position.
    pub(crate) fn concerning(&self, request: &Request) -> BTreeSet<u32> {
        let Some(service) = self.inventory.index(&request.service) else { return BTreeSet::new() };
        let target = request.target.borrowed();
        let callers = self.table.callers(self.inventory.identify(&request.principal), &request.principal);
        let targets = self.table.targets(service, self.inventory.route(service, target));
        self.table.entries(&callers, targets, self.methods.bit(target)).map(|entry| entry.policy).collect()
    }

    /// The headers, query parameters and claims that a policy can read; the other parts of [`Reads`] are told only as far as its
    /// language needs them. `None` where there is no bound that can be told, or no such policy.
    #[must_use]
    pub fn attributes_read(&self, policy: &PolicyRef) -> Option<Reads> {
        let position = self.policies.binary_search_by(|p| p.reference.id.cmp(&policy.id)).ok()?;
        self.attributes_read_by(self.bodies.get(position)?)
    }

    pub(crate) fn attributes_read_by(&self, body: &Body) -> Option<Reads> {
        let bounded = |footprint: &Footprint| match footprint {
            Footprint::Bounded(reads) => Some(reads.clone()),
            Footprint::Unbounded(_) => None,
        };
        match body {
            Body::Always => Some(Reads::default()),
            Body::Native(index) => self.permissions.get(*index).map(|p| Reads::attributes_of(&p.when)),
            Body::Cedar(index) => self.cedar.get(*index).and_then(|c| bounded(&c.footprint)),
            Body::Rego(index) => self.rego.rules().get(*index).and_then(|r| bounded(&r.footprint)),
        }
    }

    /// Whether the answer of a policy may depend on the time.
    pub(crate) fn policy_reads_time(&self, policy: u32) -> bool {
        match self.bodies.get(policy as usize) {
            Some(Body::Always) | None => false,
            Some(Body::Native(index)) => self.permissions.get(*index).is_some_and(|p| p.when.reads_time()),
            Some(Body::Cedar(index)) => self.cedar.get(*index).is_some_and(|c| c.footprint.reads_time()),
            Some(Body::Rego(index)) => self.rego.rules().get(*index).is_some_and(|r| r.reads_time),
        }
    }
}
