//! The analyses on logs that the real authorizer answered, by hand on a small market, and on random policies against definitions:
//! closure by walking all edges, choke points by taking a service out, protection by compiling the policy without a permission.

use std::collections::{BTreeMap, BTreeSet};

use portreeve_engine::decision::{Effect, Reason};
use portreeve_engine::{Authorizer, Digest};

use crate::assessment::Assessment;
use crate::assessment::analyses::{Part, Ratio};
use crate::assessment::graphs::{DeadKind, DifferenceClass, ReachEvidence};
use crate::assessment::usage::{DueStanding, IdentityConcernKind, Usage};
use crate::audit::Audit;
use crate::random::Random;
use crate::source::LogSource;
use crate::testing::{Log, POLICY, authorizer, id, memory, start};

fn audit(policy: &str, logs: Vec<LogSource>) -> Assessment {
    Audit::new(vec![("market".to_owned(), authorizer(policy))]).logs(logs).run(&mut |_| {}).unwrap()
}

fn source(log: &Log) -> LogSource {
    memory(&log.instance, &log.out)
}

/// Every part says what it counts, on what it rests, and lists no more than there is.
fn sound(a: &Assessment) {
    fn part<T>(part: &Part<T>) {
        assert!(!part.what.is_empty() && part.rests_on.ends_with('.'), "{} {}", part.what, part.rests_on);
        assert!(part.have <= part.of, "{}: {} of {}", part.what, part.have, part.of);
    }
    let n = &a.analyses;
    part(&n.reach);
    part(&n.choke_points);
    part(&n.cuts);
    part(&n.protection);
    part(&n.blast);
    part(&n.permissions);
    part(&n.wildcards);
    part(&n.privilege);
    part(&n.shadow);
    part(&n.dead);
    part(&n.stale);
    part(&n.spikes);
    part(&n.scanners);
    part(&n.weak_connections);
    part(&n.certificates);
    part(&n.identities);
    part(&n.separation);
    part(&n.reviews);
    let edges: u64 = n.graphs.differences.iter().map(|d| d.edges).sum();
    let of = |has: fn(&crate::assessment::graphs::Difference) -> bool| {
        n.graphs.differences.iter().filter(|d| has(d)).map(|d| d.edges).sum::<u64>()
    };
    assert!(edges >= n.graphs.allowed);
    assert_eq!((of(|d| d.declared), of(|d| d.allowed), of(|d| d.observed)), (n.graphs.declared, n.graphs.allowed, n.graphs.observed));
    assert_eq!(
        a.fidelity.agreed + a.fidelity.differing + a.fidelity.unlawful + a.fidelity.overdenied + a.fidelity.not_replayable,
        a.fidelity.of
    );
}

fn found<'a>(a: &'a Assessment, check: &str) -> Vec<&'a str> {
    a.findings.iter().filter(|f| f.check == check).map(|f| f.subject.as_str()).collect()
}

