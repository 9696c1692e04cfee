//! The whole examination on logs that the real authorizer answered.

use std::collections::BTreeSet;

use portreeve_engine::chain::HeadSigner;
use portreeve_engine::decision::{Effect, Reason};
use portreeve_engine::record::{Event, Mode, Refused, Reloaded};
use portreeve_engine::{Authorizer, Bundle, Digest, Record};

use crate::assessment::{Assessment, Mark, Verdict};
use crate::audit::{Audit, AuditError};
use crate::find::{Search, find_request};
use crate::heads::VerifiedHeads;
use crate::source::LogSource;
use crate::testing::{Log, POLICY, authorizer, id, lines, memory, rechain};

/// Forty requests to items: thirty allowed, ten denied for three reasons; two refusals; all in order.
fn items_log(law: &Authorizer) -> Log {
    let mut log = Log::start("items", "items-1", *law.revision());
    for n in 0..30 {
        log.ask(law, &id("invoices"), "GET", &format!("/v1/items/{}", n % 7));
    }
    for _ in 0..5 {
        log.ask(law, &id("users"), "GET", "/v1/items/1");
    }
    for _ in 0..3 {
        log.ask(law, &id("stranger"), "GET", "/v1/items/1");
    }
    for n in 0..2 {
        log.ask(law, &id("invoices"), "GET", &format!("/admin/{n}"));
    }
    log.push(&Event::Refused(Refused { ip: [10, 0, 0, 9].into(), reason: "certificate-expired".to_owned(), count: 3 }));
    log.push(&Event::Refused(Refused { ip: [10, 0, 0, 9].into(), reason: "no-certificate".to_owned(), count: 1 }));
    log.heartbeat(0);
    log.stop();
    log
}

/// Logs of the other services, each with one request or none.
fn other_logs(law: &Authorizer) -> Vec<LogSource> {
    let mut invoices = Log::start("invoices", "invoices-1", *law.revision());
    invoices.ask(law, &id("gateway"), "GET", "/v1/invoices");
    invoices.stop();
    let quiet = ["gateway", "users"].map(|name| {
        let mut log = Log::start(name, &format!("{name}-1"), *law.revision());
        log.stop();
        memory(name, &log.out)
    });
    std::iter::once(memory("invoices", &invoices.out)).chain(quiet).collect()
}

fn audit(logs: Vec<LogSource>) -> Assessment {
    audit_with(logs, vec![("policies/market/".to_owned(), authorizer(POLICY))], VerifiedHeads::default())
}

fn audit_with(logs: Vec<LogSource>, bundles: Vec<(String, Authorizer)>, heads: VerifiedHeads) -> Assessment {
    let assessment = Audit::new(bundles).logs(logs).heads(heads).run(&mut |_| {}).unwrap();
    conserve(&assessment);
    assessment
}

/// Row conservation, for every assessment any test makes.
fn conserve(a: &Assessment) {
    let t = a.totals;
    assert_eq!(t.lines, t.decided + t.refused + t.lifecycle + t.duplicates + t.rejected, "{t:?}");
    assert_eq!(t.decided, t.allowed + t.denied);
    assert_eq!((t.allowed, t.denied), (a.edges.iter().map(|e| e.allowed).sum(), a.edges.iter().map(|e| e.denied).sum()));
    assert_eq!(t.denied, a.denials.iter().map(|d| d.count).sum::<u64>());
    assert_eq!(t.refused_attempts, a.refusals.iter().map(|r| r.count).sum::<u64>());
    assert_eq!(a.summary.verdicts.iter().map(|v| v.count).sum::<u64>(), a.summary.controls);
    let ids: BTreeSet<&String> = a.findings.iter().map(|f| &f.id).collect();
    assert_eq!(ids.len(), a.findings.len());
    assert!(a.controls.iter().flat_map(|c| &c.findings).all(|f| ids.contains(f)));
    let text = serde_json::to_string(a).unwrap().to_lowercase();
    assert!(!text.contains("compliant") && !text.contains("in place"));
}

fn verdict(a: &Assessment, id: &str) -> Verdict {
    a.controls.iter().find(|c| c.id == id).unwrap().verdict
}

fn found<'a>(a: &'a Assessment, check: &str) -> Vec<&'a str> {
    a.findings.iter().filter(|f| f.check == check).map(|f| f.subject.as_str()).collect()
}

