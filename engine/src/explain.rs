//! Why a default deny: the grants that came nearest, and what each lacked.

use serde::Serialize;

use crate::authorizer::Authorizer;
use crate::decision::{Decision, Effect, Reason};
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
}

/// The grants nearest to a request that was denied by default; empty for every other decision.
#[must_use]
pub fn nearest(authorizer: &Authorizer, request: &Request, decision: &Decision<'_>) -> Vec<Nearest> {
    let by_default =
        matches!(decision.reason, Reason::UnknownPrincipal | Reason::UndeclaredOperation | Reason::ConditionUnmet | Reason::NoPermission);
    if !by_default {
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
            (!(caller && service)).then(|| (missed, Nearest { id: permission.name.to_string(), at: permission.at.short(), lacks }))
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
            if let Some(context) = visible.and_then(|v| crate::authorizer::seen(v, &self.request.context).ok()) {
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

    fn operation(&self, permission: &Permission) -> Vec<String> {
        let mut out = Vec::new();
        let covered = match (&permission.operations, self.decision.operation) {
            (Operations::AnyPath, _) | (Operations::Declared, Some(_)) => true,
            (Operations::Listed(ids), Some(operation)) => ids.iter().any(|id| **id == *operation),
            (_, None) => false,
        };
        match &permission.operations {
            _ if covered => {}
            Operations::Listed(ids) => out.push(format!("operation: {}", ids.join(" or "))),
            _ => out.push("operation: a declared one".to_owned()),
        }
        if let (Some(methods), Target::Http { method, .. }) = (&permission.methods, &self.request.target)
            && !methods.contains(method)
        {
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
