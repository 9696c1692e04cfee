//! Callers that are an identity of the inventory but for their trust domain: a workload that was moved and kept its old issuer, a
//! staging authority that production believes, or somebody who relies on nobody reading the first part.

use crate::assessment::Weight;
use crate::assessment::usage::IdentityConcernKind;
use crate::checks::Check;
use crate::examined::{Draft, Examined, list, many};
use crate::graph::identities::concerns;

/// See the file's own text.
pub(super) const CHECK: Check = Check {
    id: "trust_domain_drift",
    title: "inventory identities of another trust domain",
    severity: Weight::Medium,
    about_evidence: false,
    find,
};

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let found = concerns(examined).into_iter().filter(|c| c.kind == IdentityConcernKind::TrustDomainDrift);
    found
        .map(|c| Draft {
            summary: format!("`{}` {}: {}; {}", c.subject, c.what, list(c.others.iter().map(String::as_str)), many(c.requests, "request")),
            subject: c.subject,
            remedy: "stop believing that trust domain, or put the identity into the inventory".to_owned(),
            evidence: c.evidence,
            count: c.requests,
            ..Draft::default()
        })
        .collect()
}
