//! Explanations keep their word: the edit that is offered, made by hand, allows the request, and no smaller one does.

#![cfg(test)]

use std::path::Path;

use portreeve_engine::explain::{Edit, EditKind, Explainer, Patch};
use portreeve_engine::{Authorizer, Bundle, Reason, Request, SourceFile};

#[path = "shared/conditions.rs"]
mod conditions;
#[path = "shared/dice.rs"]
mod dice;
#[path = "shared/policies.rs"]
mod policies;

use dice::Dice;

fn bundle(files: &[(&str, &str)]) -> Bundle {
    let files = files.iter().map(|(path, text)| SourceFile { path: (*path).to_owned(), bytes: text.as_bytes().to_vec() });
    Bundle::from_files("b", files.collect()).unwrap()
}

fn compiled(bundle: &Bundle) -> Authorizer {
    let compiled = Authorizer::compile(bundle);
    compiled.authorizer.unwrap_or_else(|| panic!("{}", compiled.diagnostics.iter().map(|d| d.render()).collect::<String>()))
}

/// Makes an edit as a person with an editor would: line by line, knowing nothing of how it was found.
fn made(bundle: &Bundle, law: &[Patch]) -> Bundle {
    let mut files: Vec<(String, Vec<String>)> = bundle
        .files
        .iter()
        .map(|f| (f.path.clone(), String::from_utf8(f.bytes.clone()).unwrap().split('\n').map(str::to_owned).collect()))
        .collect();
    let mut law = law.to_vec();
    law.sort_by_key(|p| (p.line == 0, p.line, p.column));
    for patch in law.iter().rev() {
        if !files.iter().any(|(path, _)| *path == patch.file) {
            files.push((patch.file.clone(), vec![String::new()]));
        }
        let lines = &mut files.iter_mut().find(|(path, _)| *path == patch.file).unwrap().1;
        if patch.line == 0 {
            lines.last_mut().unwrap().push_str(&patch.insert);
        } else {
            let line = &mut lines[patch.line as usize - 1];
            let characters: Vec<char> = line.chars().collect();
            let (before, after) = characters.split_at(patch.column as usize);
            *line = before.iter().chain(&patch.insert.chars().collect::<Vec<_>>()).chain(after).collect();
        }
    }
    let files = files.into_iter().map(|(path, lines)| SourceFile { path, bytes: lines.join("\n").into_bytes() });
    Bundle::from_files("b", files.collect()).unwrap()
}

fn works(bundle: &Bundle, edit: &Edit, request: &Request) -> bool {
    let mut request = request.clone();
    edit.request.iter().for_each(|change| change.apply(&mut request));
    Authorizer::compile(&made(bundle, &edit.law)).authorizer.is_some_and(|authorizer| authorizer.decide(&request).is_allow())
}

