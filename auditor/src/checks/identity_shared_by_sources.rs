//! One client certificate that came from several addresses: a key that is shared, stolen, or behind translated addresses.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined, list, many};

/// See the file's own text.
pub(super) const CHECK: Check = Check {
    id: "identity_shared_by_sources",
    title: "one certificate from several addresses",
    severity: Weight::Medium,
    about_evidence: false,
    find,
};

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let certificates = &examined.fold.ledger.certificates;
    certificates
        .iter()
        .filter(|(_, c)| c.addresses.len() > 1)
        .map(|((id, digest), c)| Draft {
            subject: format!("{id} {digest}"),
            summary: format!(
                "certificate {} of `{id}` came from {}: {}",
                c.serial,
                many(c.addresses.len() as u64, "address").replace("addresss", "addresses"),
                list(c.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().iter().map(String::as_str))
            ),
            remedy: "see that each workload has a key of its own; if addresses are translated on the way, say so".to_owned(),
            evidence: c.seen.evidence.to_vec(),
            count: c.seen.count,
            ..Draft::default()
        })
        .collect()
}
