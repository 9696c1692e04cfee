//! One address from which several services called at one time: a proxy or a translated address, or a workload that uses another
//! one's identity. Loopback addresses are left aside.

use crate::assessment::Weight;
use crate::assessment::usage::IdentityConcernKind;
use crate::checks::Check;
use crate::examined::{Draft, Examined, list, many};
use crate::graph::identities::concerns;

/// See the file's own text.
pub(super) const CHECK: Check = Check {
    id: "address_shared_by_identities",
    title: "one address for several services",
    severity: Weight::Low,
    about_evidence: false,
    find,
};

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let found = concerns(examined).into_iter().filter(|c| c.kind == IdentityConcernKind::SharedAddress);
    found
        .map(|c| Draft {
            summary: format!("`{}` {}: {}; {}", c.subject, c.what, list(c.others.iter().map(String::as_str)), many(c.requests, "request")),
            subject: c.subject,
            remedy: "if addresses are translated on the way, say so; otherwise see which workload lives there".to_owned(),
            evidence: c.evidence,
            count: c.requests,
            ..Draft::default()
        })
        .collect()
}
