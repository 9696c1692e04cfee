//! The verbs that read decision logs, on logs written with the engine's own chain: verify, replay, why, audit.

#![cfg(test)]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use portreeve_engine::chain::{ChainWriter, HeadSigner};
use portreeve_engine::record::{Answer, Decided, Destination, Event, Mode, Source, Started, Stopped};
use portreeve_engine::{Authorizer, Bundle, Digest, Request};
use serde_json::Value;
use tempfile::TempDir;

const MARKET: &str = "policies/marketplace";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn run(args: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_portreeve")).args(args).current_dir(root()).output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(!err.contains("panicked at"), "{err}");
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap(), err)
}

fn authorizer() -> Authorizer {
    Authorizer::compile(&Bundle::read_dir(&root().join(MARKET)).unwrap()).authorizer.unwrap()
}

const REQUESTS: [&str; 3] = [
    r#"{"principal":"spiffe://market.example/ns/shop/sa/invoices","service":"items","method":"GET","path":"/v1/items/42","context":{"time":"2026-11-22T10:00:00.000Z","source_ip":"10.0.0.7"}}"#,
    r#"{"principal":"spiffe://market.example/ns/shop/sa/users","service":"items","method":"GET","path":"/v1/items/42","context":{"time":"2026-11-22T10:00:01.000Z","source_ip":"10.0.0.8"}}"#,
    r#"{"principal":"spiffe://market.example/ns/shop/sa/stranger","service":"items","method":"GET","path":"/v2","context":{"time":"2026-11-22T10:00:02.000Z","source_ip":"10.0.0.9"}}"#,
];

/// A log of the items service: three questions, answered by the marketplace and perhaps altered. Gives its last line's head.
fn write_log(path: &Path, alter: impl Fn(usize, &mut Decided)) -> (u64, Digest) {
    write_log_of(path, &authorizer(), &REQUESTS, alter)
}

/// The same with other questions, answered by another bundle.
fn write_log_of(path: &Path, authorizer: &Authorizer, requests: &[&str], alter: impl Fn(usize, &mut Decided)) -> (u64, Digest) {
    let items = "spiffe://market.example/ns/shop/sa/items";
    let revision = *authorizer.revision();
    let (mut chain, mut out) = (ChainWriter::new(), Vec::new());
    let started = Started {
        enforcer: items.parse().unwrap(),
        instance: "test-1".into(),
        revision,
        mode: Mode::Enforce,
        config: Digest::ZERO,
        version: "0.1.0".into(),
        after: None,
        recovered: None,
        bundle: None,
    };
    chain.append("2026-11-22T09:59:59.000Z".parse().unwrap(), &Event::Started(started), &mut out);
    for (n, json) in requests.iter().enumerate() {
        let request = Request::from_json_as(json.as_bytes(), |service| authorizer.paths(service)).unwrap();
        let decision = authorizer.decide(&request);
        let (mut facts, context) = authorizer.facts(&request, &decision);
        facts.id = format!("request-{n}");
        facts.protocol = "HTTP/2".into();
        let service = authorizer.identify(&request.principal).map(|s| s.name.to_string());
        let mut decided = Decided {
            mode: Mode::Enforce,
            revision,
            side: None,
            source: Source { id: request.principal.clone(), service, ip: request.context.source_ip },
            destination: Destination { id: Some(items.parse().unwrap()), service: "items".into() },
            request: facts,
            context,
            tls: None,
            decision: Answer::from(&decision),
        };
        alter(n, &mut decided);
        chain.append(request.context.time, &Event::Decided(Box::new(decided)), &mut out);
    }
    chain.append("2026-11-22T10:00:03.000Z".parse().unwrap(), &Event::Stopped(Stopped { unrecorded: 0 }), &mut out);
    fs::write(path, out).unwrap();
    (chain.next_seq() - 1, chain.head())
}

fn as_written(_: usize, _: &mut Decided) {}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A log in a folder that lasts as long as the first part.
fn log(alter: impl Fn(usize, &mut Decided)) -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a.ndjson");
    write_log(&path, alter);
    (dir, path)
}

