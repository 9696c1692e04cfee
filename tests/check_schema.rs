//! The JSON Schema of what checks in Rego find, against the reader of it.

#![cfg(test)]

mod common;

use portreeve_auditor::own_checks::finding;
use serde_json::{Value, json};

fn schema() -> Value {
    let run = common::run_in(common::root(), &["export", "json-schema", "check-finding"], b"");
    assert!(run.code == 0 && run.err.is_empty(), "{}", run.err);
    serde_json::from_str(&run.out).unwrap()
}

/// A finding that says all that can be said.
fn whole() -> Value {
    json!({
        "subject": "a → b", "summary": "more denied than allowed", "remedy": "ask its owner", "severity": "low", "suspect": true, "count": 3,
        "at": "c.rego:2", "evidence": [{"input": 0, "line": 1, "sha256": format!("sha256:{}", "0".repeat(64))}],
    })
}

/// Each field taken away, doubled into an unknown one, or of another kind: both say the same of what is left.
#[test]
fn schema_and_reader_agree_on_every_field() {
    let schema = schema();
    assert!(jsonschema::meta::is_valid(&schema));
    let validator = jsonschema::validator_for(&schema).unwrap();
    let (mut good, mut bad) = (0, 0);
    let mut both = |finding: &Value| {
        let read = finding::read(&json!([finding]).to_string());
        assert_eq!(validator.is_valid(finding), read.is_ok(), "{finding}: {read:?}");
        *(if read.is_ok() { &mut good } else { &mut bad }) += 1;
    };
    let odd = [
        json!(null),
        json!({}),
        json!([]),
        json!([{}]),
        json!(""),
        json!("surprise"),
        json!("high"),
        json!("medium"),
        json!("High"),
        json!(7),
        json!(0),
        json!(-1),
        json!(1.5),
        json!(true),
        json!([0, 1, format!("sha256:{}", "0".repeat(64))]),
        json!([[0, 1, format!("sha256:{}", "0".repeat(64))]]),
        json!(format!("sha256:{}", "A".repeat(64))),
        json!(format!("sha256:{}", "a".repeat(63))),
        json!("a".repeat(64)),
    ];
    both(&whole());
    both(&json!(["a", "b"]));
    odd.iter().for_each(&mut both);
    for at in ["", "/evidence/0"] {
        let names: Vec<String> = whole().pointer(at).unwrap().as_object().unwrap().keys().cloned().collect();
        for name in names.iter().map(String::as_str).chain(["surprise"]) {
            let mut changed = whole();
            changed.pointer_mut(at).unwrap().as_object_mut().unwrap().remove(name);
            both(&changed);
            for to in &odd {
                changed.pointer_mut(at).unwrap().as_object_mut().unwrap().insert(name.to_owned(), to.clone());
                both(&changed);
            }
        }
    }
    assert!(good > 20 && bad > 100, "{good} {bad}");
}

/// An editor offers every field that there is.
#[test]
fn the_schema_has_every_field_of_a_finding() {
    let schema = schema();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&schema["anyOf"][1]["properties"]), keys(&whole()));
    let evidence = &schema["anyOf"][1]["properties"]["evidence"]["items"];
    assert_eq!(keys(&evidence["properties"]), keys(&whole()["evidence"][0]));
}
