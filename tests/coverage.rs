//! What `test` tells machines: JUnit against its schema, coverage in every form, the gate; and what its failures tell people.

#![cfg(test)]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{root, run_in};
use serde_json::Value;
use tempfile::TempDir;

/// A small bundle of which some is tested, with a name that XML and lcov would trip over, and two operations on one line.
fn bundle() -> TempDir {
    let dir = TempDir::new().unwrap();
    let repo = dir.path().join("re po");
    fs::create_dir(&repo).unwrap();
    let inventory = "kind: Service\nname: web\nidentities: [spiffe://t.example/web]\n---\nkind: Service\nname: shop\nidentities: [spiffe://t.example/shop]\n\
                     operations:\n  - {id: read, method: GET, path: /r}\n  - {id: write, method: PUT, path: /w}\n  - {id: a, method: GET, path: /a}\n  - {id: b, method: GET, path: /b}\n";
    let permissions = "kind: Permission\nname: reads\nallow: {from: [web], to: shop, operations: [read, a]}\n---\n\
                       kind: Permission\nname: late\nallow: {from: [web], to: shop, operations: [write]}\nwhen: {time: {from: \"22:00\", to: \"23:00\"}}\n---\n\
                       kind: Permission\nname: shut\ndeny: {from: [web], to: shop, operations: [a]}\n---\n\
                       kind: Permission\nname: unused\nallow: {from: [shop], to: shop, operations: [b]}\n";
    let tests = "kind: Test\nname: \"<a> & \\\"b\\\"\"\ncases:\n  - {as: web, call: GET shop/r, expect: allow}\n  - {as: shop, call: GET shop/r, expect: deny}\n  \
                 - {as: web, call: PUT shop/w, time: 2026-01-01T10:00:00Z, expect: deny}\n  - {as: web, call: GET shop/a, expect: deny, because: prohibited}\n";
    for (name, text) in [("inventory.yaml", inventory), ("permissions & more.yaml", permissions), ("tests.yaml", tests)] {
        fs::write(repo.join(name), text).unwrap();
    }
    dir
}

const REPO: &str = "re po";

fn xmllint(args: &[&str]) -> Option<String> {
    let Ok(output) = Command::new("xmllint").args(args).output() else {
        println!("xmllint is not installed, so no schema was asked");
        return None;
    };
    Some(if output.status.success() { String::new() } else { String::from_utf8_lossy(&output.stderr).into_owned() })
}

fn is_junit(dir: &Path, text: &str) -> bool {
    let file = dir.join("results.xml");
    fs::write(&file, text).unwrap();
    let schema = root().join("tests/corpus/schemas/JUnit.xsd");
    let said = xmllint(&["--noout", "--nonet", "--schema", schema.to_str().unwrap(), file.to_str().unwrap()]);
    said.is_none_or(|errors| {
        println!("{errors}");
        errors.is_empty()
    })
}

#[test]
fn junit_validates_against_its_schema() {
    let dir = bundle();
    let good = run_in(dir.path(), &["test", REPO, "--format", "junit"], b"");
    assert_eq!(good.code, 0, "{}", good.err);
    assert!(is_junit(dir.path(), &good.out), "{}", good.out);
    fs::write(dir.path().join(REPO).join("bad.yaml"), "kind: Test\nname: wrong\ncases:\n  - {as: web, call: PUT shop/w, time: 2026-01-01T10:00:00Z, expect: allow}\n  - {as: web, call: GET shop/r, expect: deny}\n").unwrap();
    let bad = run_in(dir.path(), &["test", REPO, "--format", "junit"], b"");
    assert_eq!(bad.code, 1, "{}", bad.err);
    assert_eq!(bad.out.matches("<failure ").count(), 2);
    assert!(is_junit(dir.path(), &bad.out), "{}", bad.out);
    let market = run_in(root(), &["test", "policies/marketplace", "--format", "junit"], b"");
    assert!(is_junit(dir.path(), &market.out));
    // The schema would notice a mistake.
    if xmllint(&["--version"]).is_some() {
        assert!(!is_junit(dir.path(), &good.out.replace("hostname=", "host=")));
    }
}

