//! Why a default deny: the grants that came nearest, and what each lacked.

use serde::Serialize;

use crate::authorizer::Authorizer;
use crate::decision::{Decision, Effect, Reason};
use crate::explain::Edit;
use crate::limits::NEAREST_MAX;
use crate::model::{Caller, Operations, Permission};
use crate::request::{Request, Target};

/// A grant that did not apply, and what it lacked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Nearest {
    /// The permission.
    pub id: String,
    /// `file:line`.
    pub at: String,
    /// What would have had to be different, in words; the fewest first.
    pub lacks: Vec<String>,
    /// What would make it cover the request, tried; absent where no single edit of it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edit: Option<Edit>,
}

/// Whether nothing allowed the request, rather than something denied it.
pub(super) fn is_by_default(decision: &Decision<'_>) -> bool {
    matches!(decision.reason, Reason::UnknownPrincipal | Reason::UndeclaredOperation | Reason::ConditionUnmet | Reason::NoPermission)
}

/// Which parts of a permission's scope leave the request out.
pub(super) struct Missed {
    pub(super) caller: bool,
    pub(super) service: bool,
    pub(super) operation: bool,
    pub(super) method: bool,
}

/// What of the permission's scope does not cover the request.
pub(super) fn missed(authorizer: &Authorizer, request: &Request, decision: &Decision<'_>, permission: &Permission) -> Missed {
    let miss = Miss { authorizer, request, decision };
    let service = authorizer.service(&request.service);
    Missed {
        caller: !miss.covers_caller(permission),
        service: !service.is_some_and(|s| permission.to.iter().any(|to| *to == s.name || s.groups.contains(to))),
        operation: !miss.covers_operation(permission),
        method: !miss.covers_method(permission),
    }
}

/// The grants nearest to a request that was denied by default; empty for every other decision.
#[must_use]
pub fn nearest(authorizer: &Authorizer, request: &Request, decision: &Decision<'_>) -> Vec<Nearest> {
    if !is_by_default(decision) {
        return Vec::new();
    }
    let grants = authorizer.permissions.iter().filter(|p| p.effect == Effect::Allow);
    let mut found: Vec<(usize, Nearest)> = grants
        .filter_map(|permission| {
            let Lacks { caller, service, operation, lacks } = Miss { authorizer, request, decision }.lacks(permission);
            // A grant that shares neither caller nor service with the request explains nothing. Of the others those come
            // first whose scope is nearest, then those of whose conditions least is missing.
            // What another service offers is further away than what another caller may do.
            let missed = usize::from(caller) + 2 * usize::from(service) + usize::from(operation);
            (!(caller && service))
                .then(|| (missed, Nearest { id: permission.name.to_string(), at: permission.at.short(), lacks, edit: None }))
        })
        .collect();
    found.sort_by(|(a_missed, a), (b_missed, b)| (*a_missed, a.lacks.len(), &a.id).cmp(&(*b_missed, b.lacks.len(), &b.id)));
    found.truncate(NEAREST_MAX);
    found.into_iter().map(|(_, nearest)| nearest).collect()
}

/// What a permission lacks: whether caller, service or operation are among it, and all of it in words.
struct Lacks {
    caller: bool,
    service: bool,
    operation: bool,
    lacks: Vec<String>,
}

struct Miss<'a, 'd> {
    authorizer: &'a Authorizer,
    request: &'a Request,
    decision: &'a Decision<'d>,
}

impl Miss<'_, '_> {
    fn lacks(&self, permission: &Permission) -> Lacks {
        let mut out = Vec::new();
        let caller = self.covers_caller(permission);
        if !caller {
            let names: Vec<String> = permission.from.iter().map(caller_name).collect();
            out.push(format!("principal: {}", names.join(" or ")));
        }
        let service = self.authorizer.service(&self.request.service);
        let covered = service.is_some_and(|s| permission.to.iter().any(|to| *to == s.name || s.groups.contains(to)));
        let mut operation = false;
        if covered {
            let missing = self.operation(permission);
            operation = !missing.is_empty();
            out.extend(missing);
            let visible = service.map(|s| &s.visible);
            if let Some(context) = visible.and_then(|v| crate::seen::seen(v, &self.request.context).ok()) {
                out.extend(permission.when.lacks(&context));
            }
        } else {
            out.push(format!("service: {}", permission.to.join(" or ")));
        }
        Lacks { caller: !caller, service: !covered, operation, lacks: out }
    }

    fn covers_caller(&self, permission: &Permission) -> bool {
        let id = &self.request.principal;
        let service = self.authorizer.identify(id);
        permission.from.iter().any(|caller| match caller {
            Caller::Service(name) => service.is_some_and(|s| s.name == *name),
            Caller::Group(name) => service.is_some_and(|s| s.groups.contains(name)),
            Caller::Identity(want) => want == id,
            Caller::Pattern(pattern) => pattern.matches(id),
            Caller::AnyAuthenticated => service.is_some(),
        })
    }

    fn covers_operation(&self, permission: &Permission) -> bool {
        match (&permission.operations, self.decision.operation) {
            (Operations::AnyPath, _) | (Operations::Declared, Some(_)) => true,
            (Operations::Listed(ids), Some(operation)) => ids.iter().any(|id| **id == *operation),
            (_, None) => false,
        }
    }

    fn covers_method(&self, permission: &Permission) -> bool {
        match (&permission.methods, &self.request.target) {
            (Some(methods), Target::Http { method, .. }) => methods.contains(method),
            _ => true,
        }
    }

    fn operation(&self, permission: &Permission) -> Vec<String> {
        let mut out = Vec::new();
        match &permission.operations {
            _ if self.covers_operation(permission) => {}
            Operations::Listed(ids) => out.push(format!("operation: {}", ids.join(" or "))),
            _ => out.push("operation: a declared one".to_owned()),
        }
        if let Some(methods) = permission.methods.as_ref().filter(|_| !self.covers_method(permission)) {
            let names: Vec<&str> = methods.iter().map(|m| m.as_str()).collect();
            out.push(format!("method: {}", names.join(" or ")));
        }
        out
    }
}

fn caller_name(caller: &Caller) -> String {
    match caller {
        Caller::Service(name) | Caller::Group(name) => name.to_string(),
        Caller::Identity(id) => id.to_string(),
        Caller::Pattern(pattern) => pattern.as_str().to_owned(),
        Caller::AnyAuthenticated => "any-authenticated".to_owned(),
    }
}
