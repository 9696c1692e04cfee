//! Drafts from logs that the real law answered: exactly what was allowed is allowed again, and nothing that was denied.

use std::collections::BTreeSet;

use portreeve_engine::record::{Answer, Decided, Event, RequestFacts};
use portreeve_engine::request::{Attributes, Context, Method, Target};
use portreeve_engine::{Authorizer, Bundle, Effect, Record, Request, SourceFile};

use super::*;
use crate::random::Random;
use crate::testing::{Log, id, memory, start};

const SERVICES: [&str; 4] = ["edge", "items", "orders", "cards"];
const PATHS: [&str; 6] = ["/v1/{id}", "/v1/search", "/v1/{id}/notes", "/v1/{id}/notes/{note}", "/", "/v1/people/{name}"];
const VALUES: [&str; 7] = ["17", "4111111111111111", "ann", "bob", "9f1c2a7e-4b0d-4c55-9d1a-2f6c0b7a8e11", "tok_9aZ", "2026-11-22"];

fn bundle(files: &[(&str, &str)]) -> Bundle {
    let files = files.iter().map(|(path, text)| SourceFile { path: (*path).to_owned(), bytes: text.as_bytes().to_vec() });
    Bundle::from_files("test", files.collect()).unwrap()
}

fn law(bundle: &Bundle) -> Authorizer {
    let compiled = Authorizer::compile(bundle);
    compiled
        .authorizer
        .unwrap_or_else(|| panic!("{:#?}\n{:?}", compiled.diagnostics, bundle.files.iter().map(|f| f.text().unwrap()).collect::<Vec<_>>()))
}

/// Services that all offer some of the paths, and grants at random.
fn world(random: &mut Random) -> String {
    let mut out = String::new();
    for name in SERVICES {
        out.push_str(&format!("---\nkind: Service\nname: {name}\nidentities: [{}]\noperations:\n", id(name)));
        for (n, path) in PATHS.iter().enumerate() {
            out.push_str(&format!("  - {{id: op-{n}, method: [GET, POST], path: \"{path}\"}}\n"));
        }
    }
    for n in 0..6 {
        let (from, to) = (SERVICES[random.below(4)], SERVICES[random.below(4)]);
        let (a, b) = (random.below(6), random.below(6));
        out.push_str(&format!("---\nkind: Permission\nname: p{n}\nallow: {{from: [{from}], to: {to}, operations: [op-{a}"));
        out.push_str(&if a == b { "]}\n".to_owned() } else { format!(", op-{b}]}}\n") });
    }
    out
}

/// A log of one service, answered by the law.
fn log(law: &Authorizer, service: &str, random: &mut Random, requests: usize) -> Log {
    let mut log = Log::start(service, &format!("{service}-1"), *law.revision());
    for _ in 0..requests {
        let mut path = PATHS[random.below(6)].to_owned();
        for place in ["{id}", "{note}", "{name}"] {
            path = path.replace(place, VALUES[random.below(7)]);
        }
        let from = SERVICES[random.below(4)];
        let method = ["GET", "POST"][random.below(2)];
        ask(&mut log, law, from, method, &path);
    }
    log
}

/// Puts a question to the law, and records the answer.
fn ask(log: &mut Log, law: &Authorizer, from: &str, method: &str, path: &str) -> Effect {
    let (target, _) = portreeve_engine::request::parse_target(path, portreeve_engine::path::Paths::default()).unwrap();
    let request = Request {
        principal: id(from),
        service: log.service.as_str().into(),
        target: Target::Http { method: Method::parse(method).unwrap(), path: target },
        host: None,
        context: Context { time: start(), source_ip: None, headers: Attributes::new(), query: Attributes::new(), jwt: None },
    };
    let decision = law.decide(&request);
    let (facts, context) = law.facts(&request, &decision);
    let pattern = log.question(from, path, None, decision.effect, decision.reason, &[]);
    let decided = Decided {
        source: portreeve_engine::record::Source { service: law.identify(&id(from)).map(|s| s.name.to_string()), ..pattern.source.clone() },
        request: RequestFacts { id: pattern.request.id.clone(), protocol: pattern.request.protocol.clone(), ..facts },
        context,
        decision: Answer {
            effect: decision.effect,
            reason: decision.reason,
            policies: decision.policies.iter().map(|p| p.id.to_string()).collect(),
            errors: vec![],
            shadow: vec![],
        },
        ..pattern
    };
    let effect = decision.effect;
    let of = log.decide(decided);
    if effect == Effect::Allow {
        log.end(of);
    }
    effect
}

