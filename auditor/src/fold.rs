//! Folds fresh records into the ledger, what each process did, and how replay compares.
//!
//! INVARIANT (row conservation): each record adds to exactly one of decided, refused, lifecycle; each decided record to exactly
//! one of allowed, denied, and to exactly one ledger key.

use std::collections::{BTreeMap, BTreeSet};

use portreeve_engine::decision::Effect;
use portreeve_engine::record::{Decided, Event, Mode};
use portreeve_engine::{Digest, Record, Timestamp};

use crate::assessment::{Evidence, Totals};
use crate::cells::{Cells, Grain};
use crate::clocks::Clocks;
use crate::ends::Ends;
use crate::foreign::{Deciding, ForeignFold, Format, Grade, Lawful, Place, Seen, Sketch, Taken};
use crate::intake::{Line, Sink};
use crate::ledger::{Ledger, Tally, put};
use crate::limits::{EVIDENCE_MAX, MISMATCH_GROUPS_MAX, RELOAD_GRACE_MS, SILENCE_MS_MAX};
use crate::outages::Outages;
use crate::pan::{Cards, NO_REQUEST, Suspicion};
use crate::replay::{Difference, Replayed, Replayer};
use crate::traces::Traces;

/// Like mismatches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MismatchKey {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) operation: Option<String>,
    pub(crate) differences: Vec<Difference>,
}

/// What one process did.
#[derive(Clone, Debug, Default)]
pub(crate) struct Process {
    /// First and last line.
    pub(crate) seen: Option<(Timestamp, Timestamp)>,
    pub(crate) decided: u64,
    pub(crate) unrecorded: u64,
    pub(crate) refusals_dropped: u64,
    /// Lines that tell of requests or refusals without a record.
    pub(crate) losses: Vec<Evidence>,
    pub(crate) revisions: Vec<Digest>,
    pub(crate) modes: BTreeSet<Mode>,
    pub(crate) dry_run: Option<Tally>,
    /// When a bundle older than it may be was in force, and what was decided under it.
    pub(crate) stale: Option<Tally>,
    pub(crate) stale_decided: u64,
    fresh_until: Option<Timestamp>,
    pub(crate) dry_run_denied: u64,
    pub(crate) silence_ms_max: i64,
    /// Lines after a silence that is too long.
    pub(crate) silences: Vec<Evidence>,
    pub(crate) silence_count: u64,
    /// Times in which the control failed, for which somebody should have been told.
    pub(crate) outages: Outages,
    /// The digest of the configuration it started with.
    pub(crate) config: Option<Digest>,
    pub(crate) ends: Ends,
    in_force: Option<Force>,
    spans: Vec<Span>,
}

/// The revisions in force at a line.
#[derive(Clone, Debug)]
struct Force {
    now: Digest,
    before: Option<(Digest, Timestamp)>,
}

/// A run of lines of one file.
#[derive(Clone, Debug)]
struct Span {
    first_seq: u64,
    first: (Timestamp, Evidence),
    last: Timestamp,
}

/// Everything folded.
pub(crate) struct Fold<'a> {
    /// Complete when the books are closed.
    pub(crate) ledger: Ledger,
    cells: Cells,
    pub(crate) totals: Totals,
    pub(crate) processes: BTreeMap<usize, Process>,
    pub(crate) mismatches: BTreeMap<MismatchKey, Tally>,
    /// Records by revision.
    pub(crate) revisions: BTreeMap<Digest, Tally>,
    /// Records that agree with their replay, by revision.
    pub(crate) agreed: BTreeMap<Digest, u64>,
    /// What looks like card data.
    pub(crate) cards: Cards,
    /// Which allowed calls were recorded under one trace.
    pub(crate) traces: Traces,
    /// What the two ends of requests say of clocks.
    pub(crate) clocks: Clocks,
    pub(crate) seen: Option<(Timestamp, Timestamp)>,
    in_force: BTreeMap<Digest, Timestamp>,
    /// Records that differ or cannot be replayed, each once.
    disagreeing: u64,
    replayer: Replayer<'a>,
    /// The records of other meshes, until they are poured into the ledger.
    pub(crate) foreign: ForeignFold<'a>,
    /// Our own decisions by input and grade.
    pub(crate) grades: BTreeMap<usize, BTreeMap<Grade, u64>>,
    /// Lines about strangers, by input.
    pub(crate) refused_lines: BTreeMap<usize, u64>,
}

