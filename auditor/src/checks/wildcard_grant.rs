//! Grants that name every operation of a service that touches sensitive data: what is added there later is granted unseen.

use std::collections::BTreeSet;

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined, list, many};

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "wildcard_grant", title: "wildcards into sensitive data", severity: Weight::High, about_evidence: false, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let wildcards = examined.grants().filter(|p| p.wildcard);
    wildcards
        .filter_map(|policy| {
            let edges = examined.granted.edges.iter();
            let into: BTreeSet<&str> = edges
                .filter(|e| examined.scope().is_sensitive(e.to) && e.policies.iter().any(|p| p.id == policy.reference.id))
                .map(|e| &*e.to.name)
                .collect();
            (!into.is_empty()).then(|| Draft {
                subject: policy.reference.id.to_string(),
                summary: format!(
                    "`{}` grants every operation of {} with sensitive data: {}",
                    policy.reference.id,
                    many(into.len() as u64, "service"),
                    list(into.iter().copied())
                ),
                remedy: "list the operations that are needed".to_owned(),
                at: Some(policy.reference.at.short()),
                ..Draft::default()
            })
        })
        .collect()
}
