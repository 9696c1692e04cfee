//! Handshakes, good and bad: who is let in, and the exact word for who is not.

#![cfg(test)]
#![expect(clippy::string_slice, reason = "PEM is ASCII")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{ITEMS, LIMIT, MARKET, USERS, authority, domain, files, handshake, id, identity, now, request};
use portreeve_enforcer::ca::{Ca, ExtendedUsage, IssueRequest};
use portreeve_enforcer::tls::{ExpectedPeer, Identity, IdentityFiles, MinVersion, Refusal, VerifiedPeer, accept, refusal_of};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn two_workloads_know_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let ca = authority(dir.path(), MARKET);
    let items = identity(dir.path(), "items", &ca, ITEMS, &[(MARKET, &ca)]);
    let users = identity(dir.path(), "users", &ca, USERS, &[(MARKET, &ca)]);
    let (client, server) = handshake(&items, &users, ExpectedPeer::id(id(ITEMS))).await;
    let (client, server) = (client.unwrap(), server.unwrap());
    assert_eq!(client.svid().id.as_str(), USERS);
    assert_eq!(server.svid(), items.svid());
    assert_eq!(client.tls().version, "TLSv1.3");
    assert!(client.tls().suite.starts_with("TLS13_"), "{}", client.tls().suite);
    assert_eq!((&client.tls().serial, client.tls().sha256), (&users.svid().serial, users.svid().sha256));
    assert_eq!(client.tls().not_after, users.not_after());
}

#[tokio::test]
async fn the_client_insists_on_the_expected_server() {
    let dir = tempfile::tempdir().unwrap();
    let ca = authority(dir.path(), MARKET);
    let items = identity(dir.path(), "items", &ca, ITEMS, &[(MARKET, &ca)]);
    let users = identity(dir.path(), "users", &ca, USERS, &[(MARKET, &ca)]);
    let pattern = |text: &str| ExpectedPeer { ids: Vec::new(), patterns: vec![text.parse().unwrap()] };
    for (expected, good) in [
        (ExpectedPeer { ids: vec![id(USERS), id(ITEMS)], patterns: Vec::new() }, true),
        (pattern("spiffe://market.example/ns/shop/sa/*"), true),
        (ExpectedPeer::default(), false),
        (ExpectedPeer::id(id(USERS)), false),
        (pattern("spiffe://market.example/ns/sho/**"), false),
        (pattern("spiffe://other.example/ns/shop/sa/items"), false),
    ] {
        let (client, server) = handshake(&items, &users, expected.clone()).await;
        if good {
            assert!(server.is_ok(), "{expected:?}: {server:?}");
        } else {
            assert_eq!(server.unwrap_err(), Refusal::UnexpectedPeer, "{expected:?}");
            assert_eq!(client.unwrap_err(), Refusal::RefusedByPeer);
        }
    }
}

/// A client that presents anything (or nothing) and believes any server: the attacker of the cases below.
struct Attacker {
    config: rustls::ClientConfig,
}

#[derive(Debug)]
struct BelieveAll;

impl ServerCertVerifier for BelieveAll {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

impl Attacker {
    fn new(chain_and_key: Option<(&str, &str)>, versions: &[&'static rustls::SupportedProtocolVersion]) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(BelieveAll));
        let config = match chain_and_key {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<Vec<_>, _>>().unwrap();
                let key = provider.key_provider.load_private_key(PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap();
                // Made without the check that key and certificate match.
                let certified = Arc::new(rustls::sign::CertifiedKey::new(chain, key));
                builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(certified)))
            }
        };
        Self { config }
    }

    fn with(issued: &portreeve_enforcer::ca::Issued) -> Self {
        Self::new(Some((&issued.chain_pem, &issued.key_pem)), &[&rustls::version::TLS13])
    }

    fn old(issued: &portreeve_enforcer::ca::Issued) -> Self {
        Self::new(Some((&issued.chain_pem, &issued.key_pem)), &[&rustls::version::TLS12])
    }

    /// What the server makes of it.
    async fn tries(self, server: &Identity) -> Result<VerifiedPeer, Refusal> {
        let config = Arc::new(self.config);
        attempt(server, config).await.0
    }
}

