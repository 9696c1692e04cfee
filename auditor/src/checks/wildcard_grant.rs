//! Grants that name every operation of a service that touches sensitive data: what is added there later is granted unseen.

use std::collections::BTreeSet;

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined, list, many};
use crate::graph::map::Map;
use crate::graph::needed::Needed;

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "wildcard_grant", title: "wildcards into sensitive data", severity: Weight::High, about_evidence: false, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let map = Map::of(examined);
    let used = Needed::of(&map).wildcards_of(&map);
    let needed = |id: &str| used.iter().find(|w| w.policy == id).map(|w| (w.edges, w.proposal.as_slice())).unwrap_or_default();
    let wildcards = examined.grants().filter(|p| p.wildcard);
    wildcards
        .filter_map(|policy| {
            let edges = examined.granted.edges.iter();
            let into: BTreeSet<&str> = edges
                .filter(|e| examined.scope().is_sensitive(e.to) && e.policies.iter().any(|p| p.id == policy.reference.id))
                .map(|e| &*e.to.name)
                .collect();
            let (edges, proposal) = needed(&policy.reference.id);
            (!into.is_empty()).then(|| Draft {
                subject: policy.reference.id.to_string(),
                summary: format!(
                    "`{}` grants every operation of {} with sensitive data: {}; {} of {} that it grants were used",
                    policy.reference.id,
                    many(into.len() as u64, "service"),
                    list(into.iter().copied()),
                    edges.have,
                    many(edges.of, "edge")
                ),
                remedy: if proposal.is_empty() {
                    "list the operations that are needed; the logs show the use of none".to_owned()
                } else {
                    format!("list the operations that are needed; by the logs: {}", list(proposal.iter().map(String::as_str)))
                },
                at: Some(policy.reference.at.short()),
                ..Draft::default()
            })
        })
        .collect()
}
