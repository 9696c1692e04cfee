//! The catalogue exercised: for every verdict that a machine gives, a mesh that makes it met and one that refutes it.
//!
//! One mesh has everything as it should be: in it every control that can be met is met. For each check that can refute or raise doubt there
//! is a mesh that differs in one point: in it the check finds something, and every control that names the check says so.

use std::collections::{BTreeMap, BTreeSet};

use portreeve_engine::Digest;
use portreeve_engine::decision::{Effect, Reason};
use portreeve_engine::record::Decided;

use crate::assessment::{Assessment, Verdict};
use crate::controls::{BUILT_IN, Catalog};
use crate::testing::{Log, lines};
use crate::verdict::Otherwise;
use crate::world::{Ask, World, ask, grant};

type Spoil = fn(&mut World);

/// The check, and what spoils the mesh so that it finds something. Each has its own.
const SPOILT: &[(&str, Spoil)] = &[
    ("divergent_revision", |w| {
        w.other_policy = Some(("items", w.policy.replace("Somebody needs it.", "Somebody needed it.")));
        w.bytes.push(("items", without_stop));
    }),
    ("out_of_band_revision", |w| w.commits = vec![("ann", vec!["bob"], Some("elsewhere"))]),
    ("unapproved_change", |w| w.commits = vec![("ann <ann@x>", vec!["Ann <ann@x>"], None)]),
    ("missing_governance", |w| World::replace(&mut w.policy, "justification: Somebody needs it.\n", "")),
    ("unauthorised_approval", |w| World::replace(&mut w.policy, "approved_by: [security]", "approved_by: [friend]")),
    ("overdue_review", |w| World::replace(&mut w.policy, "review_by: 2027-05-01", "review_by: 2026-11-01")),
    ("shadow_edge", |w| w.asks.push(Ask { alter: Some(allowed), ..ask("shop-a", "items", "POST", "/v1/items") })),
    ("unlawful_access", |w| w.istio.push(istio("shop-a", "items", "POST", "/v1/items"))),
    ("enforcement_mismatch", |w| w.asks.push(Ask { alter: Some(denied), ..ask("invoices", "items", "GET", "/v1/items/2") })),
    ("default_deny_hole", |w| {
        w.policy.push_str(
            &grant("any-authenticated", "console", "any-path", "")
                .replace("[any-authenticated]", "any-authenticated")
                .replace("name: any-authenticated", "name: any"),
        )
    }),
    ("wildcard_grant", |w| w.policy.push_str(&grant("console", "items", "'*'", "").replace("-'*'", "-all"))),
    ("sensitive_data_exposed", |w| w.policy.push_str(&grant("gateway", "items", "read", ""))),
    ("private_route_open", |w| World::replace(&mut w.governance, "public: [invoices/read, shop-a/read]", "public: [invoices/read]")),
    ("preproduction_edge", |w| w.policy.push_str(&grant("probe", "invoices", "read", ""))),
    ("environment_crossing", |w| w.policy.push_str(&grant("invoices", "probe", "read", ""))),
    ("tenant_crossing", |w| w.policy.push_str(&grant("shop-a", "shop-b", "read", ""))),
    ("test_account_granted", |w| w.governance = w.governance.replace("approvers:", "test_accounts: [shop-a]\napprovers:")),
    ("unauthorised_provider_access", |w| {
        w.policy.push_str(&grant("invoices", "shop-b", "write", "").replace("approved_by: [security]\n", ""))
    }),
    ("partner_without_end", |w| {
        w.policy.push_str(
            &grant("'spiffe://partner.example/a'", "console", "read", "").replace("name: 'spiffe://partner.example/a'", "name: partner"),
        )
    }),
    ("log_store_caller", |w| w.policy.push_str(&grant("console", "vault", "read", ""))),
    ("unclassified_service", |w| World::replace(&mut w.governance, "out_of_scope: {zones: [staging]}", "")),
    ("out_of_scope_reach", |w| {
        World::replace(&mut w.governance, "inner, tenant-a, tenant-b]}\nsecurity", "inner, tenant-a]}\nsecurity");
        World::replace(&mut w.governance, "zones: [staging]}\nsensitive", "zones: [staging, tenant-b]}\nsensitive");
    }),
    ("unlisted_third_party", |w| World::replace(&mut w.governance, "services: [cards], ", "")),
    ("unlisted_certificate", |w| {
        World::replace(&mut w.governance, "'spiffe://market.example/**'", "'spiffe://market.example/ns/shop/sa/items'")
    }),
    ("unlisted_cryptography", |w| World::replace(&mut w.governance, "version: TLSv1.3, purpose", "version: TLSv1.2, purpose")),
    ("unsafe_setting", |w| w.config_from_start = Some(("127.0.0.1:9901", "0.0.0.0:9901"))),
    ("config_drift", |w| w.config_edit = Some(("mode: enforce", "drain: 20s\nmode: enforce"))),
    ("dry_run_window", |w| w.dry_run = Some("items")),
    ("weak_tls", |w| w.asks.push(Ask { alter: Some(old_tls), ..ask("invoices", "items", "GET", "/v1/items/3") })),
    ("weak_public_tls", |w| w.asks.push(Ask { alter: Some(old_tls), ..ask("gateway", "invoices", "GET", "/v1/invoices/3") })),
    ("weak_tls_to_administration", |w| w.asks.push(Ask { alter: Some(old_tls), ..ask("invoices", "console", "POST", "/v1/console") })),
    ("token_without_tls", |w| w.asks.push(Ask { alter: Some(no_tls), ..ask("invoices", "items", "GET", "/v1/items/4") })),
    ("expired_certificate_used", |w| w.asks.push(Ask { alter: Some(ended_certificate), ..ask("invoices", "items", "GET", "/v1/items/5") })),
    ("certificate_shared_by_identities", |w| {
        w.asks.push(Ask { alter: Some(borrowed_certificate), ..ask("invoices", "items", "GET", "/v1/items/6") })
    }),
    ("identity_shared_by_sources", |w| w.asks.push(Ask { alter: Some(another_address), ..ask("invoices", "items", "GET", "/v1/items/7") })),
    ("address_of_another_network", |w| w.asks.push(Ask { alter: Some(foreign_address), ..ask("invoices", "items", "GET", "/v1/items/8") })),
    ("unknown_identity_allowed", |w| w.asks.push(Ask { alter: Some(allowed), ..ask("stranger", "items", "GET", "/v1/items/9") })),
    ("access_without_user", |w| w.asks.push(Ask { user: false, ..ask("invoices", "items", "GET", "/v1/items/9") })),
    ("card_number_in_log", |w| {
        w.asks.push(ask("invoices", "items", "GET", "/v1/items/4111111111111111"));
        w.governance.push_str(&confirmed("card_number_in_log", "items path"));
    }),
    ("authentication_data_in_log", |w| {
        w.asks.push(Ask { alter: Some(stripe), ..ask("invoices", "items", "GET", "/v1/items/9") });
        w.governance.push_str(&confirmed("authentication_data_in_log", "items correlation"));
    }),
    ("stray_end", |w| w.before_stop.push(("items", |log| _ = log.end(0)))),
    ("unrecorded_requests", |w| w.before_stop.push(("items", |log| _ = log.heartbeat(7)))),
    ("silent_enforcer", |w| w.before_stop.push(("items", |log| log.at = log.at.plus_ms(400_000)))),
    ("unalerted_outage", |w| {
        w.before_stop.push(("items", |log| log.at = log.at.plus_ms(400_000)));
        w.governance.push_str(INCIDENT);
    }),
    ("unanswered_outage", |w| {
        w.before_stop.push(("items", |log| log.at = log.at.plus_ms(400_000)));
        w.governance.push_str("---\nkind: Alert\nname: a\nservice: items\nfrom: 2026-11-22T10:00:00Z\nto: 2026-11-22T10:10:00Z\nraised: 2026-11-22T10:12:00Z\n");
    }),
    ("rejected_lines", |w| w.bytes.push(("items", |log| [log, b"{\"v\":1\n"].concat()))),
    ("broken_chain", |w| {
        w.bytes.push(("items", |log| {
            let mut all = lines(log);
            all.remove(1);
            all.concat()
        }))
    }),
    ("empty_log", |w| w.istio.push(String::new())),
    ("absent_log", |w| w.bytes.push(("items", |_| Vec::new()))),
    ("late_head", |w| {
        w.before_stop.push(("items", |log| {
            (0..10).for_each(|_| {
                log.at = log.at.plus_ms(150_000);
                log.heartbeat(0);
            })
        }))
    }),
    ("clock_step", |w| w.instances_go_back = true),
    ("clock_skew", |w| {
        // What `items` was called for stands, by its clock, before `invoices` was asked.
        for path in ["/v1/invoices/t1", "/v1/invoices/t2", "/v1/invoices/t3", "/v1/invoices/t4"] {
            w.asks.push(Ask { alter: Some(traced), ..ask("gateway", "invoices", "GET", path) });
        }
        for path in ["/v1/items/t1", "/v1/items/t2", "/v1/items/t3", "/v1/items/t4"] {
            w.asks.push(Ask { alter: Some(traced), ..ask("invoices", "items", "GET", path) });
        }
    }),
    ("unreviewed_day", |w| w.runs = false),
    ("open_finding", |w| w.asks.push(Ask { alter: Some(old_tls), ..ask("invoices", "items", "GET", "/v1/items/3") })),
    ("policy_review_due", |w| World::replace(&mut w.governance, "of: policy\non: 2026-11-01", "of: policy\non: 2026-05-01")),
    ("account_review_due", |w| {
        World::replace(&mut w.governance, "of: system-accounts\non: 2026-11-01", "of: system-accounts\nevery: 30d\non: 2026-10-01")
    }),
    ("unacknowledged_review", |w| w.governance = w.governance.replace("acknowledged_by: [board]", "acknowledged_by: [security]")),
    ("user_review_due", |w| World::replace(&mut w.governance, "of: user-accounts\non: 2026-11-01", "of: user-accounts\non: 2026-05-01")),
    ("scope_confirmation_due", |w| World::replace(&mut w.governance, "of: scope\non: 2026-11-01", "of: scope\non: 2025-11-01")),
    ("risk_analysis_due", |w| World::replace(&mut w.governance, "of: risk-analysis\non: 2026-11-01", "of: risk-analysis\non: 2025-11-01")),
    ("cryptography_review_due", |w| {
        World::replace(&mut w.governance, "of: cryptography\non: 2026-11-01", "of: cryptography\non: 2025-11-01")
    }),
    ("technology_review_due", |w| {
        World::replace(&mut w.governance, "of: technologies\non: 2026-11-01", "of: technologies\non: 2025-11-01")
    }),
    ("operations_review_due", |w| World::replace(&mut w.governance, "of: operations\non: 2026-11-01", "of: operations\non: 2026-08-01")),
    ("other_log_review_due", |w| World::replace(&mut w.governance, "of: other-logs\non: 2026-11-01", "of: other-logs\non: 2025-11-01")),
    ("segmentation_retest_due", |w| {
        World::replace(&mut w.governance, "of: segmentation-test\non: 2026-11-01", "of: segmentation-test\non: 2025-11-01")
    }),
    ("change_confirmation_due", |w| {
        World::replace(&mut w.governance, "of: significant-change\non: 2026-11-01", "of: significant-change\non: 2025-11-01")
    }),
];

