//! `replay` and `audit` over histories of bundles, and `replay --against`: which records cannot be put to another bundle and why,
//! which policy brings a change, what changes in reach. Logs are written with the engine's own chain, answered by its own law.

#![cfg(test)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use portreeve_engine::chain::ChainWriter;
use portreeve_engine::record::{Answer, Decided, Destination, Event, Mode, Reloaded, Source, Started, Stopped};
use portreeve_engine::{Authorizer, Bundle, Digest, Request, SourceFile};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A shop: invoices reads items; items lets policies see a header.
const SHOP: &str = r#"kind: Service
name: items
identities: [spiffe://market.example/sa/items]
zone: cde
data: [pan]
headers: {x-tenant: string}
operations:
  - {id: read-item, method: GET, path: "/v1/items/{id}"}
  - {id: read-card, method: GET, path: "/v1/cards/{number}", sensitive: [number]}
---
kind: Service
name: invoices
identities: [spiffe://market.example/sa/invoices]
zone: inner
operations: [{id: list, method: GET, path: /v1/invoices}]
---
kind: Service
name: users
identities: [spiffe://market.example/sa/users]
zone: edge
operations: [{id: me, method: GET, path: /me}]
---
kind: Permission
name: invoices-read
allow: {from: [invoices], to: items, operations: [read-item, read-card]}
"#;

struct Run {
    code: i32,
    out: String,
    err: String,
}

fn run_in(dir: &Path, args: &[&str]) -> Run {
    let output = Command::new(env!("CARGO_BIN_EXE_portreeve")).args(args).current_dir(dir).output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(!err.contains("panicked at"), "{err}");
    Run { code: output.status.code().unwrap(), out: String::from_utf8(output.stdout).unwrap(), err }
}

fn json_of(dir: &Path, args: &[&str]) -> (i32, Value) {
    let run = run_in(dir, &[args, &["--format", "json"]].concat());
    (run.code, serde_json::from_str(&run.out).unwrap_or_else(|e| panic!("{e}: {}{}", run.out, run.err)))
}

fn law(text: &str) -> Authorizer {
    let file = SourceFile { path: "shop.yaml".into(), bytes: text.into() };
    Authorizer::compile(&Bundle::from_files("shop", vec![file]).unwrap()).authorizer.unwrap()
}

fn bundle(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join("shop.yaml"), text).unwrap();
    path
}

/// The log of items. Each part is a bundle and what was asked while it was in force: caller, path, headers.
struct Log {
    chain: ChainWriter,
    out: Vec<u8>,
    seconds: u32,
}

type Question<'a> = (&'a str, &'a str, Value);

impl Log {
    fn at(&mut self) -> portreeve_engine::Timestamp {
        self.seconds += 1;
        format!("2026-11-22T10:{:02}:{:02}.000Z", self.seconds / 60, self.seconds % 60).parse().unwrap()
    }

    fn push(&mut self, event: &Event) {
        let at = self.at();
        self.chain.append(at, event, &mut self.out);
    }

    fn of(parts: &[(&Authorizer, &[Question<'_>])]) -> Vec<u8> {
        let mut log = Self { chain: ChainWriter::new(), out: Vec::new(), seconds: 0 };
        for (n, (law, questions)) in parts.iter().enumerate() {
            if n == 0 {
                log.push(&Event::Started(Started {
                    enforcer: "spiffe://market.example/sa/items".parse().unwrap(),
                    instance: "items-1".into(),
                    revision: *law.revision(),
                    mode: Mode::Enforce,
                    config: Digest::ZERO,
                    version: "0.1.0".into(),
                    after: None,
                    recovered: None,
                    bundle: None,
                }));
            } else {
                log.push(&Event::Reloaded(Reloaded { revision: *law.revision(), bundle: None }));
            }
            for question in *questions {
                log.ask(law, question);
            }
        }
        log.push(&Event::Stopped(Stopped { unrecorded: 0 }));
        log.out
    }

    fn ask(&mut self, law: &Authorizer, (from, path, headers): &Question<'_>) {
        let at = self.at();
        let question = json!({"principal": format!("spiffe://market.example/sa/{from}"), "service": "items", "method": "GET", "path": path,
            "context": {"time": at, "source_ip": "10.0.0.7", "headers": headers}});
        let request = Request::from_json(question.to_string().as_bytes()).unwrap();
        let decision = law.decide(&request);
        let (mut facts, context) = law.facts(&request, &decision);
        facts.id = format!("request-{}", self.seconds);
        facts.protocol = "HTTP/2".into();
        let decided = Decided {
            mode: Mode::Enforce,
            revision: *law.revision(),
            side: None,
            source: Source {
                id: request.principal.clone(),
                service: law.identify(&request.principal).map(|s| s.name.to_string()),
                ip: request.context.source_ip,
            },
            destination: Destination { id: None, service: "items".into() },
            request: facts,
            context,
            tls: None,
            decision: Answer::from(&decision),
        };
        self.chain.append(at, &Event::Decided(Box::new(decided)), &mut self.out);
    }
}

fn git(dir: &Path, date: &str, args: &[&str]) {
    let done = Command::new("git")
        .args(["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false", "-c", "init.defaultBranch=main"])
        .args(args)
        .current_dir(dir)
        .env("GIT_COMMITTER_DATE", date)
        .env("GIT_AUTHOR_DATE", date)
        .output()
        .unwrap();
    assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// Three versions of the shop: the first, one in which users read too, one without any grant.
fn versions() -> [String; 3] {
    [
        SHOP.to_owned(),
        SHOP.replace("from: [invoices]", "from: [invoices, users]"),
        SHOP.replace("allow: {from: [invoices]", "allow: {from: [users]"),
    ]
}

/// Under each version the same two questions; the answers differ.
fn log_of_three(versions: &[String; 3]) -> Vec<u8> {
    let laws = versions.each_ref().map(|text| law(text));
    let asked: &[Question<'_>] = &[("invoices", "/v1/items/1", json!({})), ("users", "/v1/items/1", json!({}))];
    Log::of(&[(&laws[0], asked), (&laws[1], asked), (&laws[2], asked)])
}

#[test]
fn each_record_is_judged_under_its_revision_of_a_git_history() {
    let dir = TempDir::new().unwrap();
    let repo = dir.path().join("repo");
    fs::create_dir(&repo).unwrap();
    git(&repo, "2026-11-01T00:00:00Z", &["init", "-q"]);
    let versions = versions();
    for (n, text) in versions.iter().enumerate() {
        bundle(&repo, "policies", text);
        git(&repo, "", &["add", "."]);
        let date = format!("2026-11-{:02}T09:00:00Z", 10 + n);
        git(&repo, &date, &["commit", "-q", "-m", "change"]);
        if n == 1 {
            // A commit that no gate can have taken up is told and passed over, and one elsewhere is none of ours.
            bundle(&repo, "policies", "kind: Nonsense\n");
            git(&repo, "", &["add", "."]);
            git(&repo, "2026-11-11T10:00:00Z", &["commit", "-q", "-m", "broken"]);
            fs::write(repo.join("README.md"), "of no concern").unwrap();
            git(&repo, "", &["add", "."]);
            git(&repo, "2026-11-11T11:00:00Z", &["commit", "-q", "-m", "readme"]);
        }
    }
    fs::write(dir.path().join("a.ndjson"), log_of_three(&versions)).unwrap();
    for history in ["repo:policies", "repo:./policies/"] {
        let (code, report) = json_of(dir.path(), &["replay", "--bundle-history", history, "a.ndjson"]);
        assert_eq!(code, 0, "{report:#}");
        assert_eq!((&report["decided"], &report["agrees"]), (&json!(6), &json!(6)), "{report:#}");
        assert_eq!(report["revisions"].as_array().unwrap().len(), 3);
        assert_eq!(report["lines"], json!(10));
    }
    let told = run_in(dir.path(), &["replay", "--bundle-history", "repo:policies", "a.ndjson"]);
    assert_eq!(told.err.matches("is passed over: it is no valid bundle").count(), 1, "{}", told.err);

    // With the newest alone, four of six cannot be put again; audit says the same and knows when each was in force.
    let (code, report) = json_of(dir.path(), &["replay", "--bundle", "repo/policies", "a.ndjson"]);
    assert_eq!((code, &report["not_replayable"], &report["agrees"]), (1, &json!(4), &json!(2)));
    assert_eq!(report["not_replayed"].as_array().unwrap().iter().map(|u| u["count"].as_u64().unwrap()).sum::<u64>(), 4);
    let audit = ["audit", "--bundle-history", "repo:policies", "a.ndjson", "--fail-on", "never"];
    let (_, assessment) = json_of(dir.path(), &audit);
    let fidelity = &assessment["fidelity"];
    assert_eq!((&fidelity["agreed"], &fidelity["of"], &fidelity["differing"]), (&json!(6), &json!(6), &json!(0)), "{fidelity:#}");
    let since: Vec<_> = fidelity["revisions"].as_array().unwrap().iter().map(|r| r["since"].as_str().unwrap()).collect();
    assert_eq!(since, ["2026-11-10T09:00:00.000Z", "2026-11-11T09:00:00.000Z", "2026-11-12T09:00:00.000Z"]);
    // Code hosts look for lines of policy from the root of the repository on.
    lines_of_policy_lie_in("policies/", dir.path(), "repo:policies");
    // The log is ten days younger than the last change: two revisions should have been gone by then.
    let superseded = assessment["findings"].as_array().unwrap().iter().filter(|f| f["check"] == "superseded_revision").count();
    assert_eq!(superseded, 2);

    for (history, says) in
        [("repo:nowhere", "holds no bundle"), ("nowhere:policies", "cannot change to"), ("nowhere", "cannot read the history")]
    {
        let run = run_in(dir.path(), &["replay", "--bundle-history", history, "a.ndjson"]);
        assert_eq!(run.code, 2, "{history}: {}", run.err);
        assert!(run.err.contains(says), "{history}: {}", run.err);
    }
}

fn lines_of_policy_lie_in(folder: &str, dir: &Path, history: &str) {
    let run = run_in(dir, &["audit", "--bundle-history", history, "a.ndjson", "--fail-on", "never", "--format", "sarif"]);
    let sarif: Value = serde_json::from_str(&run.out).unwrap();
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    let places = results.iter().flat_map(|r| r["locations"].as_array().unwrap());
    let uris = places.map(|l| l["physicalLocation"]["artifactLocation"]["uri"].as_str().unwrap().to_owned());
    let of_policy: Vec<String> = uris.filter(|uri| uri.ends_with(".yaml")).collect();
    assert!(!of_policy.is_empty() && of_policy.iter().all(|uri| uri.starts_with(folder)), "{of_policy:?}");
}

#[test]
fn a_directory_of_bundles_is_a_history() {
    let dir = TempDir::new().unwrap();
    let versions = versions();
    let releases = dir.path().join("releases");
    bundle(&releases, "2026-11-10-first", &versions[0]);
    bundle(&releases, "third", &versions[2]);
    bundle(&releases, "broken", "kind: Nonsense\n");
    bundle(&releases, ".hidden", "kind: Nonsense\n");
    fs::write(releases.join("README.md"), "no bundle").unwrap();
    let second = bundle(dir.path(), "second", &versions[1]);
    let second = second.to_str().unwrap();
    let built = run_in(
        dir.path(),
        &[
            "bundle",
            "build",
            second,
            "--out",
            "releases/second.tar.gz",
            "--name",
            "shop",
            "--serial",
            "2",
            "--issued-at",
            "2026-11-11T09:00:00Z",
        ],
    );
    assert_eq!(built.code, 0, "{}", built.err);
    fs::write(dir.path().join("a.ndjson"), log_of_three(&versions)).unwrap();
    let (code, report) = json_of(dir.path(), &["replay", "--bundle-history", "releases", "a.ndjson"]);
    assert_eq!((code, &report["agrees"]), (0, &json!(6)), "{report:#}");
    let (_, assessment) = json_of(dir.path(), &["audit", "--bundle-history", "releases", "a.ndjson", "--fail-on", "never"]);
    let since: Vec<_> = assessment["fidelity"]["revisions"].as_array().unwrap().iter().map(|r| r["since"].clone()).collect();
    assert_eq!(since, [json!("2026-11-10T00:00:00.000Z"), json!("2026-11-11T09:00:00.000Z"), Value::Null]);
    lines_of_policy_lie_in("releases/", dir.path(), "releases");
    // A history beside a bundle named by itself.
    fs::remove_dir_all(releases.join("third")).unwrap();
    bundle(dir.path(), "third", &versions[2]);
    let (code, report) = json_of(dir.path(), &["replay", "--bundle-history", "releases", "--bundle", "third", "a.ndjson"]);
    assert_eq!((code, &report["agrees"]), (0, &json!(6)), "{report:#}");
    fs::remove_dir_all(&releases).unwrap();
    fs::create_dir(&releases).unwrap();
    assert_eq!(run_in(dir.path(), &["replay", "--bundle-history", "releases", "a.ndjson"]).code, 2);
}

/// Rows: name, proposed bundle, (newly allowed, newly denied, unchanged, not replayable), what the reason says.
#[test]
fn what_was_not_recorded_is_its_own_class_with_its_reason() {
    let law = law(SHOP);
    let dir = TempDir::new().unwrap();
    let questions: &[Question<'_>] = &[
        ("invoices", "/v1/items/1", json!({})),
        ("invoices", "/v1/items/2", json!({"x-tenant": "eu"})),
        ("invoices", "/v1/cards/4111", json!({})),
        ("users", "/v1/items/1", json!({})),
    ];
    fs::write(dir.path().join("a.ndjson"), Log::of(&[(&law, questions)])).unwrap();
    bundle(dir.path(), "now", SHOP);
    let when = |condition: &str| {
        SHOP.replace("operations: [read-item, read-card]}\n", &format!("operations: [read-item, read-card]}}\nwhen: {{{condition}}}\n"))
    };
    let more = |header: &str| SHOP.replace("headers: {x-tenant: string}", &format!("headers: {{x-tenant: string, {header}: string}}"));
    let fresh_condition = more("x-user")
        .replace("operations: [read-item, read-card]}\n", "operations: [read-item, read-card]}\nwhen: {headers: {x-user: [ann]}}\n");
    let cases = [
        ("the same", SHOP.to_owned(), [0, 0, 4, 0], ""),
        ("a grant more", SHOP.replace("from: [invoices]", "from: [invoices, users]"), [1, 0, 3, 0], ""),
        ("no grant", versions()[2].clone(), [1, 3, 0, 0], ""),
        ("a condition on what was recorded", when("headers: {x-tenant: [eu]}"), [0, 2, 2, 0], ""),
        ("a header that nobody reads", more("x-user"), [0, 0, 4, 0], ""),
        (
            "a condition on a header that was not visible",
            fresh_condition.clone(),
            [0, 0, 1, 3],
            "header `x-user`, which `invoices-read` reads, was not recorded",
        ),
        // An unconditional prohibition decides whatever was not recorded.
        (
            "a prohibition beside it",
            format!(
                "{fresh_condition}---\nkind: Permission\nname: closed\ndeny: {{from: any-authenticated, to: items, operations: '*'}}\n"
            ),
            [0, 3, 1, 0],
            "",
        ),
        // An unconditional grant needs no other.
        (
            "an unconditional grant beside it",
            format!("{fresh_condition}---\nkind: Permission\nname: open\nallow: {{from: [invoices], to: items, operations: '*'}}\n"),
            [0, 0, 4, 0],
            "",
        ),
        (
            "another path beside a sensitive one",
            SHOP.replace("  - {id: read-card,", "  - {id: all-cards, method: GET, path: /v1/cards/all}\n  - {id: read-card,"),
            [0, 0, 3, 1],
            "a sensitive part of the path was not recorded",
        ),
    ];
    for (name, text, [allowed, denied, unchanged, unknown], says) in cases {
        bundle(dir.path(), "next", &text);
        let (code, report) = json_of(dir.path(), &["replay", "--bundle", "now", "--against", "next", "a.ndjson"]);
        let what_if = &report["against"];
        let counts = [
            &what_if["newly_allowed"]["requests"],
            &what_if["newly_denied"]["requests"],
            &what_if["unchanged"],
            &what_if["not_replayable"],
        ];
        assert_eq!(counts.map(|n| n.as_u64().unwrap()), [allowed, denied, unchanged, unknown], "{name}: {what_if:#}");
        assert_eq!(allowed + denied + unchanged + unknown, report["decided"].as_u64().unwrap(), "{name}");
        assert_eq!(report["changed"], json!(allowed + denied), "{name}");
        assert_eq!(code, i32::from(allowed + denied + unknown > 0), "{name}");
        let reasons = what_if["reasons"].as_array().unwrap();
        assert_eq!(reasons.is_empty(), unknown == 0, "{name}: {reasons:#?}");
        assert!(reasons.iter().all(|r| r["reason"].as_str().unwrap().contains(says)), "{name}: {reasons:#?}");
        let human = run_in(dir.path(), &["replay", "--bundle", "now", "--against", "next", "a.ndjson"]);
        assert_eq!(human.code, code);
        assert!(human.err.contains(&format!("{unchanged} unchanged, {unknown} not replayable")), "{name}: {}", human.err);
    }
}

#[test]
fn a_change_is_told_by_its_policy_with_examples_and_reach() {
    let law = law(SHOP);
    let dir = TempDir::new().unwrap();
    let ask = |from| (from, "/v1/items/1", json!({}));
    let questions = [ask("invoices"), ask("users"), ask("users"), ask("invoices"), ask("users")];
    fs::write(dir.path().join("a.ndjson"), Log::of(&[(&law, &questions)])).unwrap();
    bundle(dir.path(), "now", SHOP);
    let next = SHOP.replace("name: invoices-read\nallow: {from: [invoices]", "name: users-read\nallow: {from: [users]");
    bundle(dir.path(), "next", &next);
    let (_, report) = json_of(dir.path(), &["replay", "--bundle", "now", "--against", "next", "a.ndjson"]);
    let what_if = &report["against"];
    let by: Vec<Value> = what_if["by_policy"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| json!([p["policy"], p["proposed"], p["newly_allowed"], p["newly_denied"], p["examples"]]))
        .collect();
    assert_eq!(
        by,
        [
            json!(["users-read", true, 3, 0, ["a.ndjson:3", "a.ndjson:4", "a.ndjson:6"]]),
            json!(["invoices-read", false, 0, 2, ["a.ndjson:2", "a.ndjson:5"]])
        ]
    );
    assert_eq!(what_if["newly_allowed"], json!({"requests": 3, "calls": 1}), "three requests of one call");
    let reach = |which: &str| {
        let pairs = what_if["reach"][which].as_array().unwrap();
        pairs
            .iter()
            .map(|r| format!("{} {} {}", r["from"].as_str().unwrap(), r["kind"].as_str().unwrap(), r["target"].as_str().unwrap()))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (reach("gained"), reach("lost")),
        (vec!["users data pan".into(), "users zone cde".into()], vec!["invoices data pan".to_owned(), "invoices zone cde".into()])
    );

    let run = run_in(dir.path(), &["replay", "--bundle", "now", "--against", "next", "a.ndjson", "--format", "markdown"]);
    assert_eq!(run.code, 1);
    for needed in [
        "5 of 5 decisions agree with the policy that was in force",
        "| 3 (1 call) | 2 (1 call) | 0 | 0 |",
        "| `users-read` `shop.yaml:24` | 3 newly allowed | `a.ndjson:3` |",
        "which granted so far | 2 newly denied | `a.ndjson:2` |",
        "- gained: `data pan by users → items`",
        "- lost: `data pan by invoices → items`",
    ] {
        assert!(run.out.contains(needed), "no `{needed}` in\n{}", run.out);
    }
    assert!(run.err.starts_with("FAIL: 5 decided, 5 agree"), "{}", run.err);
}

/// What real Envoy recorded: judged by the bundle of its time, and asked of a proposed one.
#[test]
fn records_of_another_mesh_replay_too() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/logs/envoy-recorded");
    let (log, policies) = (corpus.join("recommended.ndjson.zst"), corpus.join("policies"));
    let (log, policies) = (log.to_str().unwrap(), policies.to_str().unwrap());
    let dir = TempDir::new().unwrap();
    let (code, report) = json_of(dir.path(), &["replay", "--bundle", policies, log]);
    let n = |report: &Value, name: &str| report[name].as_u64().unwrap();
    let whole = |report: &Value| {
        let parts = ["decided", "refused", "lifecycle", "duplicates", "rejected"];
        assert_eq!(n(report, "lines"), parts.iter().map(|part| n(report, part)).sum::<u64>(), "{report:#}");
    };
    whole(&report);
    let classes = ["agrees", "differs", "unlawful", "overdenied", "not_replayable"];
    assert_eq!(n(&report, "decided"), classes.iter().map(|class| n(&report, class)).sum::<u64>());
    assert!(code == 1 && n(&report, "agrees") > 9_000 && n(&report, "unlawful") > 0 && n(&report, "overdenied") > 0, "{report:#}");
    let (_, assessment) = json_of(dir.path(), &["audit", "--bundle", policies, log, "--fail-on", "never"]);
    for (ours, theirs) in
        [("agrees", "agreed"), ("unlawful", "unlawful"), ("overdenied", "overdenied"), ("not_replayable", "not_replayable")]
    {
        assert_eq!(report[ours], assessment["fidelity"][theirs], "{ours}: replay and audit are one");
    }

    // Under the policy that the mesh itself was said to apply, without one grant.
    let text = fs::read_to_string(corpus.join("policies/shop.yaml")).unwrap();
    bundle(dir.path(), "next", &text.replace("allow: {from: [checkout], to: orders", "allow: {from: [console], to: orders"));
    let (_, report) = json_of(dir.path(), &["replay", "--bundle", policies, "--against", "next", log]);
    whole(&report);
    let what_if = &report["against"];
    let parts = n(&what_if["newly_allowed"], "requests") + n(&what_if["newly_denied"], "requests") + n(what_if, "unchanged");
    assert_eq!(parts + n(what_if, "not_replayable"), n(&report, "decided"), "{what_if:#}");
    let lost =
        report["changes"]["groups"].as_array().unwrap().iter().filter(|c| c["call"]["from"] == "checkout" && c["candidate"] == "deny");
    assert!(lost.clone().count() > 0 && lost.clone().all(|c| c["recorded"] == "allow"), "{what_if:#}");
    let lost: u64 = lost.map(|c| c["count"].as_u64().unwrap()).sum();
    let checkout = assessment["edges"].as_array().unwrap().iter().filter(|e| e["from"] == "checkout" && e["to"] == "orders");
    let allowed = checkout.map(|e| e["allowed"].as_u64().unwrap()).sum::<u64>();
    // All that the mesh let through of checkout's, but for paths that cannot be read.
    assert!(lost <= allowed && allowed - lost <= n(what_if, "not_replayable"), "{lost} of {allowed}");

    // A history that begins later says nothing about these records.
    bundle(dir.path(), "history/2030-01-01-late", &text);
    let (code, report) = json_of(dir.path(), &["replay", "--bundle-history", "history", log]);
    assert_eq!((code, n(&report, "not_replayable"), n(&report, "agrees")), (1, n(&report, "decided"), 0));
    assert_eq!(report["not_replayed"][0]["reason"], "no bundle that was given was in force at its time");
    bundle(dir.path(), "history/2020-01-01-early", &text.replace("Totals of a day.", "Sums of a day."));
    let (_, report) = json_of(dir.path(), &["replay", "--bundle-history", "history", log]);
    assert!(n(&report, "agrees") > 9_000, "the bundle of their time judges them, not the newest: {report:#}");
}
