//! Replays whole logs, for `portreeve replay`: does each answer agree with the bundle of its revision, and what would another
//! bundle have answered?
//!
//! What was never asked is not in a log: newly allowed requests are those that were asked and denied.

use std::collections::BTreeMap;

use portreeve_engine::decision::{Effect, Reason};
use portreeve_engine::record::{Decided, Event};
use portreeve_engine::{Authorizer, Digest, Record, Timestamp};
use serde::Serialize;

use crate::assessment::Evidence;
use crate::fold::Fold;
use crate::foreign::{ForeignFold, Names};
use crate::heads::VerifiedHeads;
use crate::intake::{self, Line, ReadError, Sink};
use crate::ledger::Tally;
use crate::limits::MISMATCH_GROUPS_MAX;
use crate::replay::{Difference, Replayer};
use crate::source::LogSource;

/// How logs compare with their bundles.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReplayReport {
    /// The logs, as given; evidence names them by index.
    pub logs: Vec<String>,
    /// Questions answered.
    pub decided: u64,
    /// Answers that agree.
    pub agreed: u64,
    /// Answers that differ.
    pub mismatches: u64,
    /// Answers whose bundle was not given.
    pub not_replayable: u64,
    /// Lines read twice.
    pub duplicates: u64,
    /// Lines that are no records.
    pub rejected: u64,
    /// Distinct questions put to an authorizer.
    pub asked: u64,
    /// The differences, like ones together.
    pub differences: Vec<DifferenceGroup>,
    /// What the other bundle would have answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub against: Option<WhatIf>,
}

/// Records that differ from their replay in the same way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DifferenceGroup {
    /// The caller.
    pub from: String,
    /// The called service.
    pub to: String,
    /// The recorded operation.
    pub operation: Option<String>,
    /// What differs.
    pub differences: Vec<Difference>,
    /// How many records.
    pub count: u64,
    /// The first few.
    pub evidence: Vec<Evidence>,
}

/// What another bundle would have answered to the recorded questions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WhatIf {
    /// Its revision.
    pub revision: Digest,
    /// Denied in the log, allowed by it.
    pub newly_allowed: u64,
    /// Allowed in the log, denied by it.
    pub newly_denied: u64,
    /// The same effect.
    pub unchanged: u64,
    /// The changes, like ones together.
    pub changes: Vec<Change>,
}

/// Recorded questions to which another bundle answers otherwise, in the same way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The caller.
    pub from: String,
    /// The called service.
    pub to: String,
    /// The recorded operation.
    pub operation: Option<String>,
    /// The recorded effect.
    pub recorded: Effect,
    /// The other bundle's effect.
    pub proposed: Effect,
    /// Its reason.
    pub reason: Reason,
    /// Its determining policies.
    pub policies: Vec<String>,
    /// How many requests.
    pub count: u64,
    /// The first few.
    pub evidence: Vec<Evidence>,
}

/// Replays logs under the bundles of their revisions and, if given, against another one.
///
/// # Errors
/// A log cannot be read.
pub fn replay_logs(
    bundles: &[&Authorizer],
    logs: &[LogSource],
    against: Option<&Authorizer>,
    progress: &mut dyn FnMut(u64),
) -> Result<ReplayReport, ReadError> {
    let against =
        against.map(|a| Proposed { replayer: Replayer::new([a]), revision: *a.revision(), unchanged: 0, changes: BTreeMap::new() });
    let mut sink = Retrial { fold: Fold::new(Replayer::new(bundles.iter().copied()), ForeignFold::new([], Names::default())), against };
    let intake = intake::read(logs, &VerifiedHeads::default(), &mut sink, progress)?;
    let Retrial { fold, against } = sink;
    let asked = fold.asked();
    let totals = fold.totals;
    // A mismatch of an unknown revision is both; it is no agreement.
    let unlike = fold.disagreeing();
    Ok(ReplayReport {
        logs: intake.inputs.iter().map(|i| i.path.clone()).collect(),
        decided: totals.decided,
        agreed: totals.decided - unlike,
        mismatches: totals.mismatches,
        not_replayable: totals.not_replayable,
        duplicates: intake.inputs.iter().map(|i| i.duplicates).sum(),
        rejected: intake.inputs.iter().map(|i| i.rejected).sum(),
        asked,
        differences: fold
            .mismatches
            .into_iter()
            .map(|(key, tally)| DifferenceGroup {
                from: key.from,
                to: key.to,
                operation: key.operation,
                differences: key.differences,
                count: tally.count,
                evidence: tally.evidence,
            })
            .collect(),
        against: against.map(Proposed::report),
    })
}

struct Retrial<'a> {
    fold: Fold<'a>,
    against: Option<Proposed<'a>>,
}

impl Sink for Retrial<'_> {
    fn take(&mut self, line: &Line, record: Record) -> bool {
        if let (Event::Decided(decided), Some(proposed)) = (&record.event, &mut self.against) {
            proposed.ask(record.at, decided, &Evidence { input: line.input, line: line.line, sha256: line.digest });
        }
        self.fold.take(line, record)
    }
}

/// From, to, operation, recorded effect, proposed effect, reason, policies.
type ChangeKey = (String, String, Option<String>, Effect, Effect, Reason, Vec<String>);

struct Proposed<'a> {
    replayer: Replayer<'a>,
    revision: Digest,
    unchanged: u64,
    changes: BTreeMap<ChangeKey, Tally>,
}

