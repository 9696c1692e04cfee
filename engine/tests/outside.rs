//! Places outside the mesh: which service a host stands for, and what the law says about it.

#![cfg(test)]

use portreeve_engine::outside::Host;
use portreeve_engine::request::{Method, Target};
use portreeve_engine::{Authorizer, Bundle, Request, SourceFile};

const SHOP: &str = r#"
kind: Service
name: payments
identities: [spiffe://market.example/ns/shop/sa/payments]
---
kind: Service
name: cards
hosts: [api.cards.example, "*.eu.cards.example", "files.cards.example:8080", 203.0.113.7]
data: [pan]
operations:
  - {id: tls, port: 443}
  - {id: rates, method: GET, path: "/v1/rates"}
---
kind: Service
name: one-of-them
hosts: [de.eu.cards.example]
operations: [{id: tls, port: 443}]
---
kind: Permission
name: payments-cards
allow: {from: payments, to: cards, operations: '*'}
---
kind: Test
name: payments call the card network
cases:
  - {as: payments, call: "connect cards:443", expect: allow}
  - {as: payments, call: GET cards/v1/rates, expect: allow}
  - {as: payments, call: "connect cards:22", expect: deny, because: undeclared-operation}
  - {as: payments, call: "connect one-of-them:443", expect: deny, because: no-permission}
"#;

fn law() -> Authorizer {
    let files = vec![SourceFile { path: "shop.yaml".to_owned(), bytes: SHOP.as_bytes().to_vec() }];
    let compiled = Authorizer::compile(&Bundle::from_files("test", files).unwrap());
    assert!(compiled.diagnostics.iter().all(|d| !d.is_error()), "{:#?}", compiled.diagnostics);
    compiled.authorizer.unwrap()
}

fn get() -> Target {
    Target::Http { method: Method::parse("GET").unwrap(), path: portreeve_engine::path::CanonicalPath::parse("/v1/rates").unwrap() }
}

#[test]
fn a_host_stands_for_one_service() {
    let law = law();
    let connect = |port| Target::Connect { port };
    for (host, target, found) in [
        ("api.cards.example:443", connect(443), Some("cards")),
        ("API.cards.example.", connect(443), Some("cards")),
        ("api.cards.example", connect(22), Some("cards")),
        ("api.cards.example:443", connect(22), None),
        ("fr.eu.cards.example", connect(443), Some("cards")),
        ("de.eu.cards.example", connect(443), Some("one-of-them")),
        ("x.de.eu.cards.example", connect(443), None),
        ("eu.cards.example", connect(443), None),
        ("files.cards.example:8080", connect(8080), Some("cards")),
        ("files.cards.example", connect(443), None),
        ("203.0.113.7:443", connect(443), Some("cards")),
        ("203.0.113.8:443", connect(443), None),
        ("cards", connect(443), None),
        ("api.cards.example", get(), Some("cards")),
        ("api.cards.example:80", get(), Some("cards")),
        ("api.cards.example:8080", get(), None),
        ("files.cards.example:8080", get(), Some("cards")),
        ("files.cards.example", get(), None),
    ] {
        let name = law.outside(&host.parse::<Host>().unwrap(), &target).map(|s| &*s.name);
        assert_eq!(name, found, "{host} {target:?}");
    }
}

#[test]
fn a_question_with_another_host_is_about_another_place() {
    let law = law();
    for (rest, answer) in [
        (r#""port":443,"host":"api.cards.example:443""#, "allow permitted"),
        (r#""port":443"#, "allow permitted"),
        (r#""port":443,"host":"evil.example:443""#, "deny unknown-service"),
        (r#""port":443,"host":"cards""#, "deny unknown-service"),
        (r#""port":443,"host":"api.cards.example:22""#, "deny unknown-service"),
        (r#""port":443,"host":"not a host""#, "deny unknown-service"),
        (r#""port":22,"host":"api.cards.example:22""#, "deny undeclared-operation"),
        (r#""method":"GET","path":"/v1/rates","host":"api.cards.example""#, "allow permitted"),
        (r#""method":"GET","path":"/v1/rates","host":"api.cards.example:81""#, "deny unknown-service"),
    ] {
        let line = format!(
            r#"{{"principal":"spiffe://market.example/ns/shop/sa/payments","service":"cards",{rest},"context":{{"time":"2026-11-22T10:00:00.000Z"}}}}"#
        );
        let decision = law.decide(&Request::from_json(line.as_bytes()).unwrap());
        assert_eq!(format!("{} {}", decision.effect, decision.reason), answer, "{rest}");
    }
}
