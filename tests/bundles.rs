//! `portreeve bundle` as its users run it; the attacks themselves are in `engine/tests/built_bundles.rs`.

#![cfg(test)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use common::{Run, root, run_in};
use serde_json::Value;
use tempfile::TempDir;

fn ok(dir: &Path, args: &[&str]) -> Run {
    let run = run_in(dir, args, b"");
    assert_eq!(run.code, 0, "{args:?}\n{}", run.err);
    run
}

fn refused(dir: &Path, args: &[&str], code: i32, words: &str) {
    let run = run_in(dir, args, b"");
    assert_eq!(run.code, code, "{args:?}\n{}", run.err);
    assert!(run.err.contains(words), "{args:?}: expected `{words}` in\n{}", run.err);
    assert_eq!(run.out, "", "{args:?}");
}

fn revision(dir: &Path, bundle: &str) -> String {
    let run = ok(dir, &["check", bundle, "--format", "json"]);
    serde_json::from_str::<Value>(&run.out).unwrap()["revision"].as_str().unwrap().to_owned()
}

/// A folder with a policy repo `repo`, a key pair, and the key pair of somebody else.
fn world() -> TempDir {
    let dir = TempDir::new().unwrap();
    ok(dir.path(), &["init", "repo"]);
    ok(dir.path(), &["bundle", "keygen", "--out", "bundle.key"]);
    ok(dir.path(), &["bundle", "keygen", "--out", "other.key"]);
    dir
}

const AT: [&str; 2] = ["--issued-at", "2026-11-22T10:00:00Z"];

fn build(dir: &Path, serial: &str, out: &str, more: &[&str]) {
    ok(dir, &[&["bundle", "build", "repo", "--name", "shop", "--serial", serial, "--out", out], &AT[..], more].concat());
}

#[test]
fn built_signed_verified_and_used_like_its_folder() {
    let world = world();
    let dir = world.path();
    build(dir, "7", "a.tar.gz", &["--key", "bundle.key"]);
    build(dir, "7", "b.tar.gz", &[]);
    ok(dir, &["bundle", "sign", "b.tar.gz", "--key", "bundle.key"]);
    let bytes = fs::read(dir.join("a.tar.gz")).unwrap();
    assert_eq!(bytes, fs::read(dir.join("b.tar.gz")).unwrap(), "the same sources, label and key give the same bytes");
    build(dir, "7", "c.tar.gz", &["--key", "bundle.key"]);
    assert_eq!(bytes, fs::read(dir.join("c.tar.gz")).unwrap());
    assert_eq!(revision(dir, "a.tar.gz"), revision(dir, "repo"));
    ok(dir, &["test", "a.tar.gz"]);
    // A built bundle is a bundle, so it can be built again under another label.
    ok(dir, &[&["bundle", "build", "a.tar.gz", "--name", "town", "--serial", "1", "--out", "d.tar.gz"][..], &AT].concat());
    assert_eq!(revision(dir, "d.tar.gz"), revision(dir, "repo"));

    let verified = ok(dir, &["bundle", "verify", "a.tar.gz", "--key", "bundle.pub", "--name", "shop", "--min-serial", "7"]);
    assert!(verified.err.contains("`shop`, serial 7"), "{}", verified.err);
    let json = ok(dir, &["bundle", "verify", "a.tar.gz", "--key", "bundle.pub", "--format", "json"]);
    let document: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!((&document["verified"], &document["manifest"]["serial"]), (&true.into(), &7.into()));

    let shown = ok(dir, &["bundle", "inspect", "a.tar.gz", "--format", "json"]);
    let document: Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!(document["manifest"]["name"], "shop");
    assert_eq!(document["manifest"]["issued_at"], "2026-11-22T10:00:00.000Z");
    assert_eq!(document["revision"].as_str().unwrap(), revision(dir, "repo"));
    let listed: Vec<&str> = document["manifest"]["files"].as_array().unwrap().iter().map(|f| f["path"].as_str().unwrap()).collect();
    assert_eq!(listed, ["invariants.yaml", "inventory.yaml", "permissions.yaml", "tests.yaml"]);
    let shown = ok(dir, &["bundle", "inspect", "a.tar.gz"]);
    assert!(shown.err.contains("serial     7") && shown.err.contains("permissions.yaml"), "{}", shown.err);

    let mode = |name: &str| fs::metadata(dir.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("bundle.key"), mode("bundle.pub")), (0o600, 0o644));
    let leftovers = fs::read_dir(dir).unwrap().filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().ends_with(".new")).count();
    assert_eq!(leftovers, 0);
}

