//! Chains that were judged good, so that a peer that comes again costs no second look at its certificates.
//!
//! What is remembered is the verdict on a chain of certificates, never a session: the peer still proves in every handshake that it has
//! the leaf's key (A13, A14). INVARIANTS: the memory is a part of the [`super::Trust`] that judged, and ends with it, so it outlives
//! no root and no revocation list; the key is the whole chain as presented and the part played; a verdict holds from the moment it
//! was given until the first end of a certificate of the chain, of a root or of a list; only good verdicts are kept, so strangers
//! cannot fill it; and it has a bound.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest::{Context, SHA256};
use portreeve_engine::{Digest, Svid, Timestamp};
use rustls_pki_types::CertificateDer;

use super::limits::PEERS_REMEMBERED_MAX;
use super::trust::Role;

/// The memory of one [`super::Trust`].
#[derive(Debug, Default)]
pub(super) struct Remembered(Mutex<Generations>);

/// What came lately, and what came before that. When the first is full it becomes the second, and the second is forgotten: who
/// keeps coming stays, and many that come once do not drive out more than half.
#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Digest, Verdict>,
    old: HashMap<Digest, Verdict>,
}

#[derive(Clone, Debug)]
struct Verdict {
    svid: Svid,
    /// When it was given; the chain was in force then.
    from: Timestamp,
    /// The first moment at which it may be another one.
    until: Timestamp,
}

impl Verdict {
    fn holds(&self, now: Timestamp) -> bool {
        self.from <= now && now < self.until
    }
}

/// The key of a chain: every byte of it, each certificate with its length, and the part played.
pub(super) fn key(leaf: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>], role: Role) -> Digest {
    let mut context = Context::new(&SHA256);
    context.update(match role {
        Role::Client => b"client",
        Role::Server => b"server",
    });
    for der in std::iter::once(leaf).chain(intermediates) {
        context.update(&u64::try_from(der.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(der);
    }
    let mut bytes = [0; 32];
    for (to, from) in bytes.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    Digest::from_bytes(bytes)
}

impl Remembered {
    /// Whom the chain belongs to, if it was judged good and that holds at `now`.
    pub(super) fn get(&self, key: &Digest, now: Timestamp) -> Option<Svid> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(verdict) = all.young.get(key) {
            return verdict.holds(now).then(|| verdict.svid.clone());
        }
        let verdict = all.old.remove(key).filter(|v| v.holds(now))?;
        let svid = verdict.svid.clone();
        all.insert(*key, verdict);
        Some(svid)
    }

    /// Keeps a good verdict given at `now` that holds until `until`.
    pub(super) fn put(&self, key: Digest, svid: &Svid, now: Timestamp, until: Timestamp) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, Verdict { svid: svid.clone(), from: now, until });
    }
}

impl Generations {
    fn insert(&mut self, key: Digest, verdict: Verdict) {
        if self.young.len() >= PEERS_REMEMBERED_MAX / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, verdict);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn svid() -> Svid {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.subject_alt_names = vec![rcgen::SanType::URI("spiffe://market.example/ns/shop/sa/items".try_into().unwrap())];
        params.is_ca = rcgen::IsCa::ExplicitNoCa;
        params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
        Svid::from_der(params.self_signed(&key).unwrap().der()).unwrap()
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_unix_ms(ms)
    }

    #[test]
    fn a13_a_verdict_holds_from_when_it_was_given_until_the_first_end() {
        let (memory, svid, key) = (Remembered::default(), svid(), Digest::of(b"chain"));
        memory.put(key, &svid, at(1_000), at(5_000));
        for (now, holds) in [(999, false), (1_000, true), (4_999, true), (5_000, false), (i64::MAX, false)] {
            assert_eq!(memory.get(&key, at(now)).is_some(), holds, "{now}");
        }
        assert!(memory.get(&Digest::of(b"another chain"), at(2_000)).is_none());
    }

    #[test]
    fn every_byte_of_a_chain_and_the_part_played_count() {
        let der = |bytes: &'static [u8]| CertificateDer::from(bytes);
        let keys = [
            key(&der(b"leaf"), &[], Role::Client),
            key(&der(b"leaf"), &[], Role::Server),
            key(&der(b"leaf"), &[der(b"a"), der(b"b")], Role::Client),
            key(&der(b"leaf"), &[der(b"ab")], Role::Client),
            key(&der(b"leaf"), &[der(b"b"), der(b"a")], Role::Client),
            key(&der(b"leafa"), &[der(b"b")], Role::Client),
        ];
        let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
    }

    #[test]
    fn it_has_a_bound_and_keeps_those_that_keep_coming() {
        let (memory, svid, regular) = (Remembered::default(), svid(), Digest::of(b"regular"));
        memory.put(regular, &svid, at(0), at(10));
        for n in 0..4 * PEERS_REMEMBERED_MAX {
            memory.put(Digest::of(&n.to_be_bytes()), &svid, at(0), at(10));
            if n % 100 == 0 {
                assert!(memory.get(&regular, at(1)).is_some(), "{n}");
            }
            let all = memory.0.lock().unwrap();
            assert!(all.young.len() + all.old.len() <= PEERS_REMEMBERED_MAX);
        }
    }
}
