//! Replays whole logs, for `portreeve replay`: does each answer agree with the bundle of its revision, and what would another
//! bundle have answered?
//!
//! It is the fold of `audit` with a second question beside it. What was never asked is not in a log: newly allowed requests are
//! those that were asked and denied.

use std::collections::BTreeMap;

use portreeve_engine::decision::Reason;
use portreeve_engine::record::{Decided, Event, RequestFacts};
use portreeve_engine::{Authorizer, Digest, Record, Timestamp};

use crate::assessment::{Evidence, Period};
use crate::examined::{Examined, caller};
use crate::fold::Fold;
use crate::foreign::{Deciding, ForeignFold, Format, Grade, Lawful, Place, Reading, Seen, Sketch, Taken};
use crate::governance::Governance;
use crate::granted::Granted;
use crate::graph::map::Map;
use crate::graph::reach::every_reach;
use crate::heads::VerifiedHeads;
use crate::history::History;
use crate::intake::{self, Intake, Line, ReadError, Sink};
use crate::ledger::{Ledger, Tally};
use crate::proposed::{Proposal, Proposed};
use crate::replay::Replayer;
use crate::replay_report::{Call, DifferenceGroup, Groups, ReachChange, ReplayReport, RevisionReplayed, Unknown};
use crate::source::LogSource;
use crate::verify::Verification;
use crate::what_if::{Change, Effects, places};

/// What records are put to.
#[derive(Clone, Copy, Debug)]
pub struct Trial<'a> {
    /// The bundles that were in force, the newest last.
    pub bundles: &'a [&'a Authorizer],
    /// When each was, as far as that is known; what other meshes recorded is judged by it.
    pub history: &'a History,
    /// A proposed bundle.
    pub against: Option<&'a Authorizer>,
}

/// Replays logs under the bundles of their revisions and, if given, against another one.
///
/// # Errors
/// A log cannot be read.
pub fn replay_logs(
    trial: Trial<'_>,
    logs: &[LogSource],
    reading: &Reading,
    progress: &mut dyn FnMut(u64),
) -> Result<ReplayReport, ReadError> {
    let mut sink = Retrial::new(trial, reading);
    let intake = intake::read(logs, &VerifiedHeads::default(), reading, &mut sink, progress)?;
    Ok(sink.tell(trial, &intake))
}

impl<'a> Retrial<'a> {
    fn new(trial: Trial<'a>, reading: &Reading) -> Self {
        let Trial { bundles, history, against } = trial;
        let laws = bundles.iter().map(|law| (*law.revision(), *law)).collect();
        let against = against.map(|law| Against {
            proposal: Proposal::new(law),
            laws,
            effects: Effects::of(law),
            foreign: ForeignFold::new([law], reading.names.clone()),
        });
        let laws = || bundles.iter().copied();
        let foreign = ForeignFold::new(laws(), reading.names.clone()).with_history(history.clone());
        Self { fold: Fold::new(Replayer::new(laws()), foreign), against }
    }

    fn tell(mut self, trial: Trial<'_>, intake: &Intake) -> ReplayReport {
        self.fold.finish();
        let mut report = fidelity(&self.fold, intake);
        if let Some(mut against) = self.against {
            against.ask_foreign();
            let newest = trial.bundles.iter().copied().max_by_key(|law| self.fold.last_in_force(law.revision()));
            against.tell(&mut report, intake, |law| reach(law, newest, &self.fold, intake));
        }
        report
    }
}

/// How the records compare with the bundles of their revisions.
fn fidelity(fold: &Fold<'_>, intake: &Intake) -> ReplayReport {
    let totals = &fold.totals;
    let mut differences = Groups::default();
    for (key, tally) in &fold.mismatches {
        if key.differences.is_empty() {
            differences.further += tally.count;
            continue;
        }
        let operation = key.operation.clone().unwrap_or_else(|| "undeclared paths".to_owned());
        let (first, examples) = places(intake, &tally.evidence);
        let call = Call { from: key.from.clone(), to: key.to.clone(), operation };
        differences.groups.push(DifferenceGroup { call, differences: key.differences.clone(), count: tally.count, first, examples });
    }
    let mut revisions: Vec<RevisionReplayed> = fold
        .revisions
        .iter()
        .map(|(revision, tally)| RevisionReplayed {
            revision: *revision,
            given: fold.knows(revision),
            decided: tally.count,
            agrees: fold.agreed.get(revision).copied().unwrap_or(0),
            first: tally.first,
            last: tally.last,
        })
        .collect();
    revisions.sort_by_key(|r| (r.first, r.revision));
    let unknown = |(reason, tally): (String, Tally)| Unknown { reason, count: tally.count, examples: places(intake, &tally.evidence).1 };
    let sum = |of: fn(&intake::InputRead) -> u64| intake.inputs.iter().map(of).sum();
    ReplayReport {
        lines: sum(|i| i.lines),
        rejected: sum(|i| i.rejected),
        duplicates: totals.duplicates + sum(|i| i.duplicates),
        refused: totals.refused,
        lifecycle: totals.lifecycle + totals.undetermined + sum(|i| i.foreign.other.values().sum()),
        unlawful: totals.unlawful,
        overdenied: totals.overdenied,
        decided: totals.decided,
        // A mismatch of an unknown revision is both; it is no agreement.
        agrees: totals.decided - fold.disagreeing(),
        differs: totals.mismatches,
        not_replayable: totals.not_replayable,
        asked: fold.asked(),
        period: fold.seen.map(|(from, to)| Period { from, to }),
        revisions,
        not_replayed: fold.not_replayed().into_iter().map(unknown).collect(),
        differences,
        ..ReplayReport::default()
    }
}