/// Replaces text in the `decided` lines that `pick` accepts, and writes the chain anew.
fn alter(log: &[u8], pick: impl Fn(usize, &str) -> bool, from: &str, to: &str) -> (Vec<u8>, u64) {
    let mut changed = 0;
    let altered: Vec<Vec<u8>> = lines(log)
        .into_iter()
        .enumerate()
        .map(|(n, line)| {
            let text = String::from_utf8(line).unwrap();
            if text.contains(r#""event":"decided""#) && text.contains(from) && pick(n, &text) {
                changed += 1;
                text.replacen(from, to, 1).into_bytes()
            } else {
                text.into_bytes()
            }
        })
        .collect();
    (rechain(&altered), changed)
}

#[test]
fn an_honest_log_agrees_with_its_bundle() {
    let law = authorizer(POLICY);
    let mut logs = other_logs(&law);
    logs.push(memory("items", &items_log(&law).out));
    let a = audit(logs);
    assert_eq!((a.totals.decided, a.totals.allowed, a.totals.denied), (41, 31, 10));
    assert_eq!((a.totals.mismatches, a.totals.not_replayable, a.totals.refused, a.totals.refused_attempts), (0, 0, 2, 4));
    assert_eq!(a.subject, "market");
    for (id, want) in [
        ("7.3.3", Verdict::MetTechnical),
        ("7.3.2", Verdict::MetTechnical),
        ("7.3.1", Verdict::MetTechnical),
        ("1.2.5", Verdict::MetTechnical),
        ("1.4.4", Verdict::MetTechnical),
        ("4.2.1", Verdict::NotAssessed),
        ("10.2.1", Verdict::MetTechnical),
        ("10.2.2", Verdict::MetTechnical),
        ("10.3.2", Verdict::NotAssessed),
        ("10.5.1", Verdict::NotAssessed),
        ("10.2.1.1", Verdict::Suspect),
        ("7.2.5", Verdict::NeedsHuman),
        ("1.3.3", Verdict::NotAssessed),
        ("12.5.1", Verdict::NeedsHuman),
    ] {
        assert_eq!(verdict(&a, id), want, "{id}: {:?}", a.controls.iter().find(|c| c.id == id));
    }
    assert_eq!(found(&a, "unknown_identity_seen"), [id("stranger").to_string()]);
    assert_eq!(found(&a, "undeclared_operation_attempts"), ["invoices → items"]);
    assert_eq!(a.summary.sensitive_reach, ["gateway", "invoices"]);
    assert_eq!(found(&a, "sensitive_data_reachable"), ["gateway"]);
    assert_eq!((a.summary.grants, a.summary.grants_unused), (2, 0));
    let cell = a.matrix.iter().find(|m| m.from == "invoices" && m.to == "items").unwrap();
    assert_eq!((cell.mark, cell.denied, cell.allowed_count, cell.denied_count), (Mark::Used, true, 30, 2));
    let stranger = a.edges.iter().find(|e| e.from.is_none()).unwrap();
    assert_eq!((stranger.from_id.as_ref(), stranger.denied, stranger.declared), (Some(&id("stranger")), 3, false));
    assert_eq!(a.enforcers.len(), 4);
    assert!(a.enforcers.iter().all(|e| e.stopped && e.unrecorded == 0));
    assert_eq!(a.certificates.iter().map(|c| c.requests).sum::<u64>(), 41);
}

