//! The policies of `.cedar` files: read, validated strictly against the generated schema, their scopes taken apart.

use std::collections::BTreeMap;

use crate::cedar::analysis::Analysis;
use crate::cedar::entities::Question;
use crate::cedar::lower;
use crate::decision::Effect;
use crate::diagnostic::{Diagnostic, Location};
use crate::footprint::Footprint;
use crate::id::SpiffeId;
use crate::inventory::Inventory;
use crate::request::{METHODS, Method};
use crate::table::{CONNECT, CallerAtom, MethodMask, Methods, Scope, TargetAtom};
use cedar_policy::{
    ActionConstraint, AuthorizationError, Authorizer as CedarAuthorizer, Decision as CedarDecision, Effect as CedarEffect, EntityUid,
    Policy, PolicyId, PolicySet, PrincipalConstraint, ResourceConstraint, Schema, ValidationMode, Validator,
};

/// One policy of a `.cedar` file.
#[derive(Debug)]
pub(crate) struct CedarPolicy {
    pub(crate) id: Box<str>,
    pub(crate) effect: Effect,
    pub(crate) at: Location,
    pub(crate) conditional: bool,
    pub(crate) scope: Scope,
    /// What its condition can read.
    pub(crate) footprint: Footprint,
    alone: PolicySet,
}

impl CedarPolicy {
    /// Whether the policy is satisfied.
    ///
    /// # Errors
    /// Cedar's reason why it could not be evaluated.
    pub(crate) fn satisfied(&self, question: &Question<'_>) -> Result<bool, String> {
        let response = CedarAuthorizer::new().is_authorized(&question.request, &self.alone, &question.entities);
        if let Some(AuthorizationError::PolicyEvaluationError(error)) = response.diagnostics().errors().next() {
            return Err(error.inner().to_string());
        }
        // Alone in its set, a satisfied permit allows, and a satisfied forbid is the reason of the denial.
        Ok(response.decision() == CedarDecision::Allow || response.diagnostics().reason().next().is_some())
    }
}

impl CedarPolicy {
    /// The policy itself, by its `@id`.
    pub(crate) fn policies(&self) -> impl Iterator<Item = &Policy> {
        self.alone.policies()
    }
}

/// Reads one `.cedar` file.
pub(crate) fn read(
    path: &str,
    text: &str,
    inventory: &Inventory,
    schema: &Schema,
    methods: &mut Methods,
    problems: &mut Vec<Diagnostic>,
) -> Vec<CedarPolicy> {
    let set: PolicySet = match text.parse() {
        Ok(set) => set,
        Err(errors) => {
            let found: cedar_policy::ParseErrors = errors;
            problems.extend(found.iter().map(|e| labelled("cedar-syntax", &e.to_string(), e, path, text)));
            return Vec::new();
        }
    };
    let starts = starts(text);
    if let Some(template) = set.templates().next() {
        let at = place(&starts, template.id(), path, text);
        problems.push(
            Diagnostic::error("cedar-template", "a template (`?principal`, `?resource`) cannot be linked here")
                .at(at)
                .help("write the policy out")
                .with_source(text),
        );
        return Vec::new();
    }
    if !validate(path, text, &set, schema, problems) {
        return Vec::new();
    }
    let mut out = Vec::new();
    for policy in set.policies() {
        let at = place(&starts, policy.id(), path, text);
        let Some(id) = policy.annotation("id").filter(|id| !id.is_empty()) else {
            problems.push(
                Diagnostic::error("cedar-id", "this policy has no `@id`")
                    .at(at)
                    .help("write `@id(\"a-name\")` before it; decisions and records name it")
                    .with_source(text),
            );
            continue;
        };
        let mut scopes = Scopes { inventory, methods, at: &at, text, problems };
        let Some(scope) = scopes.scope(policy) else { continue };
        let named = policy.new_id(PolicyId::new(id));
        let Ok(alone) = PolicySet::from_policies([named]) else { continue };
        let effect = if policy.effect() == CedarEffect::Permit { Effect::Allow } else { Effect::Deny };
        out.push(CedarPolicy {
            id: id.into(),
            effect,
            at,
            conditional: policy.has_non_scope_constraint(),
            footprint: Analysis::of(policy).footprint,
            scope,
            alone,
        });
    }
    out.sort_by(|a, b| a.at.cmp(&b.at));
    out
}

