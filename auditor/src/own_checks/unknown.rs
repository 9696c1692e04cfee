//! What checks read of their document and it does not have: it would be undefined, and a check that finds nothing for that looks like one
//! that found nothing wrong.
//!
//! The way of each read is gone along the schema of the document, which has the shape of all of it but of mappings with free names.

use portreeve_engine::{Diagnostic, RegoChecks};
use serde_json::Value;

use super::input;

/// Every read that leads nowhere, with the nearest name that there is.
pub(super) fn unknown(rego: &RegoChecks, files: &[(&str, &str)]) -> Vec<Diagnostic> {
    let schema = input::json_schema();
    let told = rego.reads().iter().filter_map(|read| {
        let mut problem = missing(&schema, &read.path)?.at(read.at.clone());
        if problem.help.is_none() {
            problem = problem.help("`portreeve export json-schema check-input` describes it");
        }
        let text = files.iter().find(|(file, _)| *read.at.file == **file).map(|(_, text)| *text);
        Some(text.map_or(problem.clone(), |text| problem.with_source(text)))
    });
    told.collect()
}

/// What is wrong with a way; `None` where it leads somewhere, or where nobody knows.
fn missing(schema: &Value, path: &[Option<String>]) -> Option<Diagnostic> {
    let mut here = schema;
    let mut way = "input".to_owned();
    for part in path {
        let properties = here.get("properties").and_then(Value::as_object);
        let (next, step) = match (properties, here.get("items"), part) {
            (Some(known), _, Some(name)) => match known.get(name) {
                Some(next) => (next, format!(".{name}")),
                None => return Some(lacks(&way, name, &known.keys().map(String::as_str).collect::<Vec<_>>())),
            },
            // A name that is computed may be any of them.
            (Some(_), ..) => return None,
            (_, Some(_), Some(name)) => {
                let message = format!("`{way}` is a list and has no `{name}`");
                return Some(
                    Diagnostic::error("rego-check", message).help(format!("each of it is `some one in {way}`, and then `one.{name}`")),
                );
            }
            (_, Some(items), None) => (items, "[_]".to_owned()),
            (None, None, part) => match here.get("additionalProperties").filter(|next| next.is_object()) {
                Some(next) => (next, part.as_ref().map_or("[_]".to_owned(), |name| format!(".{name}"))),
                None => {
                    let name = part.as_deref().map_or("anything".to_owned(), |name| format!("`{name}`"));
                    return Some(Diagnostic::error("rego-check", format!("`{way}` is one value and has not {name} below it")));
                }
            },
        };
        way.push_str(&step);
        here = next;
    }
    None
}

fn lacks(way: &str, name: &str, known: &[&str]) -> Diagnostic {
    let problem = Diagnostic::error("rego-check", format!("`{way}` has no `{name}`")).suggest(name, known.iter().copied());
    if problem.help.is_some() {
        return problem;
    }
    problem.help(format!("it has {}; `portreeve export json-schema check-input` describes it", known.join(", ")))
}
