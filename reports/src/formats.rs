//! The formats a report can have: their names, their files, and how each is made.

use portreeve_auditor::assessment::Assessment;
use serde_json::Value;

use crate::{ReportError, csv, json, junit, markdown, ocsf, oscal, page, sarif};

/// A form of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// The page for people.
    Html,
    /// The assessment itself.
    Json,
    /// A comment on a pull request.
    Markdown,
    /// OSCAL assessment results.
    Oscal,
    /// An OSCAL plan of action and milestones.
    Poam,
    /// SARIF 2.1.0.
    Sarif,
    /// JUnit XML.
    Junit,
    /// Findings, a line each.
    CsvFindings,
    /// Controls, a line each.
    CsvControls,
    /// Edges, a line each.
    CsvEdges,
    /// OCSF events, a line each.
    Ocsf,
}

/// What is not in the assessment and shapes a format.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// From the repository's root to the newest bundle, for places in SARIF: `policies/`.
    pub policy_prefix: String,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Json,
        Self::Markdown,
        Self::Html,
        Self::Oscal,
        Self::Poam,
        Self::Sarif,
        Self::Junit,
        Self::CsvFindings,
        Self::CsvControls,
        Self::CsvEdges,
        Self::Ocsf,
    ];
    /// What is written where nothing else is asked for: for people, for machines, for a pull request.
    pub const USUAL: [Self; 3] = [Self::Json, Self::Markdown, Self::Html];

    /// Its name on a command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Html => "html",
            Self::Json => "json",
            Self::Markdown => "markdown",
            Self::Oscal => "oscal",
            Self::Poam => "oscal-poam",
            Self::Sarif => "sarif",
            Self::Junit => "junit",
            Self::CsvFindings => "csv-findings",
            Self::CsvControls => "csv-controls",
            Self::CsvEdges => "csv-edges",
            Self::Ocsf => "ocsf",
        }
    }

    /// Its file in the folder of a report.
    #[must_use]
    pub const fn file(self) -> &'static str {
        match self {
            Self::Html => "index.html",
            Self::Json => "assessment.json",
            Self::Markdown => "summary.md",
            Self::Oscal => "oscal-assessment-results.json",
            Self::Poam => "oscal-poam.json",
            Self::Sarif => "findings.sarif",
            Self::Junit => "junit.xml",
            Self::CsvFindings => "findings.csv",
            Self::CsvControls => "controls.csv",
            Self::CsvEdges => "edges.csv",
            Self::Ocsf => "ocsf.ndjson",
        }
    }

    /// The format of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|f| f.name() == name)
    }

    /// The report in this format; `None` where the format has no form for it: OSCAL knows no plan without an item.
    ///
    /// # Errors
    /// Only if the assessment cannot be serialised or the page's template fails, which a well-formed assessment does not cause.
    pub fn render(self, a: &Assessment, options: &Options) -> Result<Option<String>, ReportError> {
        let document = |value: &Value| json::document(value).map_err(ReportError::Json);
        Ok(Some(match self {
            Self::Html => page::render(a)?,
            Self::Json => json::file(a).map_err(ReportError::Json)?,
            Self::Markdown => markdown::render(a),
            Self::Oscal => document(&oscal::results(a))?,
            Self::Poam => match oscal::poam(a) {
                Some(plan) => document(&plan)?,
                None => return Ok(None),
            },
            Self::Sarif => document(&sarif::render(a, &options.policy_prefix))?,
            Self::Junit => junit::render(a),
            Self::CsvFindings => csv::findings(a),
            Self::CsvControls => csv::controls(a),
            Self::CsvEdges => csv::edges(a),
            Self::Ocsf => json::lines(&ocsf::render(a)).map_err(ReportError::Json)?,
        }))
    }
}
