//! Requests that another mesh denied and that policy grants: the two laws differ, and what is granted here does not work there.

use portreeve_engine::decision::Effect;

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined, caller, many, was};
use crate::foreign::Lawful;

/// See the file's own text.
pub(super) const CHECK: Check = Check {
    id: "denied_although_granted",
    title: "traffic that another mesh denied and policy grants",
    severity: Weight::Low,
    about_evidence: false,
    find,
};

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let denied = examined.group(|key| {
        let is_one = key.effect == Effect::Deny && key.lawful == Lawful::Says(Effect::Allow);
        is_one.then(|| (caller(key), key.to.as_str(), key.operation.as_deref().unwrap_or("undeclared paths")))
    });
    denied
        .into_iter()
        .map(|((from, to, operation), tally)| Draft {
            subject: format!("{from} → {to} {operation}"),
            summary: format!(
                "{} from `{from}` to `{to}` (`{operation}`) {} denied by another mesh, and policy grants {}",
                many(tally.count, "request"),
                was(tally.count),
                if tally.count == 1 { "it" } else { "them" }
            ),
            remedy: "bring the mesh's policies and this bundle together".to_owned(),
            evidence: tally.evidence.into_vec(),
            count: tally.count,
            ..Draft::default()
        })
        .collect()
}