#[test]
fn verify_tells_whole_from_changed() {
    let (dir, path) = log(as_written);
    let (code, out, err) = run(&["verify", text(&path), "--format", "json"]);
    assert_eq!(code, 0, "{err}");
    let document: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(document["verdict"], "self-consistent", "no head vouches, so nothing more may be said");

    let changed = fs::read_to_string(&path).unwrap().replace("request-1", "request-9");
    fs::write(&path, changed).unwrap();
    let (code, _, err) = run(&["verify", text(&path)]);
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("line 4"), "the line after the change names it: {err}");

    assert_eq!(run(&["verify", text(&dir.path().join("none.ndjson"))]).0, 2);
    assert_eq!(run(&["verify", &format!("{}/*.none", dir.path().display())]).0, 2, "a pattern that matches nothing");
    assert_eq!(run(&["verify"]).0, 2);
}

#[test]
fn a_head_from_elsewhere_vouches_and_finds_a_log_rewritten_whole() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a.ndjson");
    let (seq, head) = write_log(&path, as_written);
    let signer = HeadSigner::from_seed(&[7; 32]);
    let heads = dir.path().join("heads.ndjson");
    let line = serde_json::to_string(&signer.sign("test-1", seq, head, "2026-11-22T10:01:00.000Z".parse().unwrap())).unwrap();
    fs::write(&heads, format!("{line}\n")).unwrap();
    let key = dir.path().join("head.pub");
    // The public half of the seed above, as `openssl pkey -pubout` writes it.
    fs::write(&key, "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA6kpsY+KcUgq+9VB7Ey7F+ZVHdq6+vnuSQh7qaRRG0iw=\n-----END PUBLIC KEY-----\n")
        .unwrap();
    let args = ["verify", text(&path), "--heads", text(&heads), "--key", text(&key), "--format", "json"];
    let (code, out, err) = run(&args);
    assert_eq!(code, 0, "{err}");
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["verdict"], "vouched");

    write_log(&path, |n, decided| {
        if n == 1 {
            decided.request.id = "another".into();
        }
    });
    assert_eq!(run(&["verify", text(&path)]).0, 0, "by itself the new log looks whole");
    assert_eq!(run(&args).0, 1, "the head says otherwise");

    fs::write(&heads, line.replace("\"seq\":", "\"seq\":1")).unwrap();
    assert_eq!(run(&args).0, 2, "a head that is not signed vouches for nothing");
    assert_eq!(run(&["verify", text(&path), "--heads", text(&heads)]).0, 2, "heads without a key");
    let (code, _, err) = run(&["why", "a-request", text(dir.path())]);
    assert!(code == 2 && err.contains(&format!("by the pattern '{}/*'", text(dir.path()))), "{err}");
}

#[test]
fn replay_finds_an_answer_that_policy_does_not_give() {
    let (_dir, path) = log(as_written);
    let (code, out, err) = run(&["replay", "--bundle", MARKET, text(&path), "--format", "json"]);
    assert_eq!(code, 0, "{err}");
    let document: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((document["decided"].as_u64(), document["agrees"].as_u64()), (Some(3), Some(3)), "{document}");

    let (_dir, path) = log(|n, decided| {
        if n == 1 {
            decided.decision.effect = portreeve_engine::Effect::Allow;
        }
    });
    let (code, out, _) = run(&["replay", "--bundle", MARKET, text(&path), "--format", "json"]);
    assert_eq!(code, 1);
    let document: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(document["differs"], 1);
    assert_eq!(document["differences"]["groups"][0]["differences"][0]["what"], "effect", "{document}");
    assert_eq!(document["differences"]["groups"][0]["count"], 1);
    assert_eq!(run(&["verify", text(&path)]).0, 0, "the chain does not see a lie told from the start; replay does");

    let (_dir, path) = log(|_, decided| decided.revision = Digest::of(b"another"));
    let (code, _, err) = run(&["replay", "--bundle", MARKET, text(&path)]);
    assert_eq!(code, 1, "what cannot be put again is unknown, not agreed\n{err}");
    assert!(err.contains("3 not replayable"), "{err}");
}

