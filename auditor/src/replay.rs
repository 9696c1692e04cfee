//! Puts recorded questions to the authorizer of their revision again and compares the answers.
//!
//! INVARIANT: a question is put under the revision its record names; where the chain says that another one was in force, that is
//! itself a difference. What cannot be put again is counted, never guessed.

use std::collections::BTreeMap;
use std::rc::Rc;

use portreeve_engine::decision::{Effect, Reason};
use portreeve_engine::model::Service;
use portreeve_engine::record::Decided;
use portreeve_engine::{Authorizer, Digest, Timestamp};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::limits::QUESTIONS_MAX;

/// What replaying one record gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replayed {
    /// The same answer.
    Agrees,
    /// Another answer, or a record that no enforcer writes.
    Differs(Vec<Difference>),
    /// The bundle of its revision was not given.
    NotReplayable,
}

/// One difference between a record and its replay.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Difference {
    /// `effect`, `reason`, `operation`, `policies`, `shadow`, `caller`, `revision` or `raw`.
    pub what: &'static str,
    /// What the record says.
    pub recorded: String,
    /// What replay says.
    pub replayed: String,
}

/// The answer as far as it is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) effect: Effect,
    pub(crate) reason: Reason,
    operation: Option<String>,
    pub(crate) policies: Vec<String>,
    shadow: Vec<String>,
    caller: Option<String>,
}

struct Law<'a> {
    authorizer: &'a Authorizer,
    /// Whether the answer may depend on the time: then the time is part of the question.
    timed: bool,
}

/// Replays records, asking each distinct question once.
pub struct Replayer<'a> {
    laws: BTreeMap<Digest, Law<'a>>,
    answers: BTreeMap<[u8; 32], Option<Rc<Answered>>>,
    question: Vec<u8>,
    /// Questions put to an authorizer.
    pub asked: u64,
}

impl<'a> Replayer<'a> {
    /// A replayer under some bundles.
    #[must_use]
    pub fn new(authorizers: impl IntoIterator<Item = &'a Authorizer>) -> Self {
        let law = |authorizer: &'a Authorizer| Law { authorizer, timed: authorizer.reads_time() };
        let laws = authorizers.into_iter().map(|a| (*a.revision(), law(a))).collect();
        Self { laws, answers: BTreeMap::new(), question: Vec::new(), asked: 0 }
    }

    /// Replays a record. `in_force` are the revisions that the chain allows at this line; empty where it is not known.
    pub fn replay(&mut self, at: Timestamp, decided: &Decided, in_force: &[Digest]) -> Replayed {
        let mut differences = Vec::new();
        if !in_force.is_empty() && !in_force.contains(&decided.revision) {
            let force = in_force.first().map(ToString::to_string).unwrap_or_default();
            differences.push(Difference { what: "revision", recorded: decided.revision.to_string(), replayed: force });
        }
        if !self.laws.contains_key(&decided.revision) {
            return if differences.is_empty() { Replayed::NotReplayable } else { Replayed::Differs(differences) };
        }
        if decided.decision.reason == Reason::MalformedRequest && decided.request.raw.is_some() {
            // What made it malformed is not in the recorded question (framing, for one); its raw form is kept for people.
            compare_effect(&mut differences, decided, Effect::Deny);
        } else {
            match self.answer(at, decided, decided.revision) {
                Some(answer) => compare(&mut differences, decided, &answer),
                None => compare_malformed(&mut differences, decided),
            }
        }
        if differences.is_empty() { Replayed::Agrees } else { Replayed::Differs(differences) }
    }

    /// Whether the bundle of this revision was given.
    #[must_use]
    pub fn knows(&self, revision: &Digest) -> bool {
        self.laws.contains_key(revision)
    }

    /// What the bundle of a revision answers to a recorded question; `None` where it is not well formed or the bundle was not given.
    pub(crate) fn answer(&mut self, at: Timestamp, decided: &Decided, revision: Digest) -> Option<Rc<Answered>> {
        let law = self.laws.get(&revision)?;
        // Only what is outside the mesh is known by the host named.
        let outside = law.authorizer.service(&decided.destination.service).is_some_and(Service::is_outside);
        let question = question(&mut self.question, law.timed.then_some(at), decided, revision, outside)?;
        if let Some(answer) = self.answers.get(&question) {
            return answer.clone();
        }
        self.asked += 1;
        let paths = law.authorizer.paths(&decided.destination.service);
        let answer = decided.request(at, paths).ok().map(|request| {
            let decision = law.authorizer.decide(&request);
            Rc::new(Answered {
                effect: decision.effect,
                reason: decision.reason,
                operation: decision.operation.map(str::to_owned),
                policies: decision.policies.iter().map(|p| p.id.to_string()).collect(),
                shadow: decision.shadow.iter().map(|p| p.id.to_string()).collect(),
                caller: law.authorizer.identify(&decided.source.id).map(|s| s.name.to_string()),
            })
        });
        if self.answers.len() >= QUESTIONS_MAX {
            self.answers.clear();
        }
        self.answers.insert(question, answer.clone());
        answer
    }
}

/// Everything a policy can see of a record, as one digest: equal questions have equal digests, and JSON keeps others apart.
fn question(buffer: &mut Vec<u8>, at: Option<Timestamp>, decided: &Decided, revision: Digest, outside: bool) -> Option<[u8; 32]> {
    let facts = &decided.request;
    buffer.clear();
    let question = (
        revision,
        at,
        &decided.source.id,
        decided.source.ip,
        &decided.destination.service,
        (&facts.method, &facts.path, facts.port, outside.then_some(&facts.host)),
        &decided.context,
    );
    serde_json::to_writer(&mut *buffer, &question).ok()?;
    Some(Sha256::digest(&buffer).into())
}

fn compare(out: &mut Vec<Difference>, decided: &Decided, answer: &Answered) {
    let recorded = &decided.decision;
    compare_effect(out, decided, answer.effect);
    let mut push = |what, recorded: String, replayed: String| {
        if recorded != replayed {
            out.push(Difference { what, recorded, replayed });
        }
    };
    let none = || "none".to_owned();
    push("reason", recorded.reason.to_string(), answer.reason.to_string());
    push("operation", decided.request.operation.clone().unwrap_or_else(none), answer.operation.clone().unwrap_or_else(none));
    push("policies", recorded.policies.join(", "), answer.policies.join(", "));
    push("shadow", recorded.shadow.join(", "), answer.shadow.join(", "));
    push("caller", decided.source.service.clone().unwrap_or_else(none), answer.caller.clone().unwrap_or_else(none));
}

fn compare_effect(out: &mut Vec<Difference>, decided: &Decided, effect: Effect) {
    let recorded = decided.decision.effect;
    if recorded != effect {
        out.push(Difference { what: "effect", recorded: recorded.to_string(), replayed: effect.to_string() });
    }
}

/// A record without a well-formed question must be the denial of one, and keep what was sent.
fn compare_malformed(out: &mut Vec<Difference>, decided: &Decided) {
    compare_effect(out, decided, Effect::Deny);
    let reason = decided.decision.reason;
    if reason != Reason::MalformedRequest {
        out.push(Difference { what: "reason", recorded: reason.to_string(), replayed: Reason::MalformedRequest.to_string() });
    }
    if decided.request.raw.is_none() {
        out.push(Difference { what: "raw", recorded: "none".to_owned(), replayed: "what could not become a request".to_owned() });
    }
}
