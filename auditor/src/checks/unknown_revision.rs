//! Records whose revision is none of the bundles given: whether their answers were lawful is not known.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined, many};

/// See the file's own text.
pub(super) const CHECK: Check = Check {
    id: "unknown_revision",
    title: "decisions under bundles that were not given",
    severity: Weight::Medium,
    about_evidence: true,
    find,
};

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let revisions = examined.fold.revisions.iter().filter(|(revision, _)| !examined.fold.knows(revision));
    revisions
        .map(|(revision, tally)| Draft {
            subject: revision.to_string(),
            summary: format!("{} were decided under {revision}, which was not given", many(tally.count, "record")),
            remedy: "give that bundle too (`--bundle REV:PATH` takes it from git)".to_owned(),
            evidence: tally.evidence.to_vec(),
            count: tally.count,
            ..Draft::default()
        })
        .collect()
}
