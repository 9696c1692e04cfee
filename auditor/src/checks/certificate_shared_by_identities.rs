//! One certificate that was recorded for several identities. An X.509-SVID names one, so either a log does not tell the truth, or
//! something between terminates connections for several workloads.

use crate::assessment::Weight;
use crate::assessment::usage::IdentityConcernKind;
use crate::checks::Check;
use crate::examined::{Draft, Examined, list, many};
use crate::graph::identities::concerns;

/// See the file's own text.
pub(super) const CHECK: Check = Check {
    id: "certificate_shared_by_identities",
    title: "one certificate for several identities",
    severity: Weight::High,
    about_evidence: false,
    find,
};

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let found = concerns(examined).into_iter().filter(|c| c.kind == IdentityConcernKind::SharedCertificate);
    found
        .map(|c| Draft {
            summary: format!("`{}` {}: {}; {}", c.subject, c.what, list(c.others.iter().map(String::as_str)), many(c.requests, "request")),
            subject: c.subject,
            remedy: "find out which record is wrong; give each workload a key and a certificate of its own".to_owned(),
            evidence: c.evidence,
            count: c.requests,
            ..Draft::default()
        })
        .collect()
}