impl<'a> Fold<'a> {
    pub(crate) fn new(replayer: Replayer<'a>, foreign: ForeignFold<'a>) -> Self {
        Self {
            foreign,
            grades: BTreeMap::new(),
            refused_lines: BTreeMap::new(),
            ledger: Ledger::default(),
            cells: Cells::new(Grain::Denials),
            totals: Totals::default(),
            processes: BTreeMap::new(),
            mismatches: BTreeMap::new(),
            revisions: BTreeMap::new(),
            agreed: BTreeMap::new(),
            cards: Cards::default(),
            traces: Traces::default(),
            clocks: Clocks::default(),
            seen: None,
            in_force: BTreeMap::new(),
            disagreeing: 0,
            replayer,
        }
    }

    /// Questions put to an authorizer.
    pub(crate) const fn asked(&self) -> u64 {
        self.replayer.asked + self.foreign.asked
    }

    /// Those of them that our own records asked before.
    pub(crate) const fn asked_again(&self) -> u64 {
        self.replayer.asked
    }

    /// Records that do not agree with their replay: different, or not replayable.
    pub(crate) const fn disagreeing(&self) -> u64 {
        self.disagreeing
    }

    /// Whether the bundle of this revision was given.
    pub(crate) fn knows(&self, revision: &Digest) -> bool {
        self.replayer.knows(revision)
    }

    /// When this revision was last seen in force.
    pub(crate) fn last_in_force(&self, revision: &Digest) -> Option<Timestamp> {
        self.in_force.get(revision).copied()
    }

    /// Why decisions could not be put again, with how many. To be asked when the books are closed.
    pub(crate) fn not_replayed(&self) -> BTreeMap<String, Tally> {
        let mut out = BTreeMap::new();
        for (revision, tally) in self.revisions.iter().filter(|(revision, _)| !self.knows(revision)) {
            out.insert(format!("the bundle of revision {revision} was not given"), tally.clone());
        }
        for (key, seen) in &self.ledger.decided {
            if let Lawful::NotAsked(lack) = key.lawful {
                put(&mut out, lack.as_str().to_owned(), seen);
            }
        }
        out
    }

    /// Closes the books: silences between files, the two sides of each request of another mesh.
    pub(crate) fn finish(&mut self) {
        self.cells.pour(&mut self.ledger);
        self.foreign.finish(&mut self.ledger);
        let counts = self.foreign.counts;
        self.totals.decided += counts.allowed + counts.denied;
        self.totals.allowed += counts.allowed;
        self.totals.denied += counts.denied;
        self.totals.duplicates += counts.duplicates;
        self.totals.not_replayable += counts.not_replayable;
        self.totals.undetermined += counts.undetermined;
        self.totals.unlawful += counts.unlawful;
        self.totals.overdenied += counts.overdenied;
        self.disagreeing += counts.not_replayable + counts.unlawful + counts.overdenied;
        if let Some((from, to)) = self.foreign.seen() {
            let (first, last) = self.seen.unwrap_or((from, to));
            self.seen = Some((first.min(from), last.max(to)));
        }
        for process in self.processes.values_mut() {
            process.join_spans();
        }
    }

    fn decided(&mut self, seq: u64, at: Timestamp, decided: &Decided, evidence: &Evidence, chain: usize) {
        let is_allow = decided.decision.effect == Effect::Allow;
        self.totals.decided += 1;
        self.totals.allowed += u64::from(is_allow);
        self.totals.denied += u64::from(!is_allow);
        self.cells.decided(at, decided, evidence);
        self.ledger.certificate(at, decided, evidence);
        self.cards.see(at, decided, evidence);
        *self.grades.entry(evidence.input).or_default().entry(Grade::of(decided)).or_default() += 1;
        if is_allow {
            self.traces.see(decided);
            self.clocks.see(at, decided, chain, evidence);
        }
        tally(self.revisions.entry(decided.revision), at, evidence);
        let process = self.processes.entry(chain).or_default();
        process.decided(seq, at, decided, evidence);
        let in_force = process.in_force(at);
        match self.replayer.replay(at, decided, &in_force) {
            Replayed::Agrees => *self.agreed.entry(decided.revision).or_default() += 1,
            Replayed::NotReplayable => {
                self.totals.not_replayable += 1;
                self.disagreeing += 1;
            }
            Replayed::Differs(differences) => {
                self.disagreeing += 1;
                self.totals.mismatches += 1;
                self.totals.not_replayable += u64::from(!self.replayer.knows(&decided.revision));
                self.mismatch(at, decided, differences, evidence);
            }
        }
    }

