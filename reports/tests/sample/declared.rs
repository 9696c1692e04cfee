//! The market's governance and analyses, and the same with an attacker's text in each string.

use portreeve_auditor::assessment::analyses::{Part, Ratio, Window};
use portreeve_auditor::assessment::graphs::{
    BlastRadius, ChokePoint, Cut, CutPair, DeadDeclaration, Difference, DifferenceClass, GraphEdge, Hop, Protection, Reach, ReachEvidence,
    SensitiveWithin, ThreeGraphs,
};
use portreeve_auditor::assessment::usage::{
    Crossing, DueStanding, IdentityCertificates, IdentityConcern, PermissionUse, Privilege, ReviewDate, Scanner, ShadowEdge, Spike,
    SpikeOf, Spread, StaleService, Usage, WeakConnection, WildcardUse,
};
use portreeve_auditor::assessment::{
    Analyses, Assessment, AttestationSummary, CommitSummary, ConfigSummary, EnvironmentSummary, ExceptionSummary, FileSummary,
    GovernanceSummary, NetworkSummary, NotApplicableSummary, ReviewSummary, ScopeSummary, ServiceClass, Setting, Waiver,
};
use portreeve_engine::Digest;

use super::{SERVICES, at, id};

fn part<T>(what: &str, have: u64, of: u64, entries: Vec<T>) -> Part<T> {
    Part { what: what.into(), have, of, rests_on: "The newest bundle and 31 days of records.".into(), entries, omitted: 0 }
}

fn list(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| (*n).into()).collect()
}

/// The exception that covers the finding about old TLS.
pub fn waiver() -> Waiver {
    Waiver {
        exception: "EX-7".into(),
        reason: "The till's firmware cannot be replaced before January.".into(),
        approved_by: list(&["ciso"]),
        until: "2027-01-31".parse().unwrap(),
    }
}

/// What the market's people declared.
pub fn governance() -> GovernanceSummary {
    let revision = Digest::of(b"policies/marketplace");
    GovernanceSummary {
        files: vec![FileSummary { path: "governance/scope.yaml".into(), sha256: revision }],
        scope: Some(scope()),
        reviews: vec![ReviewSummary {
            name: "autumn".into(),
            of: "permissions".into(),
            on: "2026-10-01".parse().unwrap(),
            by: list(&["team-platform", "security"]),
            revision: Some(revision),
            of_newest: Some(false),
            acknowledged_by: list(&["security"]),
            acknowledged: false,
            covers: list(&["vault"]),
            overdue: true,
            days_after: 0,
            too_late: false,
            result: "Two grants were taken back.".into(),
            at: "governance/reviews.yaml:3".into(),
        }],
        attestations: vec![AttestationSummary {
            name: "ciphers".into(),
            statement: "The list of ciphers was looked at.".into(),
            by: list(&["ciso"]),
            on: "2026-10-01".parse().unwrap(),
            controls: list(&["pci-dss-4.0.1 12.3.3"]),
            overdue: false,
            at: "governance/reviews.yaml:14".into(),
        }],
        exceptions: ["EX-2", "EX-7"].map(|name| exception(name, name == "EX-2")).into(),
        audit_runs: 31,
        alerts: 4,
        incidents: 1,
        dispositions: 2,
        configs: vec![ConfigSummary {
            path: "config/items.yaml".into(),
            sha256: revision,
            service: Some("items".into()),
            ran: Vec::new(),
            settings: vec![Setting { name: "tls.min_version".into(), value: "1.2".into(), at: Some("config/items.yaml:9".into()) }],
        }],
        history: vec![CommitSummary {
            commit: "4f1d2c9".into(),
            author: "Ada <ada@market.example>".into(),
            at: at("2026-10-20T10:00:00.000Z"),
            approved_by: Vec::new(),
            revision: Some(revision),
            in_force: true,
        }],
    }
}