#[test]
fn replay_tells_what_a_candidate_would_change() {
    let (dir, path) = log(as_written);
    let candidate = dir.path().join("candidate");
    copy(&root().join(MARKET), &candidate);
    let extra = "kind: Permission\nname: users-read-items\nallow: {from: [users], to: items, operations: [read-item]}\n";
    fs::write(candidate.join("extra.yaml"), extra).unwrap();
    let invariants = fs::read_to_string(candidate.join("invariants.yaml")).unwrap();
    fs::write(
        candidate.join("invariants.yaml"),
        invariants.replace("never: {from: [gateway, users, card-data], to: items}", "never: {from: [gateway, card-data], to: items}"),
    )
    .unwrap();
    let (code, out, err) = run(&["replay", "--bundle", MARKET, "--against", text(&candidate), text(&path), "--format", "json"]);
    assert_eq!(code, 1, "{err}");
    let document: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((document["differs"].as_u64(), document["changed"].as_u64()), (Some(0), Some(1)), "{document}");
    let change = &document["changes"]["groups"][0];
    assert_eq!((&change["recorded"], &change["candidate"]), (&"deny".into(), &"allow".into()));
    assert_eq!(change["policies"][0], "users-read-items (extra.yaml:2)");
    let (_, _, err) = run(&["replay", "--bundle", MARKET, "--against", text(&candidate), text(&path)]);
    assert!(err.contains("deny → allow: 1 × users → items read-item"), "{err}");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(|e| e.unwrap()) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn why_leads_from_a_request_id_to_the_reason() {
    let (_dir, path) = log(as_written);
    let (code, _, err) = run(&["why", "request-1", text(&path), "--bundle", MARKET]);
    assert_eq!(code, 0, "{err}");
    for needed in ["GET items/v1/items/42", "deny, no-permission", "`users`", "a.ndjson:3", "nearest", "invoices-reads-items"] {
        assert!(err.contains(needed), "no `{needed}` in\n{err}");
    }
    let (code, out, _) = run(&["why", "request-0", text(&path), "--bundle", MARKET, "--format", "json"]);
    assert_eq!(code, 0);
    let document: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(document["policies"][0]["id"], "invoices-reads-items");
    assert!(document["policies"][0]["at"].as_str().unwrap().starts_with("permissions.yaml:"));
    let (code, _, err) = run(&["why", "request-1", text(&path)]);
    assert_eq!(code, 0);
    assert!(err.contains("give the bundle of revision"), "{err}");
    assert_eq!(run(&["why", "request-77", text(&path)]).0, 1);
}

#[test]
fn audit_writes_a_report_and_keeps_its_gate() {
    let (dir, path) = log(as_written);
    let out_dir = dir.path().join("report");
    let (code, out, err) =
        run(&["audit", "--bundle", MARKET, text(&path), "--out", text(&out_dir), "--fail-on", "never", "--format", "json"]);
    assert_eq!(code, 0, "{err}");
    let document: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(out, fs::read_to_string(out_dir.join("assessment.json")).unwrap());
    let totals = &document["totals"];
    let n = |name: &str| totals[name].as_u64().unwrap();
    assert_eq!((n("lines"), n("decided"), n("allowed"), n("denied"), n("mismatches")), (5, 3, 1, 2, 0), "{totals}");
    assert_eq!(n("lines"), n("decided") + n("refused") + n("lifecycle") + n("duplicates") + n("rejected"));
    assert!(fs::read_to_string(out_dir.join("index.html")).unwrap().starts_with("<!"));
    let (_, again, _) = run(&["audit", "--bundle", MARKET, text(&path), "--fail-on", "never", "--format", "json"]);
    assert_eq!(out, again, "the same inputs give the same bytes");

    // An enforcer that let a request through against policy refutes a control, whatever else is fine.
    let (_dir, lied) = log(|n, decided| {
        if n == 1 {
            decided.decision.effect = portreeve_engine::Effect::Allow;
        }
    });
    let (code, _, err) = run(&["audit", "--bundle", MARKET, text(&lied)]);
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("not-met"), "{err}");
    assert_eq!(run(&["audit", "--bundle", MARKET, text(&lied), "--fail-on", "never"]).0, 0);
    assert_eq!(run(&["audit", "--bundle", MARKET, text(&lied), "--catalog", "pci-dss-9"]).0, 2);
    for word in ["compliant", "in place"] {
        assert!(!err.to_lowercase().contains(word), "`{word}` belongs to the assessor\n{err}");
    }
}

