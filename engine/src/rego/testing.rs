//! The `test_…` rules of a bundle's Rego modules, and running them. Nothing here is part of a decision.
//!
//! Test modules (`…_test.rego`) are compiled together with the policies, into an evaluator of their own. What is wrong with
//! them makes no bundle invalid: the gate must not stop because a test is broken. `portreeve check` and `test` tell.

use regorus::Value;

use super::compile;
use super::evaluate::Evaluators;
use crate::bundle::{Bundle, SourceFile};
use crate::diagnostic::{Diagnostic, Location};

/// One `test_…` or `todo_test_…` rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegoTest {
    /// `package.test_name`.
    pub id: Box<str>,
    /// Where its first definition stands.
    pub at: Location,
    /// Whether its name begins with `todo_`: it is counted and not run.
    pub todo: bool,
}

/// All Rego tests of a bundle, compiled with its policies.
#[derive(Debug)]
pub struct RegoTests {
    /// By id.
    tests: Vec<RegoTest>,
    evaluators: Evaluators,
}

/// What a test came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegoOutcome {
    /// Why it failed; `None` where it passed.
    pub failure: Option<String>,
    /// What it printed, line by line.
    pub printed: Vec<String>,
}

impl RegoTests {
    /// Whether a bundle can have any: looked for in the text, so that others need not compile their modules twice.
    #[must_use]
    pub fn exist(bundle: &Bundle) -> bool {
        let mut rego = bundle.files.iter().filter(|f| f.path.ends_with(".rego"));
        rego.any(|f| f.path.ends_with("_test.rego") || f.text().is_ok_and(|text| text.contains("test_")))
    }

    /// Compiles the tests of a bundle whose policies are valid.
    ///
    /// # Errors
    /// Everything that is wrong with the test modules, each with its place.
    pub fn compile(bundle: &Bundle) -> Result<Self, Vec<Diagnostic>> {
        let rego = |file: &SourceFile| file.path.ends_with(".rego");
        let files: Vec<(&str, &str)> = bundle.files.iter().filter(|f| rego(f)).filter_map(|f| Some((&*f.path, f.text().ok()?))).collect();
        Self::of(&files)
    }

    pub(super) fn of(files: &[(&str, &str)]) -> Result<Self, Vec<Diagnostic>> {
        compile::tests(files)
    }

    pub(super) const fn new(tests: Vec<RegoTest>, evaluators: Evaluators) -> Self {
        Self { tests, evaluators }
    }

    /// The tests, by id.
    #[must_use]
    pub fn tests(&self) -> &[RegoTest] {
        &self.tests
    }

    /// Runs a test. It passes if it is true or, having a case for each of its keys, if every case is.
    #[must_use]
    pub fn run(&self, test: &RegoTest) -> RegoOutcome {
        let (failure, printed) = self.evaluators.test(&test.id, failure);
        RegoOutcome { failure, printed }
    }
}

fn failure(value: &Value) -> Option<String> {
    match value {
        Value::Undefined => Some("it is undefined: a condition of its body does not hold".to_owned()),
        Value::Bool(false) => Some("it is false".to_owned()),
        Value::Object(cases) => {
            let mut failed: Vec<String> =
                cases.iter().filter(|(_, answer)| failure(answer).is_some()).map(|(name, _)| named(name)).collect();
            failed.sort();
            match (cases.is_empty(), failed.as_slice()) {
                (true, _) => Some("it has no case".to_owned()),
                (false, []) => None,
                (false, failed) => Some(format!("{} of {} cases failed: {}", failed.len(), cases.len(), failed.join(", "))),
            }
        }
        Value::Set(cases) if cases.is_empty() => Some("it has no case".to_owned()),
        _ => None,
    }
}

fn named(case: &Value) -> String {
    match case {
        Value::String(name) => format!("`{name}`"),
        other => serde_json::to_string(other).unwrap_or_default(),
    }
}

/// Whether a rule of this name is a test, and whether it is yet to be done.
pub(super) fn kind(name: &str) -> Option<Todo> {
    match name.strip_prefix("todo_") {
        Some(rest) if rest.starts_with("test_") => Some(Todo(true)),
        None if name.starts_with("test_") => Some(Todo(false)),
        _ => None,
    }
}