const INCIDENT: &str = "---\nkind: Incident\nname: i\nservice: items\nfrom: 2026-11-22T10:00:00Z\nto: 2026-11-22T10:10:00Z\n\
    cause: c\naction: a\nclosed: 2026-11-22\nby: [ann]\n";

fn confirmed(check: &str, subject: &str) -> String {
    let digest = Digest::of(subject.as_bytes()).hex();
    format!("---\nkind: Disposition\nname: d\nfinding: {check}-{}\nticket: T\nby: [ann]\nconfirmed: true\n", digest.split_at(12).0)
}

fn without_stop(log: &[u8]) -> Vec<u8> {
    let mut all = lines(log);
    all.pop();
    all.concat()
}

fn allowed(decided: &mut Decided) {
    (decided.decision.effect, decided.decision.reason) = (Effect::Allow, Reason::Permitted);
    decided.decision.policies = vec!["invoices-items-read".to_owned()];
}

fn denied(decided: &mut Decided) {
    (decided.decision.effect, decided.decision.reason) = (Effect::Deny, Reason::NoPermission);
    decided.decision.policies = Vec::new();
}

fn old_tls(decided: &mut Decided) {
    "TLSv1.0".clone_into(&mut decided.tls.as_mut().unwrap().version);
}

fn no_tls(decided: &mut Decided) {
    decided.tls = None;
}

