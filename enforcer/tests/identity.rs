//! Reading our own identity: only what is whole is taken up (A71, A52, A70).

#![cfg(test)]
#![expect(clippy::string_slice, reason = "PEM is ASCII")]

#[expect(dead_code, reason = "it uses a part of what the tests share")]
mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use common::{ITEMS, MARKET, authority, domain, files, id, identity, now, request};
use portreeve_enforcer::ca::{ExtendedUsage, IssueRequest};
use portreeve_enforcer::tls::{Identity, IdentityError, IdentityFiles, Refusal};

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn a_whole_identity_is_taken_up() {
    let dir = tempfile::tempdir().unwrap();
    let ca = authority(dir.path(), MARKET);
    let ours = identity(dir.path(), "items", &ca, ITEMS, &[(MARKET, &ca)]);
    assert_eq!(ours.id().as_str(), ITEMS);
    assert!(ours.not_after() > now());
    assert_eq!(ours.revocation_until(), None);
    let again = identity(dir.path(), "items", &ca, ITEMS, &[(MARKET, &ca)]);
    assert_ne!(ours.generation(), again.generation(), "A68: a renewed certificate is another generation");
    assert!(!format!("{ours:?}").contains("PRIVATE"));
}

#[test]
fn key_and_certificate_must_match() {
    let dir = tempfile::tempdir().unwrap();
    let ca = authority(dir.path(), MARKET);
    let one = files(dir.path(), "one", &ca.issue(&id(ITEMS), HOUR, &[]).unwrap(), &[(MARKET, &ca)]);
    let two = files(dir.path(), "two", &ca.issue(&id(ITEMS), HOUR, &[]).unwrap(), &[(MARKET, &ca)]);
    let mixed = IdentityFiles { key: two.key, ..one };
    assert!(matches!(Identity::load(&mixed), Err(IdentityError::KeyMismatch { .. })), "A71");
}

#[test]
fn an_exposed_key_is_refused_with_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let ca = authority(dir.path(), MARKET);
    let ours = files(dir.path(), "items", &ca.issue(&id(ITEMS), HOUR, &[]).unwrap(), &[(MARKET, &ca)]);
    for (mode, refused) in [(0o600, false), (0o400, false), (0o440, false), (0o644, true), (0o604, true), (0o660, true)] {
        std::fs::set_permissions(&ours.key, std::fs::Permissions::from_mode(mode)).unwrap();
        match Identity::load(&ours) {
            Err(error @ IdentityError::KeyExposed { .. }) if refused => {
                assert!(error.to_string().contains(&format!("chmod 600 {}", ours.key.display())), "{error}");
            }
            other => assert!(!refused && other.is_ok(), "{mode:o}: {other:?}"),
        }
    }
}

#[test]
fn broken_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let ca = authority(dir.path(), MARKET);
    let good = files(dir.path(), "items", &ca.issue(&id(ITEMS), HOUR, &[]).unwrap(), &[(MARKET, &ca)]);
    let broken = dir.path().join("broken.pem");
    let whole = std::fs::read_to_string(&good.cert).unwrap();
    let half = &whole[..whole.len() / 2];
    for text in ["", "no PEM here\n", half, "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n"] {
        std::fs::write(&broken, text).unwrap();
        std::fs::set_permissions(&broken, std::fs::Permissions::from_mode(0o600)).unwrap();
        let with = |change: &dyn Fn(&mut IdentityFiles)| {
            let mut files = good.clone();
            change(&mut files);
            Identity::load(&files).expect_err(text).to_string()
        };
        assert!(with(&|f| f.cert = broken.clone()).contains("broken.pem"));
        assert!(with(&|f| f.key = broken.clone()).contains("broken.pem"));
        assert!(with(&|f| f.crl = vec![broken.clone()]).contains("broken.pem"));
        assert!(with(&|f| drop(f.trust.insert(domain(MARKET), broken.clone()))).contains("broken.pem"));
    }
    let missing = IdentityFiles { cert: PathBuf::from("/nonexistent/items.pem"), ..good };
    assert!(Identity::load(&missing).unwrap_err().to_string().contains("/nonexistent/items.pem"));
}

#[test]
fn our_own_certificate_must_be_one_that_peers_accept() {
    let dir = tempfile::tempdir().unwrap();
    let ca = authority(dir.path(), MARKET);
    let other_dir = tempfile::tempdir().unwrap();
    let foreign = authority(other_dir.path(), MARKET);
    let load = |request: &IssueRequest, root: &portreeve_enforcer::ca::Ca| {
        Identity::load(&files(dir.path(), "own", &ca.issue_unchecked(request).unwrap(), &[(MARKET, root)]))
    };
    let refusal = |result: Result<Identity, IdentityError>| match result {
        Err(IdentityError::Own { refusal, .. }) => refusal,
        other => panic!("{other:?}"),
    };
    assert!(load(&request(ITEMS), &ca).is_ok());
    assert_eq!(refusal(load(&request(ITEMS), &foreign)), Refusal::UnknownIssuer, "A52");
    assert_eq!(refusal(load(&request("spiffe://elsewhere.example/a"), &ca)), Refusal::UnknownTrustDomain, "A52: no roots");
    let expired = IssueRequest { not_after: now().plus_ms(-1000), ..request(ITEMS) };
    assert_eq!(refusal(load(&expired, &ca)), Refusal::CertificateExpired);
    let server_only = IssueRequest { extended_usage: ExtendedUsage::ServerOnly, ..request(ITEMS) };
    assert_eq!(refusal(load(&server_only, &ca)), Refusal::InvalidUsage);
    let signing = IssueRequest { ca: true, ..request(ITEMS) };
    assert!(matches!(load(&signing, &ca), Err(IdentityError::Svid { .. })), "A56");
}

/// The cases of the corpus that are about private keys: each must fail for the key's sake.
#[test]
fn corpus_cases_about_keys() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/corpus/spiffe-svid");
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(format!("{corpus}/expectations.json")).unwrap()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut count = 0;
    for case in json["cases"].as_array().unwrap().iter().filter(|c| c["why"].as_str().is_some_and(|w| w.contains("private key"))) {
        let key = dir.path().join("key.pem");
        std::fs::copy(format!("{corpus}/{}", case["key"].as_str().unwrap()), &key).unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        let cert = format!("{corpus}/{}", case["file"].as_str().unwrap()).into();
        let loaded = Identity::load(&IdentityFiles { cert, key, trust: [].into(), crl: Vec::new() });
        let fits = match case["why"].as_str().unwrap() {
            "leaf does not match private key" => matches!(loaded, Err(IdentityError::KeyMismatch { .. })),
            "corrupt private key" => matches!(loaded, Err(IdentityError::Key { .. })),
            _ => matches!(loaded, Err(IdentityError::Pem { section: "PRIVATE KEY", .. })),
        };
        assert!(fits, "{case}: {loaded:?}");
        count += 1;
    }
    assert_eq!(count, 3);
}
