//! `suggest` as its users run it: logs of other meshes become a repo that passes `check`, and a draft beside a repo is a diff that
//! `patch` and `git apply` take.

#![cfg(test)]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{Run, root, run_in};

fn run(dir: &Path, args: &[&str]) -> Run {
    run_in(dir, args, b"")
}

fn corpus(name: &str) -> String {
    root().join("tests/corpus/logs").join(name).display().to_string()
}

#[test]
fn logs_of_other_meshes_become_a_repo_that_passes_check() {
    for name in ["istio/access.json", "envoy-recorded/recommended.ndjson.zst", "envoy-recorded/sidecar.ndjson.zst", "ztunnel/ztunnel.log"] {
        let dir = tempfile::tempdir().unwrap();
        let suggested = run(dir.path(), &["suggest", &corpus(name), "--out", "drafted"]);
        assert_eq!(suggested.code, 0, "{name}: {}", suggested.err);
        let checked = run(dir.path(), &["check", "drafted"]);
        assert_eq!(checked.code, 0, "{name}: {}", checked.err);
        let formatted = run(dir.path(), &["fmt", "--check", "drafted"]);
        assert_eq!(formatted.code, 0, "{name}: {}{}", formatted.out, formatted.err);
        let text: String =
            ["inventory.yaml", "permissions.yaml"].map(|f| fs::read_to_string(dir.path().join("drafted").join(f)).unwrap()).concat();
        assert!(text.contains("kind: Permission") && text.contains(" request"), "{text}");
        for threads in ["1", "2", "7"] {
            let printed = run(dir.path(), &["suggest", "--threads", threads, &corpus(name)]);
            assert_eq!((printed.code, printed.out), (0, text.clone()), "{name} on {threads} threads");
        }
    }
}

/// Our own log, recorded from the running sidecar: the draft answers every one of its questions as the policies of that day did.
#[test]
fn a_draft_from_our_own_log_answers_it_as_it_was_answered() {
    let dir = tempfile::tempdir().unwrap();
    let log = corpus("envoy-recorded/sidecar.ndjson.zst");
    assert_eq!(run(dir.path(), &["suggest", &log, "--out", "drafted"]).code, 0);
    let replayed = run(dir.path(), &["replay", "--bundle", &corpus("envoy-recorded/policies"), "--against", "drafted", &log]);
    let told = "0 newly allowed (0 calls), 0 newly denied (0 calls), 2600 unchanged, 0 not replayable";
    assert!(replayed.err.contains(told), "{}", replayed.err);
}

/// Applies a diff in a folder that holds `policies`, and gives the file that is new.
fn applied(tool: &[&str], dir: &Path, diff: &str) {
    fs::write(dir.join("a.patch"), diff).unwrap();
    let (program, args) = tool.split_first().unwrap();
    let output = Command::new(program).args(args).current_dir(dir).output().unwrap();
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{tool:?}: {told}\n{diff}");
}

const OLD: &str = "# The shop.
kind: Service
name: orders
identities: [spiffe://shop.example/ns/shop/sa/orders]
operations:
  - {id: read-stock, method: GET, path: /v1/stock}   # kept
---
kind: Service
name: checkout
identities: [spiffe://shop.example/ns/shop/sa/checkout]
";

#[test]
fn the_diff_to_a_repo_applies_and_the_result_passes_check() {
    for tool in [&["patch", "-p1", "-i", "a.patch"][..], &["git", "apply", "a.patch"]] {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("policies")).unwrap();
        fs::write(dir.path().join("policies/shop.yaml"), OLD).unwrap();
        let log = corpus("envoy-recorded/recommended.ndjson.zst");
        let args = ["suggest", &log, "--bundle", "policies"];
        let suggested = run(dir.path(), &args);
        assert_eq!(suggested.code, 0, "{}", suggested.err);
        assert_eq!(fs::read_to_string(dir.path().join("policies/shop.yaml")).unwrap(), OLD);
        assert!(suggested.out.contains("--- a/policies/shop.yaml\n+++ b/policies/shop.yaml\n"), "{}", suggested.out);
        assert!(suggested.out.contains("--- /dev/null\n+++ b/policies/suggested.yaml\n"), "{}", suggested.out);
        assert!(!suggested.out.lines().any(|l| l.starts_with('-') && !l.starts_with("---")), "{}", suggested.out);
        applied(tool, dir.path(), &suggested.out);
        let checked = run(dir.path(), &["check", "policies"]);
        assert_eq!(checked.code, 0, "{}", checked.err);
        assert!(fs::read_to_string(dir.path().join("policies/shop.yaml")).unwrap().contains("# kept\n"));
        // What was drafted is no longer missing.
        let again = run(dir.path(), &args);
        assert_eq!((again.code, &*again.out), (0, ""), "{}", again.err);
    }
}

#[test]
fn a_zone_that_asks_for_reasons_leaves_the_draft_to_be_completed() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("policies")).unwrap();
    let zoned = OLD.replace("name: orders\n", "name: orders\nzone: cde\n").replace("name: checkout\n", "name: checkout\nzone: edge\n");
    let zones = "---\nkind: Zone\nname: cde\nrequire: [justification]\n---\nkind: Zone\nname: edge\n";
    fs::write(dir.path().join("policies/shop.yaml"), zoned + zones).unwrap();
    let suggested = run(dir.path(), &["suggest", &corpus("envoy-recorded/recommended.ndjson.zst"), "--bundle", "policies"]);
    assert_eq!(suggested.code, 1, "{}", suggested.err);
    assert!(suggested.err.contains("missing-governance"), "{}", suggested.err);
    assert!(suggested.out.contains("+kind: Permission"), "{}", suggested.out);
}

#[test]
fn what_cannot_be_drafted_is_told() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("noise.log"), "not a log\nat all\n").unwrap();
    fs::write(dir.path().join("empty.log"), "").unwrap();
    fs::create_dir(dir.path().join("full")).unwrap();
    fs::write(dir.path().join("full/inventory.yaml"), OLD).unwrap();
    let istio = corpus("istio/access.json");
    let callers = corpus("hubble/docs.jsonl");
    for (args, told) in [
        (vec!["suggest", "noise.log"], "of a format that is known"),
        (vec!["suggest", "missing.log"], "cannot open `missing.log`"),
        (vec!["suggest", "empty.log"], "no request in the logs can be granted"),
        (vec!["suggest", &callers], "has no SPIFFE ID in the line"),
        (vec!["suggest", &istio, "--out", "full"], "`full` is not empty, and nothing is overwritten"),
        (vec!["suggest", &istio, "--bundle", "nowhere"], "there is no bundle `nowhere`"),
        (vec!["suggest", &istio, "--bundle", "full", "--out", "new"], "cannot be used with"),
    ] {
        let run = run(dir.path(), &args);
        assert_eq!((run.code, &*run.out), (2, ""), "{args:?}: {}", run.err);
        assert!(run.err.contains(told), "{args:?}: {}", run.err);
    }
    assert_eq!(fs::read_to_string(dir.path().join("full/inventory.yaml")).unwrap(), OLD);
}