fn ended_certificate(decided: &mut Decided) {
    decided.tls.as_mut().unwrap().not_after = crate::world::today(-3_600);
}

fn borrowed_certificate(decided: &mut Decided) {
    decided.tls.as_mut().unwrap().sha256 = Digest::of(crate::testing::id("gateway").as_str().as_bytes());
}

fn stripe(decided: &mut Decided) {
    decided.request.correlation = Some(";4111111111111111=2512".to_owned());
}

fn traced(decided: &mut Decided) {
    decided.request.correlation = decided.request.path.as_deref().and_then(|path| path.rsplit('/').next()).map(str::to_owned);
}

fn another_address(decided: &mut Decided) {
    decided.source.ip = Some("10.9.9.9".parse().unwrap());
}

/// A line of the sidecar beside `to`, which let the request through.
fn istio(from: &str, to: &str, method: &str, path: &str) -> String {
    let line = serde_json::json!({
        "start_time": crate::testing::start().to_string(), "method": method, "path": path, "response_code": 200,
        "response_code_details": "via_upstream", "authority": format!("{to}.shop.svc.cluster.local"), "upstream_cluster": "inbound|8080||",
        "request_id": "r1", "downstream_peer_uri_san": crate::testing::id(from), "downstream_local_uri_san": crate::testing::id(to),
        "downstream_tls_version": "TLSv1.3", "downstream_tls_cipher": "TLS_AES_256_GCM_SHA384",
    });
    format!("{line}\n")
}

