//! What is wrong with a `.cedar` file, as our own diagnostics.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::pst::EntityUID;
use cedar_policy::{EntityUid, ParseErrors, Policy, PolicyId, PolicySet, Schema, ValidationMode, ValidationWarning, Validator};

use crate::cedar::policies::CedarPolicy;
use crate::cedar::tokens::{self, Outline};
use crate::cedar::{ANY_AUTHENTICATED, lower};
use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::footprint::Footprint;
use crate::id::{IdPattern, SpiffeId};
use crate::inventory::Inventory;
use crate::limits::CEDAR_DEPTH_MAX;
use crate::table::MethodMask;

/// A `.cedar` file and where its policies are.
pub(crate) struct Source<'a> {
    pub(crate) path: &'a str,
    pub(crate) text: &'a str,
    pub(crate) outlines: Vec<Outline>,
}

impl Source<'_> {
    /// Where a policy begins; Cedar numbers them as they come.
    pub(crate) fn place(&self, id: &PolicyId) -> Location {
        self.location(self.outline(id).map_or(0, |o| o.range.start), 1)
    }

    /// Where a part of a policy stands, or the policy where it is not found.
    pub(crate) fn part(&self, id: &PolicyId, part: &str) -> Location {
        let found = self.outline(id).and_then(|outline| {
            let within = tokens::find(self.text.get(outline.range.clone())?, part)?;
            Some(self.location(outline.range.start + within.start, within.len()))
        });
        found.unwrap_or_else(|| self.place(id))
    }

    /// How deep the expressions of a policy are at most.
    pub(crate) fn depth(&self, id: &PolicyId) -> usize {
        self.outline(id).map_or(CEDAR_DEPTH_MAX, |o| o.depth)
    }

    fn outline(&self, id: &PolicyId) -> Option<&Outline> {
        self.outlines.get(id.to_string().strip_prefix("policy")?.parse::<usize>().ok()?)
    }

    fn location(&self, offset: usize, length: usize) -> Location {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let clamp = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let mut at = Location::new(self.path, clamp(line), clamp(column));
        let marked = self.text.get(offset..offset.saturating_add(length)).unwrap_or_default();
        at.length = clamp(marked.lines().next().unwrap_or_default().chars().count()).max(1);
        at
    }

    /// A Cedar diagnostic as ours, at its first label.
    fn labelled(&self, code: &'static str, message: &str, error: &dyn miette::Diagnostic) -> Diagnostic {
        let label = error.labels().and_then(|mut labels| labels.next());
        let (offset, length) = label.map_or((0, 1), |l| (l.offset(), l.len()));
        let problem = Diagnostic::error(code, message.trim_end_matches('.')).at(self.location(offset, length)).with_source(self.text);
        match error.help() {
            Some(help) => problem.help(help.to_string()),
            None => problem,
        }
    }
}

pub(crate) fn too_deep(source: &Source<'_>, outline: &Outline) -> Diagnostic {
    Diagnostic::error(
        "cedar-too-deep",
        format!("the expressions of this policy may nest {} deep; {CEDAR_DEPTH_MAX} is the most", outline.depth),
    )
    .at(source.location(outline.range.start, 1))
    .help("write several policies, or compare with a set: `[…].contains(x)`")
    .with_source(source.text)
}

pub(crate) fn syntax(source: &Source<'_>, errors: &ParseErrors, problems: &mut Vec<Diagnostic>) {
    problems.extend(errors.iter().map(|e| source.labelled("cedar-syntax", &e.to_string(), e)));
}

/// Whether there are templates; each is told.
pub(crate) fn templates(source: &Source<'_>, set: &PolicySet, problems: &mut Vec<Diagnostic>) -> bool {
    let before = problems.len();
    problems.extend(set.templates().map(|template| {
        Diagnostic::error("cedar-template", "a template (`?principal`, `?resource`) cannot be linked here")
            .at(source.place(template.id()))
            .help("write the policy out; where it is to hold for several callers or services, name a group")
            .with_source(source.text)
    }));
    problems.len() > before
}

/// Whether the policies fit the schema. A warning is told and leaves the policies in force.
pub(crate) fn validate(source: &Source<'_>, set: &PolicySet, schema: &Schema, problems: &mut Vec<Diagnostic>) -> bool {
    let result = Validator::new(schema.clone()).validate(set, ValidationMode::Strict);
    let annotated = set.policies().map(|p| (p.id(), p.annotation("id")));
    let annotated = annotated.chain(set.templates().map(|t| (t.id(), t.annotation("id"))));
    let ids: BTreeMap<String, String> = annotated.filter_map(|(auto, id)| Some((format!("`{auto}`"), format!("`{}`", id?)))).collect();
    let named = |message: &str| ids.iter().fold(message.to_owned(), |m, (auto, id)| m.replace(auto.as_str(), id));
    let mut told = BTreeSet::new();
    for error in result.validation_errors() {
        let mut problem = source.labelled("cedar-validation", &for_any_action(&named(&error.to_string())), error);
        problem.help = problem.help.map(|help| named(&help));
        // The validator looks at each action by itself; one fault is one to the reader.
        if told.insert((problem.location.clone(), problem.message.clone())) {
            problems.push(problem);
        }
    }
    for warning in result.validation_warnings() {
        let id = warning.policy_id();
        let name = set.policy(id).and_then(|p| p.annotation("id")).unwrap_or_default();
        let mut problem = match warning {
            ValidationWarning::ImpossiblePolicy(_) | ValidationWarning::InvalidActionApplication(_) => {
                Diagnostic::warning("cedar-impossible", format!("`{name}` can never apply: its condition holds for no request"))
                    .at(source.place(id))
                    .help("look for a comparison that cannot come out as meant, such as `in` with the sides exchanged; or take it out")
                    .with_source(source.text)
            }
            other => source.labelled("cedar-warning", &named(&other.to_string()), other),
        };
        problem.severity = Severity::Warning;
        problems.push(problem);
    }
    result.validation_passed()
}

