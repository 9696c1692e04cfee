//! `portreeve test`: does the bundle say what its authors meant?

use std::collections::BTreeSet;

use portreeve_engine::coverage::Coverage;
use portreeve_engine::explain::{Edit, Explainer, Nearest};
use portreeve_engine::model::TestCase;
use portreeve_engine::{Authorizer, Bundle, Decision, Effect, Reason, RegoTests};
use serde::Serialize;

use crate::args::{CoverageFormat, TestArgs, TestFormat};
use crate::bundle;
use crate::coverage;
use crate::explained;
use crate::files;
use crate::junit;
use crate::outcome::{Failure, Outcome, Verdict};
use crate::output::{self, Out};
use crate::rego_tests::{self, RegoResult};

/// Runs every case and prints the results.
pub(crate) fn run(args: &TestArgs) -> Outcome {
    let results_take_stdout = args.format != TestFormat::Human;
    let coverage_takes_stdout = args.coverage.is_some_and(|c| c != CoverageFormat::Human) && args.coverage_out.is_none();
    if results_take_stdout && coverage_takes_stdout {
        return Err(Failure::with_help(
            "results and coverage cannot both go to stdout",
            "give the coverage a file of its own, such as `--coverage-out coverage.xml`",
        ));
    }
    let loaded = bundle::load(&args.bundle)?;
    let authorizer = bundle::compiled(&args.bundle, &loaded.bundle)?;
    let rego = if RegoTests::exist(&loaded.bundle) { rego_tests::run(&loaded.bundle, &args.bundle)? } else { Vec::new() };
    let report = Report::of(&loaded.bundle, &authorizer, rego);
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
    let missed = tell_coverage(args, &loaded.prefix, &authorizer, &mut out)?;
    out.flush()?;
    let verdict = if report.failed == 0 { "ok" } else { "FAIL" };
    let skipped = if report.skipped == 0 { String::new() } else { format!(", {} to do", report.skipped) };
    output::tell(&format!("{verdict}: {} passed, {} failed{skipped}\n", report.passed, report.failed));
    // Last, so that a run that fails does not end with `ok`.
    output::tell(&missed);
    Ok(Verdict::of(report.failed == 0 && missed.is_empty()))
}

/// Prints the coverage that was asked for; what there is too little of, a line each.
fn tell_coverage(args: &TestArgs, prefix: &str, authorizer: &Authorizer, out: &mut Out) -> Result<String, Failure> {
    if args.coverage.is_none() && args.coverage_min.is_none() {
        return Ok(String::new());
    }
    let found = Coverage::of(authorizer);
    let text = match args.coverage {
        None => String::new(),
        Some(CoverageFormat::Human) => coverage::human(&found),
        Some(CoverageFormat::Json) => output::json_text(&coverage::Document::of(&found))?,
        Some(CoverageFormat::Lcov) => coverage::lcov(&found, prefix),
        Some(CoverageFormat::Cobertura) => coverage::cobertura(&found, prefix),
    };
    match (&args.coverage_out, args.coverage) {
        (Some(path), _) => files::replace(path, text.as_bytes(), 0o644)
            .map_err(|e| Failure::new(format_args!("cannot write `{}`: {e}", path.display())))?,
        (None, Some(CoverageFormat::Human)) => output::tell(&text),
        (None, _) => out.text(&text)?,
    }
    let min = usize::from(args.coverage_min.unwrap_or(0));
    let shares = [("policies that decide", found.policies_decided()), ("operations asked for", found.operations_asked())];
    let missed = shares.into_iter().filter(|(_, share)| share.percent() < min);
    Ok(missed.map(|(what, share)| format!("FAIL: {what}: {} of {}, which is less than {min} %\n", share.covered, share.all)).collect())
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
    /// The decision in a sentence, where it was not the one expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) explanation: Option<String>,
    /// The grants that came nearest to an unexpected denial.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) nearest: Vec<Nearest>,
    /// The smallest edit that would allow what was denied unexpectedly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) suggestion: Option<Edit>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) obstacle: Option<String>,
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
    fn of(bundle: &Bundle, authorizer: &'a Authorizer, rego: Vec<RegoResult>) -> Self {
        let mut explainer = Explainer::new(bundle, authorizer);
        let cases: Vec<_> = authorizer
            .tests()
            .iter()
            .flat_map(|suite| suite.cases.iter().map(move |case| (suite, case)))
            .map(|(suite, case)| CaseResult::of(authorizer, &mut explainer, &suite.name, case))
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
    fn of(authorizer: &'a Authorizer, explainer: &mut Explainer<'_>, suite: &'a str, case: &'a TestCase) -> Self {
        let decision = authorizer.decide(&case.request);
        let expected = Expected { effect: case.expect, reason: case.because, policies: case.policies.as_deref() };
        let passed = expected.met_by(&decision);
        let mut explained = (!passed).then(|| explainer.explain(&case.request, &decision));
        if let Some(explained) = explained.as_mut().filter(|_| case.expect != Effect::Allow) {
            // Nobody who expects a denial for another reason asks how to allow it.
            explained.suggestion = None;
            explained.obstacle = None;
            explained.nearest.iter_mut().flatten().for_each(|near| near.edit = None);
        }
        let (explanation, nearest, suggestion, obstacle) =
            explained.map_or((None, None, None, None), |e| (Some(e.explanation), e.nearest, e.suggestion, e.obstacle));
        let (title, at, nearest) = (&*case.title, case.at.short(), nearest.unwrap_or_default());
        Self { suite, title, at, passed, expected, decision, explanation, nearest, suggestion, obstacle }
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
        if let Some(explanation) = &self.explanation {
            out.push_str(&format!("  because   {explanation}\n"));
        }
        out.push_str(&explained::nearest(&self.nearest));
        out.push_str(&explained::suggestion(self.suggestion.as_ref(), self.obstacle.as_deref()));
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
