//! `portreeve export` as its users run it; that Cedar accepts it is shown in `engine/tests/export.rs`.

#![cfg(test)]

mod common;

use std::fs;

use common::{root, run_in};
use tempfile::TempDir;

#[test]
fn cedar_in_three_files_or_one_on_stdout() {
    let dir = TempDir::new().unwrap();
    let out = dir.path().join("cedar");
    let market = "policies/marketplace";
    let written = run_in(root(), &["export", "cedar", market, "--out", out.to_str().unwrap()], b"");
    assert_eq!((written.code, written.out.as_str()), (0, ""), "{}", written.err);
    for (flag, name, needed) in [
        (None, "policies.cedar", "@id(\"gateway-reads-users\")\npermit("),
        (Some("--schema"), "schema.cedarschema", "entity Workload in [Service, Pattern];"),
        (Some("--entities"), "entities.json", "spiffe://market.example/ns/shop/sa/items"),
    ] {
        let args: Vec<&str> = ["export", "cedar", market].into_iter().chain(flag).collect();
        let run = run_in(root(), &args, b"");
        assert_eq!(run.code, 0, "{}", run.err);
        assert!(run.out.contains(needed), "no `{needed}` in\n{}", run.out);
        assert_eq!(fs::read_to_string(out.join(name)).unwrap(), run.out);
    }
    assert_eq!(run_in(root(), &["export", "cedar", market, "--schema", "--entities"], b"").code, 2);
    let bad = run_in(root(), &["export", "cedar", "tests/corpus/bundles/bad/unknown-service"], b"");
    assert!(bad.code == 2 && bad.out.is_empty() && bad.err.contains("unknown-name"), "{}", bad.err);
    let help = run_in(root(), &["export", "cedar", "--help"], b"");
    assert!(help.out.contains("Exit codes:") && help.out.contains("Examples:"));
}
