//! Client certificates that were near their end when last seen, with no successor seen: the renewal seems not to work.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined, duration};
use crate::limits::CERTIFICATE_LEFT_MS_MIN;

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "certificate_near_expiry", title: "certificates not renewed in time", severity: Weight::Low, about_evidence: false, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let certificates = &examined.fold.ledger.certificates;
    certificates
        .iter()
        .filter(|((id, _), c)| {
            let left = c.not_after.unix_ms() - c.seen.last.unix_ms();
            let has_successor = certificates.iter().any(|((other, _), o)| other == id && o.not_after > c.not_after);
            (0..CERTIFICATE_LEFT_MS_MIN).contains(&left) && !has_successor
        })
        .map(|((id, digest), c)| Draft {
            subject: format!("{id} {digest}"),
            summary: format!(
                "certificate {} of `{id}` had {} left when last seen, and no successor was seen",
                c.serial,
                duration(c.not_after.unix_ms() - c.seen.last.unix_ms())
            ),
            remedy: "see that the workload renews its SVID at half its life".to_owned(),
            evidence: c.seen.evidence.to_vec(),
            count: c.seen.count,
            ..Draft::default()
        })
        .collect()
}
