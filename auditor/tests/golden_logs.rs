//! Logs of seven kinds, each audited under its policy: against what was agreed of how they are read (`golden.json`) and of what is
//! concluded (`golden-verdicts.json`, with the recordings), and against a plain script that counts the same lines by rules of its own.

#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "its judges are programs of their own")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use portreeve_auditor::controls::BUILT_IN;
use portreeve_auditor::foreign::{Mapping, Reading};
use portreeve_auditor::{Assessment, Audit, Catalog, LogSource};
use portreeve_engine::chain::ChainWriter;
use portreeve_engine::record::{Answer, ContextFacts, Decided, Destination, Event, Mode, Source, Started, Stopped};
use portreeve_engine::{Authorizer, Bundle, Digest, Request, SourceFile, SpiffeId, Timestamp};
use serde_json::{Value, json};

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus/logs")
}

fn law(folder: &str) -> Authorizer {
    let name = if folder.ends_with("policies") { "shop.yaml" } else { "policy.yaml" };
    let bytes = std::fs::read(corpus().join(folder).join(name)).unwrap();
    let file = SourceFile { path: "policy.yaml".to_owned(), bytes };
    let compiled = Authorizer::compile(&Bundle::from_files(folder, vec![file]).unwrap());
    let text: String = compiled.diagnostics.iter().map(portreeve_engine::Diagnostic::render).collect();
    compiled.authorizer.unwrap_or_else(|| panic!("{text}"))
}

/// The audit of one file of the corpus, under a name that does not depend on where the corpus lies.
fn audit(file: &str) -> Assessment {
    let folder = file.split('/').next().unwrap();
    let bytes = std::fs::read(corpus().join(file)).unwrap();
    let mapping = std::fs::read_to_string(corpus().join(folder).join("mapping.yaml"));
    let reading = mapping.map(|text| Reading::of(Mapping::parse("mapping.yaml", &text).unwrap())).unwrap_or_default();
    let logs = [LogSource::Memory { name: file.to_owned(), bytes }];
    run(Audit::new(vec![(folder.to_owned(), law(folder))]).logs(logs).reading(reading))
}

/// The audit of a log of ours.
fn own() -> Assessment {
    let law = law("istio");
    let logs = [LogSource::Memory { name: "ours".to_owned(), bytes: own_log(&law) }];
    run(Audit::new(vec![("istio".to_owned(), law)]).logs(logs))
}

/// A log of ours: the services of the bookinfo policy, decided by the real authorizer.
fn own_log(law: &Authorizer) -> Vec<u8> {
    let id = |service: &str| -> SpiffeId { format!("spiffe://cluster.local/ns/bookinfo/sa/bookinfo-{service}").parse().unwrap() };
    let (mut chain, mut out) = (ChainWriter::new(), Vec::new());
    let begin: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
    let started = Started {
        enforcer: id("ratings"),
        instance: "ratings-1".to_owned(),
        revision: *law.revision(),
        mode: Mode::Enforce,
        config: Digest::ZERO,
        version: "0.1.0".to_owned(),
        after: None,
        recovered: None,
        bundle: None,
    };
    chain.append(begin, &Event::Started(started), &mut out);
    for n in 0..40_u32 {
        let at = begin.plus_ms(i64::from(n) * 1000);
        let from = id(if n % 4 == 3 { "details" } else { "reviews" });
        let question = json!({"principal": from, "service": "ratings", "method": "GET", "path": format!("/ratings/{}", n % 3), "context": {"time": at}});
        let request = Request::from_json(question.to_string().as_bytes()).unwrap();
        let decision = law.decide(&request);
        let (mut request_facts, context) = law.facts(&request, &decision);
        request_facts.id = format!("r{n}");
        let decided = Decided {
            mode: Mode::Enforce,
            revision: *law.revision(),
            side: None,
            source: Source { service: law.identify(&from).map(|s| s.name.to_string()), id: from, ip: None },
            destination: Destination { id: Some(id("ratings")), service: "ratings".to_owned() },
            request: request_facts,
            context: ContextFacts { ..context },
            tls: None,
            decision: Answer::from(&decision),
        };
        chain.append(at, &Event::Decided(Box::new(decided)), &mut out);
    }
    chain.append(begin.plus_ms(41_000), &Event::Stopped(Stopped { unrecorded: 0 }), &mut out);
    out
}

