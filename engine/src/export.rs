//! A bundle as Cedar's own tools take it: policies, schema, entities.
//!
//! YAML permissions stand in their lowered form, which is their meaning; Cedar files as they were written. Rego has no Cedar form: its
//! rules are named in a comment, so that nobody takes the rest for the whole.

use std::fmt::Write as _;

use crate::authorizer::{Authorizer, Language};
use crate::bundle::Bundle;

/// Three texts, each for one of the files that Cedar's command line asks for.
#[derive(Clone, Debug)]
pub struct CedarExport {
    /// The policies.
    pub policies: String,
    /// The schema, in Cedar's own syntax.
    pub schema: String,
    /// The entities that do not depend on a request, as JSON.
    pub entities: String,
}

/// Exports a bundle; `authorizer` was compiled from it.
///
/// # Errors
/// Cedar does not write its own entities, in its words.
pub fn cedar(bundle: &Bundle, authorizer: &Authorizer) -> Result<CedarExport, String> {
    let mut policies = format!("// {}\n", authorizer.revision());
    let rego: Vec<&str> = authorizer.policies().iter().filter(|p| p.language == Language::Rego).map(|p| &*p.reference.id).collect();
    if !rego.is_empty() {
        let _ = writeln!(policies, "// NOT HERE, because Rego has no Cedar form: {}", rego.join(", "));
    }
    for (id, text) in authorizer.lowered() {
        let at = authorizer.policies().iter().find(|p| *p.reference.id == *id).map(|p| p.reference.at.short()).unwrap_or_default();
        let _ = write!(policies, "\n// {at}\n{text}");
    }
    for file in bundle.files.iter().filter(|f| f.path.ends_with(".cedar")) {
        let text = String::from_utf8_lossy(&file.bytes);
        let _ = write!(policies, "\n// --- {}\n\n{}\n", file.path, text.trim_end());
    }
    Ok(CedarExport { policies, schema: authorizer.cedar_schema().to_owned(), entities: authorizer.world.json(&authorizer.inventory)? })
}
