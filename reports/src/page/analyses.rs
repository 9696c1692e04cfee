//! The analyses as the page shows them: three groups of tables and the inventory of certificates.

use portreeve_auditor::assessment::analyses::Ratio;
use portreeve_auditor::assessment::graphs::{DeadKind, DifferenceClass, GraphEdge, Hop, ReachEvidence};
use portreeve_auditor::assessment::usage::{DueStanding, IdentityConcernKind, Usage};
use portreeve_auditor::assessment::{Analyses, Assessment};

use super::findings::Sieve;
use super::tables::{Cell, Pick, Table};
use super::{Anchors, Link};
use crate::text;

const OUTSIDE: &str = "identities outside the inventory";

/// Tables under one heading.
pub(super) struct Group<'a> {
    pub(super) title: &'static str,
    pub(super) tables: Vec<Table<'a>>,
}

/// The analyses, the one about certificates left out.
pub(super) fn groups<'a>(a: &'a Assessment, anchors: &Anchors<'a>, sieve: &Sieve<'a>) -> Vec<Group<'a>> {
    let all = &a.analyses;
    let by = |table: Table<'a>, checks: &[&str]| found_by(table, checks, sieve);
    let ways = vec![
        by(reach(all, anchors), &["sensitive_data_exposed", "sensitive_data_reachable"]),
        by(choke_points(all, anchors), &[]),
        by(cuts(all, anchors), &[]),
        by(protection(all, anchors), &[]),
        by(blast(all, anchors), &[]),
    ];
    let grants = vec![
        differences(all, anchors),
        by(unused(all), &["unused_permission"]),
        by(wildcards(all), &["wildcard_grant"]),
        by(privilege(all, anchors), &[]),
        by(shadow(all), &["shadow_edge"]),
        by(dead(all), &["dead_declaration"]),
        by(stale(all, anchors), &["stale_service"]),
    ];
    let standing_out = vec![
        by(spikes(all, anchors), &["denied_spike"]),
        by(scanners(all, anchors), &["scanning_caller"]),
        by(weak(all, anchors), &["weak_tls", "weak_public_tls", "weak_tls_to_administration"]),
        by(
            identities(all),
            &[
                "unknown_identity_seen",
                "unknown_identity_allowed",
                "trust_domain_drift",
                "certificate_shared_by_identities",
                "address_shared_by_identities",
            ],
        ),
        by(separation(all), &["environment_crossing", "tenant_crossing", "preproduction_edge"]),
        by(reviews(all), &["stale_policy", "expired_exception"]),
    ];
    vec![
        Group { title: "Ways to what is sensitive", tables: ways },
        Group { title: "What is granted, and what was used of it", tables: grants },
        Group { title: "What stands out", tables: standing_out },
    ]
}

fn found_by<'a>(mut table: Table<'a>, checks: &[&str], sieve: &Sieve<'a>) -> Table<'a> {
    let pick = |check: &&str| sieve.picks.get_key_value(*check).map(|(check, token)| Pick { check, token: token.clone() });
    table.checks = checks.iter().filter_map(pick).collect();
    table
}

fn reach<'a>(all: &'a Analyses, anchors: &Anchors<'a>) -> Table<'a> {
    Table::of("Who reaches a class of data or a zone", "analyses.reach", &all.reach, |r| {
        let target = [Cell::name(&r.target), Cell::Words(r.kind.clone())].into_iter().chain(r.sensitive.then(|| loud("sensitive")));
        let from = [Cell::caller(r.from.as_deref(), anchors)].into_iter().chain(r.untrusted.then(|| loud("untrusted")));
        let known = match r.evidence {
            ReachEvidence::SteppingStone => "grants allow each step",
            ReachEvidence::EachStepSeen => "each step was recorded",
            ReachEvidence::DataPath => "recorded under one trace",
        };
        vec![
            Cell::Lines(from.collect()),
            Cell::Lines(target.collect()),
            Cell::Lines(vec![Cell::Chain(chain(&r.chain, anchors)), conditional(&r.chain)]),
            Cell::Count(r.steps),
            Cell::Words(known.to_owned()),
            Cell::Count(r.traces),
        ]
    })
    .headed(&["From", "Reaches", "By the chain", "#Steps", "What is known of it", "#Traces"])
}

