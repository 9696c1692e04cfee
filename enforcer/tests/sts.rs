//! The token service: what it exchanges and for whom, and what it refuses, over loopback and over mutual TLS (RFC 8693).

#![cfg(test)]

#[expect(dead_code, reason = "it uses a part of what the tests share")]
mod common;
#[path = "common/listed.rs"]
mod listed;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use common::{ITEMS, LIMIT, MARKET, USERS, authority, files, id, identity, now};
use listed::listed;
use portreeve_enforcer::config::StsConfig;
use portreeve_enforcer::jwt::{Issuer, Jwks, JwtIssuer, Verifier};
use portreeve_enforcer::report::Report;
use portreeve_enforcer::sts::Sts;
use portreeve_enforcer::tls::{ExpectedPeer, Identity, connect};
use portreeve_engine::model::Visible;
use portreeve_engine::request::Token;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

const IDP: &str = "https://idp.market.example";
const STS: &str = "https://sts.market.example";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS: &str = "urn:ietf:params:oauth:token-type:access_token";

fn config(dir: &Path, more: &str) -> StsConfig {
    let text = format!(
        "listen: \"127.0.0.1:0\"\nissuer: {STS}\nkey: sts.key\naccept: [{{issuer: {IDP}, jwks: {{path: jwks.json}}, audiences: [shop]}}]\naudiences: [items, users]\nlifetime: 5m\nclaims: [tenant]\n{more}"
    );
    StsConfig::parse("sts.yaml", &text, dir).unwrap()
}

/// A user token of the accepted issuer, with these claims over the good ones.
fn token(idp: &Issuer, more: &Value) -> String {
    let seconds = now().unix_ms() / 1000;
    let mut claims = json!({"sub": "ann", "aud": ["shop"], "exp": seconds + 3600, "scope": "items:read items:write", "tenant": "eu"});
    for (name, value) in more.as_object().unwrap() {
        claims.as_object_mut().unwrap().insert(name.clone(), value.clone());
    }
    idp.mint(&claims).unwrap()
}

fn form(pairs: &[(&str, &str)]) -> String {
    let escape = |text: &str| -> String {
        text.bytes().map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
    };
    pairs.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect::<Vec<_>>().join("&")
}

fn good(token: &str) -> Vec<(&'static str, String)> {
    let pairs = [("grant_type", GRANT), ("subject_token", token), ("subject_token_type", ACCESS), ("audience", "items")];
    pairs.map(|(name, value)| (name, value.to_owned())).into()
}

async fn ask<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, request: &str) -> (u16, String, Value) {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    // The peer may close without a farewell; what it sent counts.
    let _ = tokio::time::timeout(LIMIT, stream.read_to_string(&mut text)).await.expect("an answer");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    (status, head.to_ascii_lowercase(), serde_json::from_str(body).unwrap_or(Value::Null))
}

