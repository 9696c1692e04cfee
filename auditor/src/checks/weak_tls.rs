//! Requests on TLS below 1.2, on a suite without authenticated encryption, or recorded without a connection; and client certificates
//! whose key is weak.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined, caller, many};
use crate::limits::RSA_BITS_MIN;

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "weak_tls", title: "connections with weak or unknown TLS", severity: Weight::High, about_evidence: false, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let weak = examined.group(|key| match &key.tls {
        Some((version, suite)) => (!is_strong(version, suite)).then(|| (caller(key), key.to.as_str(), format!("{version} {suite}"))),
        // What another mesh does not write down is not known, and no finding.
        None => (!key.outbound && !key.is_foreign()).then(|| (caller(key), key.to.as_str(), "no TLS".to_owned())),
    });
    let connections = weak.into_iter().map(|((from, to, what), tally)| Draft {
        subject: format!("{from} → {to} {what}"),
        summary: format!("{} from `{from}` to `{to}` came with {what}", many(tally.count, "request")),
        remedy: "require TLS 1.3".to_owned(),
        evidence: tally.evidence.into_vec(),
        count: tally.count,
        ..Draft::default()
    });
    connections.chain(keys(examined)).collect()
}

/// Certificates whose key records name, and whose key is weak. What is not said is not known, and no finding.
fn keys<'e>(examined: &'e Examined<'_>) -> impl Iterator<Item = Draft> + use<'e> {
    let weak = |key: &&str| !is_strong_key(key);
    examined.fold.ledger.certificates.iter().filter_map(move |((id, digest), c)| {
        let key = c.issued.key.as_deref().filter(weak)?;
        Some(Draft {
            subject: format!("{id} {digest} {key}"),
            summary: format!("certificate {} of `{id}` has a weak key: {key}", c.serial),
            remedy: "issue it for a key of EC P-256 or stronger, Ed25519, or RSA of 2048 bits and more".to_owned(),
            evidence: c.seen.evidence.to_vec(),
            count: c.seen.count,
            ..Draft::default()
        })
    })
}

/// RSA of 2048 bits and more, the curves of NIST from 256 bits on, Edwards curves.
fn is_strong_key(key: &str) -> bool {
    match key.split_once(' ') {
        Some(("RSA", bits)) => bits.parse::<u32>().is_ok_and(|bits| bits >= RSA_BITS_MIN),
        _ => matches!(key, "EC P-256" | "EC P-384" | "EC P-521" | "Ed25519" | "Ed448"),
    }
}

/// TLS 1.2 or 1.3 with authenticated encryption.
pub(crate) fn is_strong(version: &str, suite: &str) -> bool {
    matches!(version, "TLSv1.2" | "TLSv1.3") && ["GCM", "CHACHA20_POLY1305"].iter().any(|aead| suite.contains(aead))
}
