//! Services that may call a store of logs, or did, and that the scope does not name among its readers.

use std::collections::BTreeMap;

use portreeve_engine::model::Service;

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined};

/// See the file's own text.
pub(super) const CHECK: Check = Check {
    id: "log_store_caller",
    title: "callers of the log store that should not be",
    severity: Weight::High,
    about_evidence: false,
    find,
};

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let scope = examined.scope();
    let is_one =
        |from: Option<&Service>, to: &Service| scope.log_stores.contains(to) && from.is_none_or(|from| !scope.log_readers.contains(from));
    let mut out: BTreeMap<String, Draft> = BTreeMap::new();
    for edge in examined.granted.edges.iter().filter(|e| is_one(e.from, e.to)) {
        let from = edge.from.map_or("identities outside the inventory", |s| &*s.name);
        let subject = format!("{from} → {}", edge.to.name);
        out.entry(subject.clone()).or_insert_with(|| Draft {
            summary: format!("`{from}` may call `{}`, which keeps logs, and is none of its readers", edge.to.name),
            subject,
            remedy: "remove the grant, or name the service under `log_readers`".to_owned(),
            at: edge.policies.first().map(|p| p.at.short()),
            by_policy: true,
            ..Draft::default()
        });
    }
    out.into_values().collect()
}