fn scope() -> ScopeSummary {
    let class = |(name, zone, ..): &(&str, &str, &str, &[&str])| ServiceClass {
        service: (*name).into(),
        class: (*zone == "cde").then(|| "cde".into()),
    };
    ScopeSummary {
        name: "market".into(),
        classes: SERVICES.iter().map(class).collect(),
        sensitive_data: list(&["pan"]),
        untrusted_zones: list(&["edge"]),
        environments: vec![EnvironmentSummary { name: "production".into(), production: true }],
        tenants: list(&["north"]),
        networks: vec![NetworkSummary { name: "internet".into(), open_public: true }],
        third_parties: list(&["card-network"]),
        service_provider: true,
        not_applicable: vec![NotApplicableSummary {
            control: "pci-dss-4.0.1 12.5.3".into(),
            reason: "No change of the organisation.".into(),
            approved_by: list(&["ciso"]),
            at: "governance/scope.yaml:30".into(),
        }],
    }
}

fn exception(name: &str, expired: bool) -> ExceptionSummary {
    ExceptionSummary {
        name: name.into(),
        of: "pci-dss-4.0.1 12.3.3".into(),
        reason: waiver().reason,
        approved_by: waiver().approved_by,
        until: if expired { "2026-06-30" } else { "2027-01-31" }.into(),
        expired,
        findings: list(&["old_tls-77aa"]),
        at: "governance/exceptions.yaml:2".into(),
    }
}

/// What follows from the market's policy and traffic.
pub fn analyses() -> Analyses {
    let (first, last) = (at("2026-10-15T00:00:03.120Z"), at("2026-11-14T23:59:58.004Z"));
    Analyses {
        window: Some(Window {
            from: Some(first),
            to: Some(last),
            days: 31,
            services_logged: 6,
            services: 6,
            words: "31 days".into(),
            ..Window::default()
        }),
        graphs: ThreeGraphs {
            declared: 61,
            allowed: 61,
            observed: 55,
            operations: 40,
            differences: vec![Difference {
                class: DifferenceClass::Unused,
                declared: true,
                allowed: true,
                observed: false,
                edges: 6,
                examples: vec![GraphEdge { from: Some("users".into()), to: "invoices".into(), operation: None }],
            }],
            rests_on: "Grants of the newest bundle.".into(),
        },
        certificates: part("identities whose latest certificate had ended", 1, 6, SERVICES.iter().map(|s| certificate(s.0)).collect()),
        spikes: part(
            "callers with an hour of many denials",
            1,
            7,
            vec![Spike {
                of: SpikeOf::Caller,
                from: "users".into(),
                hour: first,
                denied: 380,
                mean_of_others: 1,
                other_hours: 700,
                evidence: Vec::new(),
            }],
        ),
        shadow: part(
            "observed edges that no policy can allow",
            1,
            55,
            vec![ShadowEdge {
                from: "tokenizer".into(),
                to: "payments".into(),
                operation: None,
                requests: 12,
                first,
                last,
                older_bundle: true,
                evidence: Vec::new(),
            }],
        ),
        reviews: part(
            "reviews and exceptions whose day is past",
            1,
            63,
            vec![ReviewDate {
                kind: "grant".into(),
                subject: "gateway-users".into(),
                at: "permissions/users.yaml:7".into(),
                owner: Some("team-identity".into()),
                due: Some("2026-09-01".parse().unwrap()),
                standing: DueStanding::Overdue,
                days_left: Some(-74),
            }],
        ),
        ..reaching(usage())
    }
}

