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

fn certificates(path: &Path) -> usize {
    std::fs::read_to_string(path).unwrap().matches("BEGIN CERTIFICATE").count()
}

#[test]
fn a_root_is_changed_step_by_step_and_never_too_early() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    good(dir, &["init", "--trust-domain", "market.example"]);
    let issue = |out: &str| good(dir, &["issue", "--id", "spiffe://market.example/ns/shop/sa/items", "--out", out]);
    issue("before");
    good(dir, &["rotate"]);
    assert_eq!(certificates(&dir.join("ca/ca.pem")), 2);
    issue("between");
    assert!(bad(dir, &["rotate"]).contains("too early: the new signer is known since"));
    assert!(bad(dir, &["rotate", "--overlap", "1x"]).contains("such as `24h`"));
    good(dir, &["rotate", "--now"]);
    issue("after");
    for name in ["before", "between", "after"] {
        Identity::load(&identity(dir, name)).unwrap();
    }
    let said = bad(dir, &["rotate"]);
    assert!(said.contains("too early: certificates of the old root may live until") && said.contains("--now"), "{said}");
    good(dir, &["rotate", "--now"]);
    assert_eq!(certificates(&dir.join("ca/ca.pem")), 1);
    for (name, accepted) in [("before", false), ("between", false), ("after", true)] {
        assert_eq!(Identity::load(&identity(dir, name)).is_ok(), accepted, "{name}");
    }
    // And once more, from the new one.
    good(dir, &["rotate"]);
    good(dir, &["rotate", "--overlap", "0s"]);
    issue("again");
    Identity::load(&identity(dir, "again")).unwrap();
}

/// A process of ours that runs until it is told to stop.
struct Running(std::process::Child);

impl Running {
    fn start(dir: &Path, args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portreeve"));
        Self(command.arg("ca").args(args).current_dir(dir).stderr(std::process::Stdio::piped()).spawn().unwrap())
    }

    /// Its first line to the operator.
    fn says(&mut self) -> String {
        use std::io::BufRead as _;
        let mut line = String::new();
        std::io::BufReader::new(self.0.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
        line
    }

    fn stop(mut self) -> Option<i32> {
        assert!(Command::new("kill").arg(self.0.id().to_string()).status().unwrap().success());
        self.0.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Already over, unless a test failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_agent_serves_and_stops() {
    use portreeve_enforcer::tls::MinVersion;
    use portreeve_enforcer::workload::{FromApi, News, Source as _};
    use std::os::unix::fs::MetadataExt as _;
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    good(dir, &["init", "--trust-domain", "market.example"]);
    let me = std::fs::metadata("/proc/self").unwrap().uid();
    let write = |text: &str| std::fs::write(dir.join("agent.yaml"), text).unwrap();
    let entry = format!("{{uid: {me}, id: spiffe://market.example/ns/shop/sa/items}}");
    for (text, says) in [
        (format!("dir: ca\nsocket: a.sock\nentries: [{entry}]\ntypo: 1\n"), "unknown"),
        ("dir: ca\nsocket: a.sock\nentries: [{uid: 65534, id: spiffe://market.example/a}]\n".to_owned(), "stands for everybody"),
        ("dir: ca\nsocket: a.sock\nentries: [{uid: 1, id: spiffe://market.example}]\n".to_owned(), "not a workload"),
        (format!("dir: ca\nsocket: a.sock\nlifetime: 5s\nentries: [{entry}]\n"), "at least 60 s"),
        (format!("dir: ca\nsocket: a.sock\nentries: [{entry}, {entry}]\n"), "twice"),
        ("dir: ca\nsocket: a.sock\nentries: [{uid: 1, id: spiffe://other.example/a}]\n".to_owned(), "not of the authority's trust domain"),
        (format!("dir: nowhere\nsocket: a.sock\nentries: [{entry}]\n"), "nowhere"),
    ] {
        write(&text);
        let said = bad(dir, &["serve", "--config", "agent.yaml", "--check"]);
        assert!(said.contains(says), "{says}: {said}");
    }
    write(&format!("dir: ca\nsocket: a.sock\nentries: [{entry}]\n"));
    good(dir, &["serve", "--config", "agent.yaml", "--check"]);
    let mut agent = Running::start(dir, &["serve", "--config", "agent.yaml"]);
    let said = agent.says();
    assert!(said.contains("identities of one entry are served"), "{said}");
    assert!(bad(dir, &["serve", "--config", "agent.yaml"]).contains("another agent"));
    let endpoint = format!("unix://{}", dir.join("a.sock").display()).parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let news = runtime.block_on(FromApi::new(endpoint, None, MinVersion::default()).next());
    assert!(matches!(news, News::Identity(identity) if identity.id().as_str() == "spiffe://market.example/ns/shop/sa/items"));
    assert_eq!(agent.stop(), Some(0));
    assert!(!dir.join("a.sock").exists());
}

#[test]
fn the_token_service_answers_and_stops() {
    use std::io::{Read as _, Write as _};
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    good(dir, &["jwks", "--out", "jwks.json"]);
    let text = "listen: \"127.0.0.1:0\"\nissuer: https://sts.market.example\nkey: sts.key\naccept: [{issuer: https://idp.market.example, jwks: {path: jwks.json}, audiences: [shop]}]\naudiences: [items]\n";
    std::fs::write(dir.join("sts.yaml"), text).unwrap();
    good(dir, &["sts", "--config", "sts.yaml", "--check"]);
    std::fs::write(dir.join("bad.yaml"), text.replace("127.0.0.1", "0.0.0.0")).unwrap();
    assert!(bad(dir, &["sts", "--config", "bad.yaml", "--check"]).contains("tokens would travel in the clear"));
    let mut sts = Running::start(dir, &["sts", "--config", "sts.yaml"]);
    let said = sts.says();
    let address = said.split(" on ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_else(|| panic!("{said}"));
    let user = good(dir, &["token", "--issuer", "https://idp.market.example", "--sub", "ann", "--aud", "shop"]);
    let body = format!(
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&audience=items&subject_token={}&subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Ajwt",
        user.trim()
    );
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    write!(
        stream,
        "POST /token HTTP/1.1\r\nHost: sts\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"access_token\""), "{answer}");
    assert_eq!(sts.stop(), Some(0));
    assert_eq!(std::fs::metadata(dir.join("sts.key")).unwrap().permissions().mode() & 0o777, 0o600);
}
