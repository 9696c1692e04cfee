//! Requests accepted on a client certificate after its end.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined, many};

/// See the file's own text.
pub(super) const CHECK: Check = Check {
    id: "expired_certificate_used",
    title: "certificates used after their end",
    severity: Weight::High,
    about_evidence: false,
    find,
};

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let certificates = &examined.fold.ledger.certificates;
    certificates
        .iter()
        .filter(|(_, c)| c.expired > 0)
        .map(|((id, digest), c)| Draft {
            subject: format!("{id} {digest}"),
            summary: format!(
                "{} of {} by `{id}` came after the end of certificate {}, at {}",
                c.expired,
                many(c.seen.count, "request"),
                c.serial,
                c.not_after
            ),
            remedy: "check the clocks of caller and enforcer, and that expiry cuts connections".to_owned(),
            evidence: c.seen.evidence.to_vec(),
            count: c.expired,
            ..Draft::default()
        })
        .collect()
}