/// The message without the action for which the validator happened to say it.
fn for_any_action(message: &str) -> String {
    match message.split_once(" in context for Action::\"") {
        Some((before, rest)) => {
            let after = rest.split_once('"').map(|(_, after)| after).unwrap_or_default();
            format!("{before} of `context`{after}")
        }
        None => message.to_owned(),
    }
}

/// The schema knows the methods that someone names; requests may come with any. Policies that look at `action` in a condition
/// and may be asked about any are validated for an unnamed one as well.
pub(crate) fn validate_other_methods(
    source: &Source<'_>,
    set: &PolicySet,
    policies: &[CedarPolicy],
    schema: &str,
    problems: &mut Vec<Diagnostic>,
) {
    let looks = |policy: &CedarPolicy| match &policy.footprint {
        Footprint::Bounded(reads) => reads.method,
        Footprint::Unbounded(_) => true,
    };
    if !policies.iter().any(|policy| policy.scope.methods == MethodMask::ALL && looks(policy)) {
        return;
    }
    let other = "action \"any other method\" appliesTo { principal: [Workload], resource: [Operation], context: RequestContext };";
    if let Ok((schema, _)) = Schema::from_cedarschema_str(&format!("{schema}{other}\n")) {
        let mut found = Vec::new();
        validate(source, set, &schema, &mut found);
        let why = "the condition is asked for methods that nobody names as well; such an `action` is in no group";
        problems.extend(found.into_iter().filter(Diagnostic::is_error).map(|problem| problem.help(why)));
    }
}

/// The entities that the inventory implies.
#[derive(Clone, Copy)]
pub(crate) struct Known<'a> {
    pub(crate) inventory: &'a Inventory,
}

impl Known<'_> {
    /// Whether every entity that policies name exists or can exist; each that cannot is told. Of templates nothing is said.
    pub(crate) fn entities(self, source: &Source<'_>, set: &PolicySet, problems: &mut Vec<Diagnostic>) -> bool {
        let before = problems.len();
        for policy in set.policies() {
            let named: BTreeSet<EntityUid> = policy.entity_literals().into_iter().collect();
            problems.extend(
                named
                    .iter()
                    .filter_map(|uid| self.fault(uid))
                    .map(|(uid, problem)| problem.at(source.part(policy.id(), &uid)).with_source(source.text)),
            );
        }
        problems.len() == before
    }

    /// What is wrong with naming this entity.
    fn fault(self, uid: &EntityUid) -> Option<(String, Diagnostic)> {
        let id = uid.id().unescaped();
        let services = self.inventory.services();
        let unknown = Diagnostic::error("unknown-entity", format!("there is no `{uid}` in the inventory"));
        let names = |prefix: &str, names: Vec<String>| {
            let near = crate::diagnostic::nearest(id, names.iter().map(String::as_str));
            near.map(|near| format!("did you mean `{prefix}::{}`?", super::literal(near)))
        };
        let (found, problem, near) = match uid.type_name().to_string().as_str() {
            "Service" => {
                (self.inventory.index(id).is_some(), unknown, names("Service", services.iter().map(|s| s.name.to_string()).collect()))
            }
            "Group" => (
                id == ANY_AUTHENTICATED || self.inventory.group(id).is_some(),
                unknown,
                names("Group", self.inventory.groups().iter().map(|g| g.name.to_string()).chain([ANY_AUTHENTICATED.to_owned()]).collect()),
            ),
            "Operation" => {
                let service = id.split_once('/').and_then(|(name, _)| self.inventory.service(name));
                let known: Vec<String> = service
                    .iter()
                    .flat_map(|s| s.operations.iter().map(|o| lower::operation(&s.name, &o.id)).chain([lower::undeclared(&s.name)]))
                    .collect();
                (known.iter().any(|k| k == id), unknown, names("Operation", known))
            }
            "Workload" => (
                id.parse::<SpiffeId>().is_ok(),
                Diagnostic::error("unknown-entity", format!("`{uid}` is nobody: the id of a `Workload` is a SPIFFE ID")),
                None,
            ),
            "Pattern" => (
                id.parse::<IdPattern>().is_ok(),
                Diagnostic::error("unknown-entity", format!("`{uid}` matches nothing: the id of a `Pattern` is an identity pattern")),
                None,
            ),
            // The validator knows the actions, and which types there are.
            _ => return None,
        };
        let problem = match near {
            Some(help) => problem.help(help),
            None => problem,
        };
        (!found).then(|| (uid.to_string(), problem))
    }

    /// Whether this entity is in the store, whatever the request.
    pub(crate) fn exists(self, uid: &EntityUID) -> bool {
        let id = uid.eid.as_str();
        match uid.ty.to_string().as_str() {
            "Service" => self.inventory.index(id).is_some(),
            "Operation" => {
                let service = id.split_once('/').and_then(|(name, _)| self.inventory.service(name));
                service.is_some_and(|s| {
                    id == lower::undeclared(&s.name) || s.operations.iter().any(|o| id == lower::operation(&s.name, &o.id))
                })
            }
            // The others have no attributes that could be missed.
            _ => true,
        }
    }
}

/// The identity patterns that a policy names.
pub(crate) fn patterns(policy: &Policy) -> Vec<IdPattern> {
    let named = policy.entity_literals();
    named.iter().filter(|uid| uid.type_name().to_string() == "Pattern").filter_map(|uid| uid.id().unescaped().parse().ok()).collect()
}
