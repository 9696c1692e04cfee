//! `portreeve replay`: was every recorded answer lawful, and what would another bundle have answered?
//!
//! Each record is put again to the bundle of its own revision. With `--against` it is put to the candidate as well, and every
//! change of effect is told with its count. What cannot be put again is counted, never guessed.

use std::collections::BTreeMap;

use portreeve_auditor::LogSource;
use portreeve_auditor::reader::{LineReader, parse_line};
use portreeve_auditor::replay::{Difference, Replayed, Replayer};
use portreeve_engine::record::{Decided, Event};
use portreeve_engine::{Authorizer, Effect, Timestamp};
use serde::Serialize;

use crate::args::{DocumentFormat, ReplayArgs};
use crate::bundle;
use crate::limits::{GROUPS_MAX, PROGRESS_LINES};
use crate::logs::{self, Progress};
use crate::outcome::{Failure, Outcome, Verdict};
use crate::output::{self, Out};

/// Replays the logs and prints what differs.
pub(crate) fn run(args: &ReplayArgs) -> Outcome {
    let bundles = args.bundle.iter().map(|name| bundle::authorizer(name)).collect::<Result<Vec<_>, _>>()?;
    let candidate = args.against.as_deref().map(bundle::authorizer).transpose()?;
    let logs = logs::sources(&args.logs)?;
    let progress = Progress::over(&logs);
    let mut replay = Replay { replayer: Replayer::new(&bundles), candidate: candidate.as_ref(), report: Report::default() };
    let mut before = 0;
    for log in &logs {
        before = replay.read(log, before, &progress)?;
    }
    drop(progress);
    let report = replay.report;
    match args.format {
        DocumentFormat::Human => output::tell(&report.human()),
        DocumentFormat::Json => {
            let mut out = Out::new();
            out.json_document(&report)?;
            out.flush()?;
        }
    }
    Ok(Verdict::of(report.is_clean()))
}

struct Replay<'a> {
    replayer: Replayer<'a>,
    candidate: Option<&'a Authorizer>,
    report: Report,
}

/// What replaying gave; also the `--format json` document.
#[derive(Debug, Default, Serialize)]
struct Report {
    lines: u64,
    rejected: u64,
    decided: u64,
    agrees: u64,
    differs: u64,
    not_replayable: u64,
    /// Records that the bundle of their revision answers in another way.
    differences: Groups<Differs>,
    /// Records that the candidate answers with another effect.
    changed: u64,
    changes: Groups<Changes>,
}

/// Equal things counted once, with the first place where each was seen.
#[derive(Debug, Serialize)]
struct Groups<K: Ord + Serialize> {
    #[serde(serialize_with = "as_list")]
    groups: BTreeMap<K, Seen>,
    /// Records beyond the number of groups kept.
    further: u64,
}

