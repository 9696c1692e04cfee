//! Client certificates that lines of other meshes show, and their use.
//!
//! A certificate is one where a line names its digest, its end and the identity it was used for. What else lines say of it, its serial
//! number, its issuer and the kind of its key, is taken in from whichever line says it.
//!
//! INVARIANT: what is poured does not depend on the order in which lines came.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use portreeve_engine::{Digest, SpiffeId, Timestamp};

use super::fold::Place;
use super::pairs::Use;
use super::seen::{Seen, SeenTls};
use crate::ledger::{CertificateTally, Issued, Ledger, Tally};
use crate::limits::{ADDRESSES_MAX, REASON_CHARS_MAX};

/// The certificates seen, by number.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    all: Vec<Certificate>,
    numbers: HashMap<(SpiffeId, Digest), u32>,
}

#[derive(Debug)]
struct Certificate {
    id: SpiffeId,
    sha256: Digest,
    not_after: Timestamp,
    serial: Option<String>,
    issued: Issued,
    expired: u64,
    addresses: BTreeSet<IpAddr>,
    seen: Option<Tally>,
}

impl Certificates {
    /// The number of the certificate of this identity that a line shows.
    pub(super) fn shown(&mut self, id: &SpiffeId, seen: &Seen<'_>) -> Option<u32> {
        let tls = seen.tls.as_ref()?;
        let hex = tls.peer_sha256.as_deref()?;
        let sha256: Digest = format!("sha256:{}", hex.replace(':', "").to_ascii_lowercase()).parse().ok()?;
        let not_after = tls.peer_not_after?;
        let next = u32::try_from(self.all.len()).ok()?;
        let number = *self.numbers.entry((id.clone(), sha256)).or_insert(next);
        if number == next {
            self.all.push(Certificate {
                id: id.clone(),
                sha256,
                not_after,
                serial: None,
                issued: Issued::default(),
                expired: 0,
                addresses: BTreeSet::new(),
                seen: None,
            });
        }
        self.all.get_mut(number as usize)?.say(tls);
        self.note_address(Some(number), || seen.caller_ip);
        Some(number)
    }

    /// It came from this address.
    #[inline]
    pub(super) fn note_address(&mut self, number: Option<u32>, address: impl FnOnce() -> Option<IpAddr>) {
        let Some(certificate) = number.and_then(|n| self.all.get_mut(n as usize)) else { return };
        certificate.addresses.extend(address());
        if certificate.addresses.len() > ADDRESSES_MAX {
            certificate.addresses.pop_last();
        }
    }

    /// Counts a use.
    #[inline]
    pub(super) fn use_at(&mut self, number: u32, at: Timestamp, place: &Place<'_>) -> Option<Use> {
        let certificate = self.all.get_mut(number as usize)?;
        let expired = at > certificate.not_after;
        certificate.expired += u64::from(expired);
        match &mut certificate.seen {
            Some(tally) => tally.add_made(at, (place.input, place.line), || place.evidence()),
            None => certificate.seen = Some(Tally::one(at, &place.evidence())),
        }
        Some(Use { certificate: number, expired })
    }

    /// Takes back a use that another line about the same request shows too.
    pub(super) fn take_back(&mut self, shown: Use) {
        let Some(certificate) = self.all.get_mut(shown.certificate as usize) else { return };
        certificate.expired = certificate.expired.saturating_sub(u64::from(shown.expired));
        if let Some(seen) = &mut certificate.seen {
            seen.count = seen.count.saturating_sub(1);
        }
    }

    /// Gives what was counted to a ledger, and begins anew with what is known of each.
    pub(super) fn pour(&mut self, ledger: &mut Ledger) {
        for certificate in &mut self.all {
            let Some((key, one)) = certificate.take() else { continue };
            ledger.certificates.entry(key).and_modify(|c| c.absorb(&one)).or_insert(one);
        }
    }
}

impl Certificate {
    /// Takes in what a line says of it. Lines that say less stand beside lines that say more; where two disagree the order of reading must
    /// not tell.
    fn say(&mut self, tls: &SeenTls<'_>) {
        if let Some(serial) = tls.peer_serial.as_deref()
            && self.serial.as_deref().is_none_or(|own| serial < own)
        {
            self.serial = Some(serial.to_owned());
        }
        let said = |text: &Option<Cow<'_, str>>| text.as_deref().map(|text| text.chars().take(REASON_CHARS_MAX).collect());
        self.issued.absorb(&Issued { issuer: said(&tls.peer_issuer), key: said(&tls.peer_key) });
    }

    /// Its use so far, taken out.
    fn take(&mut self) -> Option<((SpiffeId, Digest), CertificateTally)> {
        let mut seen = self.seen.take()?;
        // Of requests that two lines tell of, no more lines are shown than there are requests.
        seen.evidence.truncate(usize::try_from(seen.count).unwrap_or(usize::MAX));
        let (expired, addresses) = (std::mem::take(&mut self.expired), std::mem::take(&mut self.addresses));
        let serial = self.serial.clone().unwrap_or_else(|| "unknown".to_owned());
        let (id, not_after, issued) = (self.id.clone(), self.not_after, self.issued.clone());
        Some(((id.clone(), self.sha256), CertificateTally { id, serial, not_after, seen, expired, addresses, issued }))
    }
}
