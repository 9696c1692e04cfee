//! Requests that were allowed in the logs and that no policy of the newest bundle can allow: a changed log, a gate that errs, or
//! an older bundle. Where all of them fall under an older bundle that was given, they may have been lawful then, and the finding
//! is in doubt.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined, many, was};
use crate::graph::behaviour::shadow_edges;

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "shadow_edge", title: "traffic that nothing grants any more", severity: Weight::High, about_evidence: false, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let edges = shadow_edges(examined).into_iter();
    edges
        .map(|edge| {
            let operation = edge.operation.as_deref().unwrap_or("undeclared paths");
            Draft {
                subject: format!("{} → {} {operation}", edge.from, edge.to),
                summary: format!(
                    "{} from `{}` to `{}` (`{operation}`) {} allowed, the first at {}; the newest bundle grants {}",
                    many(edge.requests, "request"),
                    edge.from,
                    edge.to,
                    was(edge.requests),
                    edge.first,
                    if edge.requests == 1 { "no such request" } else { "none of them" }
                ),
                remedy: "find out who needs it: grant it with a reason, or see that it is denied now".to_owned(),
                evidence: edge.evidence,
                count: edge.requests,
                severity: edge.older_bundle.then_some(Weight::Medium),
                suspect: edge.older_bundle,
                ..Draft::default()
            }
        })
        .collect()
}
