//! Diagnostics in the forms that people and pipelines read. The content is the engine's; nothing is added here.

use portreeve_engine::Diagnostic;
use serde::Serialize;

use crate::cacheability::Line;
use crate::escape::{workflow_message, workflow_property};

/// The `--format json` document of `check`.
#[derive(Debug, Serialize)]
pub(crate) struct CheckReport<'a> {
    /// As given.
    pub(crate) bundle: &'a str,
    /// The bundle's revision.
    pub(crate) revision: String,
    /// No diagnostic is an error.
    pub(crate) valid: bool,
    /// How many are errors.
    pub(crate) errors: usize,
    /// How many are warnings.
    pub(crate) warnings: usize,
    /// All of them, by file and line.
    pub(crate) diagnostics: &'a [Diagnostic],
    /// How the answers of each policy come about, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cacheability: Option<&'a [Line<'a>]>,
}

/// All of them for people, an empty line between.
pub(crate) fn human(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().fold(String::new(), |mut out, diagnostic| {
        out.push_str(&diagnostic.render());
        out.push('\n');
        out
    })
}

/// As workflow commands, which become annotations on a pull request.
pub(crate) fn github(diagnostics: &[Diagnostic], prefix: &str) -> String {
    diagnostics.iter().fold(String::new(), |mut out, diagnostic| {
        let level = if diagnostic.is_error() { "error" } else { "warning" };
        let mut message = diagnostic.message.clone();
        if let Some(help) = &diagnostic.help {
            message = format!("{message}\nhelp: {help}");
        }
        let title = workflow_property(diagnostic.code);
        let place = diagnostic.location.as_ref().map_or_else(String::new, |at| {
            let file = workflow_property(&format!("{prefix}{}", at.file));
            format!("file={file},line={},col={},endColumn={},", at.line, at.column, at.column.saturating_add(at.length))
        });
        out.push_str(&format!("::{level} {place}title={title}::{}\n", workflow_message(&message)));
        out
    })
}

/// `2 errors, 1 warning`.
pub(crate) fn count(diagnostics: &[Diagnostic]) -> String {
    let errors = diagnostics.iter().filter(|d| d.is_error()).count();
    let warnings = diagnostics.len() - errors;
    match (errors, warnings) {
        (0, 0) => "no errors, no warnings".to_owned(),
        (_, 0) => many(errors, "error"),
        (0, _) => format!("no errors, {}", many(warnings, "warning")),
        (..) => format!("{}, {}", many(errors, "error"), many(warnings, "warning")),
    }
}

/// `1 error`, `2 errors`.
pub(crate) fn many(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}