/// The market with a wildcard, a prohibition, and a service before production.
fn wide_market() -> String {
    format!(
        "{POLICY}{}",
        r#"
---
kind: Service
name: stores
identities: [spiffe://market.example/ns/shop/sa/stores]
zone: inner
labels: {tenant: north, environment: production}
operations:
  - {id: open, method: GET, path: "/open"}
  - {id: shut, method: POST, path: "/shut"}
---
kind: Service
name: lab
identities: [spiffe://market.example/ns/shop/sa/lab]
labels: {tenant: south, environment: staging}
operations: [{id: x, method: GET, path: "/x"}]
---
kind: Permission
name: invoices-do-all
allow: {from: [invoices, users], to: items, operations: '*'}
review_by: 2026-12-01
---
kind: Permission
name: lab-opens-stores
allow: {from: [lab], to: stores, operations: [open]}
review_by: 2026-01-01
---
kind: Permission
name: users-shut-stores
allow: {from: [users], to: stores, operations: [shut]}
---
kind: Permission
name: nobody-shuts
deny: {from: any-authenticated, to: stores, operations: [shut]}
"#
    )
}

#[test]
fn the_three_graphs_and_what_was_needed() {
    let policy = wide_market();
    let law = authorizer(&policy);
    let mut items = Log::start("items", "items-1", *law.revision());
    for n in 0..4 {
        items.ask(&law, &id("invoices"), "GET", &format!("/v1/items/{n}"));
    }
    items.allow("gateway", "/v1/items/1", "read-item", "gone");
    items.stop();
    let mut stores = Log::start("stores", "stores-1", *law.revision());
    stores.ask(&law, &id("users"), "POST", "/shut");
    stores.stop();
    let a = audit(&policy, vec![source(&items), source(&stores)]);
    sound(&a);
    let graphs = &a.analyses.graphs;
    let class = |class| graphs.differences.iter().find(|d| d.class == class).map_or(0, |d| d.edges);
    // invoices and users → two operations of items, gateway → invoices, lab → stores; users → stores is prohibited again.
    assert_eq!((graphs.declared, graphs.allowed, graphs.observed, graphs.operations), (7, 6, 2, 8));
    assert_eq!(
        [DifferenceClass::Used, DifferenceClass::Unused, DifferenceClass::Prohibited, DifferenceClass::Shadow].map(class),
        [1, 5, 1, 1]
    );

    let shadow = &a.analyses.shadow.entries[0];
    assert_eq!((shadow.from.as_str(), shadow.to.as_str(), shadow.requests, shadow.older_bundle), ("gateway", "items", 1, false));
    assert_eq!((shadow.first, shadow.evidence[0].line), (start().plus_ms(10_000), 10));

    let permission = |name: &str| a.analyses.permissions.entries.iter().find(|p| p.policy == name).unwrap();
    let all = permission("invoices-do-all");
    assert_eq!((all.usage, all.edges, all.requests, all.wildcard, all.sensitive), (Usage::Used, Ratio { have: 1, of: 4 }, 4, true, true));
    assert_eq!(permission("lab-opens-stores").usage, Usage::Unused);
    assert_eq!(permission("gateway-lists-invoices").usage, Usage::NotObserved, "the log of invoices was not given");
    assert_eq!(permission("gateway-lists-invoices").services_logged, Ratio { have: 0, of: 1 });
    // Both grants for invoices determine its reads: neither is unused.
    assert_eq!(permission("invoices-read-items").requests, 4);

    let wildcard = &a.analyses.wildcards.entries[0];
    assert_eq!(wildcard.proposal, ["allow: {from: [invoices], to: items, operations: [read-item]}"]);
    let narrowed =
        policy.replace("{from: [invoices, users], to: items, operations: '*'}", wildcard.proposal[0].trim_start_matches("allow: "));
    assert_eq!(audit(&narrowed, vec![source(&items)]).fidelity.agreed, 0, "another revision");
    let narrow = authorizer(&narrowed);
    assert!(narrow.allowed().iter().any(|e| &*e.to.name == "items" && e.policies.iter().any(|p| &*p.id == "invoices-do-all")));

    let privilege = |name: &str| a.analyses.privilege.entries.iter().find(|p| p.service == name).unwrap();
    assert_eq!((privilege("invoices").edges, privilege("invoices").sensitive), (Ratio { have: 1, of: 2 }, Ratio { have: 1, of: 2 }));
    assert_eq!(privilege("gateway").not_observed, 1);
    assert_eq!((a.analyses.privilege.have, a.analyses.privilege.of), (1, 5));

    let dead: Vec<_> = a.analyses.dead.entries.iter().map(|d| (d.kind, d.subject.as_str(), d.denied)).collect();
    assert!(
        dead.contains(&(DeadKind::Operation, "stores shut", 1)) && dead.contains(&(DeadKind::ProhibitedGrant, "users-shut-stores", 0)),
        "{dead:?}"
    );
    assert!(dead.contains(&(DeadKind::Operation, "users read-user", 0)) && dead.len() == 5, "{dead:?}");
    let stale: Vec<_> = a.analyses.stale.entries.iter().map(|s| (s.service.as_str(), s.logged, s.denied)).collect();
    assert_eq!(stale, [("stores", true, 1), ("lab", false, 0), ("users", false, 0)]);
    assert_eq!(found(&a, "stale_service"), ["stores"]);
}

#[test]
fn environments_tenants_and_dates() {
    let policy = wide_market();
    let law = authorizer(&policy);
    let mut stores = Log::start("stores", "stores-1", *law.revision());
    stores.ask(&law, &id("lab"), "GET", "/open");
    stores.ask(&law, &id("lab"), "POST", "/shut");
    stores.stop();
    let a = audit(&policy, vec![source(&stores)]);
    sound(&a);
    let crossings: Vec<_> = a
        .analyses
        .separation
        .entries
        .iter()
        .map(|c| (c.kind.as_str(), c.from.as_str(), c.to.as_str(), c.granted, c.allowed, c.denied))
        .collect();
    assert_eq!(crossings, [("environment", "staging", "production", 1, 1, 1), ("tenant", "south", "north", 1, 1, 1)]);
    for check in ["environment_crossing", "tenant_crossing"] {
        let finding = a.findings.iter().find(|f| f.check == check).unwrap();
        assert_eq!((finding.severity, finding.count, finding.evidence.len()), (crate::assessment::Weight::High, 2, 2), "{finding:?}");
    }
    let due: Vec<_> = a.analyses.reviews.entries.iter().map(|r| (r.subject.as_str(), r.standing, r.days_left)).collect();
    assert_eq!(due[0], ("lab-opens-stores", DueStanding::Overdue, Some(-325)));
    assert_eq!(due[1], ("invoices-do-all", DueStanding::Soon, Some(9)));
    assert_eq!(due.last(), Some(&("users-shut-stores", DueStanding::Unset, None)));
    assert_eq!((a.analyses.reviews.have, a.analyses.reviews.of), (1, 5));
    // What no grant allows and was only denied is no crossing; it is counted all the same.
    let closed = policy.replace("from: [lab], to: stores", "from: [users], to: stores");
    let law = authorizer(&closed);
    let mut shut = Log::start("stores", "stores-1", *law.revision());
    shut.ask(&law, &id("lab"), "GET", "/open");
    shut.stop();
    let attempts = audit(&closed, vec![source(&shut)]);
    let denied: Vec<_> = attempts.analyses.separation.entries.iter().filter(|c| c.kind == "tenant").collect();
    assert!(matches!(&*denied, [c] if (c.granted, c.allowed, c.denied) == (0, 0, 1)), "{denied:?}");
    assert!(found(&attempts, "tenant_crossing").is_empty() && found(&attempts, "environment_crossing").is_empty());
    // Without a label nobody is on a side, and a zone before production is told edge by edge.
    let zones = policy.replace("labels: {tenant: south, environment: staging}", "zone: staging").replace(", environment: production}", "}");
    let a = audit(&zones, vec![source(&stores)]);
    assert_eq!(a.analyses.separation.entries.len(), 1);
    assert!(a.analyses.separation.entries[0].is_told_by_edge && found(&a, "environment_crossing").is_empty());
    assert_eq!(found(&a, "preproduction_edge"), ["lab → stores open"]);
}

#[test]
fn a_chain_is_a_stepping_stone_until_one_trace_shows_the_way() {
    let law = authorizer(POLICY);
    let reach = |a: &Assessment| {
        let entries = a.analyses.reach.entries.iter().filter(|r| r.kind == "data");
        entries.map(|r| (r.from.clone().unwrap(), r.steps, r.evidence, r.traces)).collect::<Vec<_>>()
    };
    let logs = |trace: [Option<&str>; 2]| {
        let mut invoices = Log::start("invoices", "invoices-1", *law.revision());
        let mut items = Log::start("items", "items-1", *law.revision());
        let mut asked =
            invoices.question("gateway", "/v1/invoices", Some("list"), Effect::Allow, Reason::Permitted, &["gateway-lists-invoices"]);
        asked.request.trace = trace[0].map(str::to_owned);
        let of = invoices.decide(asked);
        invoices.end(of);
        let mut asked =
            items.question("invoices", "/v1/items/1", Some("read-item"), Effect::Allow, Reason::Permitted, &["invoices-read-items"]);
        asked.request.trace = trace[1].map(str::to_owned);
        let of = items.decide(asked);
        items.end(of);
        vec![source(&invoices), source(&items)]
    };
    let none = audit(POLICY, vec![memory("empty", b"")]);
    sound(&none);
    let stone = ReachEvidence::SteppingStone;
    assert_eq!(reach(&none), [("gateway".to_owned(), 2, stone, 0), ("invoices".to_owned(), 1, stone, 0)]);
    let apart = audit(POLICY, logs([Some("a"), Some("b")]));
    let seen = ReachEvidence::EachStepSeen;
    assert_eq!(reach(&apart), [("gateway".to_owned(), 2, seen, 0), ("invoices".to_owned(), 1, ReachEvidence::DataPath, 1)]);
    let together = audit(POLICY, logs([Some("a"), Some("a")]));
    sound(&together);
    assert_eq!(reach(&together)[0], ("gateway".to_owned(), 2, ReachEvidence::DataPath, 1));
    let entry = &together.analyses.reach.entries[0];
    assert_eq!((entry.target.as_str(), entry.sensitive, entry.untrusted), ("pan", true, true));
    assert_eq!(entry.traced, ["gateway", "invoices", "items"]);
    assert_eq!(
        entry.chain.iter().map(|h| (h.policies[0].as_str(), h.requests)).collect::<Vec<_>>(),
        [("gateway-lists-invoices", 1), ("invoices-read-items", 1)]
    );

    let choke = &together.analyses.choke_points.entries[0];
    assert_eq!((choke.target.as_str(), &choke.dominators, choke.steps), ("items", &vec!["gateway".to_owned(), "invoices".to_owned()], 2));
    let cut = &together.analyses.cuts.entries[0];
    assert_eq!(
        (cut.services.as_deref(), cut.policies.as_slice()),
        (Some(&["invoices".to_owned()][..]), &["invoices-read-items".to_owned()][..])
    );
    let protection = &together.analyses.protection.entries;
    assert_eq!(
        protection.iter().map(|p| (p.policy.as_str(), p.pairs, p.of, p.requests)).collect::<Vec<_>>(),
        [("gateway-lists-invoices", 1, 1, 1), ("invoices-read-items", 1, 1, 1)]
    );
    let blast = &together.analyses.blast.entries[0];
    assert_eq!(
        (blast.service.as_str(), &blast.by_step, blast.reachable, blast.of, blast.requests, blast.called),
        ("gateway", &vec![1, 1], 2, 3, 1, 1)
    );
    assert_eq!(blast.sensitive.iter().map(|s| (s.steps, s.service.as_str())).collect::<Vec<_>>(), [(2, "items")]);
}

#[test]
fn identities_that_do_not_fit_are_told_apart() {
    let law = authorizer(POLICY);
    let mut log = Log::start("items", "items-1", *law.revision());
    for caller in
        ["spiffe://market.example/ns/shop/sa/nobody", "spiffe://other.example/ns/x", "spiffe://staging.example/ns/shop/sa/invoices"]
    {
        log.ask(&law, &caller.parse().unwrap(), "GET", "/v1/items/1");
    }
    for (from, certificate, ip) in [
        ("invoices", "one", "10.0.0.1"),
        ("users", "one", "10.0.0.2"),
        ("gateway", "two", "10.0.0.1"),
        ("users", "three", "127.0.0.1"),
        ("gateway", "four", "127.0.0.1"),
    ] {
        let mut asked = log.question(from, "/v1/items/1", Some("read-item"), Effect::Deny, Reason::NoPermission, &[]);
        asked.source.ip = Some(ip.parse().unwrap());
        asked.tls.as_mut().unwrap().sha256 = Digest::of(certificate.as_bytes());
        log.decide(asked);
    }
    // Back at the first: its time overlaps that of the other one at this address.
    let mut asked = log.question("invoices", "/v1/items/1", Some("read-item"), Effect::Deny, Reason::NoPermission, &[]);
    asked.source.ip = Some("10.0.0.1".parse().unwrap());
    asked.tls.as_mut().unwrap().sha256 = Digest::of(b"one");
    log.decide(asked);
    log.stop();
    let a = audit(POLICY, vec![source(&log)]);
    sound(&a);
    let concerns: Vec<_> = a.analyses.identities.entries.iter().map(|c| (c.kind, c.subject.clone(), c.others.len())).collect();
    assert_eq!(
        concerns,
        [
            (IdentityConcernKind::Unknown, "spiffe://market.example/ns/shop/sa/nobody".to_owned(), 0),
            (IdentityConcernKind::TrustDomain, "spiffe://other.example/ns/x".to_owned(), 0),
            (IdentityConcernKind::TrustDomainDrift, "spiffe://staging.example/ns/shop/sa/invoices".to_owned(), 1),
            (IdentityConcernKind::SharedCertificate, Digest::of(b"one").to_string(), 2),
            (IdentityConcernKind::SharedAddress, "10.0.0.1".to_owned(), 2),
        ]
    );
    assert_eq!((a.analyses.identities.have, a.analyses.identities.of), (3, 6));
    for (check, subject) in [
        ("certificate_shared_by_identities", Digest::of(b"one").to_string()),
        ("address_shared_by_identities", "10.0.0.1".to_owned()),
        ("trust_domain_drift", "spiffe://staging.example/ns/shop/sa/invoices".to_owned()),
    ] {
        assert_eq!(found(&a, check), [subject], "{check}");
    }
}

#[test]
fn certificates_are_told_by_identity_with_their_renewals() {
    let law = authorizer(POLICY);
    let mut log = Log::start("items", "items-1", *law.revision());
    for (n, hours) in [0_i64, 1, 3, 7].into_iter().enumerate() {
        log.at = start().plus_ms(hours * 3_600_000);
        let mut asked =
            log.question("invoices", "/v1/items/1", Some("read-item"), Effect::Allow, Reason::Permitted, &["invoices-read-items"]);
        let tls = asked.tls.as_mut().unwrap();
        (tls.sha256, tls.not_after) = (Digest::of(&[n as u8]), log.at.plus_ms(7_200_000));
        let of = log.decide(asked);
        log.end(of);
    }
    let short = audit(POLICY, vec![source(&log)]);
    assert_eq!(short.analyses.window.unwrap().words, "7 h (no whole day)");
    log.at = log.at.plus_ms(30 * 3_600_000);
    log.stop();
    let a = audit(POLICY, vec![source(&log)]);
    let c = &a.analyses.certificates.entries[0];
    let spread = c.renewed_after_ms.unwrap();
    assert_eq!((c.certificates, c.requests, c.expired, c.service.as_deref()), (4, 4, true, Some("invoices")));
    assert_eq!([spread.min, spread.median, spread.max].map(|ms| (ms + 1_800_000) / 3_600_000), [1, 2, 4]);
    assert_eq!(
        (c.seen_by.as_slice(), c.latest, c.addresses.as_slice()),
        (&["items".to_owned()][..], Some(Digest::of(&[3])), &["10.0.0.7".to_owned()][..])
    );
    assert_eq!(c.handshakes, ["TLSv1.3 TLS13_AES_128_GCM_SHA256"]);
    let window = a.analyses.window.unwrap();
    assert_eq!((window.days, window.days_with_traffic, window.weeks, window.services_logged, window.services), (2, 1, 0, 1, 4));
    assert_eq!(window.words, "2 days (no whole week, no whole month), with decisions on 1 of them");
}

#[test]
fn who_tries_many_things_is_told_from_who_repeats_one() {
    let law = authorizer(POLICY);
    let mut log = Log::start("items", "items-1", *law.revision());
    for n in 0..12 {
        log.ask(&law, &id("stranger"), "GET", &format!("/admin/{n}"));
        log.ask(&law, &id("users"), "GET", "/v1/items/1");
    }
    log.stop();
    let a = audit(POLICY, vec![source(&log)]);
    sound(&a);
    let scanner = &a.analyses.scanners.entries[0];
    assert_eq!((a.analyses.scanners.entries.len(), scanner.paths, scanner.denied, scanner.allowed, scanner.known), (1, 12, 12, 0, false));
    assert_eq!(found(&a, "scanning_caller"), [id("stranger").to_string()]);
}

#[test]
fn weak_connections_are_counted_against_all_between_the_two() {
    let law = authorizer(POLICY);
    let mut log = Log::start("items", "items-1", *law.revision());
    log.ask(&law, &id("invoices"), "GET", "/v1/items/1");
    for version in [Some("TLSv1.1"), None] {
        let mut asked =
            log.question("invoices", "/v1/items/1", Some("read-item"), Effect::Allow, Reason::Permitted, &["invoices-read-items"]);
        match (version, &mut asked.tls) {
            (Some(version), Some(tls)) => version.clone_into(&mut tls.version),
            (_, tls) => *tls = None,
        }
        let of = log.decide(asked);
        log.end(of);
    }
    let a = audit(POLICY, vec![source(&log)]);
    let weak: Vec<_> = a.analyses.weak_connections.entries.iter().map(|w| (w.version.as_deref(), w.requests, w.sensitive)).collect();
    let ratio = Ratio { have: 1, of: 3 };
    assert_eq!(weak, [(None, ratio, true), (Some("TLSv1.1"), ratio, true)]);
    assert_eq!((a.analyses.weak_connections.have, a.analyses.weak_connections.of), (2, 3));
}

/// A town of up to eight services: some at the edge, some with card data, one operation of it or all; and grants at random.
fn town(seed: u64) -> (String, Vec<String>) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5bd1_e995);
    let services = 4 + random.below(5);
    let mut text = String::new();
    for n in 0..services {
        let zone = ["edge", "inner", "inner", "cde"][random.below(4)];
        let whole = ["", "data: [pan]\n"][usize::from(random.below(5) == 0)];
        let part = ["", ", data: [chd]"][usize::from(random.below(4) == 0)];
        text.push_str(&format!("kind: Service\nname: s{n}\nidentities: [spiffe://m.example/s{n}]\nzone: {zone}\n{whole}operations:\n  - {{id: a, method: GET, path: /a}}\n  - {{id: b, method: GET, path: /b{part}}}\n---\n"));
    }
    let mut permissions = Vec::new();
    for n in 0..services + random.below(services * 2) {
        let (from, to) = (random.below(services), random.below(services));
        let operations = ["[a]", "[b]", "[a, b]", "'*'"][random.below(4)];
        let from = if random.below(12) == 0 { "\"spiffe://partner.example/x\"".to_owned() } else { format!("s{from}") };
        permissions.push(format!("kind: Permission\nname: p{n}\nallow: {{from: [{from}], to: s{to}, operations: {operations}}}\n---\n"));
    }
    (text, permissions)
}

