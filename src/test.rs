//! `portreeve test`: does the bundle say what its authors meant?

use std::collections::BTreeSet;

use portreeve_engine::explain::{self, Nearest};
use portreeve_engine::model::TestCase;
use portreeve_engine::{Authorizer, Decision, Effect, Reason, RegoTests};
use serde::Serialize;

use crate::args::{TestArgs, TestFormat};
use crate::bundle;
use crate::junit;
use crate::limits::NEAREST_SHOWN_MAX;
use crate::outcome::{Failure, Outcome, Verdict};
use crate::output::{self, Out};
use crate::rego_tests::{self, RegoResult};

/// Runs every case and prints the results.
pub(crate) fn run(args: &TestArgs) -> Outcome {
    let loaded = bundle::load(&args.bundle)?;
    let authorizer = bundle::compiled(&args.bundle, &loaded.bundle)?;
    let rego = if RegoTests::exist(&loaded.bundle) { rego_tests::run(&loaded.bundle, &args.bundle)? } else { Vec::new() };
    let report = Report::of(&authorizer, rego);
    if report.cases.is_empty() && report.rego.is_empty() {
        return Err(Failure::with_help(
            format_args!("the bundle `{}` has no test case", args.bundle),
            "write a resource of `kind: Test`, or a `test_…` rule in Rego; see docs/testing.md",
        ));
    }
    let mut out = Out::new();
    match args.format {
        TestFormat::Human => output::tell(&report.human()),
        TestFormat::Json => out.json_document(&report)?,
        TestFormat::Junit => out.text(&junit::document(&report))?,
    }
    out.flush()?;
    let verdict = if report.failed == 0 { "ok" } else { "FAIL" };
    let skipped = if report.skipped == 0 { String::new() } else { format!(", {} to do", report.skipped) };
    output::tell(&format!("{verdict}: {} passed, {} failed{skipped}\n", report.passed, report.failed));
    Ok(Verdict::of(report.failed == 0))
}

/// The results of all cases; also the `--format json` document.
#[derive(Debug, Serialize)]
pub(crate) struct Report<'a> {
    /// The bundle's revision.
    pub(crate) revision: String,
    /// Cases that gave what was expected.
    pub(crate) passed: usize,
    /// Cases that did not.
    pub(crate) failed: usize,
    /// Rego tests that are yet to be done.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) skipped: usize,
    /// Every case, in the order of the files.
    pub(crate) cases: Vec<CaseResult<'a>>,
    /// Every test of Rego modules, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) rego: Vec<RegoResult>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(n: &usize) -> bool {
    *n == 0
}

/// What one case gave.
#[derive(Debug, Serialize)]
pub(crate) struct CaseResult<'a> {
    /// The name of its `Test`.
    pub(crate) suite: &'a str,
    /// The question in words.
    pub(crate) title: &'a str,
    /// `file:line`.
    pub(crate) at: String,
    /// Everything was as expected.
    pub(crate) passed: bool,
    /// What was expected.
    pub(crate) expected: Expected<'a>,
    /// What came.
    pub(crate) decision: Decision<'a>,
    /// The grants that came nearest to an unexpected denial.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) nearest: Vec<Nearest>,
}

/// What a case expects.
#[derive(Debug, Serialize)]
pub(crate) struct Expected<'a> {
    /// The effect.
    pub(crate) effect: Effect,
    /// The reason, if it matters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<Reason>,
    /// The deciding policies, if they matter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) policies: Option<&'a [Box<str>]>,
}

impl<'a> Report<'a> {
    fn of(authorizer: &'a Authorizer, rego: Vec<RegoResult>) -> Self {
        let cases: Vec<_> = authorizer
            .tests()
            .iter()
            .flat_map(|suite| suite.cases.iter().map(|case| CaseResult::of(authorizer, &suite.name, case)))
            .collect();
        let passed = cases.iter().filter(|case| case.passed).count() + rego.iter().filter(|test| test.passed).count();
        let skipped = rego.iter().filter(|test| test.skipped).count();
        let failed = cases.len() + rego.len() - passed - skipped;
        Self { revision: authorizer.revision().to_string(), passed, failed, skipped, cases, rego }
    }

    fn human(&self) -> String {
        let mut out = String::new();
        for case in self.cases.iter().filter(|case| !case.passed) {
            out.push_str(&format!("FAIL {} ({})\n  in `{}`\n{}\n", case.title, case.at, case.suite, case.failure()));
        }
        for test in self.rego.iter().filter(|test| test.failed()) {
            out.push_str(&format!("FAIL {} ({})\n{}\n", test.name, test.at, test.failure()));
        }
        out
    }
}

impl<'a> CaseResult<'a> {
    fn of(authorizer: &'a Authorizer, suite: &'a str, case: &'a TestCase) -> Self {
        let decision = authorizer.decide(&case.request);
        let expected = Expected { effect: case.expect, reason: case.because, policies: case.policies.as_deref() };
        let passed = expected.met_by(&decision);
        let nearest = if passed || decision.is_allow() { Vec::new() } else { explain::nearest(authorizer, &case.request, &decision) };
        Self { suite, title: &case.title, at: case.at.short(), passed, expected, decision, nearest }
    }

    /// Expected and found, one under the other, and what came nearest.
    pub(crate) fn failure(&self) -> String {
        let mut out = format!("  expected  {}\n  came      {}\n", self.expected.in_words(), in_words(&self.decision));
        for policy in &self.decision.policies {
            out.push_str(&format!("  by        {} `{}` at {}\n", policy.effect, policy.id, policy.at.short()));
        }
        for error in &self.decision.errors {
            out.push_str(&format!("  error     {error}\n"));
        }
        for near in self.nearest.iter().take(NEAREST_SHOWN_MAX) {
            out.push_str(&format!("  nearest   `{}` at {}, which lacks: {}\n", near.id, near.at, near.lacks.join("; ")));
        }
        out
    }
}

impl Expected<'_> {
    fn met_by(&self, decision: &Decision<'_>) -> bool {
        let came: BTreeSet<&str> = decision.policies.iter().map(|p| &*p.id).collect();
        decision.effect == self.effect
            && self.reason.is_none_or(|reason| reason == decision.reason)
            && self.policies.is_none_or(|wanted| wanted.iter().map(|p| &**p).collect::<BTreeSet<_>>() == came)
    }

    fn in_words(&self) -> String {
        let mut out = self.effect.to_string();
        if let Some(reason) = self.reason {
            out.push_str(&format!(", {reason}"));
        }
        if let Some(policies) = self.policies {
            out.push_str(&format!(", by {}", if policies.is_empty() { "no policy".to_owned() } else { policies.join(", ") }));
        }
        out
    }
}

fn in_words(decision: &Decision<'_>) -> String {
    let ids: Vec<&str> = decision.policies.iter().map(|p| &*p.id).collect();
    let by = if ids.is_empty() { "no policy".to_owned() } else { ids.join(", ") };
    format!("{}, {}, by {by}", decision.effect, decision.reason)
}
