//! The JSON Schema of control catalogues against the reader of them, and both against the catalogues that are shipped.

#![cfg(test)]

#[path = "common/schemas.rs"]
mod schemas;

use std::path::Path;

use portreeve_auditor::Catalog;
use portreeve_auditor::checks::CHECKS;
use portreeve_engine::yaml;
use serde_json::{Value, json};

use crate::schemas::{exported, plain};

fn shipped() -> Vec<(String, Value)> {
    let files = ["controls/pci-dss-4.0.1.yaml", "controls/nist-800-53-r5.yaml", "controls/soc2.yaml", "checks/house.yaml"];
    let read = |file: &str| {
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("policies").join(file)).unwrap();
        (file.to_owned(), plain(&yaml::parse(file, &text).unwrap()[0]))
    };
    files.into_iter().map(read).collect()
}

/// Whether the reader takes a document; checks of the house are known to it.
fn read(document: &Value) -> Result<(), String> {
    // JSON is YAML.
    let own = ["shared_zone", "wrong_door"].map(str::to_owned);
    let text = serde_json::to_string(document).unwrap();
    Catalog::parse_with("c.yaml", &text, &own).map(drop).map_err(|found| found.iter().map(|d| d.render()).collect())
}

fn validator() -> jsonschema::Validator {
    let schema = exported(&["catalog"]);
    assert!(jsonschema::meta::is_valid(&schema));
    jsonschema::validator_for(&schema).unwrap()
}

#[test]
fn the_catalogues_that_are_shipped_are_good_to_both() {
    let validator = validator();
    for (file, document) in shipped() {
        let errors: Vec<String> = validator.iter_errors(&document).map(|e| format!("{e} at {}", e.instance_path())).collect();
        assert!(errors.is_empty(), "{file}: {errors:#?}");
        read(&document).unwrap();
    }
}

/// Each field taken away, doubled into an unknown one, emptied, or of another kind: both say the same of what is left.
#[test]
fn schema_and_reader_agree_on_every_field() {
    let validator = validator();
    let odd = [
        json!(null),
        json!({}),
        json!([]),
        json!([{}]),
        json!(""),
        json!("surprise"),
        json!(7),
        json!([[]]),
        json!(["grants"]),
        json!("100%"),
    ];
    let mut fields = std::collections::BTreeSet::new();
    let (mut good, mut bad) = (0, 0);
    let mut both = |document: &Value, what: &str| {
        let (schema, reader) = (validator.is_valid(document), read(document));
        let said = reader.as_ref().err().cloned().unwrap_or_default();
        // Which words are checks the reader alone knows: those of one's own have any name.
        if said.contains("there is no check") {
            return;
        }
        assert_eq!(schema, reader.is_ok(), "{what}: {said}");
        *(if schema { &mut good } else { &mut bad }) += 1;
    };
    for (file, document) in shipped() {
        for at in ["", "/controls/0", "/controls/1"] {
            let names: Vec<String> = document.pointer(at).unwrap().as_object().unwrap().keys().cloned().collect();
            for name in names {
                let change = |to: Option<Value>| {
                    let mut changed = document.clone();
                    let object = changed.pointer_mut(at).unwrap().as_object_mut().unwrap();
                    match to {
                        Some(to) => drop(object.insert(name.clone(), to)),
                        None => drop(object.remove(&name)),
                    }
                    changed
                };
                both(&change(None), &format!("{file}{at} without {name}"));
                for to in &odd {
                    both(&change(Some(to.clone())), &format!("{file}{at}/{name} = {to}"));
                }
                fields.insert(name);
            }
            let mut more = document.clone();
            more.pointer_mut(at).unwrap().as_object_mut().unwrap().insert("surprise".to_owned(), json!("1"));
            both(&more, &format!("{file}{at} with a surprise"));
        }
    }
    for share in ["100%", "99.5%", "0.01%", "007%", "0%", "0.00%", "100.01%", "99.999%", "99", "-1%", "99.%", "1e1%", ".5%", "%"] {
        let mut document = shipped().pop().unwrap().1;
        document["controls"][1]["coverage"] = json!(share);
        both(&document, share);
    }
    assert!(good > 50 && bad > 500, "{good} {bad}");
    assert_eq!(fields.len(), 13, "{fields:?}");
}

/// An editor offers every check and population that there is.
#[test]
fn an_editor_is_told_all_words() {
    let schema = exported(&["catalog"]);
    let words = |pointer: &str| {
        schema.pointer(pointer).unwrap().as_array().unwrap().iter().map(|w| w.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(words("/$defs/check/anyOf/0/enum"), CHECKS.iter().map(|c| c.id).collect::<Vec<_>>());
    for word in words("/$defs/population/enum") {
        let document = json!({"catalog": "x", "title": "X", "controls": [
            {"id": "a", "family": "F", "title": "T", "cannot_show": "all", "otherwise": "needs-human", "measured": [word]}
        ]});
        read(&document).unwrap();
    }
}
