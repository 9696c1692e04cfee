//! The policies of `.cedar` files: read, validated strictly against the generated schema, their scopes taken apart.

use cedar_policy::pst::EntityUID;
use cedar_policy::{Authorizer as CedarAuthorizer, Effect as CedarEffect, Entities, Entity, Policy, PolicyId, PolicySet, Schema};

use crate::cedar::analysis::{Analysis, Fault};
use crate::cedar::complaints::{self, Source};
use crate::cedar::entities::{Question, World};
use crate::cedar::fold::{Folded, fold};
use crate::cedar::scopes::Scopes;
use crate::cedar::tokens;
use crate::decision::Effect;
use crate::diagnostic::{Diagnostic, Location};
use crate::footprint::Footprint;
use crate::id::IdPattern;
use crate::inventory::Inventory;
use crate::limits::{CEDAR_COMPILE_STACK_BYTES, CEDAR_DEPTH_MAX, CEDAR_EVALUATE_LEVEL_BYTES, CEDAR_EVALUATE_STACK_BYTES};
use crate::table::{Methods, Scope};

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
    /// The parts of its condition that can err; where there are none, it cannot.
    pub(crate) faults: Vec<FaultAt>,
    /// The identity patterns that it names.
    pub(crate) patterns: Vec<IdPattern>,
    /// The entities that its condition names and looks into.
    pub(crate) literals: Vec<Entity>,
    /// What the evaluation of its condition may take of the stack.
    pub(crate) stack_bytes: usize,
    alone: PolicySet,
}

/// A part of a condition that can err.
#[derive(Clone, Debug)]
pub(crate) struct FaultAt {
    pub(crate) fault: Fault,
    /// The part, in Cedar's own syntax.
    pub(crate) part: String,
    pub(crate) at: Location,
}

impl CedarPolicy {
    /// Whether the policy is satisfied.
    ///
    /// # Errors
    /// Cedar's reason why it could not be evaluated.
    pub(crate) fn satisfied(&self, question: &Question) -> Result<bool, String> {
        let answer = |entities: &Entities| satisfied(&self.alone, &question.request, entities, self.stack_bytes);
        if self.literals.is_empty() {
            return answer(&question.entities).map_err(|error| error.to_string());
        }
        let entities = question.entities.clone().upsert_entities(self.literals.iter().cloned(), None).map_err(|e| e.to_string())?;
        answer(&entities).map_err(|error| error.to_string())
    }

    /// Whether its evaluation can end in an error.
    pub(crate) const fn can_err(&self) -> bool {
        !self.faults.is_empty()
    }

    /// The policy itself, by its `@id`.
    pub(crate) fn policies(&self) -> impl Iterator<Item = &Policy> {
        self.alone.policies()
    }
}

/// Whether the one policy of a set is satisfied.
pub(crate) fn satisfied(
    alone: &PolicySet,
    request: &cedar_policy::Request,
    entities: &Entities,
    stack_bytes: usize,
) -> Result<bool, cedar_policy::EvaluationError> {
    let evaluate = || CedarAuthorizer::new().is_authorized(request, alone, entities);
    // Where little is left Cedar gives up with an error, which would deny; most threads have enough left.
    let response = stacker::maybe_grow(stack_bytes, stack_bytes, evaluate);
    if let Some(cedar_policy::AuthorizationError::PolicyEvaluationError(error)) = response.diagnostics().errors().next() {
        return Err(error.inner().clone());
    }
    // Alone in its set, a satisfied permit allows, and a satisfied forbid is the reason of the denial.
    Ok(response.diagnostics().reason().next().is_some())
}

/// What the evaluation of an expression of this depth may take of the stack.
pub(crate) const fn stack_bytes(depth: usize) -> usize {
    CEDAR_EVALUATE_STACK_BYTES + depth * CEDAR_EVALUATE_LEVEL_BYTES
}

/// What policies are read against.
pub(crate) struct Reader<'a> {
    pub(crate) world: &'a World,
    pub(crate) inventory: &'a Inventory,
    pub(crate) schema: &'a Schema,
    pub(crate) schema_text: &'a str,
}

