//! Proofs against brute force: small random bundles, every request of a small world put to `decide`.
//!
//! A claim that is called proved must be contradicted by no request; what is shown against a claim must really happen, where
//! no policy has conditions.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Bounds, Counterexample, Proof};
use crate::authorizer::Authorizer;
use crate::bundle::{Bundle, SourceFile};
use crate::id::{IdPattern, SpiffeId};
use crate::path::CanonicalPath;
use crate::request::{AttributeValue, Context, Method, Request, Target};

/// A generator whose whole state is its seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.roll(of.len())]
    }
}

struct Member {
    name: &'static str,
    ids: &'static str,
    zone: &'static str,
    data: &'static str,
    operations: &'static [(&'static str, &'static str, &'static str)],
}

/// id, data, and the rest of the operation as written.
const TOWN: [Member; 4] = [
    Member { name: "gate", ids: "spiffe://t.example/a", zone: "edge", data: "", operations: &[("in", "", "method: GET, path: /a")] },
    Member {
        name: "mid",
        ids: "spiffe://t.example/b, spiffe://t.example/b/a",
        zone: "core",
        data: "",
        operations: &[("read", "", "method: [GET, PUT], path: \"/a/{x}\""), ("all", "pan", "method: GET, path: \"/{rest*}\"")],
    },
    Member {
        name: "vault",
        ids: "\"spiffe://t.example/a/*\"",
        zone: "core",
        data: "pan",
        operations: &[("card", "", "method: POST, path: \"/{x}\""), ("a", "", "method: POST, path: /x"), ("db", "", "port: 1")],
    },
    Member { name: "mute", ids: "spiffe://u.example/b", zone: "edge", data: "", operations: &[("p", "", "port: 2")] },
];

const CALLERS: [&str; 9] = [
    "gate",
    "mid",
    "vault",
    "low",
    "any-authenticated",
    "spiffe://t.example/b/a",
    "\"spiffe://t.example/*/a\"",
    "\"spiffe://t.example/**\"",
    "\"spiffe://u.example/*\"",
];

fn town(dice: &mut Dice, conditional: bool) -> Vec<SourceFile> {
    let mut yaml = String::from("kind: Group\nname: low\nmembers: [gate, mute]\n");
    for m in &TOWN {
        let operations: Vec<String> = m.operations.iter().map(|(id, data, rest)| format!("{{id: {id}, data: [{data}], {rest}}}")).collect();
        yaml.push_str(&format!(
            "---\nkind: Service\nname: {}\nidentities: [{}]\nzone: {}\ndata: [{}]\nheaders: {{h: list}}\noperations: [{}]\n",
            m.name,
            m.ids,
            m.zone,
            m.data,
            operations.join(", ")
        ));
    }
    let mut cedar = String::new();
    for number in 0..1 + dice.roll(5) {
        let effect = if dice.roll(4) == 0 { ("deny", "forbid") } else { ("allow", "permit") };
        if dice.roll(5) == 0 {
            let principal = *dice.pick(&["principal", "principal in Service::\"mid\"", "principal == Workload::\"spiffe://u.example/a\""]);
            let action =
                *dice.pick(&["action", "action == Action::\"GET\"", "action in Action::\"write\"", "action == Action::\"connect\""]);
            let resource = *dice.pick(&["resource", "resource in Service::\"vault\"", "resource == Operation::\"mid/*\""]);
            let when = if conditional && dice.roll(2) == 0 { "when { context.headers has h }" } else { "" };
            cedar.push_str(&format!("@id(\"p{number}\") {}({principal}, {action}, {resource}) {when};\n", effect.1));
            continue;
        }
        let from = format!("{}, {}", dice.pick(&CALLERS), dice.pick(&CALLERS));
        let member = dice.pick(&TOWN);
        let operations = match dice.roll(3) {
            0 => "'*'".to_owned(),
            1 => "any-path".to_owned(),
            _ => dice.pick(member.operations).0.to_owned(),
        };
        let methods = *dice.pick(&["", "", ", methods: [GET]", ", methods: [PUT, DELETE]"]);
        let when = if conditional && dice.roll(2) == 0 { "when: {headers: {h: v}}\n" } else { "" };
        yaml.push_str(&format!(
            "---\nkind: Permission\nname: p{number}\n{}: {{from: [{from}], to: {}, operations: {operations}{methods}}}\n{when}",
            effect.0, member.name
        ));
    }
    let file = |path: &str, text: String| SourceFile { path: path.to_owned(), bytes: text.into_bytes() };
    vec![file("town.yaml", yaml), file("more.cedar", cedar)]
}

