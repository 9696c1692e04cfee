//! Services as the nodes of a [`Net`], by the grants of the newest bundle; and what traffic showed on each grant.
//!
//! A service that touches sensitive data stands there twice: as one that calls others, and as the sensitive part of it, which is
//! entered by the grants that touch such data and left by none. So a way to the sensitive part is a way to the data, and a service
//! of which only one operation is sensitive is not taken for all of it.

use std::collections::{BTreeMap, BTreeSet};

use portreeve_engine::AllowedEdge;
use portreeve_engine::decision::Effect;
use portreeve_engine::model::{Operation, Service};

use crate::assessment::graphs::Hop;
use crate::examined::Examined;
use crate::graph::net::Net;

/// A caller, a service, an operation, as the ledger names them.
pub(crate) type Edge<'a> = (Option<&'a str>, &'a str, Option<&'a str>);

/// The allowed graph with what was observed on it.
pub(crate) struct Map<'e, 'a> {
    pub(crate) examined: &'e Examined<'a>,
    pub(crate) services: &'a [Service],
    pub(crate) net: Net,
    /// Allowed requests by edge.
    pub(crate) requests: BTreeMap<Edge<'a>, u64>,
    by_name: BTreeMap<&'a str, usize>,
    /// The grants of each edge of the net, as indexes into the allowed edges.
    grants: BTreeMap<(usize, usize), Vec<usize>>,
    sensitive_zones: BTreeSet<&'a str>,
}

impl<'e, 'a> Map<'e, 'a> {
    pub(crate) fn of(examined: &'e Examined<'a>) -> Self {
        let services = examined.newest.services();
        let zones = examined.newest.zones().iter().filter(|z| z.sensitive == Some(true));
        let requests =
            examined.group(|key| (key.effect == Effect::Allow).then_some((key.from.as_deref(), key.to.as_str(), key.operation.as_deref())));
        let mut map = Self {
            examined,
            services,
            net: Net::new(services.len() * 2 + 3),
            requests: requests.into_iter().map(|(edge, tally)| (edge, tally.count)).collect(),
            by_name: services.iter().enumerate().map(|(n, s)| (&*s.name, n)).collect(),
            grants: BTreeMap::new(),
            sensitive_zones: zones.map(|z| &*z.name).collect(),
        };
        map.draw();
        map
    }

    fn draw(&mut self) {
        for (index, edge) in self.examined.granted.edges.iter().enumerate() {
            for ends in self.ends(edge) {
                self.net.add(ends.0, ends.1);
                self.grants.entry(ends).or_default().push(index);
            }
        }
        let untrusted = self.services.iter().enumerate().filter(|(_, s)| self.examined.scope().is_untrusted(s)).map(|(n, _)| n);
        for node in untrusted.chain([self.strangers()]).collect::<Vec<_>>() {
            self.net.add(self.outside(), node);
        }
        for service in self.sensitive() {
            self.net.add(self.part(service), self.all());
        }
    }

    /// The edges of the net that a grant makes; a service that calls itself makes none.
    fn ends(&self, edge: &AllowedEdge<'a>) -> Vec<(usize, usize)> {
        let from = edge.from.map_or(Some(self.strangers()), |s| self.index(&s.name));
        let (Some(from), Some(to)) = (from, self.index(&edge.to.name)) else { return Vec::new() };
        if from == to {
            return Vec::new();
        }
        let to_part = self.touches(edge.to, edge.operation).then(|| (from, self.part(to)));
        std::iter::once((from, to)).chain(to_part).collect()
    }

    /// The node of identities outside the inventory.
    pub(crate) const fn strangers(&self) -> usize {
        self.services.len() * 2
    }

    /// The node before all services of the untrusted zone, and before strangers.
    pub(crate) const fn outside(&self) -> usize {
        self.services.len() * 2 + 1
    }

    /// The node after all that is sensitive.
    pub(crate) const fn all(&self) -> usize {
        self.services.len() * 2 + 2
    }

    /// The node of the sensitive part of a service.
    pub(crate) const fn part(&self, service: usize) -> usize {
        self.services.len() + service
    }

