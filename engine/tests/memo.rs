//! Kept answers change nothing: an authorizer with its memo and one that evaluates each time give the same decisions, errors
//! included, over questions that keep coming back in every order.
//!
//! The seed is fixed; `PORTREEVE_SEED` and `PORTREEVE_CASES` (thousands of questions) change the run.

#![cfg(test)]

use std::collections::BTreeSet;

use portreeve_engine::{Answered, Authorizer, Bundle, Request, SourceFile};

const INVENTORY: &str = r#"
kind: Service
name: items
identities: [spiffe://t.example/sa/items]
headers: {x-tenant: string, x-role: list}
query: {n: integer, full: boolean}
claims: {level: integer}
operations:
  - {id: read, method: GET, path: "/items/{id}"}
  - {id: card, method: GET, path: "/cards/{pan}", sensitive: [pan]}
---
kind: Service
name: shop
identities: [spiffe://t.example/sa/shop, spiffe://t.example/sa/shop2]
---
kind: Permission
name: base
allow: {from: shop, to: items, operations: [read]}
when: {headers: {x-tenant: [eu]}}
"#;

const CEDAR: &str = r#"
@id("by-level") permit(principal, action, resource in Service::"items")
when { context has jwt && context.jwt has level && context.jwt.level * 9223372036854775807 > 1 };
@id("by-day") permit(principal in Service::"shop", action, resource in Service::"items")
when { context.time > datetime("2026-06-01") && context.time < datetime("2026-07-01T12:00:00Z") };
@id("not-from-there") forbid(principal, action, resource in Service::"items")
when { context has source_ip && context.source_ip.isInRange(ip("10.9.0.0/16")) && !(principal == Workload::"spiffe://t.example/sa/shop2") };
@id("at-night") forbid(principal, action == Action::"GET", resource == Operation::"items/read")
when { context.time.toTime() < duration("4h") && context.headers has "x-tenant" && context.headers["x-tenant"] == "us" };
"#;

const REGO: &str = r#"
package portreeve.roles
import rego.v1
allow if "reader" in input.context.headers["x-role"]
deny contains "path" if endswith(input.path, "/9")
deny contains "number" if input.context.query.n > 5
deny contains "full" if input.context.query.full == true
deny contains "broken" if to_number(input.context.headers["x-tenant"]) == 1
"#;

struct Dice(u64);

impl Dice {
    fn pick<'t>(&mut self, items: &[&'t str]) -> &'t str {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        items[usize::try_from((z ^ (z >> 31)) % items.len() as u64).unwrap()]
    }
}

fn compile(cedar: &str) -> Authorizer {
    let file = |path: &str, text: &str| SourceFile { path: path.to_owned(), bytes: text.as_bytes().to_vec() };
    let bundle = Bundle::from_files("test", vec![file("a.yaml", INVENTORY), file("b.cedar", cedar), file("c.rego", REGO)]).unwrap();
    let compiled = Authorizer::compile(&bundle);
    compiled.authorizer.unwrap_or_else(|| panic!("{:#?}", compiled.diagnostics))
}

fn question(dice: &mut Dice) -> String {
    let who = dice.pick(&["sa/shop", "sa/shop2", "sa/items", "sa/stranger"]);
    let method = dice.pick(&["GET", "POST", "PURGE"]);
    let path = dice.pick(&[
        "/items/1",
        "/items/9",
        "/cards/9",
        "/cards/4",
        "/other/9",
        "/items/1?n=3",
        "/items/1?n=7",
        "/items/1?n=x",
        "/items/1?full=true",
        "/items/1?full=false",
    ]);
    let time = dice.pick(&[
        "2026-05-31T23:59:59.999Z",
        "2026-06-01T00:00:00.000Z",
        "2026-06-01T03:59:59.999Z",
        "2026-06-01T04:00:00.000Z",
        "2026-07-01T11:59:59.999Z",
        "2026-07-01T12:00:00.000Z",
        "2026-07-01T12:00:00.001Z",
    ]);
    let ip = dice.pick(&["", r#""source_ip":"10.9.1.1","#, r#""source_ip":"10.8.1.1","#, r#""source_ip":"::ffff:10.9.1.1","#]);
    let tenant = dice.pick(&["", r#""x-tenant":"eu","#, r#""x-tenant":"us","#, r#""x-tenant":"1","#]);
    let role = dice.pick(&[r#""x-role":"reader, writer""#, r#""x-role":["writer"]"#, r#""x-hidden":"reader""#]);
    let jwt = dice.pick(&[
        "",
        r#","jwt":{"iss":"i","sub":"s","aud":"a","level":1}"#,
        r#","jwt":{"iss":"i","sub":"s","aud":"a","level":2}"#,
        r#","jwt":{"iss":"i","sub":"s","aud":"a"}"#,
        r#","jwt":{"invalid":"expired"}"#,
    ]);
    format!(
        r#"{{"principal":"spiffe://t.example/{who}","service":"items","method":"{method}","path":"{path}","context":{{"time":"{time}",{ip}"headers":{{{tenant}{role}}}{jwt}}}}}"#
    )
}

#[test]
fn kept_answers_change_nothing() {
    #[expect(clippy::disallowed_methods, reason = "a longer run is asked for from outside")]
    let number = |name: &str, default: u64| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default);
    let (seed, thousands) = (number("PORTREEVE_SEED", 1), number("PORTREEVE_CASES", 3));
    // A second snapshot, whose policies differ where those of the first stand, shares the thread's memo, not its answers.
    let changed = CEDAR.replace("\"us\"", "\"eu\"").replace("10.9.", "10.8.").replace("4h", "3h");
    let pairs = [CEDAR, &changed].map(|cedar| (compile(cedar), compile(cedar).without_memo()));
    let mut dice = Dice(seed);
    let mut reasons = BTreeSet::new();
    for n in 0..thousands * 1_000 {
        let line = question(&mut dice);
        let request = Request::from_json(line.as_bytes()).unwrap();
        for (with, without) in &pairs {
            let want = without.decide(&request);
            reasons.insert(want.reason);
            assert_eq!(with.decide(&request), want, "seed {seed}, question {n}: {line}");
        }
    }
    assert!(reasons.len() >= 6, "the questions meet too few reasons: {reasons:?}");
}

#[test]
fn the_policies_of_this_test_are_kept() {
    let authorizer = compile(CEDAR);
    for policy in authorizer.policies() {
        let conditional = &*policy.reference.id != "base";
        assert_eq!(matches!(policy.answered, Answered::Kept(_)), conditional, "{}: {:?}", policy.reference.id, policy.answered);
    }
}
