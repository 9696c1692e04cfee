//! Verified identities that no service of the inventory has, and that were denied whatever they asked: a workload nobody declared,
//! a partner gone astray, or a probe.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::checks::unknown_identity_allowed::strangers;
use crate::examined::{Draft, Examined, many};

/// See the file's own text.
pub(super) const CHECK: Check = Check {
    id: "unknown_identity_seen",
    title: "callers outside the inventory, denied",
    severity: Weight::Low,
    about_evidence: false,
    find,
};

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let denied = strangers(examined).into_iter().filter(|(_, (_, allowed))| *allowed == 0);
    denied
        .map(|(id, (tally, _))| Draft {
            subject: id.to_string(),
            summary: format!("`{id}`, which no service of the inventory has, asked {} and was denied", many(tally.count, "time")),
            remedy: "add it to the inventory, or stop issuing the identity".to_owned(),
            evidence: tally.evidence.into_vec(),
            count: tally.count,
            ..Draft::default()
        })
        .collect()
}