fn usage() -> Analyses {
    let ratio = |have, of| Ratio { have, of };
    Analyses {
        permissions: part(
            "grants that no allowed record used",
            6,
            61,
            vec![PermissionUse {
                policy: "users-invoices".into(),
                at: "permissions/users.yaml:9".into(),
                usage: Usage::Unused,
                edges: ratio(0, 4),
                services_logged: ratio(1, 1),
                wildcard: true,
                sensitive: true,
                ..PermissionUse::default()
            }],
        ),
        wildcards: part(
            "wildcard grants of which less was used",
            1,
            1,
            vec![WildcardUse {
                policy: "invoices-tokenize".into(),
                at: "permissions/billing.yaml:41".into(),
                edges: ratio(1, 4),
                sensitive: true,
                narrower: Vec::new(),
                proposal: list(&["allow: {from: [invoices], to: tokenizer, operations: [tokenize]}"]),
                undeclared: 0,
            }],
        ),
        privilege: part(
            "granted edges that were used",
            55,
            61,
            vec![Privilege { service: "invoices".into(), edges: ratio(2, 5), sensitive: ratio(1, 4), not_observed: 0 }],
        ),
        dead: part(
            "declared and of no use",
            1,
            101,
            vec![DeadDeclaration { subject: "items write-item".into(), at: "inventory.yaml:20".into(), ..DeadDeclaration::default() }],
        ),
        stale: part(
            "services without traffic",
            1,
            6,
            vec![StaleService { service: "payments".into(), at: "inventory.yaml:2".into(), logged: false, denied: 0 }],
        ),
        scanners: part(
            "callers that tried many things",
            1,
            7,
            vec![Scanner { from: "spiffe://other.example/x".into(), services: 6, paths: 12, denied: 90, ..Scanner::default() }],
        ),
        weak_connections: part(
            "requests with weak TLS",
            82_301,
            12_482_301,
            vec![WeakConnection {
                from: "users".into(),
                to: "items".into(),
                version: Some("TLSv1.2".into()),
                suite: Some("TLS_RSA_WITH_AES_128_CBC_SHA".into()),
                requests: ratio(82_301, 90_000),
                allowed: 82_301,
                sensitive: true,
            }],
        ),
        identities: part(
            "identities that no service has",
            1,
            8,
            vec![IdentityConcern {
                subject: "spiffe://other.example/x".into(),
                what: "its trust domain is `other.example`".into(),
                others: list(&["spiffe://market.example/ns/shop/sa/stray"]),
                requests: 12,
                ..IdentityConcern::default()
            }],
        ),
        separation: part(
            "granted edges between environments or tenants",
            1,
            61,
            vec![Crossing {
                kind: "tenant".into(),
                from: "north".into(),
                to: "south".into(),
                granted: 1,
                examples: list(&["users → items read-item"]),
                ..Crossing::default()
            }],
        ),
        ..Analyses::default()
    }
}

fn reaching(rest: Analyses) -> Analyses {
    let hop = |from: Option<&str>, to: &str| Hop {
        from: from.map(Into::into),
        to: to.into(),
        operations: list(&["read"]),
        policies: list(&["p"]),
        conditional: true,
        requests: 3,
    };
    let chain = vec![hop(None, "gateway"), hop(Some("gateway"), "invoices"), hop(Some("invoices"), "tokenizer")];
    let reach = Reach {
        kind: "data".into(),
        target: "pan".into(),
        sensitive: true,
        from: None,
        untrusted: true,
        steps: 3,
        chain,
        evidence: ReachEvidence::DataPath,
        traces: 9,
        traced: Vec::new(),
    };
    Analyses {
        reach: part("pairs between which a chain of grants leads", 1, 12, vec![reach]),
        choke_points: part(
            "sensitive services behind one service",
            1,
            2,
            vec![ChokePoint { target: "tokenizer".into(), dominators: list(&["invoices"]), exposed_to: list(&["gateway"]), steps: 3 }],
        ),
        cuts: part(
            "sensitive services that can be parted",
            1,
            2,
            vec![Cut {
                target: Some("tokenizer".into()),
                services: None,
                pairs: vec![CutPair { from: None, to: "gateway".into(), policies: Vec::new() }],
                policies: list(&["gateway-invoices"]),
            }],
        ),
        protection: part(
            "grants that protect",
            1,
            61,
            vec![Protection {
                policy: "gateway-invoices".into(),
                at: "permissions/edge.yaml:3".into(),
                pairs: 1,
                of: 2,
                services: list(&["tokenizer"]),
                requests: 3_481_849,
            }],
        ),
        blast: part(
            "services with something sensitive within reach",
            2,
            6,
            vec![BlastRadius {
                service: "gateway".into(),
                by_step: vec![2, 1],
                reachable: 3,
                of: 5,
                sensitive: vec![SensitiveWithin { steps: 2, service: "tokenizer".into() }],
                holds_sensitive: true,
                requests: 9,
                called: 2,
            }],
        ),
        ..rest
    }
}

