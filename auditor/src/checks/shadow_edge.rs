//! Requests that were allowed in the logs and that no policy of the newest bundle can allow: an older bundle, a changed log, or a
//! gate that errs.

use portreeve_engine::decision::Effect;

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined, caller, many};

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "shadow_edge", title: "traffic that nothing grants any more", severity: Weight::High, about_evidence: false, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let allowed = examined.group(|key| {
        let from = key.from.as_deref();
        let is_granted = examined.granted.edge(from, &key.to, key.operation.as_deref()).is_some();
        (key.effect == Effect::Allow && !is_granted).then(|| (caller(key), key.to.as_str(), key.operation.as_deref()))
    });
    allowed
        .into_iter()
        .map(|((from, to, operation), tally)| {
            let operation = operation.unwrap_or("undeclared paths");
            Draft {
                subject: format!("{from} → {to} {operation}"),
                summary: format!(
                    "{} from {from} to {to} ({operation}) were allowed; the newest bundle grants none of them",
                    many(tally.count, "request")
                ),
                remedy: "find out who needs it: grant it with a reason, or see that it is denied now".to_owned(),
                evidence: tally.evidence,
                count: tally.count,
                ..Draft::default()
            }
        })
        .collect()
}