/// The audit of a recording of real proxies.
fn recorded(name: &str) -> Assessment {
    let file = format!("envoy-recorded/{name}.ndjson.zst");
    let bytes = std::fs::read(corpus().join(&file)).unwrap();
    run(Audit::new(vec![("shop".to_owned(), law("envoy-recorded/policies"))]).logs([LogSource::Memory { name: file, bytes }]))
}

/// An audit under every catalogue that is built in.
fn run(audit: Audit) -> Assessment {
    let audit = BUILT_IN.into_iter().fold(audit, |audit, id| audit.catalog(Catalog::built_in(id).unwrap()));
    audit.run(&mut |_| {}).unwrap()
}

/// What `tests/record/record.py` recorded; its numbers are counted again by `tests/recorded.rs`.
const RECORDINGS: [&str; 3] = ["istio", "recommended", "sidecar"];

const FILES: [&str; 8] = [
    "envoy/access.log",
    "istio/waypoint.log",
    "istio/access.json",
    "ztunnel/ztunnel.log",
    "hubble/docs.jsonl",
    "hubble/hipstershop.jsonl",
    "opa/decisions.jsonl",
    "mapped/flows.csv",
];

/// What is agreed of an assessment: all that rests on how the log was read. Texts of controls and analyses are other tests' subject.
fn agreed(a: &Assessment) -> Value {
    let whole = serde_json::to_value(a).unwrap();
    let checks = [
        "shadow_edge",
        "unlawful_access",
        "denied_although_granted",
        "lost_records",
        "rejected_lines",
        "weak_tls",
        "unknown_identity_allowed",
        "unknown_identity_seen",
        "undeclared_operation_attempts",
        "enforcement_mismatch",
    ];
    let findings = whole["findings"].as_array().unwrap().iter().filter(|f| checks.iter().any(|c| f["check"] == *c));
    let findings: Vec<Value> = findings
        .map(|f| json!({"check": f["check"], "subject": f["subject"], "summary": f["summary"], "count": f["count"], "evidence": f["evidence"]}))
        .collect();
    json!({
        "period": whole["period"], "inputs": whole["inputs"], "totals": whole["totals"], "reads": whole["reads"], "edges": whole["edges"],
        "denials": whole["denials"], "tls": whole["tls"], "certificates": whole["certificates"], "findings": findings,
    })
}

/// An operation to which no grant leads is told with what became of requests for it: another mesh may have allowed them all the same.
#[test]
fn what_nothing_grants_and_a_mesh_allowed_is_no_operation_that_nobody_asked_for() {
    let assessment = audit("hubble/hipstershop.jsonl");
    let dead: Vec<_> = assessment.analyses.dead.entries.iter().map(|d| (d.subject.as_str(), d.allowed, d.denied)).collect();
    assert_eq!(dead, [("postgresql call", 1, 0), ("shippingservice call", 1, 0)]);
    let told: Vec<_> = assessment.findings.iter().filter(|f| f.check == "dead_declaration").map(|f| f.summary.as_str()).collect();
    assert_eq!(
        told,
        [
            "No grant leads to `postgresql call`; 1 request for it was allowed all the same",
            "No grant leads to `shippingservice call`; 1 request for it was allowed all the same"
        ]
    );
}

/// Callers that have no name are not quoted as if that were one.
#[test]
fn callers_without_a_name_are_told_in_words() {
    let assessment = audit("istio/waypoint.log");
    let exposed: Vec<_> = assessment.findings.iter().filter(|f| f.check == "sensitive_data_exposed").map(|f| f.summary.as_str()).collect();
    assert_eq!(exposed.len(), 1);
    assert!(exposed[0].starts_with("Callers that no line identifies called `ratings` (`read`)"), "{exposed:?}");
}

