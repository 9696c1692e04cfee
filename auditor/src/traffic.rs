//! How much recorded traffic a change of policy would touch, for `portreeve diff --logs`.
//!
//! Every recorded request is put to both bundles, whatever it was answered then; a record is taken as one of the old bundle. What
//! cannot be put again is counted, never guessed. Requests that nobody sent are not in a log: a change without recorded requests
//! is not a change without effect.

use portreeve_engine::diff::{Comparison, Direction};
use portreeve_engine::record::{Decided, Event};
use portreeve_engine::{Authorizer, Effect, Record, Timestamp};
use serde::Serialize;

use crate::heads::VerifiedHeads;
use crate::intake::{self, Line, ReadError, Sink};
use crate::proposed::{Proposal, Proposed};
use crate::source::LogSource;

/// What the logs hold.
#[derive(Debug, Default, Serialize)]
pub struct Traffic {
    /// Lines read.
    pub lines: u64,
    /// Lines that are no records.
    pub rejected: u64,
    /// Requests that were decided.
    pub decided: u64,
    /// Those that hold no well-formed request, or not all that the new bundle would look at.
    pub not_replayable: u64,
    /// Those to which both bundles give the same effect.
    pub unchanged: u64,
    /// Denied by the old bundle, allowed by the new one.
    pub newly_allowed: u64,
    /// Allowed by the old bundle, denied by the new one.
    pub newly_denied: u64,
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
    [before, after]: [&Authorizer; 2],
    comparison: &Comparison<'_>,
    progress: &mut dyn FnMut(u64),
) -> Result<Traffic, ReadError> {
    let found = Traffic { changes: vec![Recorded::default(); comparison.changes.len()], ..Traffic::default() };
    let mut count = Count { before, after: Proposal::new(after), comparison, found };
    let intake = intake::read(logs, &VerifiedHeads::default(), &mut count, progress)?;
    let mut found = count.found;
    found.lines = intake.inputs.iter().map(|i| i.lines).sum();
    found.rejected = intake.inputs.iter().map(|i| i.rejected).sum();
    Ok(found)
}

struct Count<'a, 'c> {
    before: &'a Authorizer,
    after: Proposal<'a>,
    comparison: &'c Comparison<'c>,
    found: Traffic,
}

impl Sink for Count<'_, '_> {
    fn take(&mut self, _: &Line, record: Record) -> bool {
        if let Event::Decided(decided) = &record.event {
            self.decided(record.at, decided);
        }
        true
    }
}

impl Count<'_, '_> {
    fn decided(&mut self, at: Timestamp, decided: &Decided) {
        let found = &mut self.found;
        found.decided += 1;
        // What was malformed on the wire is denied under any policy that reads requests in the same way; its question was not kept.
        if decided.request.raw.is_some() {
            match self.after.ask(at, decided, Some(self.before)) {
                Proposed::Answers { effect: Effect::Deny, .. } => found.unchanged += 1,
                _ => found.not_replayable += 1,
            }
            return;
        }
        let asked = || decided.request(at, self.before.paths(&decided.destination.service)).ok();
        let request = asked();
        let new = request.as_ref().map(|_| self.after.ask(at, decided, Some(self.before)));
        let (Some(request), Some(Proposed::Answers { effect: new, .. })) = (request, new) else {
            found.not_replayable += 1;
            return;
        };
        let direction = match (self.before.decide(&request).effect, new) {
            (Effect::Deny, Effect::Allow) => Some(Direction::Allow),
            (Effect::Allow, Effect::Deny) => Some(Direction::Deny),
            _ => None,
        };
        match direction {
            None => found.unchanged += 1,
            Some(Direction::Allow) => found.newly_allowed += 1,
            Some(_) => found.newly_denied += 1,
        }
        for change in self.comparison.changes_at(&request) {
            let Some(recorded) = found.changes.get_mut(change) else { continue };
            recorded.requests += 1;
            let of = self.comparison.changes.get(change).map(|c| c.direction);
            match direction {
                Some(found) if of != Some(found) && of != Some(Direction::Either) => {}
                Some(Direction::Allow) => recorded.newly_allowed += 1,
                Some(_) => recorded.newly_denied += 1,
                None => {}
            }
        }
    }
}
