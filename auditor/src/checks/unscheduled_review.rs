//! Grants without `review_by`: nobody has to look at them again.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined};

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "unscheduled_review", title: "grants without a review date", severity: Weight::Low, about_evidence: false, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let grants = examined.grants().filter(|p| p.governance.review_by.is_none());
    grants
        .map(|policy| Draft {
            subject: policy.reference.id.to_string(),
            summary: format!("`{}` has no date by which it must be reviewed", policy.reference.id),
            remedy: "add `review_by` within six months".to_owned(),
            at: Some(policy.reference.at.short()),
            ..Draft::default()
        })
        .collect()
}