#[test]
fn assessments_are_as_agreed() {
    let mut all: BTreeMap<&str, Value> = FILES.iter().map(|file| (*file, agreed(&audit(file)))).collect();
    all.insert("ours", agreed(&own()));
    let path = corpus().join("golden.json");
    let text = serde_json::to_string_pretty(&all).unwrap() + "\n";
    if std::env::var_os("PORTREEVE_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let golden: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    for (name, got) in &all {
        for (part, value) in got.as_object().unwrap() {
            assert_eq!(*value, golden[name][part], "{name}: {part}");
        }
    }
}

/// What is agreed of an assessment's conclusions, small enough to be reviewed: the controls under each verdict, and the findings of
/// each check with the lines they are about. The verdict that the most controls of a catalogue have is only counted.
fn concluded(a: &Assessment) -> Value {
    let mut out = serde_json::Map::new();
    for catalog in BUILT_IN {
        let mut by_verdict: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for control in a.controls.iter().filter(|c| c.catalog == catalog) {
            by_verdict.entry(control.verdict.as_str()).or_default().push(&control.id);
        }
        let most = by_verdict.iter().max_by_key(|(_, ids)| ids.len()).map(|(verdict, _)| *verdict);
        let told = |(verdict, ids): (&str, Vec<&str>)| {
            let value = if Some(verdict) == most { json!(format!("the other {}", ids.len())) } else { json!(ids.join(" ")) };
            (verdict.to_owned(), value)
        };
        out.insert(catalog.to_owned(), Value::Object(by_verdict.into_iter().map(told).collect()));
    }
    let mut by_check: BTreeMap<&str, [u64; 3]> = BTreeMap::new();
    for finding in &a.findings {
        let counts = by_check.entry(&finding.check).or_default();
        counts[0] += 1;
        counts[1] += finding.count;
        counts[2] += u64::from(finding.suspect);
    }
    let told = |[findings, lines, suspect]: [u64; 3]| match suspect {
        0 => format!("{findings} about {lines}"),
        _ => format!("{findings} about {lines}, {suspect} in doubt"),
    };
    out.insert("findings".to_owned(), by_check.into_iter().map(|(check, counts)| (check.to_owned(), json!(told(counts)))).collect());
    Value::Object(out)
}

#[test]
fn verdicts_and_findings_are_as_agreed() {
    let mut all: BTreeMap<String, Value> = FILES.iter().map(|file| ((*file).to_owned(), concluded(&audit(file)))).collect();
    all.insert("ours".to_owned(), concluded(&own()));
    for name in RECORDINGS {
        all.insert(format!("recorded: {name}"), concluded(&recorded(name)));
    }
    let path = corpus().join("golden-verdicts.json");
    if std::env::var_os("PORTREEVE_BLESS").is_some() {
        std::fs::write(&path, serde_json::to_string_pretty(&all).unwrap() + "\n").unwrap();
    }
    let golden: BTreeMap<String, Value> = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert!(golden.keys().eq(all.keys()));
    for (set, got) in &all {
        for (part, value) in got.as_object().unwrap() {
            assert_eq!(*value, golden[set][part], "{set}: {part}");
        }
    }
}