impl Reader<'_> {
    /// Reads one `.cedar` file.
    pub(crate) fn read(&self, path: &str, text: &str, methods: &mut Methods, problems: &mut Vec<Diagnostic>) -> Vec<CedarPolicy> {
        let source = Source { path, text, outlines: tokens::outlines(text) };
        let before = problems.len();
        for outline in source.outlines.iter().filter(|o| o.depth > CEDAR_DEPTH_MAX) {
            problems.push(complaints::too_deep(&source, outline));
        }
        if problems.len() > before {
            return Vec::new();
        }
        // Parser, validator and analysis walk down the expressions; the depth is bounded, the caller's stack is not known.
        stacker::maybe_grow(CEDAR_COMPILE_STACK_BYTES, CEDAR_COMPILE_STACK_BYTES, || self.read_bounded(&source, methods, problems))
    }

    fn read_bounded(&self, source: &Source<'_>, methods: &mut Methods, problems: &mut Vec<Diagnostic>) -> Vec<CedarPolicy> {
        let set: PolicySet = match source.text.parse() {
            Ok(set) => set,
            Err(errors) => {
                complaints::syntax(source, &errors, problems);
                return Vec::new();
            }
        };
        let templates = complaints::templates(source, &set, problems);
        let entities = complaints::Known { inventory: self.inventory }.entities(source, &set, problems);
        let valid = complaints::validate(source, &set, self.schema, problems);
        if templates || !entities || !valid {
            return Vec::new();
        }
        let mut out = Vec::new();
        for policy in set.policies() {
            out.extend(self.policy(source, policy, methods, problems));
        }
        complaints::validate_other_methods(source, &set, &out, self.schema_text, problems);
        out.sort_by(|a, b| a.at.cmp(&b.at));
        out
    }

    fn policy(&self, source: &Source<'_>, policy: &Policy, methods: &mut Methods, problems: &mut Vec<Diagnostic>) -> Option<CedarPolicy> {
        let at = source.place(policy.id());
        let Some(id) = policy.annotation("id").filter(|id| !id.is_empty()) else {
            problems.push(
                Diagnostic::error("cedar-id", "this policy has no `@id`")
                    .at(at)
                    .help("write `@id(\"a-name\")` before it; decisions and records name it")
                    .with_source(source.text),
            );
            return None;
        };
        // Messages, metrics and reports are read line by line, by people and by machines that take orders from lines.
        if id.chars().any(char::is_control) {
            problems.push(
                Diagnostic::error("cedar-id", format!("the `@id` of this policy holds a control character: `{}`", id.escape_debug()))
                    .at(at)
                    .help("a name is one line of plain text")
                    .with_source(source.text),
            );
            return None;
        }
        let mut scopes = Scopes { inventory: self.inventory, methods, at: &at, text: source.text, problems };
        let scope = scopes.scope(policy)?;
        let analysis = Analysis::of(policy, &|uid| complaints::Known { inventory: self.inventory }.exists(uid));
        let patterns = complaints::patterns(policy);
        let literals = self.literals(&analysis.literals, &patterns);
        let conditional = policy.has_non_scope_constraint();
        let folded =
            if conditional && analysis.faults.is_empty() { fold(policy, &scope, self.inventory, self.world, &literals) } else { None };
        let Folded { scope, conditional } = folded.unwrap_or(Folded { scope, conditional });
        let faults = analysis.faults.into_iter().map(|(part, fault)| FaultAt { fault, at: source.part(policy.id(), &part), part });
        Some(CedarPolicy {
            id: id.into(),
            effect: if policy.effect() == CedarEffect::Permit { Effect::Allow } else { Effect::Deny },
            conditional,
            scope,
            footprint: analysis.footprint,
            faults: faults.collect(),
            literals,
            patterns,
            stack_bytes: stack_bytes(source.depth(policy.id())),
            alone: PolicySet::from_policies([policy.new_id(PolicyId::new(id))]).ok()?,
            at,
        })
    }

    /// Those of the named entities that there are, in the patterns that the policy itself names.
    fn literals(&self, named: &[EntityUID], patterns: &[IdPattern]) -> Vec<Entity> {
        let world = self.world.naming(patterns);
        named.iter().filter_map(|uid| world.named(self.inventory, uid)).collect()
    }
}
