//! Invariants are proved over all requests, a broken one shows what breaks it, and a default deny names the nearest grants.

#![cfg(test)]

use portreeve_engine::explain::nearest;
use portreeve_engine::{Authorizer, Bundle, Request, SourceFile};

const TOWN: &str = r#"
kind: Service
name: gate
identities: [spiffe://t.example/gate]
zone: edge
---
kind: Service
name: middle
identities: [spiffe://t.example/middle]
operations: [{id: read, method: GET, path: /m}, {id: write, method: POST, path: /m}]
---
kind: Service
name: broker
identities: [spiffe://t.example/broker]
operations: [{id: charge, method: POST, path: /charge}]
---
kind: Service
name: vault
identities: [spiffe://t.example/vault]
operations:
  - {id: card, method: GET, path: "/cards/{id}", data: [pan]}
  - {id: health, method: GET, path: /health}
---
kind: Permission
name: gate-middle
allow: {from: gate, to: middle, operations: [read]}
---
kind: Permission
name: middle-broker
allow: {from: middle, to: broker, operations: '*'}
when: {jwt: {issuer: i, scopes: [pay, charge]}}
---
kind: Permission
name: broker-vault
allow: {from: broker, to: vault, operations: [card]}
---
"#;

fn compile(text: &str, more: &[(&str, &str)]) -> (Option<Authorizer>, String) {
    let first = SourceFile { path: "town.yaml".to_owned(), bytes: format!("{TOWN}{text}").into_bytes() };
    let more = more.iter().map(|(path, text)| SourceFile { path: (*path).to_owned(), bytes: text.as_bytes().to_vec() });
    let compiled = Authorizer::compile(&Bundle::from_files("t", std::iter::once(first).chain(more).collect()).unwrap());
    let shown: Vec<String> = compiled.diagnostics.iter().map(|d| format!("{} | {}", d.message, d.help.as_deref().unwrap_or("-"))).collect();
    (compiled.authorizer, shown.join("\n"))
}

fn invariant(body: &str) -> String {
    format!("kind: Invariant\nname: law\n{body}\n")
}

#[test]
fn what_holds_is_proved() {
    for body in [
        "never: {from: {zone: edge}, to: {data: pan}}",
        "never: {from: {zone: edge}, reaches: {data: pan}, except_through: [broker]}",
        "never: {from: {zone: edge}, reaches: {data: pan}, except_through: [middle]}",
        "never: {from: vault, to: [gate, middle, broker]}",
        "never: {from: broker, to: {service: vault, operation: health}}",
        "never: {from: broker, reaches: {service: vault, operation: health}}",
        "always: {from: gate, to: {service: middle, operation: read}}",
        "always: {from: broker, to: {data: pan}}",
    ] {
        let (authorizer, shown) = compile(&invariant(body), &[]);
        assert!(authorizer.is_some(), "{body}: {shown}");
    }
}

#[test]
fn what_does_not_hold_comes_with_what_breaks_it() {
    let deny = "kind: Permission\nname: stop\ndeny: {from: broker, to: vault, operations: '*'}\nwhen: {headers: {x-a: b}}\n---\n";
    let hidden = "`law` does not hold: gate → middle → broker → vault is possible | `GET middle/m` from `gate` by `gate-middle` (town.yaml:25); \
                  `POST broker/charge` from `middle` by `middle-broker` (town.yaml:29); `GET vault/cards/x` from `broker` by `broker-vault` (town.yaml:34)";
    for (text, more, want) in [
        (invariant("never: {from: {zone: edge}, reaches: {data: pan}}"), "", hidden),
        // A conditional grant counts as possible.
        (
            invariant("never: {from: middle, to: broker}"),
            "",
            "`law` does not hold: `POST broker/charge` from `middle` can be allowed | it is granted by `middle-broker` (town.yaml:29)",
        ),
        (
            invariant("always: {from: middle, to: broker}"),
            "",
            "`law` does not hold: `POST broker/charge` from `middle` can be denied | it needs an unconditional grant, and no prohibition and no policy that can fail beside it",
        ),
        // What a Cedar policy without a scope grants is granted to the edge too.
        (
            invariant("never: {from: {zone: edge}, to: {data: pan}}"),
            "@id(\"wide\") permit(principal, action == Action::\"GET\", resource);",
            "`law` does not hold: `GET vault/cards/x` from `gate` can be allowed | it is granted by `wide` (x.cedar:1)",
        ),
    ] {
        let more: &[(&str, &str)] = if more.is_empty() { &[] } else { &[("x.cedar", more)] };
        let (authorizer, shown) = compile(&text, more);
        assert!(authorizer.is_none());
        assert!(shown.contains(want), "{text}: {shown}");
    }
    // A prohibition on a condition does not make a chain impossible, and takes the certainty from `always`.
    let headers = TOWN.replace("name: vault\n", "name: vault\nheaders: {x-a: list}\n");
    let bundle = |law: &str| SourceFile { path: "town.yaml".to_owned(), bytes: format!("{headers}{deny}{}", invariant(law)).into_bytes() };
    for law in ["always: {from: broker, to: {data: pan}}", "never: {from: broker, to: {data: pan}}"] {
        let compiled = Authorizer::compile(&Bundle::from_files("t", vec![bundle(law)]).unwrap());
        assert_eq!(compiled.diagnostics.iter().filter(|d| d.code == "invariant-broken").count(), 1, "{law}");
    }
}

#[test]
fn callers_are_told_apart_by_identity() {
    // A partner is granted by pattern: strangers may call, services may not.
    let partner =
        "kind: Permission\nname: partner\nallow: {from: \"spiffe://partner.example/ns/*\", to: vault, operations: [health]}\n---\n";
    let stranger = "`law` does not hold: `GET vault/health` from the stranger `spiffe://partner.example/ns/x` can be allowed | it is granted by `partner` (town.yaml:38)";
    for (law, want) in [
        ("never: {from: strangers, to: vault}", Some(stranger)),
        ("never: {from: [gate, strangers], to: {zone: edge}}", None),
        ("never: {from: {identity: \"spiffe://partner.example/**\"}, to: vault}", Some(stranger)),
        ("never: {from: {identity: \"spiffe://partner.example/other/**\"}, to: vault}", None),
        ("never: {from: spiffe://partner.example/ns/x, to: vault}", Some(stranger)),
        ("never: {from: spiffe://partner.example/ns/x, to: {service: vault, operation: card}}", None),
        ("never: {from: spiffe://partner.example/ns/x/y, to: vault}", None),
        // `any-authenticated` is the inventory; only the broker of it may read health, and it may not.
        ("never: {from: any-authenticated, to: {service: vault, operation: health}}", None),
        ("never: {from: strangers, reaches: {data: pan}}", None),
        ("always: {from: {identity: \"spiffe://partner.example/ns/*\"}, to: {service: vault, operation: health}}", None),
        ("never: {from: gate, to: {service: middle, method: POST}}", None),
        (
            "never: {from: gate, to: {service: middle, method: [POST, GET]}}",
            Some("`law` does not hold: `GET middle/m` from `gate` can be allowed"),
        ),
    ] {
        let (authorizer, shown) = compile(&format!("{partner}{}", invariant(law)), &[]);
        match want {
            None => assert!(authorizer.is_some(), "{law}: {shown}"),
            Some(want) => assert!(authorizer.is_none() && shown.contains(want), "{law}: {shown}"),
        }
    }
}

#[test]
fn an_exception_takes_its_part_out_of_a_proof_and_no_more() {
    let exception = |body: &str| format!("---\nkind: Exception\nname: e\nreason: r\napproved_by: a\nexpires: 2000-01-01\n{body}\n");
    let with = |law: &str, body: &str| compile(&format!("{}{}", invariant(law), exception(body)), &[]);
    let reaches = "never: {from: {zone: edge}, reaches: {data: pan}}";
    for (law, body) in [
        // Whatever the day: compiling has no clock, and a sidecar must not stop on a date.
        (reaches, "invariant: law\nfrom: gate\nreaches: vault"),
        (reaches, "invariant: law\nfrom: {zone: edge}\nreaches: {service: vault, operation: card, method: GET}"),
        ("never: {from: middle, to: broker}", "invariant: law\nfrom: middle\nto: {operation: charge}"),
        (
            "always: {from: [gate, middle], to: {operation: [read, charge]}}",
            "invariant: law\nfrom: [gate, middle]\nto: {operation: [read, charge]}",
        ),
    ] {
        let (authorizer, shown) = with(law, body);
        let authorizer = authorizer.unwrap_or_else(|| panic!("{law} {body}: {shown}"));
        assert_eq!(authorizer.exceptions().len(), 1);
    }
    for (law, body, want) in [
        // Nothing there breaks it.
        (
            reaches,
            "invariant: law\nfrom: gate\nreaches: {service: vault, operation: health}",
            "nothing of what `e` excepts would break `law`",
        ),
        (reaches, "invariant: law\nfrom: broker\nreaches: vault", "nothing of what `e` excepts would break `law`"),
        ("never: {from: broker, to: {operation: health}}", "invariant: law\nfrom: broker\nto: vault", "nothing of what `e` excepts"),
        // A part of what breaks it is left.
        (
            "never: {from: [gate, middle], to: [middle, broker]}",
            "invariant: law\nfrom: gate\nto: middle",
            "`POST broker/charge` from `middle` can be allowed",
        ),
        (reaches, "invariant: law\nfrom: gate\nto: vault", "the exception says `to`, and the invariant `law` says `reaches`"),
        (reaches, "invariant: lew\nfrom: gate\nreaches: vault", "there is no invariant `lew` | did you mean `law`?"),
        (reaches, "invariant: law\nfrom: gate", "exception `e` does not say what it excepts"),
        (reaches, "lint: unused-grup\nof: x", "there is no lint `unused-grup` | did you mean `unused-group`?"),
    ] {
        let (authorizer, shown) = with(law, body);
        assert!(authorizer.is_none() && shown.contains(want), "{law} {body}: {shown}");
    }
}

#[test]
fn a_selector_that_matches_nothing_proves_nothing() {
    for body in [
        "never: {from: {zone: nowhere}, to: vault}",
        "never: {from: gate, reaches: {data: chd}}",
        "never: {from: gate, to: nobody}",
        "never: {from: gate, to: {operation: nothing}}",
        // Each part is something, all together are nothing.
        "never: {from: gate, to: {service: middle, operation: card}}",
        "never: {from: {zone: edge, data: pan}, to: vault}",
        "never: {from: gate, to: {service: vault, operation: card, method: DELETE}}",
    ] {
        let (authorizer, shown) = compile(&invariant(body), &[]);
        assert!(authorizer.is_none(), "{body}");
        assert!(shown.contains("so this would be proved of nothing") || shown.contains("there is no service or group"), "{body}: {shown}");
    }
}

#[test]
fn a_default_deny_names_the_nearest_grants() {
    let (authorizer, _) = compile("", &[]);
    let authorizer = authorizer.unwrap();
    let ask = |who: &str, service: &str, call: &str, jwt: &str| {
        let (method, path) = call.split_once(' ').unwrap();
        let line = format!(
            r#"{{"principal":"spiffe://t.example/{who}","service":"{service}","method":"{method}","path":"{path}","context":{{"time":"2026-01-01T00:00:00Z"{jwt}}}}}"#
        );
        let request = Request::from_json(line.as_bytes()).unwrap();
        let decision = authorizer.decide(&request);
        let found = nearest(&authorizer, &request, &decision);
        found.iter().map(|n| format!("{} lacks {}", n.id, n.lacks.join("; "))).collect::<Vec<_>>().join(" | ")
    };
    let token = r#","jwt":{"iss":"i","sub":"s","aud":"broker","scope":"pay"}"#;
    assert_eq!(ask("middle", "broker", "POST /charge", token), "middle-broker lacks jwt scope: charge");
    assert_eq!(ask("middle", "broker", "POST /charge", ""), "middle-broker lacks a user token");
    assert_eq!(ask("gate", "middle", "POST /m", ""), "gate-middle lacks operation: read");
    assert_eq!(ask("gate", "vault", "GET /cards/1", ""), "broker-vault lacks principal: broker | gate-middle lacks service: middle");
    // The grant whose scope matches comes before the one for another operation, however many conditions it has.
    assert_eq!(ask("stranger", "vault", "GET /cards/1", ""), "broker-vault lacks principal: broker");
    assert_eq!(ask("broker", "vault", "GET /cards/1", ""), "");
}