/// A selector of callers, as written and as a test of its own.
#[derive(Clone, Copy, Debug)]
struct From(&'static str, fn(Option<&str>, &SpiffeId) -> bool);

const FROM: [From; 8] = [
    From("gate", |service, _| service == Some("gate")),
    From("[mid, vault]", |service, _| matches!(service, Some("mid" | "vault"))),
    From("{zone: edge}", |service, _| matches!(service, Some("gate" | "mute"))),
    From("strangers", |service, _| service.is_none()),
    From("any-authenticated", |service, _| service.is_some()),
    From("{identity: spiffe://t.example/b/a}", |_, id| id.as_str() == "spiffe://t.example/b/a"),
    From("{identity: \"spiffe://t.example/*/a\"}", |_, id| "spiffe://t.example/*/a".parse::<IdPattern>().unwrap().matches(id)),
    From("{service: vault, identity: \"spiffe://t.example/*/a\"}", |service, id| {
        service == Some("vault") && "spiffe://t.example/*/a".parse::<IdPattern>().unwrap().matches(id)
    }),
];

/// A selector of what is called, as written and as a test of service, operation and method.
#[derive(Clone, Copy, Debug)]
struct To(&'static str, fn(&str, Option<&str>, Option<&str>) -> bool);

const TO: [To; 7] = [
    To("vault", |service, _, _| service == "vault"),
    To("{zone: core}", |service, _, _| matches!(service, "mid" | "vault")),
    // Nobody knows what an undeclared path touches.
    To("{data: pan}", |service, operation, _| service == "vault" || (service == "mid" && operation != Some("read"))),
    To("{service: mid, method: [GET, PATCH]}", |service, _, method| service == "mid" && matches!(method, Some("GET" | "PATCH"))),
    To("{operation: [card, read]}", |_, operation, _| matches!(operation, Some("card" | "read"))),
    To("[gate, mute]", |service, _, _| matches!(service, "gate" | "mute")),
    To("{service: vault, operation: db}", |service, operation, _| service == "vault" && operation == Some("db")),
];

/// Every request of a small world.
fn world(conditional: bool) -> Vec<Request> {
    let mut ids = Vec::new();
    for domain in ["t.example", "u.example", "v.example"] {
        let words = ["a", "b", "z"];
        ids.extend(words.iter().map(|a| format!("spiffe://{domain}/{a}")));
        ids.extend(words.iter().flat_map(|a| ["a", "z"].map(|b| format!("spiffe://{domain}/{a}/{b}"))));
        ids.push(format!("spiffe://{domain}/a/b/z"));
    }
    let mut targets: Vec<Target> = [1, 2, 3].map(|port| Target::Connect { port }).into();
    for path in ["/", "/a", "/x", "/a/b", "/a/", "/q/r/s"] {
        for method in ["GET", "PUT", "POST", "PATCH"] {
            targets.push(Target::Http { method: Method::parse(method).unwrap(), path: CanonicalPath::parse(path).unwrap() });
        }
    }
    let mut out = Vec::new();
    for id in &ids {
        for member in &TOWN {
            for target in &targets {
                for header in [false, true].iter().filter(|h| conditional || !**h) {
                    let value = header.then(|| ("h".into(), AttributeValue::Text("v".into())));
                    let context = Context {
                        time: super::witness::TIME,
                        source_ip: None,
                        headers: value.into_iter().collect(),
                        query: Default::default(),
                        jwt: None,
                    };
                    out.push(Request {
                        principal: id.parse().unwrap(),
                        service: Arc::from(member.name),
                        target: target.clone(),
                        host: None,
                        context,
                    });
                }
            }
        }
    }
    out
}

/// What a request is, in the words of the tests of selectors.
struct Facts {
    caller: Option<String>,
    operation: Option<String>,
    method: Option<String>,
    allowed: bool,
}

fn facts(authorizer: &Authorizer, request: &Request) -> Facts {
    let method = match &request.target {
        Target::Http { method, .. } => Some(method.as_str().to_owned()),
        Target::Connect { .. } => None,
    };
    Facts {
        caller: authorizer.identify(&request.principal).map(|s| s.name.to_string()),
        operation: authorizer.operation(&request.service, &request.target).map(|o| o.id.to_string()),
        method,
        allowed: authorizer.decide(request).is_allow(),
    }
}

impl To {
    fn takes(self, request: &Request, facts: &Facts) -> bool {
        (self.1)(&request.service, facts.operation.as_deref(), facts.method.as_deref())
    }
}

fn prove(files: Vec<SourceFile>, claim: &str) -> (Authorizer, Option<Counterexample>) {
    let law = format!("kind: Invariant\nname: law\n{claim}\n");
    let law = SourceFile { path: "law.yaml".to_owned(), bytes: law.into_bytes() };
    let bundle = Bundle::from_files("t", files.into_iter().chain([law]).collect()).unwrap();
    let mut problems = Vec::new();
    let authorizer = crate::compile::build(&bundle, &mut problems).unwrap_or_else(|| panic!("{claim}: {problems:#?}"));
    let others: Vec<_> = problems.iter().filter(|p| p.is_error() && p.code != "invariant-broken").collect();
    assert!(others.is_empty(), "{others:#?}");
    let found = {
        let proof = Proof::new(&authorizer).unwrap();
        proof.counterexample(&authorizer.invariants[0].claim, &Bounds { excused: Vec::new(), within: None })
    };
    assert_eq!(found.is_some(), problems.iter().any(|p| p.code == "invariant-broken"), "{claim}");
    (authorizer, found)
}

/// Services from which an allowed chain leads to what `to` takes, found by asking about every request.
fn chain_exists(asked: &[(Request, Facts)], from: From, to: To) -> bool {
    let allowed: Vec<_> = asked.iter().filter(|(_, f)| f.allowed).collect();
    let mut reached: BTreeSet<String> = BTreeSet::new();
    loop {
        let can =
            |r: &Request, f: &Facts| (from.1)(f.caller.as_deref(), &r.principal) || f.caller.as_ref().is_some_and(|c| reached.contains(c));
        if allowed.iter().any(|(r, f)| can(r, f) && to.takes(r, f)) {
            return true;
        }
        let more: BTreeSet<String> = allowed.iter().filter(|(r, f)| can(r, f)).map(|(r, _)| r.service.to_string()).collect();
        if more.iter().all(|service| !reached.insert(service.clone())) {
            return false;
        }
    }
}

fn check(seed: u64, conditional: bool, tally: &mut [usize; 6]) {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let files = town(&mut dice, conditional);
    let (from, to) = (*dice.pick(&FROM), *dice.pick(&TO));
    let note = |what: &str| format!("seed {seed}, {what}, from {}, to {}\n{}", from.0, to.0, String::from_utf8_lossy(&files[0].bytes));
    let (authorizer, never) = prove(files.clone(), &format!("never: {{from: {}, to: {}}}", from.0, to.0));
    let asked: Vec<(Request, Facts)> = world(conditional).into_iter().map(|r| (r.clone(), facts(&authorizer, &r))).collect();
    let within = |r: &Request, f: &Facts| (from.1)(f.caller.as_deref(), &r.principal) && to.takes(r, f);

    let called = asked.iter().find(|(r, f)| f.allowed && within(r, f));
    assert!(called.is_none() || never.is_some(), "{}: {:?}", note("never"), called.map(|c| &c.0));
    tally[usize::from(never.is_some())] += 1;
    if let (false, Some(found)) = (conditional, &never) {
        let request = &found.requests[0];
        let facts = facts(&authorizer, request);
        assert!(facts.allowed && within(request, &facts), "{}: {}", note("never"), found.what);
    }

    let (authorizer, reaches) = prove(files.clone(), &format!("never: {{from: {}, reaches: {}}}", from.0, to.0));
    assert!(!chain_exists(&asked, from, to) || reaches.is_some(), "{}", note("reaches"));
    tally[2 + usize::from(reaches.is_some())] += 1;
    if let (false, Some(found)) = (conditional, &reaches) {
        let steps: Vec<_> = found.requests.iter().map(|r| (r, facts(&authorizer, r))).collect();
        assert!(steps.iter().all(|(_, f)| f.allowed), "{}: {}", note("reaches"), found.way);
        assert!(steps.windows(2).all(|w| w[1].1.caller.as_deref() == Some(&*w[0].0.service)), "{}: {}", note("reaches"), found.way);
        let (first, last) = (&steps[0], steps.last().unwrap());
        assert!((from.1)(first.1.caller.as_deref(), &first.0.principal) && to.takes(last.0, &last.1), "{}: {}", note("reaches"), found.way);
    }

    let (authorizer, always) = prove(files.clone(), &format!("always: {{from: {}, to: {}}}", from.0, to.0));
    let own = |r: &Request, f: &Facts| f.caller.as_deref() == Some(&*r.service);
    let refused = asked.iter().find(|(r, f)| !f.allowed && f.operation.is_some() && !own(r, f) && within(r, f));
    assert!(refused.is_none() || always.is_some(), "{}: {:?}", note("always"), refused.map(|c| &c.0));
    tally[4 + usize::from(always.is_some())] += 1;
    if let (false, Some(found)) = (conditional, &always) {
        let request = &found.requests[0];
        let facts = facts(&authorizer, request);
        assert!(!facts.allowed && within(request, &facts), "{}: {}", note("always"), found.what);
    }
}

fn check_seeds(seeds: std::ops::Range<u64>) {
    let mut tally = [0; 6];
    for seed in seeds {
        check(seed, seed % 2 == 0, &mut tally);
    }
    // Never proved and broken, reaches proved and broken, always proved and broken: each must really occur.
    assert!(tally.iter().all(|n| *n >= 2), "{tally:?}");
}

#[test]
fn no_proof_is_contradicted_and_no_counterexample_is_made_up() {
    check_seeds(0..80);
}

/// On demand: `cargo test -p portreeve-engine --release --lib -- --ignored proofs_at_length`
#[test]
#[ignore = "takes minutes; a longer run is asked for by hand with `-- --ignored`"]
fn proofs_at_length() {
    check_seeds(1_000..6_000);
}
