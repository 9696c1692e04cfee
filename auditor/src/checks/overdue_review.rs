//! Grants whose `review_by` lies before the last record, which stands for now.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined};

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "overdue_review", title: "grants whose review is overdue", severity: Weight::Medium, about_evidence: false, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let Some(now) = examined.now else { return Vec::new() };
    let grants = examined.grants();
    grants
        .filter_map(|policy| {
            let by = policy.governance.review_by.filter(|by| by.end() <= now)?;
            let days = now.date().days() - by.days();
            Some(Draft {
                subject: policy.reference.id.to_string(),
                summary: format!("the review of `{}` was due by {by}, {days} days before the last record", policy.reference.id),
                remedy: "review it and set a new date, or remove it".to_owned(),
                at: Some(policy.reference.at.short()),
                ..Draft::default()
            })
        })
        .collect()
}
