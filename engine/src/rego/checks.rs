//! Checks in Rego: packages `portreeve.checks.<name>` whose rule `finding` is a set of what they find, over any document.
//!
//! They are compiled like policies, with the same allow-list and the same faults with places, into an evaluator of their own; no decision
//! ever reads them. The same document gives the same findings in the same order: sets are ordered, and nothing reads a clock.

use regorus::Value;

use super::compile;
use super::evaluate::Evaluators;
use crate::diagnostic::{Diagnostic, Location};

/// One check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegoCheck {
    /// The last part of its package.
    pub name: Box<str>,
    /// What it finds, as the title of its metadata says.
    pub title: Option<String>,
    /// Where `finding` is first defined.
    pub at: Location,
}

/// A part of the document that a check reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckRead {
    /// The way there; `None` is any member of a list or mapping, or one that is computed.
    pub path: Vec<Option<String>>,
    /// Where it is read first.
    pub at: Location,
}

/// Checks compiled together.
#[derive(Debug)]
pub struct RegoChecks {
    checks: Vec<RegoCheck>,
    reads: Vec<CheckRead>,
    evaluators: Evaluators,
}

/// A document that checks are asked about.
#[derive(Clone, Debug)]
pub struct CheckInput(Value);

impl CheckInput {
    /// Reads a document.
    ///
    /// # Errors
    /// It is not JSON, in the reader's words.
    pub fn from_json(text: &str) -> Result<Self, String> {
        Value::from_json_str(text).map(Self).map_err(|e| e.to_string())
    }
}

impl RegoChecks {
    /// Compiles checks, given as path and text, with whatever else they import.
    ///
    /// # Errors
    /// Everything found to be wrong, each with its place.
    pub fn compile(files: &[(&str, &str)]) -> Result<Self, Vec<Diagnostic>> {
        compile::checks(files)
    }

    pub(super) const fn new(checks: Vec<RegoCheck>, reads: Vec<CheckRead>, evaluators: Evaluators) -> Self {
        Self { checks, reads, evaluators }
    }

    /// What they read of the document, as deep as they spell it: what the document lacks is undefined, and finds nothing.
    #[must_use]
    pub fn reads(&self) -> &[CheckRead] {
        &self.reads
    }

    /// The checks, by name.
    #[must_use]
    pub fn checks(&self) -> &[RegoCheck] {
        &self.checks
    }

    /// What a check finds, as a JSON array in the order of its set.
    ///
    /// # Errors
    /// It could not be evaluated, took too many steps, or `finding` is no set.
    pub fn run(&self, check: &RegoCheck, input: &CheckInput) -> Result<String, String> {
        let id = format!("{CHECKS_PACKAGE}.{}.finding", check.name);
        match self.evaluators.value(&id, &input.0).map_err(|e| e.to_string())? {
            Value::Undefined => Ok("[]".to_owned()),
            Value::Set(found) => {
                let found: Vec<Value> = found.iter().cloned().collect();
                Value::from(found).to_json_str().map_err(|e| e.to_string())
            }
            _ => Err(format!("`{id}` is no set; write `finding contains …`")),
        }
    }
}

/// Where checks live.
pub(super) const CHECKS_PACKAGE: &str = "portreeve.checks";

#[cfg(test)]
mod tests {
    use super::*;

    const CHECK: &str = "# METADATA\n# title: many owners\npackage portreeve.checks.owners\n\
        finding contains {\"subject\": s.name, \"summary\": \"no owner\"} if { some s in input.services\n not s.owner }\n";

    fn run(text: &str, input: &str) -> Result<String, String> {
        let checks = RegoChecks::compile(&[("c.rego", text)]).map_err(|d| d.iter().map(Diagnostic::render).collect::<String>())?;
        checks.run(&checks.checks()[0], &CheckInput::from_json(input).unwrap())
    }

    #[test]
    fn findings_come_in_one_order_and_silence_is_an_empty_list() {
        let input = r#"{"services": [{"name": "b"}, {"name": "a"}, {"name": "c", "owner": "x"}]}"#;
        let found = run(CHECK, input).unwrap();
        assert_eq!(found.replace([' ', '\n'], ""), r#"[{"subject":"a","summary":"noowner"},{"subject":"b","summary":"noowner"}]"#);
        assert_eq!(run(CHECK, r#"{"services": []}"#).unwrap(), "[]");
        let checks = RegoChecks::compile(&[("c.rego", CHECK)]).unwrap();
        assert_eq!((&*checks.checks()[0].name, checks.checks()[0].title.as_deref()), ("owners", Some("many owners")));
        assert_eq!(checks.checks()[0].at.line, 4);
    }

    #[test]
    fn what_is_wrong_is_told_and_never_silent() {
        let input = r#"{"n": "x"}"#;
        let package = "package portreeve.checks.c\n";
        for (text, want) in [
            (format!("{package}finding contains \"x\" if time.now_ns() > 0\n"), "reads a clock"),
            (format!("{package}finding contains x if x := http.send({{}})\n"), "http.send"),
            (format!("{package}finding := true\n"), "is no set"),
            (format!("{package}finding contains \"x\" if to_number(input.n) > 1\n"), "could not be evaluated"),
            (
                format!(
                    "{package}finding contains x if {{ some x in numbers.range(1, 9000)\n some y in numbers.range(1, 9000)\n x * y == -1 }}\n"
                ),
                "steps",
            ),
            (format!("{package}findings contains \"x\"\n"), "no rule `finding`"),
            ("package portreeve.items\nallow := true\n".to_owned(), "no check"),
            ("package portreeve.checks.a.b\nfinding contains \"x\"\n".to_owned(), "one name"),
            (format!("{package}finding contains \"x\" if {{\n"), "expecting"),
        ] {
            let said = run(&text, input).unwrap_err();
            assert!(said.contains(want), "{text}: {said}");
        }
    }
}
