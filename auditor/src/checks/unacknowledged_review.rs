//! Reviews of access that nobody of the management acknowledged, or only who made them. Whether somebody did so elsewhere a person must say, so
//! it is in doubt.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined};
use crate::governance::Subject;

/// See the file's own text.
pub(super) const CHECK: Check = Check {
    id: "unacknowledged_review",
    title: "reviews of access that nobody acknowledged",
    severity: Weight::Medium,
    about_evidence: false,
    find,
};

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let subjects = Subject::ALL.iter().map(|s| s.1).filter(|of| of.is_to_be_acknowledged());
    let reviews = subjects.filter_map(|of| examined.counted_review(of)).filter(|r| !r.is_acknowledged());
    reviews
        .map(|review| Draft {
            subject: review.of.as_str().to_owned(),
            summary: format!(
                "the review `{}` of {} is acknowledged by nobody{}",
                review.name,
                review.on,
                if review.acknowledged_by.is_empty() { "" } else { " but those who made it" }
            ),
            remedy: "have somebody of the management acknowledge it, and name them in `acknowledged_by`".to_owned(),
            at: Some(review.at.short()),
            by_policy: true,
            suspect: true,
            ..Draft::default()
        })
        .collect()
}
