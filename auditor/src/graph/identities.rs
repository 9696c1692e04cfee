//! Certificates by identity, and identities that do not fit the inventory or one another.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use portreeve_engine::decision::Effect;
use portreeve_engine::{Digest, SpiffeId, Timestamp};

use crate::assessment::analyses::Part;
use crate::assessment::usage::{IdentityCertificates, IdentityConcern, IdentityConcernKind, Spread};
use crate::examined::{Examined, many};
use crate::ledger::{CertificateTally, Tally};
use crate::limits::{ADDRESSES_MAX, ANALYSIS_ENTRIES_MAX, EVIDENCE_MAX};

/// Certificates by identity.
pub(crate) fn certificates(examined: &Examined<'_>, window: &str) -> Part<IdentityCertificates> {
    let mut by_id: BTreeMap<&SpiffeId, Vec<(&Digest, &CertificateTally)>> = BTreeMap::new();
    for ((id, digest), tally) in &examined.fold.ledger.certificates {
        by_id.entry(id).or_default().push((digest, tally));
    }
    let mut handshakes: BTreeMap<&SpiffeId, (BTreeSet<String>, BTreeSet<&str>)> = BTreeMap::new();
    for key in examined.fold.ledger.decided.keys() {
        if let (Some((version, suite)), Some(id)) = (&key.tls, &key.from_id) {
            let (seen, by) = handshakes.entry(id).or_default();
            seen.insert(format!("{version} {suite}"));
            by.insert(&key.to);
        }
    }
    let one = |(id, all): (&SpiffeId, Vec<(&Digest, &CertificateTally)>)| {
        let latest = all.iter().max_by_key(|(digest, c)| (c.not_after, c.seen.last, **digest)).copied()?;
        let (seen, by) = handshakes.get(id).cloned().unwrap_or_default();
        let addresses: BTreeSet<IpAddr> = all.iter().flat_map(|(_, c)| c.addresses.iter().copied()).collect();
        Some(IdentityCertificates {
            id: id.clone(),
            service: examined.newest.identify(id).map(|s| s.name.to_string()),
            certificates: all.len() as u64,
            requests: all.iter().map(|(_, c)| c.seen.count).sum(),
            first: all.iter().map(|(_, c)| c.seen.first).min()?,
            last: all.iter().map(|(_, c)| c.seen.last).max()?,
            not_after: latest.1.not_after,
            expired: examined.now.is_some_and(|now| latest.1.not_after < now),
            renewed_after_ms: spread(all.iter().map(|(_, c)| c.seen.first)),
            issuers: said(&all, |c| c.issued.issuer.as_deref()),
            algorithms: said(&all, |c| c.issued.key.as_deref()),
            handshakes: seen.into_iter().collect(),
            seen_by: by.into_iter().map(str::to_owned).collect(),
            addresses: addresses.into_iter().take(ADDRESSES_MAX).map(|ip| ip.to_string()).collect(),
            latest: Some(*latest.0),
        })
    };
    let mut entries: Vec<IdentityCertificates> = by_id.into_iter().filter_map(one).collect();
    entries.sort_by(|a, b| (a.not_after, &a.id).cmp(&(b.not_after, &b.id)));
    Part {
        what: "identities whose latest certificate had ended by the last record".to_owned(),
        have: entries.iter().filter(|e| e.expired).count() as u64,
        of: entries.len() as u64,
        rests_on: format!(
            "Handshakes behind the records of {window}. A record names a certificate's serial, digest and end; its issuer and the kind \
             of its key stand in the first record of each connection, and in lines of other meshes that say them. Several workloads of one identity renew each on its own, so the \
             times between certificates are then shorter than the life of any of them. Certificates never used in a recorded request \
             are not here."
        ),
        ..Part::default()
    }
    .listing(entries, ANALYSIS_ENTRIES_MAX)
}

/// What records say of certificates, each thing once.
fn said<'l>(all: &[(&Digest, &'l CertificateTally)], of: impl Fn(&'l CertificateTally) -> Option<&'l str>) -> Vec<String> {
    let said: BTreeSet<&str> = all.iter().filter_map(|(_, c)| of(c)).collect();
    said.into_iter().map(str::to_owned).collect()
}

/// The times between the first uses of successive certificates.
fn spread(first_seen: impl Iterator<Item = Timestamp>) -> Option<Spread> {
    let mut at: Vec<i64> = first_seen.map(Timestamp::unix_ms).collect();
    at.sort_unstable();
    let mut between: Vec<i64> = at.windows(2).filter_map(|pair| Some(pair.last()? - pair.first()?)).collect();
    between.sort_unstable();
    Some(Spread { min: between.first().copied()?, median: between.get((between.len() - 1) / 2).copied()?, max: between.last().copied()? })
}

/// Identities that do not fit.
pub(crate) fn concerns(examined: &Examined<'_>) -> Vec<IdentityConcern> {
    let mut out = unknown(examined);
    out.extend(shared_certificates(examined));
    out.extend(shared_addresses(examined));
    out.sort();
    out
}

/// The same as an analysis.
pub(crate) fn concern_part(examined: &Examined<'_>, window: &str) -> Part<IdentityConcern> {
    let entries = concerns(examined);
    let unknown = |c: &&IdentityConcern| !matches!(c.kind, IdentityConcernKind::SharedAddress | IdentityConcernKind::SharedCertificate);
    Part {
        what: "identities seen that no service of the inventory has".to_owned(),
        have: entries.iter().filter(unknown).count() as u64,
        of: examined.group(|key| key.from_id.as_ref()).len() as u64,
        rests_on: format!(
            "Verified callers of the records of {window}, held against the inventory of the newest bundle. An address that several \
             identities used at one time may be a proxy or a translated address; loopback addresses are left aside, and of each \
             certificate {ADDRESSES_MAX} addresses are kept."
        ),
        ..Part::default()
    }
    .listing(entries, ANALYSIS_ENTRIES_MAX)
}