/// What a naive reader makes of the allowed edges: (caller or `None` for strangers) → (service, whether that step touches data).
struct Naive {
    steps: BTreeSet<(Option<String>, String, bool)>,
    untrusted: BTreeSet<Option<String>>,
    sensitive: BTreeSet<String>,
}

impl Naive {
    fn of(law: &Authorizer) -> Self {
        let is_pan = |data: &BTreeSet<String>| data.contains("pan") || data.contains("chd");
        let steps = law.allowed().into_iter().map(|e| {
            let touches =
                is_pan(&e.to.data) || e.operation.map_or_else(|| e.to.operations.iter().any(|o| is_pan(&o.data)), |o| is_pan(&o.data));
            (e.from.map(|s| s.name.to_string()), e.to.name.to_string(), touches)
        });
        let services = law.services().iter();
        let sensitive = services.clone().filter(|s| is_pan(&s.data) || s.operations.iter().any(|o| is_pan(&o.data)));
        let edge = services.filter(|s| s.zone.as_deref() == Some("edge")).map(|s| Some(s.name.to_string()));
        Self { steps: steps.collect(), untrusted: edge.chain([None]).collect(), sensitive: sensitive.map(|s| s.name.to_string()).collect() }
    }

    /// The sensitive services whose data a chain from here leads to, no chain through `without`.
    fn reached(&self, from: &Option<String>, without: Option<&str>) -> BTreeSet<String> {
        let mut at: BTreeSet<Option<String>> = BTreeSet::from([from.clone()]);
        loop {
            let more: Vec<_> = self
                .steps
                .iter()
                .filter(|(f, t, _)| at.contains(f) && Some(t.as_str()) != without)
                .map(|(_, t, _)| Some(t.clone()))
                .collect();
            let before = at.len();
            at.extend(more);
            if at.len() == before {
                break;
            }
        }
        self.steps.iter().filter(|(f, t, touches)| *touches && at.contains(f) && f.as_ref() != Some(t)).map(|(_, t, _)| t.clone()).collect()
    }

