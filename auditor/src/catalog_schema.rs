//! The JSON Schema (2020-12) of control catalogues, for editors. A test holds it against the reader and against the catalogues that are shipped.
//!
//! It knows the built-in checks by name; a check of one's own is another word, which the reader alone can tell from a mistake.

use serde_json::{Value, json};

use crate::checks::CHECKS;
use crate::measure::Measure;

/// The schema of a catalogue.
#[must_use]
pub fn json_schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Portreeve control catalogue",
        "type": "object",
        "additionalProperties": false,
        "required": ["catalog", "title", "controls"],
        "properties": {
            "catalog": text("The id of the catalogue, as reports and scope files name it"),
            "title": text("Its title"),
            "controls": {
                "description": "Its controls, in its order",
                "type": "array",
                "minItems": 1,
                "items": {"$ref": "#/$defs/control"},
            },
        },
        "$defs": {
            "text": {"type": ["string", "number", "boolean"]},
            // Of spaces alone nothing is said.
            "said": {"type": ["string", "number", "boolean"], "pattern": r"\S"},
            "texts": {"anyOf": [{"$ref": "#/$defs/text"}, {"type": "array", "items": {"$ref": "#/$defs/text"}}]},
            "some": {"anyOf": [{"$ref": "#/$defs/text"}, {"type": "array", "minItems": 1}]},
            "check": {
                "anyOf": [
                    {"description": "A built-in check", "enum": CHECKS.iter().map(|check| check.id).collect::<Vec<_>>()},
                    {"description": "A check of one's own: the last word of its package", "type": "string"},
                ],
            },
            "population": {"enum": Measure::ALL.iter().map(|(word, _)| *word).collect::<Vec<_>>()},
            "control": control(),
        },
    })
}

fn control() -> Value {
    let list_of = |what: &str, says: &str| {
        let one = json!({"$ref": format!("#/$defs/{what}")});
        json!({"description": says, "anyOf": [one, {"type": "array", "items": one}]})
    };
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["id", "family", "title", "otherwise", "cannot_show"],
        "properties": {
            "id": text("Its id in the catalogue; no two are alike"),
            "family": text("The heading it stands under"),
            "title": text("What it asks, in your own words"),
            "refuted_by": list_of("check", "A proved finding of these checks refutes it"),
            "doubted_by": list_of("check", "A finding of these speaks against it; a person must confirm it"),
            "informed_by": list_of("check", "Findings of these are shown beside it"),
            "measured": list_of("population", "Populations that must be known"),
            "coverage": {
                "description": "How much of each must be known, such as `99.5%`; all of it unless said",
                "type": "string",
                "pattern": r"^(0*100(\.0{1,2})?|0*[0-9]{1,2}(\.[0-9]{1,2})?)%$",
                "not": {"pattern": r"^0*(\.0{1,2})?%$"},
            },
            "otherwise": {
                "description": "What may be said where nothing was found",
                "enum": ["met-technical", "needs-human", "not-assessed"],
            },
            "needs": {"description": "What a person must add", "$ref": "#/$defs/texts"},
            "cannot_show": text("What this evidence cannot show"),
        },
        // Silence proves nothing unless it is known who would have spoken.
        "if": {"properties": {"otherwise": {"const": "met-technical"}}, "required": ["otherwise"]},
        "then": {
            "required": ["measured"],
            "properties": {"measured": {"$ref": "#/$defs/some"}},
            "anyOf": [
                {"required": ["refuted_by"], "properties": {"refuted_by": {"$ref": "#/$defs/some"}}},
                {"required": ["doubted_by"], "properties": {"doubted_by": {"$ref": "#/$defs/some"}}},
            ],
        },
    })
}

fn text(says: &str) -> Value {
    json!({"description": says, "$ref": "#/$defs/said"})
}