fn unknown(examined: &Examined<'_>) -> Vec<IdentityConcern> {
    let domains: BTreeSet<&str> = trust_domains(examined);
    let mut twins: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for id in examined.newest.services().iter().flat_map(|s| &s.identities) {
        twins.entry(id.path()).or_default().insert(id.to_string());
    }
    let seen = examined.group(|key| {
        let id = key.from_id.as_ref().filter(|_| key.from.is_none())?;
        Some((id, key.effect == Effect::Allow))
    });
    let mut callers: BTreeMap<&SpiffeId, (Tally, u64)> = BTreeMap::new();
    for ((id, is_allow), tally) in seen {
        let (all, allowed) = callers.entry(id).or_insert_with(|| (Tally { count: 0, ..tally.clone() }, 0));
        all.absorb(&tally);
        *allowed += if is_allow { tally.count } else { 0 };
    }
    let concern = |(id, (tally, allowed)): (&SpiffeId, (Tally, u64))| {
        let is_foreign = !domains.contains(id.trust_domain());
        let others: Vec<String> = twins.get(id.path()).filter(|_| is_foreign).into_iter().flatten().cloned().collect();
        let (kind, what) = match (is_foreign, others.is_empty()) {
            (true, false) => (IdentityConcernKind::TrustDomainDrift, "is an identity of the inventory but for its trust domain"),
            (true, true) => (IdentityConcernKind::TrustDomain, "is of a trust domain that the inventory does not have"),
            (false, _) => (IdentityConcernKind::Unknown, "belongs to no service of the inventory"),
        };
        IdentityConcern {
            kind,
            subject: id.to_string(),
            what: what.to_owned(),
            others,
            requests: tally.count,
            allowed,
            evidence: tally.evidence.into_vec(),
        }
    };
    callers.into_iter().map(concern).collect()
}

fn trust_domains<'a>(examined: &Examined<'a>) -> BTreeSet<&'a str> {
    let services = examined.newest.services().iter();
    let listed = services.clone().flat_map(|s| s.identities.iter().map(SpiffeId::trust_domain));
    // A pattern begins `spiffe://<trust domain>/`.
    let patterns = services.flat_map(|s| &s.patterns).filter_map(|p| p.as_str().strip_prefix("spiffe://")?.split('/').next());
    listed.chain(patterns).collect()
}

/// One certificate under several identities: an X.509-SVID names one, so some log does not tell the truth, or a mesh is astray.
fn shared_certificates(examined: &Examined<'_>) -> Vec<IdentityConcern> {
    let mut by_digest: BTreeMap<&Digest, BTreeMap<&SpiffeId, &CertificateTally>> = BTreeMap::new();
    for ((id, digest), tally) in &examined.fold.ledger.certificates {
        by_digest.entry(digest).or_default().insert(id, tally);
    }
    let shared = by_digest.into_iter().filter(|(_, ids)| ids.len() > 1);
    shared
        .map(|(digest, ids)| concern(IdentityConcernKind::SharedCertificate, digest.to_string(), "is the certificate of", "identity", &ids))
        .collect()
}

/// One address under several services at one time.
fn shared_addresses(examined: &Examined<'_>) -> Vec<IdentityConcern> {
    let mut by_address: BTreeMap<IpAddr, Vec<(&SpiffeId, &CertificateTally)>> = BTreeMap::new();
    for ((id, _), tally) in &examined.fold.ledger.certificates {
        for address in tally.addresses.iter().filter(|ip| !ip.is_loopback()) {
            by_address.entry(*address).or_default().push((id, tally));
        }
    }
    let owner = |id: &SpiffeId| examined.newest.identify(id).map_or_else(|| id.to_string(), |s| s.name.to_string());
    let mut out = Vec::new();
    for (address, users) in by_address {
        let overlaps = |(id, c): &(&SpiffeId, &CertificateTally)| {
            users.iter().any(|(other, o)| owner(other) != owner(id) && o.seen.first <= c.seen.last && c.seen.first <= o.seen.last)
        };
        let ids: BTreeMap<&SpiffeId, &CertificateTally> = users.iter().filter(|user| overlaps(user)).copied().collect();
        if ids.len() > 1 {
            out.push(concern(IdentityConcernKind::SharedAddress, address.to_string(), "was at one time the address of", "identity", &ids));
        }
    }
    out
}

fn concern(
    kind: IdentityConcernKind,
    subject: String,
    what: &str,
    noun: &str,
    ids: &BTreeMap<&SpiffeId, &CertificateTally>,
) -> IdentityConcern {
    let mut evidence: Vec<_> = ids.values().flat_map(|c| c.seen.evidence.first().cloned()).collect();
    evidence.sort();
    evidence.truncate(EVIDENCE_MAX);
    IdentityConcern {
        kind,
        subject,
        what: format!("{what} {}", many(ids.len() as u64, noun).replace("identitys", "identities")),
        others: ids.keys().map(ToString::to_string).collect(),
        requests: ids.values().map(|c| c.seen.count).sum(),
        allowed: 0,
        evidence,
    }
}
