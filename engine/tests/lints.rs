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
        "kind: Permission\nname: a\ndeny: {from: web, to: [outer], operations: any-path}\n",
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

#[test]
fn what_is_covered_overridden_or_unmatchable() {
    let group = "kind: Group\nname: shop\nmembers: [web]\n---\n";
    let narrow = "kind: Permission\nname: narrow\nallow: {from: web, to: till, operations: [read]}\n";
    let covered = "covered-permission: `narrow` adds nothing: `wide` (1.yaml:2) grants all of it";
    let wide = |head: &str, when: &str| format!("kind: Permission\nname: wide\n{head}\n{when}");
    let all = "allow: {from: any-authenticated, to: till, operations: '*'}";
    // By callers, by operations, by methods, by conditions.
    check(&[narrow, &wide(all, "")], None, &[covered]);
    check(
        &[narrow, &format!("{group}kind: Permission\nname: wide\nallow: {{from: shop, to: till, operations: any-path}}\n")],
        None,
        &["covered-permission: `narrow` adds nothing: `wide` (1.yaml:6) grants all of it"],
    );
    check(&[narrow, &wide("allow: {from: web, to: till, operations: [read, sell], methods: [GET, POST]}", "")], None, &[covered]);
    check(&[narrow, &wide("allow: {from: web, to: till, operations: [read, sell], methods: [POST]}", "")], None, &[]);
    check(&[narrow, &wide("allow: {from: till, to: till, operations: '*'}", "")], None, &[]);
    check(&[narrow, &wide(all, "when: {source: [10.0.0.0/8]}\n")], None, &[]);
    let inside = format!("{narrow}when: {{source: [10.1.0.0/16], time: {{from: \"08:00\", to: \"09:00\"}}}}\n");
    check(&[&inside, &wide(all, "when: {source: [10.0.0.0/8]}\n")], None, &[covered]);
    check(&[&inside, &wide(all, "when: {source: [10.1.0.0/17]}\n")], None, &[]);
    check(&[&inside, &wide(all, "when: {time: [{from: \"07:00\", to: \"08:30\"}, {from: \"08:30\", to: \"10:00\"}]}\n")], None, &[covered]);
    // Of two equal ones the later; a limit of its own is a reason to be.
    check(
        &[narrow, &narrow.replace("narrow", "same")],
        None,
        &["covered-permission: `same` adds nothing: `narrow` (0.yaml:2) grants all of it"],
    );
    check(&[&format!("{narrow}limit: {{rate: 1/s}}\n"), &wide(all, "")], None, &[]);
    // Two that cover it together are not one that does.
    let half = |name: &str, net: &str| format!("kind: Permission\nname: {name}\n{all}\nwhen: {{source: [{net}]}}\n");
    let whole = format!("{narrow}when: {{source: [10.0.0.0/8]}}\n");
    check(&[&whole, &half("low", "10.0.0.0/9"), &half("high", "10.128.0.0/9")], None, &[]);
    // Prohibitions, though, count together.
    let deny = |name: &str, net: &str| half(name, net).replace("allow:", "deny:");
    check(
        &[&whole, &deny("low", "10.0.0.0/9"), &deny("high", "10.128.0.0/9")],
        None,
        &["overridden-permission: `narrow` never grants: `high` (2.yaml:2), `low` (1.yaml:2) always prohibits"],
    );
    check(&[&whole, &deny("low", "10.0.0.0/9"), &deny("high", "10.128.0.0/10")], None, &[]);
    check(
        &[narrow, "@id(\"no\")\nforbid(principal, action == Action::\"GET\", resource in Service::\"till\");"],
        None,
        &["overridden-permission: `narrow` never grants: `no` (1.cedar:2) always prohibits"],
    );
    check(
        &[&narrow.replace("[read]", "'*'"), "@id(\"no\")\nforbid(principal, action == Action::\"GET\", resource in Service::\"till\");"],
        None,
        &[],
    );
    // What matches nothing is told once, as that.
    let never = "unmatchable-permission: `narrow` matches no request: ";
    let by_method = format!("{never}none of its operations has one of its methods");
    check(&[&narrow.replace("[read]", "[read], methods: [DELETE]"), &wide(all, "")], None, &[&by_method]);
    let contradiction = format!("{never}its conditions contradict each other, or no value can be what they ask for");
    for when in [
        "{not_before: 2026-06-01T08:00:00Z, expires: 2026-06-01T12:00:00Z, time: {from: \"18:00\", to: \"19:00\"}}",
        "{source: [\"::ffff:10.0.0.0/104\"]}",
    ] {
        check(&[&format!("{narrow}when: {when}\n"), &wide(all, "")], None, &[&contradiction]);
    }
    check(
        &[&format!(
            "{narrow}when: {{not_before: 2026-06-01T08:00:00Z, expires: 2026-06-02T12:00:00Z, time: {{from: \"18:00\", to: \"19:00\"}}}}\n"
        )],
        None,
        &[],
    );
    let nothing = format!("{never}what it is about offers no operations");
    check(&[&narrow.replace("to: till, operations: [read]", "to: web, operations: '*'"), &wide(all, "")], None, &[&nothing]);
    check(&[&narrow.replace("from: web", "from: \"spiffe://t.example/ns/*/sa/x\"")], None, &[]);
}