const INVENTORY: &str = "kind: Service
name: web
identities: [spiffe://t.example/web]
zone: edge
---
kind: Service
name: orders
identities: [spiffe://t.example/orders]
operations:
  - {id: read, method: GET, path: \"/v1/orders/{id}\"}
  - id: write
    method: [PUT, POST]
    path: /v1/orders
headers: {x-tenant: string}
claims: {tenant: string}
---
kind: Service
name: vault
identities: [spiffe://t.example/vault]
data: [pan]
operations: [{id: open, method: GET, path: /open}]
---
kind: Invariant
name: vault-is-shut
never: {from: {zone: edge}, to: {data: pan}}
";

const PERMISSIONS: &str = "kind: Permission
name: web-reads
allow:
  from: web   # the front
  to: orders
  operations:
    - read    # only this
when:
  jwt: {issuer: https://idp.example, audience: orders, scopes: [orders:read], claims: {tenant: [eu, us]}}
  headers: {x-tenant: eu}
---
kind: Permission
name: vault-writes
allow: {from: [vault], to: orders, operations: [write], methods: [PUT]}
---
kind: Permission
name: orders-everything
allow: {from: [orders], to: [web, vault], operations: '*'}
---
kind: Permission
name: old
allow: {from: [orders], to: orders, operations: [read]}
when: {expires: 2020-01-01}
";

fn ask(caller: &str, service: &str, call: &str, context: &str) -> Request {
    let (method, path) = call.split_once(' ').unwrap();
    let line = format!(
        "{{\"principal\":\"spiffe://t.example/{caller}\",\"service\":\"{service}\",\"method\":\"{method}\",\"path\":\"{path}\",\
         \"context\":{{\"time\":\"2026-11-22T10:00:00Z\"{context}}}}}"
    );
    Request::from_json(line.as_bytes()).unwrap()
}

#[test]
fn the_words_and_the_edits() {
    let bundle = bundle(&[("inventory.yaml", INVENTORY), ("permissions.yaml", PERMISSIONS)]);
    let authorizer = compiled(&bundle);
    let mut explainer = Explainer::new(&bundle, &authorizer);
    let token = |scope: &str| {
        format!(
            ",\"headers\":{{\"x-tenant\":\"eu\"}},\"jwt\":{{\"iss\":\"https://idp.example\",\"sub\":\"ann\",\"aud\":[\"orders\"],\"tenant\":\"us\"{scope}}}"
        )
    };
    let cases = [
        (
            ask("web", "orders", "GET /v1/orders/7", &token("")),
            EditKind::Request,
            "permissions.yaml:2",
            "send scope `orders:read`",
            "only under conditions",
        ),
        (
            ask("web", "orders", "GET /v1/orders/7", ""),
            EditKind::Request,
            "permissions.yaml:2",
            "send a user token of `https://idp.example` for `orders`; send scope `orders:read`; send a token with the claim `tenant: eu`; send the header `x-tenant: eu`",
            "only under conditions",
        ),
        (
            ask("web", "orders", "PUT /v1/orders", ""),
            EditKind::Permission,
            "permissions.yaml:14",
            "add `web` to `allow.from` of `vault-writes` (permissions.yaml:14)",
            "no permission lets `web` call `write` of `orders`",
        ),
        (
            ask("vault", "orders", "POST /v1/orders", ""),
            EditKind::Permission,
            "permissions.yaml:14",
            "add `POST` to `allow.methods` of `vault-writes` (permissions.yaml:14)",
            "no permission lets `vault`",
        ),
        (
            ask("web", "orders", "POST /v1/orders", &token(",\"scope\":\"orders:read\"")),
            EditKind::Permission,
            "permissions.yaml:7",
            "add `write` to `allow.operations` of `web-reads` (permissions.yaml:7)",
            "no permission",
        ),
        (
            ask("orders", "vault", "GET /close", ""),
            EditKind::Operation,
            "inventory.yaml:21",
            "declare the operation `get-close` of `vault`: add `{id: get-close, method: GET, path: \"/close\"}`",
            "`GET /close` is no declared operation of `vault`",
        ),
        (
            ask("stranger", "vault", "GET /open", ""),
            EditKind::NewPermission,
            "permissions.yaml",
            "from: [spiffe://t.example/stranger], to: vault, operations: [open]",
            "no service of the inventory has the identity `spiffe://t.example/stranger`",
        ),
        (
            ask("orders", "orders", "GET /v1/orders/7", ""),
            EditKind::NewPermission,
            "permissions.yaml",
            "kind: Permission\nname: orders-read-of-orders\nallow: {from: [orders], to: orders, operations: [read]}",
            "only under conditions",
        ),
    ];
    for (request, kind, at, text, words) in &cases {
        let decision = authorizer.decide(request);
        let explained = explainer.explain(request, &decision);
        assert!(explained.explanation.contains(words), "expected `{words}`, got `{}`", explained.explanation);
        let edit = explained.suggestion.unwrap_or_else(|| panic!("no edit for {text}"));
        assert_eq!((edit.kind, edit.at.as_str()), (*kind, *at), "{edit:#?}");
        assert!(edit.text.contains(text), "expected `{text}`, got `{}`", edit.text);
        assert!(works(&bundle, &edit, request), "{edit:#?}");
    }
    // What an invariant forbids is not proposed, in no form.
    let vault = ask("web", "vault", "GET /open", "");
    let explained = explainer.explain(&vault, &authorizer.decide(&vault));
    assert_eq!(explained.suggestion, None);
    let obstacle = explained.obstacle.unwrap();
    assert!(obstacle.contains("would not pass `check`") && obstacle.contains("vault-is-shut"), "{obstacle}");
    assert!(explained.nearest.unwrap().iter().all(|n| n.edit.is_none()));
}

#[test]
fn other_denials_say_what_they_are_and_offer_nothing() {
    let deny = "kind: Permission\nname: never\ndeny: {from: [web], to: orders, operations: '*'}\n";
    let cedar = "@id(\"errs\") forbid(principal == Workload::\"spiffe://t.example/vault\", action, resource in Service::\"orders\") when { context has jwt && context.jwt.tenant like \"*\" };";
    let cedar = cedar.replace("context.jwt.tenant like \"*\"", "context.jwt has tenant && 9223372036854775807 + 1 > 0");
    let bundle = bundle(&[("a.yaml", INVENTORY), ("b.yaml", PERMISSIONS), ("c.yaml", deny), ("d.cedar", &cedar)]);
    let authorizer = compiled(&bundle);
    let mut explainer = Explainer::new(&bundle, &authorizer);
    let tenant = ",\"jwt\":{\"iss\":\"i\",\"sub\":\"s\",\"aud\":[\"a\"],\"tenant\":\"eu\"}";
    let cases = [
        (ask("web", "orders", "GET /v1/orders/7", ""), Reason::Prohibited, "`never` (c.yaml:2) prohibits it"),
        (ask("web", "ordres", "GET /v1/orders/7", ""), Reason::UnknownService, "did you mean `orders`?"),
        (ask("vault", "orders", "PUT /v1/orders", tenant), Reason::EvaluationError, "an error denies: errs"),
        (ask("web", "orders", "GET /v1/orders/7", ",\"jwt\":{\"invalid\":\"expired\"}"), Reason::InvalidToken, "refused as `expired`"),
        (ask("vault", "orders", "PUT /v1/orders", ""), Reason::Permitted, "`vault-writes` (b.yaml:13) permits it"),
    ];
    for (request, reason, words) in cases {
        let decision = authorizer.decide(&request);
        assert_eq!(decision.reason, reason);
        let explained = explainer.explain(&request, &decision);
        assert!(explained.explanation.contains(words), "expected `{words}`, got `{}`", explained.explanation);
        assert!(explained.nearest.is_none() && explained.suggestion.is_none());
    }
}

/// Over bundles that nobody wrote: whatever is offered works, and everything smaller that was considered does not.
#[test]
fn every_offer_works_and_none_smaller_does() {
    let (mut denials, mut offers, mut smaller) = (0, 0, 0);
    let mut kinds = std::collections::BTreeMap::new();
    let mut check = |bundle: &Bundle, requests: Vec<Request>, seed: u64| {
        let authorizer = compiled(bundle);
        let mut explainer = Explainer::new(bundle, &authorizer);
        for request in requests {
            let decision = authorizer.decide(&request);
            let explained = explainer.explain(&request, &decision);
            let Some(near) = explained.nearest else { continue };
            denials += 1;
            for edit in near.iter().filter_map(|n| n.edit.as_ref()) {
                assert!(works(bundle, edit, &request), "seed {seed}: {edit:#?}\n{request:?}");
            }
            let considered = explainer.considered(&request, &decision);
            let Some(edit) = explained.suggestion else { continue };
            offers += 1;
            *kinds.entry(format!("{:?}", edit.kind)).or_insert(0) += 1;
            assert!(works(bundle, &edit, &request), "seed {seed}: {edit:#?}\n{request:?}");
            for (other, _) in considered.iter().filter(|(other, _)| other.cost < edit.cost) {
                smaller += 1;
                assert!(!works(bundle, other, &request), "seed {seed}: smaller than what is offered\n{other:#?}\n{edit:#?}");
            }
        }
    };
    for seed in 1..=5 {
        let mut dice = Dice(seed);
        let mut yaml = policies::inventory(&mut dice);
        for number in 0..2 + dice.below(10) {
            yaml.push_str(&policies::permission(&mut dice, number));
        }
        let mut cedar = String::new();
        for number in 0..dice.below(4) {
            cedar.push_str(&policies::cedar(&mut dice, number));
        }
        let requests = (0..40).map(|_| Request::from_json(policies::request(&mut dice).as_bytes()).unwrap()).collect();
        check(&bundle(&[("a.yaml", &yaml), ("b.cedar", &cedar)]), requests, seed);
    }
    let market = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("policies/marketplace");
    let market = Bundle::read_dir(&market).unwrap();
    let cases = compiled(&market).tests().iter().flat_map(|s| s.cases.iter().map(|c| c.request.clone())).collect();
    check(&market, cases, 0);
    println!("{denials} default denials, {offers} offers, {smaller} smaller edits that do not work; {kinds:?}");
    assert!(offers * 10 > denials * 6 && smaller > 0 && kinds.len() >= 4, "{denials} denials, {offers} offers, {smaller}; {kinds:?}");
}
