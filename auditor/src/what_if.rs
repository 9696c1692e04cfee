//! Collects what a proposed bundle would have done to recorded requests: how many answers change, by which policy, and which cannot
//! be known. `replay --against` and `diff --logs` are two ways to fill it.
//!
//! It asks nobody: whoever fills it knows both answers. INVARIANT: what is put in is counted once, as unchanged, as changed or as
//! unknown; only groups beyond the bound are told together.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use portreeve_engine::Authorizer;
use portreeve_engine::decision::{Effect, Reason};

use crate::assessment::Evidence;
use crate::intake::Intake;
use crate::ledger::{Tally, put};
use crate::limits::{CALLS_NAMED_MAX, MISMATCH_GROUPS_MAX};
use crate::replay_report::{Call, ChangeGroup, Changed, Groups, PolicyChange, ReachChange, Unknown, WhatIf};

/// A change of effect of one or more records.
pub(crate) struct Change<'c> {
    /// The effect that stands against the proposed one: the recorded one, or that of the old bundle.
    pub(crate) before: Effect,
    pub(crate) candidate: Effect,
    pub(crate) reason: Reason,
    /// The determining policies of the proposed bundle.
    pub(crate) proposed: &'c [String],
    /// Those of the answer that stands against it.
    pub(crate) granted: &'c [String],
    pub(crate) call: Call,
}

/// The proposed effect, its reason, its policies, and who called what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ChangeKey {
    before: Effect,
    candidate: Effect,
    reason: Reason,
    policies: Vec<String>,
    call: Call,
}

/// A policy and whether it is the proposed bundle's.
type Responsible = (bool, Option<String>);

/// What one policy brings.
#[derive(Default)]
struct Brought {
    newly_allowed: u64,
    newly_denied: u64,
    calls: BTreeSet<Call>,
    tally: Option<Tally>,
    at: Option<String>,
}

/// What was collected so far.
pub(crate) struct Effects<'a> {
    /// The proposed bundle.
    law: &'a Authorizer,
    pub(crate) unchanged: u64,
    pub(crate) newly_allowed: u64,
    pub(crate) newly_denied: u64,
    unknown: BTreeMap<String, Tally>,
    changes: BTreeMap<ChangeKey, Tally>,
    further: u64,
    by_policy: BTreeMap<Responsible, Brought>,
    calls: BTreeSet<(Effect, Call)>,
}

impl<'a> Effects<'a> {
    pub(crate) const fn of(law: &'a Authorizer) -> Self {
        Self {
            law,
            unchanged: 0,
            newly_allowed: 0,
            newly_denied: 0,
            unknown: BTreeMap::new(),
            changes: BTreeMap::new(),
            further: 0,
            by_policy: BTreeMap::new(),
            calls: BTreeSet::new(),
        }
    }

    /// Records whose answer under the proposed bundle cannot be known.
    pub(crate) fn unknown(&mut self, reason: String, tally: &Tally) {
        put(&mut self.unknown, reason, tally);
    }

    /// Records whose effect changes. `of` is the bundle of the answer that stands against the proposed one, where that was given.
    pub(crate) fn change(&mut self, change: Change<'_>, of: Option<&Authorizer>, tally: &Tally) {
        *(if change.candidate == Effect::Allow { &mut self.newly_allowed } else { &mut self.newly_denied }) += tally.count;
        self.bring(&change, of, tally);
        let Change { before, candidate, reason, proposed, granted, call } = change;
        if self.calls.len() < MISMATCH_GROUPS_MAX * CALLS_NAMED_MAX {
            self.calls.insert((candidate, call.clone()));
        }
        let policies = if proposed.is_empty() { granted.to_vec() } else { with_places(self.law, proposed) };
        let key = ChangeKey { before, candidate, reason, policies, call };
        if self.changes.len() >= MISMATCH_GROUPS_MAX && !self.changes.contains_key(&key) {
            self.further += tally.count;
            return;
        }
        put(&mut self.changes, key, tally);
    }

