//! The `test_…` rules of Rego modules under `portreeve test`: run, counted, and shown beside the YAML cases.

use portreeve_engine::{Bundle, RegoTest, RegoTests};
use serde::Serialize;

use crate::diagnostics;
use crate::outcome::Failure;

/// What one Rego test came to.
#[derive(Debug, Serialize)]
pub(crate) struct RegoResult {
    /// `package.test_name`.
    pub(crate) name: String,
    /// `file:line`.
    pub(crate) at: String,
    /// It ran and held.
    pub(crate) passed: bool,
    /// It is yet to be done (`todo_test_…`) and was not run.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) skipped: bool,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
    /// What it printed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) printed: Vec<String>,
}

/// Compiles and runs the Rego tests of a bundle.
pub(crate) fn run(bundle: &Bundle, name: &str) -> Result<Vec<RegoResult>, Failure> {
    let tests = RegoTests::compile(bundle).map_err(|mut found| {
        bundle.arrange(&mut found);
        Failure::with_help(
            format_args!(
                "the Rego tests of `{name}` are invalid: {}\n{}",
                diagnostics::count(&found),
                diagnostics::human(&found).trim_end()
            ),
            "what is wrong with a test makes no decision wrong; the policies are valid",
        )
    })?;
    Ok(tests.tests().iter().map(|test| RegoResult::of(&tests, test)).collect())
}

impl RegoResult {
    fn of(tests: &RegoTests, test: &RegoTest) -> Self {
        let (name, at) = (test.id.to_string(), test.at.short());
        if test.todo {
            return Self { name, at, passed: false, skipped: true, why: None, printed: Vec::new() };
        }
        let outcome = tests.run(test);
        Self { name, at, passed: outcome.failure.is_none(), skipped: false, why: outcome.failure, printed: outcome.printed }
    }

    /// It ran and did not hold.
    pub(crate) const fn failed(&self) -> bool {
        !self.passed && !self.skipped
    }

    /// Why it failed and what it printed, in lines.
    pub(crate) fn failure(&self) -> String {
        let mut out = format!("  came      {}\n", self.why.as_deref().unwrap_or_default());
        for line in &self.printed {
            out.push_str(&format!("  printed   {line}\n"));
        }
        out
    }

    /// The package: what stands before the name of the rule.
    pub(crate) fn package(&self) -> &str {
        self.name.rsplit_once('.').map_or(&*self.name, |(package, _)| package)
    }
}