fn conditional<'a>(hops: &[Hop]) -> Cell<'a> {
    Cell::None(if hops.iter().any(|h| h.conditional) { "some step on a condition" } else { "" })
}

fn chain<'a>(hops: &'a [Hop], anchors: &Anchors<'a>) -> Vec<Link<'a>> {
    let start = hops.first().map(|h| caller(h.from.as_deref(), anchors));
    start.into_iter().chain(hops.iter().map(|h| anchors.service(&h.to))).collect()
}

fn caller<'a>(name: Option<&'a str>, anchors: &Anchors<'a>) -> Link<'a> {
    name.map_or(Link { label: OUTSIDE, anchor: None }, |name| anchors.service(name))
}

fn loud<'a>(words: &str) -> Cell<'a> {
    Cell::Loud(words.to_owned())
}

fn choke_points<'a>(all: &'a Analyses, anchors: &Anchors<'a>) -> Table<'a> {
    Table::of("Choke points", "analyses.choke_points", &all.choke_points, |c| {
        let passes = if c.dominators.is_empty() { loud("no service on all of them") } else { Cell::services(&c.dominators, anchors) };
        vec![Cell::service(&c.target, anchors), passes, Cell::services(&c.exposed_to, anchors), Cell::Count(c.steps)]
    })
    .headed(&["Sensitive service", "Every chain passes", "Called directly from outside by", "#Steps"])
}

fn cuts<'a>(all: &'a Analyses, anchors: &Anchors<'a>) -> Table<'a> {
    Table::of("Fewest places to part it from outside", "analyses.cuts", &all.cuts, |c| {
        let target = c.target.as_deref().map_or(Cell::None("all of them at once"), |t| Cell::service(t, anchors));
        let guard = c.services.as_deref().map_or(loud("none stands between"), |s| Cell::services(s, anchors));
        let pairs = c.pairs.iter().take(crate::limits::CELL_NAMES_MAX);
        let pairs = pairs.map(|p| Cell::Chain(vec![caller(p.from.as_deref(), anchors), anchors.service(&p.to)]));
        let left = c.pairs.len().saturating_sub(crate::limits::CELL_NAMES_MAX);
        let more = (left > 0).then(|| Cell::Words(format!("and {left} more pairs")));
        vec![target, guard, Cell::Lines(pairs.chain(more).collect()), Cell::all(&c.policies)]
    })
    .headed(&["Sensitive service", "Services to guard", "Pairs to part", "Grants behind them"])
}

fn protection<'a>(all: &'a Analyses, anchors: &Anchors<'a>) -> Table<'a> {
    Table::of("Grants without which something is out of reach", "analyses.protection", &all.protection, |p| {
        let parted = Cell::Of(Ratio { have: p.pairs, of: p.of });
        vec![policy(&p.policy, &p.at), parted, Cell::services(&p.services, anchors), Cell::Count(p.requests)]
    })
    .headed(&["Grant", "#Pairs parted", "No longer reached", "#Requests on it"])
}

fn policy<'a>(name: &'a str, at: &'a str) -> Cell<'a> {
    Cell::Lines(vec![Cell::name(name), Cell::name(at)])
}

fn blast<'a>(all: &'a Analyses, anchors: &Anchors<'a>) -> Table<'a> {
    Table::of("Within reach of a service that was taken over", "analyses.blast", &all.blast, |b| {
        let sensitive = b.sensitive.iter().map(|s| anchors.service(&s.service));
        let steps = b.by_step.iter().enumerate().map(|(n, count)| format!("{}: {}", n + 1, text::thousands(*count)));
        let service =
            [Cell::service(&b.service, anchors)].into_iter().chain(b.holds_sensitive.then_some(Cell::None("holds sensitive data")));
        vec![
            Cell::Lines(service.collect()),
            Cell::Of(Ratio { have: b.reachable, of: b.of }),
            Cell::Words(steps.collect::<Vec<_>>().join(", ")),
            Cell::links(sensitive),
            Cell::Count(b.called),
            Cell::Count(b.requests),
        ]
    })
    .headed(&["Service", "#Services within reach", "By steps", "Sensitive ones", "#Called", "#Requests it made"])
}

