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

/// The policy of SPIFFE's tutorial reads the header in which Envoy passes on an identity. It is the verified one, whatever is sent.
#[test]
fn the_spire_tutorial_s_policy_runs_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let policy = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/rego-policies/spire-envoy-opa/opa-policy.rego");
    let policy = fs::read_to_string(policy).unwrap();
    let frontend = "spiffe://example.org/ns/default/sa/default/frontend";
    let services = format!(
        "kind: Service\nname: backend\nidentities: [spiffe://example.org/ns/default/sa/default/backend]\nheaders: {{x-forwarded-client-cert: string}}\n\
         operations:\n  - {{id: balances, method: GET, path: \"/balances/{{user}}\"}}\n---\nkind: Service\nname: frontend\nidentities: [{frontend}]\n\
         ---\nkind: Service\nname: frontend-2\nidentities: [{frontend}-2]\n"
    );
    fs::write(folder.path().join("services.yaml"), services).unwrap();
    // Its older syntax is what has to be said, in a comment above it.
    let policy = format!("# METADATA\n# custom: {{portreeve: {{rego_version: 0, services: [backend]}}}}\n{policy}");
    fs::write(folder.path().join("policy.rego"), policy).unwrap();
    let ask = |who: &str, path: &str, forged: &str| {
        let headers = if forged.is_empty() {
            String::new()
        } else {
            format!(",\"headers\":{{\"x-forwarded-client-cert\":\"By=;Hash=;URI={forged}\"}}")
        };
        let line = format!(
            "{{\"principal\":\"{who}\",\"service\":\"backend\",\"method\":\"GET\",\"path\":\"{path}\",\"context\":{{\"time\":\"2026-11-22T10:00:00Z\"{headers}}}}}\n"
        );
        let file = folder.path().join("request.ndjson");
        fs::write(&file, line).unwrap();
        let output =
            Command::new(env!("CARGO_BIN_EXE_portreeve")).args(["decide", "--bundle"]).arg(folder.path()).arg(&file).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let decision: serde_json::Value =
            serde_json::from_str(text.lines().next().unwrap_or_else(|| panic!("{output:?}", output = output.stderr))).unwrap();
        (decision["effect"].as_str().unwrap().to_owned(), decision["reason"].as_str().unwrap().to_owned())
    };
    let (allow, deny) = ("allow".to_owned(), "deny".to_owned());
    assert_eq!(ask(frontend, "/balances/alice", ""), (allow.clone(), "permitted".to_owned()));
    assert_eq!(ask(frontend, "/balances/alice", &format!("{frontend}-2")), (allow, "permitted".to_owned()));
    assert_eq!(ask(&format!("{frontend}-2"), "/balances/alice", frontend), (deny.clone(), "condition-unmet".to_owned()));
    assert_eq!(ask(frontend, "/secrets/alice", "").0, deny);
}
