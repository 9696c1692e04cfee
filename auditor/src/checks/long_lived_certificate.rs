//! Client certificates that were valid for long when first seen: a stolen key stays useful as long.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined, duration};
use crate::limits::CERTIFICATE_LIFE_MS_MAX;

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "long_lived_certificate", title: "long-lived certificates", severity: Weight::Low, about_evidence: false, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let certificates = &examined.fold.ledger.certificates;
    certificates
        .iter()
        .filter(|(_, c)| c.not_after.unix_ms() - c.seen.first.unix_ms() > CERTIFICATE_LIFE_MS_MAX)
        .map(|((id, digest), c)| Draft {
            subject: format!("{id} {digest}"),
            summary: format!(
                "certificate {} of `{id}` had {} left when first seen",
                c.serial,
                duration(c.not_after.unix_ms() - c.seen.first.unix_ms())
            ),
            remedy: "issue SVIDs for hours and renew them".to_owned(),
            evidence: c.seen.evidence.to_vec(),
            count: c.seen.count,
            ..Draft::default()
        })
        .collect()
}
