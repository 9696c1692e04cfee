//! Certificates made for the purpose: what is an SVID leaf, and what must never be taken for one (A12, A51, A55, A56).

#![cfg(test)]

use portreeve_engine::Svid;
use portreeve_engine::id::SpiffeIdError;
use portreeve_engine::svid::SvidError;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, IsCa, KeyPair, KeyUsagePurpose, SanType, SerialNumber, date_time_ymd,
    string::Ia5String,
};

const GOOD: &str = "spiffe://market.example/ns/shop/sa/items";

fn leaf() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2026, 1, 2);
    params.serial_number = Some(SerialNumber::from_slice(&[0x0a, 0xbc]));
    params
}

fn uri(text: &str) -> SanType {
    SanType::URI(Ia5String::try_from(text).unwrap())
}

fn der(params: &CertificateParams) -> Vec<u8> {
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

fn with_names(names: Vec<SanType>) -> Result<Svid, SvidError> {
    let mut params = leaf();
    params.subject_alt_names = names;
    Svid::from_der(&der(&params))
}

/// A SAN extension with these raw entries, each (context tag, bytes).
fn with_raw_names(entries: &[(u8, &[u8])]) -> Result<Svid, SvidError> {
    let mut params = leaf();
    params.custom_extensions.push(CustomExtension::from_oid_content(&[2, 5, 29, 17], san(entries)));
    Svid::from_der(&der(&params))
}

fn san(entries: &[(u8, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (tag, bytes) in entries {
        body.extend([0x80 | tag, u8::try_from(bytes.len()).unwrap()]);
        body.extend(*bytes);
    }
    let mut out = vec![0x30, u8::try_from(body.len()).unwrap()];
    out.extend(body);
    out
}

#[test]
fn a_good_leaf_is_read() {
    let svid = with_names(vec![SanType::DnsName("items".try_into().unwrap()), uri(GOOD)]).unwrap();
    assert_eq!(svid.id.as_str(), GOOD);
    assert_eq!(svid.serial, "abc");
    assert_eq!(svid.not_before.to_string(), "2026-01-01T00:00:00.000Z");
    assert_eq!(svid.not_after.to_string(), "2026-01-02T00:00:00.000Z");
    // The raw builder of this file makes what the library makes, so that its bad cases differ in one thing only.
    assert_eq!(with_raw_names(&[(6, GOOD.as_bytes())]).unwrap().id.as_str(), GOOD);
}

#[test]
fn exactly_one_uri_name() {
    let other = "spiffe://market.example/ns/shop/sa/other";
    for names in [vec![uri(GOOD), uri(other)], vec![uri(other), uri(GOOD)], vec![uri(GOOD), uri(GOOD)]] {
        assert_eq!(with_names(names), Err(SvidError::UriCount(2)), "A51");
    }
    assert_eq!(with_names(vec![uri(GOOD), uri("https://market.example/")]), Err(SvidError::UriCount(2)), "A51");
    assert_eq!(with_names(vec![]), Err(SvidError::UriCount(0)));
    assert_eq!(with_names(vec![SanType::DnsName("market.example".try_into().unwrap())]), Err(SvidError::UriCount(0)));
    assert_eq!(with_names(vec![SanType::Rfc822Name(Ia5String::try_from(GOOD).unwrap())]), Err(SvidError::UriCount(0)), "A15");
}

#[test]
fn unreadable_names_refuse_the_certificate() {
    let bad = b"spiffe://market.example/\xff";
    assert_eq!(with_raw_names(&[(6, bad)]), Err(SvidError::InvalidName), "A12: not UTF-8");
    assert_eq!(with_raw_names(&[(6, GOOD.as_bytes()), (6, bad)]), Err(SvidError::UriCount(2)), "A12: an invalid URI counts");
    assert_eq!(with_raw_names(&[(6, bad), (6, GOOD.as_bytes())]), Err(SvidError::UriCount(2)), "A12");
    assert_eq!(with_raw_names(&[(6, GOOD.as_bytes()), (2, b"\xff")]), Err(SvidError::InvalidName), "A12: an invalid DNS name");
    let nul = with_raw_names(&[(6, b"spiffe://market.example/ns/a\0b")]);
    assert_eq!(nul, Err(SvidError::Id(SpiffeIdError::SegmentCharacter)), "A12: NUL");
    let umlaut = with_raw_names(&[(6, "spiffe://market.example/ä".as_bytes())]);
    assert_eq!(umlaut, Err(SvidError::Id(SpiffeIdError::SegmentCharacter)), "A12: non-ASCII");
}

#[test]
fn malformed_ids_are_refused() {
    use SpiffeIdError as E;
    for (text, error) in [
        ("spiffe://Market.example/a", E::TrustDomainCharacter),
        ("SPIFFE://market.example/a", E::Scheme),
        ("sparfe://market.example/a", E::Scheme),
        ("spiffe://market.example/a/", E::TrailingSlash),
        ("spiffe://market.example//a", E::EmptySegment),
        ("spiffe://market.example/../a", E::DotSegment),
        ("spiffe://market.example/%61", E::SegmentCharacter),
        ("spiffe://user@market.example/a", E::TrustDomainCharacter),
        ("spiffe://market.example:443/a", E::TrustDomainCharacter),
        ("spiffe:///a", E::TrustDomainMissing),
        ("", E::Empty),
    ] {
        assert_eq!(with_raw_names(&[(6, text.as_bytes())]), Err(SvidError::Id(error)), "A55: {text}");
    }
    assert!(matches!(with_raw_names(&[(6, b"spiffe://market.example")]), Err(SvidError::Path(_))), "A55: no path");
}

#[test]
fn usages_of_a_leaf() {
    use KeyUsagePurpose as K;
    let with = |change: &dyn Fn(&mut CertificateParams)| {
        let mut params = leaf();
        params.subject_alt_names = vec![uri(GOOD)];
        change(&mut params);
        Svid::from_der(&der(&params))
    };
    assert!(with(&|p| p.is_ca = IsCa::ExplicitNoCa).is_ok());
    assert!(with(&|p| p.key_usages.push(K::KeyEncipherment)).is_ok());
    let bad: [&dyn Fn(&mut CertificateParams); 5] = [
        &|p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained),
        &|p| p.key_usages.push(K::KeyCertSign),
        &|p| p.key_usages.push(K::CrlSign),
        &|p| p.key_usages = vec![K::KeyEncipherment],
        &|p| p.key_usages.clear(),
    ];
    for (at, change) in bad.iter().enumerate() {
        assert!(matches!(with(change), Err(SvidError::Usage(_))), "A56: case {at}");
    }
}

#[test]
fn repeated_or_padded_extensions_are_refused() {
    let mut params = leaf();
    params.subject_alt_names = vec![uri(GOOD)];
    params.custom_extensions.push(CustomExtension::from_oid_content(&[2, 5, 29, 17], san(&[(6, b"spiffe://market.example/b")])));
    assert!(Svid::from_der(&der(&params)).is_err(), "two subjectAltName extensions");
    let mut params = leaf();
    let mut padded = san(&[(6, GOOD.as_bytes())]);
    padded.extend(san(&[(6, b"spiffe://market.example/b")]));
    params.custom_extensions.push(CustomExtension::from_oid_content(&[2, 5, 29, 17], padded));
    assert_eq!(Svid::from_der(&der(&params)), Err(SvidError::Extension("subjectAltName")));
}

#[test]
fn times_beyond_2049_and_the_year_9999() {
    let mut params = leaf();
    params.subject_alt_names = vec![uri(GOOD)];
    params.not_before = date_time_ymd(1975, 1, 1);
    params.not_after = date_time_ymd(9999, 12, 31);
    let svid = Svid::from_der(&der(&params)).unwrap();
    assert_eq!(svid.not_before.to_string(), "1975-01-01T00:00:00.000Z");
    assert_eq!(svid.not_after.to_string(), "9999-12-31T00:00:00.000Z");
}

/// The chain verifier's library must read the same names, where it reads names at all (it skips what is not UTF-8).
#[test]
fn the_chain_verifiers_library_sees_the_same_uri() {
    for text in [GOOD, "spiffe://market.example/x", "urn:x", "spiffe://market.example/ns/a\0b"] {
        let mut params = leaf();
        params.custom_extensions.push(CustomExtension::from_oid_content(&[2, 5, 29, 17], san(&[(6, text.as_bytes())])));
        let der = der(&params);
        let certificate = rustls_pki_types::CertificateDer::from(der.as_slice());
        let theirs: Vec<String> = webpki::EndEntityCert::try_from(&certificate).unwrap().valid_uri_names().map(str::to_owned).collect();
        assert_eq!(theirs, [text.to_owned()]);
        match Svid::from_der(&der) {
            Ok(svid) => assert_eq!(svid.id.as_str(), text),
            Err(error) => assert!(text.parse::<portreeve_engine::SpiffeId>().is_err(), "{text:?}: {error}"),
        }
    }
}
