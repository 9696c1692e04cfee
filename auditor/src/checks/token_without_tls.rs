//! User tokens that came on weak TLS or none: whoever saw the bytes can use them.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::checks::weak_tls::is_strong;
use crate::examined::{Draft, Examined, caller, many};
use crate::ledger::User;

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "token_without_tls", title: "tokens that could be read on the way", severity: Weight::High, about_evidence: false, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let weak = examined.group(|key| {
        let is_weak = key.tls.as_ref().map_or(!key.outbound && !key.is_foreign(), |(version, suite)| !is_strong(version, suite));
        (matches!(key.user, User::Named | User::Invalid) && is_weak).then(|| (caller(key), key.to.as_str()))
    });
    weak.into_iter()
        .map(|((from, to), tally)| Draft {
            subject: format!("{from} → {to}"),
            summary: format!("{} from `{from}` to `{to}` brought a user token with weak TLS or none", many(tally.count, "request")),
            remedy: "require TLS 1.3, and have these tokens revoked".to_owned(),
            evidence: tally.evidence.into_vec(),
            count: tally.count,
            ..Draft::default()
        })
        .collect()
}
