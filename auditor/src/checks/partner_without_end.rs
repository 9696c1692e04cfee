//! Grants by name or pattern to identities outside the inventory that never end.

use std::collections::BTreeMap;

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined};

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "partner_without_end", title: "access of partners without an end", severity: Weight::Medium, about_evidence: false, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let mut out = BTreeMap::new();
    for edge in examined.granted.edges.iter().filter(|e| e.from.is_none()) {
        for reference in &edge.policies {
            let policy = examined.newest.policies().iter().find(|p| p.reference.id == reference.id);
            if let Some(policy) = policy.filter(|p| p.expires.is_none()) {
                out.entry(&policy.reference.id).or_insert_with(|| Draft {
                    subject: policy.reference.id.to_string(),
                    summary: format!("`{}` lets identities outside the inventory in, and has no end", policy.reference.id),
                    remedy: "give it an end (`when: {expires: …}`)".to_owned(),
                    at: Some(policy.reference.at.short()),
                    by_policy: true,
                    ..Draft::default()
                });
            }
        }
    }
    out.into_values().collect()
}
