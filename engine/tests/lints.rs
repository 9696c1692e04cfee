//! Lints: what each finds and what it leaves alone. A case is a text added to a small town; beside it stands what is found.

#![cfg(test)]

use std::collections::BTreeSet;

use portreeve_engine::lint::{codes, lint};
use portreeve_engine::time::Date;
use portreeve_engine::{Authorizer, Bundle, SourceFile};

const TOWN: &str = r#"
kind: Service
name: web
identities: [spiffe://t.example/ns/shop/sa/web]
zone: edge
---
kind: Service
name: till
identities: [spiffe://t.example/ns/shop/sa/till]
zone: shop
operations:
  - {id: read, method: GET, path: "/v1/sales/{id}"}
  - {id: sell, method: POST, path: /v1/sales}
---
"#;

/// What is found in the town with these texts: `code: message`, one a line. A text that begins with `@id` or `//` is Cedar, one
/// that begins with `package` or `#` is Rego.
fn found(texts: &[&str], today: Option<&str>) -> Vec<String> {
    let mut files = vec![SourceFile { path: "town.yaml".to_owned(), bytes: TOWN.as_bytes().to_vec() }];
    for (number, text) in texts.iter().enumerate() {
        let kind = match text.split_whitespace().next().unwrap_or_default() {
            word if word.starts_with("@id") || word.starts_with("//") => "cedar",
            "package" | "#" => "rego",
            _ => "yaml",
        };
        files.push(SourceFile { path: format!("{number}.{kind}"), bytes: text.as_bytes().to_vec() });
    }
    let bundle = Bundle::from_files("t", files).unwrap();
    let compiled = Authorizer::compile(&bundle);
    let authorizer = compiled.authorizer.unwrap_or_else(|| panic!("{texts:?}: {:#?}", compiled.diagnostics));
    let mut out = lint(&authorizer, today.map(|t| t.parse::<Date>().unwrap()));
    bundle.arrange(&mut out);
    let known: BTreeSet<&str> = codes().collect();
    for diagnostic in &out {
        assert!(!diagnostic.is_error() && known.contains(diagnostic.code), "{diagnostic:?}");
        assert!(diagnostic.location.is_some() && diagnostic.source.is_some() && diagnostic.help.is_some(), "{diagnostic:?}");
    }
    out.iter().map(|d| format!("{}: {}", d.code, d.message)).collect()
}

fn check(texts: &[&str], today: Option<&str>, want: &[&str]) {
    assert_eq!(found(texts, today), want, "{texts:?}");
}

const GRANT: &str = "kind: Permission\nname: web-reads\nallow: {from: web, to: till, operations: [read]}\nreview_by: 2026-06-30\n";

#[test]
fn codes_are_sorted_and_single() {
    let codes: Vec<&str> = codes().collect();
    assert!(codes.is_sorted() && codes.iter().collect::<BTreeSet<_>>().len() == codes.len(), "{codes:?}");
}

#[test]
fn reviews_are_due_at_the_end_of_their_day() {
    check(&[GRANT], None, &[]);
    check(&[GRANT], Some("2026-06-30"), &[]);
    check(&[GRANT], Some("2026-07-01"), &["review-overdue: `web-reads` was to be reviewed by 2026-06-30, and today is 2026-07-01"]);
}

#[test]
fn groups_that_nothing_names() {
    let group = |name: &str, members: &str| format!("kind: Group\nname: {name}\nmembers: [{members}]\n");
    let (inner, outer) = (group("inner", "web"), group("outer", "inner"));
    let unused = |name: &str| format!("unused-group: no policy and no invariant names the group `{name}`");
    check(&[&inner, &outer], None, &[&unused("inner"), &unused("outer")]);
    for user in [
        "kind: Permission\nname: a\nallow: {from: outer, to: till, operations: [read]}\n",
        "kind: Permission\nname: a\ndeny: {from: web, to: [outer], operations: '*'}\n",
        "kind: Invariant\nname: a\nnever: {from: till, to: outer}\n",
        "kind: Invariant\nname: a\nnever: {from: outer, reaches: {service: till, operation: sell}}\n",
        "@id(\"a\") permit(principal in Group::\"outer\", action, resource in Service::\"till\");",
        "@id(\"a\") forbid(principal, action, resource) when { principal in Group::\"outer\" };",
    ] {
        check(&[&inner, &outer, user], None, &[]);
    }
    // The name of a group inside a text is no use of it.
    let text = "@id(\"outer\") forbid(principal, action, resource in Service::\"till\") when { resource has data && resource.data.contains(\"outer\") };";
    check(&[&outer, &inner, text], None, &[&unused("outer"), &unused("inner")]);
}

#[test]
fn prohibitions_that_can_err() {
    let service = "kind: Service\nname: bank\nidentities: [spiffe://t.example/sa/bank]\nquery: {n: integer}\n";
    let policy = |effect: &str, condition: &str| {
        format!("@id(\"limit\") {effect}(principal, action, resource in Service::\"till\") when {{ context.query has n && {condition} }};")
    };
    let found = ["erring-forbid: `limit` can err, and then denies as an error: `context.query.n * 60` goes beyond 64 bits for some values"];
    check(&[service, &policy("forbid", "context.query.n * 60 > 3600")], None, &found);
    check(&[service, &policy("permit", "context.query.n * 60 > 3600")], None, &[]);
    check(&[service, &policy("forbid", "context.query.n > 60")], None, &[]);
    check(&[service, &policy("forbid", "context.query.n < 1000 && context.query.n > -1000 && context.query.n * 60 > 3600")], None, &[]);
    let found = [
        "erring-forbid: `limit` can err, and then denies as an error: `context.time.offset(duration(\"106751991167d\"))` goes beyond what a date can be",
    ];
    check(&[service, &policy("forbid", "context.time.offset(duration(\"106751991167d\")) > context.time")], None, &found);
}