/// A connection in memory with this client, and the kind of handshake the client saw.
async fn attempt(server: &Identity, config: Arc<rustls::ClientConfig>) -> (Result<VerifiedPeer, Refusal>, Option<rustls::HandshakeKind>) {
    let (near, far) = tokio::io::duplex(1 << 16);
    let client = async move {
        let name = ServerName::try_from("items.market.example").unwrap();
        let mut stream = tokio_rustls::TlsConnector::from(config).connect(name, far).await.ok()?;
        let _ = stream.write_all(b"x").await;
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        stream.get_ref().1.handshake_kind()
    };
    let served = async {
        let (mut stream, peer) = accept(server, near, LIMIT).await?;
        let mut byte = [0];
        let _ = stream.read_exact(&mut byte).await;
        let _ = stream.write_all(b"y").await;
        let _ = stream.shutdown().await;
        Ok(peer)
    };
    tokio::join!(served, client)
}

#[tokio::test]
async fn strangers_are_refused_each_with_its_word() {
    let dir = tempfile::tempdir().unwrap();
    let ca = authority(dir.path(), MARKET);
    let (evil_dir, partner_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let evil = authority(evil_dir.path(), MARKET);
    let partner = authority(partner_dir.path(), "partner.example");
    let server = identity(dir.path(), "items", &ca, ITEMS, &[(MARKET, &ca), ("partner.example", &partner)]);
    let two = |uris: &[&str]| IssueRequest { uris: uris.iter().map(|u| (*u).to_owned()).collect(), ..request(USERS) };
    let good = request(USERS);
    let cases: Vec<(&str, &Ca, IssueRequest, Refusal)> = vec![
        ("expired", &ca, IssueRequest { not_after: now().plus_ms(-1000), ..good.clone() }, Refusal::CertificateExpired),
        ("early", &ca, IssueRequest { not_before: now().plus_ms(60_000), ..good.clone() }, Refusal::CertificateNotYetValid),
        ("A51: two URIs", &ca, two(&[USERS, ITEMS]), Refusal::UriSanCount),
        ("A51: another scheme beside", &ca, two(&[USERS, "https://x/"]), Refusal::UriSanCount),
        ("no URI", &ca, IssueRequest { dns: vec!["users".to_owned()], ..two(&[]) }, Refusal::UriSanCount),
        ("A55: upper case", &ca, two(&["spiffe://Market.example/a"]), Refusal::InvalidSpiffeId),
        ("A55: trailing slash", &ca, two(&["spiffe://market.example/a/"]), Refusal::InvalidSpiffeId),
        ("A55: no path", &ca, two(&["spiffe://market.example"]), Refusal::InvalidSpiffeId),
        ("A12: NUL", &ca, two(&["spiffe://market.example/a\0b"]), Refusal::InvalidSpiffeId),
        ("A15: server only", &ca, IssueRequest { extended_usage: ExtendedUsage::ServerOnly, ..good.clone() }, Refusal::InvalidUsage),
        ("A56: cA", &ca, IssueRequest { ca: true, ..good.clone() }, Refusal::InvalidUsage),
        ("A56: no digitalSignature", &ca, IssueRequest { digital_signature: false, ..good.clone() }, Refusal::InvalidUsage),
        ("A52: unknown CA", &evil, good.clone(), Refusal::UnknownIssuer),
        ("A53: partner names us", &partner, good.clone(), Refusal::UnknownIssuer),
        ("A53: we name the partner", &ca, two(&["spiffe://partner.example/a"]), Refusal::UnknownIssuer),
        ("A54: a longer domain", &ca, two(&["spiffe://market.example.evil/a"]), Refusal::UnknownTrustDomain),
    ];
    let both = allowing_tls12(&dir, &ca, &[(MARKET, &ca), ("partner.example", &partner)]);
    for (what, issuer, request, refusal) in cases {
        let issued = issuer.issue_unchecked(&request).unwrap();
        assert_eq!(Attacker::with(&issued).tries(&server).await.expect_err(what), refusal, "{what}");
        // An old version is no way round: the same judgement, the same words.
        assert_eq!(Attacker::old(&issued).tries(&both).await.expect_err(what), refusal, "{what}, TLS 1.2");
        assert_eq!(Attacker::old(&issued).tries(&server).await.expect_err(what), Refusal::ProtocolVersion, "{what}");
    }
    // The same two authorities, each for its own domain, are let in: the cases above fail for their own reason.
    for (issuer, uri) in [(&ca, USERS), (&partner, "spiffe://partner.example/a")] {
        let issued = issuer.issue_unchecked(&request(uri)).unwrap();
        assert_eq!(Attacker::with(&issued).tries(&server).await.unwrap().svid().id.as_str(), uri);
    }
}

#[tokio::test]
async fn no_certificate_wrong_key_old_version_and_no_tls() {
    let dir = tempfile::tempdir().unwrap();
    let ca = authority(dir.path(), MARKET);
    let server = identity(dir.path(), "items", &ca, ITEMS, &[(MARKET, &ca)]);
    let tls13 = [&rustls::version::TLS13];
    assert_eq!(Attacker::new(None, &tls13).tries(&server).await.unwrap_err(), Refusal::NoCertificate, "A52");
    let (one, two) = (ca.issue_unchecked(&request(USERS)).unwrap(), ca.issue_unchecked(&request(USERS)).unwrap());
    let stolen = Attacker::new(Some((&one.chain_pem, &two.key_pem)), &tls13);
    assert_eq!(stolen.tries(&server).await.unwrap_err(), Refusal::BadSignature, "a certificate without its key");
    // Its owner comes, and so the chain is remembered: that lets nobody in who has not its key, nor in a longer chain (A13).
    assert!(Attacker::with(&one).tries(&server).await.is_ok());
    let stolen = Attacker::new(Some((&one.chain_pem, &two.key_pem)), &tls13);
    assert_eq!(stolen.tries(&server).await.unwrap_err(), Refusal::BadSignature, "a certificate that is remembered, without its key");
    let old = Attacker::new(Some((&one.chain_pem, &one.key_pem)), &[&rustls::version::TLS12]);
    assert_eq!(old.tries(&server).await.unwrap_err(), Refusal::ProtocolVersion);
    // The leaf alone, without its intermediate.
    let end = one.chain_pem.find("-----END CERTIFICATE-----").unwrap() + "-----END CERTIFICATE-----\n".len();
    let bare = Attacker::new(Some((&one.chain_pem[..end], &one.key_pem)), &tls13);
    assert_eq!(bare.tries(&server).await.unwrap_err(), Refusal::UnknownIssuer);
    // An intermediate that may not sign: a leaf used as an issuer.
    let chain = format!("{}{}", &one.chain_pem[..end], two.chain_pem);
    let odd = Attacker::new(Some((&chain, &one.key_pem)), &tls13);
    assert_eq!(odd.tries(&server).await.unwrap_err(), Refusal::InvalidUsage);
    // A chain that only wastes time (A35a).
    let long = format!("{}{}", &one.chain_pem[..end], one.chain_pem[end..].repeat(17));
    assert_eq!(Attacker::new(Some((&long, &one.key_pem)), &tls13).tries(&server).await.unwrap_err(), Refusal::ChainTooLong);

    let (near, mut far) = tokio::io::duplex(4096);
    let (refused, _) = tokio::join!(accept(&server, near, LIMIT), far.write_all(b"GET / HTTP/1.1\r\nhost: items\r\n\r\n"));
    assert_eq!(refused.unwrap_err(), Refusal::NotTls);
    let (near, far) = tokio::io::duplex(4096);
    drop(far);
    assert_eq!(accept(&server, near, LIMIT).await.unwrap_err(), Refusal::ConnectionClosed);
    let (near, _far) = tokio::io::duplex(4096);
    assert_eq!(accept(&server, near, Duration::from_millis(20)).await.unwrap_err(), Refusal::HandshakeTimeout, "A62");
}

fn allowing_tls12(dir: &tempfile::TempDir, ca: &Ca, trust: &[(&str, &Ca)]) -> Identity {
    let issued = ca.issue(&id(ITEMS), Duration::from_secs(3600), &[]).unwrap();
    let files = files(dir.path(), "old", &issued, trust);
    Identity::new(files.pair().unwrap(), Arc::new(files.trust().unwrap()), MinVersion::Tls12).unwrap()
}

#[tokio::test]
async fn tls12_is_spoken_only_where_it_was_asked_for_and_told_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let ca = authority(dir.path(), MARKET);
    let trust = [(MARKET, &ca)];
    let server = allowing_tls12(&dir, &ca, &trust);
    let issued = ca.issue_unchecked(&request(USERS)).unwrap();
    let peer = Attacker::old(&issued).tries(&server).await.unwrap();
    assert_eq!(peer.tls().version, "TLSv1.2");
    assert!(peer.tls().suite.starts_with("TLS_ECDHE_"), "{}", peer.tls().suite);
    assert_eq!(Attacker::with(&issued).tries(&server).await.unwrap().tls().version, "TLSv1.3");
    // Only forward secrecy and authenticated encryption.
    let suites: Vec<String> = server.server_config().crypto_provider().cipher_suites.iter().map(|s| format!("{:?}", s.suite())).collect();
    let old: Vec<&String> = suites.iter().filter(|s| !s.starts_with("TLS13_")).collect();
    assert!(!old.is_empty());
    for suite in old {
        assert!(suite.starts_with("TLS_ECDHE_") && (suite.contains("_GCM_") || suite.ends_with("CHACHA20_POLY1305_SHA256")), "{suite}");
    }
    // A certificate without its key, and the two sides of our own.
    let (one, two) = (ca.issue_unchecked(&request(USERS)).unwrap(), ca.issue_unchecked(&request(USERS)).unwrap());
    let stolen = Attacker::new(Some((&one.chain_pem, &two.key_pem)), &[&rustls::version::TLS12]);
    assert_eq!(stolen.tries(&server).await.unwrap_err(), Refusal::BadSignature);
    let nobody = Attacker::new(None, &[&rustls::version::TLS12]);
    assert_eq!(nobody.tries(&server).await.unwrap_err(), Refusal::NoCertificate);
    let users = identity(dir.path(), "users", &ca, USERS, &trust);
    let (client, ours) = handshake(&server, &users, ExpectedPeer::id(id(ITEMS))).await;
    assert_eq!((client.unwrap().tls().version.as_str(), ours.unwrap().tls().version.as_str()), ("TLSv1.3", "TLSv1.3"));
}

