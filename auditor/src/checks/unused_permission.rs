//! Grants that determined no allowed record in the period. The period matters: what runs once a month is not seen in a week.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined, duration, many};

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "unused_permission", title: "grants that nothing used", severity: Weight::Low, about_evidence: false, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let used = examined.used();
    let days = examined.fold.seen.map_or(0, |(from, to)| to.unix_ms() - from.unix_ms());
    let unused = examined.grants().filter(|p| !used.contains(&*p.reference.id));
    unused
        .map(|policy| {
            let into_sensitive =
                examined.granted.edges.iter().any(|e| examined.scope().touches(e.to, e.operation) && e.policies.iter().any(|p| p.id == policy.reference.id));
            Draft {
                subject: policy.reference.id.to_string(),
                summary: format!(
                    "`{}` determined none of {} in {}",
                    policy.reference.id,
                    many(examined.fold.totals.allowed, "allowed record"),
                    duration(days)
                ),
                remedy: "remove it, or say in its justification when it is used".to_owned(),
                at: Some(policy.reference.at.short()),
                severity: into_sensitive.then_some(Weight::Medium),
                ..Draft::default()
            }
        })
        .collect()
}
