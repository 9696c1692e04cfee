//! An unconditional answer allocates nothing, from the path as sent to the decision; nor does a native condition, nor an
//! answer from the memo.

#![cfg(test)]

use allocation_counter::measure;
use portreeve_engine::path::canonicalise;
use portreeve_engine::request::{AttributeValue, Claims, Context, Method, RequestRef, TargetRef, Token};
use portreeve_engine::{Authorizer, Bundle, SourceFile, SpiffeId};

const POLICIES: &str = r#"
kind: Service
name: items
identities: [spiffe://t.example/sa/items]
operations: [{id: read, method: GET, path: "/items/{id}/details"}, {id: list, method: GET, path: /items}, {id: sell, method: POST, path: "/items/{id}/sales"}]
---
kind: Service
name: shop
identities: [spiffe://t.example/sa/shop, "spiffe://t.example/job/*/shop"]
---
kind: Group
name: front
members: [shop]
---
kind: Permission
name: read
allow: {from: [front, any-authenticated, "spiffe://t.example/**"], to: items, operations: [read]}
---
kind: Permission
name: list-when
allow: {from: shop, to: items, operations: [list]}
when: {source: [10.0.0.0/8], time: {from: "06:00", to: "22:00"}, expires: 2099-01-01}
---
kind: Permission
name: never
deny: {from: shop, to: items, operations: any-path, methods: [DELETE]}
"#;

const CEDAR: &str = r#"@id("sellers") permit(principal in Service::"shop", action == Action::"POST", resource in Service::"items")
when { context has source_ip && context.source_ip.isInRange(ip("10.0.0.0/8")) };"#;

fn authorizer() -> Authorizer {
    let file = |path: &str, text: &str| SourceFile { path: path.to_owned(), bytes: text.as_bytes().to_vec() };
    let bundle = Bundle::from_files("test", vec![file("a.yaml", POLICIES), file("b.cedar", CEDAR)]).unwrap();
    let compiled = Authorizer::compile(&bundle);
    compiled.authorizer.unwrap_or_else(|| panic!("{:#?}", compiled.diagnostics))
}

#[test]
fn the_way_to_an_allow_allocates_nothing() {
    let authorizer = authorizer();
    let time = "2026-11-22T12:00:00Z".parse().unwrap();
    let context = Context { time, source_ip: Some("10.0.0.7".parse().unwrap()), ..Context::default() };
    let (get, post) = (Method::parse("GET").unwrap(), Method::parse("POST").unwrap());
    for (who, method, path, determining) in [
        ("spiffe://t.example/sa/shop", &get, "/items/42/details", "read"),
        ("spiffe://t.example/job/7/shop", &get, "/items/42/details", "read"),
        ("spiffe://t.example/sa/items", &get, "/items/42/details", "read"),
        ("spiffe://t.example/sa/shop", &get, "/items", "list-when"),
        ("spiffe://t.example/sa/shop", &post, "/items/42/sales", "sellers"),
    ] {
        let principal: SpiffeId = who.parse().unwrap();
        let ask = || {
            let path = canonicalise(path).unwrap();
            let target = TargetRef::Http { method, path: path.path() };
            let decision = authorizer.answer(RequestRef { principal: &principal, service: "items", target, context: &context });
            assert!(decision.is_allow() && *decision.policies[0].id == *determining, "{decision:?}");
        };
        // The first answer of a residual policy is evaluated and kept.
        ask();
        assert_eq!(measure(ask).count_total, 0, "{who} {method} {path}");
    }
}

/// The count above counts: a path that has to be rewritten, and a token with a claim that is hidden from policies, allocate.
#[test]
fn the_counter_counts() {
    let authorizer = authorizer();
    let principal: SpiffeId = "spiffe://t.example/sa/shop".parse().unwrap();
    let get = Method::parse("GET").unwrap();
    let claims = Claims {
        iss: "i".into(),
        sub: "s".into(),
        aud: vec!["a".into()],
        scope: None,
        other: [("hidden".into(), AttributeValue::Boolean(true))].into(),
    };
    for (path, jwt) in [("/items/%34/details", None), ("/items/4/details", Some(Token::Valid(claims)))] {
        let context = Context { jwt, ..Context::default() };
        let counted = measure(|| {
            let path = canonicalise(path).unwrap();
            let target = TargetRef::Http { method: &get, path: path.path() };
            assert!(authorizer.answer(RequestRef { principal: &principal, service: "items", target, context: &context }).is_allow());
        });
        assert!(counted.count_total > 0, "{path}");
    }
}