fn certificate(name: &str) -> IdentityCertificates {
    IdentityCertificates {
        id: id(name),
        service: Some(name.into()),
        certificates: 31,
        requests: 41_000,
        first: at("2026-10-15T00:00:03.120Z"),
        last: at("2026-11-14T23:59:58.004Z"),
        not_after: at("2026-11-15T09:00:00.000Z"),
        expired: name == "users",
        renewed_after_ms: Some(Spread { min: 86_000_000, median: 86_400_000, max: 86_500_000 }),
        issuers: list(&["CN=market"]),
        algorithms: list(&["ecdsa-p256"]),
        handshakes: list(&["TLSv1.3 TLS13_AES_128_GCM_SHA256"]),
        seen_by: list(&["items"]),
        addresses: list(&["10.1.2.3"]),
        latest: Some(Digest::of(name.as_bytes())),
    }
}

/// Puts `evil` into every string of governance, analyses, waivers and attestations.
pub fn spoil(a: &mut Assessment, evil: impl Fn(usize) -> String) {
    let many = || vec![evil(0), evil(1), evil(2), evil(3)];
    a.controls.iter_mut().for_each(|c| c.attested = many());
    for f in &mut a.findings {
        f.suspect = true;
        if let Some(w) = &mut f.waived {
            (w.exception, w.reason, w.approved_by) = (evil(0), evil(1), many());
        }
    }
    let g = &mut a.governance;
    g.files.iter_mut().for_each(|f| f.path = evil(2));
    if let Some(s) = &mut g.scope {
        (s.name, s.sensitive_data, s.untrusted_zones, s.tenants, s.third_parties) = (evil(0), many(), many(), many(), many());
        s.classes.iter_mut().for_each(|c| (c.service, c.class) = (evil(1), Some(evil(2))));
        s.environments.iter_mut().for_each(|e| e.name = evil(1));
        s.networks.iter_mut().for_each(|n| n.name = evil(5));
        s.not_applicable.iter_mut().for_each(|n| (n.control, n.reason, n.approved_by, n.at) = (evil(0), evil(1), many(), evil(2)));
    }
    g.reviews.iter_mut().for_each(|r| (r.name, r.of, r.by, r.result, r.at) = (evil(0), evil(1), many(), evil(5), evil(6)));
    g.attestations.iter_mut().for_each(|t| (t.name, t.statement, t.by, t.controls, t.at) = (evil(1), evil(2), many(), many(), evil(0)));
    for e in &mut g.exceptions {
        (e.name, e.of, e.reason, e.approved_by) = (evil(0), evil(1), evil(7), many());
        (e.until, e.findings, e.at) = (evil(0), many(), evil(1));
    }
    for c in &mut g.configs {
        (c.path, c.service, c.ran) = (evil(0), Some(evil(1)), many());
        c.settings = (0..8).map(|n| Setting { name: evil(n), value: evil(n + 1), at: Some(evil(n + 2)) }).collect();
    }
    g.history.iter_mut().for_each(|c| (c.commit, c.author, c.approved_by) = (evil(0), evil(1), many()));
    spoil_graphs(&mut a.analyses, &evil);
    spoil_usage(&mut a.analyses, &evil);
}

