//! Requests that another mesh let through and that policy denies: the mesh's own policies grant more than this law does, or they are
//! not enforced there. Our own enforcers' answers are compared elsewhere; a mesh that never saw this policy cannot mismatch it.

use std::collections::{BTreeMap, BTreeSet};

use portreeve_engine::decision::Effect;

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined, caller, list, many};
use crate::foreign::Lawful;

/// See the file's own text.
pub(super) const CHECK: Check = Check {
    id: "unlawful_access",
    title: "traffic that another mesh allowed and policy denies",
    severity: Weight::High,
    about_evidence: false,
    find,
};

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let mut reasons: BTreeMap<(String, &str, Option<&str>), BTreeSet<&str>> = BTreeMap::new();
    let unlawful = examined.group(|key| {
        let is_one = key.effect == Effect::Allow && key.lawful == Lawful::Says(Effect::Deny);
        is_one.then(|| {
            let edge = (caller(key), key.to.as_str(), key.operation.as_deref());
            reasons.entry(edge.clone()).or_default().extend(key.reason.map(|r| r.as_str()));
            edge
        })
    });
    unlawful
        .into_iter()
        .map(|(edge, tally)| {
            let why = reasons.remove(&edge).unwrap_or_default();
            let (from, to, operation) = edge;
            let operation = operation.unwrap_or("undeclared paths");
            Draft {
                subject: format!("{from} → {to} {operation}"),
                summary: format!(
                    "{} from `{from}` to `{to}` (`{operation}`) passed another mesh, and policy denies {}: {}",
                    many(tally.count, "request"),
                    if tally.count == 1 { "it" } else { "them" },
                    list(why)
                ),
                remedy: "grant it here with a reason, or have the mesh deny it".to_owned(),
                evidence: tally.evidence.into_vec(),
                count: tally.count,
                ..Draft::default()
            }
        })
        .collect()
}
