//! Grants or requests that lead from one tenant to another, by the label `tenant` of the inventory. Services without it are shared and
//! on no side. Attempts that no grant allows and that were all denied are no crossing: the gate did its work, and `analyses.separation` counts
//! them.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined, list, many};
use crate::graph::estate::{Kind, crossings};

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "tenant_crossing", title: "edges between tenants", severity: Weight::Medium, about_evidence: false, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let crossings = crossings(examined, Kind::Tenant).into_iter();
    crossings
        .filter(|c| c.granted > 0 || c.allowed > 0)
        .map(|c| Draft {
            subject: format!("{} → {}", c.from, c.to),
            summary: format!(
                "{} lead from {} `{}` to `{}`, and {} took such a way, {} of them denied: {}",
                many(c.granted, "grant"),
                c.kind,
                c.from,
                c.to,
                many(c.allowed + c.denied, "request"),
                c.denied,
                list(c.examples.iter().map(String::as_str))
            ),
            remedy: "let tenants meet in a shared service only, or remove the grant".to_owned(),
            count: c.allowed + c.denied,
            evidence: c.evidence,
            severity: (c.allowed > 0).then_some(Weight::High),
            by_policy: c.granted > 0,
            ..Draft::default()
        })
        .collect()
}
