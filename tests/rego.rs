//! The Rego side of the command line: a bundle's own `test_…` rules, and what `check` says of Rego.

#![cfg(test)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const SERVICES: &str = "kind: Service\nname: items\nidentities: [spiffe://t.example/sa/items]\nheaders: {x-tenant: string}\n\
    operations:\n  - {id: read, method: GET, path: /items}\n";
const POLICY: &str = "package portreeve.items\n\ndeny contains \"no tenant\" if not input.context.headers[\"x-tenant\"]\n";

fn bundle(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [("services.yaml", SERVICES), ("items.rego", POLICY)].iter().chain(files) {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn portreeve(verb: &str, folder: &Path, more: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } =
        Command::new(env!("CARGO_BIN_EXE_portreeve")).arg(verb).arg(folder).args(more).env_clear().output().unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

const PASSING: &str = "package portreeve.items_test\n\nimport data.portreeve.items\n\n\
    test_tenant if count(items.deny) == 0 with input.context.headers as {\"x-tenant\": \"eu\"}\n\n\
    test_none if items.deny[\"no tenant\"] with input as {\"context\": {\"headers\": {}}}\n\ntodo_test_more if false\n";
const FAILING: &str = "package portreeve.items_test\n\nimport data.portreeve.items\n\n\
    test_wrong if {\n\tprint(\"denied\", items.deny)\n\tcount(items.deny) == 1 with input.context.headers as {\"x-tenant\": \"eu\"}\n}\n";

#[test]
fn rego_tests_alone_are_tests() {
    let folder = bundle(&[("items_test.rego", PASSING)]);
    let (code, _, said) = portreeve("test", folder.path(), &[]);
    assert_eq!((code, said.as_str()), (0, "ok: 2 passed, 0 failed, 1 to do\n"));
    let folder = bundle(&[]);
    let (code, _, said) = portreeve("test", folder.path(), &[]);
    assert_eq!(code, 2);
    assert!(said.contains("has no test case") && said.contains("`test_…` rule"), "{said}");
}

#[test]
fn a_failure_says_which_and_where_in_every_format() {
    let folder = bundle(&[("a_test.rego", PASSING), ("b_test.rego", FAILING)]);
    let (code, _, said) = portreeve("test", folder.path(), &[]);
    assert_eq!(code, 1);
    assert!(said.contains("FAIL portreeve.items_test.test_wrong (b_test.rego:5)"), "{said}");
    assert!(
        said.contains("it is undefined") && said.contains("printed   ") && said.contains("FAIL: 2 passed, 1 failed, 1 to do"),
        "{said}"
    );
    let (code, json, _) = portreeve("test", folder.path(), &["--format", "json"]);
    assert_eq!(code, 1);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["passed"], &json["failed"], &json["skipped"]), (&2.into(), &1.into(), &1.into()));
    let wrong = json["rego"].as_array().unwrap().iter().find(|t| t["name"] == "portreeve.items_test.test_wrong").unwrap();
    assert_eq!((&wrong["at"], &wrong["passed"]), (&"b_test.rego:5".into(), &false.into()));
    let (code, junit, _) = portreeve("test", folder.path(), &["--format", "junit"]);
    assert_eq!(code, 1);
    assert!(junit.contains("name=\"portreeve.items_test\" ") && junit.contains("tests=\"3\" failures=\"1\""), "{junit}");
    assert!(junit.contains("classname=\"b_test.rego:5\"") && junit.contains("<failure type=\"rego\""), "{junit}");
}

#[test]
fn a_broken_test_is_told_and_stops_nothing() {
    let folder = bundle(&[("a_test.rego", "package portreeve.items_test\n\ntest_a if nonsense(1)\n")]);
    let (code, _, said) = portreeve("check", folder.path(), &[]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("warning[rego-builtin]: there is no function `nonsense`") && said.contains("a_test.rego:3:11"), "{said}");
    let (code, _, said) = portreeve("test", folder.path(), &[]);
    assert_eq!(code, 2);
    assert!(said.contains("a_test.rego:3:11"), "{said}");
}

#[test]
fn check_tells_of_answers_that_are_none_or_cannot_be_kept() {
    let folder = bundle(&[(
        "envoy.rego",
        "package envoy.authz\n\ndefault allow := {\"allowed\": false}\n\nallow := true if input.attributes.request.time > \"2026\"\n",
    )]);
    let (code, _, said) = portreeve("check", folder.path(), &[]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("warning[rego-answer-type]: `envoy.authz.allow` is an object here") && said.contains("envoy.rego:3:9"), "{said}");
    assert!(said.contains("warning[uncacheable-rego]") && said.contains("envoy.rego:5 reads `input.attributes.request.time`"), "{said}");
}
