//! Revisions that enforcers had in force and whose commit nobody but its author agreed to, by its trailers.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::commits::origins;
use crate::examined::{Draft, Examined};

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "unapproved_change", title: "changes that nobody else approved", severity: Weight::High, about_evidence: false, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let origins = origins(examined.commits).into_iter();
    let in_force = origins.filter(|(revision, _)| examined.fold.last_in_force(revision).is_some());
    in_force
        .filter(|(_, commit)| commit.others().is_empty())
        .map(|(revision, commit)| Draft {
            subject: commit.id.clone(),
            summary: format!("commit {} by {} made revision {revision}, and nobody else agreed to it", commit.id, commit.author),
            remedy: "have it approved by somebody else, with a trailer such as `Approved-by: Name <address>`".to_owned(),
            by_policy: true,
            ..Draft::default()
        })
        .collect()
}