fn foreign_address(decided: &mut Decided) {
    decided.source.ip = Some("203.0.113.9".parse().unwrap());
}

fn verdicts(a: &Assessment) -> BTreeMap<(&str, &str), (Verdict, &str)> {
    a.controls.iter().map(|c| ((c.catalog.as_str(), c.id.as_str()), (c.verdict, c.why.as_str()))).collect()
}

fn catalogs() -> Vec<Catalog> {
    BUILT_IN.iter().map(|id| Catalog::built_in(id).unwrap()).collect()
}

/// Each of the two scenarios of an outage has on record what the other one misses.
#[test]
fn what_is_on_record_answers_an_outage() {
    let names = ["unalerted_outage", "unanswered_outage"];
    for (name, spoil) in SPOILT.iter().filter(|(name, _)| names.contains(name)) {
        let mut world = World::good();
        spoil(&mut world);
        let a = world.audit();
        let found: Vec<_> = names.iter().filter(|check| a.findings.iter().any(|f| f.check == **check)).collect();
        assert_eq!(found, [name]);
    }
}

#[test]
fn where_all_is_as_it_should_be_every_control_says_the_best_it_may() {
    let a = World { days: 366, ..World::good() }.audit();
    let grave: Vec<_> =
        a.findings.iter().filter(|f| f.severity <= crate::assessment::Weight::Medium).map(|f| (&f.check, &f.summary)).collect();
    assert!(grave.is_empty(), "{grave:#?}");
    let said = verdicts(&a);
    for catalog in catalogs() {
        for control in &catalog.controls {
            let (verdict, why) = said[&(catalog.id.as_str(), control.id.as_str())];
            let want = match control.otherwise {
                Otherwise::MetTechnical => Verdict::MetTechnical,
                Otherwise::NeedsHuman => Verdict::NeedsHuman,
                Otherwise::NotAssessed => Verdict::NotAssessed,
            };
            assert_eq!(verdict, want, "{} {}: {why}", catalog.id, control.id);
        }
    }
    assert!(a.governance.configs.iter().all(|c| c.ran.len() == 366), "what was given is what ran");
    assert!(a.governance.history.iter().all(|c| c.in_force));
}

