//! How much recorded traffic a change of policy would touch.
//!
//! Every recorded request is put to both bundles, whatever it was answered then. What cannot be put again is counted, never
//! guessed. Requests that nobody sent are not in a log: a change without recorded requests is not a change without effect.

use portreeve_auditor::LogSource;
use portreeve_auditor::reader::{LineReader, parse_line};
use portreeve_engine::diff::{Comparison, Direction};
use portreeve_engine::record::{Decided, Event};
use portreeve_engine::{Authorizer, Effect, Timestamp};
use serde::Serialize;

use crate::limits::PROGRESS_LINES;
use crate::logs::Progress;
use crate::outcome::Failure;

/// What the logs hold; also the `logs` of the document.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Traffic {
    pub(crate) lines: u64,
    /// Lines that are no records.
    pub(crate) rejected: u64,
    /// Requests that were decided.
    pub(crate) decided: u64,
    /// Those that hold no well-formed request.
    pub(crate) not_replayable: u64,
    /// Those to which both bundles give the same effect.
    pub(crate) unchanged: u64,
    /// Denied by the old bundle, allowed by the new one.
    pub(crate) newly_allowed: u64,
    /// Allowed by the old bundle, denied by the new one.
    pub(crate) newly_denied: u64,
    /// The same for each change.
    #[serde(skip)]
    pub(crate) changes: Vec<Recorded>,
}

/// The recorded requests that fall under one change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Recorded {
    /// Of its callers, to its operations.
    pub(crate) requests: u64,
    /// Of these, denied by the old bundle and allowed by the new one.
    pub(crate) newly_allowed: u64,
    /// Of these, allowed by the old bundle and denied by the new one.
    pub(crate) newly_denied: u64,
}

/// Puts every recorded request to both bundles.
///
/// # Errors
/// A log cannot be read.
pub(crate) fn count(logs: &[LogSource], laws: [&Authorizer; 2], comparison: &Comparison<'_>) -> Result<Traffic, Failure> {
    let mut out = Traffic { changes: vec![Recorded::default(); comparison.changes.len()], ..Traffic::default() };
    let progress = Progress::over(logs);
    let mut before = 0;
    for log in logs {
        let unreadable = |e: std::io::Error| Failure::new(format_args!("cannot read `{}`: {e}", log.name()));
        let mut lines = LineReader::new(log.open().map_err(unreadable)?);
        while let Some(line) = lines.next_line().map_err(unreadable)?.map(parse_line) {
            out.lines += 1;
            match line {
                Ok(record) => {
                    if let Event::Decided(decided) = &record.event {
                        out.decided(record.at, decided, laws, comparison);
                    }
                }
                Err(_) => out.rejected += 1,
            }
            if lines.line().is_multiple_of(PROGRESS_LINES) {
                progress.at(before + lines.inner().bytes_read());
            }
        }
        before += lines.inner().bytes_read();
    }
    Ok(out)
}

impl Traffic {
    fn decided(&mut self, at: Timestamp, decided: &Decided, laws: [&Authorizer; 2], comparison: &Comparison<'_>) {
        self.decided += 1;
        // What was malformed on the wire is denied under any policy, and its question was not kept.
        let asked = |law: &Authorizer| decided.request(at, law.paths(&decided.destination.service));
        let [before, after] = laws;
        let request = if decided.request.raw.is_some() { None } else { asked(before).ok() };
        let Some(request) = request else {
            self.not_replayable += 1;
            return;
        };
        let old = before.decide(&request).effect;
        // A path that the new bundle refuses is denied by it.
        let new = asked(after).map_or(Effect::Deny, |request| after.decide(&request).effect);
        let direction = match (old, new) {
            (Effect::Deny, Effect::Allow) => Some(Direction::Allow),
            (Effect::Allow, Effect::Deny) => Some(Direction::Deny),
            _ => None,
        };
        match direction {
            None => self.unchanged += 1,
            Some(Direction::Allow) => self.newly_allowed += 1,
            Some(_) => self.newly_denied += 1,
        }
        for change in comparison.changes_at(&request) {
            let Some(recorded) = self.changes.get_mut(change) else { continue };
            recorded.requests += 1;
            let of = comparison.changes.get(change).map(|c| c.direction);
            match direction {
                Some(found) if of != Some(found) && of != Some(Direction::Either) => {}
                Some(Direction::Allow) => recorded.newly_allowed += 1,
                Some(_) => recorded.newly_denied += 1,
                None => {}
            }
        }
    }
}
