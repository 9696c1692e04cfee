//! `portreeve ca` as its users run it: what it writes, where, and what it says.

#![cfg(test)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use portreeve_enforcer::jwt::{Jwks, JwtIssuer, Verifier};
use portreeve_enforcer::tls::{Identity, IdentityFiles};
use portreeve_engine::Timestamp;
use portreeve_engine::chain::{HeadSigner, HeadVerifier};
use portreeve_engine::model::Visible;
use portreeve_engine::request::{AttributeValue, Token};

fn ca(dir: &Path, args: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_portreeve")).arg("ca").args(args).current_dir(dir).output().unwrap();
    assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked at"), "{args:?}");
    output
}

fn good(dir: &Path, args: &[&str]) -> String {
    let output = ca(dir, args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn bad(dir: &Path, args: &[&str]) -> String {
    let output = ca(dir, args);
    assert_eq!(output.status.code(), Some(2), "{args:?}");
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr).unwrap()
}

fn identity(dir: &Path, name: &str) -> IdentityFiles {
    let trust = [("market.example".parse().unwrap(), dir.join("ca/ca.pem"))].into();
    IdentityFiles { cert: dir.join(format!("{name}.pem")), key: dir.join(format!("{name}.key")), trust, crl: Vec::new() }
}

#[test]
fn an_authority_from_init_to_revocation() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    assert!(bad(dir, &["issue", "--id", "spiffe://market.example/items"]).contains("portreeve ca init"));
    good(dir, &["init", "--trust-domain", "market.example"]);
    assert!(bad(dir, &["init", "--trust-domain", "market.example"]).contains("exists"));
    good(dir, &["issue", "--id", "spiffe://market.example/ns/shop/sa/items"]);
    good(dir, &["issue", "--id", "spiffe://market.example/ns/shop/sa/users", "--lifetime", "90m", "--out", "v1.users"]);
    let items = Identity::load(&identity(dir, "items")).unwrap();
    assert_eq!(items.id().as_str(), "spiffe://market.example/ns/shop/sa/items");
    let lifetime = items.svid().not_after.unix_ms() - items.svid().not_before.unix_ms();
    assert_eq!(lifetime, (24 * 3600 + 60) * 1000);
    assert_eq!(std::fs::metadata(dir.join("items.key")).unwrap().permissions().mode() & 0o777, 0o600);
    let users = Identity::load(&identity(dir, "v1.users")).unwrap();
    assert_eq!(users.svid().not_after.unix_ms() - users.svid().not_before.unix_ms(), (5400 + 60) * 1000);

    good(dir, &["renew"]);
    good(dir, &["issue", "--id", "spiffe://market.example/ns/shop/sa/items"]);
    good(dir, &["crl"]);
    let with_crl = |name: &str| Identity::load(&IdentityFiles { crl: vec![dir.join("ca/crl.pem")], ..identity(dir, name) });
    assert!(with_crl("items").is_ok() && with_crl("v1.users").is_ok());
    good(dir, &["revoke", "--serial", &users.svid().serial]);
    assert!(with_crl("items").is_ok());
    assert!(with_crl("v1.users").unwrap_err().to_string().contains("revoked"));

    for (args, word) in [
        (&["issue", "--id", "spiffe://other.example/a"][..], "not of the trust domain"),
        (&["issue", "--id", "spiffe://market.example"][..], "not a workload"),
        (&["issue", "--id", "spiffe://market.example/a/"][..], "slash"),
        (&["issue", "--id", "spiffe://market.example/a", "--lifetime", "31d"][..], "lifetime"),
        (&["issue", "--id", "spiffe://market.example/a", "--lifetime", "1w"][..], "such as `24h`"),
        (&["revoke", "--serial", "zz"][..], "hexadecimal"),
        (&["init", "--trust-domain", "Market.example", "--dir", "other"][..], "lower-case"),
    ] {
        let said = bad(dir, args);
        assert!(said.contains(word), "{args:?}: {said}");
    }
}

#[test]
fn head_keys_are_for_the_engine() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    good(dir, &["head-key", "--out", "head.key"]);
    assert!(bad(dir, &["head-key", "--out", "head.key"]).contains("exists"));
    assert_eq!(std::fs::metadata(dir.join("head.key")).unwrap().permissions().mode() & 0o777, 0o600);
    let signer = HeadSigner::from_pem(&std::fs::read_to_string(dir.join("head.key")).unwrap()).unwrap();
    let verifier = HeadVerifier::from_pem(&std::fs::read_to_string(dir.join("head.pub")).unwrap()).unwrap();
    let head = signer.sign("a", 1, portreeve_engine::Digest::ZERO, Timestamp::from_unix_ms(0));
    assert_eq!(verifier.verify(&head), Ok(()));
}

#[test]
fn tokens_for_development_are_believed() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let issuer = "https://idp.market.example";
    let base = ["token", "--issuer", issuer, "--sub", "ann", "--aud", "items"];
    assert!(bad(dir, &base).contains("portreeve ca jwks"));
    good(dir, &["jwks", "--out", "jwks.json"]);
    assert_eq!(std::fs::metadata(dir.join("issuer.key")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(good(dir, &["jwks"]), std::fs::read_to_string(dir.join("jwks.json")).unwrap(), "the key is kept");
    let more = ["--scope", "items:read", "--claim", "level=3", "--claim", "tenant=eu"];
    let token = good(dir, &[&base[..], &more[..]].concat());
    let jwks = JwtIssuer { issuer: issuer.to_owned(), jwks: Jwks::File(dir.join("jwks.json")), audiences: vec!["items".to_owned()] };
    let visible = Visible {
        claims: [
            ("level".into(), portreeve_engine::model::AttributeType::Integer),
            ("tenant".into(), portreeve_engine::model::AttributeType::Text),
        ]
        .into(),
        ..Visible::default()
    };
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = Timestamp::from_unix_ms(i64::try_from(since.as_millis()).unwrap());
    let judged = Verifier::load(&[jwks]).unwrap().verify(Some(format!("Bearer {token}").as_bytes()), now, &visible);
    let Some(Token::Valid(claims)) = judged else { panic!("{judged:?}") };
    assert_eq!((&*claims.sub, claims.scope.as_deref()), ("ann", Some("items:read")));
    assert_eq!(claims.other["level"], AttributeValue::Integer(3));
    assert_eq!(claims.other["tenant"], AttributeValue::Text("eu".into()));
}
