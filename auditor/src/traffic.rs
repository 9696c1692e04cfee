//! How much recorded traffic a change of policy would touch, for `portreeve diff --logs`.
//!
//! Every recorded request, of our own log or of another mesh's, is put to both bundles, whatever it was answered then; a record is taken
//! as one of the old bundle. What cannot be put again is counted with its reason, never guessed. Requests that nobody sent are not in
//! a log: a change without recorded requests is not a change without effect.

use portreeve_engine::decision::{Effect, Reason};
use portreeve_engine::diff::{Comparison, Direction};
use portreeve_engine::record::{Decided, Event};
use portreeve_engine::{Authorizer, Record, Timestamp};
use serde::Serialize;

use crate::assessment::{Evidence, Period};
use crate::foreign::two::TwoLaws;
use crate::foreign::{Deciding, Format, Grade, Lawful, Place, Reading, Seen, Sketch, Taken};
use crate::heads::VerifiedHeads;
use crate::intake::{self, Line, ReadError, Sink};
use crate::ledger::Tally;
use crate::proposed::{Proposal, Proposed};
use crate::replay::Replayer;
use crate::replay_logs::call;
use crate::replay_report::{PolicyChange, ReachChange, Unknown, WhatIf};
use crate::source::LogSource;
use crate::what_if::{Change, Effects};

/// What the logs hold.
///
/// INVARIANT: lines = decided + duplicates + other + rejected; decided = unchanged + newly allowed + newly denied + not replayable.
#[derive(Debug, Default, Serialize)]
pub struct Traffic {
    /// Lines read.
    pub lines: u64,
    /// Lines that are no records.
    pub rejected: u64,
    /// Requests: decisions of our own, and requests of other meshes whatever became of them there.
    pub decided: u64,
    /// Lines about a request that another line is about too.
    pub duplicates: u64,
    /// Lines that hold no request: strangers, processes, ends of requests, messages.
    pub other: u64,
    /// Requests of which both answers cannot be known.
    pub not_replayable: u64,
    /// Those to which both bundles give the same effect.
    pub unchanged: u64,
    /// Denied by the old bundle, allowed by the new one.
    pub newly_allowed: u64,
    /// Allowed by the old bundle, denied by the new one.
    pub newly_denied: u64,
    /// First and last request; absent where there is none.
    pub period: Option<Period>,
    /// Why answers cannot be known.
    pub reasons: Vec<Unknown>,
    /// What changes, by the policy that brings it, the most requests first.
    pub by_policy: Vec<PolicyChange>,
    /// The same for each change, in the order of the comparison.
    #[serde(skip)]
    pub changes: Vec<Recorded>,
}

/// The recorded requests that fall under one change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Recorded {
    /// Of its callers, to its operations.
    pub requests: u64,
    /// Of these, denied by the old bundle and allowed by the new one.
    pub newly_allowed: u64,
    /// Of these, allowed by the old bundle and denied by the new one.
    pub newly_denied: u64,
}

/// Puts every recorded request to both bundles.
///
/// # Errors
/// A log cannot be read.
pub fn traffic(
    logs: &[LogSource],
    reading: &Reading,
    [before, after]: [&Authorizer; 2],
    comparison: &Comparison<'_>,
    progress: &mut dyn FnMut(u64),
) -> Result<Traffic, ReadError> {
    let mut count = Count {
        before: Replayer::new([before]),
        old: before,
        after: Proposal::new(after),
        comparison,
        effects: Effects::of(after),
        foreign: TwoLaws::new([before, after], reading.names.clone()),
        decided: 0,
        other: 0,
        seen: None,
        changes: vec![Recorded::default(); comparison.changes.len()],
    };
    let intake = intake::read(logs, &VerifiedHeads::default(), reading, &mut count, progress)?;
    let again = count.pour();
    let sum = |of: fn(&intake::InputRead) -> u64| intake.inputs.iter().map(of).sum::<u64>();
    // What changes in reach is told by the comparison itself.
    let (what_if, _) = count.effects.tell(&intake, ReachChange::default());
    let WhatIf { newly_allowed, newly_denied, unchanged, not_replayable, reasons, by_policy, .. } = what_if;
    Ok(Traffic {
        lines: sum(|i| i.lines),
        rejected: sum(|i| i.rejected),
        decided: count.decided,
        duplicates: again + sum(|i| i.duplicates),
        other: count.other + sum(|i| i.foreign.other.values().sum()),
        not_replayable,
        unchanged,
        newly_allowed: newly_allowed.requests,
        newly_denied: newly_denied.requests,
        period: count.seen.map(|(from, to)| Period { from, to }),
        reasons,
        by_policy,
        changes: count.changes,
    })
}

struct Count<'a, 'c> {
    before: Replayer<'a>,
    old: &'a Authorizer,
    after: Proposal<'a>,
    comparison: &'c Comparison<'c>,
    effects: Effects<'a>,
    foreign: TwoLaws<'a>,
    decided: u64,
    other: u64,
    seen: Option<(Timestamp, Timestamp)>,
    changes: Vec<Recorded>,
}