#[test]
fn coverage_counts_policies_that_decide_and_operations_that_are_asked_for() {
    let dir = bundle();
    let run = run_in(dir.path(), &["test", REPO, "--coverage", "json"], b"");
    assert_eq!(run.code, 0, "{}", run.err);
    let document: Value = serde_json::from_str(&run.out).unwrap();
    let totals = serde_json::json!({"policies": 4, "policies_decided": 2, "operations": 4, "operations_asked": 3, "operations_allowed": 1, "operations_denied": 3});
    assert_eq!(document["totals"], totals);
    let policy = |id: &str| document["policies"].as_array().unwrap().iter().find(|p| p["id"] == id).unwrap().clone();
    let counts = |id: &str| (policy(id)["decided"].as_u64().unwrap(), policy(id)["reached"].as_u64().unwrap());
    // `reads` covers `a` too, where the prohibition decides; `late` is reached at the wrong time.
    assert_eq!([counts("reads"), counts("late"), counts("shut"), counts("unused")], [(1, 2), (0, 1), (1, 1), (0, 0)]);
    assert_eq!(policy("late")["at"], "permissions & more.yaml:6");

    let human = run_in(dir.path(), &["test", REPO, "--coverage", "human"], b"");
    assert_eq!((human.code, human.out.as_str()), (0, ""));
    for needed in [
        "policies that decide         2 of 4     50 %",
        "permissions & more.yaml:6: the grant `late` is reached by 1 case and never decides",
        "permissions & more.yaml:15: the grant `unused` is never reached",
        "inventory.yaml:12: `b` of `shop` is never asked for",
        "inventory.yaml:10: `write` of `shop` is never allowed",
    ] {
        assert!(human.err.contains(needed), "no `{needed}` in\n{}", human.err);
    }
}

#[test]
fn lcov_says_what_genhtml_reads() {
    let dir = bundle();
    let run = run_in(dir.path(), &["test", REPO, "--coverage", "lcov"], b"");
    assert_eq!(run.code, 0, "{}", run.err);
    let records: Vec<&str> = run.out.split("end_of_record\n").filter(|r| !r.is_empty()).collect();
    assert_eq!(records.len(), 2, "{}", run.out);
    for record in records {
        let lines: Vec<&str> = record.lines().collect();
        let value = |key: &str| lines.iter().find_map(|l| l.strip_prefix(key)).unwrap_or_else(|| panic!("no {key}\n{record}")).to_owned();
        let count = |key: &str| lines.iter().filter(|l| l.starts_with(key)).count();
        assert!(dir.path().join(value("SF:")).is_file(), "{record}");
        assert_eq!(value("FNF:"), count("FN:").to_string());
        assert_eq!(value("LF:"), count("DA:").to_string());
        assert_eq!(value("BRF:"), count("BRDA:").to_string());
        let hit = |key: &str| lines.iter().filter(|l| l.starts_with(key) && !l.ends_with(",0")).count().to_string();
        assert_eq!(value("LH:"), hit("DA:"));
    }
    assert!(
        run.out.contains("FNDA:1,reads\n") && run.out.contains("FNDA:0,unused\n") && run.out.contains("BRDA:12,0,0,-\n"),
        "{}",
        run.out
    );
    if Command::new("genhtml").arg("--version").output().is_ok() {
        fs::write(dir.path().join("p.info"), &run.out).unwrap();
        let html = Command::new("genhtml").args(["--branch-coverage", "-o", "html", "p.info"]).current_dir(dir.path()).output().unwrap();
        assert!(html.status.success(), "{}", String::from_utf8_lossy(&html.stderr));
    } else {
        println!("genhtml is not installed (lcov)");
    }
}