    /// The service that a node is, or is the sensitive part of.
    pub(crate) fn service_at(&self, node: usize) -> Option<&'a Service> {
        let n = self.services.len();
        self.services.get(if node < n { node } else { node - n }).filter(|_| node < n * 2)
    }

    /// The name of a caller's node; `None`: strangers.
    pub(crate) fn name(&self, node: usize) -> Option<String> {
        self.service_at(node).map(|s| s.name.to_string())
    }

    pub(crate) fn index(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// The services that touch what is sensitive, by position.
    pub(crate) fn sensitive(&self) -> Vec<usize> {
        self.services.iter().enumerate().filter(|(_, s)| self.is_sensitive(s)).map(|(n, _)| n).collect()
    }

    /// Whether a service touches what is sensitive, whole or in one of its operations.
    pub(crate) fn is_sensitive(&self, service: &Service) -> bool {
        self.examined.scope().is_sensitive(service) || self.is_in_sensitive_zone(service)
    }

    /// Whether an operation of a service (or its undeclared paths) touches what is sensitive.
    pub(crate) fn touches(&self, service: &Service, operation: Option<&Operation>) -> bool {
        self.examined.scope().touches(service, operation) || self.is_in_sensitive_zone(service)
    }

    pub(crate) fn is_in_sensitive_zone(&self, service: &Service) -> bool {
        service.zone.as_deref().is_some_and(|zone| self.sensitive_zones.contains(zone))
    }

    /// The nodes that stand for what is not trusted: services of the untrusted zone and, where anything is granted to them, strangers.
    pub(crate) fn untrusted(&self) -> Vec<usize> {
        self.net.next(self.outside()).filter(|node| self.service_at(*node).is_some() || self.net.next(*node).next().is_some()).collect()
    }

    /// The grants behind an edge of the net.
    pub(crate) fn grants(&self, from: usize, to: usize) -> impl Iterator<Item = &'e AllowedEdge<'a>> + '_ {
        let edges = &self.examined.granted.edges;
        self.grants.get(&(from, to)).into_iter().flatten().filter_map(|index| edges.get(*index))
    }

    /// Each edge of the net that grants make, with the ids of the policies behind it.
    pub(crate) fn granted_edges(&self) -> impl Iterator<Item = ((usize, usize), BTreeSet<&'a str>)> + '_ {
        self.grants.keys().map(|ends| {
            let ids = self.grants(ends.0, ends.1).flat_map(|edge| edge.policies.iter().map(|p| &*p.id)).collect();
            (*ends, ids)
        })
    }

    /// The ids of the grants behind an edge of the net.
    pub(crate) fn policies(&self, from: usize, to: usize) -> Vec<String> {
        let ids: BTreeSet<&str> = self.grants(from, to).flat_map(|edge| edge.policies.iter().map(|p| &*p.id)).collect();
        ids.into_iter().map(str::to_owned).collect()
    }

    /// One step of a chain, by the grants that `wanted` takes.
    pub(crate) fn hop(&self, from: usize, to: usize, wanted: impl Fn(&AllowedEdge<'a>) -> bool) -> Hop {
        let grants: Vec<_> = self.grants(from, to).filter(|edge| wanted(edge)).collect();
        let operation = |edge: &&AllowedEdge<'a>| edge.operation.map_or("undeclared paths", |o| &*o.id).to_owned();
        let policies: BTreeSet<&str> = grants.iter().flat_map(|edge| edge.policies.iter().map(|p| &*p.id)).collect();
        Hop {
            from: self.name(from),
            to: self.name(to).unwrap_or_default(),
            operations: grants.iter().map(operation).collect(),
            policies: policies.into_iter().map(str::to_owned).collect(),
            conditional: grants.iter().all(|edge| edge.conditional),
            requests: grants.iter().map(|edge| self.requests_of(edge)).sum(),
        }
    }

    fn requests_of(&self, edge: &AllowedEdge<'a>) -> u64 {
        let key = (edge.from.map(|s| &*s.name), &*edge.to.name, edge.operation.map(|o| &*o.id));
        self.requests.get(&key).copied().unwrap_or(0)
    }
}