    /// Counts a change for the policies that bring it: those of the proposed bundle or, where it names none, those that granted.
    fn bring(&mut self, change: &Change<'_>, of: Option<&Authorizer>, tally: &Tally) {
        let is_proposed = !change.proposed.is_empty();
        let law = if is_proposed { Some(self.law) } else { of };
        let named = if is_proposed { change.proposed } else { change.granted };
        let named: Vec<Option<&String>> = if named.is_empty() { vec![None] } else { named.iter().map(Some).collect() };
        for policy in named {
            if self.by_policy.len() >= MISMATCH_GROUPS_MAX && !self.by_policy.contains_key(&(is_proposed, policy.cloned())) {
                continue;
            }
            let brought = self.by_policy.entry((is_proposed, policy.cloned())).or_default();
            *(if change.candidate == Effect::Allow { &mut brought.newly_allowed } else { &mut brought.newly_denied }) += tally.count;
            if brought.calls.len() < CALLS_NAMED_MAX {
                brought.calls.insert(change.call.clone());
            }
            if brought.at.is_none() {
                brought.at = policy.and_then(|id| place(law?, id));
            }
            match &mut brought.tally {
                Some(all) => all.absorb(tally),
                none => *none = Some(tally.clone()),
            }
        }
    }

    /// Everything, with the places of records; the changes by call beside it.
    pub(crate) fn tell(self, intake: &Intake, reach: ReachChange) -> (WhatIf, Groups<ChangeGroup>) {
        let calls = |effect: Effect| self.calls.iter().filter(|(candidate, _)| *candidate == effect).count() as u64;
        let newly_allowed = Changed { requests: self.newly_allowed, calls: calls(Effect::Allow) };
        let newly_denied = Changed { requests: self.newly_denied, calls: calls(Effect::Deny) };
        let unknown =
            |(reason, tally): (String, Tally)| Unknown { reason, count: tally.count, examples: places(intake, &tally.evidence).1 };
        let brought = |((proposed, policy), b): (Responsible, Brought)| PolicyChange {
            policy,
            at: b.at,
            proposed,
            newly_allowed: b.newly_allowed,
            newly_denied: b.newly_denied,
            calls: b.calls.into_iter().collect(),
            examples: b.tally.map(|t| places(intake, &t.evidence).1).unwrap_or_default(),
        };
        let mut by_policy: Vec<PolicyChange> = self.by_policy.into_iter().map(brought).collect();
        by_policy.sort_by_key(|p| Reverse(p.newly_allowed + p.newly_denied));
        let what_if = WhatIf {
            revision: Some(*self.law.revision()),
            newly_allowed,
            newly_denied,
            unchanged: self.unchanged,
            not_replayable: self.unknown.values().map(|t| t.count).sum(),
            reasons: self.unknown.into_iter().map(unknown).collect(),
            by_policy,
            reach,
        };
        let change = |(key, tally): (ChangeKey, Tally)| {
            let (first, examples) = places(intake, &tally.evidence);
            let ChangeKey { before, candidate, reason, policies, call } = key;
            ChangeGroup { recorded: before, candidate, reason: reason.as_str(), policies, call, count: tally.count, first, examples }
        };
        (what_if, Groups { groups: self.changes.into_iter().map(change).collect(), further: self.further })
    }
}

/// `file:line` of some evidence: the first, and the first few.
pub(crate) fn places(intake: &Intake, evidence: &[Evidence]) -> (String, Vec<String>) {
    let place = |e: &Evidence| format!("{}:{}", intake.inputs.get(e.input).map_or("", |i| &*i.path), e.line);
    let all: Vec<String> = evidence.iter().map(place).collect();
    (all.first().cloned().unwrap_or_default(), all)
}

fn place(law: &Authorizer, id: &str) -> Option<String> {
    law.policies().iter().find(|p| *p.reference.id == *id).map(|p| p.reference.at.short())
}

fn with_places(law: &Authorizer, ids: &[String]) -> Vec<String> {
    ids.iter().map(|id| place(law, id).map_or_else(|| id.clone(), |at| format!("{id} ({at})"))).collect()
}
