//! Holds an assessment against earlier ones: what is new, what is gone, which verdicts changed, and the line they make.
//!
//! It compares what two files say and judges nothing. INVARIANT: what makes two examinations incomparable is told, never
//! guessed away; a file that is no assessment is refused with the place of its fault.

use std::collections::{BTreeMap, BTreeSet};

use portreeve_engine::diagnostic::escape_control;
use portreeve_engine::{Digest, SpiffeId};
use serde::Deserialize;

use crate::assessment::{
    Assessment, Baseline, EdgeChange, EdgeChangeKind, FindingChanges, GoneFinding, Period, Premise, TrendPoint, Verdict, VerdictChange,
    VerdictCount, Weight,
};
use crate::examined::many;
use crate::limits::{REASON_CHARS_MAX, SERVICES_NAMED_MAX};

/// An earlier assessment, as far as a comparison needs it. Fields that a later version added are passed over.
#[derive(Clone, Debug)]
pub struct Earlier {
    pub(crate) path: String,
    pub(crate) sha256: Digest,
    said: Said,
}

/// A file that cannot serve as a baseline.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}:{line}:{column}: not an assessment: {why}")]
pub struct BaselineError {
    /// The file.
    pub path: String,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// What is wrong.
    pub why: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Said {
    tool: String,
    catalogs: Vec<String>,
    period: Option<Period>,
    inputs: Vec<SaidInput>,
    bundles: Vec<SaidBundle>,
    totals: SaidTotals,
    summary: SaidSummary,
    controls: Vec<SaidControl>,
    findings: Vec<SaidFinding>,
    #[serde(default)]
    folded: Vec<SaidFolded>,
    edges: Vec<SaidEdge>,
    #[serde(default)]
    services: Vec<SaidService>,
}

#[derive(Clone, Debug, Deserialize)]
struct SaidService {
    name: String,
    observed: bool,
}

#[derive(Clone, Debug, Deserialize)]
struct SaidInput {
    sha256: Digest,
}

#[derive(Clone, Debug, Deserialize)]
struct SaidBundle {
    revision: Digest,
}

#[derive(Clone, Debug, Deserialize)]
struct SaidTotals {
    decided: u64,
    denied: u64,
    mismatches: u64,
}

#[derive(Clone, Debug, Deserialize)]
struct SaidSummary {
    grants_unused: u64,
    grants: u64,
}

#[derive(Clone, Debug, Deserialize)]
struct SaidControl {
    catalog: String,
    id: String,
    verdict: Verdict,
}

#[derive(Clone, Debug, Deserialize)]
struct SaidFinding {
    id: String,
    check: String,
    severity: Weight,
    subject: String,
    summary: String,
}

#[derive(Clone, Debug, Deserialize)]
struct SaidFolded {
    finding: String,
    ids: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
struct SaidEdge {
    from: Option<String>,
    from_id: Option<SpiffeId>,
    #[serde(default)]
    from_name: Option<String>,
    to: String,
    operation: Option<String>,
    allowed: u64,
    denied: u64,
    declared: bool,
}

impl Earlier {
    /// Reads an `assessment.json`; `path` is what it is called in messages and in the comparison.
    ///
    /// # Errors
    /// [`BaselineError`], with the place where the file ceases to be an assessment.
    pub fn read(path: &str, bytes: &[u8]) -> Result<Self, BaselineError> {
        let said: Said = serde_json::from_slice(bytes).map_err(|e| {
            let text = e.to_string();
            let why = text.rsplit_once(" at line ").map_or(&*text, |(why, _)| why);
            let why = escape_control(&why.chars().take(REASON_CHARS_MAX).collect::<String>());
            BaselineError { path: path.to_owned(), line: e.line().max(1), column: e.column().max(1), why }
        })?;
        Ok(Self { path: path.to_owned(), sha256: Digest::of(bytes), said })
    }