    fn mismatch(&mut self, at: Timestamp, decided: &Decided, differences: Vec<Difference>, evidence: &Evidence) {
        let mut key = MismatchKey {
            from: decided.source.service.clone().unwrap_or_else(|| decided.source.id.to_string()),
            to: decided.destination.service.clone(),
            operation: decided.request.operation.clone(),
            differences,
        };
        if self.mismatches.len() >= MISMATCH_GROUPS_MAX && !self.mismatches.contains_key(&key) {
            key = MismatchKey { from: "others".to_owned(), to: "others".to_owned(), operation: None, differences: Vec::new() };
        }
        tally(self.mismatches.entry(key), at, evidence);
    }
}

fn tally<K: Ord>(entry: std::collections::btree_map::Entry<'_, K, Tally>, at: Timestamp, evidence: &Evidence) {
    entry.and_modify(|t| t.add(at, evidence)).or_insert_with(|| Tally::one(at, evidence));
}

impl Sink for Fold<'_> {
    fn seen(&mut self, format: Format, place: &Place<'_>, seen: &Seen<'_>, deciding: Option<Deciding<'_>>) -> Taken {
        self.foreign.take(format, place, seen, deciding)
    }

    fn caller_address_counts(&self) -> bool {
        self.foreign.caller_address_counts()
    }

    fn looks_for_cards(&self) -> bool {
        true
    }

    fn card_data(&mut self, place: &Place<'_>, seen: Option<&Seen<'_>>, last: Option<Timestamp>, found: (Suspicion, &'static str)) {
        let to = seen.map_or_else(|| NO_REQUEST.to_owned(), |seen| self.foreign.called(seen));
        let at = seen.map(|seen| seen.at).or(last).unwrap_or(Timestamp::from_unix_ms(0));
        self.cards.see_line(to, found.1, found.0, at, &place.evidence());
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
        self.foreign.take_again(place, sketch, deciding)
    }

    fn take(&mut self, line: &Line, record: Record) -> bool {
        let evidence = Evidence { input: line.input, line: line.line, sha256: line.digest };
        let at = record.at;
        let (first, last) = self.seen.unwrap_or((at, at));
        self.seen = Some((first.min(at), last.max(at)));
        self.processes.entry(line.chain).or_default().line(&record, &evidence);
        if let Some(revision) = named(&record.event) {
            self.in_force.entry(*revision).and_modify(|last| *last = (*last).max(at)).or_insert(at);
        }
        match &record.event {
            Event::Decided(decided) => self.decided(record.seq, at, decided, &evidence, line.chain),
            Event::Refused(refused) => {
                self.totals.refused += 1;
                *self.refused_lines.entry(line.input).or_default() += 1;
                self.totals.refused_attempts = self.totals.refused_attempts.saturating_add(refused.count);
                self.ledger.refused(at, refused, &evidence);
            }
            event => {
                self.totals.lifecycle += 1;
                let lost = match event {
                    Event::Heartbeat(beat) => beat.unrecorded,
                    Event::Stopped(stopped) => stopped.unrecorded,
                    _ => 0,
                };
                self.totals.unrecorded = self.totals.unrecorded.saturating_add(lost);
            }
        }
        true
    }
}

impl Process {
    fn line(&mut self, record: &Record, evidence: &Evidence) {
        let at = record.at;
        let (first, last) = self.seen.unwrap_or((at, at));
        self.seen = Some((first.min(at), last.max(at)));
        self.follow_time(record, evidence);
        match &record.event {
            Event::Started(started) => {
                self.config = Some(started.config);
                self.fresh_until = started.bundle.as_ref().and_then(|issue| issue.fresh_until);
                self.force(started.revision, Some(started.mode), None);
            }
            Event::Continued(continued) => {
                self.fresh_until = continued.bundle.as_ref().and_then(|issue| issue.fresh_until);
                self.force(continued.revision, Some(continued.mode), None);
            }
            Event::Reloaded(reloaded) => {
                self.fresh_until = reloaded.bundle.as_ref().and_then(|issue| issue.fresh_until);
                self.force(reloaded.revision, None, Some(at));
            }
            Event::Ended(ended) => self.ends.end(ended.of, evidence.clone()),
            Event::Heartbeat(beat) => {
                self.force(beat.revision, Some(beat.mode), Some(at));
                self.lose(at, beat.unrecorded, beat.refusals_dropped, evidence);
                if beat.stale {
                    self.is_stale(at, evidence);
                }
            }
            Event::Stopped(stopped) => self.lose(at, stopped.unrecorded, 0, evidence),
            Event::Decided(_) | Event::Refused(_) => {}
        }
    }

