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
        let asked_for = ["missing-governance", "idle-exception", "invariant-broken"].contains(&diagnostic.code);
        assert!(diagnostic.is_error() == asked_for && (asked_for || known.contains(diagnostic.code)), "{diagnostic:?}");
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

const EXCEPTION: &str = "kind: Exception\nname: meant\nreason: r\napproved_by: [a]\nexpires: 2026-06-30\n";

#[test]
fn attributes_that_nothing_reads() {
    let service = "kind: Service\nname: desk\nidentities: [spiffe://t.example/desk]\nheaders: {x-a: string}\nquery: {q: string}\nclaims: {c: string}\n\
         operations: [{id: ask, method: GET, path: /}]\n";
    let header = "unused-attribute: no policy about `desk` reads the header `x-a`";
    let query = "unused-attribute: no policy about `desk` reads the query parameter `q`";
    let claim = "unused-attribute: no policy about `desk` reads the claim `c`";
    check(&[service], None, &[claim, header, query]);
    let when = |when: &str| format!("kind: Permission\nname: p\nallow: {{from: web, to: desk, operations: [ask]}}\nwhen: {when}\n");
    check(&[service, &when("{headers: {x-a: [v]}, jwt: {claims: {c: v}}}")], None, &[query]);
    check(&[service, &when("{query: {q: v}}")], None, &[claim, header]);
    let cedar = |body: &str| format!("@id(\"p\") forbid(principal, action, resource in Service::\"desk\") when {{ {body} }};");
    check(&[service, &cedar("context.headers has \"x-a\"")], None, &[claim, query]);
    // A policy about another service reads nothing of this one.
    let elsewhere = "@id(\"p\") forbid(principal, action, resource in Service::\"till\") when { context.headers has \"x-a\" };";
    check(&[service, elsewhere], None, &[claim, header, query]);
    let rego = |body: &str| format!("package portreeve.p\n\ndeny if {{ {body} }}\n");
    check(&[service, &rego("input.context.query.q == \"v\"")], None, &[claim, header]);
    // What cannot be told is not held against anybody; another lint says that it cannot.
    let all = found(&[service, &rego("count(input.context) > 9")], None);
    assert!(all.iter().all(|f| f.starts_with("uncacheable-rego")) && all.len() == 1, "{all:?}");
    let meant =
        format!("{EXCEPTION}lint: unused-attribute\nof: desk\n---\n{}", EXCEPTION.replace("meant", "other") + "control: pci-1.2.3\n");
    check(&[service, &meant], Some("2026-06-30"), &[]);
    let part = format!("{EXCEPTION}lint: unused-attribute\nof: desk/headers/x-a\n");
    check(&[service, &part], Some("2026-06-30"), &[claim, query]);
    check(
        &[service, &part],
        Some("2026-07-01"),
        &[claim, header, query, "exception-expired: `meant` ended on 2026-06-30, and today is 2026-07-01"],
    );
}

#[test]
fn prefixes_that_end_within_a_segment() {
    let bare = |id: &str, prefix: &str| format!("bare-prefix: `{id}` takes every identity that begins with `{prefix}`, also `{prefix}-x`");
    let cedar = |like: &str| {
        format!(
            "@id(\"p\") forbid(principal, action, resource in Service::\"till\") when {{ context has jwt && context.jwt.sub like \"{like}\" }};"
        )
    };
    check(&[&cedar("spiffe://t.example/ns/obs*")], None, &[&bare("p", "spiffe://t.example/ns/obs")]);
    check(&[&cedar("spiffe://t.example*")], None, &[&bare("p", "spiffe://t.example")]);
    for fine in ["spiffe://t.example/ns/obs/*", "spiffe://t.example/ns/obs", "*/obs*", "team-*"] {
        check(&[&cedar(fine)], None, &[]);
    }
    let rego = |call: &str| format!("package portreeve.p\n\ndeny if {call}\n");
    check(
        &[&rego("startswith(input.principal, \"spiffe://t.example/ns/obs\")")],
        None,
        &[&bare("portreeve.p.deny", "spiffe://t.example/ns/obs")],
    );
    for fine in ["startswith(input.principal, \"spiffe://t.example/ns/obs/\")", "input.principal == \"spiffe://t.example/ns/obs\""] {
        check(&[&rego(fine)], None, &[]);
    }
}

#[test]
fn grants_that_grow_unseen_into_what_is_sensitive() {
    let vault = |zone: &str| {
        format!(
            "kind: Service\nname: vault\nidentities: [spiffe://t.example/vault]\nzone: {zone}\ndata: [pan]\noperations: [{{id: card, method: GET, path: /}}]\n"
        )
    };
    let grant =
        |from: &str, operations: &str| format!("kind: Permission\nname: p\nallow: {{from: {from}, to: vault, operations: {operations}}}\n");
    let wide = |what: &str| format!("wide-grant: `p` grants {what}, and `vault` is sensitive");
    let plain = vault("cde");
    check(&[&plain, &grant("any-authenticated", "[card]")], None, &[&wide("to everybody")]);
    check(&[&plain, &grant("web", "'*'")], None, &[&wide("every operation")]);
    check(&[&plain, &grant("any-authenticated", "any-path")], None, &[&wide("every operation to everybody")]);
    check(&[&plain, &grant("web", "[card]")], None, &[]);
    check(&[&plain, &grant("any-authenticated", "'*'").replace("allow", "deny")], None, &[]);
    check(&[&grant("any-authenticated", "'*'").replace("vault", "till")], None, &[]);
    let cedar = "@id(\"p\") permit(principal in Service::\"web\", action, resource in Service::\"vault\");";
    check(&[&plain, cedar], None, &[&wide("every operation")]);
    // A zone says otherwise, both ways.
    let zones = |sensitive: &str| {
        let zone = |name: &str, more: &str| format!("kind: Zone\nname: {name}\n{more}---\n");
        zone("edge", "") + &zone("shop", "sensitive: true\n") + &zone("cde", &format!("sensitive: {sensitive}\n"))
    };
    check(&[&plain, &zones("false"), &grant("web", "'*'")], None, &[]);
    check(&[&plain, &zones("true"), &grant("web", "'*'")], None, &[&wide("every operation")]);
    let shop = grant("web", "'*'").replace("vault", "till");
    check(&[&plain, &zones("true"), &shop], None, &["wide-grant: `p` grants every operation, and `till` is sensitive"]);
    check(&[&plain, &zones("true"), &shop, &format!("{EXCEPTION}lint: wide-grant\nof: p\n")], None, &[]);
}