fn differences<'a>(all: &'a Analyses, anchors: &Anchors<'a>) -> Table<'a> {
    let example = |e: &'a GraphEdge| {
        let operation = Link { label: e.operation.as_deref().unwrap_or("undeclared paths"), anchor: None };
        Cell::Chain(vec![caller(e.from.as_deref(), anchors), anchors.service(&e.to), operation])
    };
    let mut table = Table::plain("Declared, allowed, observed", "analyses.graphs", &all.graphs.differences, |d| {
        let class = match d.class {
            DifferenceClass::Used => "granted and used",
            DifferenceClass::Unused => "granted, never used",
            DifferenceClass::Prohibited => "granted, and a prohibition takes it away",
            DifferenceClass::ObservedProhibited => "observed, though a prohibition takes it away",
            DifferenceClass::Shadow => "observed, and no grant names it",
        };
        vec![Cell::Words(class.to_owned()), Cell::Count(d.edges), Cell::Lines(d.examples.iter().map(example).collect())]
    });
    table.rests_on = &all.graphs.rests_on;
    table.headed(&["Edges", "#How many", "The first"])
}

fn unused(all: &Analyses) -> Table<'_> {
    let part = &all.permissions;
    let mut table =
        Table::plain("Grants never used", "analyses.permissions", part.entries.iter().filter(|p| p.usage != Usage::Used), |p| {
            let usage = match p.usage {
                Usage::Unused => "never used",
                _ if p.services_logged.have < p.services_logged.of => "not to be told: a log is missing",
                _ => "not to be told: lines do not say enough",
            };
            let marks = [(p.wildcard, "wildcard"), (p.sensitive, "sensitive")].into_iter().filter(|(is_so, _)| *is_so);
            vec![
                policy(&p.policy, &p.at),
                Cell::Words(usage.to_owned()),
                Cell::Of(p.edges),
                Cell::Of(p.services_logged),
                Cell::Words(marks.map(|(_, word)| word).collect::<Vec<_>>().join(", ")),
            ]
        });
    (table.count, table.what, table.rests_on) = (Some(Ratio { have: part.have, of: part.of }), &part.what, &part.rests_on);
    table.left += part.omitted;
    table.headed(&["Grant", "Usage", "#Edges used", "#Services with a log", "Leads to"])
}

fn wildcards(all: &Analyses) -> Table<'_> {
    Table::of("Wildcards, and what would have done", "analyses.wildcards", &all.wildcards, |w| {
        vec![
            policy(&w.policy, &w.at),
            Cell::Of(w.edges),
            Cell::yes(w.sensitive, "yes"),
            Cell::Count(w.undeclared),
            Cell::Lines(w.proposal.iter().map(|line| Cell::name(line)).collect()),
        ]
    })
    .headed(&["Grant", "#Edges used", "Sensitive", "#On undeclared paths", "The narrower grant"])
}

fn privilege<'a>(all: &'a Analyses, anchors: &Anchors<'a>) -> Table<'a> {
    Table::of("How much of what it may do a service did", "analyses.privilege", &all.privilege, |p| {
        vec![Cell::service(&p.service, anchors), Cell::Of(p.edges), Cell::Of(p.sensitive), Cell::Count(p.not_observed)]
    })
    .headed(&["Caller", "#Used of granted", "#Of these, sensitive", "#Not to be told"])
}

