//! User tokens exchanged for the next service: by the built-in token service over mutual TLS, and by one behind a URL.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use portreeve_enforcer::Enforcer;
use portreeve_enforcer::config::StsConfig;
use portreeve_enforcer::jwt::Issuer;
use portreeve_enforcer::report::Report;
use portreeve_enforcer::sts::Sts;
use portreeve_engine::request::Token;
use serde_json::json;

use crate::town::{LAW, Town, app, code, decided, nobody, ok, raw};

const IDP: &str = "https://idp.market.example";

fn law() -> String {
    let sts = "---\nkind: Service\nname: sts\nidentities: [spiffe://market.example/ns/shop/sa/sts]\n";
    format!("{}{sts}", LAW.replace("PORT", "443"))
}

fn user(idp: &Issuer, name: &str) -> String {
    let exp = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + 600;
    idp.mint(&json!({"sub": name, "aud": ["shop"], "exp": exp, "scope": "users:read"})).unwrap()
}

async fn ask(to: SocketAddr, headers: &str) -> (u16, String) {
    let answer = raw(to, &format!("GET /v1/users/7 HTTP/1.1\r\nHost: users\r\nConnection: close\r\n{headers}\r\n")).await;
    (code(&answer), answer)
}

fn counted(enforcer: &Enforcer, result: &str) -> u64 {
    let line = format!("portreeve_token_exchanges_total{{result=\"{result}\"}} ");
    enforcer.gate().metrics.render().lines().find_map(|l| l.strip_prefix(&line).map(|n| n.parse().unwrap())).unwrap_or(0)
}

#[tokio::test]
async fn a_users_token_is_exchanged_by_a_service_of_the_mesh() {
    let town = Town::new(443);
    town.law(2, &law());
    town.issue("sts");
    let idp = Issuer::create(IDP).unwrap();
    idp.write_jwks(&town.path("idp.jwks")).unwrap();
    let root = town.ca.root_path().display().to_string();
    let config = format!(
        "listen: \"127.0.0.1:0\"\nissuer: https://sts.market.example\nkey: sts-tokens.key\naccept: [{{issuer: {IDP}, jwks: {{path: idp.jwks}}, audiences: [shop]}}]\naudiences: [users]\nidentity: {{cert: sts.pem, key: sts.key, trust: {{market.example: {root}}}}}\n"
    );
    let sts = Sts::start(StsConfig::parse("sts.yaml", &config, town.dir.path()).unwrap(), Report::silent()).await.unwrap();
    let jwks = Issuer::open("https://sts.market.example", &town.path("sts-tokens.key")).unwrap();
    jwks.write_jwks(&town.path("sts.jwks")).unwrap();

    let (app, _) = app(|_, head| ok(head)).await;
    let believed = "jwt: [{issuer: https://sts.market.example, jwks: {path: sts.jwks}, audiences: [users]}]\n";
    let callee = town.start("users", "users", &format!("{believed}inbound: [{{listen: \"127.0.0.1:0\", upstream: \"{app}\"}}]\n")).await;
    let caller = town
        .start(
            "payments",
            "payments",
            &format!(
                "exchange: {{service: sts, connect: \"{}\"}}\noutbound: [{{listen: \"127.0.0.1:0\", service: users, connect: \"{}\"}}]\n",
                sts.address(),
                callee.inbound()[0]
            ),
        )
        .await;
    let (ann, bob) = (user(&idp, "ann"), user(&idp, "bob"));
    for (token, n) in [(&ann, 1), (&ann, 2), (&bob, 3), (&ann, 4)] {
        let (code, answer) = ask(caller.outbound()[0], &format!("Authorization: Bearer {token}\r\n")).await;
        assert_eq!(code, 200, "{n}: {answer}");
        assert!(!answer.contains(token.as_str()) && answer.to_ascii_lowercase().contains("authorization: bearer "), "{answer}");
    }
    // Nothing to exchange.
    assert_eq!(ask(caller.outbound()[0], "").await.0, 200);
    assert_eq!((counted(&caller, "exchanged"), counted(&caller, "kept")), (2, 2));
    caller.shutdown().await;
    callee.shutdown().await;
    sts.shutdown().await;
    let records = town.records("users");
    let subjects: Vec<_> = decided(&records)
        .iter()
        .map(|(_, d)| match &d.context.jwt {
            Some(Token::Valid(claims)) => format!("{} {:?} {}", claims.sub, claims.aud, claims.iss),
            other => format!("{other:?}"),
        })
        .collect();
    let of = |name: &str| format!("{name} [\"users\"] https://sts.market.example");
    assert_eq!(subjects, [of("ann"), of("ann"), of("bob"), of("ann"), "None".to_owned()]);
}

