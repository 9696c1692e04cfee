//! Diagnostics as SARIF 2.1.0, for code scanning. Only renders; the frame is the one of the reports.

use std::collections::BTreeSet;

use portreeve_engine::Diagnostic;
use portreeve_reports::sarif;
use serde_json::{Value, json};

use crate::escape::uri;

/// One run with one result for each diagnostic. `prefix` leads from the repository's root to the bundle.
pub(crate) fn document(diagnostics: &[Diagnostic], prefix: &str) -> Value {
    let codes: BTreeSet<&str> = diagnostics.iter().map(|d| d.code).collect();
    let rules: Vec<Value> = codes.iter().map(|code| json!({"id": code, "help": {"text": format!("see {BOOK}#{code}")}})).collect();
    let results: Vec<Value> = diagnostics.iter().map(|d| result(d, prefix)).collect();
    sarif::document(&rules, &results)
}

fn result(diagnostic: &Diagnostic, prefix: &str) -> Value {
    let text = match &diagnostic.help {
        Some(help) => format!("{} (help: {help})", diagnostic.message),
        None => diagnostic.message.clone(),
    };
    let mut result = json!({
        "ruleId": diagnostic.code,
        "level": if diagnostic.is_error() { "error" } else { "warning" },
        "message": {"text": text},
    });
    if let (Some(at), Some(fields)) = (&diagnostic.location, result.as_object_mut()) {
        let location = json!({"physicalLocation": {
            "artifactLocation": {"uri": uri(&format!("{prefix}{}", at.file))},
            "region": {
                "startLine": at.line.max(1), "startColumn": at.column.max(1),
                "endLine": at.line.max(1), "endColumn": at.column.max(1).saturating_add(at.length.max(1)),
            },
        }});
        fields.insert("locations".to_owned(), json!([location]));
    }
    result
}

/// The page of the book with one section for each code, relative to the repository.
const BOOK: &str = "docs/diagnostics.md";
