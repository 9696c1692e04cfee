//! The reference semantics: Cedar's own authorizer on the whole policy set, permissions in their lowered form, and every Rego
//! rule that may concern the service, asked afresh.
//!
//! Slow and simple on purpose. The decision table must agree with it on effect, reason and policies for every request
//! (DESIGN §4); tests and the self-check compare the two. It shares with the table the inventory (who is asked, which
//! operation a path reaches) and what policies see of a request, and nothing else: no scope is taken apart, no answer is kept.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use cedar_policy::{AuthorizationError, Authorizer as CedarAuthorizer, Decision as CedarDecision, Policy, PolicyId, PolicySet};

use crate::authorizer::{Asked, Authorizer};
use crate::cedar::entities::{Callee, Caller};
use crate::cedar::lower::lower;
use crate::cedar::policies::stack_bytes;
use crate::cedar::tokens::outlines;
use crate::decision::{Decision, Effect, Reason};
use crate::model::Permission;
use crate::request::Request;
use crate::seen::seen;

/// The reference evaluators over all policies of a bundle.
#[derive(Clone, Copy, Debug)]
pub struct Reference<'a> {
    authorizer: &'a Authorizer,
}

/// For each service, what Cedar is asked about requests to it: made when it is first asked, because a large bundle in Cedar's
/// form takes much memory, and a sidecar asks about one service.
///
/// Left out are only permissions that name other services and groups in `to`: they cannot be satisfied, nor err.
#[derive(Debug, Default)]
pub(crate) struct Slices(Vec<OnceLock<Result<Slice, String>>>);

#[derive(Debug)]
struct Slice {
    policies: PolicySet,
    /// Each permission in dry-run by itself, so that one is never hidden by another.
    dry_run: Vec<(String, PolicySet)>,
    /// Ids of the policies that have conditions.
    conditional: BTreeSet<String>,
    stack_bytes: usize,
}

impl Slices {
    pub(crate) fn of(services: usize) -> Self {
        Self((0..services).map(|_| OnceLock::new()).collect())
    }
}

/// What the reference says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferenceAnswer {
    /// Allow or deny.
    pub effect: Effect,
    /// Why. `condition-unmet` and `no-permission` are told apart by the scopes alone, which Cedar does not report: the
    /// reference says `no-permission` for both.
    pub reason: Reason,
    /// Ids of the determining policies, sorted.
    pub policies: Vec<String>,
    /// Ids of the policies that could not be evaluated, sorted.
    pub errors: Vec<String>,
    /// Ids of the satisfied permissions in dry-run, sorted.
    pub shadow: Vec<String>,
}

/// A decision that the reference does not share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disagreement {
    /// What was decided.
    pub decided: ReferenceAnswer,
    /// What the reference says.
    pub reference: ReferenceAnswer,
}

impl<'a> Reference<'a> {
    /// The reference of an authorizer.
    #[must_use]
    pub const fn new(authorizer: &'a Authorizer) -> Self {
        Self { authorizer }
    }

    /// Decides a request again. `None`: the reference agrees.
    ///
    /// # Errors
    /// The request cannot be put to the reference, in words.
    pub fn disagrees(&self, request: &Request, decision: &Decision<'_>) -> Result<Option<Disagreement>, String> {
        let (decided, reference) = (self.in_its_terms(decision), self.decide(request)?);
        Ok((decided != reference).then_some(Disagreement { decided, reference }))
    }

    /// A decision in the terms in which the reference speaks.
    #[must_use]
    pub fn in_its_terms(&self, decision: &Decision<'_>) -> ReferenceAnswer {
        // An error begins with the id of its policy; what is wrong with a request names none.
        let ids = self.authorizer.policies.iter().map(|p| &*p.reference.id);
        let of = |error: &str| {
            ids.clone().filter(|id| error.strip_prefix(id).is_some_and(|rest| rest.starts_with(": "))).max_by_key(|id| id.len())
        };
        let mut errors: Vec<String> = match decision.reason {
            Reason::MalformedRequest => Vec::new(),
            _ => decision.errors.iter().map(|error| of(error).unwrap_or(error).to_owned()).collect(),
        };
        errors.sort();
        ReferenceAnswer {
            effect: decision.effect,
            reason: if decision.reason == Reason::ConditionUnmet { Reason::NoPermission } else { decision.reason },
            policies: decision.policies.iter().map(|p| p.id.to_string()).collect(),
            errors,
            shadow: decision.shadow.iter().map(|p| p.id.to_string()).collect(),
        }
    }