/// What changes in reach between the newest bundle in force and the proposed one.
fn reach(proposed: &Authorizer, newest: Option<&Authorizer>, fold: &Fold<'_>, intake: &Intake) -> ReachChange {
    let (verification, history, governance) = (Verification::of(intake), History::default(), Governance::default());
    let heads = VerifiedHeads::default();
    let of = |law: &Authorizer| {
        let now = fold.seen.map(|(_, last)| last);
        let examined = Examined {
            newest: law,
            granted: Granted::of(law, &governance.scope),
            fold,
            chains: &intake.chains,
            verification: &verification,
            reads: &intake.inputs,
            floor: std::cell::Cell::new(None),
            history: &history,
            configs: &[],
            commits: &[],
            heads: &heads,
            governance: &governance,
            exceptions: Vec::new(),
            now,
        };
        every_reach(&Map::of(&examined))
    };
    let (before, after) = (newest.map(of).unwrap_or_default(), of(proposed));
    let same = |a: &crate::assessment::graphs::Reach, b: &crate::assessment::graphs::Reach| {
        (&a.kind, &a.target, &a.from) == (&b.kind, &b.target, &b.from)
    };
    ReachChange {
        before: before.len() as u64,
        after: after.len() as u64,
        gained: after.iter().filter(|a| !before.iter().any(|b| same(a, b) && b.steps <= a.steps)).cloned().collect(),
        lost: before.iter().filter(|b| !after.iter().any(|a| same(a, b))).cloned().collect(),
    }
}

struct Retrial<'a> {
    fold: Fold<'a>,
    against: Option<Against<'a>>,
}

impl Sink for Retrial<'_> {
    fn seen(&mut self, format: Format, place: &Place<'_>, seen: &Seen<'_>, deciding: Option<Deciding<'_>>) -> Taken {
        if let Some(against) = &mut self.against {
            against.foreign.take(format, place, seen, deciding);
        }
        self.fold.seen(format, place, seen, deciding)
    }

    fn caller_address_counts(&self) -> bool {
        self.fold.caller_address_counts() || self.against.as_ref().is_some_and(|against| against.foreign.caller_address_counts())
    }

    fn remembers(&self) -> bool {
        true
    }

    fn recalls(&self, whole: bool) -> bool {
        self.fold.recalls(whole) && self.against.as_ref().is_none_or(|against| against.foreign.recalls(whole))
    }

    fn fetch(&self, sketched: &mut dyn Iterator<Item = (Timestamp, u64)>) {
        self.fold.fetch(sketched);
    }

    fn seen_again(&mut self, place: &Place<'_>, sketch: &Sketch<'_>, deciding: Deciding<'_>) -> Option<(Taken, Grade)> {
        let Some(against) = &mut self.against else { return self.fold.seen_again(place, sketch, deciding) };
        // Both know the answer, or both are asked of the whole line: neither may count a line that the other has not seen.
        if !against.foreign.knows(sketch.at, deciding) {
            return None;
        }
        let taken = self.fold.seen_again(place, sketch, deciding)?;
        against.foreign.take_again(place, sketch, deciding);
        Some(taken)
    }

    fn take(&mut self, line: &Line, record: Record) -> bool {
        if let (Event::Decided(decided), Some(against)) = (&record.event, &mut self.against) {
            against.ask(record.at, decided, &Evidence { input: line.input, line: line.line, sha256: line.digest });
        }
        self.fold.take(line, record)
    }
}

struct Against<'a> {
    proposal: Proposal<'a>,
    laws: BTreeMap<Digest, &'a Authorizer>,
    effects: Effects<'a>,
    /// What other meshes recorded, under the proposed bundle alone.
    foreign: ForeignFold<'a>,
}