fn decided(bytes: &[u8]) -> Vec<(Record, Box<Decided>)> {
    let lines = bytes.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(|l| Record::from_line(l).unwrap());
    lines.filter_map(|r| if let Event::Decided(d) = r.event.clone() { Some((r, d)) } else { None }).collect()
}

/// Each record's answer, put to a law again.
fn replayed(law: &Authorizer, bytes: &[u8], mut each: impl FnMut(&Decided, Effect)) {
    for (record, decided) in decided(bytes) {
        let request = decided.request(record.at, law.paths(&decided.destination.service)).unwrap();
        each(&decided, law.decide(&request).effect);
    }
}

fn drafted(logs: &[Log], base: Option<Base<'_>>) -> Draft {
    let sources: Vec<LogSource> = logs.iter().map(|l| memory(&l.service, &l.out)).collect();
    suggest(&sources, &Reading::default(), Ground { base, trust_domain: None }, &mut |_| {}).unwrap()
}

fn draft_law(draft: &Draft) -> Authorizer {
    law(&bundle(&draft.files.iter().map(|(p, t)| (&**p, &**t)).collect::<Vec<_>>()))
}

#[test]
fn the_draft_allows_exactly_what_the_log_shows_as_allowed() {
    let mut total = 0;
    for seed in 1..25 {
        println!("seed {seed}");
        let mut random = Random(seed);
        let truth = law(&bundle(&[("all.yaml", &world(&mut random))]));
        let logs: Vec<Log> = SERVICES.iter().map(|s| log(&truth, s, &mut random, 60)).collect();
        let draft = drafted(&logs, None);
        if draft.files.is_empty() {
            continue;
        }
        let again = draft_law(&draft);
        for log in &logs {
            replayed(&again, &log.out, |decided, effect| {
                assert_eq!(
                    effect,
                    decided.decision.effect,
                    "{decided:?}\n{:#?}\n{}",
                    draft.cautions,
                    draft.files.values().cloned().collect::<String>()
                );
                total += 1;
            });
        }
        assert_eq!(draft, drafted(&logs, None));
    }
    assert!(total > 4_000, "{total}");
}

#[test]
fn beside_a_bundle_only_what_is_missing_is_drafted_and_nothing_denied_is_allowed() {
    let mut changes = 0;
    for seed in 1..16 {
        println!("seed {seed}");
        let mut random = Random(seed);
        let truth = law(&bundle(&[("all.yaml", &world(&mut random))]));
        let logs: Vec<Log> = SERVICES.iter().map(|s| log(&truth, s, &mut random, 60)).collect();
        // A repo that lacks a service, operations and permissions, and has a grant of everything declared.
        let old = format!(
            "kind: Service\nname: edge\nidentities: [{}]\n---\nkind: Service\nname: items\nidentities: [{}]\noperations:\n  - {{id: find, method: GET, path: /v1/search}}\n---\n\
             kind: Service\nname: orders\nidentities: [{}]\noperations: [{{id: own-notes, method: GET, path: \"/v1/{{id}}/notes\"}}]\n---\n\
             kind: Permission\nname: wide\nallow: {{from: [orders], to: items, operations: '*'}}\n",
            id("edge"),
            id("items"),
            id("orders"),
        );
        let old = bundle(&[("old.yaml", &old)]);
        let before = law(&old);
        let draft = drafted(&logs, Some(Base { bundle: &old, law: &before }));
        let after = law(&changed(&old, &draft.files).unwrap());
        changes += usize::from(!draft.files.is_empty());
        for log in &logs {
            for (record, decided) in decided(&log.out) {
                let request = decided.request(record.at, after.paths(&decided.destination.service)).unwrap();
                let (was, is) = (before.decide(&request).effect, after.decide(&request).effect);
                let text = || format!("{decided:?}\n{:#?}", draft);
                match decided.decision.effect {
                    Effect::Deny => assert_eq!(is, was, "{}", text()),
                    // What is not declared beside a grant of everything is told.
                    Effect::Allow => {
                        assert!(is == Effect::Allow || draft.cautions.iter().any(|c| c.contains("would then allow")), "{}", text())
                    }
                }
            }
        }
    }
    assert!(changes > 10, "{changes}");
}

#[test]
fn no_value_of_a_path_stands_in_a_draft() {
    let mut random = Random(7);
    let truth = law(&bundle(&[("all.yaml", &world(&mut random))]));
    let logs: Vec<Log> = SERVICES.iter().map(|s| log(&truth, s, &mut random, 300)).collect();
    let draft = drafted(&logs, None);
    let text: String = draft.files.values().cloned().chain(draft.cautions.iter().cloned()).collect();
    assert!(text.contains("{id}"), "{text}");
    for value in VALUES {
        let slashed = format!("/{value}");
        assert!(!text.contains(&slashed), "{value}\n{text}");
    }
}