fn post(body: &str) -> String {
    format!(
        "POST /token HTTP/1.1\r\nHost: sts\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

async fn exchange(to: SocketAddr, pairs: &[(&str, &str)]) -> (u16, String, Value) {
    ask(TcpStream::connect(to).await.unwrap(), &post(&form(pairs))).await
}

/// The claims of a token, unverified.
fn claims(token: &str) -> Value {
    use base64::Engine as _;
    let part = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

#[tokio::test]
async fn a_users_token_becomes_one_for_one_service() {
    let dir = tempfile::tempdir().unwrap();
    let idp = Issuer::create(IDP).unwrap();
    idp.write_jwks(&dir.path().join("jwks.json")).unwrap();
    let sts = Sts::start(config(dir.path(), ""), Report::silent()).await.unwrap();
    let to = sts.address();
    let user = token(&idp, &json!({"secret": "x"}));
    let pairs = good(&user);
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let (status, head, answer) = exchange(to, &pairs).await;
    assert_eq!(status, 200, "{answer}");
    assert!(head.contains("cache-control: no-store") && head.contains("content-type: application/json"), "{head}");
    assert_eq!((answer["token_type"].as_str(), answer["issued_token_type"].as_str()), (Some("Bearer"), Some(ACCESS)));
    assert_eq!((answer["expires_in"].as_i64(), answer["scope"].as_str()), (Some(300), Some("items:read items:write")));
    let issued = answer["access_token"].as_str().unwrap();
    let claims = claims(issued);
    assert_eq!((&claims["sub"], &claims["aud"], &claims["iss"]), (&json!("ann"), &json!(["items"]), &json!(STS)));
    assert_eq!((&claims["tenant"], claims.get("secret"), claims.get("act")), (&json!("eu"), None, None));

    // A gate that trusts the service's key set believes it, for its own audience alone.
    let (_, _, keys) =
        ask(TcpStream::connect(to).await.unwrap(), "GET /jwks.json HTTP/1.1\r\nHost: sts\r\nConnection: close\r\n\r\n").await;
    std::fs::write(dir.path().join("sts-jwks.json"), keys.to_string()).unwrap();
    let believes = |audience: &str| {
        let issuer =
            JwtIssuer { issuer: STS.to_owned(), jwks: Jwks::File(dir.path().join("sts-jwks.json")), audiences: vec![audience.to_owned()] };
        let verifier = Verifier::load(&[issuer]).unwrap();
        verifier.verify(Some(format!("Bearer {issued}").as_bytes()), now(), &Visible::default()).unwrap()
    };
    assert!(matches!(believes("items"), Token::Valid(claims) if &*claims.sub == "ann"));
    assert!(matches!(believes("users"), Token::Invalid(why) if &*why == "audience"));

    // Less scope is given; a shorter life of the user's token is kept.
    let short = token(&idp, &json!({"exp": now().unix_ms() / 1000 + 20}));
    let mut less = good(&short);
    less.push(("scope", "items:read".to_owned()));
    less.push(("requested_token_type", "urn:ietf:params:oauth:token-type:jwt".to_owned()));
    let less: Vec<(&str, &str)> = less.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let (status, _, answer) = exchange(to, &less).await;
    assert_eq!((status, answer["scope"].as_str()), (200, Some("items:read")), "{answer}");
    assert!(answer["expires_in"].as_i64().unwrap() <= 20);
    assert_eq!(answer["issued_token_type"], "urn:ietf:params:oauth:token-type:jwt");
    sts.shutdown().await;
    assert!(TcpStream::connect(to).await.is_err());
}

#[tokio::test]
async fn what_is_not_in_order_is_refused_with_the_codes_of_the_standard() {
    let dir = tempfile::tempdir().unwrap();
    let (idp, other) = (Issuer::create(IDP).unwrap(), Issuer::create(IDP).unwrap());
    idp.write_jwks(&dir.path().join("jwks.json")).unwrap();
    let sts = Sts::start(config(dir.path(), ""), Report::silent()).await.unwrap();
    let user = token(&idp, &json!({}));
    let deep = json!({"sub": "a", "act": {"sub": "b", "act": {"sub": "c", "act": {"sub": "d"}}}});
    let seconds = now().unix_ms() / 1000;
    let cases = [
        ("grant_type", Some("authorization_code".to_owned()), "unsupported_grant_type"),
        ("grant_type", None, "invalid_request"),
        ("audience", Some("ledger".to_owned()), "invalid_target"),
        ("audience", None, "invalid_request"),
        ("subject_token", None, "invalid_request"),
        ("subject_token", Some("x.y.z".to_owned()), "invalid_request"),
        ("subject_token", Some(token(&other, &json!({}))), "invalid_request"),
        ("subject_token", Some(token(&idp, &json!({"aud": ["elsewhere"]}))), "invalid_request"),
        ("subject_token", Some(token(&idp, &json!({"exp": seconds - 3600}))), "invalid_request"),
        ("subject_token", Some(token(&idp, &json!({"exp": seconds - 1}))), "invalid_request"),
        ("subject_token", Some(token(&idp, &json!({"sub": 7}))), "invalid_request"),
        ("subject_token", Some(token(&idp, &json!({"act": deep}))), "invalid_request"),
        ("subject_token", Some(token(&idp, &json!({"may_act": {"sub": USERS}}))), "invalid_request"),
        ("subject_token_type", None, "invalid_request"),
        ("subject_token_type", Some("urn:ietf:params:oauth:token-type:saml2".to_owned()), "invalid_request"),
        ("requested_token_type", Some("urn:ietf:params:oauth:token-type:refresh_token".to_owned()), "invalid_request"),
        ("scope", Some("items:read admin".to_owned()), "invalid_scope"),
        ("actor_token", Some("x".to_owned()), "invalid_request"),
        ("resource", Some("https://x".to_owned()), "invalid_request"),
    ];
    for (name, value, error) in cases {
        let mut pairs = good(&user);
        pairs.retain(|(n, _)| *n != name);
        pairs.extend(value.clone().map(|value| (name, value)));
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let (status, _, answer) = exchange(sts.address(), &pairs).await;
        assert_eq!((status, answer["error"].as_str()), (400, Some(error)), "{name} {value:?}: {answer}");
        assert!(answer.get("access_token").is_none());
    }
    let to = sts.address();
    let raw = |text: String| async move { ask(TcpStream::connect(to).await.unwrap(), &text).await };
    let body = form(&[("grant_type", GRANT)]);
    assert_eq!(raw(post(&body).replace("x-www-form-urlencoded", "json")).await.2["error"], "invalid_request");
    assert_eq!(raw(post(&format!("{body}&{body}"))).await.2["error"], "invalid_request", "a parameter twice");
    assert_eq!(raw(post(&"a".repeat(70_000))).await.0, 400, "more than a request may have");
    assert_eq!(raw("GET /token HTTP/1.1\r\nHost: sts\r\nConnection: close\r\n\r\n".to_owned()).await.0, 405);
    assert_eq!(raw("GET /x HTTP/1.1\r\nHost: sts\r\nConnection: close\r\n\r\n".to_owned()).await.0, 404);
    let (_, _, known) =
        raw("GET /.well-known/oauth-authorization-server HTTP/1.1\r\nHost: sts\r\nConnection: close\r\n\r\n".to_owned()).await;
    assert_eq!(known["token_endpoint"], format!("{STS}/token"));
    sts.shutdown().await;
}

#[tokio::test]
async fn over_mutual_tls_the_token_names_who_asked_and_who_asked_before() {
    let dir = tempfile::tempdir().unwrap();
    let ca = authority(&dir.path().join("ca"), MARKET);
    let idp = Issuer::create(IDP).unwrap();
    idp.write_jwks(&dir.path().join("jwks.json")).unwrap();
    let own = files(dir.path(), "sts", &ca.issue(&id(&format!("spiffe://{MARKET}/sts")), Duration::from_secs(3600), &[]).unwrap(), &[]);
    let more = format!(
        "identity: {{cert: {}, key: {}, trust: {{{MARKET}: {}}}}}\n",
        own.cert.display(),
        own.key.display(),
        ca.root_path().display()
    );
    let sts = Sts::start(config(dir.path(), &more), Report::silent()).await.unwrap();
    let to = sts.address();
    let call = |who: Identity, token: String| async move {
        let tcp = TcpStream::connect(to).await.unwrap();
        let (stream, _) = connect(&who, ExpectedPeer::id(id(&format!("spiffe://{MARKET}/sts"))), tcp, LIMIT).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        let pairs = good(&token);
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(n, v)| (*n, v.as_str())).collect();
        ask(stream, &post(&form(&pairs))).await
    };
    let http1 = |who: &str, uri: &str| identity(dir.path(), who, &ca, uri, &[(MARKET, &ca)]);
    let (status, _, answer) = call(http1("users", USERS), token(&idp, &json!({"may_act": {"sub": USERS}}))).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(claims(answer["access_token"].as_str().unwrap())["act"], json!({"sub": USERS}));
    let (_, _, answer) = call(http1("items", ITEMS), token(&idp, &json!({"act": {"sub": USERS}}))).await;
    assert_eq!(claims(answer["access_token"].as_str().unwrap())["act"], json!({"sub": ITEMS, "act": {"sub": USERS}}));
    let (status, ..) = call(http1("items", ITEMS), token(&idp, &json!({"may_act": {"sub": USERS}}))).await;
    assert_eq!(status, 400, "another service may act");
    // In the clear there is no answer.
    assert_eq!(exchange(to, &[("grant_type", GRANT)]).await.0, 0);
    sts.shutdown().await;
}

#[test]
fn a_configuration_that_would_be_unsafe_is_refused_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let text = "listen: \"0.0.0.0:8090\"\nissuer: https://s\nkey: sts.key\naccept: []\naudiences: []\nclaims: [act]\ntypo: 1\n";
    let found = StsConfig::parse("sts.yaml", text, dir.path()).unwrap_err();
    let codes: Vec<_> = found.iter().map(|d| d.code).collect();
    for code in ["not-loopback", "missing-field", "invalid-value", "unknown-field"] {
        assert!(codes.contains(&code), "{code}: {codes:?}");
    }
}

/// A key that is gone for a moment, as while it is replaced, is not made anew: tokens that were given would be worth nothing.
#[tokio::test]
async fn a_key_that_is_gone_is_not_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    Issuer::create(IDP).unwrap().write_jwks(&dir.path().join("jwks.json")).unwrap();
    let told = std::sync::Arc::<std::sync::Mutex<Vec<String>>>::default();
    let tell = std::sync::Arc::clone(&told);
    let report = Report::new(move |text| tell.lock().unwrap().push(text.to_owned()));
    let sts = Sts::start(config(dir.path(), ""), report).await.unwrap();
    let keys = async || {
        // Files are looked at again after a second.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let stream = TcpStream::connect(sts.address()).await.unwrap();
        ask(stream, "GET /jwks.json HTTP/1.1\r\nHost: sts\r\nConnection: close\r\n\r\n").await.2
    };
    let (key, before) = (dir.path().join("sts.key"), keys().await);
    let bytes = std::fs::read(&key).unwrap();
    std::fs::remove_file(&key).unwrap();
    for _ in 0..3 {
        assert_eq!(keys().await, before);
    }
    assert!(!key.exists());
    std::fs::write(&key, bytes).unwrap();
    assert_eq!(keys().await, before);
    let told = std::mem::take(&mut *told.lock().unwrap());
    assert!(told.len() == 1 && told[0].contains("sts.key"), "what stays wrong is told once: {told:?}");
    sts.shutdown().await;
}

