//! Rego in the engine: modules are checked, compiled together, and their `allow` and `deny` evaluated under a budget.
//!
//! What never happens here: a built-in that reads a clock, a random number or the host; an answer that depends on how fast
//! the machine is; a panic that leaves this module. A policy that asks for such a thing is refused when it is compiled, with
//! its place.
//!
//! INVARIANT: what is evaluated has passed [`scan`] (shallow enough for the evaluator's stack) and [`check`] (allow-listed
//! built-ins, no cycles, calls nested to a bound), reached or not.

mod ast;
mod builtins;
mod check;
mod checks;
mod compile;
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod corpora;
mod evaluate;
mod footprint;
#[cfg(test)]
mod footprint_tests;
mod growth;
mod input;
mod limits;
mod metadata;
mod prefixes;
mod reads;
mod scan;
mod supply;
mod testing;
#[cfg(test)]
mod tests;

use crate::decision::Effect;
use crate::diagnostic::{Diagnostic, Location};
use crate::footprint::Footprint;
use crate::model::Governance;

pub use checks::{CheckInput, CheckRead, RegoCheck, RegoChecks};
pub(crate) use input::{InputFacts, input};
pub use testing::{RegoOutcome, RegoTest, RegoTests};

/// All Rego modules of a bundle, compiled together.
#[derive(Debug)]
pub(crate) struct RegoModules {
    /// By id.
    rules: Vec<RegoRule>,
    /// Texts that rules take for the beginning of an identity and that end within a segment: the rule, the text, its place.
    bare_prefixes: Vec<(Box<str>, String, Location)>,
    evaluators: evaluate::Evaluators,
}

/// One `allow` or `deny` of one package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RegoRule {
    /// `package.rule`, such as `portreeve.items.allow`.
    pub(crate) id: Box<str>,
    /// What it does when satisfied.
    pub(crate) effect: Effect,
    /// Where its first definition stands.
    pub(crate) at: Location,
    /// The services it is limited to; `None` for all.
    pub(crate) services: Option<Vec<String>>,
    /// Whether its answer may depend on `input.context.time` (never false where it does).
    pub(crate) reads_time: bool,
    /// What of the request its answer can depend on.
    pub(crate) footprint: Footprint,
    /// Why it exists and who answers for it, as the metadata of its package says.
    pub(crate) governance: Governance,
    /// What it is, in words, and where, if its value is written out and can be no answer.
    pub(crate) odd: Option<(&'static str, Location)>,
}

/// Why a rule has no answer. Each denies (INV-4).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RegoError {
    /// The evaluation took more steps than it may.
    #[error("`{rule}` took more than {} steps", limits::STEPS_MAX)]
    Budget {
        /// The rule's id.
        rule: Box<str>,
    },
    /// The rule is neither a boolean nor a set of texts.
    #[error("`{rule}` is {found}; it must be a boolean or a set of texts")]
    Type {
        /// The rule's id.
        rule: Box<str>,
        /// What it is, in words.
        found: &'static str,
    },
    /// A built-in failed, or two definitions disagree.
    #[error("`{rule}` could not be evaluated: {why}")]
    Failed {
        /// The rule's id.
        rule: Box<str>,
        /// The evaluator's reason.
        why: Box<str>,
    },
    /// There is no rule of this number.
    #[error("there is no rule of this number")]
    NoSuchRule,
}

impl RegoModules {
    /// Compiles the `.rego` files of a bundle, given as path and text. Test files (`*_test.rego`) are kept out.
    ///
    /// # Errors
    /// Everything found to be wrong, each with its place.
    pub(crate) fn compile(files: &[(&str, &str)]) -> Result<Self, Vec<Diagnostic>> {
        compile::compile(files)
    }

    /// The rules, by id.
    pub(crate) fn rules(&self) -> &[RegoRule] {
        &self.rules
    }

    /// What [`RegoModules::bare_prefixes`] holds: rule, text, place.
    pub(crate) fn bare_prefixes(&self) -> &[(Box<str>, String, Location)] {
        &self.bare_prefixes
    }

    /// Whether the rule at this place in [`RegoModules::rules`] is satisfied by this input.
    ///
    /// # Errors
    /// [`RegoError`]; the caller denies.
    pub(crate) fn evaluate(&self, rule: usize, input: &regorus::Value) -> Result<bool, RegoError> {
        let rule = self.rules.get(rule).ok_or(RegoError::NoSuchRule)?;
        self.evaluators.run(&rule.id, &document(&rule.id), input)
    }
}

/// How a rule is asked for: `data.portreeve.items.allow`.
fn document(id: &str) -> String {
    format!("data.{id}")
}

/// The place of these bytes of a text.
fn place(file: &str, text: &str, start: usize, end: usize) -> Location {
    let boundary = |at: usize| (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let start = boundary(start);
    let before = text.get(..start).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let marked = text.get(start..boundary(end)).unwrap_or_default();
    let length = marked.split(['\n', '\r']).next().unwrap_or_default().chars().count().max(1);
    let clamp = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Location { file: file.to_owned(), line: clamp(line), column: clamp(column), length: clamp(length) }
}
