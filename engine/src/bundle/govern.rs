//! Who answers for what, as written: governance fields, zones that ask for them, and exceptions.

use std::collections::BTreeSet;

use crate::bundle::declare::Named;
use crate::bundle::invariant::DeclaredSelector;
use crate::diagnostic::Diagnostic;
use crate::model::{Governance, GovernanceField, Zone};
use crate::time::Date;
use crate::yaml::{Fields, Text};

/// The governance fields of a permission.
pub(crate) fn governance(fields: &mut Fields<'_>, problems: &mut Vec<Diagnostic>) -> Governance {
    Governance {
        justification: said(fields, "justification", problems),
        owner: said(fields, "owner", problems),
        approved_by: names(fields, "approved_by", problems),
        ticket: said(fields, "ticket", problems),
        review_by: fields.parse("review_by", problems),
    }
}

/// A text that says something: a blank one must not pass for an answer.
fn said(fields: &mut Fields<'_>, name: &'static str, problems: &mut Vec<Diagnostic>) -> Option<String> {
    let file = fields.file();
    let text = fields.text(name, problems)?;
    spoken(file, text, problems)
}

fn names(fields: &mut Fields<'_>, name: &'static str, problems: &mut Vec<Diagnostic>) -> Vec<String> {
    let file = fields.file();
    fields.some_texts(name, problems).into_iter().filter_map(|text| spoken(file, text, problems)).collect()
}

fn spoken(file: &str, text: Text<'_>, problems: &mut Vec<Diagnostic>) -> Option<String> {
    if text.text.trim().is_empty() {
        problems
            .push(Diagnostic::error("empty-value", "the text says nothing").at(text.location(file)).help("say it, or take the field out"));
        return None;
    }
    Some(text.text.to_owned())
}

/// Reads a zone.
pub(crate) fn zone(name: Named, fields: &mut Fields<'_>, problems: &mut Vec<Diagnostic>) -> Zone {
    let file = fields.file();
    let mut require = BTreeSet::new();
    for text in fields.some_texts("require", problems) {
        match GovernanceField::ALL.into_iter().find(|field| field.as_str() == text.text) {
            Some(field) => drop(require.insert(field)),
            None => {
                let known = GovernanceField::ALL.map(GovernanceField::as_str);
                let mut problem = Diagnostic::error("invalid-value", format!("`{}` is not a field that can be required", text.text))
                    .at(text.location(file))
                    .suggest(text.text, known);
                if problem.help.is_none() {
                    problem = problem.help(format!("the fields are: {}", known.join(", ")));
                }
                problems.push(problem);
            }
        }
    }
    Zone { name: name.text, sensitive: fields.boolean("sensitive", problems), require, at: name.at }
}

/// An exception before its names are resolved.
#[derive(Debug)]
pub(crate) struct DeclaredException {
    pub(crate) name: Named,
    pub(crate) excepts: DeclaredExcepted,
    pub(crate) reason: String,
    pub(crate) approved_by: Vec<String>,
    pub(crate) ticket: Option<String>,
    pub(crate) expires: Date,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a bundle has a handful of them, and none outlives its reading")]
pub(crate) enum DeclaredExcepted {
    /// `reaches` says with which of the two words `to` was written.
    Invariant {
        invariant: Named,
        from: DeclaredSelector,
        to: DeclaredSelector,
        reaches: bool,
    },
    Lint {
        code: Named,
        of: Named,
    },
    Control {
        control: Named,
        of: Option<Named>,
    },
}

impl DeclaredException {
    /// Reads an exception. Reason, approval and end are what tells it from a hole: all three must be there.
    pub(crate) fn read(name: Named, fields: &mut Fields<'_>, problems: &mut Vec<Diagnostic>) -> Option<Self> {
        let excepts = DeclaredExcepted::read(&name, fields, problems);
        let given = |fields: &mut Fields<'_>, field, problems: &mut Vec<Diagnostic>| fields.require(field, problems).is_some();
        let whole = [given(fields, "reason", problems), given(fields, "approved_by", problems), given(fields, "expires", problems)];
        let reason = said(fields, "reason", problems);
        let approved_by = names(fields, "approved_by", problems);
        let ticket = said(fields, "ticket", problems);
        let expires = fields.parse("expires", problems);
        if whole.contains(&false) || approved_by.is_empty() {
            return None;
        }
        Some(Self { name, excepts: excepts?, reason: reason?, approved_by, ticket, expires: expires? })
    }
}

impl DeclaredExcepted {
    fn read(name: &Named, fields: &mut Fields<'_>, problems: &mut Vec<Diagnostic>) -> Option<Self> {
        let file = fields.file();
        let mut one = |fields: &mut Fields<'_>, field| {
            fields.text(field, problems).map(|text: Text<'_>| Named { text: text.text.into(), at: text.location(file) })
        };
        let (invariant, lint, control, of) = (one(fields, "invariant"), one(fields, "lint"), one(fields, "control"), one(fields, "of"));
        let mut selector = |fields: &mut Fields<'_>, field| {
            let node = fields.take(field);
            let read = node.and_then(|node| DeclaredSelector::read(file, node, field == "from", problems));
            (node.is_some(), read)
        };
        let (from, to, reaches) = (selector(fields, "from"), selector(fields, "to"), selector(fields, "reaches"));
        let scoped = from.0 || to.0 || reaches.0;
        match (invariant, lint, control, of) {
            (Some(invariant), None, None, None) if from.0 && to.0 != reaches.0 => {
                let says_reaches = reaches.0;
                let to = if says_reaches { reaches.1 } else { to.1 };
                Some(Self::Invariant { invariant, from: from.1?, to: to?, reaches: says_reaches })
            }
            (None, Some(code), None, Some(of)) if !scoped => Some(Self::Lint { code, of }),
            (None, None, Some(control), of) if !scoped => Some(Self::Control { control, of }),
            _ => {
                problems.push(
                    Diagnostic::error("exception-shape", format!("exception `{}` does not say what it excepts", name.text))
                        .at(name.at.clone())
                        .help("write `invariant`, `from` and `to` (or `reaches`); or `lint` and `of`; or `control`"),
                );
                None
            }
        }
    }
}
