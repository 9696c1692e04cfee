//! Enforcement fidelity: how many recorded decisions agree with the policy that was in force, and which do not.
//!
//! It only tells what the fold has compared. INVARIANT: agreed + differing + unlawful + overdenied + not replayable counts each decision once, where a
//! decision that both differs and cannot be put again counts as differing.

use std::cmp::Reverse;

use portreeve_engine::Authorizer;

use crate::assessment::Totals;
use crate::assessment::fidelity::{Disagreement, Fidelity, NotReplayed, RevisionFidelity};
use crate::examined::Examined;
use crate::limits::DISAGREEMENTS_MAX;

/// The fidelity of what was examined.
pub(crate) fn fidelity(examined: &Examined<'_>, bundles: &[(String, Authorizer)], totals: &Totals) -> Fidelity {
    let fold = examined.fold;
    let mut disagreements: Vec<Disagreement> = fold
        .mismatches
        .iter()
        .map(|(key, tally)| Disagreement {
            from: key.from.clone(),
            to: key.to.clone(),
            operation: key.operation.clone(),
            differences: key.differences.clone(),
            count: tally.count,
            evidence: tally.evidence.to_vec(),
        })
        .collect();
    disagreements.sort_by_key(|d| Reverse(d.count));
    let omitted = disagreements.len().saturating_sub(DISAGREEMENTS_MAX) as u64;
    disagreements.truncate(DISAGREEMENTS_MAX);
    Fidelity {
        agreed: totals.decided - fold.disagreeing(),
        of: totals.decided,
        differing: totals.mismatches,
        unlawful: totals.unlawful,
        overdenied: totals.overdenied,
        not_replayable: fold.disagreeing().saturating_sub(totals.mismatches + totals.unlawful + totals.overdenied),
        reasons: reasons(examined),
        revisions: revisions(examined, bundles),
        disagreements,
        omitted,
        rests_on: "Each decision was put to the bundle of the revision that its record names, where that bundle was given; where the \
                   log tells which revision was in force, another one is a difference. It shows that the gate applied the policy it \
                   names to what it recorded; what passed no gate left no record. What another mesh did names no revision: it was put to the \
                   bundle in force at its time, and what differs is counted by itself."
            .to_owned(),
    }
}

fn reasons(examined: &Examined<'_>) -> Vec<NotReplayed> {
    let reasons = examined.fold.not_replayed().into_iter();
    reasons.map(|(reason, tally)| NotReplayed { reason, count: tally.count, evidence: tally.evidence.into_vec() }).collect()
}

fn revisions(examined: &Examined<'_>, bundles: &[(String, Authorizer)]) -> Vec<RevisionFidelity> {
    let mut out: Vec<_> = examined
        .fold
        .revisions
        .iter()
        .map(|(revision, tally)| RevisionFidelity {
            revision: *revision,
            path: bundles.iter().find(|(_, a)| a.revision() == revision).map(|(path, _)| path.clone()),
            since: examined.history.since(revision),
            first: tally.first,
            last: tally.last,
            decided: tally.count,
            agreed: examined.fold.agreed.get(revision).copied().unwrap_or(0),
        })
        .collect();
    out.sort_by_key(|r| (r.first, r.revision));
    out
}
