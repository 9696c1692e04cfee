//! What a service is told of its caller, and that no caller can tell it so (A18, A19).

use portreeve_enforcer::jwt::Issuer;
use serde_json::json;

use crate::world::{World, id};

const SHOP: &str = r#"
kind: Service
name: items
identities: [spiffe://market.example/ns/shop/sa/items]
claims: {tenant: string}
operations: [{id: read-item, method: GET, path: "/v1/items/{id}"}]
---
kind: Service
name: invoices
identities: [spiffe://market.example/ns/shop/sa/invoices]
operations: [{id: read, method: GET, path: "/v1/invoices"}]
---
kind: Permission
name: invoices-items
allow: {from: [invoices], to: items, operations: [read-item]}
when: {jwt: {claims: {tenant: [eu, us]}}}
justification: An invoice line names the item sold.
owner: team-billing
"#;

#[tokio::test]
async fn a18_a19_the_service_hears_of_its_caller_from_us_alone() {
    let world = World::new(SHOP).await;
    let issuer = Issuer::create("https://idp.market.example").unwrap();
    std::fs::write(world.path("jwks.json"), issuer.jwks_json()).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let token = issuer.mint(&json!({"sub": "ann", "aud": "items", "exp": now + 600, "tenant": "eu", "hidden": "x"})).unwrap();
    let jwt = "jwt: [{issuer: \"https://idp.market.example\", jwks: {path: jwks.json}, audiences: [items]}]\n";
    let headers = ", identity_headers: {xfcc: [URI, Subject], principal: x-portreeve-caller, claims: {x-portreeve-user: sub, x-portreeve-tenant: tenant, x-portreeve-hidden: hidden}}, forward_token: false";
    let enforcer = world.start(headers, jwt).await;
    let spoofed = format!(
        "Authorization: Bearer {token}\r\nX-Portreeve-User: root\r\nx_portreeve_user: root\r\nX-Portreeve-Hidden: y\r\nX-Forwarded-Client-Cert: URI=spiffe://evil/x\r\nConnection: x-portreeve-tenant\r\n"
    );
    let (status, answer) = world.get(enforcer.inbound()[0], "invoices", "/v1/items/1", &spoofed).await;
    assert_eq!(status, 200, "{answer}");
    let page = world.page(&enforcer, "/config").await;
    assert!(
        page.contains("x-portreeve-user") && page.contains("\"forward_token\":false") || page.contains("\"forward_token\": false"),
        "{page}"
    );
    enforcer.shutdown().await;
    let [seen] = &world.take_seen()[..] else { panic!() };
    let all: Vec<(String, String)> =
        seen.lines().filter_map(|l| l.split_once(": ")).map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    let told = |name: &str| all.iter().filter(|(n, _)| n.replace('_', "-") == name).map(|(_, v)| v.as_str()).collect::<Vec<_>>();
    assert_eq!(told("x-portreeve-caller"), [id("invoices").as_str()]);
    assert_eq!((told("x-portreeve-user"), told("x-portreeve-tenant")), (vec!["ann"], vec!["eu"]));
    // Claims that the inventory does not list reach nobody, and what the caller said of them neither.
    assert!(
        told("x-portreeve-hidden").is_empty() && told("x-portreeve-principal").is_empty() && told("authorization").is_empty(),
        "{seen}"
    );
    let [xfcc] = told("x-forwarded-client-cert")[..] else { panic!("{seen}") };
    assert!(xfcc.starts_with("Subject=\"") && xfcc.ends_with(&format!(";URI={}", id("invoices"))), "{xfcc}");
}

#[tokio::test]
async fn nothing_is_told_where_that_is_configured() {
    let world = World::new(&SHOP.replace("when: {jwt: {claims: {tenant: [eu, us]}}}\n", "")).await;
    let enforcer = world.start(", identity_headers: {xfcc: off, principal: off}", "").await;
    let (status, _) = world.get(enforcer.inbound()[0], "invoices", "/v1/items/1", "x-portreeve-principal: spiffe://evil/x\r\n").await;
    assert_eq!(status, 200);
    enforcer.shutdown().await;
    let seen = world.take_seen().remove(0).to_ascii_lowercase();
    assert!(!seen.contains("spiffe") && seen.contains("x-request-id: "), "{seen}");
}
