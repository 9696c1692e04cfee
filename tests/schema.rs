//! The JSON Schema that `export json-schema` prints: what is good validates, what is badly shaped does not.

#![cfg(test)]

#[path = "common/schemas.rs"]
mod schemas;

use std::fs;
use std::path::{Path, PathBuf};

use portreeve_engine::yaml;
use serde_json::Value;

use crate::schemas::{exported, plain};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn schema() -> Value {
    exported(&[])
}

fn documents(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    let nodes = yaml::parse("t", &text).unwrap_or_else(|e| panic!("{}: {e:?}", path.display()));
    nodes.iter().filter(|n| !n.is_null()).map(plain).collect()
}

fn yaml_files(folder: &str) -> Vec<PathBuf> {
    let mut out = Vec::new();
    let mut open = vec![root().join(folder)];
    while let Some(folder) = open.pop() {
        for path in fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()) {
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == "yaml") {
                out.push(path);
            }
        }
    }
    out
}

#[test]
fn every_good_example_validates() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let mut seen = 0;
    for path in yaml_files("policies/marketplace").into_iter().chain(yaml_files("src/scaffold")) {
        for document in documents(&path) {
            let errors: Vec<String> = validator.iter_errors(&document).map(|e| format!("{e} at {}", e.instance_path())).collect();
            assert!(errors.is_empty(), "{}: {errors:#?}\n{document:#}", path.display());
            seen += 1;
        }
    }
    assert!(seen > 40, "only {seen} documents");
}

#[test]
fn what_is_badly_shaped_does_not_validate() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let bad = "tests/corpus/bundles/bad";
    for (bundle, file) in [
        ("unknown-field", "permissions.yaml"),
        ("unknown-kind", "permissions.yaml"),
        ("missing-fields", "inventory.yaml"),
        ("wrong-types", "inventory.yaml"),
        ("allow-and-deny", "permissions.yaml"),
        ("operation-shape", "inventory.yaml"),
        ("empty-lists-that-would-open", "permissions.yaml"),
        ("empty-values", "permissions.yaml"),
        ("limits-that-limit-nothing", "permissions.yaml"),
        ("exception-without-end", "laws.yaml"),
        ("selectors-misplaced", "invariants.yaml"),
        ("yaml-merge-key-without-anchor", "permissions.yaml"),
        ("yaml-two-words-for-yes", "permissions.yaml"),
        ("zone-twice", "zones.yaml"),
        ("yaml-list-of-resources", "permissions.yaml"),
    ] {
        let found = documents(&root().join(bad).join(bundle).join(file));
        assert!(found.iter().any(|document| !validator.is_valid(document)), "{bundle} validates");
    }
}

#[test]
fn the_schema_is_itself_valid() {
    assert!(jsonschema::meta::is_valid(&schema()));
}
