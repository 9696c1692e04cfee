//! Requests that were allowed in the logs and that no policy of the newest bundle can allow: a changed log, a gate that errs, or
//! an older bundle. Where all of them fall under an older bundle that was given, they may have been lawful then, and the finding
//! is in doubt.

use std::collections::BTreeSet;

use portreeve_engine::decision::Effect;

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined, caller, many};

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "shadow_edge", title: "traffic that nothing grants any more", severity: Weight::High, about_evidence: false, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let newest = examined.newest.revision();
    let mut under_no_other = BTreeSet::new();
    let allowed = examined.group(|key| {
        let from = key.from.as_deref();
        let is_granted = examined.granted.edge(from, &key.to, key.operation.as_deref()).is_some();
        (key.effect == Effect::Allow && !is_granted).then(|| {
            let edge = (caller(key), key.to.as_str(), key.operation.as_deref());
            if key.revision == *newest || !examined.fold.knows(&key.revision) {
                under_no_other.insert(edge.clone());
            }
            edge
        })
    });
    allowed
        .into_iter()
        .map(|(edge, tally)| {
            let suspect = !under_no_other.contains(&edge);
            let (from, to, operation) = edge;
            let operation = operation.unwrap_or("undeclared paths");
            Draft {
                subject: format!("{from} → {to} {operation}"),
                summary: format!(
                    "{} from `{from}` to `{to}` (`{operation}`) were allowed; the newest bundle grants none of them",
                    many(tally.count, "request")
                ),
                remedy: "find out who needs it: grant it with a reason, or see that it is denied now".to_owned(),
                evidence: tally.evidence,
                count: tally.count,
                severity: suspect.then_some(Weight::Medium),
                suspect,
                ..Draft::default()
            }
        })
        .collect()
}