#[test]
fn what_a_zone_requires() {
    let zones = "kind: Zone\nname: edge\n---\nkind: Zone\nname: shop\nrequire: [owner, approved_by, review_by]\n";
    let grant = "kind: Permission\nname: p\nallow: {from: web, to: till, operations: [read]}\n";
    let lacks = |id: &str, fields: &str| format!("missing-governance: `{id}` lacks {fields}, which the zone `shop` requires");
    check(&[zones, grant], None, &[&lacks("p", "`owner`, `approved_by`, `review_by`")]);
    check(&[zones, &format!("{grant}owner: o\nreview_by: 2027-01-01\n")], None, &[&lacks("p", "`approved_by`")]);
    check(&[zones, &format!("{grant}owner: o\napproved_by: a\nreview_by: 2027-01-01\n")], None, &[]);
    // Into the other zone nothing is asked.
    check(&[zones, "kind: Permission\nname: p\ndeny: {from: till, to: web, operations: any-path}\n"], None, &[]);
    let cedar = "forbid(principal, action, resource in Service::\"till\");";
    check(&[zones, &format!("@id(\"c\") {cedar}")], None, &[&lacks("c", "`owner`, `approved_by`, `review_by`")]);
    let said = "@id(\"c\") @owner(\"o\") @approved_by(\"a, b\") @review_by(\"2026-06-30\")";
    check(&[zones, &format!("{said} {cedar}")], None, &[]);
    check(
        &[zones, &format!("{said} {cedar}")],
        Some("2026-07-01"),
        &["review-overdue: `c` was to be reviewed by 2026-06-30, and today is 2026-07-01"],
    );
    let rego = "package portreeve.r\n\ndeny if input.method == \"PUT\"\n";
    check(&[zones, rego], None, &[&lacks("portreeve.r.deny", "`owner`, `approved_by`, `review_by`")]);
    let said = "# METADATA\n# custom:\n#   portreeve: {owner: o, approved_by: [a], review_by: 2027-01-01}\n";
    check(&[zones, &format!("{said}{rego}")], None, &[]);
    check(&[zones, grant, &format!("{EXCEPTION}lint: missing-governance\nof: p\n")], None, &[]);
}

#[test]
fn exceptions_end_and_must_except_something() {
    let grant = "kind: Permission\nname: web-sells\nallow: {from: web, to: till, operations: [sell]}\n---\n\
                 kind: Permission\nname: web-reads\nallow: {from: web, to: till, operations: [read]}\n";
    let law = "kind: Invariant\nname: law\nnever: {from: web, to: till}\n";
    let for_all = format!("{EXCEPTION}invariant: law\nfrom: web\nto: till\n");
    check(&[grant, law, &for_all], None, &[]);
    check(&[grant, law, &for_all], Some("2026-06-30"), &[]);
    check(
        &[grant, law, &for_all],
        Some("2026-07-01"),
        &[
            "invariant-broken: `law` does not hold: `GET till/v1/sales/x` from `web` can be allowed; `meant` ended on 2026-06-30",
            "exception-expired: `meant` ended on 2026-06-30, and today is 2026-07-01",
        ],
    );
    let idle = format!("{EXCEPTION}lint: unused-group\nof: nobody\n");
    check(&[&idle], None, &["idle-exception: `unused-group` says nothing of `nobody`, so `meant` excepts nothing"]);
    // Whether a review is overdue cannot be told without a day, so neither can whether the exception is idle.
    let review = format!("{EXCEPTION}lint: review-overdue\nof: web-reads\n");
    check(&[grant, &review], None, &[]);
    check(
        &[grant, &review],
        Some("2026-06-01"),
        &["idle-exception: `review-overdue` says nothing of `web-reads`, so `meant` excepts nothing"],
    );
    let ended: Vec<String> = found(&[grant, &review], Some("2026-07-01"));
    assert_eq!(ended, ["exception-expired: `meant` ended on 2026-06-30, and today is 2026-07-01"]);
}

#[test]
fn prohibitions_that_can_err() {
    let service = "kind: Service\nname: bank\nidentities: [spiffe://t.example/sa/bank]\nquery: {n: integer}\n";
    let policy = |effect: &str, condition: &str| {
        format!(
            "@id(\"limit\") {effect}(principal in Service::\"web\", action, resource in Service::\"bank\") when {{ context.query has n && {condition} }};"
        )
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
    let when = "{not_before: 2026-06-01T08:00:00Z, expires: 2026-06-01T12:00:00Z, time: {from: \"18:00\", to: \"19:00\"}}";
    check(&[&format!("{narrow}when: {when}\n"), &wide(all, "")], None, &[&contradiction]);
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
