//! Why a decision is what it is: in a sentence, by the grants that came nearest, and by the smallest edit that would allow it.
//!
//! INVARIANT: an edit is offered only if it was tried: the changed bundle was compiled, and the changed request was put to it. So
//! nothing is proposed that an invariant, a prohibition or a mistake of ours stands in the way of.

mod nearest;
mod patch;
mod request;
mod words;

use std::collections::BTreeMap;

use serde::Serialize;

pub use nearest::{Nearest, nearest};
pub use patch::{Patch, with_operation};
pub use request::Change;
pub use words::in_words;

use crate::authorizer::Authorizer;
use crate::bundle::Bundle;
use crate::decision::{Decision, Effect};
use crate::limits::{EXPLAIN_BYTES_MAX, EXPLAIN_CONSIDERED_MAX, EXPLAIN_KEPT_MAX, EXPLAIN_TRIES_MAX};
use crate::model::Permission;
use crate::request::Request;

/// The whole explanation of one decision.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// One sentence.
    pub explanation: String,
    /// For a default denial: the grants that came nearest, each with the edit by which it would cover the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nearest: Option<Vec<Nearest>>,
    /// For a default denial: the smallest edit of all that were considered; `None` where none was found that works.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<Edit>,
    /// Where no edit works: why the smallest one does not, in the words of `check`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub obstacle: Option<String>,
}

/// Something that, done, turns a denial into an allow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Edit {
    /// What is changed.
    pub kind: EditKind,
    /// `file:line` of the law, where it is changed; where a request is, the permission that it would satisfy.
    pub at: String,
    /// What to do, in words or, for a new permission, in YAML.
    pub text: String,
    /// What is written into the bundle's files.
    #[serde(skip)]
    pub law: Vec<Patch>,
    /// What the request brings or does otherwise.
    #[serde(skip)]
    pub request: Vec<Change>,
    /// The size: how much would be different.
    #[serde(skip)]
    pub cost: usize,
    /// How much more than this request a changed permission would cover.
    #[serde(skip)]
    breadth: usize,
}

/// What an [`Edit`] changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EditKind {
    /// Nothing of the law: the request brings what a permission asks for.
    Request,
    /// A permission that is there.
    Permission,
    /// A permission that is there, and the request brings what it asks for besides.
    PermissionAndRequest,
    /// An operation is declared; a permission for every declared operation then covers it.
    Operation,
    /// A permission is added that covers this and no more.
    NewPermission,
}

/// Explains decisions of one bundle. What was found out about an edit is kept for the next question.
#[derive(Debug)]
pub struct Explainer<'b> {
    bundle: &'b Bundle,
    authorizer: &'b Authorizer,
    /// Changed bundles by their patches, or why the result is not valid.
    tried: BTreeMap<Vec<Patch>, Result<Authorizer, String>>,
    /// How many more bundles may be compiled for the explanation at hand.
    tries: usize,
}

impl<'b> Explainer<'b> {
    /// For decisions of `authorizer`, which was compiled from `bundle`.
    #[must_use]
    pub const fn new(bundle: &'b Bundle, authorizer: &'b Authorizer) -> Self {
        Self { bundle, authorizer, tried: BTreeMap::new(), tries: 0 }
    }

    /// Explains a decision that the authorizer gave.
    pub fn explain(&mut self, request: &Request, decision: &Decision<'_>) -> Explanation {
        let explanation = in_words(self.authorizer, request, decision);
        if !nearest::is_by_default(decision) {
            return Explanation { explanation, nearest: None, suggestion: None, obstacle: None };
        }
        self.tries = EXPLAIN_TRIES_MAX;
        let edits = self.considered(request, decision);
        let suggestion = edits.iter().find(|edit| self.allows(edit, request)).cloned();
        let mut near = nearest(self.authorizer, request, decision);
        for nearest in &mut near {
            let own = edits.iter().filter(|e| e.1.as_deref() == Some(nearest.id.as_str())).map(|e| &e.0);
            nearest.edit = own.into_iter().find(|edit| self.allows_edit(edit, request)).cloned();
        }
        let obstacle =
            edits.iter().filter(|_| suggestion.is_none()).find_map(|(edit, _)| self.tried.get(&edit.law)?.as_ref().err().cloned());
        Explanation { explanation, nearest: Some(near), suggestion: suggestion.map(|(edit, _)| edit), obstacle }
    }

