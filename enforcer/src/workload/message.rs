//! The messages of the Workload API's X.509 profile.
//!
//! What a later version of the API may add is passed over. Of a field that may be there once, the last counts, as the format
//! has it; what may be there many times is counted. A required field that is missing or empty makes the message unusable.

use std::collections::BTreeMap;

use portreeve_engine::id::TrustDomain;

use super::limits::{BUNDLES_MAX, CERTIFICATES_MAX, LISTS_MAX, SVIDS_MAX};
use super::wire::{self, Fields, Malformed};

/// One identity of a workload.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct X509Svid {
    /// Its SPIFFE ID, as text.
    pub id: String,
    /// The leaf and its intermediates, DER, one after the other.
    pub chain: Vec<u8>,
    /// The private key, PKCS#8 in DER.
    pub key: Vec<u8>,
    /// The roots of its trust domain, DER, one after the other.
    pub bundle: Vec<u8>,
    /// What it is for, if the operator said so.
    pub hint: String,
}

impl std::fmt::Debug for X509Svid {
    /// Never shows the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("X509Svid").field("id", &self.id).field("hint", &self.hint).finish_non_exhaustive()
    }
}

/// The identities of a workload, and whom it may believe.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct X509SvidResponse {
    /// At least one; the first is the default.
    pub svids: Vec<X509Svid>,
    /// Revocation lists, DER.
    pub lists: Vec<Vec<u8>>,
    /// The roots of other trust domains.
    pub federated: BTreeMap<TrustDomain, Vec<u8>>,
}

/// Whom a workload may believe.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct X509Bundles {
    /// Revocation lists, DER.
    pub lists: Vec<Vec<u8>>,
    /// The roots of each trust domain.
    pub bundles: BTreeMap<TrustDomain, Vec<u8>>,
}

/// Why a message cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Not a message.
    #[error("the answer is not a well-formed message")]
    Malformed,
    /// A text that is not UTF-8.
    #[error("the answer has a text that is not UTF-8")]
    Text,
    /// A required field is missing or empty.
    #[error("the answer has no `{0}`")]
    Missing(&'static str),
    /// More of something than is accepted.
    #[error("the answer has too many of `{0}`")]
    TooMany(&'static str),
    /// A name that is not a trust domain.
    #[error("the answer names something that is not a trust domain")]
    TrustDomain,
}

impl From<Malformed> for MessageError {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

impl X509SvidResponse {
    /// Reads a message.
    ///
    /// # Errors
    /// See [`MessageError`].
    pub fn decode(message: &[u8]) -> Result<Self, MessageError> {
        let (mut out, mut fields) = (Self::default(), Fields::of(message));
        while let Some((field, bytes)) = fields.next()? {
            match field {
                1 => push(&mut out.svids, X509Svid::decode(bytes)?, SVIDS_MAX, "svids")?,
                2 => push(&mut out.lists, bytes.to_vec(), LISTS_MAX, "crl")?,
                3 => entry(&mut out.federated, bytes)?,
                _ => {}
            }
        }
        if out.svids.is_empty() { Err(MessageError::Missing("svids")) } else { Ok(out) }
    }

    /// Writes the message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for svid in &self.svids {
            wire::element(&mut out, 1, &svid.encode());
        }
        for list in &self.lists {
            wire::element(&mut out, 2, list);
        }
        map(&mut out, 3, &self.federated);
        out
    }
}

impl X509Svid {
    fn decode(message: &[u8]) -> Result<Self, MessageError> {
        let (mut out, mut fields) = (Self::default(), Fields::of(message));
        while let Some((field, bytes)) = fields.next()? {
            match field {
                1 => out.id = text(bytes)?,
                2 => out.chain = bytes.to_vec(),
                3 => out.key = bytes.to_vec(),
                4 => out.bundle = bytes.to_vec(),
                5 => out.hint = text(bytes)?,
                _ => {}
            }
        }
        for (name, empty) in [
            ("spiffe_id", out.id.is_empty()),
            ("x509_svid", out.chain.is_empty()),
            ("x509_svid_key", out.key.is_empty()),
            ("bundle", out.bundle.is_empty()),
        ] {
            if empty {
                return Err(MessageError::Missing(name));
            }
        }
        Ok(out)
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        wire::bytes(&mut out, 1, self.id.as_bytes());
        wire::bytes(&mut out, 2, &self.chain);
        wire::bytes(&mut out, 3, &self.key);
        wire::bytes(&mut out, 4, &self.bundle);
        wire::bytes(&mut out, 5, self.hint.as_bytes());
        out
    }
}