#[test]
fn every_number_is_that_of_a_plain_script() {
    let script = corpus().join("recount.py");
    let folder = tempfile::tempdir().unwrap();
    let ours = folder.path().join("ours.ndjson");
    std::fs::write(&ours, own_log(&law("istio"))).unwrap();
    let Ok(output) = Command::new("python3").arg(&script).arg(&ours).output() else {
        eprintln!("skipped: there is no python3 to count with");
        return;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let counted: Value = serde_json::from_slice(&output.stdout).unwrap();
    for file in FILES {
        counted_again(file, &counted[file], &audit(file));
    }
    counted_again("ours", &counted["ours"], &own());
}

/// Every number of an assessment that the script counts, and every line that a finding points at.
fn counted_again(set: &str, want: &Value, a: &Assessment) {
    let t = a.totals;
    for (what, got) in [
        ("lines", t.lines),
        ("decided", t.decided),
        ("allowed", t.allowed),
        ("denied", t.denied),
        ("duplicates", t.duplicates),
        ("rejected", t.rejected),
        ("lifecycle", t.lifecycle),
        ("undetermined", t.undetermined),
        ("unlawful", t.unlawful),
        ("overdenied", t.overdenied),
        ("not_replayable", t.not_replayable),
        ("lost", a.reads.lost),
        ("lost", a.inputs[0].coverage.lost),
        ("rejected", told(a, "rejected_lines").values().sum()),
        ("lost", told(a, "lost_records").values().sum()),
    ] {
        assert_eq!(want[what], got, "{set}: {what}");
    }
    let mut edges: BTreeMap<String, [u64; 2]> = BTreeMap::new();
    for edge in a.edges.iter().filter(|e| e.allowed + e.denied > 0) {
        let id = edge.from_id.as_ref().map(ToString::to_string);
        let from = edge.from.clone().or(id).or(edge.from_name.clone()).unwrap_or_else(|| "unknown".to_owned());
        let operation = edge.operation.as_deref().unwrap_or("undeclared paths");
        let counts = edges.entry(format!("{from} -> {} {operation}", edge.to)).or_default();
        counts[0] += edge.allowed;
        counts[1] += edge.denied;
    }
    assert_eq!(want["edges"], json!(edges), "{set}");
    for (check, subjects) in want["findings"].as_object().unwrap() {
        assert_eq!(*subjects, json!(told(a, check)), "{set}: {check}");
    }
    let tls: BTreeMap<String, u64> = a.tls.iter().map(|t| (format!("{} {}", t.version, t.suite), t.requests)).collect();
    assert_eq!(want["tls"], json!(tls), "{set}");
    let certificates: BTreeMap<String, u64> = a.certificates.iter().map(|c| (c.sha256.to_string(), c.requests)).collect();
    assert_eq!(want["certificates"], json!(certificates), "{set}");
    analysed_again(set, &want["analyses"], &serde_json::to_value(&a.analyses).unwrap());
    let c = &a.inputs[0].coverage;
    assert_eq!(t.lines, c.decided + c.refused + c.lifecycle + c.duplicates + c.rejected, "{set}");
    let grades = |of: &[portreeve_auditor::assessment::GradeCount]| {
        of.iter().filter(|g| g.count > 0).map(|g| (g.grade.to_string(), g.count)).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(want["grades"], json!(grades(&a.inputs[0].grades)), "{set}");
    assert_eq!(want["grades"], json!(grades(&a.reads.grades)), "{set}");
    let digests = want["digests"].as_array().unwrap();
    for finding in &a.findings {
        for place in &finding.evidence {
            let line = usize::try_from(place.line).unwrap() - 1;
            assert_eq!(digests[line], place.sha256.to_string(), "{set}: {} points at line {}", finding.id, place.line);
        }
    }
}

/// What the graphs say, against a script that tries everything.
fn analysed_again(set: &str, want: &Value, got: &Value) {
    let entries = |part: &str| got[part]["entries"].as_array().unwrap().clone();
    let by = |part: &str, name: &str, of: &dyn Fn(&Value) -> Value| -> Value {
        entries(part).iter().map(|e| (e[name].as_str().unwrap().to_owned(), of(e))).collect::<serde_json::Map<_, _>>().into()
    };
    let graphs = &got["graphs"];
    let classes: serde_json::Map<_, _> =
        graphs["differences"].as_array().unwrap().iter().map(|d| (d["class"].as_str().unwrap().to_owned(), d["edges"].clone())).collect();
    assert_eq!(want["graphs"], json!([graphs["declared"], graphs["allowed"], graphs["observed"], classes]), "{set}");
    let mut reach: Vec<Value> = entries("reach").iter().map(|e| json!([e["kind"], e["target"], e["from"], e["steps"]])).collect();
    reach.sort_by_key(Value::to_string);
    let mut wanted = want["reach"].as_array().unwrap().clone();
    wanted.sort_by_key(Value::to_string);
    assert_eq!(reach, wanted, "{set}");
    assert_eq!(want["choke_points"], by("choke_points", "target", &|e| json!([e["dominators"], e["exposed_to"], e["steps"]])), "{set}");
    let protection = by("protection", "policy", &|e| json!([e["pairs"], e["of"], e["services"]]));
    assert_eq!(want["protection"], protection, "{set}");
    let blast = |e: &Value| {
        let within: Vec<Value> = e["sensitive"].as_array().unwrap().iter().map(|s| json!([s["steps"], s["service"]])).collect();
        json!([e["by_step"], within, e["holds_sensitive"], e["requests"], e["called"]])
    };
    assert_eq!(want["blast"], by("blast", "service", &blast), "{set}");
    // Of several smallest cuts one is told.
    let mut cuts = 0;
    for told in entries("cuts").iter().filter(|e| !e["target"].is_null()) {
        let smallest = &want["cuts"][told["target"].as_str().unwrap()];
        let is_one = |told: &Value, of: &Value| if told.is_null() { of.is_null() } else { of.as_array().unwrap().contains(told) };
        let pairs: Vec<Value> = told["pairs"].as_array().unwrap().iter().map(|p| json!([p["from"], p["to"]])).collect();
        assert!(is_one(&told["services"], &smallest[0]) && is_one(&json!(pairs), &smallest[1]), "{set}: {told} {smallest}");
        cuts += 1;
    }
    assert_eq!(cuts, want["cuts"].as_object().unwrap().len(), "{set}");
}

/// The findings of a check: what they are about, and how many lines.
fn told<'a>(a: &'a Assessment, check: &str) -> BTreeMap<&'a str, u64> {
    a.findings.iter().filter(|f| f.check == check).map(|f| (f.subject.as_str(), f.count)).collect()
}