#[derive(Clone, Debug, Serialize)]
struct Seen {
    count: u64,
    first: String,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Differs {
    call: Call,
    differences: Vec<Difference>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Changes {
    recorded: Effect,
    candidate: Effect,
    reason: &'static str,
    /// The deciding policies of the candidate, with their places; the recorded ones where the candidate names none.
    policies: Vec<String>,
    call: Call,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Call {
    from: String,
    to: String,
    operation: String,
}

impl Replay<'_> {
    /// Reads one log; returns the stored bytes read so far.
    fn read(&mut self, log: &LogSource, before: u64, progress: &Progress) -> Result<u64, Failure> {
        let unreadable = |e: std::io::Error| Failure::new(format_args!("cannot read `{}`: {e}", log.name()));
        let mut lines = LineReader::new(log.open().map_err(unreadable)?);
        let mut parsed = next(&mut lines).map_err(unreadable)?;
        while let Some(line) = parsed {
            self.report.lines += 1;
            match line {
                Ok(record) => {
                    if let Event::Decided(decided) = record.event {
                        self.decided(record.at, &decided, &format!("{}:{}", log.name(), lines.line()));
                    }
                }
                Err(_) => self.report.rejected += 1,
            }
            if lines.line().is_multiple_of(PROGRESS_LINES) {
                progress.at(before + lines.inner().bytes_read());
            }
            parsed = next(&mut lines).map_err(unreadable)?;
        }
        Ok(before + lines.inner().bytes_read())
    }

    fn decided(&mut self, at: Timestamp, decided: &Decided, place: &str) {
        let report = &mut self.report;
        report.decided += 1;
        match self.replayer.replay(at, decided, &[]) {
            Replayed::Agrees => report.agrees += 1,
            Replayed::NotReplayable => report.not_replayable += 1,
            Replayed::Differs(differences) => {
                report.differs += 1;
                report.differences.add(Differs { call: Call::of(decided), differences }, place);
            }
        }
        if let Some(change) = self.candidate.and_then(|candidate| change(candidate, at, decided)) {
            report.changed += 1;
            report.changes.add(change, place);
        }
    }
}

type Parsed = Option<Result<portreeve_engine::Record, String>>;

fn next<R: std::io::Read>(lines: &mut LineReader<R>) -> std::io::Result<Parsed> {
    Ok(lines.next_line()?.map(parse_line))
}

/// What the candidate changes about one record. What was malformed stays so under any policy.
fn change(candidate: &Authorizer, at: Timestamp, decided: &Decided) -> Option<Changes> {
    if decided.request.raw.is_some() {
        return None;
    }
    // A path that the candidate reads otherwise is judged as it reads it; one that it refuses is denied.
    let request = decided.request(at, candidate.paths(&decided.destination.service));
    let decision = match &request {
        Ok(request) => candidate.decide(request),
        Err(malformed) => candidate.decide_malformed(malformed),
    };
    if decision.effect == decided.decision.effect {
        return None;
    }
    let mut policies: Vec<String> = decision.policies.iter().map(|p| format!("{} ({})", p.id, p.at.short())).collect();
    if policies.is_empty() {
        policies.clone_from(&decided.decision.policies);
    }
    let (recorded, reason) = (decided.decision.effect, decision.reason.as_str());
    Some(Changes { recorded, candidate: decision.effect, reason, policies, call: Call::of(decided) })
}

impl Call {
    fn of(decided: &Decided) -> Self {
        let facts = &decided.request;
        let undeclared = || match (&facts.method, facts.port) {
            (Some(method), _) => format!("{method} on an undeclared path"),
            (None, Some(port)) => format!("port {port}"),
            (None, None) => "nothing that could be read".to_owned(),
        };
        Self {
            from: decided.source.service.clone().unwrap_or_else(|| decided.source.id.to_string()),
            to: decided.destination.service.clone(),
            operation: facts.operation.clone().unwrap_or_else(undeclared),
        }
    }
}

impl<K: Ord + Serialize> Default for Groups<K> {
    fn default() -> Self {
        Self { groups: BTreeMap::new(), further: 0 }
    }
}

impl<K: Ord + Serialize> Groups<K> {
    fn add(&mut self, key: K, place: &str) {
        if let Some(seen) = self.groups.get_mut(&key) {
            seen.count += 1;
        } else if self.groups.len() < GROUPS_MAX {
            self.groups.insert(key, Seen { count: 1, first: place.to_owned() });
        } else {
            self.further += 1;
        }
    }
}

fn as_list<K: Serialize, S: serde::Serializer>(groups: &BTreeMap<K, Seen>, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Entry<'a, K> {
        #[serde(flatten)]
        key: &'a K,
        #[serde(flatten)]
        seen: &'a Seen,
    }
    serializer.collect_seq(groups.iter().map(|(key, seen)| Entry { key, seen }))
}

impl Report {
    /// Every answer is known and the same.
    fn is_clean(&self) -> bool {
        self.differs == 0 && self.not_replayable == 0 && self.rejected == 0 && self.changed == 0
    }

    fn human(&self) -> String {
        let mut out = String::new();
        for (key, seen) in &self.differences.groups {
            out.push_str(&format!(
                "FAIL {} × {} → {} {} (first {})\n",
                seen.count, key.call.from, key.call.to, key.call.operation, seen.first
            ));
            for difference in &key.differences {
                out.push_str(&format!("  {}: recorded `{}`, replayed `{}`\n", difference.what, difference.recorded, difference.replayed));
            }
        }
        for (key, seen) in &self.changes.groups {
            let Call { from, to, operation } = &key.call;
            out.push_str(&format!(
                "{} → {}: {} × {from} → {to} {operation} (first {})\n",
                key.recorded, key.candidate, seen.count, seen.first
            ));
            out.push_str(&format!(
                "  {}: {}\n",
                key.reason,
                if key.policies.is_empty() { "no policy".to_owned() } else { key.policies.join(", ") }
            ));
        }
        for (further, what) in [(self.differences.further, "differences"), (self.changes.further, "changes")] {
            if further > 0 {
                out.push_str(&format!("and {further} records with further {what}\n"));
            }
        }
        out.push_str(&format!(
            "{}: {} decided, {} agree, {} differ, {} not replayable; {} lines, {} rejected; {} would change\n",
            if self.is_clean() { "ok" } else { "FAIL" },
            self.decided,
            self.agrees,
            self.differs,
            self.not_replayable,
            self.lines,
            self.rejected,
            self.changed,
        ));
        out
    }
}