#[tokio::test]
async fn tls12_sessions_are_never_resumed_either() {
    let dir = tempfile::tempdir().unwrap();
    let ca = authority(dir.path(), MARKET);
    let server = allowing_tls12(&dir, &ca, &[(MARKET, &ca)]);
    let mut attacker = Attacker::old(&ca.issue_unchecked(&request(USERS)).unwrap());
    attacker.config.resumption = rustls::client::Resumption::in_memory_sessions(16);
    let config = Arc::new(attacker.config);
    for _ in 0..3 {
        let (served, kind) = attempt(&server, config.clone()).await;
        assert!(served.is_ok());
        assert_eq!(kind, Some(rustls::HandshakeKind::Full), "A13");
    }
    let ours = server.server_config();
    assert!(ours.require_ems && !ours.ticketer.enabled() && !ours.session_storage.can_cache());
    assert!(server.client_config(ExpectedPeer::default()).require_ems);
}

/// Another implementation, with and without the extended master secret (RFC 7627).
#[tokio::test]
async fn tls12_without_extended_master_secret_is_refused() {
    if std::process::Command::new("openssl").arg("version").output().is_err() {
        println!("skipped: there is no openssl here");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let ca = authority(dir.path(), MARKET);
    let server = allowing_tls12(&dir, &ca, &[(MARKET, &ca)]);
    let (cert, key) = (dir.path().join("users.pem"), dir.path().join("users.key"));
    let issued = ca.issue_unchecked(&request(USERS)).unwrap();
    issued.write(&cert, &key).unwrap();
    // What follows the leaf.
    let chain = dir.path().join("chain.pem");
    std::fs::write(&chain, issued.chain_pem.split_inclusive("-----END CERTIFICATE-----\n").skip(1).collect::<String>()).unwrap();
    let settings = dir.path().join("openssl.cnf");
    for extended in [true, false] {
        let options = if extended { "ExtendedMasterSecret" } else { "-ExtendedMasterSecret" };
        let text = format!("openssl_conf = all\n[all]\nssl_conf = ssl\n[ssl]\nsystem_default = here\n[here]\nOptions = {options}\n");
        std::fs::write(&settings, text).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = std::process::Command::new("openssl")
            .args(["s_client", "-tls1_2", "-connect", &listener.local_addr().unwrap().to_string(), "-cert"])
            .arg(&cert)
            .arg("-cert_chain")
            .arg(&chain)
            .arg("-key")
            .arg(&key)
            .env("OPENSSL_CONF", &settings)
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let (stream, _) = tokio::time::timeout(LIMIT, listener.accept()).await.expect("openssl connects").unwrap();
        let peer = accept(&server, stream, LIMIT).await.map(|(_, peer)| peer);
        let said = tokio::task::spawn_blocking(|| client.wait_with_output().unwrap()).await.unwrap();
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        if extended {
            assert_eq!(peer.expect(&said).tls().version, "TLSv1.2");
            assert!(said.contains("Extended master secret: yes"), "{said}");
        } else {
            assert_eq!(peer.expect_err(&said), Refusal::ProtocolVersion, "{said}");
        }
    }
}

#[tokio::test]
async fn sessions_are_never_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let ca = authority(dir.path(), MARKET);
    let server = identity(dir.path(), "items", &ca, ITEMS, &[(MARKET, &ca)]);
    let issued = ca.issue_unchecked(&request(USERS)).unwrap();
    // This client would resume if it could: it stores sessions and gives the same server name each time.
    let mut attacker = Attacker::with(&issued);
    attacker.config.resumption = rustls::client::Resumption::in_memory_sessions(16);
    attacker.config.enable_early_data = true;
    let config = Arc::new(attacker.config);
    for _ in 0..3 {
        let (served, kind) = attempt(&server, config.clone()).await;
        assert!(served.is_ok());
        assert_eq!(kind, Some(rustls::HandshakeKind::Full), "A13, A14");
    }
    let ours = server.server_config();
    assert_eq!((ours.send_tls13_tickets, ours.max_early_data_size, ours.session_storage.can_cache()), (0, 0, false));
    assert!(!ours.ticketer.enabled());
}