    fn decided(&mut self, seq: u64, at: Timestamp, decided: &Decided, evidence: &Evidence) {
        self.decided += 1;
        if self.fresh_until.is_some_and(|until| at > until) {
            self.stale_decided += 1;
            self.is_stale(at, evidence);
        }
        self.modes.insert(decided.mode);
        let is_allow = decided.decision.effect == Effect::Allow;
        let may_pass = decided.mode == Mode::DryRun && decided.decision.reason.is_policy_denial();
        if is_allow || may_pass {
            self.ends.begin(seq, is_allow, evidence.clone());
        }
        if decided.mode == Mode::DryRun {
            self.dry_run_denied += u64::from(!is_allow);
            match &mut self.dry_run {
                Some(tally) => tally.add(at, evidence),
                None => self.dry_run = Some(Tally::one(at, evidence)),
            }
        }
    }

    fn is_stale(&mut self, at: Timestamp, evidence: &Evidence) {
        match &mut self.stale {
            Some(tally) => tally.add(at, evidence),
            None => self.stale = Some(Tally::one(at, evidence)),
        }
    }

    fn follow_time(&mut self, record: &Record, evidence: &Evidence) {
        let opens = matches!(record.event, Event::Started(_) | Event::Continued(_));
        match self.spans.last_mut().filter(|_| !opens) {
            Some(span) => {
                let silence = record.at.unix_ms() - span.last.unix_ms();
                span.last = record.at;
                self.silent(silence, record.at, evidence);
            }
            None => self.spans.push(Span { first_seq: record.seq, first: (record.at, evidence.clone()), last: record.at }),
        }
    }

    fn silent(&mut self, silence_ms: i64, until: Timestamp, evidence: &Evidence) {
        self.silence_ms_max = self.silence_ms_max.max(silence_ms);
        if silence_ms > SILENCE_MS_MAX {
            self.silence_count += 1;
            keep(&mut self.silences, evidence);
            self.outages.add("silent", until.plus_ms(-silence_ms), until, evidence);
        }
    }

    fn join_spans(&mut self) {
        let mut spans = std::mem::take(&mut self.spans);
        spans.sort_by_key(|s| s.first_seq);
        for pair in spans.windows(2) {
            if let [before, after] = pair {
                self.silent(after.first.0.unix_ms() - before.last.unix_ms(), after.first.0, &after.first.1);
            }
        }
    }

    fn lose(&mut self, at: Timestamp, unrecorded: u64, refusals_dropped: u64, evidence: &Evidence) {
        self.unrecorded = self.unrecorded.saturating_add(unrecorded);
        self.refusals_dropped = self.refusals_dropped.saturating_add(refusals_dropped);
        if unrecorded > 0 || refusals_dropped > 0 {
            keep(&mut self.losses, evidence);
            self.outages.add("without records", at, at, evidence);
        }
    }

    fn force(&mut self, revision: Digest, mode: Option<Mode>, reloaded: Option<Timestamp>) {
        self.modes.extend(mode);
        if self.revisions.last() != Some(&revision) {
            self.revisions.push(revision);
        }
        match &mut self.in_force {
            Some(force) if force.now == revision => {}
            Some(force) => {
                force.before = reloaded.map(|at| (force.now, at));
                force.now = revision;
            }
            None => self.in_force = Some(Force { now: revision, before: None }),
        }
    }

    /// The revisions a decision asked at this time may name.
    fn in_force(&self, at: Timestamp) -> Vec<Digest> {
        let Some(force) = &self.in_force else { return Vec::new() };
        let before = force.before.filter(|(_, reloaded)| at <= reloaded.plus_ms(RELOAD_GRACE_MS)).map(|(revision, _)| revision);
        std::iter::once(force.now).chain(before).collect()
    }
}

/// The revision in force that a line names.
fn named(event: &Event) -> Option<&Digest> {
    match event {
        Event::Started(started) => Some(&started.revision),
        Event::Continued(continued) => Some(&continued.revision),
        Event::Reloaded(reloaded) => Some(&reloaded.revision),
        Event::Heartbeat(beat) => Some(&beat.revision),
        Event::Decided(decided) => Some(&decided.revision),
        Event::Ended(_) | Event::Refused(_) | Event::Stopped(_) => None,
    }
}

fn keep(kept: &mut Vec<Evidence>, evidence: &Evidence) {
    if kept.len() < EVIDENCE_MAX {
        kept.push(evidence.clone());
    }
}
