//! Grants to services that exist for tests, into production.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined};

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "test_account_granted", title: "test accounts in production", severity: Weight::High, about_evidence: false, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let scope = examined.scope();
    let edges = examined.granted.edges.iter().filter(|e| !scope.is_preproduction(e.to));
    edges
        .filter_map(|edge| {
            let from = edge.from.filter(|s| scope.test_accounts.contains(&*s.name))?;
            let operation = edge.operation.map_or("undeclared paths", |o| &*o.id);
            Some(Draft {
                subject: format!("{} → {} {operation}", from.name, edge.to.name),
                summary: format!("`{}`, a test account, may call `{}` (`{operation}`) in production", from.name, edge.to.name),
                remedy: "remove the grant and the account before the system goes live".to_owned(),
                at: edge.policies.first().map(|p| p.at.short()),
                by_policy: true,
                ..Draft::default()
            })
        })
        .collect()
}
