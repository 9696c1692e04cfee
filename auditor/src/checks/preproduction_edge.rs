//! Grants that lead from a zone before production into another zone.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined};

/// See the file's own text.
pub(super) const CHECK: Check = Check {
    id: "preproduction_edge",
    title: "pre-production that reaches production",
    severity: Weight::High,
    about_evidence: false,
    find,
};

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let is_pre = |s| examined.scope().is_preproduction(s);
    let crossing = examined.granted.edges.iter().filter(|e| e.from.is_some_and(|from| is_pre(from) && !is_pre(e.to)));
    crossing
        .map(|edge| {
            let from = edge.from.map_or("", |s| &*s.name);
            let operation = edge.operation.map_or("undeclared paths", |o| &*o.id);
            Draft {
                subject: format!("{from} → {} {operation}", edge.to.name),
                summary: format!("`{from}`, before production, may call `{}` (`{operation}`)", edge.to.name),
                remedy: "remove the grant; give pre-production its own trust domain".to_owned(),
                at: edge.policies.first().map(|p| p.at.short()),
                ..Draft::default()
            }
        })
        .collect()
}
