//! JUnit XML: the frame that every document of ours shares, and the controls of an assessment as test cases.
//!
//! A control that is refuted is a failure, one in doubt an error; one of which this evidence says nothing is skipped with its
//! reason and never a pass. Times are zero and the time stamp is the end of the period, because the same inputs give the same
//! bytes.

use std::fmt::Write as _;

use portreeve_auditor::assessment::{Assessment, ControlResult, Verdict};
use portreeve_engine::Timestamp;

use crate::escape::{line, xml};

/// The first line and the element that holds all suites.
pub const OPENING: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n";
/// The end of a document.
pub const CLOSING: &str = "</testsuites>\n";
/// What the common schema wants at the end of a suite.
pub const SUITE_CLOSING: &str = "    <system-out></system-out>\n    <system-err></system-err>\n  </testsuite>\n";

/// How many cases a suite has, and how they ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// All.
    pub tests: usize,
    /// Failed.
    pub failures: usize,
    /// Could not be told.
    pub errors: usize,
    /// Not run.
    pub skipped: usize,
}

/// The opening of a suite, with one property.
#[must_use]
pub fn suite_opening(id: usize, name: &str, counts: Counts, at: Option<Timestamp>, property: (&str, &str)) -> String {
    let at = at.unwrap_or(Timestamp::from_unix_ms(0)).to_string();
    let seconds = at.split('.').next().unwrap_or_default();
    let Counts { tests, failures, errors, skipped } = counts;
    let skipped = if skipped > 0 { format!("skipped=\"{skipped}\" ") } else { String::new() };
    format!(
        "  <testsuite id=\"{id}\" package=\"portreeve\" name=\"{}\" timestamp=\"{seconds}\" hostname=\"localhost\" tests=\"{tests}\" \
         failures=\"{failures}\" errors=\"{errors}\" {skipped}time=\"0\">\n    <properties><property name=\"{}\" value=\"{}\"/></properties>\n",
        xml(name),
        xml(property.0),
        xml(property.1),
    )
}

/// The controls of an assessment, a suite for each catalogue.
pub(crate) fn render(a: &Assessment) -> String {
    let at = a.generated_at.or(a.period.map(|p| p.to));
    let mut out = OPENING.to_owned();
    for (id, catalog) in a.catalogs.iter().enumerate() {
        let controls: Vec<&ControlResult> = a.controls.iter().filter(|c| c.catalog == *catalog).collect();
        let count = |verdicts: &[Verdict]| controls.iter().filter(|c| verdicts.contains(&c.verdict)).count();
        let counts = Counts {
            tests: controls.len(),
            failures: count(&[Verdict::NotMet]),
            errors: count(&[Verdict::Suspect]),
            skipped: count(&[Verdict::NeedsHuman, Verdict::NotAssessed, Verdict::NotApplicable, Verdict::Waived]),
        };
        out.push_str(&suite_opening(id, &line(catalog), counts, at, ("tool", &line(&a.tool))));
        for c in controls {
            out.push_str(&case(a, c));
        }
        out.push_str(SUITE_CLOSING);
    }
    out.push_str(CLOSING);
    out
}

fn case(a: &Assessment, c: &ControlResult) -> String {
    let classname = format!("{}.{}", line(&c.catalog), if c.family.is_empty() { "controls".to_owned() } else { line(&c.family) });
    let mut out =
        format!("    <testcase name=\"{}\" classname=\"{}\" time=\"0\"", xml(&line(&format!("{} {}", c.id, c.title))), xml(&classname));
    let why = xml(&line(&format!("{}: {}", c.verdict.as_str(), c.why)));
    let _infallible = match c.verdict {
        Verdict::MetTechnical => writeln!(out, "/>"),
        Verdict::NotMet => writeln!(out, "><failure type=\"not-met\" message=\"{why}\">{}</failure></testcase>", xml(&details(a, c))),
        Verdict::Suspect => writeln!(out, "><error type=\"suspect\" message=\"{why}\">{}</error></testcase>", xml(&details(a, c))),
        _ => writeln!(out, "><skipped message=\"{why}\"/></testcase>"),
    };
    out
}

/// The findings that bear on a control, with their places.
fn details(a: &Assessment, c: &ControlResult) -> String {
    let mut out = String::new();
    for f in a.findings.iter().filter(|f| c.findings.contains(&f.id)) {
        let _infallible = writeln!(out, "{} ({}): {}", f.check, line(&f.subject), line(&f.summary));
        if let Some(at) = &f.at {
            let _infallible = writeln!(out, "  policy {}", line(at));
        }
        for e in &f.evidence {
            let log = a.inputs.get(e.input).map_or("?", |i| &*i.path);
            let _infallible = writeln!(out, "  {}:{} {}", line(log), e.line, e.sha256);
        }
    }
    out
}