impl Proposed<'_> {
    fn ask(&mut self, at: Timestamp, decided: &Decided, evidence: &Evidence) {
        let recorded = decided.decision.effect;
        let is_malformed = decided.decision.reason == Reason::MalformedRequest && decided.request.raw.is_some();
        // What is no request is denied by every bundle.
        let answer = if is_malformed { None } else { self.replayer.answer(at, decided, self.revision) };
        let (effect, reason, policies) =
            answer.map_or((Effect::Deny, Reason::MalformedRequest, Vec::new()), |a| (a.effect, a.reason, a.policies.clone()));
        if effect == recorded {
            self.unchanged += 1;
            return;
        }
        let from = decided.source.service.clone().unwrap_or_else(|| decided.source.id.to_string());
        let to = decided.destination.service.clone();
        let mut key = (from, to, decided.request.operation.clone(), recorded, effect, reason, policies);
        if self.changes.len() >= MISMATCH_GROUPS_MAX && !self.changes.contains_key(&key) {
            key = ("others".to_owned(), "others".to_owned(), None, recorded, effect, reason, Vec::new());
        }
        self.changes.entry(key).and_modify(|t| t.add(at, evidence)).or_insert_with(|| Tally::one(at, evidence));
    }

    fn report(self) -> WhatIf {
        let changed_to = |effect| self.changes.iter().filter(|(key, _)| key.4 == effect).map(|(_, t)| t.count).sum();
        WhatIf {
            revision: self.revision,
            newly_allowed: changed_to(Effect::Allow),
            newly_denied: changed_to(Effect::Deny),
            unchanged: self.unchanged,
            changes: self
                .changes
                .into_iter()
                .map(|((from, to, operation, recorded, proposed, reason, policies), tally)| Change {
                    from,
                    to,
                    operation,
                    recorded,
                    proposed,
                    reason,
                    policies,
                    count: tally.count,
                    evidence: tally.evidence,
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Log, POLICY, authorizer, id, memory};
    use portreeve_engine::record::Answer;

    #[test]
    fn egress_agrees_and_a_changed_host_does_not() {
        let outside = "---\nkind: Service\nname: cards\nhosts: [api.cards.example]\noperations: [{id: tls, port: 443}]\n---\nkind: Permission\nname: invoices-cards\nallow: {from: invoices, to: cards, operations: [tls]}\n";
        let law = authorizer(&format!("{POLICY}{outside}"));
        let mut log = Log::start("invoices", "invoices-1", *law.revision());
        let mut record = |host: &str, to: &str| {
            let mut decided = log.question("invoices", "/", None, Effect::Allow, Reason::Permitted, &["invoices-cards"]);
            decided.side = Some(portreeve_engine::record::Side::Outbound);
            (decided.tls, decided.source.ip, decided.destination.id) = (None, None, None);
            to.clone_into(&mut decided.destination.service);
            let (request, host) = (&mut decided.request, Some(host.to_owned()));
            (request.method, request.path, request.port, request.host) = (None, None, Some(443), host);
            request.operation = Some("tls".to_owned());
            if to != "cards" {
                decided.decision = Answer::from(&law.decide(&decided.request(log.at, law.paths(&decided.destination.service)).unwrap()));
                decided.request.operation = None;
            }
            log.decide(decided);
        };
        record("api.cards.example:443", "cards");
        record("evil.example:443", "evil.example");
        // The same question but for the host, which the answer to the first one must not serve.
        record("evil.example:443", "cards");
        let report = replay_logs(&[&law], &[memory("invoices", &log.out)], None, &mut |_| {}).unwrap();
        assert_eq!((report.decided, report.agreed, report.mismatches), (3, 2, 1));
    }

    #[test]
    fn a_log_agrees_with_its_bundle_and_a_proposal_changes_some_answers() {
        let law = authorizer(POLICY);
        let proposal = authorizer(&POLICY.replace("from: [invoices], to: items", "from: [users], to: items"));
        let mut log = Log::start("items", "items-1", *law.revision());
        for n in 0..6 {
            log.ask(&law, &id("invoices"), "GET", &format!("/v1/items/{}", n % 2));
        }
        for _ in 0..4 {
            log.ask(&law, &id("users"), "GET", "/v1/items/1");
        }
        log.ask(&law, &id("stranger"), "GET", "/v1/items/1");
        let logs = [memory("items", &log.out)];
        let report = replay_logs(&[&law], &logs, Some(&proposal), &mut |_| {}).unwrap();
        assert_eq!((report.decided, report.agreed, report.mismatches, report.not_replayable), (11, 11, 0, 0));
        assert_eq!(report.asked, 4);
        let what_if = report.against.unwrap();
        assert_eq!((what_if.newly_allowed, what_if.newly_denied, what_if.unchanged), (4, 6, 1));
        assert_eq!(what_if.changes.len(), 2);
        let denied = what_if.changes.iter().find(|c| c.proposed == Effect::Deny).unwrap();
        assert_eq!((denied.from.as_str(), denied.count, denied.evidence.len(), denied.reason), ("invoices", 6, 5, Reason::NoPermission));
        let unknown = replay_logs(&[&proposal], &logs, None, &mut |_| {}).unwrap();
        assert_eq!((unknown.agreed, unknown.mismatches, unknown.not_replayable), (0, 0, 11));
    }
}