/// A token service behind a URL, and a caller that uses it.
async fn behind_a_url(
    answer: impl Fn(usize, &str) -> Vec<u8> + Send + Sync + 'static,
    more: &str,
) -> (Town, Enforcer, Enforcer, Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let town = Town::new(443);
    let (app, seen) = app(|_, head| ok(head)).await;
    let (sts, exchanges) = crate::town::app(answer).await;
    let callee = town.callee("users", app).await;
    std::fs::write(town.path("client.secret"), "s3cret/+\n").unwrap();
    let caller = town
        .start(
            "payments",
            "payments",
            &format!(
                "outbound: [{{listen: \"127.0.0.1:0\", service: users, connect: \"{}\", exchange: {{url: \"http://{sts}/token\", private_addresses: true{more}}}}}]\n",
                callee.inbound()[0]
            ),
        )
        .await;
    (town, callee, caller, seen, exchanges)
}

fn granted(token: &str) -> Vec<u8> {
    let body = json!({"access_token": token, "issued_token_type": "x", "token_type": "Bearer", "expires_in": 300}).to_string();
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

#[tokio::test]
async fn requests_at_the_same_time_exchange_once() {
    let head = Arc::new(std::sync::Mutex::new(String::new()));
    let kept = Arc::clone(&head);
    let sts = move |_, head: &str| {
        // Long enough that the other requests are there.
        std::thread::sleep(std::time::Duration::from_millis(100));
        head.clone_into(&mut kept.lock().unwrap());
        granted("new.token")
    };
    let (_town, _callee, caller, seen, exchanges) = behind_a_url(sts, ", client: {id: \"pay:ments\", secret: client.secret}").await;
    let to = caller.outbound()[0];
    let asked = (0..20).map(|_| tokio::spawn(async move { ask(to, "Authorization: Bearer old.token\r\n").await }));
    for answer in futures_util::future::join_all(asked).await {
        let (code, answer) = answer.unwrap();
        assert!(code == 200 && answer.contains("Bearer new.token") && !answer.contains("old.token"), "{answer}");
    }
    assert_eq!((exchanges.load(Ordering::SeqCst), seen.load(Ordering::SeqCst)), (1, 20));
    let head = head.lock().unwrap().to_ascii_lowercase();
    // `pay%3Aments:s3cret%2F%2B`
    assert!(
        head.starts_with("post /token http/1.1")
            && head.contains("authorization: basic cgf5jtnbbwvudhm6czncmv0jtjgjtjc".get(..27).unwrap()),
        "{head}"
    );
}

#[tokio::test]
async fn what_cannot_be_exchanged_does_not_go_out() {
    let refusal = |code: u16, body: &str| format!("HTTP/1.1 {code} X\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes();
    let redirect = b"HTTP/1.1 302 X\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n".to_vec();
    for (answer, expected) in [
        (refusal(400, r#"{"error":"invalid_request"}"#), 401),
        (refusal(400, r#"{"error":"invalid_target"}"#), 502),
        (refusal(401, r#"{"error":"invalid_client"}"#), 502),
        (refusal(500, ""), 502),
        (refusal(200, "no"), 502),
        (refusal(200, r#"{"access_token":"a b","token_type":"Bearer"}"#), 502),
        (refusal(200, r#"{"access_token":"ab","token_type":"DPoP"}"#), 502),
        (redirect, 502),
        (Vec::new(), 502),
    ] {
        let text = String::from_utf8_lossy(&answer).into_owned();
        let (_town, _callee, caller, seen, _) = behind_a_url(move |_, _| answer.clone(), "").await;
        let (code, told) = ask(caller.outbound()[0], "Authorization: Bearer old.token\r\n").await;
        assert_eq!((code, seen.load(Ordering::SeqCst)), (expected, 0), "{text}");
        assert!(!told.contains("invalid"), "{told}");
    }
}

#[tokio::test]
async fn odd_credentials_are_not_passed_on() {
    let (town, _callee, caller, seen, exchanges) = behind_a_url(|_, _| granted("new.token"), "").await;
    let to = caller.outbound()[0];
    assert_eq!(ask(to, "Authorization: Bearer a\r\nAuthorization: Bearer b\r\n").await.0, 400);
    assert_eq!(ask(to, "Authorization: Bearer a b\r\n").await.0, 400);
    assert_eq!(ask(to, &format!("Authorization: Bearer {}\r\n", "x".repeat(9000))).await.0, 400);
    assert_eq!((seen.load(Ordering::SeqCst), exchanges.load(Ordering::SeqCst)), (0, 0));
    // What is no bearer token is not ours to exchange.
    assert_eq!(ask(to, "Authorization: Basic eDp5\r\n").await.0, 200);
    // Nobody there.
    let nobody = nobody().await;
    let gone = town
        .start("payments", "gone", &format!("outbound: [{{listen: \"127.0.0.1:0\", service: users, connect: \"{nobody}\", exchange: {{url: \"http://{nobody}/\", private_addresses: true}}}}]\n"))
        .await;
    assert_eq!(ask(gone.outbound()[0], "Authorization: Bearer a\r\n").await.0, 502);
}
