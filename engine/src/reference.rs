//! The reference semantics: Cedar's own authorizer on the whole policy set, permissions in their lowered form.
//!
//! Slow and simple on purpose. The decision table must agree with it on effect, reason and policies for every request
//! (DESIGN §4); tests and the self-check compare the two. Rego rules are not Cedar and take no part.

use std::collections::BTreeSet;

use cedar_policy::{AuthorizationError, Authorizer as CedarAuthorizer, Decision as CedarDecision, Policy, PolicyId, PolicySet};

use crate::authorizer::{Authorizer, Language, seen};
use crate::cedar::entities::{Callee, Caller};
use crate::cedar::policies::stack_bytes;
use crate::cedar::tokens::outlines;
use crate::decision::{Effect, Reason};
use crate::diagnostic::Diagnostic;
use crate::request::Request;

/// Cedar's authorizer over all policies of a bundle.
#[derive(Debug)]
pub struct Reference<'a> {
    authorizer: &'a Authorizer,
    policies: PolicySet,
    conditional: BTreeSet<String>,
    stack_bytes: usize,
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
}

impl<'a> Reference<'a> {
    /// Lowers the permissions of an authorizer and joins them with its Cedar policies.
    ///
    /// # Errors
    /// A lowered permission that Cedar does not accept: a fault of ours, named.
    pub fn new(authorizer: &'a Authorizer) -> Result<Self, Diagnostic> {
        let fault = |what: String| Diagnostic::error("internal", what);
        let mut policies = PolicySet::new();
        for (id, text) in authorizer.lowered() {
            let policy =
                Policy::parse(Some(PolicyId::new(id)), &text).map_err(|e| fault(format!("`{id}` lowers to no Cedar policy: {e}")))?;
            policies.add(policy).map_err(|e| fault(e.to_string()))?;
        }
        for policy in authorizer.cedar.iter().flat_map(|p| p.policies()) {
            policies.add(policy.clone()).map_err(|e| fault(e.to_string()))?;
        }
        let conditional = authorizer
            .policies
            .iter()
            .filter(|p| p.conditional && p.language != Language::Rego)
            .map(|p| p.reference.id.to_string())
            .collect();
        // Lowered permissions are wide where lists are long, and a row of alternatives is deep.
        let lowered = authorizer.lowered().iter().flat_map(|(_, text)| outlines(text)).map(|o| stack_bytes(o.depth)).max();
        let stack_bytes = authorizer.cedar.iter().map(|p| p.stack_bytes).chain(lowered).max().unwrap_or_default();
        Ok(Self { authorizer, policies, conditional, stack_bytes })
    }

    /// Answers one request.
    ///
    /// # Errors
    /// The request cannot be put to Cedar, in words.
    pub fn decide(&self, request: &Request) -> Result<ReferenceAnswer, String> {
        let plain = |reason| ReferenceAnswer { effect: Effect::Deny, reason, policies: Vec::new(), errors: Vec::new() };
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
        let literals = self.authorizer.cedar.iter().flat_map(|p| &p.literals).cloned();
        let entities = question.entities.upsert_entities(literals, None).map_err(|e| e.to_string())?;
        let evaluate = || CedarAuthorizer::new().is_authorized(&question.request, &self.policies, &entities);
        let response = stacker::maybe_grow(self.stack_bytes, self.stack_bytes, evaluate);
        let mut errors: Vec<String> =
            response.diagnostics().errors().map(|AuthorizationError::PolicyEvaluationError(e)| e.policy_id().to_string()).collect();
        errors.sort();
        let reasons: Vec<String> = response.diagnostics().reason().map(ToString::to_string).collect();
        let default = match (caller, operation) {
            (None, _) => Reason::UnknownPrincipal,
            (_, None) => Reason::UndeclaredOperation,
            _ => Reason::NoPermission,
        };
        // Cedar skips what errs; here an error denies unless a prohibition already does (INV-4).
        let (effect, reason, policies) = match response.decision() {
            CedarDecision::Deny if !reasons.is_empty() => (Effect::Deny, Reason::Prohibited, self.determining(reasons)),
            _ if !errors.is_empty() => (Effect::Deny, Reason::EvaluationError, Vec::new()),
            CedarDecision::Allow => (Effect::Allow, Reason::Permitted, self.determining(reasons)),
            CedarDecision::Deny => (Effect::Deny, default, Vec::new()),
        };
        Ok(ReferenceAnswer { effect, reason, policies, errors })
    }

    /// The unconditional ones or, where there are none, all.
    fn determining(&self, mut reasons: Vec<String>) -> Vec<String> {
        reasons.sort();
        let unconditional: Vec<String> = reasons.iter().filter(|id| !self.conditional.contains(*id)).cloned().collect();
        if unconditional.is_empty() { reasons } else { unconditional }
    }
}
