//! Test results as JUnit XML. Only renders; the frame is the one of the reports.
//!
//! The shape is the common schema's: one suite for each `Test`, with the properties and output elements it asks for. Times are
//! zero and the time stamp is fixed, because the same bundle must give the same bytes.

use portreeve_reports::junit::{self, Counts};

use crate::escape::xml;
use crate::rego_tests::RegoResult;
use crate::test::{CaseResult, Report};

/// The whole document.
pub(crate) fn document(report: &Report<'_>) -> String {
    let mut out = junit::OPENING.to_owned();
    let mut rest = report.cases.as_slice();
    let mut id = 0;
    while let Some(first) = rest.first() {
        let (suite, others) = rest.split_at(rest.iter().take_while(|case| case.suite == first.suite).count());
        out.push_str(&test_suite(id, first.suite, suite, &report.revision));
        rest = others;
        id += 1;
    }
    let mut rego = report.rego.as_slice();
    while let Some(first) = rego.first() {
        let (package, others) = rego.split_at(rego.iter().take_while(|test| test.package() == first.package()).count());
        out.push_str(&rego_suite(id, first.package(), package, &report.revision));
        rego = others;
        id += 1;
    }
    out.push_str(junit::CLOSING);
    out
}

/// The tests of one package. A test that is yet to be done is not listed: the common schema has no word for it.
fn rego_suite(id: usize, name: &str, tests: &[RegoResult], revision: &str) -> String {
    let ran: Vec<&RegoResult> = tests.iter().filter(|test| !test.skipped).collect();
    let failures = ran.iter().filter(|test| test.failed()).count();
    let mut out = opening(id, name, ran.len(), failures, revision);
    for test in ran {
        out.push_str(&format!("    <testcase name=\"{}\" classname=\"{}\" time=\"0\"", xml(&test.name), xml(&test.at)));
        match &test.why {
            None => out.push_str("/>\n"),
            Some(why) => {
                out.push_str(&format!("><failure type=\"rego\" message=\"{}\">{}</failure></testcase>\n", xml(why), xml(&test.failure())))
            }
        }
    }
    out.push_str(junit::SUITE_CLOSING);
    out
}

fn opening(id: usize, name: &str, tests: usize, failures: usize, revision: &str) -> String {
    junit::suite_opening(id, name, Counts { tests, failures, ..Counts::default() }, None, ("revision", revision))
}

fn test_suite(id: usize, name: &str, cases: &[CaseResult<'_>], revision: &str) -> String {
    let failures = cases.iter().filter(|case| !case.passed).count();
    let mut out = opening(id, name, cases.len(), failures, revision);
    for case in cases {
        out.push_str(&format!("    <testcase name=\"{}\" classname=\"{}\" time=\"0\"", xml(case.title), xml(&case.at)));
        if case.passed {
            out.push_str("/>\n");
        } else {
            let message = format!("expected {}, came {} ({})", case.expected.effect, case.decision.effect, case.decision.reason);
            out.push_str(&format!(
                "><failure type=\"decision\" message=\"{}\">{}</failure></testcase>\n",
                xml(&message),
                xml(&case.failure())
            ));
        }
    }
    out.push_str(junit::SUITE_CLOSING);
    out
}