#[test]
fn every_check_that_can_refute_or_doubt_does_so_for_every_control_that_names_it() {
    let base = World::good().audit();
    let clean: BTreeSet<&str> = base.findings.iter().map(|f| f.check.as_str()).collect();
    let catalogs = catalogs();
    let mut wrong = Vec::new();
    for (check, spoil) in SPOILT {
        let mut world = World::good();
        spoil(&mut world);
        let a = world.audit();
        let found: Vec<_> = a.findings.iter().filter(|f| f.check == *check).collect();
        if clean.contains(check) || found.is_empty() {
            wrong.push(format!("{check}: found before {}, after {}", clean.contains(check), found.len()));
            continue;
        }
        let said = verdicts(&a);
        for catalog in &catalogs {
            for control in &catalog.controls {
                let (verdict, why) = said[&(catalog.id.as_str(), control.id.as_str())];
                let refutes = control.refuted_by.iter().any(|c| c == check);
                let doubts = control.doubted_by.iter().any(|c| c == check);
                let fits = match (refutes, doubts) {
                    (true, _) => verdict == Verdict::NotMet,
                    (_, true) => matches!(verdict, Verdict::Suspect | Verdict::NotMet),
                    _ => true,
                };
                if !fits {
                    wrong.push(format!("{check}: {} {} is {verdict:?}: {why}", catalog.id, control.id));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_automated_verdict_is_without_its_scenarios() {
    let exercised: BTreeSet<&str> = SPOILT.iter().map(|(check, _)| *check).collect();
    assert_eq!(exercised.len(), SPOILT.len(), "a check stands twice");
    let mut lacking = BTreeSet::new();
    for catalog in catalogs() {
        for control in &catalog.controls {
            let named = control.refuted_by.iter().chain(&control.doubted_by);
            lacking.extend(named.filter(|c| !exercised.contains(c.as_str())).map(|c| format!("{c} ({} {})", catalog.id, control.id)));
        }
    }
    assert!(lacking.is_empty(), "no scenario makes these find something: {lacking:#?}");
}

#[test]
fn nothing_declared_means_nothing_known_of_it() {
    let mut world = World::good();
    world.commits.clear();
    let bare = |w: &World| {
        let law = crate::testing::authorizer(&w.policy);
        let mut log = Log::start("items", "items-1", *law.revision());
        log.ask(&law, &crate::testing::id("invoices"), "GET", "/v1/items/1");
        log.stop();
        crate::Audit::new(vec![("market".to_owned(), law)]).logs([crate::testing::memory("items", &log.out)]).run(&mut |_| {}).unwrap()
    };
    let a = bare(&world);
    for id in ["1.2.7", "2.2.1", "2.2.6", "4.2.1", "6.5.3", "7.2.3", "7.2.5.1", "10.4.1", "11.5.2", "12.3.3", "A1.1.2", "A1.2.1"] {
        assert_eq!(a.controls.iter().find(|c| c.id == id).unwrap().verdict, Verdict::NotAssessed, "{id}");
    }
    let declared =
        ["policy_review_due", "unreviewed_day", "unlisted_certificate", "unclassified_service", "open_finding", "out_of_band_revision"];
    assert!(a.findings.iter().all(|f| !declared.contains(&f.check.as_str())), "{:?}", a.findings);
}

/// A policy that nobody was seen to enforce denies nothing: whatever else is given, without a record no control is met.
#[test]
fn over_logs_without_a_record_no_control_is_met() {
    let base = World { days: 1, ..World::good() };
    for given in [&["governance"][..], &[]] {
        let law = crate::testing::authorizer(&base.policy);
        let governance = base.governance.replace("REVISION", &law.revision().to_string());
        let mut audit = crate::Audit::new(vec![("market".to_owned(), law)]).logs([crate::testing::memory("items", b"")]);
        if !given.is_empty() {
            audit = audit.governance(crate::governance::Governance::read(&[("g.yaml", governance.into_bytes())]).unwrap());
        }
        for catalog in catalogs() {
            audit = audit.catalog(catalog);
        }
        let a = audit.run(&mut |_| {}).unwrap();
        let met: Vec<_> = a.controls.iter().filter(|c| c.verdict == Verdict::MetTechnical).map(|c| (&c.id, &c.why)).collect();
        // That grants were approved by whom the scope entitles is told by policy and scope alone, and said so.
        let (by_record, others): (Vec<_>, Vec<_>) = met.into_iter().partition(|(_, why)| why.ends_with("on no traffic"));
        assert!(others.is_empty(), "{given:?}: {others:#?}");
        assert!(by_record.iter().all(|(id, _)| id.as_str() == "7.2.3"), "{given:?}: {by_record:#?}");
    }
}
