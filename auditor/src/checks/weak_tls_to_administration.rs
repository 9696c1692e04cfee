//! Requests to services of administration on weak or unknown TLS.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::checks::weak_tls::is_strong;
use crate::examined::{Draft, Examined, caller, many};

/// See the file's own text.
pub(super) const CHECK: Check = Check {
    id: "weak_tls_to_administration",
    title: "administration without strong TLS",
    severity: Weight::High,
    about_evidence: false,
    find,
};

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let administration = &examined.scope().administration;
    let weak = examined.group(|key| {
        let is_admin = examined.newest.service(&key.to).is_some_and(|s| administration.contains(s));
        let is_weak = key.tls.as_ref().map_or(!key.outbound && !key.is_foreign(), |(version, suite)| !is_strong(version, suite));
        (is_admin && is_weak).then(|| (caller(key), key.to.as_str()))
    });
    weak.into_iter()
        .map(|((from, to), tally)| Draft {
            subject: format!("{from} → {to}"),
            summary: format!("{} from `{from}` to `{to}`, which administers, came with weak TLS or none", many(tally.count, "request")),
            remedy: "require TLS 1.3".to_owned(),
            evidence: tally.evidence.into_vec(),
            count: tally.count,
            ..Draft::default()
        })
        .collect()
}
