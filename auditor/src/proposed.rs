//! Puts recorded questions to a bundle that was not in force when they were asked, and tells what it would have answered, or why
//! that cannot be known.
//!
//! A record holds what the policies of its own revision could see, and no more. INVARIANT: where the answer of the proposed bundle
//! could hang on something that was not recorded, there is no answer but a reason; nothing is made up.

use std::collections::{BTreeMap, BTreeSet};

use portreeve_engine::decision::{Effect, Reason};
use portreeve_engine::footprint::Names;
use portreeve_engine::model::{Endpoint, Service, Visible};
use portreeve_engine::record::Decided;
use portreeve_engine::request::{Attributes, Token};
use portreeve_engine::{Authorizer, Digest, Request, Timestamp};

use crate::replay::Replayer;

/// What a proposed bundle answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Proposed {
    /// This.
    Answers {
        effect: Effect,
        reason: Reason,
        /// The determining policies.
        policies: Vec<String>,
    },
    /// It cannot be known, because (a sentence without its full stop).
    Unknown(String),
}

/// A proposed bundle.
pub(crate) struct Proposal<'a> {
    pub(crate) law: &'a Authorizer,
    replayer: Replayer<'a>,
    /// By the revision of a record and its service.
    fresh: BTreeMap<(Option<Digest>, String), Fresh>,
}

/// What the proposed bundle may look at, or read otherwise, and a record of another bundle does not tell.
#[derive(Clone, Debug, Default)]
struct Fresh {
    headers: BTreeSet<Box<str>>,
    query: BTreeSet<Box<str>>,
    claims: BTreeSet<Box<str>>,
    /// Types of attributes or the reading of paths differ: what was malformed may be well formed.
    reads_otherwise: bool,
    /// Paths lead to operations in another way.
    routes_otherwise: bool,
}

impl<'a> Proposal<'a> {
    pub(crate) fn new(law: &'a Authorizer) -> Self {
        Self { law, replayer: Replayer::new([law]), fresh: BTreeMap::new() }
    }

    /// What the bundle answers to a recorded question. `of` is the bundle under which it was recorded, where that was given.
    pub(crate) fn ask(&mut self, at: Timestamp, decided: &Decided, of: Option<&Authorizer>) -> Proposed {
        let malformed = decided.request.raw.is_some();
        let key = (of.map(|law| *law.revision()), decided.destination.service.clone());
        let law = self.law;
        let fresh = self.fresh.entry(key).or_insert_with(|| Fresh::between(of, law, &decided.destination.service)).clone();
        if malformed && decided.decision.reason == Reason::MalformedRequest {
            return if fresh.reads_otherwise { Proposed::Unknown(NOT_KEPT.to_owned()) } else { denied_as_malformed() };
        }
        if fresh.routes_otherwise && is_masked(decided) {
            return Proposed::Unknown(MASKED.to_owned());
        }
        let Some(answer) = self.replayer.answer(at, decided, *law.revision()) else { return denied_as_malformed() };
        if !fresh.is_empty()
            && let Ok(request) = decided.request(at, law.paths(&decided.destination.service))
            && let Some(lacks) = lacks(law, &request, decided, &fresh)
        {
            return Proposed::Unknown(lacks);
        }
        Proposed::Answers { effect: answer.effect, reason: answer.reason, policies: answer.policies.clone() }
    }
}

/// What is no request is denied by every bundle.
const fn denied_as_malformed() -> Proposed {
    Proposed::Answers { effect: Effect::Deny, reason: Reason::MalformedRequest, policies: Vec::new() }
}

const NOT_KEPT: &str = "what was malformed is not kept whole, and the proposed bundle reads paths or attributes otherwise";
const MASKED: &str = "a sensitive part of the path was not recorded, and the proposed bundle routes paths otherwise";