#[test]
fn each_altered_decision_is_one_mismatch() {
    let law = authorizer(POLICY);
    let log = items_log(&law).out;
    let every = |_: usize, _: &str| true;
    let third = |n: usize, _: &str| n.is_multiple_of(3);
    let revision = law.revision().to_string();
    let other = Digest::of(b"other").to_string();
    let cases = [
        ("effects to allow", alter(&log, every, r#""effect":"deny""#, r#""effect":"allow""#), "effect"),
        ("effects to deny", alter(&log, third, r#""effect":"allow""#, r#""effect":"deny""#), "effect"),
        ("reasons", alter(&log, third, r#""reason":"no-permission""#, r#""reason":"condition-unmet""#), "reason"),
        ("policies", alter(&log, third, r#"["invoices-read-items"]"#, r#"["gateway-lists-invoices"]"#), "policies"),
        ("operations", alter(&log, third, r#""operation":"read-item""#, r#""operation":"write-item""#), "operation"),
        ("callers", alter(&log, third, r#""service":"users""#, r#""service":"invoices""#), "caller"),
        ("revisions", alter(&log, third, &revision, &other), "revision"),
        ("paths", alter(&log, third, "/v1/items/1", "/v2/items/1"), "operation"),
    ];
    for (name, (altered, changed), what) in cases {
        assert!(changed > 0, "{name}");
        let a = audit(vec![memory("items", &altered)]);
        assert_eq!(a.totals.mismatches, changed, "{name}");
        assert_eq!(verdict(&a, "7.3.2"), Verdict::NotMet, "{name}");
        let finding = a.findings.iter().find(|f| f.check == "enforcement_mismatch").unwrap();
        assert!(finding.summary.contains(what), "{name}: {}", finding.summary);
        assert!(finding.controls.contains(&"pci-dss-4.0.1 7.3.2".to_owned()));
        let mut text = lines(&altered);
        let evidence = &finding.evidence[0];
        let line = text.swap_remove(usize::try_from(evidence.line).unwrap() - 1);
        assert_eq!(evidence.sha256, Digest::of(line.trim_ascii_end()), "{name}");
        assert_eq!(a.totals.not_replayable, if what == "revision" { changed } else { 0 });
    }
}

#[test]
fn every_revision_is_replayed_under_its_own_bundle() {
    let old = authorizer(POLICY);
    let new = authorizer(&POLICY.replace("from: [invoices], to: items", "from: [users], to: items"));
    let mut log = Log::start("items", "items-1", *old.revision());
    log.ask(&old, &id("invoices"), "GET", "/v1/items/1");
    log.revision = *new.revision();
    log.push(&Event::Reloaded(Reloaded { revision: *new.revision(), bundle: None }));
    log.ask(&new, &id("invoices"), "GET", "/v1/items/1");
    log.ask(&new, &id("users"), "GET", "/v1/items/1");
    log.stop();
    let logs = || vec![memory("items", &log.out)];
    let both = || {
        vec![
            ("new".to_owned(), authorizer(&POLICY.replace("from: [invoices], to: items", "from: [users], to: items"))),
            ("old".to_owned(), authorizer(POLICY)),
        ]
    };
    let a = audit_with(logs(), both(), VerifiedHeads::default());
    assert_eq!((a.totals.mismatches, a.totals.not_replayable, a.subject.as_str()), (0, 0, "new"));
    assert_eq!(found(&a, "shadow_edge"), ["invoices → items read-item"]);
    let alone = audit(logs());
    assert_eq!((alone.totals.mismatches, alone.totals.not_replayable), (0, 2));
    assert_eq!(verdict(&alone, "7.3.2"), Verdict::NotAssessed);
}

#[test]
fn the_same_inputs_give_the_same_bytes_in_any_compression_and_order() {
    let law = authorizer(POLICY);
    let log = items_log(&law).out;
    let json = |a: &Assessment| serde_json::to_string(a).unwrap();
    let plain = audit(vec![memory("items", &log)]);
    assert_eq!(json(&plain), json(&audit(vec![memory("items", &log)])));
    let mut packed = audit(vec![memory("items", &zstd::encode_all(&*log, 1).unwrap())]);
    packed.inputs[0].sha256 = plain.inputs[0].sha256;
    assert_eq!(json(&plain), json(&packed));
    let others = other_logs(&law);
    let forward = audit(std::iter::once(memory("items", &log)).chain(others.clone()).collect());
    let backward = audit(others.into_iter().chain([memory("items", &log)]).rev().collect());
    assert_eq!(forward.edges, backward.edges);
    assert_eq!(forward.totals, backward.totals);
    assert_eq!(forward.controls, backward.controls);
}

#[test]
fn a_file_given_twice_decides_nothing_twice() {
    let law = authorizer(POLICY);
    let log = items_log(&law).out;
    let once = audit(vec![memory("items", &log)]);
    let twice = audit(vec![memory("items", &log), memory("copy", &log)]);
    assert_eq!(twice.totals.duplicates, once.totals.lines);
    assert_eq!((twice.totals.decided, &twice.edges), (once.totals.decided, &once.edges));
}

#[test]
fn what_is_outside_the_mesh_is_seen_from_its_callers() {
    let outside = "---\nkind: Service\nname: cards\nhosts: [api.cards.example]\noperations: [{id: tls, port: 443}]\n---\nkind: Permission\nname: invoices-cards\nallow: {from: invoices, to: cards, operations: [tls]}\n";
    let text = format!("{POLICY}{outside}");
    let law = authorizer(&text);
    let assess = |log: &Log| {
        audit_with(vec![memory("invoices", &log.out)], vec![("market".to_owned(), authorizer(&text))], VerifiedHeads::default())
    };
    let mut log = Log::start("invoices", "invoices-1", *law.revision());
    let observed = |a: &Assessment| a.services.iter().find(|s| s.name == "cards").unwrap().observed;
    assert!(!observed(&assess(&log)));
    for host in ["api.cards.example:443", "evil.example:443"] {
        let mut decided = log.question("invoices", "/", None, Effect::Deny, Reason::UnknownService, &[]);
        decided.side = Some(portreeve_engine::record::Side::Outbound);
        (decided.tls, decided.source.ip, decided.destination.id) = (None, None, None);
        decided.destination.service = if host.starts_with("api") { "cards".to_owned() } else { "evil.example".to_owned() };
        (decided.request.method, decided.request.path, decided.request.port) = (None, None, Some(443));
        decided.request.host = Some(host.to_owned());
        let request = decided.request(log.at.plus_ms(1000), portreeve_engine::path::Paths::Strict).unwrap();
        let decision = law.decide(&request);
        decided.request.operation = decision.operation.map(str::to_owned);
        decided.decision = portreeve_engine::record::Answer::from(&decision);
        let of = log.decide(decided);
        if decision.is_allow() {
            log.end(of);
        }
    }
    let a = assess(&log);
    assert!(observed(&a));
    assert_eq!((a.totals.mismatches, a.totals.allowed, a.totals.denied), (0, 1, 1));
    assert!(found(&a, "service_without_log").iter().all(|s| *s != "cards") && found(&a, "weak_tls").is_empty());
    assert!(a.edges.iter().any(|e| e.to == "cards" && e.allowed == 1) && a.edges.iter().any(|e| e.to == "evil.example" && e.denied == 1));
}

#[test]
fn evidence_that_is_not_whole_proves_nothing() {
    let law = authorizer(POLICY);
    let a = audit(vec![memory("items", &items_log(&law).out)]);
    assert_eq!(found(&a, "service_without_log"), ["gateway", "invoices", "users"]);
    assert_eq!(verdict(&a, "7.3.1"), Verdict::NotAssessed);
    assert_eq!(verdict(&a, "10.2.1"), Verdict::NotAssessed);
    let empty = audit(vec![memory("empty", b"")]);
    assert_eq!(empty.period, None);
    assert_eq!(verdict(&empty, "7.3.2"), Verdict::NotAssessed);
    assert_eq!(verdict(&empty, "10.2.2"), Verdict::NotAssessed);
    let mut unrecorded = Log::start("items", "items-1", *law.revision());
    unrecorded.ask(&law, &id("invoices"), "GET", "/v1/items/1");
    unrecorded.heartbeat(7);
    unrecorded.stop();
    let a = audit(vec![memory("items", &unrecorded.out)]);
    assert_eq!((a.totals.unrecorded, verdict(&a, "10.2.1"), verdict(&a, "7.3.2")), (7, Verdict::NotMet, Verdict::NotAssessed));
}

#[test]
fn a_head_lifts_the_log_and_a_broken_chain_refutes() {
    let law = authorizer(POLICY);
    let log = items_log(&law);
    let signer = HeadSigner::from_seed(&[7; 32]);
    let head = signer.sign("items-1", log.chain.next_seq() - 1, log.chain.head(), log.at);
    let heads = || VerifiedHeads::read(serde_json::to_string(&head).unwrap().as_bytes(), &[signer.verifier()]).unwrap();
    let bundles = || vec![("market".to_owned(), authorizer(POLICY))];
    let a = audit_with(vec![memory("items", &log.out)], bundles(), heads());
    assert_eq!(verdict(&a, "10.3.2"), Verdict::MetTechnical);
    let mut cut = lines(&log.out);
    cut.truncate(20);
    let a = audit_with(vec![memory("items", &cut.concat())], bundles(), heads());
    assert_eq!(verdict(&a, "10.3.2"), Verdict::NotMet);
    assert_eq!(found(&a, "broken_chain"), ["items (items-1)"]);
}

#[test]
fn a_counterexample_from_a_broken_log_is_only_suspect() {
    let law = authorizer(POLICY);
    let mut log = Log::start("items", "items-1", *law.revision());
    let mut odd = log.question("invoices", "/v1/items/1", Some("read-item"), Effect::Allow, Reason::Permitted, &["invoices-read-items"]);
    if let Some(tls) = &mut odd.tls {
        "TLSv1.0".clone_into(&mut tls.version);
    }
    let of = log.decide(odd);
    log.end(of);
    log.heartbeat(0);
    log.stop();
    let whole = audit(vec![memory("items", &log.out)]);
    assert_eq!((found(&whole, "weak_tls").len(), verdict(&whole, "1.2.6")), (1, Verdict::NotMet));
    let mut broken = lines(&log.out);
    broken.remove(3);
    let broken = audit(vec![memory("items", &broken.concat())]);
    assert_eq!((found(&broken, "weak_tls").len(), verdict(&broken, "1.2.6")), (1, Verdict::Suspect));
}

#[test]
fn what_a_bundle_no_longer_grants_is_in_doubt_and_what_none_granted_refutes() {
    let old_text = POLICY.replace("from: [invoices], to: items", "from: [users], to: items");
    let old = authorizer(&old_text);
    let new = authorizer(POLICY);
    let mut log = Log::start("items", "items-1", *old.revision());
    log.ask(&old, &id("users"), "GET", "/v1/items/1");
    log.revision = *new.revision();
    log.push(&Event::Reloaded(Reloaded { revision: *new.revision(), bundle: None }));
    let bundles = || vec![("old".to_owned(), authorizer(&old_text)), ("new".to_owned(), authorizer(POLICY))];
    let lawful = audit_with(vec![memory("items", &log.out)], bundles(), VerifiedHeads::default());
    assert_eq!((found(&lawful, "shadow_edge").len(), verdict(&lawful, "12.5.2")), (1, Verdict::Suspect));
    log.allow("users", "/v1/items/1", "read-item", "invoices-read-items");
    let unlawful = audit_with(vec![memory("items", &log.out)], bundles(), VerifiedHeads::default());
    assert_eq!((found(&unlawful, "shadow_edge").len(), verdict(&unlawful, "12.5.2")), (1, Verdict::NotMet));
    assert_eq!(unlawful.matrix.iter().find(|m| m.from == "users" && m.to == "items").unwrap().mark, Mark::Shadow);
}

/// The example bundle with all its languages: what its own test suites ask, answered, logged and examined.
#[test]
fn the_marketplace_replays_without_a_difference() {
    let dir = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../policies/marketplace"));
    let compile = || Authorizer::compile(&Bundle::read_dir(dir).unwrap()).authorizer.unwrap();
    let law = compile();
    let cases: Vec<_> = law.tests().iter().flat_map(|suite| &suite.cases).collect();
    assert!(cases.len() > 10);
    let mut logs: std::collections::BTreeMap<String, Log> = std::collections::BTreeMap::new();
    for (n, case) in cases.iter().enumerate() {
        let mut request = case.request.clone();
        let service = request.service.to_string();
        let log = logs.entry(service.clone()).or_insert_with(|| Log::start(&service, &format!("{service}-1"), *law.revision()));
        request.context.time = request.context.time.max(log.at);
        log.at = request.context.time.plus_ms(-1000);
        let decision = law.decide(&request);
        let mut decided = log.question("x", "/", None, decision.effect, decision.reason, &[]);
        decided.destination.id = None;
        decided.source.id = request.principal.clone();
        decided.source.service = law.identify(&request.principal).map(|s| s.name.to_string());
        decided.source.ip = request.context.source_ip;
        let (facts, context) = law.facts(&request, &decision);
        (decided.request, decided.context, decided.decision) = (facts, context, portreeve_engine::record::Answer::from(&decision));
        decided.request.id = format!("case-{n}");
        if decision.reason == Reason::MalformedRequest {
            decided.request.raw = Some("as sent".to_owned());
        }
        log.decide(decided);
    }
    let logs = logs.iter().map(|(name, log)| memory(name, &log.out)).collect();
    let a = audit_with(logs, vec![("policies/marketplace".to_owned(), compile())], VerifiedHeads::default());
    assert_eq!((a.totals.decided, a.totals.mismatches, a.totals.not_replayable), (cases.len() as u64, 0, 0), "{:#?}", a.findings.first());
    assert!(!a.invariants.is_empty() && !a.summary.sensitive_reach.is_empty());
}

#[test]
fn ends_must_pair_with_what_was_let_through() {
    let law = authorizer(POLICY);
    let mut log = Log::start("items", "items-1", *law.revision());
    let allowed = log.ask(&law, &id("invoices"), "GET", "/v1/items/1");
    let denied = log.ask(&law, &id("users"), "GET", "/v1/items/1");
    log.end(denied);
    log.end(allowed);
    log.end(900);
    let mut unended =
        log.question("invoices", "/v1/items/1", Some("read-item"), Effect::Allow, Reason::Permitted, &["invoices-read-items"]);
    unended.source.ip = None;
    log.decide(unended);
    let open = audit(vec![memory("items", &log.out)]);
    assert!(found(&open, "missing_end").is_empty());
    log.stop();
    let a = audit(vec![memory("items", &log.out)]);
    let stray = a.findings.iter().find(|f| f.check == "stray_end").unwrap();
    assert_eq!(stray.count, 3);
    assert_eq!(a.findings.iter().find(|f| f.check == "missing_end").unwrap().count, 1);
    assert_eq!(verdict(&a, "7.3.2"), Verdict::NotMet);
}

#[test]
fn a_dry_run_is_told_and_forwards_what_it_denies() {
    let law = authorizer(POLICY);
    let mut log = Log::start_after("items", "items-1", *law.revision(), None, Mode::DryRun);
    let denied = log.ask(&law, &id("users"), "GET", "/v1/items/1");
    log.end(denied);
    log.ask(&law, &id("users"), "GET", "/v1/items/2");
    log.stop();
    let a = audit(vec![memory("items", &log.out)]);
    assert_eq!((found(&a, "stray_end").len(), found(&a, "missing_end").len()), (0, 0));
    assert!(a.findings.iter().any(|f| f.check == "dry_run_window" && f.summary.contains("of which 2 denied")));
    assert_eq!(verdict(&a, "7.3.1"), Verdict::NotMet);
}

#[test]
fn malformed_requests_must_be_denied_and_keep_what_was_sent() {
    let law = authorizer(POLICY);
    let mut log = Log::start("items", "items-1", *law.revision());
    let mut bad = log.question("users", "/x", None, Effect::Deny, Reason::MalformedRequest, &[]);
    (bad.request.method, bad.request.path, bad.request.raw) = (None, None, Some("GET //x".to_owned()));
    log.decide(bad.clone());
    assert_eq!(audit(vec![memory("items", &log.out)]).totals.mismatches, 0);
    let cases: [fn(&mut portreeve_engine::record::Decided); 4] = [
        |d| d.request.raw = None,
        |d| d.decision.effect = Effect::Allow,
        |d| d.decision.reason = Reason::NoPermission,
        |d| {
            d.request.raw = None;
            d.request.method = Some("GET".to_owned());
            d.request.path = Some("/v1/items/1".to_owned());
        },
    ];
    for (n, change) in cases.iter().enumerate() {
        let mut log = log.clone();
        let mut changed = bad.clone();
        change(&mut changed);
        log.decide(changed);
        assert_eq!(audit(vec![memory("items", &log.out)]).totals.mismatches, 1, "case {n}");
    }
}

#[test]
fn silence_weak_tls_and_certificates_are_found() {
    let law = authorizer(POLICY);
    let mut log = Log::start("items", "items-1", *law.revision());
    log.ask(&law, &id("invoices"), "GET", "/v1/items/1");
    log.at = log.at.plus_ms(200_000);
    let file = log.rotate();
    log.at = log.at.plus_ms(600_000);
    let mut odd = log.question("invoices", "/v1/items/1", Some("read-item"), Effect::Allow, Reason::Permitted, &["invoices-read-items"]);
    if let Some(tls) = &mut odd.tls {
        "TLSv1.1".clone_into(&mut tls.version);
        tls.not_after = crate::testing::start();
    }
    odd.source.ip = Some("10.0.0.8".parse().unwrap());
    // The first record of a connection says more of the certificate.
    let mut first = odd.clone();
    if let Some(tls) = &mut first.tls {
        (tls.issuer, tls.key) = (Some("CN=shop".to_owned()), Some("RSA 1024".to_owned()));
    }
    let of = log.decide(first);
    log.end(of);
    odd.source.ip = Some("10.0.0.9".parse().unwrap());
    let of = log.decide(odd);
    log.end(of);
    log.stop();
    let a = audit(vec![memory("late", &log.out), memory("early", &file)]);
    let silent = a.findings.iter().find(|f| f.check == "silent_enforcer").unwrap();
    assert_eq!((silent.count, a.enforcers[0].silence_ms_max), (2, 601_000));
    let certificate = format!("{} {} RSA 1024", id("invoices"), Digest::of(b"invoices"));
    assert_eq!(found(&a, "weak_tls"), ["invoices → items TLSv1.1 TLS13_AES_128_GCM_SHA256".to_owned(), certificate]);
    let inventory = &a.analyses.certificates.entries[0];
    assert_eq!((&*inventory.issuers, &*inventory.algorithms), (&["CN=shop".to_owned()][..], &["RSA 1024".to_owned()][..]));
    assert_eq!(a.findings.iter().find(|f| f.check == "expired_certificate_used").unwrap().count, 2);
    assert!(a.findings.iter().any(|f| f.check == "identity_shared_by_sources" && f.summary.contains("2 addresses")));
    assert_eq!(verdict(&a, "4.2.1"), Verdict::NotMet);
}

#[test]
fn what_the_policy_alone_shows_is_found() {
    let more = r#"
---
kind: Service
name: lab
identities: [spiffe://market.example/ns/shop/sa/lab]
zone: staging
operations: [{id: x, method: GET, path: "/x"}]
---
kind: Permission
name: gateway-does-all
allow: {from: [gateway], to: items, operations: any-path}
review_by: 2026-01-01
---
kind: Permission
name: lab-reads-users
allow: {from: [lab], to: users, operations: [read-user]}
justification: Tests.
owner: team-lab
approved_by: [lead]
"#;
    let text = format!("{POLICY}{more}");
    let law = authorizer(&text);
    let log = items_log(&law);
    let a = audit_with(vec![memory("items", &log.out)], vec![("HEAD~1:policies/market".to_owned(), law)], VerifiedHeads::default());
    assert_eq!(a.subject, "market");
    assert_eq!(found(&a, "wildcard_grant"), ["gateway-does-all"]);
    assert_eq!(found(&a, "missing_governance"), ["gateway-does-all"]);
    assert_eq!(found(&a, "overdue_review"), ["gateway-does-all"]);
    assert_eq!(found(&a, "unscheduled_review"), ["lab-reads-users"]);
    assert_eq!(found(&a, "default_deny_hole"), ["gateway-does-all"]);
    assert_eq!(found(&a, "preproduction_edge"), ["lab → users read-user"]);
    assert_eq!(
        found(&a, "sensitive_data_exposed"),
        ["gateway → items read-item", "gateway → items undeclared paths", "gateway → items write-item"]
    );
    assert_eq!(found(&a, "unused_permission"), ["gateway-does-all", "gateway-lists-invoices", "lab-reads-users"]);
    let finding = a.findings.iter().find(|f| f.check == "wildcard_grant").unwrap();
    assert!(finding.at.as_deref().unwrap().starts_with("policy.yaml:"), "{finding:?}");
    for id in ["7.3.3", "1.4.4", "7.2.5", "1.2.5", "6.5.3", "1.2.7"] {
        assert_eq!(verdict(&a, id), Verdict::NotMet, "{id}");
    }
}

#[test]
fn a_burst_of_denials_is_found_against_the_callers_own_history() {
    let law = authorizer(POLICY);
    let mut log = Log::start("items", "items-1", *law.revision());
    for hour in 0..5 {
        for _ in 0..if hour == 3 { 40 } else { 2 } {
            log.ask(&law, &id("users"), "GET", "/v1/items/1");
        }
        log.at = log.at.plus_ms(3_600_000);
    }
    let a = audit(vec![memory("items", &log.out)]);
    assert_eq!(found(&a, "denied_spike"), ["users"]);
}

#[test]
fn a_request_is_found_by_its_id() {
    let law = authorizer(POLICY);
    let log = items_log(&law).out;
    let logs = [memory("none", b""), memory("items", &log)];
    let record = lines(&log).iter().map(|l| Record::from_line(l.trim_ascii_end()).unwrap()).find_map(|r| match r.event {
        Event::Decided(d) if d.decision.effect == Effect::Deny => Some(d),
        _ => None,
    });
    let record = record.unwrap();
    let found = find_request(&logs, &record.request.id).unwrap().found.unwrap();
    assert_eq!((&found.decided, found.evidence.input), (&*record, 1));
    assert_eq!(find_request(&logs, "no-such-id").unwrap(), Search::default());
    // What could not be read may have been it.
    let torn = [memory("items", &log), memory("torn", &log[..log.len() - 9])];
    let search = find_request(&torn, "no-such-id").unwrap();
    assert_eq!((search.found, search.unread, search.first_unread.map(|(input, _)| input)), (None, 1, Some(1)));
}

#[test]
fn what_cannot_be_examined_is_an_error() {
    assert!(matches!(Audit::new(vec![]).logs([memory("x", b"")]).run(&mut |_| {}), Err(AuditError::NoBundle)));
    let bundles = vec![("market".to_owned(), authorizer(POLICY))];
    assert!(matches!(Audit::new(bundles).run(&mut |_| {}), Err(AuditError::NoLog)));
}

/// However many threads read, nothing but the time may tell: of a whole log, a damaged one, one that ends early, and another mesh's.
#[test]
fn the_number_of_threads_does_not_show() {
    let law = authorizer(POLICY);
    let mut log = Log::start("items", "items-1", *law.revision());
    for n in 0..500_u64 {
        let from = ["invoices", "users", "stranger"][(n % 7 % 3) as usize];
        log.ask(&law, &id(from), "GET", &format!("/v1/items/{}", n % 11));
    }
    log.stop();
    let whole = log.out.clone();
    let mut damaged = lines(&whole);
    damaged[100] = b"{\"v\":1,\"seq\":\x1b\n".to_vec();
    damaged.swap(300, 301);
    damaged.remove(500);
    damaged[400] = [vec![b'x'; crate::limits::LINE_BYTES_MAX + 1], b"\n".to_vec()].concat();
    let again = damaged[3].clone();
    damaged.insert(450, again);
    let damaged = damaged.concat();
    let torn = whole[..whole.len() - 40].to_vec();
    let packed = zstd::encode_all(&*damaged.repeat(2), 1).unwrap();
    let broken = noisy_gzip(&whole);
    let envoy: String = (0..1_500)
        .map(|n| {
            format!(
                r#"{{"start_time":"2026-11-22T10:{:02}:{:02}.{:03}Z","method":"GET","path":"/v1/items/{}","response_code":{},"response_flags":"-","request_id":"r{}","upstream_cluster":"inbound|8080||","downstream_peer_uri_san":"spiffe://market.example/ns/shop/sa/invoices"}}"#,
                n / 60 % 60, n % 60, n % 1000, n % 13, if n % 50 == 0 { 403 } else { 200 }, n / 2
            ) + "\n"
        })
        .collect();
    let sets =
        [("whole", whole), ("damaged", damaged), ("torn", torn), ("packed", packed), ("broken", broken), ("envoy", envoy.into_bytes())];
    let sets = sets.map(|(name, bytes)| (name, vec![memory(name, &bytes), memory("again", &bytes)]));
    for (name, logs) in sets {
        assert!(name == "packed" || logs[0].known_length().unwrap() >= crate::limits::AHEAD_BYTES_MIN, "{name} is not worth a thread");
        let examined = |threads: usize| {
            let reading = crate::foreign::Reading::default().on_threads(threads);
            let audit = Audit::new(vec![("market".to_owned(), authorizer(POLICY))]).logs(logs.clone()).reading(reading);
            let verified = crate::verify::verify_on(threads, &logs, &VerifiedHeads::default(), &mut |_| {}).unwrap();
            (serde_json::to_string(&audit.run(&mut |_| {}).unwrap()).unwrap(), serde_json::to_string(&verified).unwrap())
        };
        let one = examined(1);
        for threads in [2, 4] {
            assert!(examined(threads) == one, "{name}: {threads} threads give something else than one");
        }
    }
}

/// A gzip file that is damaged in its middle and does not compress well.
fn noisy_gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    std::io::Write::write_all(&mut out, bytes).unwrap();
    let mut out = out.finish().unwrap();
    let middle = out.len() * 3 / 4;
    out.truncate(middle);
    out
}