#[test]
fn what_is_not_the_bundle_asked_for_is_refused() {
    let world = world();
    let dir = world.path();
    build(dir, "7", "seven.tar.gz", &["--key", "bundle.key"]);
    build(dir, "7", "bare.tar.gz", &[]);
    fs::write(dir.join("repo/more.yaml"), "kind: Group\nname: all\nmembers: [web, orders]\n").unwrap();
    build(dir, "8", "eight.tar.gz", &["--key", "bundle.key"]);
    build(dir, "7", "again.tar.gz", &["--key", "bundle.key"]);
    let verify = |file: &'static str, more: &[&'static str]| [&["bundle", "verify", file, "--key", "bundle.pub"][..], more].concat();

    ok(dir, &verify("eight.tar.gz", &["--newer-than", "seven.tar.gz"]));
    ok(dir, &verify("seven.tar.gz", &["--newer-than", "seven.tar.gz"]));
    refused(dir, &verify("seven.tar.gz", &["--newer-than", "eight.tar.gz"]), 1, "its serial is 7, and at least 8");
    refused(dir, &verify("again.tar.gz", &["--newer-than", "seven.tar.gz"]), 1, "serial 7 was given to another revision");
    refused(dir, &verify("seven.tar.gz", &["--min-serial", "8"]), 1, "its serial is 7");
    refused(dir, &verify("seven.tar.gz", &["--name", "town"]), 1, "it is the bundle `shop`, expected `town`");
    refused(dir, &verify("bare.tar.gz", &[]), 1, "it is not signed");
    refused(dir, &["bundle", "verify", "seven.tar.gz", "--key", "other.pub"], 1, "signed with another key");
    refused(dir, &verify("seven.tar.gz", &["--max-age", "1s"]), 1, "issued at 2026-11-22");
    let mut bytes = fs::read(dir.join("seven.tar.gz")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(dir.join("flipped.tar.gz"), bytes).unwrap();
    refused(dir, &verify("flipped.tar.gz", &[]), 1, "`flipped.tar.gz` is refused");

    refused(dir, &verify("nothing.tar.gz", &[]), 2, "`nothing.tar.gz`");
    refused(dir, &["bundle", "verify", "seven.tar.gz", "--key", "bundle.key"], 2, "not an Ed25519 key");
    refused(dir, &["bundle", "verify", "seven.tar.gz", "--key", "none.pub"], 2, "cannot read the key `none.pub`");
    refused(dir, &verify("seven.tar.gz", &["--newer-than", "bare.tar.gz"]), 2, "cannot compare with `bare.tar.gz`");
    refused(dir, &["bundle", "sign", "seven.tar.gz", "--key", "bundle.pub"], 2, "not an Ed25519 key");
    refused(dir, &["bundle", "keygen", "--out", "bundle.key"], 2, "exists");
    refused(dir, &["bundle", "keygen", "--out", "x.pub"], 2, "is the public key's name");
}

#[test]
fn only_valid_bundles_are_built_and_a_failure_leaves_the_old_file() {
    let world = world();
    let dir = world.path();
    build(dir, "7", "shop.tar.gz", &[]);
    let before = fs::read(dir.join("shop.tar.gz")).unwrap();
    fs::write(dir.join("repo/bad.yaml"), "kind: Permission\nname: x\nallow: {from: [nobody], to: orders, operations: [health]}\n").unwrap();
    let args = ["bundle", "build", "repo", "--name", "shop", "--out", "shop.tar.gz"];
    refused(dir, &args, 2, "is invalid and is not built");
    assert_eq!(fs::read(dir.join("shop.tar.gz")).unwrap(), before);
    fs::remove_file(dir.join("repo/bad.yaml")).unwrap();
    refused(dir, &["bundle", "build", "repo", "--name", "a b", "--out", "shop.tar.gz"], 2, "`a b` is not a name");
    refused(dir, &["bundle", "build", "repo", "--name", "shop", "--out", "no/such/folder.tar.gz"], 2, "cannot write");
    assert_eq!(fs::read(dir.join("shop.tar.gz")).unwrap(), before);
    // A default serial is the time of issue, so that a later build is a newer one.
    ok(dir, &args);
    let shown = ok(dir, &["bundle", "inspect", "shop.tar.gz", "--format", "json"]);
    let document: Value = serde_json::from_str(&shown.out).unwrap();
    assert!(document["manifest"]["serial"].as_u64().unwrap() > 1_700_000_000, "{document}");

    fs::copy(dir.join("shop.tar.gz"), dir.join("plain.tar.gz")).unwrap();
    for verb in ["build", "sign", "verify", "inspect", "keygen"] {
        let help = run_in(root(), &["bundle", verb, "--help"], b"");
        assert!(help.code == 0 && help.out.contains("Exit codes:") && help.out.contains("Example"), "{verb}");
    }
}
