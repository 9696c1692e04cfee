//! What a check finds, as it writes it, and the JSON Schema of that.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::assessment::{Evidence, Weight};
use crate::reader::without_place;

/// A finding as a check writes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    pub(super) subject: String,
    pub(super) summary: String,
    #[serde(default)]
    pub(super) remedy: String,
    #[serde(default)]
    pub(super) severity: Option<Weight>,
    #[serde(default)]
    pub(super) suspect: bool,
    #[serde(default)]
    pub(super) count: u64,
    #[serde(default)]
    pub(super) at: Option<String>,
    #[serde(default)]
    pub(super) evidence: Vec<Evidence>,
}

/// Whether this, a JSON array, is what a check may find.
///
/// # Errors
/// What is not, in words.
pub fn read(json: &str) -> Result<(), String> {
    written(json).map(drop)
}

/// The findings of a check's answer: objects, or texts that are subject and summary in one.
pub(super) fn written(json: &str) -> Result<Vec<Written>, String> {
    let items: Vec<Value> = serde_json::from_str(json).map_err(|e| without_place(&e))?;
    items
        .into_iter()
        .map(|item| match item {
            Value::String(text) => Ok(Written {
                subject: text.clone(),
                summary: text,
                remedy: String::new(),
                severity: None,
                suspect: false,
                count: 0,
                at: None,
                evidence: Vec::new(),
            }),
            // An array in the place of an object would be read as its fields in their order.
            item if item.get("evidence").and_then(Value::as_array).is_some_and(|all| all.iter().any(Value::is_array)) => {
                Err("a finding has another shape: what it has as evidence is no object".to_owned())
            }
            item if !item.is_object() => Err("a finding has another shape: it is neither a text nor an object".to_owned()),
            item => {
                let subject = item.get("subject").and_then(|subject| subject.as_str()).map(str::to_owned);
                serde_json::from_value(item).map_err(|e| {
                    let which = subject.map_or_else(|| "a finding".to_owned(), |subject| format!("the finding about `{subject}`"));
                    format!("{which} has another shape: {}", without_place(&e))
                })
            }
        })
        .collect()
}

/// The JSON Schema of one member of `finding`.
#[must_use]
pub fn json_schema() -> Value {
    let text = |says: &str| json!({"description": says, "type": "string"});
    let maybe = |says: &str| json!({"description": says, "type": ["string", "null"]});
    let number = |says: &str| json!({"description": says, "type": "integer", "minimum": 0});
    let words = [Weight::High, Weight::Medium, Weight::Low].map(Weight::as_str);
    let words: Vec<Value> = words.iter().map(|word| json!(word)).chain([Value::Null]).collect();
    let evidence = json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["input", "line", "sha256"],
        "properties": {
            "input": number("Which of the logs, from 0"),
            "line": number("Its line, from 1"),
            "sha256": {"description": "Of the line", "type": "string", "pattern": "^sha256:[0-9a-f]{64}$"},
        },
    });
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Portreeve: finding of a check",
        "description": "A member of the set `finding` of a check in Rego (package `portreeve.checks.NAME`).",
        "anyOf": [text("Subject and summary in one"), {
            "type": "object",
            "additionalProperties": false,
            "required": ["subject", "summary"],
            "properties": {
                "subject": text("What it is about; it makes the finding's id, so it is the same as long as the finding is"),
                "summary": text("What was found, in a sentence"),
                "remedy": text("What to do about it"),
                "severity": {
                    "description": "How much it weighs; `medium` where nothing is said",
                    "enum": words,
                },
                "suspect": {"description": "A person must confirm it", "type": "boolean"},
                "count": number("How often"),
                "at": maybe("Where, as `file:line`; the check's own place where nothing is said"),
                "evidence": {"description": "Lines that show it, as `input.edges[_].evidence` has them", "type": "array", "items": evidence},
            },
        }],
    })
}