/// Strangers that take every place and say nothing keep nobody out.
#[tokio::test]
async fn a64_whoever_holds_places_of_the_token_service_in_silence_makes_room() {
    let dir = tempfile::tempdir().unwrap();
    let idp = Issuer::create(IDP).unwrap();
    idp.write_jwks(&dir.path().join("jwks.json")).unwrap();
    let sts = Sts::start(config(dir.path(), ""), Report::silent()).await.unwrap();
    let mut silent = Vec::new();
    for n in 0..400_u16 {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, if n % 2 == 0 { 2 } else { 3 }], 0).into()).unwrap();
        silent.push(socket.connect(sts.address()).await.unwrap());
    }
    let user = token(&idp, &json!({}));
    let pairs = good(&user);
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(n, v)| (*n, v.as_str())).collect();
    for _ in 0..10 {
        assert_eq!(exchange(sts.address(), &pairs).await.0, 200);
    }
    drop(silent);
    sts.shutdown().await;
}

#[test]
fn a_check_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let idp = Issuer::create(IDP).unwrap();
    idp.write_jwks(&dir.join("jwks.json")).unwrap();
    let check = |key: &str| {
        let accept = format!("accept: [{{issuer: {IDP}, jwks: {{path: jwks.json}}, audiences: [shop]}}]\naudiences: [items]\n");
        std::fs::write(dir.join("sts.yaml"), format!("listen: \"127.0.0.1:0\"\nissuer: {STS}\nkey: {key}\n{accept}")).unwrap();
        let before = listed(dir);
        let said = portreeve_enforcer::sts::run(&dir.join("sts.yaml"), true, &Report::silent());
        assert_eq!(listed(dir), before, "{key}");
        said
    };
    check("sts.key").expect("a key that is not there would be made");
    let said = check("nowhere/sts.key").unwrap_err().to_string();
    assert!(said.contains("nowhere/sts.key") && said.contains("No such file"), "{said}");
    let said = check("jwks.json").unwrap_err().to_string();
    assert!(said.contains("key"), "{said}");
}
