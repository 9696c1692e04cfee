//! Witnesses: requests that both bundles are really asked.
//!
//! A change that is certain must show on the request that the algebra gives, or it is not reported as one. Where an opaque
//! condition decides, some requests of the cell are tried: those of the algebra, and the contexts of both bundles' own test
//! cases. One that shows a difference is shown; none is no proof of anything.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::algebra::law::Law;
use crate::algebra::principal::Principals;
use crate::decision::Effect;
use crate::diff::Direction;
use crate::diff::group::Try;
use crate::limits::WITNESSES_TRIED;
use crate::request::{Context, Request, Target};

/// A request that two bundles answer differently.
#[derive(Clone, Debug, PartialEq)]
pub struct Witness {
    /// The request.
    pub request: Request,
    /// The answers of the first and the second bundle.
    pub effects: [Effect; 2],
}

/// What trying gave: a witness, and the directions that were seen.
#[derive(Debug, Default)]
pub(crate) struct Tried {
    pub(crate) witness: Option<Witness>,
    pub(crate) allows: bool,
    pub(crate) denies: bool,
}

/// Asks both bundles.
pub(crate) struct Judge<'l, 'a> {
    pub(crate) laws: [&'l Law<'a>; 2],
    pub(crate) principals: &'l Principals,
    /// Contexts that the authors of the bundles thought of: those of their test cases, the old ones first.
    seeds: Vec<Context>,
    /// Requests that may still be asked for changes in which opaque conditions have a say.
    left: usize,
}

impl<'l, 'a> Judge<'l, 'a> {
    pub(crate) fn new(laws: [&'l Law<'a>; 2], principals: &'l Principals) -> Self {
        let mut seeds: Vec<Context> = Vec::new();
        for case in laws.iter().flat_map(|law| law.authorizer.tests()).flat_map(|s| &s.cases) {
            if seeds.len() < SEEDS_MAX && !seeds.contains(&case.request.context) {
                seeds.push(case.request.context.clone());
            }
        }
        Self { laws, principals, seeds, left: QUESTIONS_MAX }
    }

    /// A context that shows a difference in this direction, if one of those tried does.
    pub(crate) fn shows(&mut self, one: &Try, direction: Direction) -> Option<Context> {
        let Self { laws, principals, seeds, left } = self;
        for context in one.contexts.iter().chain(&*seeds) {
            *left = left.checked_sub(1)?;
            let witness = ask(*laws, principals, one, context)?;
            if points(&witness, direction) {
                return Some(context.clone());
            }
        }
        None
    }

    /// The first answer that differs in the direction found is the witness.
    pub(crate) fn try_certain(&self, tries: &[Try], direction: Direction) -> Tried {
        let all = tries.iter().flat_map(|one| one.contexts.iter().map(move |c| (one, c)));
        let mut asked = all.filter_map(|(one, context)| ask(self.laws, self.principals, one, context));
        let witness = asked.find(|witness| points(witness, direction));
        let found = witness.is_some();
        Tried { witness, allows: found && direction == Direction::Allow, denies: found && direction == Direction::Deny }
    }

    /// Asks many times, until both directions were seen or there is nothing more to try. A witness shows this change only if one
    /// of the responsible policies decided it, or could not be evaluated.
    pub(crate) fn try_possible(&self, tries: &[Try], direction: Direction, responsible: &[&str]) -> Tried {
        let mut out = Tried::default();
        let of_cells = tries.iter().flat_map(|t| t.contexts.iter().map(move |c| (t, c)));
        let of_tests = self.seeds.iter().flat_map(|c| tries.iter().take(TARGETS_PER_SEED).map(move |t| (t, c)));
        for (one, context) in of_cells.take(WITNESSES_TRIED).chain(of_tests) {
            let Some(witness) = ask(self.laws, self.principals, one, context) else { continue };
            let (allows, denies) = (points(&witness, Direction::Allow), points(&witness, Direction::Deny));
            out.allows |= allows;
            out.denies |= denies;
            if out.witness.is_none() && points(&witness, direction) && self.is_decided_by(&witness, responsible) {
                out.witness.get_or_insert(witness);
            }
            if out.allows && out.denies {
                break;
            }
        }
        out
    }

    fn is_decided_by(&self, witness: &Witness, responsible: &[&str]) -> bool {
        let decided = self.laws.iter().map(|law| law.authorizer.decide(&witness.request)).any(|decision| {
            let erred = |error: &str| responsible.iter().any(|id| error.strip_prefix(id).is_some_and(|rest| rest.starts_with(':')));
            decision.policies.iter().any(|p| responsible.contains(&&*p.id)) || decision.errors.iter().any(|e| erred(e))
        });
        decided || responsible.is_empty()
    }
}

/// Whether the answers differ in this direction.
fn points(witness: &Witness, direction: Direction) -> bool {
    match witness.effects {
        [Effect::Deny, Effect::Allow] => direction != Direction::Deny,
        [Effect::Allow, Effect::Deny] => direction != Direction::Allow,
        _ => false,
    }
}

fn ask(laws: [&Law<'_>; 2], principals: &Principals, one: &Try, context: &Context) -> Option<Witness> {
    let principal = principals.kind(one.caller)?.id.clone();
    let service = Arc::from(&*one.service);
    let request = Request { principal, service, target: one.target.target.clone(), host: None, context: context.clone() };
    let effects = laws.map(|law| law.authorizer.decide(&request).effect);
    Some(Witness { request, effects })
}

impl Witness {
    /// The request as `portreeve decide` takes it.
    #[must_use]
    pub fn json(&self) -> Value {
        let Request { principal, service, target, context, .. } = &self.request;
        let mut out = Map::new();
        out.insert("principal".to_owned(), json!(principal));
        out.insert("service".to_owned(), json!(service.as_ref()));
        match target {
            Target::Connect { port } => drop(out.insert("port".to_owned(), json!(port))),
            Target::Http { method, path } => {
                out.insert("method".to_owned(), json!(method.as_str()));
                out.insert("path".to_owned(), json!(path.as_str()));
            }
        }
        let mut facts = Map::from_iter([("time".to_owned(), json!(context.time))]);
        if let Some(ip) = context.source_ip {
            facts.insert("source_ip".to_owned(), json!(ip));
        }
        for (name, attributes) in [("headers", &context.headers), ("query", &context.query)] {
            if !attributes.is_empty() {
                facts.insert(name.to_owned(), json!(attributes));
            }
        }
        if let Some(jwt) = &context.jwt {
            facts.insert("jwt".to_owned(), json!(jwt));
        }
        out.insert("context".to_owned(), Value::Object(facts));
        Value::Object(out)
    }
}

/// Contexts of test cases that are tried.
const SEEDS_MAX: usize = 64;
/// Requests asked to prove changes in which opaque conditions have a say; what is left open then may differ.
const QUESTIONS_MAX: usize = 50_000;
/// Cells of a change to which each context of a test case is put.
const TARGETS_PER_SEED: usize = 4;