#[tokio::test]
async fn revocation_cuts_off_and_fails_closed() {
    let dir = tempfile::tempdir().unwrap();
    let ca = authority(dir.path(), MARKET);
    ca.write_crl().unwrap();
    let load = |name: &str, uri: &str| {
        let issued = ca.issue(&id(uri), Duration::from_secs(3600), &[]).unwrap();
        let files = files(dir.path(), name, &issued, &[(MARKET, &ca)]);
        IdentityFiles { crl: vec![ca.crl_path()], ..files }
    };
    let (server_files, users_files) = (load("items", ITEMS), load("users", USERS));
    let before = Identity::load(&server_files).unwrap();
    let users = Identity::load(&users_files).unwrap();
    assert!(before.revocation_until().unwrap() > now());
    let (peer, _) = handshake(&before, &users, ExpectedPeer::id(id(ITEMS))).await;
    let peer = peer.unwrap();

    ca.revoke(&users.svid().serial).unwrap();
    ca.revoke(&users.svid().serial).unwrap();
    let after = Identity::load(&server_files).unwrap();
    assert_ne!(before.generation(), after.generation());
    let (refused, _) = handshake(&after, &users, ExpectedPeer::id(id(ITEMS))).await;
    assert_eq!(refused.unwrap_err(), Refusal::Revoked, "A41");
    assert_eq!(before.judge_again(&peer, now()), Ok(()));
    assert_eq!(after.judge_again(&peer, now()), Err(Refusal::Revoked), "A65: an open connection is judged again");
    assert!(Identity::load(&users_files).is_err(), "a revoked certificate is not taken up as our own");

    // Past the list's end, nobody's status is known; past the certificate's, it has expired.
    let late = after.revocation_until().unwrap().plus_ms(1000);
    let long = ca.issue(&id(USERS), Duration::from_secs(20 * 86_400), &[]).unwrap();
    let long = Identity::load(&files(dir.path(), "long", &long, &[(MARKET, &ca)])).unwrap();
    let (long, _) = handshake(&after, &long, ExpectedPeer::id(id(ITEMS))).await;
    assert_eq!(after.judge_again(&long.unwrap(), late), Err(Refusal::RevocationUnknown), "A70");
    assert_eq!(before.judge_again(&peer, late), Err(Refusal::CertificateExpired), "A65");
}

