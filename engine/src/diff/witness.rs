//! Witnesses: requests that both bundles are really asked.
//!
//! A change that is certain must show on the request that the algebra gives, or it is not reported as one. Where an opaque
//! condition decides, some requests of the cell are tried: those of the algebra, and the contexts of both bundles' own test
//! cases. One that shows a difference is shown; none is no proof of anything.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::algebra::law::Law;
use crate::algebra::principal::Principals;
use crate::authorizer::Authorizer;
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

/// Contexts that the authors of the bundles thought of.
pub(crate) struct Seeds(Vec<Context>);

/// What trying gave: a witness, and the directions that were seen.
#[derive(Debug, Default)]
pub(crate) struct Tried {
    pub(crate) witness: Option<Witness>,
    pub(crate) allows: bool,
    pub(crate) denies: bool,
}

/// The contexts of the bundles' test cases, the old ones first.
pub(crate) fn seeds(authorizers: [&Authorizer; 2]) -> Seeds {
    let mut out: Vec<Context> = Vec::new();
    for case in authorizers.iter().flat_map(|a| a.tests()).flat_map(|s| &s.cases) {
        if out.len() < WITNESSES_TRIED && !out.contains(&case.request.context) {
            out.push(case.request.context.clone());
        }
    }
    Seeds(out)
}

/// Asks both bundles; the first answer that differs in the direction found is the witness.
pub(crate) fn try_certain(laws: [&Law<'_>; 2], principals: &Principals, tries: &[Try], direction: Direction) -> Tried {
    let mut out = Tried::default();
    for one in tries {
        for context in &one.contexts {
            let Some(witness) = ask(laws, principals, one, context) else { continue };
            let (allows, denies) = directions(&witness);
            if allows && direction == Direction::Allow || denies && direction == Direction::Deny {
                return Tried { witness: Some(witness), allows, denies };
            }
        }
    }
    out.witness = None;
    out
}

/// Asks both bundles many times, until both directions were seen or there is nothing more to try.
pub(crate) fn try_possible(laws: [&Law<'_>; 2], principals: &Principals, tries: &[Try], seeds: &Seeds) -> Tried {
    let mut out = Tried::default();
    let of_cells = tries.iter().flat_map(|t| t.contexts.iter().map(move |c| (t, c)));
    let of_tests = seeds.0.iter().flat_map(|c| tries.iter().take(TARGETS_PER_SEED).map(move |t| (t, c)));
    for (one, context) in of_cells.take(WITNESSES_TRIED).chain(of_tests.take(WITNESSES_TRIED)) {
        let Some(witness) = ask(laws, principals, one, context) else { continue };
        let (allows, denies) = directions(&witness);
        out.allows |= allows;
        out.denies |= denies;
        if allows || denies {
            out.witness.get_or_insert(witness);
        }
        if out.allows && out.denies {
            break;
        }
    }
    out
}

fn directions(witness: &Witness) -> (bool, bool) {
    (witness.effects == [Effect::Deny, Effect::Allow], witness.effects == [Effect::Allow, Effect::Deny])
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

/// Cells of a change to which each context of a test case is put.
const TARGETS_PER_SEED: usize = 4;
