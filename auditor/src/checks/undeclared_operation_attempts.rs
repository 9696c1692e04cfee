//! Denied requests for paths that the inventory does not declare: probing, a wrong client, or a gap in the inventory.

use std::collections::BTreeMap;

use portreeve_engine::decision::{Effect, Reason};

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined, caller, list, many};
use crate::graph::behaviour::in_order;

/// See the file's own text.
pub(super) const CHECK: Check = Check {
    id: "undeclared_operation_attempts",
    title: "calls of operations that nobody declared",
    severity: Weight::Low,
    about_evidence: false,
    find,
};

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let mut paths: BTreeMap<(String, &str), Vec<&str>> = BTreeMap::new();
    let attempts = examined.group(|key| {
        let is_one = key.effect == Effect::Deny
            && key.operation.is_none()
            && key.reason.is_some_and(|r| !matches!(r, Reason::MalformedRequest | Reason::UnknownService | Reason::InvalidToken));
        is_one.then(|| {
            let edge = (caller(key), key.to.as_str());
            paths.entry(edge.clone()).or_default().extend(key.path.as_deref());
            edge
        })
    });
    attempts
        .into_iter()
        .map(|((from, to), tally)| {
            let seen = in_order(paths.remove(&(from.clone(), to)).unwrap_or_default());
            Draft {
                subject: format!("{from} → {to}"),
                summary: format!(
                    "`{from}` asked `{to}` {} for what it does not declare{}{}",
                    many(tally.count, "time"),
                    if seen.is_empty() { "" } else { ": " },
                    list(seen)
                ),
                remedy: "declare the operation if it exists; otherwise ask the caller's owner".to_owned(),
                evidence: tally.evidence.into_vec(),
                count: tally.count,
                ..Draft::default()
            }
        })
        .collect()
}