impl X509Bundles {
    /// Reads a message.
    ///
    /// # Errors
    /// See [`MessageError`].
    pub fn decode(message: &[u8]) -> Result<Self, MessageError> {
        let (mut out, mut fields) = (Self::default(), Fields::of(message));
        while let Some((field, bytes)) = fields.next()? {
            match field {
                1 => push(&mut out.lists, bytes.to_vec(), LISTS_MAX, "crl")?,
                2 => entry(&mut out.bundles, bytes)?,
                _ => {}
            }
        }
        if out.bundles.is_empty() { Err(MessageError::Missing("bundles")) } else { Ok(out) }
    }

    /// Writes the message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for list in &self.lists {
            wire::element(&mut out, 1, list);
        }
        map(&mut out, 2, &self.bundles);
        out
    }
}

fn push<T>(into: &mut Vec<T>, one: T, max: usize, what: &'static str) -> Result<(), MessageError> {
    if into.len() >= max {
        return Err(MessageError::TooMany(what));
    }
    into.push(one);
    Ok(())
}

/// An entry of a map of trust domains to bundles. A trust domain may be written as its name or as its SPIFFE ID.
fn entry(into: &mut BTreeMap<TrustDomain, Vec<u8>>, message: &[u8]) -> Result<(), MessageError> {
    let (mut name, mut bundle, mut fields) = (String::new(), Vec::new(), Fields::of(message));
    while let Some((field, bytes)) = fields.next()? {
        match field {
            1 => name = text(bytes)?,
            2 => bundle = bytes.to_vec(),
            _ => {}
        }
    }
    let name = name.strip_prefix("spiffe://").unwrap_or(&name);
    let domain = name.parse().map_err(|_| MessageError::TrustDomain)?;
    if bundle.is_empty() {
        return Err(MessageError::Missing("bundle"));
    }
    if into.len() >= BUNDLES_MAX {
        return Err(MessageError::TooMany("bundles"));
    }
    into.insert(domain, bundle);
    Ok(())
}

fn map(out: &mut Vec<u8>, field: u32, entries: &BTreeMap<TrustDomain, Vec<u8>>) {
    for (domain, bundle) in entries {
        let mut entry = Vec::new();
        wire::bytes(&mut entry, 1, format!("spiffe://{domain}").as_bytes());
        wire::bytes(&mut entry, 2, bundle);
        wire::element(out, field, &entry);
    }
}

fn text(bytes: &[u8]) -> Result<String, MessageError> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| MessageError::Text)
}

/// Parts DER values that stand one after the other; each is a sequence of definite length, and nothing is left over.
pub(super) fn certificates(mut der: &[u8]) -> Option<Vec<&[u8]>> {
    let mut out = Vec::new();
    while !der.is_empty() {
        let length = sequence_length(der)?;
        let (one, rest) = der.split_at_checked(length)?;
        if out.len() >= CERTIFICATES_MAX {
            return None;
        }
        out.push(one);
        der = rest;
    }
    Some(out)
}