#[test]
fn hostile_logs_do_not_drive_the_terminal() {
    let (_dir, path) = log(|n, decided| {
        if n == 1 {
            decided.request.id = "request-1\u{1b}[2J".into();
            decided.source.service = Some("users\u{1b}]0;owned\u{7}\u{202e}".into());
        }
    });
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"\x1b[2J not a record\n\xff\xfe\n").unwrap();
    for args in [
        &["why", "request-1\u{1b}[2J", text(&path), "--bundle", MARKET][..],
        &["verify", text(&path)],
        &["replay", "--bundle", MARKET, text(&path)],
        &["audit", "--bundle", MARKET, text(&path)],
    ] {
        let (_, _, err) = run(args);
        assert!(!err.chars().any(|c| (c.is_control() && c != '\n' && c != '\t') || c == '\u{202e}'), "{args:?}: {err:?}");
    }
}

/// A bundle whose service reads paths in this way.
fn reads(paths: &str) -> (TempDir, Authorizer) {
    let dir = TempDir::new().unwrap();
    let policy = format!(
        "kind: Service\nname: items\nidentities: [spiffe://market.example/ns/shop/sa/items]\npaths: {paths}\noperations:\n  - {{id: app, method: GET, path: \"/app/{{rest*}}\"}}\n  - {{id: admin, method: GET, path: /admin}}\n---\nkind: Permission\nname: invoices-app\nallow: {{from: [\"spiffe://market.example/ns/shop/sa/invoices\"], to: items, operations: [app]}}\n"
    );
    fs::write(dir.path().join("shop.yaml"), policy).unwrap();
    let authorizer = Authorizer::compile(&Bundle::read_dir(dir.path()).unwrap()).authorizer.unwrap();
    (dir, authorizer)
}

/// INV-6 in every way of reading: what was judged and recorded replays alike, and `decide` reads the raw path as the gate does.
#[test]
fn recorded_paths_replay_alike_however_they_were_read() {
    let question = |path: &str, second: usize| {
        format!(
            r#"{{"principal":"spiffe://market.example/ns/shop/sa/invoices","service":"items","method":"GET","path":{},"context":{{"time":"2026-11-22T10:00:0{second}.000Z","source_ip":"10.0.0.7"}}}}"#,
            Value::from(path)
        )
    };
    let raw = ["/app//x", "/app/%2E./admin", "/app/..%2fadmin"];
    for (paths, recorded, effects) in [
        ("NONE", ["/app//x", "/app/%2E./admin", "/app/..%2fadmin"], ["allow", "allow", "allow"]),
        ("BASE", ["/app//x", "/admin", "/app/..%2fadmin"], ["allow", "deny", "allow"]),
        ("MERGE_SLASHES", ["/app/x", "/admin", "/app/..%2fadmin"], ["allow", "deny", "allow"]),
        ("DECODE_AND_MERGE_SLASHES", ["/app/x", "/admin", "/admin"], ["allow", "deny", "deny"]),
    ] {
        let (bundle, authorizer) = reads(paths);
        let questions: Vec<String> = raw.iter().enumerate().map(|(n, path)| question(path, n)).collect();
        let questions: Vec<&str> = questions.iter().map(String::as_str).collect();
        let log = bundle.path().join("../").join(format!("{}.ndjson", bundle.path().file_name().unwrap().display()));
        write_log_of(&log, &authorizer, &questions, as_written);
        let written = fs::read_to_string(&log).unwrap();
        let lines: Vec<Value> =
            written.lines().map(|l| serde_json::from_str(l).unwrap()).filter(|v: &Value| v["event"] == "decided").collect();
        let found: Vec<&str> = lines.iter().map(|l| l["request"]["path"].as_str().unwrap()).collect();
        assert_eq!(found, recorded, "{paths}");
        let found: Vec<&str> = lines.iter().map(|l| l["decision"]["effect"].as_str().unwrap()).collect();
        assert_eq!(found, effects, "{paths}");

        let (code, out, err) = run(&["replay", "--bundle", text(bundle.path()), text(&log), "--format", "json"]);
        assert_eq!(code, 0, "{paths}: {err}{out}");
        let requests = bundle.path().with_extension("requests");
        fs::write(&requests, questions.join("\n")).unwrap();
        let (_, out, err) = run(&["decide", "--bundle", text(bundle.path()), text(&requests)]);
        let decided: Vec<Value> = out.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(decided.iter().map(|d| d["effect"].as_str().unwrap()).collect::<Vec<_>>(), effects, "{paths}: {err}");

        // Under a bundle that reads strictly, such paths are refused: `--against` says so, and `diff` that it cannot compare them.
        let (strict, _) = reads("strict");
        let (code, out, _) =
            run(&["replay", "--bundle", text(bundle.path()), text(&log), "--against", text(strict.path()), "--format", "json"]);
        let changed = recorded
            .iter()
            .zip(effects)
            .filter(|(path, effect)| *effect == "allow" && path.contains(['%', '.']) || path.contains("//"))
            .count();
        let document: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(document["changed"], changed, "{paths}: {out}");
        assert_eq!(code, i32::from(changed > 0), "{paths}");
        let (code, out, err) = run(&["diff", text(bundle.path()), text(strict.path())]);
        assert_eq!(code, 1, "{err}");
        assert!(err.contains(&format!("that `{paths}` and `strict` read differently")), "{out}{err}");
        for file in [log, requests] {
            fs::remove_file(file).unwrap();
        }
    }
}

