//! The scribe: an assessment as a page, and in the formats that other tools take.
//!
//! It renders and computes nothing (INV-3): every figure it prints stands in the [`Assessment`]; only separators, cuts and
//! groupings for display are its own. It reads no clock and asks no network. INVARIANT: the same assessment gives the same
//! bytes, and no text of an assessment acts in a browser, a terminal or a code forge.

mod csv;
pub mod escape;
mod filters;
mod formats;
mod json;
pub mod junit;
mod limits;
pub mod manifest;
mod markdown;
mod matrix;
mod ocsf;
mod oscal;
mod page;
pub mod sarif;
mod text;
mod write;
mod zones;

use std::path::PathBuf;

use portreeve_auditor::assessment::Assessment;

pub use formats::{Format, Options};
pub use write::{write_all, write_formats};

/// The whole report as one page that needs nothing else: no network, no second file, and no script to be read.
///
/// # Errors
/// Only if the assessment cannot be serialised or the template fails, which a well-formed assessment does not cause.
pub fn html(assessment: &Assessment) -> Result<String, ReportError> {
    page::render(assessment)
}

/// A short summary for a pull request or a step of a pipeline.
#[must_use]
pub fn markdown(assessment: &Assessment) -> String {
    markdown::render(assessment)
}

/// `assessment.json`: indented, in stable order, with a trailing newline.
///
/// # Errors
/// Only if the assessment cannot be serialised, which a well-formed assessment does not cause.
pub fn json(assessment: &Assessment) -> Result<String, ReportError> {
    json::file(assessment).map_err(ReportError::Json)
}

/// Why a report could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The page's template failed.
    #[error("the report page could not be rendered")]
    Render(#[source] askama::Error),
    /// The assessment could not be written as JSON.
    #[error("the assessment could not be written as JSON")]
    Json(#[source] serde_json::Error),
    /// The folder for the report could not be made.
    #[error("cannot make the folder `{}`", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file of the report could not be written or put in its place.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}
