//! Requests on TLS below 1.2, on a suite without authenticated encryption, or recorded without a connection.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined, caller, many};

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "weak_tls", title: "connections with weak or unknown TLS", severity: Weight::High, about_evidence: false, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let weak = examined.group(|key| match &key.tls {
        Some((version, suite)) => (!is_strong(version, suite)).then(|| (caller(key), key.to.as_str(), format!("{version} {suite}"))),
        // What another mesh does not write down is not known, and no finding.
        None => (!key.outbound && !key.is_foreign()).then(|| (caller(key), key.to.as_str(), "no TLS".to_owned())),
    });
    weak.into_iter()
        .map(|((from, to, what), tally)| Draft {
            subject: format!("{from} → {to} {what}"),
            summary: format!("{} from `{from}` to `{to}` came with {what}", many(tally.count, "request")),
            remedy: "require TLS 1.3".to_owned(),
            evidence: tally.evidence,
            count: tally.count,
            ..Draft::default()
        })
        .collect()
}

/// TLS 1.2 or 1.3 with authenticated encryption.
pub(crate) fn is_strong(version: &str, suite: &str) -> bool {
    matches!(version, "TLSv1.2" | "TLSv1.3") && ["GCM", "CHACHA20_POLY1305"].iter().any(|aead| suite.contains(aead))
}