impl Fresh {
    /// `None` for the old bundle: nothing is known of what it recorded.
    fn between(old: Option<&Authorizer>, new: &Authorizer, service: &str) -> Self {
        let sees = new.visible(service).cloned().unwrap_or_default();
        let saw = old.and_then(|law| law.visible(service)).cloned().unwrap_or_default();
        let beyond = |of: fn(&Visible) -> Vec<Box<str>>| {
            let saw: BTreeSet<Box<str>> = of(&saw).into_iter().collect();
            of(&sees).into_iter().filter(|name| !saw.contains(name)).collect::<BTreeSet<_>>()
        };
        let types = |v: &Visible| (v.headers.clone(), v.query.clone(), v.claims.clone());
        Self {
            headers: beyond(|v| v.headers.keys().cloned().collect()),
            query: beyond(|v| v.query.keys().cloned().collect()),
            claims: beyond(|v| v.claims.keys().cloned().collect()),
            reads_otherwise: old.is_none_or(|law| law.paths(service) != new.paths(service)) || types(&saw) != types(&sees),
            routes_otherwise: old.is_none_or(|law| templates(law.service(service)) != templates(new.service(service))),
        }
    }

    fn is_empty(&self) -> bool {
        self.headers.is_empty() && self.query.is_empty() && self.claims.is_empty()
    }
}

/// Everything that leads paths to operations.
fn templates(service: Option<&Service>) -> BTreeSet<(Vec<String>, String, bool)> {
    let operations = service.into_iter().flat_map(|s| &s.operations);
    let http = operations.filter_map(|o| match &o.endpoint {
        Endpoint::Http { methods, path } => {
            Some((methods.iter().map(|m| m.as_str().to_owned()).collect(), path.as_str().to_owned(), path.has_sensitive()))
        }
        Endpoint::Connect { .. } => None,
    });
    http.collect()
}

/// Whether a segment of the path stands as its `{name}`. Braces cannot occur in a path that was sent.
fn is_masked(decided: &Decided) -> bool {
    decided.request.path.as_deref().is_some_and(|path| path.split('/').any(|segment| segment.starts_with('{')))
}

/// What was not recorded and could have altered the answer, in words.
fn lacks(law: &Authorizer, request: &Request, decided: &Decided, fresh: &Fresh) -> Option<String> {
    let decision = law.decide(request);
    let is_firm = |id: &str| law.policies().iter().any(|p| *p.reference.id == *id && !p.conditional);
    let firm = decision.policies.iter().any(|p| is_firm(&p.id));
    if firm && decision.reason == Reason::Prohibited {
        return None;
    }
    // Beside an unconditional grant only a prohibition could alter anything.
    let matters = |effect: Effect| effect == Effect::Deny || !(firm && decision.effect == Effect::Allow);
    let context = &decided.context;
    let claims = match &context.jwt {
        Some(Token::Valid(claims)) => Some(&claims.other),
        _ => None,
    };
    for policy in law.covering(request).into_iter().filter(|p| matters(p.effect)) {
        let reads = law.attributes_read(policy);
        let reads = reads.as_ref();
        let parts = [
            ("header", reads.map(|r| &r.headers), &fresh.headers, Some(&context.headers)),
            ("query parameter", reads.map(|r| &r.query), &fresh.query, Some(&context.query)),
            // Without a token there is no claim, whatever is made visible.
            ("claim", reads.map(|r| &r.claims), &fresh.claims, claims),
        ];
        for (what, reads, fresh, recorded) in parts {
            if let Some(name) = recorded.and_then(|recorded| unrecorded(reads, fresh, recorded)) {
                return Some(format!("{what} `{name}`, which `{}` reads, was not recorded", policy.id));
            }
        }
    }
    None
}

/// A name that is read, was not visible, and is not there. Where what is read has no bound, every name is.
fn unrecorded<'f>(reads: Option<&Names>, fresh: &'f BTreeSet<Box<str>>, recorded: &Attributes) -> Option<&'f str> {
    let is_read = |name: &str| match reads {
        Some(Names::Only(names)) => names.contains(name),
        Some(Names::All) | None => true,
    };
    fresh.iter().map(|name| &**name).find(|name| is_read(name) && !recorded.contains_key(*name))
}