/// The length of the sequence at the beginning, its head included.
fn sequence_length(der: &[u8]) -> Option<usize> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    if tag != 0x30 {
        return None;
    }
    if first < 0x80 {
        return Some(2 + usize::from(first));
    }
    let count = usize::from(first & 0x7f);
    // The shortest form is the only one: no leading zero, and no long form for what fits the short one.
    if !(1..=4).contains(&count) || rest.first() == Some(&0) {
        return None;
    }
    let (digits, _) = rest.split_at_checked(count)?;
    let length = digits.iter().fold(0_usize, |length, digit| (length << 8) | usize::from(*digit));
    if length < 0x80 { None } else { length.checked_add(2 + count) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> X509SvidResponse {
        let svid = |name: &str| X509Svid {
            id: format!("spiffe://market.example/{name}"),
            chain: vec![1; 700],
            key: vec![2; 138],
            bundle: vec![3; 400],
            hint: name.to_owned(),
        };
        X509SvidResponse {
            svids: vec![svid("a"), X509Svid { hint: String::new(), ..svid("b") }],
            lists: vec![vec![4; 300], vec![5]],
            federated: [("partner.example".parse().unwrap(), vec![6; 10])].into(),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let sample = sample();
        assert_eq!(X509SvidResponse::decode(&sample.encode()), Ok(sample.clone()));
        let bundles = X509Bundles { lists: sample.lists, bundles: sample.federated };
        assert_eq!(X509Bundles::decode(&bundles.encode()), Ok(bundles));
        assert!(!format!("{:?}", self::sample()).contains("2, 2"), "a key is never shown");
    }

    /// Bytes put together by hand from the format's definition.
    #[test]
    fn bytes_written_by_hand_are_read() {
        let message =
            b"\x0a\x1f\x0a\x0cspiffe://a/b\x12\x03CCC\x1a\x02KK\x22\x02BB\x2a\x02in\x12\x01L\x1a\x13\x0a\x0aspiffe://c\x12\x05FFFFF";
        let read = X509SvidResponse::decode(message).unwrap();
        let svid = &read.svids[0];
        assert_eq!((svid.id.as_str(), svid.hint.as_str()), ("spiffe://a/b", "in"));
        assert_eq!((svid.chain.as_slice(), svid.key.as_slice(), svid.bundle.as_slice()), (&b"CCC"[..], &b"KK"[..], &b"BB"[..]));
        assert_eq!(read.lists, [b"L"]);
        assert_eq!(read.federated[&"c".parse().unwrap()], b"FFFFF");
        assert_eq!(read.encode(), message);
    }

    #[test]
    fn what_is_required_must_be_there() {
        use MessageError as E;
        assert_eq!(X509SvidResponse::decode(b""), Err(E::Missing("svids")));
        assert_eq!(X509Bundles::decode(b""), Err(E::Missing("bundles")));
        for (change, missing) in [
            ((|s| s.id.clear()) as fn(&mut X509Svid), "spiffe_id"),
            (|s| s.chain.clear(), "x509_svid"),
            (|s| s.key.clear(), "x509_svid_key"),
            (|s| s.bundle.clear(), "bundle"),
        ] {
            let mut sample = sample();
            change(&mut sample.svids[1]);
            assert_eq!(X509SvidResponse::decode(&sample.encode()), Err(E::Missing(missing)));
        }
        let mut many = sample();
        many.svids = vec![many.svids[0].clone(); SVIDS_MAX + 1];
        assert_eq!(X509SvidResponse::decode(&many.encode()), Err(E::TooMany("svids")));
        assert_eq!(X509SvidResponse::decode(b"\x1a\x06\x0a\x01/\x12\x01x"), Err(E::TrustDomain));
        assert_eq!(X509SvidResponse::decode(b"\x0a\x03\x0a\x01\xff"), Err(E::Text));
    }

    /// Any prefix, and any single changed byte, is read to an answer or an error: never a panic, and never a part for a whole.
    #[test]
    fn broken_bytes_are_never_read_past_their_end() {
        let whole = sample().encode();
        for end in 0..whole.len() {
            assert_ne!(X509SvidResponse::decode(&whole[..end]).ok(), Some(sample()), "a prefix of {end}");
        }
        let mut state = 7_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            usize::try_from(state >> 33).unwrap()
        };
        for _ in 0..20_000 {
            let mut bytes = whole.clone();
            for _ in 0..=next() % 3 {
                let at = next() % bytes.len();
                bytes[at] = u8::try_from(next() % 256).unwrap();
            }
            if let Ok(read) = X509SvidResponse::decode(&bytes) {
                // What was understood is written and read the same again.
                assert_eq!(X509SvidResponse::decode(&read.encode()), Ok(read));
            }
            let _ = certificates(&bytes);
        }
    }

    #[test]
    fn sequences_one_after_the_other() {
        let long = [&[0x30, 0x81, 0x80][..], &[7; 128]].concat();
        let both = [&[0x30, 0x02, 1, 2][..], &long, &[0x30, 0x00]].concat();
        assert_eq!(certificates(&both).unwrap().iter().map(|one| one.len()).collect::<Vec<_>>(), [4, 131, 2]);
        assert_eq!(certificates(&[]), Some(vec![]));
        for bad in [
            &[0x30][..],
            &[0x30, 0x02, 1],
            &[0x31, 0x00],
            &[0x30, 0x80, 0, 0],
            &[0x30, 0x81, 0x01, 1],
            &[0x30, 0x82, 0, 0x80],
            &[0x30, 0x85, 1, 0, 0, 0, 0],
        ] {
            assert_eq!(certificates(bad), None, "{bad:x?}");
        }
    }
}
