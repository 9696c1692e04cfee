//! Grants without justification, owner or approval. Cedar and Rego grants cannot carry them, so they are always among these.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined, list};

/// See the file's own text.
pub(super) const CHECK: Check = Check {
    id: "missing_governance",
    title: "grants without a reason or an approver",
    severity: Weight::Medium,
    about_evidence: false,
    find,
};

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let grants = examined.grants();
    grants
        .filter_map(|policy| {
            let governance = &policy.governance;
            let facts = [
                ("justification", governance.justification.is_none()),
                ("owner", governance.owner.is_none()),
                ("approved_by", governance.approved_by.is_empty()),
            ];
            let lacks: Vec<&str> = facts.iter().filter(|(_, is_missing)| *is_missing).map(|(name, _)| *name).collect();
            (!lacks.is_empty()).then(|| Draft {
                subject: policy.reference.id.to_string(),
                summary: format!("`{}` lacks {} of 3 facts: {}", policy.reference.id, lacks.len(), list(lacks.iter().copied())),
                remedy: "add them, or remove the grant; a Cedar or Rego grant may be written as a permission".to_owned(),
                at: Some(policy.reference.at.short()),
                ..Draft::default()
            })
        })
        .collect()
}