impl Against<'_> {
    fn ask(&mut self, at: Timestamp, decided: &Decided, evidence: &Evidence) {
        let recorded = decided.decision.effect;
        let of = self.laws.get(&decided.revision).copied();
        let (candidate, reason, proposed) = match self.proposal.ask(at, decided, of) {
            Proposed::Unknown(reason) => {
                self.effects.unknown(reason, &Tally::one(at, evidence));
                return;
            }
            Proposed::Answers { effect, .. } if effect == recorded => {
                self.effects.unchanged += 1;
                return;
            }
            Proposed::Answers { effect, reason, policies } => (effect, reason, policies),
        };
        let tally = Tally::one(at, evidence);
        let change =
            Change { before: recorded, candidate, reason, proposed: &proposed, granted: &decided.decision.policies, call: call(decided) };
        self.effects.change(change, of, &tally);
    }

    /// The records of other meshes: what the mesh did beside what the proposed bundle says.
    fn ask_foreign(&mut self) {
        let mut ledger = Ledger::default();
        self.foreign.finish(&mut ledger);
        for (key, tally) in ledger.decided {
            let (candidate, reason) = match key.lawful {
                Lawful::NotAsked(lack) => {
                    self.effects.unknown(lack.as_str().to_owned(), &tally);
                    continue;
                }
                Lawful::Says(effect) => (effect, key.reason),
                Lawful::Recorded => (key.effect, key.reason),
            };
            if candidate == key.effect {
                self.effects.unchanged += tally.count;
                continue;
            }
            let operation = key.operation.clone().unwrap_or_else(|| "undeclared paths".to_owned());
            let call = Call { from: caller(&key), to: key.to.clone(), operation };
            let reason = reason.unwrap_or(Reason::NoPermission);
            let change = Change { before: key.effect, candidate, reason, proposed: &key.policies, granted: &[], call };
            self.effects.change(change, None, &tally);
        }
    }

    fn tell(self, report: &mut ReplayReport, intake: &Intake, reach: impl FnOnce(&Authorizer) -> ReachChange) {
        let (what_if, changes) = self.effects.tell(intake, reach(self.proposal.law));
        report.changed = what_if.newly_allowed.requests + what_if.newly_denied.requests;
        (report.changes, report.against) = (changes, Some(what_if));
    }
}