    /// Every edit that is considered for a default denial, the smallest first, with the id of the permission it is about.
    #[must_use]
    pub fn considered(&self, request: &Request, decision: &Decision<'_>) -> Vec<(Edit, Option<String>)> {
        let grants = self.authorizer.permissions.iter().filter(|p| p.effect == Effect::Allow);
        let mut out: Vec<(Edit, Option<String>)> =
            grants.filter_map(|p: &Permission| Some((self.edit_of(p, request, decision)?, Some(p.name.to_string())))).collect();
        out.extend(patch::new_permission(self.bundle, self.authorizer, request, decision).map(|edit| (edit, None)));
        out.sort_by(|(a, a_id), (b, b_id)| (a.cost, a.breadth, a_id).cmp(&(b.cost, b.breadth, b_id)));
        out.truncate(EXPLAIN_CONSIDERED_MAX);
        out
    }

    /// The edit by which this permission would cover the request, if it is one step away.
    fn edit_of(&self, permission: &Permission, request: &Request, decision: &Decision<'_>) -> Option<Edit> {
        let missed = nearest::missed(self.authorizer, request, decision, permission);
        let service = self.authorizer.service(&request.service)?;
        let changes = request::changes(permission, &service.visible, &service.name, &request.context)?;
        let law = match (missed.caller, missed.service, missed.operation, missed.method) {
            (_, true, _, _) => return None,
            (false, _, false, false) => None,
            (true, _, false, false) => Some(patch::add_caller(self.bundle, self.authorizer, permission, request)?),
            (false, _, true, false) if decision.operation.is_none() => {
                Some(patch::add_declaration(self.bundle, service, permission, request)?)
            }
            (false, _, true, false) => Some(patch::add_operation(self.bundle, permission, decision.operation?)?),
            (false, _, false, true) => Some(patch::add_method(self.bundle, permission, request)?),
            _ => return None,
        };
        let brings = changes.iter().map(Change::in_words).collect::<Vec<_>>().join("; ");
        let brought = changes.len();
        let mut edit = match law {
            Some(edit) if changes.is_empty() => edit,
            Some(edit) => {
                let kind = if edit.kind == EditKind::Operation { edit.kind } else { EditKind::PermissionAndRequest };
                Edit { kind, text: format!("{}; then {brings}", edit.text), ..edit }
            }
            None if changes.is_empty() => return None,
            None => Edit {
                kind: EditKind::Request,
                at: permission.at.short(),
                text: brings,
                law: Vec::new(),
                request: Vec::new(),
                cost: 0,
                breadth: 0,
            },
        };
        edit.cost += brought;
        edit.request = changes;
        Some(edit)
    }

    fn allows(&mut self, edit: &(Edit, Option<String>), request: &Request) -> bool {
        self.allows_edit(&edit.0, request)
    }

    /// Whether the edit, made, gives an allow.
    fn allows_edit(&mut self, edit: &Edit, request: &Request) -> bool {
        let mut request = request.clone();
        edit.request.iter().for_each(|change| change.apply(&mut request));
        if edit.law.is_empty() {
            return self.authorizer.decide(&request).is_allow();
        }
        if !self.tried.contains_key(&edit.law) {
            let small = self.bundle.files.iter().map(|f| f.bytes.len()).sum::<usize>() <= EXPLAIN_BYTES_MAX;
            if !small || self.tries == 0 {
                return false;
            }
            self.tries -= 1;
            if self.tried.len() >= EXPLAIN_KEPT_MAX {
                self.tried.clear();
            }
            self.tried.insert(edit.law.clone(), changed(self.bundle, edit));
        }
        let changed = self.tried.get(&edit.law).and_then(|tried| tried.as_ref().ok());
        changed.is_some_and(|authorizer| authorizer.decide(&request).is_allow())
    }
}

/// The bundle with the edit made or, where `check` would refuse it, what it would say first.
fn changed(bundle: &Bundle, edit: &Edit) -> Result<Authorizer, String> {
    let compiled = patch::apply(bundle, &edit.law).map(|bundle| Authorizer::compile(&bundle)).ok_or("the edit does not fit the text")?;
    let first = compiled.diagnostics.iter().find(|d| d.is_error());
    let why = first.map(|d| {
        let at = d.location.as_ref().map(|at| format!(" ({})", at.short())).unwrap_or_default();
        format!("{}{at}", d.message)
    });
    compiled.authorizer.ok_or_else(|| format!("the smallest edit would not pass `check`: {}", why.unwrap_or_default()))
}
