//! `portreeve diff` as its users run it: verdicts and exit codes, the four forms, revisions of a repository, recorded traffic.

#![cfg(test)]

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

mod common;

use common::{root, run_in};

const SHOP: &str = r#"
kind: Service
name: items
identities: [spiffe://market.example/sa/items]
headers: {x-tenant: string}
operations:
  - {id: read-item, method: GET, path: "/v1/items/{id}"}
  - {id: write-item, method: [POST, PUT], path: /v1/items}
---
kind: Service
name: invoices
identities: [spiffe://market.example/sa/invoices]
---
kind: Service
name: users
identities: [spiffe://market.example/sa/users]
---
kind: Permission
name: invoices-read-items
allow: {from: [invoices], to: items, operations: [read-item]}
---
kind: Permission
name: users-write-items
allow: {from: [users], to: items, operations: [write-item]}
when: {headers: {x-tenant: [eu, us]}}
"#;

const CEDAR: &str = "@id(\"no-odd-tenants\")\nforbid(principal, action, resource in Service::\"items\")\nwhen { context.headers has \"x-tenant\" && context.headers[\"x-tenant\"] == \"xx\" };\n";

struct Pair(TempDir);

impl Pair {
    fn new(old: &[(&str, &str)], new: &[(&str, &str)]) -> Self {
        let dir = TempDir::new().unwrap();
        for (side, files) in [("old", old), ("new", new)] {
            fs::create_dir(dir.path().join(side)).unwrap();
            for (name, text) in files {
                fs::write(dir.path().join(side).join(name), text).unwrap();
            }
        }
        Self(dir)
    }

    fn json(&self, more: &[&str]) -> (i32, Value) {
        let run = run_in(self.0.path(), &[&["diff", "old", "new", "--format", "json"], more].concat(), b"");
        let document = serde_json::from_str(&run.out).unwrap_or_else(|e| panic!("{e}: {}\n{}", run.out, run.err));
        (run.code, document)
    }
}

#[test]
fn verdicts_and_exit_codes() {
    let narrower = SHOP.replace("[eu, us]", "[eu]");
    let wider = SHOP.replace("[eu, us]", "[eu, us, ch]");
    let other = SHOP.replace("[eu, us]", "[eu, ch]");
    let reordered = SHOP.replace("[eu, us]", "[us, eu]").replace("invoices-read-items", "items-are-read");
    for (old, new, code, verdict, kinds) in [
        (&[("a.yaml", SHOP)][..], &[("b.yaml", SHOP)][..], 0, "equivalent", &[][..]),
        (&[("a.yaml", SHOP)], &[("a.yaml", &reordered)], 0, "equivalent", &[]),
        (&[("a.yaml", SHOP)], &[("a.yaml", &narrower)], 1, "less-permissive", &["newly-denied"]),
        (&[("a.yaml", SHOP)], &[("a.yaml", &wider)], 1, "more-permissive", &["newly-allowed"]),
        (&[("a.yaml", SHOP)], &[("a.yaml", &other)], 1, "incomparable", &["newly-allowed", "newly-denied"]),
        // A prohibition beside the permissions: shown on a request of the algebra where there is one, else open.
        (&[("a.yaml", SHOP)], &[("a.yaml", SHOP), ("b.cedar", CEDAR)], 1, "unknown", &["may-differ"]),
    ] {
        let (found, document) = Pair::new(old, new).json(&[]);
        assert_eq!((found, document["verdict"].as_str().unwrap()), (code, verdict), "{document:#}");
        let changes: Vec<&str> = document["changes"].as_array().unwrap().iter().map(|c| c["kind"].as_str().unwrap()).collect();
        let known: std::collections::BTreeSet<&str> = changes.into_iter().collect();
        assert_eq!(known.into_iter().collect::<Vec<_>>(), kinds, "{document:#}");
    }
}

#[test]
fn a_changed_cedar_condition_may_differ_and_a_comment_does_not() {
    let commented = format!("// why\n{}", CEDAR.replace(" && ", "\n  &&  "));
    let changed = CEDAR.replace("\"xx\"", "\"yy\"");
    let side = |cedar: &'static str| [("a.yaml", SHOP), ("b.cedar", cedar)];
    let leak = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
    let (code, document) = Pair::new(&side(CEDAR), &side(leak(commented))).json(&[]);
    assert_eq!((code, document["verdict"].as_str().unwrap()), (0, "equivalent"), "{document:#}");
    let (code, document) = Pair::new(&side(CEDAR), &side(leak(changed))).json(&[]);
    assert_eq!((code, document["verdict"].as_str().unwrap()), (1, "unknown"), "{document:#}");
    let changes = document["changes"].as_array().unwrap();
    assert!(changes.iter().all(|c| c["kind"] == "may-differ" && c["policies"]["new"][0]["id"] == "no-odd-tenants"), "{document:#}");
    // A test case with the tenant in question is a request that shows it.
    let case = "---\nkind: Test\nname: t\ncases:\n- {as: invoices, call: GET items/v1/items/1, headers: {x-tenant: yy}, expect: deny}\n";
    let tested = leak(format!("{SHOP}{case}"));
    let changed = leak(CEDAR.replace("\"xx\"", "\"yy\""));
    let (_, document) = Pair::new(&side(CEDAR), &[("a.yaml", tested), ("b.cedar", changed)]).json(&[]);
    let shown = document["changes"].as_array().unwrap().iter().find(|c| !c["witness"].is_null()).unwrap();
    assert_eq!((shown["kind"].as_str(), shown["witness"]["new"]["reason"].as_str()), (Some("may-differ"), Some("prohibited")));
}

#[test]
fn the_document_has_the_promised_shape() {
    let without = SHOP.split("---\nkind: Permission\nname: invoices-read-items").next().unwrap();
    let (_, document) = Pair::new(&[("a.yaml", SHOP)], &[("a.yaml", without)]).json(&[]);
    let change = document["changes"].as_array().unwrap().iter().find(|c| c["callers"][0] == "invoices").unwrap();
    assert_eq!(change["kind"], "newly-denied");
    assert_eq!(
        (change["before"].as_str(), change["after"].as_str(), change["direction"].as_str()),
        (Some("always"), Some("never"), Some("deny"))
    );
    let operations = serde_json::json!([{"before": "read-item", "after": "read-item", "by": ["GET"]}]);
    assert_eq!(change["targets"][0], serde_json::json!({"service": "items", "operations": operations}));
    assert_eq!(change["policies"]["old"][0]["at"], "a.yaml:19");
    assert_eq!(change["policies"]["new"], serde_json::json!([]));
    assert_eq!((&change["witness"]["old"]["effect"], &change["witness"]["new"]["reason"]), (&"allow".into(), &"no-permission".into()));
    assert!(document.get("logs").is_none() && change.get("recorded").is_none());
    // The witness is a request that `decide` takes, and answers as said.
    let pair = Pair::new(&[("a.yaml", SHOP)], &[("a.yaml", without)]);
    let request = format!("{}\n", change["witness"]["request"]);
    for (side, code) in [("old", 0), ("new", 1)] {
        assert_eq!(run_in(pair.0.path(), &["decide", "--bundle", side], request.as_bytes()).code, code);
    }
}

#[test]
fn forms_for_people_and_pipelines() {
    let without = SHOP.split("---\nkind: Permission\nname: users-write-items").next().unwrap();
    let pair = Pair::new(&[("a.yaml", SHOP)], &[("a.yaml", without)]);
    let human = run_in(pair.0.path(), &["diff", "old", "new"], b"");
    assert_eq!((human.code, human.out.as_str()), (1, ""));
    let witness = r#"{"principal":"spiffe://market.example/sa/users","service":"items","method":"POST","path":"/v1/items","context":{"time":"2026-01-01T00:00:00.000Z","headers":{"x-tenant":"eu"}}}"#;
    let text = format!(
        "newly-denied: users → items: write-item (POST, PUT)\n  was allowed on conditions, is never allowed\n  old allow users-write-items (a.yaml:23)\n  for example {witness}\n    allow (permitted) → deny (no-permission)\n\ndiffers: less-permissive: 1 change (1 newly-denied)\n"
    );
    assert!(human.err.starts_with(&text), "{}", human.err);
    let markdown = run_in(pair.0.path(), &["diff", "old", "new", "--format", "markdown"], b"");
    assert!(markdown.out.starts_with("## Policy change: less permissive\n"), "{}", markdown.out);
    assert!(
        markdown.out.contains(
            "| 1 | **newly denied**<br>was allowed on conditions, is never allowed | `users` | `items: write-item (POST, PUT)` | old: `users-write-items` `a.yaml:23` |"
        ),
        "{}",
        markdown.out
    );
    assert!(markdown.out.contains("<details>") && markdown.err.contains("differs: less-permissive"));
    let same = run_in(pair.0.path(), &["diff", "old", "old"], b"");
    assert_eq!(same.code, 0);
    assert!(same.err.starts_with("ok: equivalent"), "{}", same.err);
}

#[test]
fn sarif_validates_and_marks_the_lines() {
    let schema: Value =
        serde_json::from_str(&fs::read_to_string(root().join("tests/corpus/schemas/sarif-schema-2.1.0.json")).unwrap()).unwrap();
    let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
    let narrower = SHOP.replace("[eu, us]", "[eu]");
    let pair = Pair::new(&[("a.yaml", SHOP)], &[("a.yaml", &narrower), ("b.cedar", CEDAR)]);
    let run = run_in(pair.0.path(), &["diff", "old", "new", "--format", "sarif"], b"");
    assert_eq!(run.code, 1);
    let document: Value = serde_json::from_str(&run.out).unwrap();
    let errors: Vec<String> = validator.iter_errors(&document).map(|e| format!("{e} at {}", e.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    let results = document["runs"][0]["results"].as_array().unwrap();
    let narrowed = results.iter().find(|r| r["ruleId"] == "newly-denied").unwrap();
    let place = &narrowed["locations"][0]["physicalLocation"];
    assert_eq!((place["artifactLocation"]["uri"].as_str(), place["region"]["startLine"].as_u64()), (Some("new/a.yaml"), Some(23)));
}

#[test]
fn revisions_of_a_repository() {
    let dir = TempDir::new().unwrap();
    let git = |args: &[&str]| {
        let done = Command::new("git").current_dir(dir.path()).args(args).output().unwrap();
        assert!(done.status.success(), "{args:?} {}", String::from_utf8_lossy(&done.stderr));
    };
    fs::create_dir(dir.path().join("policies")).unwrap();
    let file = dir.path().join("policies/a.yaml");
    fs::write(&file, SHOP).unwrap();
    git(&["init", "-q"]);
    git(&["add", "."]);
    git(&["-c", "user.name=t", "-c", "user.email=t@t.example", "commit", "-qm", "one"]);
    let same = run_in(dir.path(), &["diff", "HEAD:policies", "policies"], b"");
    assert_eq!(same.code, 0, "{}", same.err);
    fs::write(&file, SHOP.replace("[eu, us]", "[eu]")).unwrap();
    let other = run_in(dir.path(), &["diff", "HEAD:policies", "policies"], b"");
    assert_eq!(other.code, 1);
    assert!(other.err.contains("less-permissive"), "{}", other.err);
}

#[test]
fn what_cannot_be_read_is_no_verdict() {
    let pair = Pair::new(&[("a.yaml", SHOP)], &[("a.yaml", "kind: Nonsense\n")]);
    for args in
        [&["diff", "old", "new"][..], &["diff", "old", "missing"], &["diff", "old"], &["diff", "old", "old", "--logs", "none.ndjson"]]
    {
        let run = run_in(pair.0.path(), args, b"");
        assert_eq!((run.code, run.out.as_str()), (2, ""), "{args:?} {}", run.err);
    }
}

/// A record of a request by `who`, with a tenant; its chain is of no interest here.
fn record(seq: usize, who: &str, call: &str, tenant: &str) -> String {
    let (method, path) = call.split_once(' ').unwrap();
    let zeros = "0".repeat(64);
    format!(
        r#"{{"v":1,"seq":{seq},"prev":"sha256:{zeros}","at":"2026-11-22T10:00:00.000Z","event":"decided","mode":"enforce","revision":"sha256:{zeros}","source":{{"id":"spiffe://market.example/sa/{who}","service":"{who}","ip":"10.0.0.7"}},"destination":{{"id":"spiffe://market.example/sa/items","service":"items"}},"request":{{"id":"r{seq}","protocol":"HTTP/2","method":"{method}","path":"{path}","host":"items"}},"context":{{"headers":{{"x-tenant":"{tenant}"}},"query":{{}}}},"decision":{{"effect":"allow","reason":"permitted","policies":[],"errors":[],"shadow":[]}}}}"#
    )
}

#[test]
fn recorded_traffic_is_counted_by_change() {
    let new = SHOP.replace("[eu, us]", "[eu, ch]");
    let pair = Pair::new(&[("a.yaml", SHOP)], &[("a.yaml", &new)]);
    let write = "POST /v1/items";
    let lines = [
        record(0, "users", write, "eu"),
        record(1, "users", write, "us"),
        record(2, "users", "PUT /v1/items", "us"),
        record(3, "users", write, "ch"),
        record(4, "users", write, "xx"),
        record(5, "invoices", "GET /v1/items/1", "us"),
        record(6, "users", "G\u{e9}T /v1/items", "us"),
        "no record".to_owned(),
    ];
    fs::write(pair.0.path().join("log.ndjson"), lines.join("\n") + "\n").unwrap();
    let (code, document) = pair.json(&["--logs", "log.ndjson"]);
    assert_eq!(code, 1);
    let logs = &document["logs"];
    for (what, want) in [
        ("lines", 8),
        ("rejected", 1),
        ("decided", 7),
        ("duplicates", 0),
        ("other", 0),
        ("not_replayable", 1),
        ("unchanged", 3),
        ("newly_allowed", 1),
        ("newly_denied", 2),
    ] {
        assert_eq!(logs[what], want, "{what}: {document:#}");
    }
    let brought: Vec<_> = logs["by_policy"].as_array().unwrap().iter().map(|p| (&p["policy"], &p["proposed"], &p["examples"])).collect();
    let (name, old, new) =
        (serde_json::json!("users-write-items"), serde_json::json!(["log.ndjson:2", "log.ndjson:3"]), serde_json::json!(["log.ndjson:4"]));
    assert_eq!(brought, [(&name, &serde_json::json!(false), &old), (&name, &serde_json::json!(true), &new)], "{logs:#}");
    assert_eq!(logs["reasons"][0]["examples"], serde_json::json!(["log.ndjson:7"]));
    let of = |kind: &str| document["changes"].as_array().unwrap().iter().find(|c| c["kind"] == kind).unwrap()["recorded"].clone();
    assert_eq!(of("newly-denied"), serde_json::json!({"requests": 5, "newly_allowed": 0, "newly_denied": 2}));
    assert_eq!(of("newly-allowed"), serde_json::json!({"requests": 5, "newly_allowed": 1, "newly_denied": 0}));
}

/// Logs of other meshes are put to both bundles too, each request once, and no line is lost from view.
#[test]
fn traffic_of_every_format_is_counted() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/logs");
    // The grant that is taken away, and how many requests use it: as often as a plain script counts the pair, whatever the mesh did.
    for (log, grant, newly_denied, not_replayable) in [
        ("istio/access.json", "page-reads-reviews", 44, 0),
        ("istio/waypoint.log", "page-reads-reviews", 0, 8),
        ("envoy/access.log", "sleep-asks-httpbin", 0, 2),
        ("ztunnel/ztunnel.log", "page-reads-reviews", 0, 10),
        ("hubble/hipstershop.jsonl", "frontend-calls-cartservice", 1, 0),
        ("opa/decisions.jsonl", "buyer-buys", 0, 2),
        ("mapped/flows.csv", "jobs-use-the-database", 10, 10),
    ] {
        let folder = corpus.join(log.split('/').next().unwrap());
        let policy = fs::read_to_string(folder.join("policy.yaml")).unwrap();
        let parts = policy.split("---\n").filter(|part| !part.starts_with(&format!("kind: Permission\nname: {grant}\n")));
        let without = parts.collect::<Vec<_>>().join("---\n");
        assert_ne!(policy, without, "{log}");
        let pair = Pair::new(&[("policy.yaml", &policy)], &[("policy.yaml", &without)]);
        let (path, mapping) = (corpus.join(log), folder.join("mapping.yaml"));
        let mut args = vec!["--logs", path.to_str().unwrap()];
        if mapping.exists() {
            args.extend(["--log-mapping", mapping.to_str().unwrap()]);
        }
        let (code, document) = pair.json(&args);
        assert_eq!(code, 1, "{log}");
        let logs = &document["logs"];
        let n = |what: &str| logs[what].as_u64().unwrap();
        assert_eq!(n("lines"), n("decided") + n("duplicates") + n("other") + n("rejected"), "{log}: {logs:#}");
        assert_eq!(n("decided"), n("unchanged") + n("newly_allowed") + n("newly_denied") + n("not_replayable"), "{log}: {logs:#}");
        assert_eq!((n("newly_denied"), n("newly_allowed"), n("not_replayable")), (newly_denied, 0, not_replayable), "{log}: {logs:#}");
        let reasons: u64 = logs["reasons"].as_array().unwrap().iter().map(|r| r["count"].as_u64().unwrap()).sum();
        assert_eq!(reasons, not_replayable, "{log}: {logs:#}");
        for reason in logs["reasons"].as_array().unwrap() {
            assert!(reason["examples"].as_array().unwrap().len() as u64 <= reason["count"].as_u64().unwrap(), "{log}: {logs:#}");
        }
        let responsible: Vec<_> =
            logs["by_policy"].as_array().unwrap().iter().map(|p| (p["policy"].as_str(), p["newly_denied"].as_u64())).collect();
        let want = if newly_denied == 0 { vec![] } else { vec![(Some(grant), Some(newly_denied))] };
        assert_eq!(responsible, want, "{log}");
        let of_change = &document["changes"][0]["recorded"];
        assert_eq!(of_change["newly_denied"], newly_denied, "{log}: {document:#}");
        // Audited, the same log has as many requests.
        let run = run_in(
            pair.0.path(),
            &[&["replay", "--format", "json", "--bundle", "old", "--against", "new"], &args_of_replay(&args)[..]].concat(),
            b"",
        );
        let replayed: Value = serde_json::from_str(&run.out).unwrap();
        assert_eq!(
            replayed["decided"].as_u64().unwrap() + replayed["duplicates"].as_u64().unwrap(),
            n("decided") + n("duplicates"),
            "{log}"
        );
    }
}

/// The arguments of `diff` about logs, as `replay` takes them.
fn args_of_replay<'a>(args: &[&'a str]) -> Vec<&'a str> {
    args.iter().copied().filter(|a| *a != "--logs").collect()
}

#[test]
fn hostile_names_stay_inside_their_spans() {
    let odd = SHOP.replace("users-write-items", "\"users`|<b>\"");
    let pair = Pair::new(&[("a.yaml", &odd)], &[("a.yaml", &odd.replace("[eu, us]", "[\"`</code>|\"]"))]);
    let run = run_in(pair.0.path(), &["diff", "old", "new", "--format", "markdown"], b"");
    if run.code == 1 {
        for line in run.out.lines().filter(|l| l.starts_with("| 1 ")) {
            assert_eq!(line.matches('`').count() % 2, 0, "{line}");
            assert!(!line.replace("\\|", "").contains("`users'|"), "{line}");
        }
    } else {
        // Names like that are refused before they reach a report.
        assert_eq!(run.code, 2, "{}", run.err);
    }
    assert!(Path::new(pair.0.path()).exists());
}