    fn pairs(&self) -> BTreeSet<(Option<String>, String)> {
        let all = self.untrusted.iter().flat_map(|from| self.reached(from, None).into_iter().map(|to| (from.clone(), to)));
        all.filter(|(from, to)| from.as_ref() != Some(to)).collect()
    }
}

#[test]
fn reach_choke_points_and_protection_are_what_their_definitions_say() {
    let (mut choke, mut protected, mut reached) = (0, 0, 0);
    for seed in 0..60 {
        let (services, permissions) = town(seed);
        let text = format!("{services}{}", permissions.concat());
        let law = authorizer(&text);
        let naive = Naive::of(&law);
        let a = audit(&text, vec![memory("empty", b"")]);
        sound(&a);

        // Reach into each class and zone, direct and through others.
        for (kind, target) in [("data", "pan"), ("data", "chd")] {
            let holds =
                |s: &&portreeve_engine::model::Service| s.data.contains(target) || s.operations.iter().any(|o| o.data.contains(target));
            let touched: BTreeSet<(Option<String>, String)> = law
                .allowed()
                .iter()
                .filter(|e| e.to.data.contains(target) || e.operation.is_none_or(|o| o.data.contains(target)) && holds(&e.to))
                .map(|e| (e.from.map(|s| s.name.to_string()), e.to.name.to_string()))
                .filter(|(from, to)| from.as_ref() != Some(to))
                .collect();
            let expected: BTreeMap<Option<String>, usize> = law
                .services()
                .iter()
                .filter(|s| !holds(s))
                .map(|s| Some(s.name.to_string()))
                .chain([None])
                .filter_map(|from| {
                    // Breadth by breadth: the number of rounds is the number of steps.
                    let mut at = BTreeSet::from([from.clone()]);
                    for round in 1..=law.services().len() + 1 {
                        if touched.iter().any(|(f, _)| at.contains(f)) {
                            return Some((from, round));
                        }
                        let more: Vec<_> = naive.steps.iter().filter(|(f, _, _)| at.contains(f)).map(|(_, t, _)| Some(t.clone())).collect();
                        at.extend(more);
                    }
                    None
                })
                .collect();
            let entries = a.analyses.reach.entries.iter().filter(|r| r.kind == kind && r.target == target);
            let actual: BTreeMap<Option<String>, usize> = entries.clone().map(|r| (r.from.clone(), r.steps as usize)).collect();
            assert_eq!(actual, expected, "seed {seed}, {target}\n{text}");
            reached += actual.len();
            for r in entries {
                let hops: Vec<_> = r.chain.iter().map(|h| (h.from.clone(), h.to.clone())).collect();
                assert!(hops.iter().all(|(f, t)| naive.steps.iter().any(|(nf, nt, _)| nf == f && nt == t)), "seed {seed}");
                assert!(
                    hops.windows(2).all(|w| w[0].1 == *w[1].0.as_ref().unwrap()) && touched.contains(hops.last().unwrap()),
                    "seed {seed}"
                );
            }
        }

        // Choke points: a service without which the target is not reached from outside.
        for target in &naive.sensitive {
            let is_reached = |without: Option<&str>| {
                let from = naive.untrusted.iter().filter(|u| without.is_none_or(|w| u.as_deref() != Some(w)));
                from.clone().any(|u| u.as_ref() != Some(target) && naive.reached(u, without.filter(|w| w != target)).contains(target))
                    || from.clone().any(|u| u.as_ref() == Some(target) && naive.reached(u, without).contains(target))
            };
            let expected: BTreeSet<String> = if is_reached(None) {
                law.services().iter().map(|s| s.name.to_string()).filter(|s| s != target && !is_reached(Some(s))).collect()
            } else {
                BTreeSet::new()
            };
            let actual = a.analyses.choke_points.entries.iter().find(|c| c.target == *target);
            assert_eq!(actual.is_some(), is_reached(None), "seed {seed}, {target}\n{text}");
            let actual: BTreeSet<String> = actual.into_iter().flat_map(|c| c.dominators.iter().filter(|d| *d != target).cloned()).collect();
            assert_eq!(actual, expected, "seed {seed}, {target}\n{text}");
            choke += expected.len();
        }

        // Protection: compile without each permission.
        let base = naive.pairs();
        let mut expected: BTreeMap<String, u64> = BTreeMap::new();
        for n in 0..permissions.len() {
            let rest: String = permissions.iter().enumerate().filter(|(m, _)| *m != n).map(|(_, p)| p.as_str()).collect();
            let left = Naive::of(&authorizer(&format!("{services}{rest}"))).pairs();
            let lost = base.difference(&left).count() as u64;
            if lost > 0 {
                expected.insert(format!("p{n}"), lost);
            }
        }
        let actual: BTreeMap<String, u64> = a.analyses.protection.entries.iter().map(|p| (p.policy.clone(), p.pairs)).collect();
        assert_eq!(actual, expected, "seed {seed}\n{text}");
        assert!(a.analyses.protection.entries.iter().all(|p| p.of == base.len() as u64), "seed {seed}");
        protected += actual.len();

        // Blast radius: who is within reach of whom.
        for b in &a.analyses.blast.entries {
            let expected: BTreeSet<String> =
                naive.reached(&Some(b.service.clone()), None).into_iter().filter(|s| *s != b.service).collect();
            assert_eq!(b.sensitive.iter().map(|s| s.service.clone()).collect::<BTreeSet<_>>(), expected, "seed {seed}, {}", b.service);
        }
    }
    assert!(reached > 100 && choke > 20 && protected > 60, "towns without such things prove nothing: {reached}, {choke}, {protected}");
}
