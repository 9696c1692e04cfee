//! The built-in authority: what it writes, what it refuses, and what an outside judge (openssl) makes of it.

#![cfg(test)]

#[expect(dead_code, reason = "it uses a part of what the tests share")]
mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::{DAY, ITEMS, MARKET, authority, domain, id, now, request};
use portreeve_enforcer::ca::{Ca, CaError, CaOptions, IssueRequest, LEAF_LIFETIME_MAX, Stage, head_key};
use portreeve_engine::chain::{HeadSigner, HeadVerifier};
use portreeve_engine::svid::{SvidError, check_signing_certificate};
use portreeve_engine::{Digest, Svid};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

const HOUR: Duration = Duration::from_secs(3600);

fn chain(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().unwrap()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn an_svid_follows_the_standard() {
    let dir = tempfile::tempdir().unwrap();
    let ca = authority(&dir.path().join("ca"), MARKET);
    let issued = ca.issue(&id(ITEMS), HOUR, &["items.shop".to_owned()]).unwrap();
    let chain = chain(&issued.chain_pem);
    assert_eq!(chain.len(), 2);
    let svid = Svid::from_der(&chain[0]).unwrap();
    assert_eq!((svid.id.as_str(), &svid.serial), (ITEMS, &issued.serial));
    assert_eq!(svid.not_after.unix_ms() / 1000, issued.not_after.unix_ms() / 1000);
    assert_eq!(check_signing_certificate(&chain[1]), Ok(()));
    // Backdated for slow clocks, and no longer than asked for.
    let lifetime = svid.not_after.unix_ms() - svid.not_before.unix_ms();
    assert!((3_600_000..=3_600_000 + 120_000).contains(&lifetime), "{lifetime}");
    assert!(svid.not_before < now());

    let (_, leaf) = x509_parser::parse_x509_certificate(&chain[0]).unwrap();
    let usage = leaf.key_usage().unwrap().unwrap();
    assert!(usage.critical && usage.value.digital_signature() && usage.value.flags == 1, "digitalSignature alone, critical");
    let extended = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(extended.client_auth && extended.server_auth && !extended.any);
    assert!(!leaf.basic_constraints().unwrap().unwrap().value.ca);
    assert_eq!(leaf.raw_serial().len(), 16);
    assert!(leaf.raw_serial()[0] & 0x80 == 0, "positive");
    for (der, path_length) in [(&chain[1][..], 0), (&std::fs::read(ca.root_path()).unwrap()[..], 1)] {
        let der = if der[0] == b'-' { CertificateDer::from_pem_slice(der).unwrap().to_vec() } else { der.to_vec() };
        let (_, signer) = x509_parser::parse_x509_certificate(&der).unwrap();
        let constraints = signer.basic_constraints().unwrap().unwrap();
        assert!(constraints.critical && constraints.value.ca);
        assert_eq!(constraints.value.path_len_constraint, Some(path_length));
        let usage = signer.key_usage().unwrap().unwrap();
        assert!(usage.critical && usage.value.key_cert_sign() && usage.value.crl_sign() && !usage.value.digital_signature());
        assert!(matches!(Svid::from_der(&der), Err(SvidError::Usage(_))), "A56: a signer cannot authenticate");
    }
    let other = ca.issue(&id(ITEMS), HOUR, &[]).unwrap();
    assert_ne!(other.serial, issued.serial);
    assert_ne!(other.key_pem, issued.key_pem);
    assert!(!format!("{issued:?}").contains("PRIVATE"));
}

#[test]
fn keys_are_private_and_nothing_is_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("new/ca");
    let ca = authority(&home, MARKET);
    assert_eq!(mode(&home), 0o700);
    assert_eq!((mode(&home.join("ca.key")), mode(&home.join("intermediate.key"))), (0o600, 0o600));
    let before = Digest::of(&std::fs::read(home.join("ca.key")).unwrap());
    assert!(matches!(Ca::init(&home, &domain("other.example"), CaOptions::default()), Err(CaError::Exists { .. })));
    assert_eq!(Digest::of(&std::fs::read(home.join("ca.key")).unwrap()), before);

    let (cert, key) = (dir.path().join("items.pem"), dir.path().join("items.key"));
    std::fs::write(&key, "old").unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let issued = ca.issue_files(&id(ITEMS), HOUR, &cert, &key).unwrap();
    assert_eq!((mode(&key), mode(&cert)), (0o600, 0o644), "a replaced key does not keep the old file's mode");
    assert_eq!(std::fs::read_to_string(&cert).unwrap(), issued.chain_pem);
    let names = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    assert!(names.into_iter().all(|name| !name.starts_with('.')), "no half-written file is left");

    std::fs::set_permissions(home.join("ca.key"), std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(Ca::open(&home).unwrap_err().to_string().contains("chmod 600"));
}

#[test]
fn an_authority_opens_as_it_was_made() {
    let dir = tempfile::tempdir().unwrap();
    let made = authority(dir.path(), MARKET);
    let opened = Ca::open(dir.path()).unwrap();
    assert_eq!(opened.trust_domain().as_str(), MARKET);
    assert_eq!(opened.intermediate_not_after(), made.intermediate_not_after());
    let (one, two) =
        (chain(&made.issue(&id(ITEMS), HOUR, &[]).unwrap().chain_pem), chain(&opened.issue(&id(ITEMS), HOUR, &[]).unwrap().chain_pem));
    assert_eq!(one[1], two[1], "the same intermediate");
    let other = tempfile::tempdir().unwrap();
    authority(other.path(), MARKET);
    std::fs::copy(other.path().join("intermediate.key"), dir.path().join("intermediate.key")).unwrap();
    assert!(Ca::open(dir.path()).unwrap_err().to_string().contains("is not the key of"));
    assert!(matches!(Ca::open(&dir.path().join("none")), Err(CaError::File { .. })));
}

#[test]
fn what_is_not_issued() {
    let dir = tempfile::tempdir().unwrap();
    let options = CaOptions { intermediate_lifetime: Duration::from_secs(10 * 86_400), ..CaOptions::default() };
    let ca = Ca::init(dir.path(), &domain(MARKET), options).unwrap();
    let refuse = |uri: &str, lifetime: Duration| ca.issue(&id(uri), lifetime, &[]).unwrap_err();
    assert!(matches!(refuse("spiffe://other.example/a", HOUR), CaError::ForeignTrustDomain { .. }));
    assert!(matches!(refuse("spiffe://market.example", HOUR), CaError::NotWorkload { .. }));
    assert!(matches!(refuse(ITEMS, LEAF_LIFETIME_MAX + Duration::from_secs(1)), CaError::Lifetime(_)));
    assert!(matches!(refuse(ITEMS, Duration::ZERO), CaError::Lifetime(_)));
    assert!(matches!(refuse(ITEMS, Duration::from_secs(11 * 86_400)), CaError::IssuerEnds { .. }));
    assert!(matches!(ca.issue(&id(ITEMS), HOUR, &["ü".to_owned()]), Err(CaError::Name(_))));
    let mut long = Ca::open(dir.path()).unwrap();
    assert!(matches!(long.renew_intermediate(Duration::from_secs(20 * 365 * 86_400)), Err(CaError::IssuerEnds { .. })));
    for serial in ["", "xyz", "-1", &"a".repeat(41)] {
        assert!(matches!(ca.revoke(serial), Err(CaError::Serial(_))), "{serial}");
    }
    assert!(!ca.crl_path().exists());
    std::fs::write(dir.path().join("revoked.txt"), "abc\n").unwrap();
    assert!(matches!(ca.write_crl(), Err(CaError::Content { .. })), "a revocation that cannot be read is not left out");
}

/// Two processes may have the same authority open: each renewal retires what is there when its turn comes, and no key is lost.
#[test]
fn renewals_by_two_who_opened_the_same_authority_lose_no_key() {
    let dir = tempfile::tempdir().unwrap();
    let mut one = authority(dir.path(), MARKET);
    let mut two = Ca::open(dir.path()).unwrap();
    let days = Duration::from_secs(90 * 86_400);
    one.renew_intermediate(days).unwrap();
    two.renew_intermediate(days).unwrap();
    one.renew_intermediate(days).unwrap();
    one.write_crl().unwrap();
    let lists = std::fs::read_to_string(one.crl_path()).unwrap();
    // Of the root, of the three that were retired, and of the one that signs.
    assert_eq!(lists.matches("BEGIN X509 CRL").count(), 5);
    let leaf = two.issue(&id(ITEMS), HOUR, &[]).map(|issued| chain(&issued.chain_pem));
    assert!(leaf.is_ok());
    // While a new signer is made known, another one cannot be taken into use beside it.
    one.announce(false, CaOptions::default()).unwrap();
    assert!(matches!(two.renew_intermediate(days), Err(CaError::UnderWay)));
}

/// A new intermediate leaves the root as it is, and with it the leaves that hang on it: the root is believed as long as they live.
#[test]
fn a_root_is_kept_for_leaves_that_an_earlier_intermediate_signed() {
    let dir = tempfile::tempdir().unwrap();
    let mut ca = authority(dir.path(), MARKET);
    let leaf = ca.issue(&id(ITEMS), Duration::from_secs(20 * 86_400), &[]).unwrap();
    for root in [false, true] {
        ca.announce(root, CaOptions::default()).unwrap();
        ca.switch().unwrap();
    }
    let Stage::Switched { until } = *ca.stage() else { panic!("{:?}", ca.stage()) };
    assert!(until >= leaf.not_after, "the root is forgotten at {until}, and a leaf lives until {}", leaf.not_after);
}

/// Who issues at the same moment does not take the other one's leaf out of mind.
#[test]
fn the_mark_of_the_leaves_never_goes_back() {
    let dir = tempfile::tempdir().unwrap();
    authority(dir.path(), MARKET);
    let ends = std::thread::scope(|scope| {
        let issue = |days: u64| {
            let ca = Ca::open(dir.path()).unwrap();
            move || ca.issue(&id(ITEMS), Duration::from_secs(days * 86_400), &[]).unwrap().not_after
        };
        let all: Vec<_> = (1..=24).map(|days| scope.spawn(issue(days))).collect();
        all.into_iter().map(|one| one.join().unwrap()).max().unwrap()
    });
    let mut ca = Ca::open(dir.path()).unwrap();
    ca.announce(true, CaOptions::default()).unwrap();
    ca.switch().unwrap();
    let Stage::Switched { until } = *ca.stage() else { panic!("{:?}", ca.stage()) };
    assert!(until >= ends, "{until} is before {ends}");
}

#[test]
fn bad_certificates_are_made_as_asked() {
    let dir = tempfile::tempdir().unwrap();
    let ca = authority(dir.path(), MARKET);
    let two = IssueRequest::leaf(&[ITEMS, "spiffe://market.example/b"], now().plus_ms(-DAY), now().plus_ms(DAY));
    let der = |request: &IssueRequest| chain(&ca.issue_unchecked(request).unwrap().chain_pem).remove(0);
    assert_eq!(Svid::from_der(&der(&two)), Err(SvidError::UriCount(2)));
    let expired = IssueRequest { not_after: now().plus_ms(-1), ..request(ITEMS) };
    assert!(Svid::from_der(&der(&expired)).unwrap().not_after <= now());
    // Times that no certificate of ours needs do not break it.
    let odd = IssueRequest::leaf(&[ITEMS], portreeve_engine::Timestamp::MIN, portreeve_engine::Timestamp::MAX);
    assert_eq!(Svid::from_der(&der(&odd)).unwrap().not_after.to_string(), "9999-12-31T23:59:59.000Z");
}

#[test]
fn head_keys_are_read_by_the_engine() {
    let pair = head_key().unwrap();
    let signer = HeadSigner::from_pem(&pair.private_pem).unwrap();
    let head = signer.sign("instance", 7, Digest::of(b"x"), now());
    HeadVerifier::from_pem(&pair.public_pem).unwrap().verify(&head).unwrap();
    assert!(HeadVerifier::from_pem(&head_key().unwrap().public_pem).unwrap().verify(&head).is_err());
    assert!(HeadSigner::from_pem(&pair.public_pem).is_err());
}

/// An outside judge: openssl builds the same chains, for both purposes, and sees the revocation.
#[test]
fn openssl_agrees() {
    if Command::new("openssl").arg("version").output().is_err() {
        println!("skipped: there is no openssl here");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let ca = authority(dir.path(), MARKET);
    let issued = ca.issue(&id(ITEMS), HOUR, &[]).unwrap();
    let leaf = dir.path().join("leaf.pem");
    std::fs::write(&leaf, &issued.chain_pem).unwrap();
    ca.write_crl().unwrap();
    // `openssl verify` reads one list of a file given with `-CRLfile`; among the trusted files it reads all.
    let verify = |purpose: &str, revocation: bool| {
        let mut command = Command::new("openssl");
        command.args(["verify", "-x509_strict", "-purpose", purpose, "-untrusted"]).arg(dir.path().join("intermediate.pem"));
        let trusted = dir.path().join("trusted.pem");
        let lists = std::fs::read_to_string(ca.crl_path()).unwrap();
        std::fs::write(&trusted, std::fs::read_to_string(ca.root_path()).unwrap() + &lists).unwrap();
        if revocation {
            command.arg("-crl_check_all");
        }
        let output = command.arg("-CAfile").arg(&trusted).arg(&leaf).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout))
    };
    for purpose in ["sslclient", "sslserver"] {
        for revocation in [false, true] {
            let (good, said) = verify(purpose, revocation);
            assert!(good, "{purpose} {revocation}: {said}");
        }
    }
    ca.revoke(&issued.serial).unwrap();
    assert!(verify("sslclient", false).0);
    let (good, said) = verify("sslclient", true);
    assert!(!good && said.contains("revoked"), "{said}");
}
