//! Key sets over https, seen from outside (A07, A09, A16, A33, A66).

use portreeve_enforcer::jwt::Issuer;
use portreeve_engine::request::Token;
use serde_json::json;

use crate::testing::{Authority, Reply, Server, reply};
use crate::world::{World, decided, ended, eventually};

const IDP: &str = "https://idp.market.example";

const SHOP: &str = r#"
kind: Service
name: items
identities: [spiffe://market.example/ns/shop/sa/items]
operations:
  - {id: read-item, method: GET, path: "/v1/items/{id}"}
  - {id: status, method: GET, path: "/status"}
---
kind: Service
name: invoices
identities: [spiffe://market.example/ns/shop/sa/invoices]
operations: [{id: read, method: GET, path: "/v1/invoices"}]
---
kind: Permission
name: invoices-items
allow: {from: [invoices], to: items, operations: [read-item]}
when: {jwt: {issuer: https://idp.market.example, audience: items}}
justification: An invoice line names the item sold.
owner: team-billing
---
kind: Permission
name: status
allow: {from: [invoices], to: items, operations: [status]}
justification: Callers look whether items is well.
owner: team-billing
"#;

fn bearer(issuer: &Issuer) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let token = issuer.mint(&json!({"sub": "ann", "aud": "items", "exp": now + 600})).unwrap();
    format!("Authorization: Bearer {token}\r\n")
}

fn jwt(server: &Server, authority: &Authority, more: &str) -> String {
    let (url, ca) = (server.url("localhost"), authority.file());
    format!("jwt: [{{issuer: {IDP}, jwks: {{url: \"{url}\", ca: {}{more}}}, audiences: [items]}}]\n", ca.display())
}

#[tokio::test]
async fn keys_are_there_before_the_first_request_and_new_ones_follow_the_tokens() {
    let world = World::new(SHOP).await;
    let authority = Authority::new();
    let (old, new) = (Issuer::create(IDP).unwrap(), Issuer::create(IDP).unwrap());
    let server = Server::tls(&authority, vec![reply("200 OK", &old.jwks_json()), reply("200 OK", &new.jwks_json())]).await;
    let enforcer = world.start("", &jwt(&server, &authority, ", private_addresses: true")).await;
    let to = enforcer.inbound()[0];

    assert_eq!(world.get(to, "invoices", "/v1/items/1", &bearer(&old)).await.0, 200);
    assert_eq!(world.get(to, "users", "/v1/items/1", &bearer(&old)).await.0, 403, "A33: the token of another caller's user");
    assert_eq!(world.get(to, "invoices", "/v1/items/1", "").await.0, 403, "A16: no token");
    assert_eq!(world.get(to, "invoices", "/status", "").await.0, 200);
    let stranger = Issuer::create("https://evil.example").unwrap();
    assert_eq!(world.get(to, "invoices", "/status", &bearer(&stranger)).await.0, 403, "A16: present and not believed");
    let token = bearer(&old).trim().rsplit(' ').next().unwrap().to_owned();
    assert_eq!(world.get(to, "invoices", &format!("/v1/items/1?access_token={token}"), "").await.0, 403, "A66g");

    // The provider has turned to another key. SIGHUP fetches at once; a token would, after the pause.
    assert_eq!(world.get(to, "invoices", "/v1/items/1", &bearer(&new)).await.0, 403, "A66h: nothing waits for a fetch");
    enforcer.reload().await.unwrap();
    eventually("the new key", async || world.get(to, "invoices", "/v1/items/1", &bearer(&new)).await.0 == 200).await;
    assert_eq!(world.get(to, "invoices", "/v1/items/1", &bearer(&old)).await.0, 403, "a withdrawn key");
    assert_eq!(server.requests().len(), 2);
    let page = world.page(&enforcer, "/config").await;
    assert!(page.contains("/keys\"") && !page.contains("a=b"), "{page}");
    enforcer.shutdown().await;

    let records = world.records();
    let passed = world.take_seen();
    assert_eq!(passed.len(), ended(&records).len());
    assert!(passed.iter().all(|request| !request.contains("access_token")), "{passed:?}");
    let words: Vec<String> = decided(&records)
        .iter()
        .filter_map(|d| match &d.context.jwt {
            Some(Token::Invalid(why)) => Some(why.to_string()),
            _ => None,
        })
        .collect();
    assert_eq!(words.first().map(String::as_str), Some("unknown-issuer"));
    assert!(words.iter().skip(1).all(|w| w == "unknown-key"), "{words:?}");
}

#[tokio::test]
async fn a07_the_enforcer_starts_without_its_token_issuer_and_believes_nobody() {
    let world = World::new(SHOP).await;
    let authority = Authority::new();
    let issuer = Issuer::create(IDP).unwrap();
    let server =
        Server::tls(&authority, vec![reply("503 Service Unavailable\r\nretry-after: 1", ""), reply("200 OK", &issuer.jwks_json())]).await;
    let enforcer = world.start("", &jwt(&server, &authority, ", private_addresses: true")).await;
    let to = enforcer.inbound()[0];
    assert_eq!(world.get(to, "invoices", "/status", "").await.0, 200, "what needs no token is served");
    assert_eq!(world.get(to, "invoices", "/v1/items/1", &bearer(&issuer)).await.0, 403);
    assert!(world.told.lock().unwrap().iter().any(|line| line.contains("none of its tokens is believed")));
    assert!(world.page(&enforcer, "/metrics").await.contains("portreeve_key_sets_failing 1"));
    eventually("the keys", async || world.get(to, "invoices", "/v1/items/1", &bearer(&issuer)).await.0 == 200).await;
    assert!(world.page(&enforcer, "/metrics").await.contains("portreeve_key_sets_failing 0"));
    enforcer.shutdown().await;
    let records = world.records();
    let refused = decided(&records).into_iter().find(|d| matches!(&d.context.jwt, Some(Token::Invalid(_)))).unwrap();
    assert_eq!(refused.context.jwt, Some(Token::Invalid("keys-unavailable".into())));
}

#[tokio::test]
async fn without_a_file_the_system_says_whom_to_believe() {
    let world = World::new(SHOP).await;
    let authority = Authority::new();
    let text = format!(
        "service: items\nbundle: {{path: policies}}\nidentity: {{cert: items.pem, key: items.key, trust: {{market.example: ca/ca.pem}}}}\ninbound: [{{listen: \"127.0.0.1:0\", upstream: \"127.0.0.1:1\"}}]\nlog: {{path: \"-\"}}\njwt: [{{issuer: {IDP}, jwks: {{url: \"https://idp.market.example/keys\"}}, audiences: [items]}}]\n"
    );
    std::fs::write(world.path("enforcer.yaml"), text.replace("ca/ca.pem", &world.root().display().to_string())).unwrap();
    std::fs::write(world.path("empty.pem"), "").unwrap();
    for (roots, code, says) in [
        (authority.file(), 0, ""),
        (world.path("empty.pem"), 2, "the system has no root certificates; install them, or name a file with `ca`"),
    ] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_portreeve-enforcer"));
        command
            .env("SSL_CERT_FILE", roots)
            .env("SSL_CERT_DIR", world.path("policies"))
            .arg("--config")
            .arg(world.path("enforcer.yaml"))
            .arg("--check");
        let output = command.output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{told}");
        assert!(told.contains(says), "{told}");
    }
}

#[tokio::test]
async fn a09_a39_a_key_set_at_a_private_address_or_without_end_is_not_taken() {
    let world = World::new(SHOP).await;
    let authority = Authority::new();
    let issuer = Issuer::create(IDP).unwrap();
    let server = Server::tls(&authority, vec![reply("200 OK", &issuer.jwks_json())]).await;
    let enforcer = world.start("", &jwt(&server, &authority, "")).await;
    assert_eq!(world.get(enforcer.inbound()[0], "invoices", "/v1/items/1", &bearer(&issuer)).await.0, 403);
    assert!(server.requests().is_empty());
    assert!(world.told.lock().unwrap().iter().any(|line| line.contains("loopback address")), "{:?}", world.told);
    enforcer.shutdown().await;

    std::fs::remove_file(world.path("decisions.ndjson")).unwrap();
    let endless = Reply::Endless("HTTP/1.1 200 OK\r\n\r\n{\"keys\":[".to_owned(), "[[[[".repeat(10_000));
    let server = Server::tls(&authority, vec![endless]).await;
    let enforcer = world.start("", &jwt(&server, &authority, ", private_addresses: true")).await;
    assert_eq!(world.get(enforcer.inbound()[0], "invoices", "/v1/items/1", &bearer(&issuer)).await.0, 403);
    assert!(world.told.lock().unwrap().iter().any(|line| line.contains("longer than")), "{:?}", world.told);
    enforcer.shutdown().await;
}