fn shadow(all: &Analyses) -> Table<'_> {
    Table::of("Allowed, and granted by no policy", "analyses.shadow", &all.shadow, |s| {
        vec![
            Cell::name(&s.from),
            Cell::name(&s.to),
            s.operation.as_deref().map_or(Cell::None("undeclared paths"), Cell::name),
            Cell::Count(s.requests),
            Cell::Lines(vec![Cell::When(s.first), Cell::When(s.last)]),
            Cell::Words(if s.older_bundle { "all under an older bundle" } else { "" }.to_owned()),
        ]
    })
    .headed(&["Caller", "Service", "Operation", "#Requests", "Seen", "When the policy was another"])
}

fn dead(all: &Analyses) -> Table<'_> {
    Table::of("Declared, and of no use", "analyses.dead", &all.dead, |d| {
        let kind = match d.kind {
            DeadKind::Operation => "operation to which no grant leads",
            DeadKind::ProhibitedGrant => "grant that is prohibited in every case",
            DeadKind::EmptyGrant => "grant that meets nothing of the inventory",
        };
        vec![policy(&d.subject, &d.at), Cell::Words(kind.to_owned()), Cell::Count(d.denied), Cell::Count(d.allowed)]
    })
    .headed(&["What", "Why", "#Denied requests", "#Allowed requests"])
}

fn stale<'a>(all: &'a Analyses, anchors: &Anchors<'a>) -> Table<'a> {
    Table::of("Services without traffic", "analyses.stale", &all.stale, |s| {
        let logged = if s.logged { Cell::Words("yes".to_owned()) } else { loud("no") };
        vec![Cell::service(&s.service, anchors), Cell::name(&s.at), logged, Cell::Count(s.denied)]
    })
    .headed(&["Service", "Declared at", "Log given", "#Denied requests"])
}

fn spikes<'a>(all: &'a Analyses, anchors: &Anchors<'a>) -> Table<'a> {
    Table::of("Hours of many denials", "analyses.spikes", &all.spikes, |s| {
        vec![
            Cell::service(&s.from, anchors),
            Cell::Words(s.of.as_str().to_owned()),
            Cell::When(s.hour),
            Cell::Count(s.denied),
            Cell::Count(s.mean_of_others),
            Cell::Count(s.other_hours),
        ]
    })
    .headed(&["Of", "Kind", "Hour", "#Denied", "#Mean of other hours", "#Other hours"])
}

fn scanners<'a>(all: &'a Analyses, anchors: &Anchors<'a>) -> Table<'a> {
    Table::of("Callers that tried many things", "analyses.scanners", &all.scanners, |s| {
        vec![
            Cell::service(&s.from, anchors),
            if s.known { Cell::Words("yes".to_owned()) } else { loud("no") },
            Cell::Count(s.services),
            Cell::Count(s.operations),
            Cell::Count(s.paths),
            Cell::Count(s.denied),
            Cell::Count(s.allowed),
            Cell::Lines(vec![Cell::when(s.first), Cell::when(s.last)]),
        ]
    })
    .headed(&["Caller", "In the inventory", "#Services", "#Operations", "#Undeclared paths", "#Denied", "#Allowed", "Seen"])
}

fn weak<'a>(all: &'a Analyses, anchors: &Anchors<'a>) -> Table<'a> {
    Table::of("Without TLS, or with weak TLS", "analyses.weak_connections", &all.weak_connections, |w| {
        let version = w.version.as_deref().map_or(loud("without TLS"), Cell::name);
        vec![
            Cell::service(&w.from, anchors),
            Cell::service(&w.to, anchors),
            Cell::Lines([version].into_iter().chain(w.suite.as_deref().map(Cell::name)).collect()),
            Cell::Of(w.requests),
            Cell::Count(w.allowed),
            Cell::yes(w.sensitive, "yes"),
        ]
    })
    .headed(&["Caller", "Service", "TLS", "#Requests", "#Allowed", "Sensitive"])
}