/// Whether the policies fit the schema. A warning is told and leaves the policies in force.
fn validate(path: &str, text: &str, set: &PolicySet, schema: &Schema, problems: &mut Vec<Diagnostic>) -> bool {
    let result = Validator::new(schema.clone()).validate(set, ValidationMode::Strict);
    let ids: BTreeMap<String, String> =
        set.policies().filter_map(|p| Some((format!("`{}`", p.id()), format!("`{}`", p.annotation("id")?)))).collect();
    let named = |message: String| ids.iter().fold(message, |m, (auto, id)| m.replace(auto.as_str(), id));
    for error in result.validation_errors() {
        let mut problem = labelled("cedar-validation", &named(error.to_string()), error, path, text);
        problem.help = problem.help.map(named);
        problems.push(problem);
    }
    for warning in result.validation_warnings() {
        let mut problem = labelled("cedar-warning", &named(warning.to_string()), warning, path, text);
        problem.severity = crate::diagnostic::Severity::Warning;
        problems.push(problem);
    }
    result.validation_passed()
}

/// A Cedar diagnostic as ours, at its first label.
fn labelled(code: &'static str, message: &str, error: &dyn miette::Diagnostic, path: &str, text: &str) -> Diagnostic {
    let label = error.labels().and_then(|mut labels| labels.next());
    let (offset, length) = label.map_or((0, 1), |l| (l.offset(), l.len()));
    let mut at = location(path, text, offset);
    let marked = text.get(offset..offset.saturating_add(length)).unwrap_or_default();
    at.length = u32::try_from(marked.lines().next().unwrap_or_default().chars().count()).unwrap_or(1).max(1);
    let mut problem = Diagnostic::error(code, message.trim_end_matches('.')).at(at).with_source(text);
    if let Some(help) = error.help() {
        problem = problem.help(help.to_string());
    }
    problem
}

fn location(path: &str, text: &str, offset: usize) -> Location {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let clamp = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Location::new(path, clamp(line), clamp(column))
}

/// Where each policy begins (`permit` or `forbid` outside brackets, texts and comments), in the order in which Cedar numbers
/// them.
fn starts(text: &str) -> Vec<usize> {
    let mut out = Vec::new();
    let mut depth = 0_usize;
    let mut word_at: Option<usize> = None;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c.is_ascii_alphanumeric() || c == '_' {
            word_at.get_or_insert(at);
            continue;
        }
        if let Some(start) = word_at.take()
            && depth == 0
            && matches!(text.get(start..at), Some("permit" | "forbid"))
        {
            out.push(start);
        }
        match c {
            '(' | '{' | '[' => depth += 1,
            ')' | '}' | ']' => depth = depth.saturating_sub(1),
            '/' if chars.peek().is_some_and(|(_, next)| *next == '/') => {
                let _end = chars.by_ref().find(|(_, c)| *c == '\n');
            }
            '"' => {
                let mut escaped = false;
                let _end = chars.by_ref().find(|(_, c)| {
                    let end = *c == '"' && !escaped;
                    escaped = *c == '\\' && !escaped;
                    end
                });
            }
            _ => {}
        }
    }
    out
}

fn place(starts: &[usize], id: &PolicyId, path: &str, text: &str) -> Location {
    let number: usize = id.to_string().strip_prefix("policy").and_then(|n| n.parse().ok()).unwrap_or_default();
    location(path, text, starts.get(number).copied().unwrap_or_default())
}

struct Scopes<'a, 'p> {
    inventory: &'a Inventory,
    methods: &'p mut Methods,
    at: &'a Location,
    text: &'a str,
    problems: &'p mut Vec<Diagnostic>,
}