#[test]
fn the_order_of_files_and_their_compression_change_no_number() {
    let text = std::fs::read_to_string(corpus().join("istio/access.json")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let (called, calling): (Vec<&str>, Vec<&str>) = lines.iter().partition(|l| !l.contains("outbound|"));
    let logs = |order: [&[&str]; 2]| {
        order.map(|lines| LogSource::Memory { name: format!("{} lines", lines.len()), bytes: (lines.join("\n") + "\n").into_bytes() })
    };
    let audit = |order| Audit::new(vec![("istio".to_owned(), law("istio"))]).logs(logs(order)).run(&mut |_| {}).unwrap();
    let one = audit([&called, &calling]);
    let other = audit([&calling, &called]);
    assert_eq!((one.totals, &one.edges, &one.reads.grades), (other.totals, &other.edges, &other.reads.grades));
    // Each is the called side's: who verified the caller says so.
    assert!(one.reads.grades.iter().all(|g| g.count == 0 || g.grade == portreeve_auditor::foreign::Grade::A));
}

#[test]
fn a_log_that_is_read_twice_counts_no_certificate_twice() {
    let text = std::fs::read_to_string(corpus().join("istio/access.json")).unwrap();
    let log = |name: &str, text: &str| LogSource::Memory { name: name.to_owned(), bytes: text.as_bytes().to_vec() };
    let audit = |logs: Vec<LogSource>| {
        let a = Audit::new(vec![("istio".to_owned(), law("istio"))]).logs(logs).run(&mut |_| {}).unwrap();
        let whole = serde_json::to_value(&a).unwrap();
        let numbers = |list: &Value| -> Vec<Value> {
            let told = |c: &Value| json!([c["id"], c["sha256"], c["requests"], c["expired"], c["addresses"]]);
            list.as_array().unwrap().iter().map(told).collect()
        };
        let concerns = whole["analyses"]["identities"]["entries"].as_array().unwrap().clone();
        let concerns: Vec<Value> = concerns.iter().map(|c| json!([c["kind"], c["subject"], c["requests"]])).collect();
        (a.totals.decided, numbers(&whole["certificates"]), concerns)
    };
    let once = audit(vec![log("one", &text)]);
    assert!(once.1.len() == 3 && !once.2.is_empty());
    assert_eq!(audit(vec![log("one", &text), log("two", &text)]), once);
    // Some lines again, and in another order.
    let (mut some, mut rest): (Vec<&str>, Vec<&str>) = (text.lines().step_by(3).collect(), text.lines().collect());
    some.reverse();
    rest.reverse();
    assert_eq!(audit(vec![log("one", &some.join("\n")), log("two", &rest.join("\n"))]), once);
    let sum: u64 = once.1.iter().map(|c| c[2].as_u64().unwrap()).sum();
    assert_eq!(sum, with_certificate(&text));
}

/// How many requests the called side wrote down with a certificate.
fn with_certificate(text: &str) -> u64 {
    let mut seen = std::collections::BTreeSet::new();
    for line in text.lines() {
        let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
        let says = |key: &str| line[key].as_str().filter(|text| !matches!(*text, "" | "-")).map(str::to_owned);
        let is_calling = says("upstream_cluster").is_some_and(|cluster| cluster.starts_with("outbound|"));
        if is_calling || says("downstream_peer_fingerprint_256").is_none() {
            continue;
        }
        seen.insert((says("request_id"), says("authority"), says("method"), says("path"), says("start_time")));
    }
    seen.len() as u64
}

/// As management interfaces hand them out: one array, laid out or not, compressed or not.
#[test]
fn a_log_that_is_one_array_gives_what_its_lines_give() {
    for file in ["opa/decisions.jsonl", "hubble/hipstershop.jsonl"] {
        let text = std::fs::read_to_string(corpus().join(file)).unwrap();
        let objects: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let folder = file.split('/').next().unwrap();
        let audit = |bytes: Vec<u8>| {
            let a = run(Audit::new(vec![(folder.to_owned(), law(folder))]).logs([LogSource::Memory { name: "log".to_owned(), bytes }]));
            let evidence: Vec<_> = a.findings.iter().map(|f| (f.id.clone(), f.evidence.clone())).collect();
            (a.totals, a.edges, a.reads.grades, evidence)
        };
        let lines: String = objects.iter().map(|o| o.to_string() + "\n").collect();
        let want = audit(lines.into_bytes());
        assert_eq!(want.0.lines, objects.len() as u64);
        let array = Value::Array(objects);
        let pretty = serde_json::to_string_pretty(&array).unwrap().into_bytes();
        assert_eq!(audit(array.to_string().into_bytes()), want, "{file}");
        assert_eq!(audit(zstd::encode_all(&*pretty, 1).unwrap()), want, "{file}");
        // Cut off in the middle of its last element.
        let cut = audit(pretty.get(..pretty.len() - 30).unwrap().to_vec());
        assert_eq!((cut.0.lines, cut.0.rejected), (want.0.lines, 1), "{file}");
    }
}

/// Card data in the logs of other meshes: every line that has it, wherever in it, is counted once, and the digits are never repeated.
#[test]
fn card_data_is_found_in_every_format() {
    let pan = "4111111111111111";
    // What is replaced in every line that has it, by what, and where the report says it stands.
    for (file, from, to, check, subject) in [
        ("istio/access.json", "/ratings/0", "/ratings/4111111111111111", "card_number_in_log", "ratings path"),
        ("istio/access.json", "/ratings/0", "/ratings/0?cvv=123", "authentication_data_in_log", "ratings query"),
        (
            "istio/access.json",
            "\"start_time\"",
            "\"user_agent\":\"x 4111 1111 1111 1111\",\"start_time\"",
            "card_number_in_log",
            "ratings user agent",
        ),
        ("istio/waypoint.log", "Go-http-client/", "4111111111111111 Go-http-client/", "card_number_in_log", "ratings line"),
        (
            "hubble/hipstershop.jsonl",
            "\"flow\"",
            "\"note\":\";4111111111111111=2512\",\"flow\"",
            "authentication_data_in_log",
            "cartservice other fields",
        ),
        ("opa/decisions.jsonl", "/books-bought", "/books-bought?n=4111-1111-1111-1111", "card_number_in_log", "bookstore query"),
        ("mapped/flows.csv", ";ACCEPT", ";4111111111111111;ACCEPT", "card_number_in_log", "no request line"),
    ] {
        let text = std::fs::read_to_string(corpus().join(file)).unwrap();
        let changed: Vec<bool> = text.lines().map(|line| line.contains(from)).collect();
        assert!(changed.contains(&true), "{file} {from}");
        let folder = file.split('/').next().unwrap();
        let mapping = std::fs::read_to_string(corpus().join(folder).join("mapping.yaml"));
        let reading = mapping.map(|text| Reading::of(Mapping::parse("mapping.yaml", &text).unwrap())).unwrap_or_default();
        let logs = [LogSource::Memory { name: file.to_owned(), bytes: text.replace(from, to).into_bytes() }];
        let a = run(Audit::new(vec![(folder.to_owned(), law(folder))]).logs(logs).reading(reading));
        let found: Vec<_> = a.findings.iter().filter(|f| f.check == check).collect();
        let counted: u64 = found.iter().map(|f| f.count).sum();
        assert_eq!(counted, changed.iter().filter(|c| **c).count() as u64, "{file} {from}: {found:#?}");
        assert!(found.iter().any(|f| f.subject == subject), "{file} {from}: {:?}", found.iter().map(|f| &f.subject).collect::<Vec<_>>());
        for place in found.iter().flat_map(|f| &f.evidence) {
            assert!(changed[usize::try_from(place.line).unwrap() - 1], "{file} line {}", place.line);
        }
        let told: String = found.iter().map(|f| format!("{} {} {}", f.id, f.subject, f.summary)).collect();
        assert!(!told.contains(pan) && !told.contains("1111"), "{told}");
        // Whether they are sure is for people to say.
        assert!(found.iter().all(|f| f.suspect));
    }
}

#[test]
fn below_the_needed_grade_nothing_is_refuted() {
    // The same traffic, once with certificates and once with addresses that the mapping resolves.
    let with = audit("istio/access.json");
    let without = audit("mapped/flows.csv");
    let doubted = without.findings.iter().find(|f| f.check == "unlawful_access").unwrap();
    assert!(doubted.summary.contains("no line names the caller well enough"), "{}", doubted.summary);
    let proved = with.findings.iter().find(|f| f.check == "unlawful_access").unwrap();
    assert!(!proved.summary.contains("well enough"), "{}", proved.summary);
    let shadow = |a: &Assessment| {
        let control = a.controls.iter().find(|c| c.checks.iter().any(|c| c == "shadow_edge") && c.id == "1.2.5");
        control.map(|c| c.verdict)
    };
    assert_eq!(shadow(&with), Some(portreeve_auditor::assessment::Verdict::NotMet));
    assert_eq!(shadow(&without), Some(portreeve_auditor::assessment::Verdict::Suspect));
}

/// The keys and operators of the format that the book gives for a plain Envoy.
fn recommended() -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/formats/envoy-log.yaml")).unwrap();
    let pairs = text.lines().filter_map(|line| line.strip_prefix("          ")?.split_once(": "));
    pairs.map(|(key, value)| (key.to_owned(), value.trim_matches('"').to_owned())).collect()
}

