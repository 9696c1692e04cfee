//! Decisions of small bundles: reasons, policies, precedence, what is seen and what is kept.

#![cfg(test)]

use portreeve_engine::{Authorizer, Bundle, Compiled, Request, SourceFile};

const SHOP: &str = r#"
kind: Service
name: items
identities: [spiffe://market.example/ns/shop/sa/items]
zone: core
data: [pan]
headers: {x-tenant: string, x-role: list}
query: {full: boolean}
claims: {tenant: string}
operations:
  - {id: read-item, method: GET, path: "/v1/items/{id}"}
  - {id: write-item, method: [POST, PUT], path: "/v1/items"}
  - {id: card, method: GET, path: "/v1/cards/{pan}", sensitive: [pan]}
  - {id: database, port: 5432}
---
kind: Service
name: invoices
identities: [spiffe://market.example/ns/shop/sa/invoices]
---
kind: Service
name: users
identities: [spiffe://market.example/ns/shop/sa/users, "spiffe://market.example/ns/*/sa/users-job"]
---
kind: Group
name: front
members: [invoices, users]
---
kind: Permission
name: invoices-read-items
allow: {from: invoices, to: items, operations: [read-item, card]}
---
kind: Permission
name: invoices-write-items
allow: {from: invoices, to: items, operations: [write-item], methods: [POST]}
when: {jwt: {issuer: https://idp.market.example, audience: items, scopes: [items:write]}}
---
kind: Permission
name: nobody-as-admin
deny: {from: front, to: items, operations: any-path}
when: {headers: {x-role: admin}}
---
kind: Permission
name: jobs-use-the-database
allow: {from: ["spiffe://market.example/ns/*/sa/users-job"], to: items, operations: [database]}
"#;

fn compile(files: &[(&str, &str)]) -> Compiled {
    let files = files.iter().map(|(path, text)| SourceFile { path: (*path).to_owned(), bytes: text.as_bytes().to_vec() }).collect();
    Authorizer::compile(&Bundle::from_files("test", files).unwrap())
}

fn authorizer(files: &[(&str, &str)]) -> Authorizer {
    let compiled = compile(files);
    let shown: Vec<String> = compiled.diagnostics.iter().map(|d| d.render()).collect();
    compiled.authorizer.unwrap_or_else(|| panic!("{}", shown.join("\n")))
}

/// `who`, `METHOD path` or `port`, extra context as JSON.
fn ask(who: &str, call: &str, context: &str) -> String {
    let principal = if who.contains("://") { who.to_owned() } else { format!("spiffe://market.example/ns/shop/sa/{who}") };
    let target = match call.split_once(' ') {
        Some((method, path)) => format!(r#""method":"{method}","path":"{path}""#),
        None => format!(r#""port":{call}"#),
    };
    format!(r#"{{"principal":"{principal}","service":"items",{target},"context":{{"time":"2026-11-22T10:00:00Z"{context}}}}}"#)
}

fn answer(authorizer: &Authorizer, line: &str) -> String {
    let decision = match Request::from_json(line.as_bytes()) {
        Ok(request) => authorizer.decide(&request),
        Err(malformed) => authorizer.decide_malformed(&malformed),
    };
    let policies: Vec<&str> = decision.policies.iter().map(|p| &*p.id).collect();
    format!("{} {} {} [{}]", decision.effect, decision.reason, decision.operation.unwrap_or("-"), policies.join(","))
}

const TOKEN: &str = r#","jwt":{"iss":"https://idp.market.example","sub":"ann","aud":["items"],"scope":"items:read items:write"}"#;

#[test]
fn reasons_and_policies() {
    let authorizer = authorizer(&[("shop.yaml", SHOP)]);
    let write = "POST /v1/items";
    for (who, call, context, want) in [
        ("invoices", "GET /v1/items/42", "", "allow permitted read-item [invoices-read-items]"),
        ("invoices", "GET /v1/items/42?full=1&x=%zz", "", "deny malformed-request - []"),
        ("invoices", "GET /v1/items/42?full=true&y=z", "", "allow permitted read-item [invoices-read-items]"),
        ("invoices", "HEAD /v1/items/42", "", "deny undeclared-operation - []"),
        ("invoices", "GET /v1/items/42/", "", "deny undeclared-operation - []"),
        ("users", "GET /v1/items/42", "", "deny no-permission read-item []"),
        ("spiffe://else.example/x", "GET /v1/items/42", "", "deny unknown-principal read-item []"),
        ("invoices", write, "", "deny condition-unmet write-item []"),
        ("invoices", write, TOKEN, "allow permitted write-item [invoices-write-items]"),
        ("invoices", "PUT /v1/items", TOKEN, "deny no-permission write-item []"),
        ("invoices", write, r#","jwt":{"invalid":"expired"}"#, "deny invalid-token - []"),
        ("invoices", "GET /v1/items/42", r#","headers":{"x-role":"admin"}"#, "deny prohibited read-item [nobody-as-admin]"),
        // A06: one header line with two values, and two lines.
        ("invoices", "GET /v1/items/42", r#","headers":{"X-Role":"user, admin"}"#, "deny prohibited read-item [nobody-as-admin]"),
        ("invoices", "GET /v1/items/42", r#","headers":{"x-role":["user","admin"]}"#, "deny prohibited read-item [nobody-as-admin]"),
        ("invoices", "GET /v1/items/42", r#","headers":{"x-role":"administrator"}"#, "allow permitted read-item [invoices-read-items]"),
        ("users", "DELETE /nowhere", r#","headers":{"x-role":"admin"}"#, "deny prohibited - [nobody-as-admin]"),
        ("invoices", "GET /v1/items/42", r#","headers":{"x-tenant":["a","b"]}"#, "deny malformed-request - []"),
        ("spiffe://market.example/ns/eu/sa/users-job", "5432", "", "allow permitted database [jobs-use-the-database]"),
        ("spiffe://market.example/ns/eu/x/sa/users-job", "5432", "", "deny unknown-principal database []"),
        ("users", "5432", "", "deny no-permission database []"),
        ("users", "5433", "", "deny undeclared-operation - []"),
        ("invoices", "GET /v1//items", "", "deny malformed-request - []"),
    ] {
        assert_eq!(answer(&authorizer, &ask(who, call, context)), want, "{who} {call} {context}");
    }
    let elsewhere = ask("users", "GET /", "").replace(r#""service":"items""#, r#""service":"nope""#);
    assert_eq!(answer(&authorizer, &elsewhere), "deny unknown-service - []");
    for line in [
        "",
        "{}",
        "[]",
        r#"{"principal":"x"}"#,
        &ask("invoices", "GET /", "").replace("GET", "G T"),
        &ask("invoices", "GET /", "").replace("\"path\"", "\"paht\""),
    ] {
        assert_eq!(answer(&authorizer, line), "deny malformed-request - []", "{line}");
    }
}

#[test]
fn a50_a_service_without_permissions_denies_everything() {
    let authorizer = authorizer(&[("shop.yaml", SHOP.split("\n---\nkind: Permission").next().unwrap())]);
    assert_eq!(answer(&authorizer, &ask("invoices", "GET /v1/items/42", "")), "deny no-permission read-item []");
}

#[test]
fn sensitive_segments_are_neither_recorded_nor_lost_to_replay() {
    let authorizer = authorizer(&[("shop.yaml", SHOP)]);
    let request = Request::from_json(ask("invoices", "GET /v1/cards/4111111111111111", "").as_bytes()).unwrap();
    let decision = authorizer.decide(&request);
    let (facts, _) = authorizer.facts(&request, &decision);
    assert_eq!(facts.path.as_deref(), Some("/v1/cards/{pan}"));
    assert_eq!(facts.operation.as_deref(), Some("card"));
}

const CEDAR: &str = r#"
// A tenant may only see its own items. permit forbid @id("not this one")
@id("tenant-fence")
forbid(principal, action, resource in Service::"items")
when { context has jwt && context.jwt has tenant && context.headers has "x-tenant" }
unless { context.jwt.tenant == context.headers["x-tenant"] };

@id("users-list")
permit(principal in Service::"users", action in Action::"read", resource == Operation::"items/read-item");

@id("overflow")
forbid(principal, action == Action::"DELETE", resource)
when { context.query has full && 9223372036854775807 + 1 > 0 };
"#;

#[test]
fn cedar_policies_take_part() {
    let authorizer = authorizer(&[("shop.yaml", SHOP), ("tenant.cedar", CEDAR)]);
    assert_eq!(answer(&authorizer, &ask("users", "GET /v1/items/1", "")), "allow permitted read-item [users-list]");
    let token = |tenant: &str| format!(r#","headers":{{"x-tenant":"eu"}},"jwt":{{"iss":"i","sub":"s","aud":"items","tenant":"{tenant}"}}"#);
    assert_eq!(answer(&authorizer, &ask("users", "GET /v1/items/1", &token("eu"))), "allow permitted read-item [users-list]");
    assert_eq!(answer(&authorizer, &ask("users", "GET /v1/items/1", &token("us"))), "deny prohibited read-item [tenant-fence]");
    // A34: a claim of the wrong type is a fault of the token.
    let wrong = r#","jwt":{"iss":"i","sub":"s","aud":"items","tenant":7}"#;
    assert_eq!(answer(&authorizer, &ask("users", "GET /v1/items/1", wrong)), "deny invalid-token - []");
    let at: Vec<String> = authorizer.policies().iter().map(|p| format!("{} {}", p.reference.id, p.reference.at.short())).collect();
    assert!(at.contains(&"tenant-fence tenant.cedar:4".to_owned()), "{at:?}");
    assert!(at.contains(&"overflow tenant.cedar:12".to_owned()), "{at:?}");
}

#[test]
fn a59_a_forbid_that_errs_denies() {
    let authorizer = authorizer(&[("shop.yaml", SHOP), ("tenant.cedar", CEDAR)]);
    let decision = answer(&authorizer, &ask("invoices", "DELETE /v1/items/1?full=true", ""));
    assert_eq!(decision, "deny evaluation-error - []");
}

#[test]
fn who_may_call_what_is_read_off_the_table() {
    let authorizer = authorizer(&[("shop.yaml", SHOP)]);
    let edges: Vec<String> = authorizer
        .allowed()
        .iter()
        .map(|e| {
            let from = e.from.map_or("*", |s| &*s.name);
            let operation = e.operation.map_or("*", |o| &*o.id);
            format!("{from} {}/{operation}{}", e.to.name, if e.conditional { "?" } else { "" })
        })
        .collect();
    // No stranger can have an identity that the pattern covers: all of them belong to a service.
    assert_eq!(edges, ["invoices items/read-item", "invoices items/write-item?", "invoices items/card", "users items/database"]);
}

#[test]
fn the_lowered_permissions_are_valid_cedar() {
    let authorizer = authorizer(&[("shop.yaml", SHOP)]);
    for (id, text) in authorizer.lowered() {
        let compiled = compile(&[("shop.yaml", &SHOP.replace(&format!("name: {id}\n"), "name: renamed\n")), ("lowered.cedar", &text)]);
        let shown: Vec<String> = compiled.diagnostics.iter().filter(|d| d.is_error()).map(|d| d.render()).collect();
        assert!(compiled.authorizer.is_some(), "{id}:\n{text}\n{}", shown.join("\n"));
    }
}

#[test]
fn only_policies_that_read_the_time_depend_on_it() {
    let policy = |condition: &str| format!("@id(\"x\") forbid(principal, action, resource) when {{ {condition} }};");
    for (condition, reads) in [
        ("context has jwt && context.jwt has tenant", false),
        ("context.time > datetime(\"2026-01-01\")", true),
        ("context == context", true),
        ("context.headers has \"x-tenant\"", false),
        ("if context has source_ip then context.source_ip.isIpv4() else context.time.toTime() > duration(\"1h\")", true),
    ] {
        assert_eq!(authorizer(&[("shop.yaml", SHOP), ("x.cedar", &policy(condition))]).reads_time(), reads, "{condition}");
    }
}

/// A doubt of the validator must not take a prohibition, or its neighbours in the file, out of force.
#[test]
fn cedar_policies_with_a_warning_stay_in_force() {
    let cedar = "@id(\"none\") forbid(principal, action, resource) when { false };\n\
                 @id(\"grant\") permit(principal in Service::\"invoices\", action, resource in Service::\"items\");\n\
                 @id(\"never-card\") forbid(principal, action, resource == Operation::\"items/card\") when { true || 1 == 1 };\n";
    let compiled = compile(&[("a.yaml", SHOP), ("b.cedar", cedar)]);
    assert!(compiled.diagnostics.iter().any(|d| d.code == "cedar-impossible" && !d.is_error()), "no warning");
    let authorizer = compiled.authorizer.unwrap();
    let ask = |path: &str| {
        let line = format!(
            r#"{{"principal":"spiffe://market.example/ns/shop/sa/invoices","service":"items","method":"GET","path":"{path}","context":{{"time":"2026-11-22T10:00:00Z"}}}}"#
        );
        let decision = authorizer.decide(&Request::from_json(line.as_bytes()).unwrap());
        (decision.is_allow(), decision.policies.iter().map(|p| p.id.to_string()).collect::<Vec<_>>())
    };
    assert_eq!(ask("/v1/cards/4111"), (false, vec!["never-card".to_owned()]));
    assert_eq!(ask("/v1/items/7"), (true, vec!["grant".to_owned(), "invoices-read-items".to_owned()]));
}

/// A61: as deep as it may be, a condition is evaluated on a small stack; deeper, it is refused before a parser sees it.
#[test]
fn cedar_conditions_are_as_deep_as_the_stack_bears() {
    let deep = |n: usize| {
        [
            format!("{}true{}", "(".repeat(n), ")".repeat(n)),
            vec!["context.query has full"; n].join(" || ") + " || true",
            vec!["true"; n].join(" && "),
            format!("{}true", "if true then ".repeat(n)) + &" else false".repeat(n),
            format!("{}true{}", "!(!(".repeat(n / 4), "))".repeat(n / 4)),
            format!("{}true{}", "{a: [".repeat(n / 8), "].contains(true)}.a".repeat(n / 8)),
            vec!["1"; n].join(" + ") + " > 0",
        ]
    };
    let ask = |condition: String| {
        let run = move || {
            let text = format!("@id(\"deep\") permit(principal in Service::\"invoices\", action, resource) when {{ {condition} }};");
            let compiled = compile(&[("a.yaml", SHOP), ("b.cedar", &text)]);
            let codes: Vec<&str> = compiled.diagnostics.iter().filter(|d| d.is_error()).map(|d| d.code).collect();
            let line = r#"{"principal":"spiffe://market.example/ns/shop/sa/invoices","service":"users","method":"GET","path":"/","context":{"time":"2026-11-22T10:00:00Z"}}"#;
            let request = Request::from_json(line.as_bytes()).unwrap();
            let decision = compiled.authorizer.as_ref().map(|a| a.decide(&request));
            (codes.join(" "), decision.map(|d| (d.errors.join(", "), d.policies.len())))
        };
        std::thread::Builder::new().stack_size(512 * 1024).spawn(run).unwrap().join().unwrap()
    };
    for condition in deep(246) {
        assert_eq!(ask(condition.clone()), (String::new(), Some((String::new(), 1))), "{condition}");
    }
    for condition in deep(100_000) {
        assert_eq!(ask(condition), ("cedar-too-deep".to_owned(), None));
    }
}

/// What the inventory alone decides is scope: such a policy is unconditional, and grants nothing to others.
#[test]
fn conditions_on_the_inventory_are_scope() {
    for (condition, conditional, strangers) in [
        ("principal in Service::\"invoices\" && resource.data.contains(\"pan\")", false, false),
        ("resource.data.contains(\"pan\") && Service::\"items\" has zone", false, true),
        ("!(principal in Group::\"front\")", true, true),
        ("principal in Service::\"invoices\" || resource.data.contains(\"pan\")", true, true),
        ("principal in Service::\"invoices\" && context.headers has \"x-tenant\"", true, false),
        ("principal in Service::\"invoices\" && action == Action::\"GET\"", true, false),
        ("Service::\"users\".data.contains(\"pan\")", false, false),
    ] {
        let text = format!("@id(\"c\") permit(principal, action, resource) when {{ {condition} }};");
        let compiled = compile(&[("a.yaml", SHOP), ("b.cedar", &text)]);
        let authorizer = compiled.authorizer.unwrap();
        let policy = authorizer.policies().iter().find(|p| &*p.reference.id == "c").unwrap();
        assert_eq!(policy.conditional, conditional, "{condition}");
        let granted = authorizer.allowed().iter().any(|e| e.from.is_none() && e.policies.iter().any(|p| &*p.id == "c"));
        assert_eq!(granted, strangers, "{condition}");
    }
}