impl Scopes<'_, '_> {
    fn scope(&mut self, policy: &Policy) -> Option<Scope> {
        let caller = self.caller(&policy.principal_constraint())?;
        let target = self.target(&policy.resource_constraint())?;
        let methods = self.methods(&policy.action_constraint())?;
        Some(Scope { callers: vec![caller], targets: vec![target], methods })
    }

    fn unknown(&mut self, uid: &EntityUid, what: &str) {
        let problem =
            Diagnostic::error("unknown-entity", format!("`{uid}` is not {what} of the inventory, so this policy can never apply"));
        self.problems.push(problem.at(self.at.clone()).with_source(self.text));
    }

    fn caller(&mut self, constraint: &PrincipalConstraint) -> Option<CallerAtom> {
        let uid = match constraint {
            PrincipalConstraint::Any | PrincipalConstraint::Is(_) => return Some(CallerAtom::Anyone),
            PrincipalConstraint::In(uid) | PrincipalConstraint::Eq(uid) | PrincipalConstraint::IsIn(_, uid) => uid,
        };
        let id = uid.id().unescaped();
        let found = match uid.type_name().to_string().as_str() {
            "Workload" => id.parse::<SpiffeId>().ok().map(CallerAtom::Identity),
            "Service" => self.inventory.index(id).map(CallerAtom::Service),
            "Group" if id == super::ANY_AUTHENTICATED => Some(CallerAtom::AnyAuthenticated),
            "Group" => self.inventory.group(id).map(|g| CallerAtom::Group(g.name.clone())),
            _ => None,
        };
        if found.is_none() {
            self.unknown(uid, "an identity, service or group");
        }
        found
    }

    fn target(&mut self, constraint: &ResourceConstraint) -> Option<TargetAtom> {
        let uid = match constraint {
            ResourceConstraint::Any | ResourceConstraint::Is(_) => return Some(TargetAtom::Anything),
            ResourceConstraint::In(uid) | ResourceConstraint::Eq(uid) | ResourceConstraint::IsIn(_, uid) => uid,
        };
        let id = uid.id().unescaped();
        let found = match uid.type_name().to_string().as_str() {
            "Service" => self.inventory.index(id).map(|service| TargetAtom::Service { service, declared: false }),
            "Group" if id == super::ANY_AUTHENTICATED => Some(TargetAtom::Anything),
            "Group" => self.inventory.group(id).map(|g| TargetAtom::Group { group: g.name.clone(), declared: false }),
            "Operation" => self.operation(id),
            _ => None,
        };
        if found.is_none() {
            self.unknown(uid, "an operation, service or group");
        }
        found
    }

    fn operation(&self, id: &str) -> Option<TargetAtom> {
        let (name, _) = id.split_once('/')?;
        let service = self.inventory.index(name)?;
        if id == lower::undeclared(name) {
            return Some(TargetAtom::Undeclared { service });
        }
        let operations = &self.inventory.services().get(service)?.operations;
        let operation = operations.iter().position(|o| lower::operation(name, &o.id) == id)?;
        Some(TargetAtom::Operation { service, operation })
    }

    fn methods(&mut self, constraint: &ActionConstraint) -> Option<MethodMask> {
        let uids = match constraint {
            ActionConstraint::Any => return Some(MethodMask::ALL),
            ActionConstraint::Eq(uid) => std::slice::from_ref(uid),
            ActionConstraint::In(uids) => uids.as_slice(),
        };
        let mut mask = MethodMask::NONE;
        for uid in uids {
            let name = uid.id().unescaped();
            let group = METHODS.iter().copied().filter(|m| super::schema::action_group(m) == Some(name));
            let methods: Vec<&str> = if matches!(name, "read" | "write") { group.collect() } else { vec![name] };
            for method in methods {
                let bit =
                    if method == "connect" { Some(CONNECT) } else { Method::parse(method).ok().and_then(|m| self.methods.intern(&m)) };
                let Some(bit) = bit else {
                    self.problems.push(
                        Diagnostic::error("too-many-methods", "policies and operations name too many different methods")
                            .at(self.at.clone()),
                    );
                    return None;
                };
                mask = mask.or(bit.mask());
            }
        }
        Some(mask)
    }
}
