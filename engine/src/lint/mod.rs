//! Lints: what is lawful and probably not meant. One file for each; its first lines are its manual page.
//!
//! A lint never alters a decision and never makes a bundle invalid. The enforcer does not ask; `portreeve check` does. Lints
//! that compare dates are silent where no date is given, as the engine has no clock (INV-1).

mod erring_forbid;
mod rego_answer_type;
mod review_overdue;
mod uncacheable_rego;
mod unused_group;

use crate::authorizer::Authorizer;
use crate::diagnostic::Diagnostic;
use crate::time::Date;

/// One lint.
pub(crate) struct Lint {
    /// The code of its diagnostics, named for what it finds.
    pub(crate) code: &'static str,
    /// Looks for it.
    find: fn(&Linted<'_>, &mut Findings),
}

/// Every lint, by code.
pub(crate) const LINTS: &[Lint] =
    &[erring_forbid::LINT, rego_answer_type::LINT, review_overdue::LINT, uncacheable_rego::LINT, unused_group::LINT];

/// What lints look at.
pub(crate) struct Linted<'a> {
    /// A valid bundle.
    pub(crate) authorizer: &'a Authorizer,
    /// The day on which it is looked at; lints that compare dates need one.
    pub(crate) today: Option<Date>,
}

/// What lints found, each with the name of the resource or policy that it concerns.
#[derive(Debug, Default)]
pub(crate) struct Findings(Vec<(Box<str>, Diagnostic)>);

impl Findings {
    /// Adds a diagnostic about the resource or policy of this name.
    pub(crate) fn add(&mut self, subject: &str, diagnostic: Diagnostic) {
        self.0.push((subject.into(), diagnostic));
    }
}

/// The codes of all lints.
pub fn codes() -> impl Iterator<Item = &'static str> {
    LINTS.iter().map(|lint| lint.code)
}

/// Asks every lint. `today` is the day on which the bundle is looked at. Call [`crate::Bundle::arrange`] on all diagnostics of
/// a bundle before they are shown.
#[must_use]
pub fn lint(authorizer: &Authorizer, today: Option<Date>) -> Vec<Diagnostic> {
    let linted = Linted { authorizer, today };
    let mut found = Findings::default();
    for lint in LINTS {
        (lint.find)(&linted, &mut found);
    }
    found.0.into_iter().map(|(_, diagnostic)| diagnostic).collect()
}