    /// When its logs end; one without a record comes before all others.
    fn ends(&self) -> Option<portreeve_engine::Timestamp> {
        self.said.period.map(|p| p.to)
    }
}

/// Holds `now` against the one of `earlier` whose logs end last (of equals, the last given); `None` where there is none.
#[must_use]
pub fn compare(now: &Assessment, earlier: &[Earlier]) -> Option<Baseline> {
    let mut line: Vec<&Earlier> = earlier.iter().collect();
    line.sort_by_key(|e| e.ends());
    let before = line.last()?;
    let mut trend: Vec<TrendPoint> = line.iter().map(|e| point(e)).collect();
    trend.push(point_of(now));
    Some(Baseline {
        path: before.path.clone(),
        sha256: before.sha256,
        tool: before.said.tool.clone(),
        period: before.said.period,
        differs: premises(now, before),
        findings: findings(now, &before.said),
        verdicts: verdicts(now, &before.said),
        edges: edges(now, &before.said),
        trend,
    })
}

fn point(earlier: &Earlier) -> TrendPoint {
    let said = &earlier.said;
    TrendPoint {
        path: earlier.path.clone(),
        tool: said.tool.clone(),
        period: said.period,
        verdicts: count_verdicts(&said.controls.iter().map(|c| c.verdict).collect::<Vec<_>>()),
        findings: count_weights(&said.findings.iter().map(|f| f.severity).collect::<Vec<_>>()),
        decided: said.totals.decided,
        denied: said.totals.denied,
        mismatches: said.totals.mismatches,
        grants_unused: said.summary.grants_unused,
        grants: said.summary.grants,
    }
}

fn point_of(now: &Assessment) -> TrendPoint {
    TrendPoint {
        path: String::new(),
        tool: now.tool.clone(),
        period: now.period,
        verdicts: count_verdicts(&now.controls.iter().map(|c| c.verdict).collect::<Vec<_>>()),
        findings: count_weights(&now.findings.iter().map(|f| f.severity).collect::<Vec<_>>()),
        decided: now.totals.decided,
        denied: now.totals.denied,
        mismatches: now.totals.mismatches,
        grants_unused: now.summary.grants_unused,
        grants: now.summary.grants,
    }
}

fn count_verdicts(verdicts: &[Verdict]) -> Vec<VerdictCount> {
    let count = |verdict| verdicts.iter().filter(|v| **v == verdict).count() as u64;
    Verdict::ALL.iter().map(|verdict| VerdictCount { verdict: *verdict, count: count(*verdict) }).collect()
}

fn count_weights(weights: &[Weight]) -> [u64; 3] {
    [Weight::High, Weight::Medium, Weight::Low].map(|weight| weights.iter().filter(|w| **w == weight).count() as u64)
}

fn premises(now: &Assessment, before: &Earlier) -> Vec<Premise> {
    let mut out = Vec::new();
    let mut tell = |what: &str, before: String, now: String, meaning: &str| {
        if before != now {
            out.push(Premise { what: what.to_owned(), before, now, meaning: meaning.to_owned() });
        }
    };
    let said = &before.said;
    tell(
        "tool",
        said.tool.clone(),
        now.tool.clone(),
        "another version may know other checks or judge otherwise; a new finding may be an old fact",
    );
    tell(
        "catalogs",
        said.catalogs.join(", "),
        now.catalogs.join(", "),
        "controls of one side only are listed as such and are no change of verdict",
    );
    let revisions = |all: &mut dyn Iterator<Item = Digest>| {
        all.map(|d| d.to_string()).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(", ")
    };
    tell(
        "bundles",
        revisions(&mut said.bundles.iter().map(|b| b.revision)),
        revisions(&mut now.bundles.iter().map(|b| b.revision)),
        "the policy is another one; findings and edges may have come or gone with it",
    );
    silence(now, before, &mut out);
    overlap(now, before, &mut out);
    out
}

/// Services with records on one side alone: what those show comes and goes with them, and nothing was mended.
fn silence(now: &Assessment, before: &Earlier, out: &mut Vec<Premise>) {
    let then: BTreeSet<&str> = before.said.services.iter().filter(|s| s.observed).map(|s| &*s.name).collect();
    let here: BTreeSet<&str> = now.services.iter().filter(|s| s.observed).map(|s| &*s.name).collect();
    let alone = |of: &BTreeSet<&str>, other: &BTreeSet<&str>| {
        let names: Vec<&str> = of.difference(other).copied().collect();
        let shown = names.iter().take(SERVICES_NAMED_MAX).copied().collect::<Vec<_>>().join(", ");
        let more = names.len().saturating_sub(SERVICES_NAMED_MAX);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        let only = if names.is_empty() { String::new() } else { format!(", here alone {shown}{more}") };
        format!("{} with records{only}", many(of.len() as u64, "service"))
    };
    if then == here {
        return;
    }
    out.push(Premise {
        what: "services".to_owned(),
        before: alone(&then, &here),
        now: alone(&here, &then),
        meaning: "what was found in records that are not here now is gone because nobody looked, not because it was mended".to_owned(),
    });
}

/// Logs that both sides read, and a baseline that is not earlier, make a comparison say less than it seems to.
fn overlap(now: &Assessment, before: &Earlier, out: &mut Vec<Premise>) {
    let said = &before.said;
    let old: BTreeSet<&Digest> = said.inputs.iter().map(|i| &i.sha256).collect();
    let shared = now.inputs.iter().filter(|i| old.contains(&i.sha256)).count();
    if shared > 0 {
        out.push(Premise {
            what: "inputs".to_owned(),
            before: format!("{} logs", said.inputs.len()),
            now: format!("{} logs, {shared} of them the same", now.inputs.len()),
            meaning: "what stands in the same log was examined twice and is not a change over time".to_owned(),
        });
    }
    if let (Some(then), Some(here)) = (said.period, now.period)
        && then.to > here.from
    {
        out.push(Premise {
            what: "period".to_owned(),
            before: format!("{} to {}", then.from, then.to),
            now: format!("{} to {}", here.from, here.to),
            meaning: "the baseline does not end before these logs begin; `new` and `gone` are not an order in time".to_owned(),
        });
    }
}

fn findings(now: &Assessment, before: &Said) -> FindingChanges {
    let folds: BTreeSet<&str> = now.folded.iter().map(|f| &*f.finding).chain(before.folded.iter().map(|f| &*f.finding)).collect();
    let here: BTreeMap<&str, Option<Weight>> = now
        .findings
        .iter()
        .filter(|f| !folds.contains(&*f.id))
        .map(|f| (&*f.id, Some(f.severity)))
        .chain(now.folded.iter().flat_map(|f| f.ids.iter().map(|id| (&**id, None))))
        .collect();
    let then: BTreeMap<&str, Option<&SaidFinding>> = before
        .findings
        .iter()
        .filter(|f| !folds.contains(&*f.id))
        .map(|f| (&*f.id, Some(f)))
        .chain(before.folded.iter().flat_map(|f| f.ids.iter().map(|id| (&**id, None))))
        .collect();
    let mut out = FindingChanges::default();
    // In the order of this assessment's findings, the worst first; folded ones follow.
    let ordered = now.findings.iter().map(|f| &*f.id).chain(now.folded.iter().flat_map(|f| f.ids.iter().map(String::as_str)));
    for id in ordered.filter(|id| here.contains_key(id)) {
        match then.get(id) {
            None => out.new.push(id.to_owned()),
            Some(old) => {
                out.unchanged.push(id.to_owned());
                // The heaviest weight comes first in the order of weights.
                if let (Some(Some(weight)), Some(old)) = (here.get(id), old)
                    && *weight < old.severity
                {
                    out.heavier.push(id.to_owned());
                }
            }
        }
    }
    out.gone = then.iter().filter(|(id, _)| !here.contains_key(*id)).map(|(id, old)| gone(id, *old)).collect();
    out
}

fn gone(id: &str, old: Option<&SaidFinding>) -> GoneFinding {
    match old {
        Some(f) => GoneFinding {
            id: id.to_owned(),
            check: f.check.clone(),
            severity: Some(f.severity),
            subject: f.subject.clone(),
            summary: f.summary.clone(),
        },
        None => GoneFinding {
            id: id.to_owned(),
            check: id.rsplit_once('-').map_or(id, |(check, _)| check).to_owned(),
            severity: None,
            subject: String::new(),
            summary: "one of several that the earlier report told of by their number only".to_owned(),
        },
    }
}

fn verdicts(now: &Assessment, before: &Said) -> Vec<VerdictChange> {
    let then: BTreeMap<(&str, &str), Verdict> = before.controls.iter().map(|c| ((&*c.catalog, &*c.id), c.verdict)).collect();
    let here: BTreeSet<(&str, &str)> = now.controls.iter().map(|c| (&*c.catalog, &*c.id)).collect();
    let change = |catalog: &str, id: &str, before, now| VerdictChange { catalog: catalog.to_owned(), id: id.to_owned(), before, now };
    let changed = now.controls.iter().filter_map(|c| {
        let old = then.get(&(&*c.catalog, &*c.id)).copied();
        (old != Some(c.verdict)).then(|| change(&c.catalog, &c.id, old, Some(c.verdict)))
    });
    let left = before.controls.iter().filter(|c| !here.contains(&(&*c.catalog, &*c.id)));
    changed.chain(left.map(|c| change(&c.catalog, &c.id, Some(c.verdict), None))).collect()
}

/// Caller by service, by identity or by name; service called; operation.
type Ends = ((Option<String>, Option<SpiffeId>, Option<String>), String, Option<String>);

#[derive(Clone, Copy, Default)]
struct Counts {
    allowed: u64,
    denied: u64,
    declared: bool,
}

impl Counts {
    fn add(&mut self, allowed: u64, denied: u64, declared: bool) {
        self.allowed = self.allowed.saturating_add(allowed);
        self.denied = self.denied.saturating_add(denied);
        self.declared |= declared;
    }