fn identities(all: &Analyses) -> Table<'_> {
    Table::of("Identities that do not fit", "analyses.identities", &all.identities, |i| {
        let kind = match i.kind {
            IdentityConcernKind::Unknown => "no service has it",
            IdentityConcernKind::TrustDomain => "foreign trust domain",
            IdentityConcernKind::TrustDomainDrift => "the same but for its trust domain",
            IdentityConcernKind::SharedCertificate => "one certificate, several identities",
            IdentityConcernKind::SharedAddress => "one address, several identities",
        };
        vec![
            Cell::name(&i.subject),
            Cell::Lines(vec![Cell::Words(kind.to_owned()), Cell::text(&i.what)]),
            Cell::all(&i.others),
            Cell::Count(i.requests),
            Cell::Count(i.allowed),
        ]
    })
    .headed(&["Identity, certificate or address", "What does not fit", "Others concerned", "#Requests", "#Allowed"])
}

fn separation(all: &Analyses) -> Table<'_> {
    Table::of("Between environments and tenants", "analyses.separation", &all.separation, |c| {
        vec![
            Cell::Words(c.kind.clone()),
            Cell::names([c.from.as_str()]),
            Cell::names([c.to.as_str()]),
            Cell::Count(c.granted),
            Cell::Count(c.allowed),
            Cell::Count(c.denied),
            Cell::Lines(c.examples.iter().map(|e| Cell::text(e)).collect()),
        ]
    })
    .headed(&["Kind", "From", "To", "#Edges granted", "#Allowed", "#Denied", "The first"])
}

fn reviews(all: &Analyses) -> Table<'_> {
    Table::of("Dates of reviews and exceptions", "analyses.reviews", &all.reviews, |r| {
        let standing = match r.standing {
            DueStanding::Overdue => loud("past"),
            DueStanding::Soon => Cell::Words("within a month".to_owned()),
            DueStanding::Ahead => Cell::Words("later".to_owned()),
            DueStanding::Unset => Cell::None("no day is set"),
        };
        vec![
            Cell::Lines(vec![Cell::name(&r.subject), Cell::name(&r.at)]),
            Cell::Words(r.kind.clone()),
            r.owner.as_deref().map_or(Cell::None("nobody named"), Cell::text),
            r.due.map_or(Cell::None("–"), Cell::Day),
            standing,
        ]
    })
    .headed(&["What", "Kind", "Who answers for it", "Due", "Standing"])
}

/// The certificates by identity.
pub(super) fn certificates<'a>(a: &'a Assessment, anchors: &Anchors<'a>, sieve: &Sieve<'a>) -> Table<'a> {
    let table = Table::of("Client certificates by identity", "analyses.certificates", &a.analyses.certificates, |c| {
        let id = [Cell::name(c.id.as_str())].into_iter().chain(c.service.as_deref().map(|s| Cell::service(s, anchors)));
        let end = [Cell::When(c.not_after)].into_iter().chain(c.expired.then(|| loud("ended")));
        let spread = |s: portreeve_auditor::assessment::usage::Spread| {
            Cell::Words(format!("{} – {}, mostly {}", text::span(s.min), text::span(s.max), text::span(s.median)))
        };
        vec![
            Cell::Lines(id.chain(c.latest.map(Cell::Digest)).collect()),
            Cell::Count(c.certificates),
            Cell::Lines(end.collect()),
            c.renewed_after_ms.map_or(Cell::None("no successor seen"), spread),
            Cell::Lines(vec![Cell::When(c.first), Cell::When(c.last)]),
            Cell::Lines(vec![Cell::all(&c.handshakes), Cell::all(&c.algorithms), Cell::all(&c.issuers)]),
            Cell::Lines(vec![Cell::services(&c.seen_by, anchors), Cell::all(&c.addresses)]),
            Cell::Count(c.requests),
        ]
    })
    .headed(&[
        "Identity",
        "#Certificates",
        "Latest ends",
        "Renewed after",
        "Seen",
        "Handshakes, keys, issuers",
        "By and from",
        "#Requests",
    ]);
    found_by(table, &["expired_certificate_used", "long_lived_certificate", "certificate_near_expiry"], sieve)
}
