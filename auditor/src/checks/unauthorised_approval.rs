//! Grants that are approved, but by nobody whom the scope entitles to.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined, list};

/// See the file's own text.
pub(super) const CHECK: Check = Check {
    id: "unauthorised_approval",
    title: "grants approved by nobody entitled to",
    severity: Weight::Medium,
    about_evidence: false,
    find,
};

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let approvers = &examined.scope().approvers;
    if approvers.is_empty() {
        return Vec::new();
    }
    let grants = examined.grants().filter(|p| !p.governance.approved_by.is_empty());
    grants
        .filter(|p| !p.governance.approved_by.iter().any(|who| approvers.contains(who)))
        .map(|policy| Draft {
            subject: policy.reference.id.to_string(),
            summary: format!(
                "`{}` was approved by {}; entitled to are {}",
                policy.reference.id,
                list(policy.governance.approved_by.iter().map(String::as_str)),
                list(approvers.iter().map(String::as_str))
            ),
            remedy: "have somebody approve it who may, or name them in the scope".to_owned(),
            at: Some(policy.reference.at.short()),
            by_policy: true,
            ..Draft::default()
        })
        .collect()
}
