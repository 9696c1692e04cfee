//! Test cases as written: matrices, fixtures, what a case leaves out.

#![cfg(test)]

use portreeve_engine::request::Token;
use portreeve_engine::{Authorizer, Bundle, SourceFile};

const TOWN: &str = r#"
kind: Service
name: web
identities: [spiffe://t.example/web]
---
kind: Service
name: till
identities: [spiffe://t.example/till]
claims: {tenant: string, level: integer}
operations: [{id: read, method: GET, path: "/v1/sales/{id}"}, {id: sell, method: POST, path: /v1/sales}]
---
kind: Permission
name: web-sells
allow: {from: web, to: till, operations: [sell]}
when: {jwt: {issuer: https://sell.example, audience: sales}}
---
kind: Permission
name: till-reads
allow: {from: till, to: till, operations: [read]}
when: {jwt: {issuer: https://self.example, audience: self}}
---
kind: Permission
name: web-reads
allow: {from: web, to: till, operations: [read]}
when: {jwt: {issuer: https://read.example, audience: till, claims: {tenant: eu, level: [1, 2]}}}
---
kind: Test
name: people
fixtures:
  ann: {sub: ann, tenant: eu, level: 1, scopes: [a, b]}
---
"#;

fn compile(cases: &str) -> Authorizer {
    let text = format!("{TOWN}kind: Test\nname: t\ncases:\n{cases}");
    let bundle = Bundle::from_files("t", vec![SourceFile { path: "t.yaml".to_owned(), bytes: text.into_bytes() }]).unwrap();
    let compiled = Authorizer::compile(&bundle);
    compiled.authorizer.unwrap_or_else(|| panic!("{:#?}", compiled.diagnostics))
}

#[test]
fn a_matrix_stands_for_every_combination() {
    let authorizer = compile(
        "  - {matrix: {as: [web, till], id: [1, x], level: [1, 3]}, call: \"GET till/v1/sales/{id}\", jwt: {tenant: eu, level: \"{level}\"}, expect: deny}\n",
    );
    let cases = &authorizer.tests()[1].cases;
    let titles: Vec<&str> = cases.iter().map(|c| &*c.title).collect();
    assert_eq!(titles.len(), 8);
    assert_eq!(titles[0], "web → GET till/v1/sales/1 [as=web, id=1, level=1]");
    assert_eq!(titles[1], "web → GET till/v1/sales/1 [as=web, id=1, level=3]");
    assert_eq!(titles[7], "till → GET till/v1/sales/x [as=till, id=x, level=3]");
    // Values arrive as they are written: a number is a number, and the claim has the type that the inventory asks for.
    let effects: Vec<bool> = cases.iter().map(|c| authorizer.decide(&c.request).is_allow()).collect();
    assert_eq!(effects, [true, false, true, false, true, true, true, true]);
}

#[test]
fn fixtures_are_tokens_with_names() {
    let authorizer = compile(
        "  - {as: web, call: GET till/v1/sales/1, jwt: $ann, expect: allow}\n\
         \x20 - {as: web, call: GET till/v1/sales/1, jwt: {$like: ann, tenant: us, scopes: []}, expect: deny}\n\
         \x20 - {matrix: {jwt: [$ann]}, as: web, call: GET till/v1/sales/1, expect: allow}\n",
    );
    let cases = &authorizer.tests()[1].cases;
    let token = |n: usize| match &cases[n].request.context.jwt {
        Some(Token::Valid(claims)) => claims.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!((&*token(0).sub, token(0).scope.as_deref()), ("ann", Some("a b")));
    assert_eq!((&*token(1).sub, token(1).scope.as_deref()), ("ann", None));
    assert_eq!(token(2), token(0));
    let effects: Vec<bool> = cases.iter().map(|c| authorizer.decide(&c.request).is_allow()).collect();
    assert_eq!(effects, [true, false, true]);
}

#[test]
fn what_a_case_leaves_out_comes_from_the_permission_for_the_call() {
    let authorizer = compile(
        "  - {as: web, call: POST till/v1/sales, jwt: {}, expect: allow}\n\
         \x20 - {as: till, call: GET till/v1/sales/1, jwt: {}, expect: allow}\n\
         \x20 - {as: web, call: GET till/v1/sales/1, jwt: {tenant: eu, level: 2}, expect: allow}\n\
         \x20 - {as: web, call: GET till/v1/sales/1, jwt: {aud: sales, tenant: eu, level: 2}, expect: deny}\n",
    );
    for case in &authorizer.tests()[1].cases {
        let decision = authorizer.decide(&case.request);
        assert_eq!(decision.effect, case.expect, "{} {:?}", case.title, case.request.context.jwt);
    }
}