    fn slice(&self, index: usize) -> Result<&'a Slice, String> {
        let place = self.authorizer.slices.0.get(index).ok_or("the service is missing")?;
        place.get_or_init(|| self.lowered(index)).as_ref().map_err(Clone::clone)
    }

    fn lowered(&self, index: usize) -> Result<Slice, String> {
        let authorizer = self.authorizer;
        let service = authorizer.inventory.services().get(index).ok_or("the service is missing")?;
        let about = |p: &&Permission| p.to.iter().any(|to| *to == service.name || service.groups.contains(to));
        let (mut policies, mut dry_run) = (PolicySet::new(), Vec::new());
        let mut stack = authorizer.cedar.iter().map(|p| p.stack_bytes).max().unwrap_or_default();
        for permission in authorizer.permissions.iter().chain(&authorizer.dry_run.permissions).filter(about) {
            let (id, text) = (&permission.name, lower(permission, &authorizer.inventory));
            let policy = Policy::parse(Some(PolicyId::new(id)), &text).map_err(|e| format!("`{id}` lowers to no Cedar policy: {e}"))?;
            if permission.dry_run {
                dry_run.push((id.to_string(), PolicySet::from_policies([policy]).map_err(|e| e.to_string())?));
            } else {
                policies.add(policy).map_err(|e| e.to_string())?;
            }
            // Lowered permissions are wide where lists are long, and a row of alternatives is deep.
            stack = outlines(&text).into_iter().map(|o| stack_bytes(o.depth)).fold(stack, usize::max);
        }
        for policy in authorizer.cedar.iter().flat_map(|p| p.policies()) {
            policies.add(policy.clone()).map_err(|e| e.to_string())?;
        }
        let conditional = authorizer.policies.iter().filter(|p| p.conditional).map(|p| p.reference.id.to_string()).collect();
        dry_run.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(Slice { policies, dry_run, conditional, stack_bytes: stack })
    }

    /// Answers one request.
    ///
    /// # Errors
    /// The request cannot be put to Cedar, in words.
    pub fn decide(&self, request: &Request) -> Result<ReferenceAnswer, String> {
        let plain = |reason| ReferenceAnswer { effect: Effect::Deny, reason, policies: Vec::new(), errors: Vec::new(), shadow: Vec::new() };
        let inventory = &self.authorizer.inventory;
        let Some((index, service)) = inventory.index(&request.service).and_then(|n| Some((n, inventory.services().get(n)?))) else {
            return Ok(plain(Reason::UnknownService));
        };
        let context = match seen(&service.visible, &request.context) {
            Ok(context) => context,
            Err(reason) => return Ok(plain(reason)),
        };
        let operation = inventory.route(index, request.target.borrowed()).and_then(|o| service.operations.get(o));
        let caller = self.authorizer.identify(&request.principal);
        let callee = Callee { service, operation, target: request.target.borrowed() };
        let question = self.authorizer.world.question(&Caller { id: &request.principal, service: caller }, &callee, &context)?;
        let slice = self.slice(index)?;
        let named = self.authorizer.cedar.iter().flat_map(|p| &p.literals);
        let literals = named.map(|entity| self.authorizer.world.complete(inventory, entity));
        let entities = question.entities.upsert_entities(literals, None).map_err(|e| e.to_string())?;
        let evaluate = |policies| {
            let evaluate = || CedarAuthorizer::new().is_authorized(&question.request, policies, &entities);
            stacker::maybe_grow(slice.stack_bytes, slice.stack_bytes, evaluate)
        };
        let response = evaluate(&slice.policies);
        let looked_at = slice.dry_run.iter().filter(|(_, alone)| evaluate(alone).diagnostics().reason().next().is_some());
        let shadow = looked_at.map(|(id, _)| id.clone()).collect();
        let errors = response.diagnostics().errors().map(|AuthorizationError::PolicyEvaluationError(e)| e.policy_id().to_string());
        let reasons = response.diagnostics().reason().map(ToString::to_string).collect();
        let mut found = Satisfied { prohibitions: Vec::new(), grants: Vec::new(), errors: errors.collect() };
        match response.decision() {
            CedarDecision::Deny => found.prohibitions = reasons,
            CedarDecision::Allow => found.grants = reasons,
        }
        self.rego(&Asked::new(self.authorizer, request, index, &context), &mut found);
        let default = match (caller, operation) {
            (None, _) => Reason::UnknownPrincipal,
            (_, None) => Reason::UndeclaredOperation,
            _ => Reason::NoPermission,
        };
        Ok(ReferenceAnswer { shadow, ..found.answer(default, &slice.conditional) })
    }

    /// Asks every Rego rule that is not limited to other services.
    fn rego(&self, asked: &Asked<'_, '_>, found: &mut Satisfied) {
        let rules = self.authorizer.rego.rules().iter().enumerate();
        let name = asked.service_name();
        let mut concerned = rules.filter(|(_, rule)| rule.services.as_ref().is_none_or(|s| s.iter().any(|s| *s == *name))).peekable();
        if concerned.peek().is_none() {
            return;
        }
        let input = asked.rego_input();
        for (number, rule) in concerned {
            match (self.authorizer.rego.evaluate(number, &input), rule.effect) {
                (Ok(false), _) => {}
                (Ok(true), Effect::Allow) => found.grants.push(rule.id.to_string()),
                (Ok(true), Effect::Deny) => found.prohibitions.push(rule.id.to_string()),
                (Err(_), _) => found.errors.push(rule.id.to_string()),
            }
        }
    }
}

/// Ids of the policies that are satisfied, and of those that err.
struct Satisfied {
    prohibitions: Vec<String>,
    grants: Vec<String>,
    errors: Vec<String>,
}

impl Satisfied {
    /// Cedar skips what errs; here an error denies unless a prohibition already does (INV-4).
    fn answer(mut self, default: Reason, conditional: &BTreeSet<String>) -> ReferenceAnswer {
        self.errors.sort();
        let (effect, reason, policies) = if !self.prohibitions.is_empty() {
            (Effect::Deny, Reason::Prohibited, determining(self.prohibitions, conditional))
        } else if !self.errors.is_empty() {
            (Effect::Deny, Reason::EvaluationError, Vec::new())
        } else if !self.grants.is_empty() {
            (Effect::Allow, Reason::Permitted, determining(self.grants, conditional))
        } else {
            (Effect::Deny, default, Vec::new())
        };
        ReferenceAnswer { effect, reason, policies, errors: self.errors, shadow: Vec::new() }
    }
}

/// The unconditional ones or, where there are none, all.
fn determining(mut satisfied: Vec<String>, conditional: &BTreeSet<String>) -> Vec<String> {
    satisfied.sort();
    let unconditional: Vec<String> = satisfied.iter().filter(|id| !conditional.contains(*id)).cloned().collect();
    if unconditional.is_empty() { satisfied } else { unconditional }
}