#[tokio::test]
async fn a_list_for_one_authority_leaves_the_others_unknown() {
    let (dir, partner_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (ca, partner) = (authority(dir.path(), MARKET), authority(partner_dir.path(), "partner.example"));
    ca.write_crl().unwrap();
    let issued = ca.issue(&id(ITEMS), Duration::from_secs(3600), &[]).unwrap();
    let mut server = files(dir.path(), "items", &issued, &[(MARKET, &ca), ("partner.example", &partner)]);
    server.crl = vec![ca.crl_path()];
    let stranger = partner.issue_unchecked(&request("spiffe://partner.example/a")).unwrap();
    let refused = Attacker::with(&stranger).tries(&Identity::load(&server).unwrap()).await;
    assert_eq!(refused.unwrap_err(), Refusal::RevocationUnknown, "A70");
    partner.write_crl().unwrap();
    server.crl.push(partner.crl_path());
    assert!(Attacker::with(&stranger).tries(&Identity::load(&server).unwrap()).await.is_ok());
}

#[tokio::test]
async fn renewing_the_intermediate_leaves_everyone_connected() {
    let dir = tempfile::tempdir().unwrap();
    let mut ca = authority(dir.path(), MARKET);
    let old = ca.issue(&id(USERS), Duration::from_secs(3600), &[]).unwrap();
    ca.renew_intermediate(Duration::from_secs(90 * 86_400)).unwrap();
    let server_files = {
        let issued = ca.issue(&id(ITEMS), Duration::from_secs(3600), &[]).unwrap();
        ca.write_crl().unwrap();
        IdentityFiles { crl: vec![ca.crl_path()], ..files(dir.path(), "items", &issued, &[(MARKET, &ca)]) }
    };
    let server = Identity::load(&server_files).unwrap();
    assert!(Attacker::with(&old).tries(&server).await.is_ok());
    ca.revoke(&old.serial).unwrap();
    let server = Identity::load(&server_files).unwrap();
    assert_eq!(Attacker::with(&old).tries(&server).await.unwrap_err(), Refusal::Revoked, "the retired intermediate's list counts");
}

#[tokio::test]
async fn roots_that_are_taken_away_cut_open_connections() {
    let (dir, partner_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (ca, partner) = (authority(dir.path(), MARKET), authority(partner_dir.path(), "partner.example"));
    let both = identity(dir.path(), "items", &ca, ITEMS, &[(MARKET, &ca), ("partner.example", &partner)]);
    let alone = identity(dir.path(), "items", &ca, ITEMS, &[(MARKET, &ca)]);
    let issued = partner.issue_unchecked(&request("spiffe://partner.example/a")).unwrap();
    let peer = Attacker::with(&issued).tries(&both).await.unwrap();
    assert_eq!(both.judge_again(&peer, now()), Ok(()));
    assert_eq!(alone.judge_again(&peer, now()), Err(Refusal::UnknownTrustDomain), "A72");
}

#[test]
fn words_are_kebab_case_and_differ() {
    use Refusal as R;
    let all = [
        R::NoCertificate,
        R::MalformedCertificate,
        R::CertificateExpired,
        R::CertificateNotYetValid,
        R::UnknownIssuer,
        R::UnknownTrustDomain,
        R::UriSanCount,
        R::InvalidSpiffeId,
        R::InvalidUsage,
        R::NameConstraint,
        R::Revoked,
        R::RevocationUnknown,
        R::BadSignature,
        R::ChainTooLong,
        R::UnexpectedPeer,
        R::OwnIdentity,
        R::ProtocolVersion,
        R::NotTls,
        R::RefusedByPeer,
        R::ConnectionClosed,
        R::HandshakeTimeout,
        R::HandshakeFailed,
    ];
    let words: std::collections::BTreeSet<_> = all.iter().map(|r| r.as_str()).collect();
    assert_eq!(words.len(), all.len());
    assert!(words.iter().all(|w| w.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')));
    assert_eq!(refusal_of(&std::io::Error::other("x")), R::HandshakeFailed);
    assert_eq!(domain(MARKET).as_str(), MARKET);
}
