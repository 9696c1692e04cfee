//! Runs `tests/corpus/spiffe-svid`: which certificates two other SPIFFE libraries take for X.509-SVIDs and which they refuse.
//!
//! Cases about private keys are the enforcer's (`enforcer/tests/identity.rs`); their certificates are still read here.

#![cfg(test)]

use portreeve_engine::Svid;
use portreeve_engine::svid::{SvidError, check_signing_certificate};
use serde_json::Value;
use x509_parser::certificate::X509Certificate;
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer;

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/corpus/spiffe-svid");

/// The certificates of a PEM file, or of a file of certificates in DER one after the other.
fn chain(file: &str) -> Vec<Vec<u8>> {
    let bytes = std::fs::read(format!("{CORPUS}/{file}")).unwrap();
    if file.ends_with(".pem") {
        return Pem::iter_from_buffer(&bytes).filter_map(Result::ok).filter(|p| p.label == "CERTIFICATE").map(|p| p.contents).collect();
    }
    let mut rest = bytes.as_slice();
    let mut out = Vec::new();
    while !rest.is_empty() {
        let after = X509Certificate::from_der(rest).map_or(&[][..], |(after, _)| after);
        out.push(rest[..rest.len() - after.len()].to_vec());
        rest = after;
    }
    out
}

fn judge(file: &str) -> Result<(Svid, usize), SvidError> {
    let chain = chain(file);
    let leaf = chain.first().ok_or_else(|| SvidError::Der("no certificate".to_owned()))?;
    let svid = Svid::from_der(leaf)?;
    chain.iter().skip(1).try_for_each(|der| check_signing_certificate(der))?;
    Ok((svid, chain.len()))
}

#[test]
fn certificates_are_judged_as_the_corpus_says() {
    let json: Value = serde_json::from_slice(&std::fs::read(format!("{CORPUS}/expectations.json")).unwrap()).unwrap();
    let cases = json["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 18);
    let mut of_keys = 0;
    for case in cases {
        let file = case["file"].as_str().unwrap();
        let why = case["why"].as_str().unwrap_or_default();
        let judged = judge(file);
        if why.contains("private key") {
            assert!(judged.is_ok(), "{file}: {judged:?}");
            of_keys += 1;
        } else if case["ok"].as_bool().unwrap() {
            let (svid, count) = judged.unwrap_or_else(|e| panic!("{file}: {e}"));
            assert_eq!(svid.id.as_str(), case["spiffe_id"].as_str().unwrap(), "{file}");
            assert_eq!(case["certs"].as_u64().unwrap_or(count as u64), count as u64, "{file}");
        } else {
            let error = judged.expect_err(file);
            assert!(is_cause(&error, why), "{file}: expected `{why}`, found `{error}`");
        }
    }
    assert_eq!(of_keys, 3);
}

fn is_cause(error: &SvidError, why: &str) -> bool {
    match why {
        "no certificates found" | "corrupt certificate" => matches!(error, SvidError::Der(_)),
        "no URI SAN" | "no SPIFFE ID" => *error == SvidError::UriCount(0),
        _ => matches!(error, SvidError::Usage(_)),
    }
}

#[test]
fn fixtures_without_expectations() {
    let fixture = |name: &str| chain(&format!("rust-spiffe/spiffe-rustls/tests/fixtures/{name}")).remove(0);
    assert_eq!(Svid::from_der(&fixture("spiffe_leaf.der")).unwrap().id.as_str(), "spiffe://example.org/service");
    for signing in ["ca.der", "ca_with_spiffe_signing.der", "ca_uri_only.der"] {
        assert!(matches!(Svid::from_der(&fixture(signing)), Err(SvidError::Usage(_))), "A56: {signing}");
    }
    for leaf in ["spiffe_leaf_no_digital_signature.der", "spiffe_leaf_no_key_usage.der"] {
        assert!(matches!(Svid::from_der(&fixture(leaf)), Err(SvidError::Usage(_))), "A56: {leaf}");
    }
    assert_eq!(check_signing_certificate(&fixture("ca.der")), Ok(()));
    // Its id is `spiffe://example.org/signer`: an issuer's id has no path.
    assert!(matches!(check_signing_certificate(&fixture("ca_with_spiffe_signing.der")), Err(SvidError::Path(_))));
}

/// What `openssl x509 -text` says of the same files.
#[test]
fn issuers_and_keys_are_told() {
    for (file, issuer, key) in [
        ("go-spiffe/svid/x509svid/testdata/good-leaf-only.pem", "C=US, O=SPIFFE", "RSA 2048"),
        ("go-spiffe/svid/x509svid/testdata/good-leaf-and-intermediate.pem", "C=US, O=SPIFFE", "EC P-256"),
    ] {
        let (svid, _) = judge(file).unwrap();
        assert_eq!((svid.issuer.as_str(), svid.key.as_str()), (issuer, key), "{file}");
    }
}

#[test]
fn every_truncation_and_every_extra_byte_is_refused() {
    let der = chain("rust-spiffe/spiffe/tests/testdata/svid/x509/svid-with-dns.der").remove(0);
    for length in 0..der.len() {
        assert!(Svid::from_der(&der[..length]).is_err(), "{length} bytes of {}", der.len());
    }
    let mut longer = der.clone();
    longer.push(0);
    assert_eq!(Svid::from_der(&longer), Err(SvidError::TrailingData(1)));
    // One changed byte anywhere must never panic, and an id that is still read keeps the grammar.
    for at in 0..der.len() {
        for flip in [0x01, 0x20, 0x80, 0xff] {
            let mut changed = der.clone();
            changed[at] ^= flip;
            if let Ok(svid) = Svid::from_der(&changed) {
                assert!(svid.id.as_str().is_ascii() && svid.id.is_workload());
            }
        }
    }
}