/// Connections are questions like any other: counted, replayed, and told from a changed answer.
#[test]
fn recorded_connections_are_counted_and_replayed() {
    let bundle = TempDir::new().unwrap();
    fs::write(
        bundle.path().join("shop.yaml"),
        "kind: Service\nname: items\nidentities: [spiffe://market.example/ns/shop/sa/items]\noperations: [{id: sql, port: 5432}]\n---\nkind: Service\nname: invoices\nidentities: [spiffe://market.example/ns/shop/sa/invoices]\noperations: [{id: read, method: GET, path: /v1}]\n---\nkind: Permission\nname: invoices-sql\nallow: {from: [invoices], to: items, operations: [sql]}\n",
    )
    .unwrap();
    let authorizer = Authorizer::compile(&Bundle::read_dir(bundle.path()).unwrap()).authorizer.unwrap();
    let question = |port: u16, second: u8| {
        format!(
            r#"{{"principal":"spiffe://market.example/ns/shop/sa/invoices","service":"items","port":{port},"context":{{"time":"2026-11-22T10:00:0{second}.000Z","source_ip":"10.0.0.7"}}}}"#
        )
    };
    let questions = [question(5432, 0), question(22, 1)];
    let questions: Vec<&str> = questions.iter().map(String::as_str).collect();
    let dir = TempDir::new().unwrap();
    let log = dir.path().join("a.ndjson");
    write_log_of(&log, &authorizer, &questions, |_, decided| decided.request.protocol = "TCP".into());
    let replay = ["replay", "--bundle", text(bundle.path()), text(&log), "--format", "json"];
    let (code, out, err) = run(&replay);
    let document: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &document["decided"], &document["agrees"]), (0, &Value::from(2), &Value::from(2)), "{err}{out}");
    let out_dir = dir.path().join("report");
    let (code, _, err) = run(&["audit", "--bundle", text(bundle.path()), text(&log), "--out", text(&out_dir), "--fail-on", "never"]);
    assert_eq!(code, 0, "{err}");
    let assessment: Value = serde_json::from_str(&fs::read_to_string(out_dir.join("assessment.json")).unwrap()).unwrap();
    let totals = &assessment["totals"];
    assert_eq!(
        (&totals["decided"], &totals["allowed"], &totals["denied"], &totals["mismatches"]),
        (&2.into(), &1.into(), &1.into(), &0.into())
    );
    let edge = assessment["edges"].as_array().unwrap().iter().find(|e| e["operation"] == "sql").unwrap();
    assert_eq!((&edge["from"], &edge["allowed"]), (&"invoices".into(), &1.into()));

    write_log_of(&log, &authorizer, &questions, |n, decided| {
        decided.request.protocol = "TCP".into();
        if n == 1 {
            decided.request.port = Some(5432);
        }
    });
    assert_eq!(run(&replay).0, 1, "a connection that was denied and would be allowed");
}