    const fn is_seen(&self) -> bool {
        self.allowed + self.denied > 0
    }
}

fn edges(now: &Assessment, before: &Said) -> Vec<EdgeChange> {
    let mut both: BTreeMap<Ends, (Counts, Counts)> = BTreeMap::new();
    for e in &before.edges {
        let ends = ((e.from.clone(), e.from_id.clone(), e.from_name.clone()), e.to.clone(), e.operation.clone());
        both.entry(ends).or_default().0.add(e.allowed, e.denied, e.declared);
    }
    for e in &now.edges {
        let ends = ((e.from.clone(), e.from_id.clone(), e.from_name.clone()), e.to.clone(), e.operation.clone());
        both.entry(ends).or_default().1.add(e.allowed, e.denied, e.declared);
    }
    let mut out = Vec::new();
    for (((from, from_id, from_name), to, operation), (then, here)) in both {
        let kinds = [
            (EdgeChangeKind::FirstAllowed, here.allowed > 0 && then.allowed == 0),
            (EdgeChangeKind::FirstDenied, here.allowed == 0 && here.denied > 0 && !then.is_seen()),
            (EdgeChangeKind::NewlyGranted, here.declared && !then.declared),
            (EdgeChangeKind::NoLongerGranted, then.declared && !here.declared),
            (EdgeChangeKind::NoLongerSeen, then.is_seen() && !here.is_seen()),
        ];
        for (kind, _) in kinds.into_iter().filter(|(_, is)| *is) {
            out.push(EdgeChange {
                kind,
                from: from.clone(),
                from_id: from_id.clone(),
                from_name: from_name.clone(),
                to: to.clone(),
                operation: operation.clone(),
                allowed: here.allowed,
                denied: here.denied,
            });
        }
    }
    out.sort();
    out
}