#[test]
fn cobertura_is_well_formed_and_adds_up() {
    let dir = bundle();
    let args = ["test", REPO, "--format", "junit", "--coverage", "cobertura", "--coverage-out", "coverage.xml"];
    let run = run_in(dir.path(), &args, b"");
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(run.out.contains("<testsuites>"));
    let text = fs::read_to_string(dir.path().join("coverage.xml")).unwrap();
    let said = xmllint(&["--noout", "--nonet", dir.path().join("coverage.xml").to_str().unwrap()]);
    assert_eq!(said.unwrap_or_default(), "");
    assert!(text.contains("lines-covered=\"5\" lines-valid=\"8\" branches-covered=\"4\" branches-valid=\"8\""), "{text}");
    assert!(text.contains("filename=\"re po/permissions &amp; more.yaml\""), "{text}");
    assert!(text.contains("<line number=\"9\" hits=\"2\" branch=\"true\" condition-coverage=\"100% (2/2)\"/>"), "{text}");
    assert_eq!(text.matches("<method ").count(), 8);
}

#[test]
fn the_gate_and_the_ways_out() {
    let dir = bundle();
    let code = |args: &[&str]| run_in(dir.path(), &[&["test", REPO], args].concat(), b"").code;
    assert_eq!(code(&["--coverage-min", "50"]), 0);
    let less = run_in(dir.path(), &["test", REPO, "--coverage-min", "51"], b"");
    assert_eq!(less.code, 1);
    assert!(less.err.contains("policies that decide: 2 of 4, which is less than 51 %"), "{}", less.err);
    assert!(less.err.lines().last().unwrap().starts_with("FAIL: "), "a run that fails ends with `ok`: {}", less.err);
    assert!(!less.err.contains("operations asked for:"), "{}", less.err);
    assert_eq!(code(&["--coverage-min", "101"]), 2);
    assert_eq!(code(&["--coverage-out", "x"]), 2);
    let both = run_in(dir.path(), &["test", REPO, "--format", "json", "--coverage", "json"], b"");
    assert_eq!((both.code, both.out.as_str()), (2, ""));
    assert!(both.err.contains("cannot both go to stdout"), "{}", both.err);
    assert_eq!(code(&["--coverage", "lcov", "--coverage-out", "no/such/file"]), 2);
    assert_eq!(code(&["--coverage", "human", "--coverage-out", "human.txt"]), 0);
    assert!(fs::read_to_string(dir.path().join("human.txt")).unwrap().starts_with("coverage\n"));
}

#[test]
fn failures_say_why_and_what_would_help() {
    let dir = bundle();
    let wrong = "kind: Test\nname: wrong\ncases:\n  - {as: web, call: PUT shop/w, time: 2026-01-01T10:00:00Z, expect: allow}\n  - {as: shop, call: GET shop/r, expect: allow}\n  \
                 - {as: web, call: GET shop/r, expect: deny}\n  - {as: shop, call: GET shop/a, expect: deny, because: prohibited}\n";
    fs::write(dir.path().join(REPO).join("wrong.yaml"), wrong).unwrap();
    let run = run_in(dir.path(), &["test", REPO], b"");
    assert_eq!(run.code, 1);
    for needed in [
        "because   a grant lets `web` do this, but only under conditions that do not hold",
        "to allow  call within its time, for example at 2026-01-01T22:00:00.000Z",
        "to allow  add `read` to `allow.operations` of `unused` (permissions & more.yaml:16)",
        "because   `reads` (permissions & more.yaml:2) permits it",
    ] {
        assert!(run.err.contains(needed), "no `{needed}` in\n{}", run.err);
    }
    assert_eq!(run.err.matches("to allow").count(), 2, "who expects a denial does not ask how to allow it\n{}", run.err);
    let json = run_in(dir.path(), &["test", REPO, "--format", "json"], b"");
    let document: Value = serde_json::from_str(&json.out).unwrap();
    let cases = document["cases"].as_array().unwrap();
    let edit = &cases.iter().find(|c| c["at"] == "wrong.yaml:5").unwrap()["suggestion"];
    assert_eq!((edit["kind"].as_str(), edit["at"].as_str()), (Some("permission"), Some("permissions & more.yaml:16")), "{edit}");
    assert!(cases.iter().filter(|c| c["passed"] == true).all(|c| c.get("explanation").is_none() && c.get("suggestion").is_none()));
}