const CONDITIONED: &str = "kind: Service\nname: items\nidentities: [spiffe://market.example/ns/shop/sa/items]\noperations:\n  - {id: read, method: GET, path: \"/v1/{id}\"}\n  \
- {id: one, method: GET, path: /v1/9}\n---\n\
kind: Service\nname: edge\nidentities: [spiffe://market.example/ns/shop/sa/edge]\n---\nkind: Permission\nname: p\nallow: {from: [edge], to: items, operations: [read]}\n";

/// `/v1/9` is denied and looks like what is allowed: both are `/v1/{id}` without their values.
#[test]
fn what_was_answered_both_ways_is_granted_to_nobody() {
    let truth = law(&bundle(&[("a.yaml", CONDITIONED)]));
    let mut log = Log::start("items", "items-1", *truth.revision());
    assert_eq!(ask(&mut log, &truth, "edge", "GET", "/v1/8"), Effect::Allow);
    assert_eq!(ask(&mut log, &truth, "edge", "GET", "/v1/9"), Effect::Deny);
    let draft = drafted(&[log], None);
    assert!(draft.files.is_empty(), "{draft:#?}");
    assert!(draft.cautions.iter().any(|c| c.contains("both allowed and denied")), "{draft:#?}");
}

#[test]
fn strangers_that_were_denied_are_no_services() {
    let truth = law(&bundle(&[("a.yaml", CONDITIONED)]));
    let mut log = Log::start("items", "items-1", *truth.revision());
    ask(&mut log, &truth, "edge", "GET", "/v1/8");
    ask(&mut log, &truth, "mallory", "GET", "/v1/8");
    ask(&mut log, &truth, "mallory", "GET", "/etc/passwd");
    let draft = drafted(&[log], None);
    let text: String = draft.files.values().cloned().collect();
    assert!(text.contains("from: [edge]") && !text.contains("mallory") && !text.contains("passwd"), "{text}");
    assert_eq!((draft.services, draft.operations, draft.permissions, draft.granted), (2, 1, 1, 1));
    assert!(text.contains("# caution: seen only once"), "{text}");
    let names: BTreeSet<&str> = draft.files.keys().map(String::as_str).collect();
    assert_eq!(names, BTreeSet::from(["inventory.yaml", "permissions.yaml"]));
}

