//! Requests from or to what stands in an open or public network, on weak or unknown TLS. Where the scope names no networks, any such
//! request may have crossed one, and the finding is in doubt.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::checks::weak_tls::is_strong;
use crate::examined::{Draft, Examined, caller, many};
use crate::ledger::Key;

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "weak_public_tls", title: "weak TLS across open networks", severity: Weight::High, about_evidence: false, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let scope = examined.scope();
    let known = !scope.networks.is_empty();
    let crosses = |key: &Key| {
        let ends = [key.from.as_deref(), Some(key.to.as_str())].into_iter().flatten();
        ends.filter_map(|name| examined.newest.service(name)).any(|s| scope.is_public(s)) || key.from.is_none()
    };
    let weak = examined.group(|key| {
        let what = match &key.tls {
            Some((version, suite)) if !is_strong(version, suite) => format!("{version} {suite}"),
            None if !key.outbound && !key.is_foreign() => "no TLS".to_owned(),
            _ => return None,
        };
        (!known || crosses(key)).then(|| (caller(key), key.to.as_str(), what))
    });
    weak.into_iter()
        .map(|((from, to, what), tally)| Draft {
            subject: format!("{from} → {to} {what}"),
            summary: format!("{} from `{from}` to `{to}` came with {what}", many(tally.count, "request")),
            remedy: if known { "require TLS 1.3" } else { "require TLS 1.3, and say in the scope which networks are open" }.to_owned(),
            evidence: tally.evidence.into_vec(),
            count: tally.count,
            suspect: !known,
            ..Draft::default()
        })
        .collect()
}
