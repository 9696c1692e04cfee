//! Revisions that enforcers had in force and that no commit of the policy repo has: they came past the change process. Without a history
//! nothing is known, and nothing is found.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::commits::origins;
use crate::examined::{Draft, Examined, many};

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "out_of_band_revision", title: "policies that no commit has", severity: Weight::High, about_evidence: false, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    if examined.commits.is_empty() {
        return Vec::new();
    }
    let known = origins(examined.commits);
    let mut revisions: Vec<_> = examined.fold.processes.values().flat_map(|p| &p.revisions).collect();
    revisions.sort();
    revisions.dedup();
    let unknown = revisions.into_iter().filter(|r| !known.contains_key(r));
    unknown
        .map(|revision| {
            let tally = examined.fold.revisions.get(revision);
            Draft {
                subject: revision.to_string(),
                summary: format!(
                    "revision {revision} was in force, {} decided under it, and no commit of the history given has it",
                    many(tally.map_or(0, |t| t.count), "request")
                ),
                remedy: "find out where it came from; commit it, or see that enforcers take signed bundles only".to_owned(),
                evidence: tally.map(|t| t.evidence.to_vec()).unwrap_or_default(),
                count: tally.map_or(0, |t| t.count),
                ..Draft::default()
            }
        })
        .collect()
}