#[test]
fn the_three_forms_of_the_recommended_format_say_the_same() {
    let docs = |name: &str| std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/formats").join(name)).unwrap();
    let keys = recommended();
    assert!(keys.len() > 25 && keys["downstream_peer_uri_san"] == "%DOWNSTREAM_PEER_URI_SAN%");
    let (istio, kuma) = (docs("istio-mesh-config.yaml"), docs("kuma-mesh-access-log.yaml"));
    for (key, operator) in &keys {
        assert!(istio.contains(&format!("\"{key}\": \"{operator}\"")), "{key}");
        assert!(kuma.contains(&format!("{{key: {key}, value: \"{operator}\"}}")), "{key}");
    }
}

#[test]
fn envoy_takes_the_recommended_format() {
    if !Command::new("envoy").arg("--version").output().is_ok_and(|o| o.status.success()) {
        eprintln!("skipped: there is no `envoy` to ask");
        return;
    }
    let folder = std::env::temp_dir().join(format!("portreeve-envoy-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let config = folder.join("envoy.json");
    let validate = |format: &BTreeMap<String, String>| {
        let log = json!({
            "name": "envoy.access_loggers.file",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
                "path": "/dev/stdout", "log_format": {"json_format": format}
            }
        });
        // Its last word is one that our own names do without.
        let http = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager";
        let listening = json!({
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": format!("{http}.v3.HttpConnection{}", "Mana".to_owned() + "ger"),
                "stat_prefix": "in", "access_log": [log], "route_config": {"name": "none"},
                "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}]
            }
        });
        let address = json!({"socket_address": {"address": "127.0.0.1", "port_value": 0}});
        let bootstrap =
            json!({"static_resources": {"listeners": [{"name": "in", "address": address, "filter_chains": [{"filters": [listening]}]}]}});
        std::fs::write(&config, bootstrap.to_string()).unwrap();
        Command::new("envoy").args(["--mode", "validate", "-c"]).arg(&config).output().unwrap()
    };
    let good = validate(&recommended());
    // Envoy refuses an operator that it does not know: the answer means something.
    let mut wrong = recommended();
    wrong.insert("start_time".to_owned(), "%START_TINE%".to_owned());
    let bad = validate(&wrong);
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(good.status.success(), "{}", String::from_utf8_lossy(&good.stderr));
    assert!(!bad.status.success());
}