/// Whether a test is yet to be done.
pub(super) struct Todo(pub(super) bool);

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = "package portreeve.items\nimport data.portreeve.lib\ndeny contains \"late\" if input.context.time > \"2027\"\n\
        deny contains \"stranger\" if not input.source.service in lib.members\n";
    const LIB: &str = "package portreeve.lib\nmembers := {\"invoices\"}\n";

    fn outcomes(test: &str) -> Vec<(String, bool, Option<String>)> {
        let files = [("a.rego", POLICY), ("lib.rego", LIB), ("a_test.rego", test)];
        let tests = match RegoTests::of(&files) {
            Ok(tests) => tests,
            Err(found) => panic!("{}", found.iter().map(Diagnostic::render).collect::<String>()),
        };
        tests.tests().iter().map(|t| (t.id.to_string(), t.todo, tests.run(t).failure)).collect()
    }

    #[test]
    fn tests_replace_input_and_documents_and_fail_where_they_should() {
        let found = outcomes(
            "package portreeve.items_test\nimport data.portreeve.items\n\
             test_late if \"late\" in items.deny with input as {\"context\": {\"time\": \"2028\"}}\n\
             test_in_time if not \"late\" in items.deny with input as {\"context\": {\"time\": \"2026\"}}\n\
             test_wrong if \"late\" in items.deny with input.context.time as \"2026\"\n\
             test_member if count(items.deny) == 0 with input.source.service as \"users\" with data.portreeve.lib.members as {\"users\"}\n\
             test_false := false\n\
             test_err if to_number(\"x\") > 1\n\
             todo_test_later if false\n\
             test_each[name] := ok if {\n some name, time in {\"early\": \"2026\", \"late\": \"2028\"}\n \
               ok := count(items.deny) == 0 with input as {\"context\": {\"time\": time}, \"source\": {\"service\": \"invoices\"}}\n}\n\
             test_helped if is_late(\"2028\")\nis_late(time) if \"late\" in items.deny with input.context.time as time\n",
        );
        let of = |name: &str| found.iter().find(|(id, ..)| id == &format!("portreeve.items_test.{name}")).unwrap().clone();
        for name in ["test_late", "test_in_time", "test_member", "test_helped"] {
            assert_eq!(of(name).2, None, "{name}");
        }
        for (name, word) in [
            ("test_wrong", "undefined"),
            ("test_false", "it is false"),
            ("test_err", "a_test.rego:8"),
            ("test_each", "1 of 2 cases failed: `late`"),
        ] {
            assert!(of(name).2.is_some_and(|why| why.contains(word)), "{name}: {:?}", of(name));
        }
        assert!(of("todo_test_later").1);
        assert_eq!(found.len(), 9);
    }

    #[test]
    fn what_tests_print_is_kept_and_tests_may_stand_in_a_policy_file() {
        let text =
            "package portreeve.t\nallow if input.a == 1\ntest_allow if {\n print(\"seen\", input.a)\n allow with input as {\"a\": 1}\n}\n";
        let tests = RegoTests::of(&[("a.rego", text)]).unwrap();
        let outcome = tests.run(&tests.tests()[0]);
        assert_eq!(outcome.failure, None);
        assert!(outcome.printed.iter().any(|line| line.contains("seen")), "{outcome:?}");
        // The policy compiles with the test in it, and does not see it.
        assert_eq!(super::super::RegoModules::compile(&[("a.rego", text)]).unwrap().rules().len(), 1);
    }

    #[test]
    fn faults_of_tests_have_places() {
        for (test, line, word) in [
            ("package portreeve.items_test\ntest_a if time.now_ns() > 1\n", 2, "reads a clock"),
            ("package portreeve.items\ndeny contains \"x\"\n", 2, "defined by a policy"),
            ("package portreeve.items_test\ntest_a if true\ntest_a if false\n", 3, "already a test"),
            ("package portreeve.items_test\ntest_a(x) if x\n", 2, "takes arguments"),
            ("package portreeve.items_test\ntest_a if {\n", 2, "expecting"),
            ("package portreeve.items_test\ntest_a if data.nothing.x\n", 2, "there is no `data.nothing.x`"),
        ] {
            let found = RegoTests::of(&[("a.rego", POLICY), ("lib.rego", LIB), ("a_test.rego", test)]).unwrap_err();
            assert!(
                found.iter().any(|d| d.message.contains(word) && d.location.as_ref().is_some_and(|at| at.line == line)),
                "{test}: {found:?}"
            );
        }
        // A policy that leans on a test would bring `with` into decisions.
        let leaning = "package portreeve.t\nallow if test_a\ntest_a if true with input as {}\n";
        let found = super::super::RegoModules::compile(&[("a.rego", leaning)]).unwrap_err();
        assert!(found.iter().any(|d| d.code == "rego-test" && d.message.contains("test_a")), "{found:?}");
    }
}