impl Sink for Count<'_, '_> {
    fn take(&mut self, line: &Line, record: Record) -> bool {
        match &record.event {
            Event::Decided(decided) => {
                let evidence = Evidence { input: line.input, line: line.line, sha256: line.digest };
                self.see(record.at);
                self.decided += 1;
                self.decided(record.at, decided, &Tally::one(record.at, &evidence));
            }
            _ => self.other += 1,
        }
        true
    }

    fn seen(&mut self, format: Format, place: &Place<'_>, seen: &Seen<'_>, deciding: Option<Deciding<'_>>) -> Taken {
        self.see(seen.at);
        self.foreign.take(format, place, seen, deciding, |request| self.comparison.changes_at(request))
    }

    fn caller_address_counts(&self) -> bool {
        self.foreign.caller_address_counts()
    }

    fn remembers(&self) -> bool {
        true
    }

    fn recalls(&self, whole: bool) -> bool {
        self.foreign.recalls(whole)
    }

    fn fetch(&self, sketched: &mut dyn Iterator<Item = (Timestamp, u64)>) {
        self.foreign.fetch(sketched);
    }

    fn seen_again(&mut self, place: &Place<'_>, sketch: &Sketch<'_>, deciding: Deciding<'_>) -> Option<(Taken, Grade)> {
        let taken = self.foreign.take_again(place, sketch, deciding)?;
        self.see(sketch.at);
        Some(taken)
    }
}

impl Count<'_, '_> {
    fn see(&mut self, at: Timestamp) {
        let (first, last) = self.seen.unwrap_or((at, at));
        self.seen = Some((first.min(at), last.max(at)));
    }

    fn decided(&mut self, at: Timestamp, decided: &Decided, tally: &Tally) {
        // What was malformed on the wire is denied under any policy that reads requests in the same way; its question was not kept.
        let is_malformed = decided.request.raw.is_some();
        let request = decided.request(at, self.old.paths(&decided.destination.service)).ok().filter(|_| !is_malformed);
        if request.is_none() && !is_malformed {
            self.effects.unknown(NO_REQUEST.to_owned(), tally);
            return;
        }
        let (candidate, reason, proposed) = match self.after.ask(at, decided, Some(self.old)) {
            Proposed::Unknown(reason) => {
                self.effects.unknown(reason, tally);
                return;
            }
            Proposed::Answers { effect, reason, policies } => (effect, reason, policies),
        };
        let Some(request) = request else {
            match candidate {
                Effect::Deny => self.effects.unchanged += tally.count,
                Effect::Allow => self.effects.unknown(NO_REQUEST.to_owned(), tally),
            }
            return;
        };
        let Some(answer) = self.before.answer(at, decided, *self.old.revision()) else {
            self.effects.unknown(NO_REQUEST.to_owned(), tally);
            return;
        };
        let change =
            Change { before: answer.effect, candidate, reason, proposed: &proposed, granted: &answer.policies, call: call(decided) };
        let marks = self.comparison.changes_at(&request);
        self.compare(change, &marks, tally);
    }

    /// The requests of other meshes; gives how many lines said again what another says.
    fn pour(&mut self) -> u64 {
        let nothing = TwoLaws::new([self.old, self.after.law], crate::foreign::Names::default());
        let (groups, again) = std::mem::replace(&mut self.foreign, nothing).finish();
        for (group, tally) in groups {
            self.decided += tally.count;
            let (before, candidate) = match (group.before.lawful, group.after.lawful) {
                (Lawful::Says(before), Lawful::Says(after)) => (before, after),
                (_, Lawful::NotAsked(lack)) | (Lawful::NotAsked(lack), _) => {
                    self.effects.unknown(lack.as_str().to_owned(), &tally);
                    continue;
                }
                (Lawful::Recorded, _) | (_, Lawful::Recorded) => continue,
            };
            let reason = group.after.reason.unwrap_or(Reason::NoPermission);
            let (proposed, granted) = (&group.after.policies, &group.before.policies);
            self.compare(Change { before, candidate, reason, proposed, granted, call: group.call }, &group.marks, &tally);
        }
        again
    }

    fn compare(&mut self, change: Change<'_>, marks: &[usize], tally: &Tally) {
        let direction = match (change.before, change.candidate) {
            (Effect::Deny, Effect::Allow) => Some(Direction::Allow),
            (Effect::Allow, Effect::Deny) => Some(Direction::Deny),
            _ => None,
        };
        match direction {
            None => self.effects.unchanged += tally.count,
            Some(_) => self.effects.change(change, Some(self.old), tally),
        }
        for mark in marks {
            let Some(recorded) = self.changes.get_mut(*mark) else { continue };
            recorded.requests += tally.count;
            let of = self.comparison.changes.get(*mark).map(|c| c.direction);
            match direction {
                Some(found) if of != Some(found) && of != Some(Direction::Either) => {}
                Some(Direction::Allow) => recorded.newly_allowed += tally.count,
                Some(_) => recorded.newly_denied += tally.count,
                None => {}
            }
        }
    }
}

const NO_REQUEST: &str = "the record holds no request that can be put again";