/// A flow within the platform: the caller by its labels, what it asked, and whether it was let through.
fn flow(from: &str, to: &str, path: &str, verdict: &str, second: usize) -> String {
    let end = |account: &str| {
        let label = "k8s:io.cilium.k8s.policy.serviceaccount=";
        format!(r#"{{"namespace":"shop","labels":["k8s:app={account}","{label}{account}"],"pod_name":"{account}-7d9"}}"#)
    };
    format!(
        concat!(
            r#"{{"flow":{{"time":"2026-11-22T10:00:{:02}Z","verdict":"{}","traffic_direction":"INGRESS","source":{},"destination":{},"#,
            r#""l4":{{"TCP":{{"destination_port":8080}}}},"l7":{{"type":"REQUEST","http":{{"method":"GET","url":"{}"}}}}}}}}"#,
            "\n"
        ),
        second,
        verdict,
        end(from),
        end(to),
        path
    )
}

fn flows() -> String {
    let calls = [
        ("invoices", "items", "/v1/items/17", "FORWARDED"),
        ("invoices", "items", "/v1/items/18", "FORWARDED"),
        ("users", "items", "/v1/items/17", "DROPPED"),
    ];
    (0..4).flat_map(|n| calls.map(|(from, to, path, verdict)| flow(from, to, path, verdict, n))).collect()
}

fn of_labels(log: &str, ground: Ground<'_>, reading: &Reading) -> Draft {
    suggest(&[memory("flows", log.as_bytes())], reading, ground, &mut |_| {}).unwrap()
}

fn asks(from: &str, path: &str) -> Request {
    let line =
        format!(r#"{{"principal":"{from}","service":"items","method":"GET","path":"{path}","context":{{"time":"2026-11-22T10:00:00Z"}}}}"#);
    Request::from_json(line.as_bytes()).unwrap()
}

#[test]
fn labels_are_identities_by_the_convention_that_is_said_and_by_none_else() {
    let none = of_labels(&flows(), Ground::default(), &Reading::default());
    assert!(none.files.is_empty());
    assert_eq!(none.left_out.iter().next(), Some((&"requests whose caller has no SPIFFE ID in the line, nor one by a convention", &12)));
    let domain = "market.example".parse().unwrap();
    let said = Ground { base: None, trust_domain: Some(&domain) };
    let draft = of_labels(&flows(), said, &Reading::default());
    assert_eq!((draft.services, draft.permissions, draft.granted), (2, 1, 8));
    let text: String = draft.files.values().cloned().collect();
    for want in [
        "# caution: no line has this identity; it follows from namespace and service account\nkind: Service\nname: items\n",
        "identities: [spiffe://market.example/ns/shop/sa/items]",
        "    # caution: grade C: the caller is known by a label of the platform\n    - get-v1-items-id  # 8 requests",
    ] {
        assert!(text.contains(want), "{want}\n{text}");
    }
    let law = draft_law(&draft);
    assert_eq!(law.decide(&asks(id("invoices").as_str(), "/v1/items/99")).effect, Effect::Allow);
    assert_eq!(law.decide(&asks(id("users").as_str(), "/v1/items/17")).effect, Effect::Deny);
    // A name that could change what is meant is none.
    let odd = of_labels(&flows().replace("=invoices", "=in/voices"), said, &Reading::default());
    assert!(odd.files.is_empty(), "{:?}", odd.files);
}

#[test]
fn labels_are_services_of_the_bundle_and_strangers_by_its_convention() {
    let bundle = bundle(&[("all.yaml", crate::testing::POLICY)]);
    let law = law(&bundle);
    let base = Ground { base: Some(Base { bundle: &bundle, law: &law }), trust_domain: None };
    // What the bundle grants already is not drafted again; another path of a known caller is, and a stranger gets an identity like the others.
    let log = flows() + &flow("invoices", "items", "/v2/things", "FORWARDED", 30) + &flow("lab", "items", "/v1/items/4", "FORWARDED", 31);
    let draft = of_labels(&log, base, &Reading::default());
    assert_eq!((draft.already, draft.granted, draft.permissions, draft.services), (8, 2, 2, 1), "{draft:#?}");
    let text: String = draft.files.values().cloned().collect();
    assert!(
        text.contains("from: [invoices]\n  to: items\n")
            && text.contains("name: lab\nidentities: [spiffe://market.example/ns/shop/sa/lab]"),
        "{text}"
    );
    assert!(text.contains("grade C"), "{text}");
    // Linkerd's names of identities are those of accounts, and known by the certificate.
    let linkerd = |account: &str| {
        format!(
            concat!(
                r#"{{"client.addr":"10.42.0.70:32996","client.id":"{}.shop.serviceaccount.identity.linkerd.cluster.local","host":"items.shop.svc.cluster.local:7000","#,
                r#""method":"GET","status":200,"timestamp":"2026-11-22T10:00:00Z","uri":"http://items.shop.svc.cluster.local:7000/v2/things","version":"HTTP/2.0"}}"#,
                "\n"
            ),
            account
        )
    };
    let draft = of_labels(&format!("{}{}{}", linkerd("users"), linkerd("users"), linkerd("users")), base, &Reading::default());
    let text: String = draft.files.values().cloned().collect();
    assert!(text.contains("from: [users]\n  to: items\n") && !text.contains("grade"), "{text}\n{:?}", draft.left_out);
    // An inventory of several forms has no convention.
    let mixed = crate::testing::POLICY.replace("/ns/shop/sa/gateway", "/edge/gateway");
    let bundle = self::bundle(&[("all.yaml", &mixed)]);
    let law = self::law(&bundle);
    let base = Ground { base: Some(Base { bundle: &bundle, law: &law }), trust_domain: None };
    let draft = of_labels(&flow("lab", "items", "/v1/items/4", "FORWARDED", 31), base, &Reading::default());
    assert!(draft.files.is_empty() && draft.left_out.values().sum::<u64>() == 1, "{draft:#?}");
}

/// An address is whose the mapping says it is, and still no identity to grant something to.
#[test]
fn an_address_is_granted_nothing() {
    let bundle = bundle(&[("all.yaml", crate::testing::POLICY)]);
    let law = law(&bundle);
    let base = Ground { base: Some(Base { bundle: &bundle, law: &law }), trust_domain: None };
    let mapping = "lines: csv\ncolumns: [at, ip, to, verb, target, code]\nfields: {time: at, caller_address: ip, callee: to, method: verb, path: target, status: code}\naddresses:\n  - {network: 10.0.0.0/8, service: users}\n";
    let reading = Reading::of(crate::foreign::Mapping::parse("m.yaml", mapping).unwrap());
    let draft = of_labels("2026-11-22T10:00:00Z,10.0.0.7,items,GET,/v2/things,200\n", base, &reading);
    assert!(draft.files.is_empty());
    assert_eq!(draft.left_out.iter().next(), Some((&"requests whose caller is known by its address, or by nothing but its own word", &1)));
}