fn spoil_part<T>(part: &mut Part<T>, evil: &impl Fn(usize) -> String, each: impl Fn(&mut T)) {
    (part.what, part.rests_on) = (evil(0), evil(2));
    part.entries.iter_mut().for_each(each);
}

fn spoil_graphs(s: &mut Analyses, evil: &impl Fn(usize) -> String) {
    let many = || vec![evil(0), evil(1), evil(2), evil(3)];
    if let Some(w) = &mut s.window {
        w.words = evil(0);
    }
    s.graphs.rests_on = evil(1);
    for d in &mut s.graphs.differences {
        d.examples = (0..8).map(|n| GraphEdge { from: Some(evil(n)), to: evil(n + 1), operation: Some(evil(n + 2)) }).collect();
    }
    spoil_part(&mut s.reach, evil, |r| {
        (r.kind, r.target, r.from, r.traced) = (evil(0), evil(1), Some(evil(2)), many());
        r.chain =
            (0..8).map(|n| Hop { from: Some(evil(n)), to: evil(n + 1), operations: many(), policies: many(), ..Hop::default() }).collect();
    });
    spoil_part(&mut s.choke_points, evil, |c| (c.target, c.dominators, c.exposed_to) = (evil(0), many(), many()));
    spoil_part(&mut s.cuts, evil, |c| {
        (c.target, c.services, c.policies) = (Some(evil(0)), Some(many()), many());
        c.pairs = (0..9).map(|n| CutPair { from: Some(evil(n)), to: evil(n + 1), policies: many() }).collect();
    });
    spoil_part(&mut s.protection, evil, |p| (p.policy, p.at, p.services) = (evil(0), evil(1), many()));
    spoil_part(&mut s.blast, evil, |b| {
        b.service = evil(0);
        b.sensitive = (0..9).map(|n| SensitiveWithin { steps: 1, service: evil(n) }).collect();
    });
    spoil_part(&mut s.dead, evil, |d| (d.subject, d.at) = (evil(0), evil(1)));
    spoil_part(&mut s.stale, evil, |d| (d.service, d.at) = (evil(0), evil(1)));
}

fn spoil_usage(s: &mut Analyses, evil: &impl Fn(usize) -> String) {
    let many = || vec![evil(0), evil(1), evil(2), evil(3)];
    spoil_part(&mut s.permissions, evil, |p| (p.policy, p.at) = (evil(0), evil(1)));
    spoil_part(&mut s.wildcards, evil, |w| (w.policy, w.at, w.proposal) = (evil(0), evil(1), many()));
    spoil_part(&mut s.privilege, evil, |p| p.service = evil(1));
    spoil_part(&mut s.shadow, evil, |e| (e.from, e.to, e.operation) = (evil(0), evil(1), Some(evil(2))));
    spoil_part(&mut s.spikes, evil, |e| e.from = evil(0));
    spoil_part(&mut s.scanners, evil, |e| e.from = evil(1));
    spoil_part(&mut s.weak_connections, evil, |w| (w.from, w.to, w.version, w.suite) = (evil(0), evil(1), Some(evil(2)), Some(evil(0))));
    spoil_part(&mut s.identities, evil, |i| (i.subject, i.what, i.others) = (evil(0), evil(1), many()));
    spoil_part(&mut s.separation, evil, |c| (c.kind, c.from, c.to, c.examples) = (evil(0), evil(1), evil(2), many()));
    spoil_part(&mut s.reviews, evil, |r| (r.kind, r.subject, r.at, r.owner) = (evil(0), evil(1), evil(2), Some(evil(0))));
    spoil_part(&mut s.certificates, evil, |c| {
        (c.service, c.issuers, c.algorithms) = (Some(evil(0)), many(), many());
        (c.handshakes, c.seen_by, c.addresses) = (many(), many(), many());
    });
}