/// Who called what, in the words of a record.
pub(crate) fn call(decided: &Decided) -> Call {
    let operation = |facts: &RequestFacts| match (&facts.operation, &facts.method, facts.port) {
        (Some(operation), _, _) => operation.clone(),
        (None, Some(method), _) => format!("{method} on an undeclared path"),
        (None, None, Some(port)) => format!("port {port}"),
        (None, None, None) => "nothing that could be read".to_owned(),
    };
    Call {
        from: decided.source.service.clone().unwrap_or_else(|| decided.source.id.to_string()),
        to: decided.destination.service.clone(),
        operation: operation(&decided.request),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay_report::Changed;
    use crate::testing::{Log, POLICY, authorizer, id, memory};
    use portreeve_engine::decision::Effect;
    use portreeve_engine::record::Answer;

    static NO_HISTORY: std::sync::LazyLock<History> = std::sync::LazyLock::new(History::default);

    fn trial<'a>(bundles: &'a [&'a Authorizer], against: Option<&'a Authorizer>) -> Trial<'a> {
        Trial { bundles, history: &NO_HISTORY, against }
    }

    /// Retries every line in the general way.
    struct General<'a>(Retrial<'a>);

    impl Sink for General<'_> {
        fn take(&mut self, line: &Line, record: Record) -> bool {
            self.0.take(line, record)
        }

        fn seen(&mut self, format: Format, place: &Place<'_>, seen: &Seen<'_>, _: Option<Deciding<'_>>) -> Taken {
            self.0.seen(format, place, seen, None)
        }
    }

    #[test]
    fn a_proposal_is_asked_in_the_quick_way_what_it_is_asked_in_the_general_way() {
        let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus/logs");
        let own = crate::foreign::lines_of_all_sorts(0x5eed_0014, 3_000);
        println!("seed 0x5eed0014");
        let mut again = 0;
        for (policies, log) in [
            ("envoy/policy.yaml", "envoy/access.log"),
            ("istio/policy.yaml", "istio/access.json"),
            ("istio/policy.yaml", "istio/waypoint.log"),
            ("ztunnel/policy.yaml", "ztunnel/ztunnel.log"),
            ("hubble/policy.yaml", "hubble/hipstershop.jsonl"),
            ("opa/policy.yaml", "opa/decisions.jsonl"),
            ("envoy-recorded/policies/shop.yaml", "envoy-recorded/istio.ndjson.zst"),
            ("envoy-recorded/policies/shop.yaml", "envoy-recorded/recommended.ndjson.zst"),
            ("", ""),
        ] {
            let read = |name: &str| std::fs::read(corpus.join(name)).unwrap();
            let (text, bytes) =
                if log.is_empty() { (POLICY.to_owned(), own.clone()) } else { (String::from_utf8(read(policies)).unwrap(), read(log)) };
            // The proposal takes the last grant away.
            let documents: Vec<&str> = text.split("---\n").collect();
            let last = documents.iter().rposition(|d| d.contains("kind: Permission")).unwrap();
            let rest: Vec<&str> = documents.iter().enumerate().filter(|(n, _)| *n != last).map(|(_, d)| *d).collect();
            let (law, proposal) = (authorizer(&text), authorizer(&rest.join("---\n")));
            let (bundles, logs) = ([&proposal, &law], [memory("log", &bytes)]);
            // Before the first and between the two another bundle was in force: the proposal may know an answer that they do not.
            let at = |time: &str| time.parse::<Timestamp>().unwrap();
            let spans = [(at("2020-01-01T00:00:00Z"), *proposal.revision()), (at("2026-11-22T11:00:00Z"), *law.revision())];
            let history = History::new(spans.into_iter().chain([(at("2026-11-26T14:48:20Z"), *proposal.revision())]));
            let trial = Trial { bundles: &bundles, history: &history, against: Some(&proposal) };
            let reading = Reading::default();
            let read = |sink: &mut dyn Sink| intake::read(&logs, &VerifiedHeads::default(), &reading, sink, &mut |_| {}).unwrap();
            let (mut quick, mut general) = (Retrial::new(trial, &reading), General(Retrial::new(trial, &reading)));
            let (one, other) = (read(&mut quick), read(&mut general));
            again += quick.against.as_ref().unwrap().foreign.again;
            assert!(quick.against.as_ref().unwrap().foreign.again >= quick.fold.foreign.again, "{log}");
            assert_eq!(general.0.fold.foreign.again, 0);
            // How often policy was asked is how the work was done: the quick way sets more aside.
            let told = |sink: Retrial<'_>, intake| serde_json::to_string(&ReplayReport { asked: 0, ..sink.tell(trial, intake) }).unwrap();
            assert!(told(quick, &one) == told(general.0, &other), "{log}");
        }
        assert!(again > 15_000, "{again}");
    }

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
        let report = replay_logs(trial(&[&law], None), &[memory("invoices", &log.out)], &Reading::ours(), &mut |_| {}).unwrap();
        assert_eq!((report.decided, report.agrees, report.differs), (3, 2, 1));
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
        let report = replay_logs(trial(&[&law], Some(&proposal)), &logs, &Reading::ours(), &mut |_| {}).unwrap();
        assert_eq!((report.decided, report.agrees, report.differs, report.not_replayable), (11, 11, 0, 0));
        assert_eq!(report.asked, 4);
        let what_if = report.against.unwrap();
        assert_eq!((what_if.newly_allowed, what_if.newly_denied), (Changed { requests: 4, calls: 1 }, Changed { requests: 6, calls: 1 }));
        assert_eq!((what_if.unchanged, what_if.not_replayable, report.changed), (1, 0, 10));
        assert_eq!(report.changes.groups.len(), 2);
        let denied = report.changes.groups.iter().find(|c| c.candidate == Effect::Deny).unwrap();
        assert_eq!((denied.call.from.as_str(), denied.count, denied.reason), ("invoices", 6, "no-permission"));
        assert_eq!(denied.examples, ["items:2", "items:4", "items:6", "items:8", "items:10"]);
        // Both changes are of one permission: the proposed one allows, and the one in force grants no more.
        let by_policy: Vec<_> =
            what_if.by_policy.iter().map(|p| (p.policy.as_deref().unwrap(), p.proposed, p.newly_allowed, p.newly_denied)).collect();
        assert_eq!(by_policy, [("invoices-read-items", false, 0, 6), ("invoices-read-items", true, 4, 0)]);
        assert!(what_if.by_policy.iter().all(|p| p.at.as_deref().unwrap().starts_with("policy.yaml:")));
        let reach = |r: &crate::assessment::graphs::Reach| (r.kind.clone(), r.from.clone().unwrap(), r.steps);
        assert_eq!(
            what_if.reach.gained.iter().map(reach).collect::<Vec<_>>(),
            [("data".to_owned(), "users".to_owned(), 1), ("zone".to_owned(), "users".to_owned(), 1)]
        );
        assert_eq!(what_if.reach.lost.len(), 4, "gateway and invoices, data and zone");
        let unknown = replay_logs(trial(&[&proposal], None), &logs, &Reading::ours(), &mut |_| {}).unwrap();
        assert_eq!((unknown.agrees, unknown.differs, unknown.not_replayable), (0, 0, 11));
    }
}
