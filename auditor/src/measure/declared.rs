//! Populations that rest on what people declared: scope, records, configuration files, history.
//!
//! Where nothing was declared the population is of nothing, and is never whole.

use std::collections::BTreeSet;

use portreeve_engine::model::Service;

use crate::commits::origins;
use crate::examined::Examined;
use crate::governance::Subject;
use crate::ledger::Key;
use crate::limits::DAY_MS;
use crate::verdict::Measured;

fn count<T>(all: impl IntoIterator<Item = T>, known: impl Fn(&T) -> bool) -> Measured {
    all.into_iter().fold(Measured::ZERO, |m, item| Measured { have: m.have + u64::from(known(&item)), of: m.of + 1 })
}

fn inside<'a>(examined: &Examined<'a>) -> impl Iterator<Item = &'a Service> {
    examined.newest.services().iter().filter(|s| !s.is_outside())
}

/// Revisions that were in force; known are those whose bundle was given.
pub(super) fn revisions(examined: &Examined<'_>) -> Measured {
    let all: BTreeSet<_> = examined.fold.processes.values().flat_map(|p| &p.revisions).collect();
    count(all, |r| examined.fold.knows(r))
}

/// Revisions that were in force; known are those that a commit has.
pub(super) fn changes(examined: &Examined<'_>) -> Measured {
    if examined.commits.is_empty() {
        return Measured::ZERO;
    }
    let known = origins(examined.commits);
    let all: BTreeSet<_> = examined.fold.processes.values().flat_map(|p| &p.revisions).collect();
    count(all, |r| known.contains_key(*r))
}

/// Processes; known are those whose configuration file was given.
pub(super) fn configs(examined: &Examined<'_>) -> Measured {
    let given: BTreeSet<_> = examined.configs.iter().map(|c| c.sha256).collect();
    count(examined.fold.processes.values(), |p| p.config.is_some_and(|c| given.contains(&c)))
}

/// Requests from or to what stands in an open or public network; known are those with their TLS facts.
pub(super) fn public_requests(examined: &Examined<'_>) -> Measured {
    let scope = examined.scope();
    let crosses = |key: &Key| {
        let ends = [key.from.as_deref(), Some(key.to.as_str())].into_iter().flatten();
        ends.filter_map(|name| examined.newest.service(name)).any(|s| scope.is_public(s))
    };
    let entries = examined.fold.ledger.decided.iter().filter(|(key, _)| !key.outbound && crosses(key));
    entries.fold(Measured::ZERO, |m, (key, tally)| Measured {
        have: m.have + if key.tls.is_some() { tally.count } else { 0 },
        of: m.of + tally.count,
    })
}

/// Routes that the scope calls public; known are those that the inventory has.
pub(super) fn public_routes(examined: &Examined<'_>) -> Measured {
    count(&examined.scope().public, |route| {
        let (name, operation) = route.split_once('/').map_or((route.as_str(), None), |(name, operation)| (name, Some(operation)));
        let service = examined.newest.service(name);
        service.is_some_and(|s| operation.is_none_or(|id| s.operations.iter().any(|o| *o.id == *id)))
    })
}

/// Grants; known are those that somebody approved whom the scope entitles to.
pub(super) fn approved_grants(examined: &Examined<'_>) -> Measured {
    let approvers = &examined.scope().approvers;
    count(examined.grants(), |p| p.governance.approved_by.iter().any(|who| approvers.contains(who)))
}

/// Services; known are those in some environment.
pub(super) fn environments(examined: &Examined<'_>) -> Measured {
    count(inside(examined), |s| examined.scope().environment(s).is_some())
}

/// Services; known are those of one tenant or of the provider. Without two tenants there is nothing to keep apart.
pub(super) fn tenants(examined: &Examined<'_>) -> Measured {
    let scope = examined.scope();
    if scope.tenants.len() < 2 {
        return Measured::ZERO;
    }
    count(inside(examined), |s| scope.tenant(s).is_some() || scope.provider.contains(s))
}

/// Services of tenants; known are those with a log.
pub(super) fn tenant_services(examined: &Examined<'_>) -> Measured {
    let logged = examined.logged();
    count(inside(examined).filter(|s| examined.scope().tenant(s).is_some()), |s| logged.contains(&*s.name))
}

/// Services; known are those in a class of the scope.
pub(super) fn classified_services(examined: &Examined<'_>) -> Measured {
    count(inside(examined), |s| examined.scope().class(s).is_some())
}

/// Certificates seen; known are those that a record answers for.
pub(super) fn listed_certificates(examined: &Examined<'_>) -> Measured {
    let listed = &examined.governance.certificates;
    count(examined.fold.ledger.certificates.keys(), |(id, sha256)| listed.iter().any(|c| c.lists(id, sha256)))
}

/// The days of the logs but the last, which is not over; known are those whose audit run was looked at in time. One day alone is a day.
pub(super) fn audit_days(examined: &Examined<'_>) -> Measured {
    let Some((from, to)) = examined.fold.seen else { return Measured::ZERO };
    let reviewed: BTreeSet<i64> = examined.governance.runs.iter().filter(|r| r.is_in_time()).map(|r| r.of.days()).collect();
    let last = to.date().days().max(from.date().days() + 1);
    count(from.date().days()..last, |day| reviewed.contains(day))
}

/// Services; known are those that a review of the subject covers which still counts, and is of the newest revision where that matters.
pub(super) fn reviewed(examined: &Examined<'_>, of: Subject) -> Measured {
    let counts = examined.counted_review(of);
    count(inside(examined), |s| counts.is_some_and(|r| r.covers.is_empty() || r.covers.contains(&*s.name)))
}

/// The days of a year; known are those on which an enforcer of each service wrote something, for the service with the fewest.
pub(super) fn history(examined: &Examined<'_>, days_of_year: i64) -> Measured {
    let of = days_of_year.unsigned_abs();
    let Some(now) = examined.now else { return Measured { have: 0, of } };
    let begin = now.date().days() - days_of_year + 1;
    let days_of = |service: &Service| {
        let mut days: BTreeSet<i64> = BTreeSet::new();
        for (chain, process) in &examined.fold.processes {
            let (Some(own), Some((from, to))) = (examined.service_of(*chain), process.seen) else { continue };
            if own.name == service.name {
                days.extend((from.unix_ms().div_euclid(DAY_MS)).max(begin)..=to.unix_ms().div_euclid(DAY_MS));
            }
        }
        days.len() as u64
    };
    Measured { have: inside(examined).map(days_of).min().unwrap_or(0).min(of), of }
}