/// A caller chooses how it writes the host, and what it is not allowed must not be out of sight for that.
#[test]
fn however_a_host_is_written_it_is_the_service() {
    let told = |authority: &str| {
        let line = json!({
            "start_time": "2026-11-22T10:00:00.000Z", "method": "POST", "path": "/ratings/1", "protocol": "HTTP/1.1", "response_code": 200,
            "response_flags": "-", "response_code_details": "via_upstream", "request_id": authority, "authority": authority,
            "upstream_cluster": "inbound|9080||", "downstream_peer_uri_san": "spiffe://cluster.local/ns/bookinfo/sa/bookinfo-productpage",
        });
        let logs = [LogSource::Memory { name: "istio".to_owned(), bytes: format!("{line}\n").into_bytes() }];
        let a = run(Audit::new(vec![("istio".to_owned(), law("istio"))]).logs(logs));
        assert_eq!(a.totals.decided, 1, "{authority}");
        (a.findings.iter().filter(|f| f.check == "unlawful_access").count(), a.totals.not_replayable)
    };
    for authority in [
        "ratings:9080",
        "RATINGS:9080",
        "Ratings",
        "ratings.",
        "ratings.:9080",
        "Ratings.Bookinfo.svc.Cluster.local.:9080",
        "ratings.bookinfo.svc.cluster.local.",
    ] {
        assert_eq!(told(authority), (1, 0), "{authority}");
    }
    // These are other names.
    for authority in [
        "ratings..:9080",
        "ratings.example.com",
        "r\u{e4}tings",
        "xn--rtings-bua",
        "ratings.shop",
        "[::1]:9080",
        "a@ratings:9080",
        ".",
        ":",
    ] {
        assert_eq!(told(authority), (0, 1), "{authority}");
    }
}
