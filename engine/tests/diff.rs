//! What `diff` says of two bundles agrees with asking both of them request by request.
//!
//! The judge knows nothing of sets: it walks the grid of all callers, services, methods and paths of interest with contexts
//! made of every value and boundary that the policies name, asks both bundles, and holds each difference against the report.
//! Seeds are fixed; `PORTREEVE_CASES` pairs and `PORTREEVE_SEED` change them.

#![cfg(test)]

use std::collections::BTreeMap;
use std::fmt::Write as _;

use portreeve_engine::diff::{Comparison, Direction, Kind, Side, Status, Verdict, compare};
use portreeve_engine::{Authorizer, Bundle, Effect, Reason, Request, SourceFile};

#[path = "shared/conditions.rs"]
mod conditions;
#[path = "shared/dice.rs"]
mod dice;
#[path = "shared/policies.rs"]
mod policies;

use dice::Dice;

/// The parts of a bundle, so that a second one can differ in a few of them.
#[derive(Clone)]
struct Parts {
    inventory: String,
    permissions: Vec<String>,
    cedar: Vec<String>,
    rego: String,
}

impl Parts {
    fn random(dice: &mut Dice) -> Self {
        let permissions = (0..dice.below(9)).map(|n| policies::permission(dice, n)).collect();
        let cedar = if dice.chance(40) { (0..dice.below(3)).map(|n| policies::cedar(dice, n)).collect() } else { Vec::new() };
        let rego = if dice.chance(25) { rego(dice) } else { String::new() };
        Self { inventory: policies::inventory(dice), permissions, cedar, rego }
    }

    /// The same with one to three changes.
    fn changed(&self, dice: &mut Dice) -> Self {
        let mut out = self.clone();
        for _ in 0..=dice.below(3) {
            match dice.below(10) {
                0 if !out.permissions.is_empty() => drop(out.permissions.remove(dice.below(out.permissions.len()))),
                1 => out.permissions.push(policies::permission(dice, 20 + out.permissions.len())),
                2 if !out.permissions.is_empty() => {
                    let n = dice.below(out.permissions.len());
                    let number = out.permissions[n].split("name: p").nth(1).unwrap().split('\n').next().unwrap().parse().unwrap();
                    out.permissions[n] = policies::permission(dice, number);
                }
                3 => out.cedar.push(policies::cedar(dice, 20 + out.cedar.len())),
                4 if !out.cedar.is_empty() => drop(out.cedar.remove(dice.below(out.cedar.len()))),
                5 => out.rego = rego(dice),
                6 | 7 => out.inventory = replaced(dice, &out.inventory, INVENTORY_CHANGES),
                _ => {
                    let text = out.permissions.join("@@");
                    let text = replaced(dice, &text, PERMISSION_CHANGES);
                    out.permissions = text.split("@@").filter(|t| !t.is_empty()).map(str::to_owned).collect();
                }
            }
        }
        out
    }

    fn files(&self) -> Vec<SourceFile> {
        let yaml = format!("{}{}", self.inventory, self.permissions.concat());
        let all = [("a.yaml", yaml), ("b.cedar", self.cedar.concat()), ("c.rego", self.rego.clone())];
        let written = all.into_iter().filter(|(_, text)| !text.is_empty());
        written.map(|(path, text)| SourceFile { path: path.to_owned(), bytes: text.into_bytes() }).collect()
    }
}

fn rego(dice: &mut Dice) -> String {
    let metadata = dice.pick(&["", "# METADATA\n# custom: {portreeve: {services: [b, c]}}\n", "# a note\n"]);
    let body = dice.pick(&[
        "deny if input.context.headers[\"x-tenant\"] == \"us\"",
        "deny if input.context.query.n > 2",
        "allow if { input.operation == \"one\"; input.source.service == \"a\" }",
        "allow if { input.operation == \"two\"; input.context.jwt.tenant == \"eu\" }",
        "deny if to_number(input.context.headers[\"x-tenant\"]) > 3",
    ]);
    format!("{metadata}package portreeve.r\n{body}\n")
}

/// One of the pairs that occurs: its first text becomes its second, at one place.
fn replaced(dice: &mut Dice, text: &str, changes: &[(&str, &str)]) -> String {
    let fitting: Vec<&(&str, &str)> = changes.iter().filter(|(from, _)| text.contains(from)).collect();
    if fitting.is_empty() {
        return text.to_owned();
    }
    let (from, to) = fitting[dice.below(fitting.len())];
    // What names a type must change everywhere, or the bundle is invalid.
    if from.contains("{n: ") || from.contains("level: ") || from.contains("x-role: ") || from.contains("x-tenant: ") {
        return text.replace(from, to);
    }
    let mut parts: Vec<&str> = text.split(from).collect();
    let at = dice.below(parts.len() - 1);
    let (left, right) = (parts[at], parts.remove(at + 1));
    let joint = format!("{left}{to}{right}");
    parts[at] = &joint;
    parts.join(from)
}

const INVENTORY_CHANGES: &[(&str, &str)] = &[
    ("{n: integer", "{n: string"),
    ("{n: integer, full: boolean}", "{n: list, full: string}"),
    ("full: boolean}", "full: boolean, more: integer}"),
    ("level: integer", "level: string"),
    ("x-tenant: string", "x-tenant: list"),
    ("x-role: list", "x-role: string"),
    ("members: [a, b]", "members: [a]"),
    ("members: [a, b]", "members: [b, d]"),
    ("members: [g, c]", "members: [c, e]"),
    ("path: \"/two/{id}\"", "path: \"/two/{rest*}\""),
    ("path: \"/two/{id}\"", "path: \"/{any}/7\""),
    ("path: \"/files/{rest*}\"", "path: \"/{x}/{rest*}\""),
    ("path: /one", "path: \"/{one}\""),
    ("path: /one", "path: /one/x"),
    ("{id: one, method: GET", "{id: one, method: [GET, HEAD]"),
    ("[GET, POST, PUT]", "[GET, POST]"),
    ("[GET, POST, PUT]", "[GET, POST, PUT, HEAD]"),
    ("port: 5432", "port: 80"),
    ("job/*/e", "job/k/e"),
    ("job/*/e", "job/*/*"),
    (", spiffe://t.example/sa/b2", ""),
    ("spiffe://t.example/sa/d2", "spiffe://t.example/other"),
    ("zone: edge", "zone: core"),
    ("data: [none]", "data: [pan]"),
];

const PERMISSION_CHANGES: &[(&str, &str)] = &[
    ("10.0.0.0/8", "10.0.0.0/7"),
    ("10.0.0.0/8", "10.0.0.0/9"),
    ("10.1.2.3", "10.1.2.2"),
    ("10.1.0.0/16", "10.1.0.0/17"),
    ("2001:db8::/32", "2001:db8::/31"),
    ("\"08:00\"", "\"08:01\""),
    ("\"18:00\"", "\"12:00\""),
    ("\"22:00\", to: \"06:00\"", "\"22:00\", to: \"24:00\""),
    ("2026-06-01\n", "2026-06-01T00:00:00.001Z\n"),
    ("2026-11-22T10:00:00Z", "2026-11-22T09:59:59.999Z"),
    ("2026-11-22T10:00:00Z", "2026-11-22"),
    ("[eu, us]", "[eu]"),
    ("scopes: [r]", "scopes_any: [r, w]"),
    ("scopes_any: [r, w]", "scopes: [r, w]"),
    ("issuer: [i1, i2]", "issuer: [i2, i1]"),
    ("issuer: [i1, i2]", "issuer: [i1]"),
    ("n: [1, 2]", "n: [2, 3]"),
    ("roles: admin", "roles: [user, admin]"),
    ("jwt: {}", "jwt: {audience: a}"),
    ("audience: a", "audience: [a, b]"),
    ("allow:", "deny:"),
    ("deny:", "allow:"),
    ("'*'", "any-path"),
    ("any-path", "'*'"),
    ("[two]", "[one, two]"),
    ("\"spiffe://t.example/**\"", "\"spiffe://t.example/sa/*\""),
    ("any-authenticated", "h"),
    ("from: [g", "from: [a, b"),
];

fn compiled(parts: &Parts) -> Option<(Bundle, Authorizer)> {
    let bundle = Bundle::from_files("random", parts.files()).unwrap();
    let authorizer = Authorizer::compile(&bundle).authorizer?;
    Some((bundle, authorizer))
}

const IDS: [&str; 15] = [
    "t.example/sa/a",
    "t.example/sa/a2",
    "t.example/sa/b2",
    "t.example/sa/c",
    "t.example/sa/d",
    "t.example/sa/d2",
    "t.example/sa/e",
    "t.example/job/k/e",
    "t.example/job/q/e",
    "t.example/job/k/z",
    "t.example/job/k/l/e",
    "t.example/other",
    "t.example/sa/new",
    "else.example/sa/x",
    "else.example/sa/y",
];
const TARGETS: [&str; 13] =
    ["/one", "/one/x", "/two/7", "/two/7/8", "/two/", "/files/a/b", "/files/", "/files", "/x/7", "/7", "/", "/one/x/y", "/a/b/c/"];
const METHODS: [&str; 8] = ["GET", "POST", "PUT", "DELETE", "HEAD", "PURGE", "PATCH", "OTHER"];

/// A context made of the values and boundaries that policies name, and of others.
fn context(dice: &mut Dice) -> String {
    let times = [
        "2026-11-22T10:00:00Z",
        "2026-11-22T09:59:59.999Z",
        "2026-11-22T09:59:59.998Z",
        "2026-11-22T23:59:59.999Z",
        "2026-11-23T00:00:00Z",
        "2026-06-01T00:00:00Z",
        "2026-06-01T00:00:00.001Z",
        "2026-05-31T23:59:59.999Z",
        "2026-07-01T08:00:00Z",
        "2026-07-01T08:00:59.999Z",
        "2026-07-01T07:59:59.999Z",
        "2026-07-01T11:59:59.999Z",
        "2026-07-01T12:00:00Z",
        "2026-07-01T17:59:59.999Z",
        "2026-07-01T18:00:00Z",
        "2026-07-01T22:00:00Z",
        "2026-07-01T05:59:59.999Z",
        "2026-07-01T06:00:00Z",
        "2025-01-05T12:00:00Z",
        "2027-01-05T23:00:00Z",
    ];
    let ips = [
        "10.1.2.3",
        "10.1.2.2",
        "10.1.128.0",
        "10.1.127.255",
        "10.127.255.255",
        "10.128.0.0",
        "11.0.0.0",
        "9.255.255.255",
        "12.0.0.0",
        "2001:db8::1",
        "2001:db9::1",
        "2001:dba::",
        "::ffff:10.0.0.1",
        "fe80::1",
    ];
    let mut out = format!("\"time\":\"{}\"", dice.pick(&times));
    if dice.chance(70) {
        let _ = write!(out, ",\"source_ip\":\"{}\"", dice.pick(&ips));
    }
    let mut record = |dice: &mut Dice, name: &str, fields: &[(&str, &[&str])]| {
        let mut inside = Vec::new();
        for (field, values) in fields {
            if dice.chance(60) {
                inside.push(format!("\"{field}\":{}", dice.pick(values)));
            }
        }
        if dice.chance(80) {
            let _ = write!(out, ",\"{name}\":{{{}}}", inside.join(","));
        }
    };
    let texts: &[&str] = &["\"eu\"", "\"us\"", "\"de\"", "\"x, eu\"", "[\"eu\",\"us\"]", "\"7\""];
    let roles: &[&str] = &["\"admin\"", "\"user\"", "\"user, admin\"", "[\"admin\"]", "[\"x\",\"user\"]", "\"\"", "[]"];
    let numbers: &[&str] = &["1", "\"2\"", "3", "\"03\"", "9", "\"x\"", "[\"1\",\"2\"]", "\"1,3\"", "true"];
    let flags: &[&str] = &["true", "\"true\"", "\"false\"", "\"yes\"", "[\"true\",\"true\"]", "1"];
    record(dice, "headers", &[("x-tenant", texts), ("x-role", roles), ("x-hidden", texts)]);
    record(dice, "query", &[("n", numbers), ("full", flags), ("more", numbers)]);
    let issuers: &[&str] = &["\"i1\"", "\"i2\"", "\"i3\""];
    let audiences: &[&str] = &["[\"a\"]", "[\"b\"]", "[\"a\",\"b\"]", "[]", "\"c\""];
    let scopes: &[&str] = &["\"r\"", "\"w\"", "\"r w\"", "\"x\""];
    if dice.chance(75) {
        let (issuer, audience) = (dice.pick(issuers), dice.pick(audiences));
        let mut token = format!("\"iss\":{issuer},\"sub\":\"s\",\"aud\":{audience}");
        for (name, values) in [("scope", scopes), ("tenant", texts), ("level", numbers), ("roles", roles)] {
            if dice.chance(60) {
                let _ = write!(token, ",\"{name}\":{}", dice.pick(values));
            }
        }
        let _ = write!(out, ",\"jwt\":{{{token}}}");
    } else if dice.chance(10) {
        out.push_str(",\"jwt\":{\"invalid\":\"expired\"}");
    }
    out
}

/// Every caller, service, method and path of interest, each with a context of its own.
fn grid(dice: &mut Dice) -> Vec<Request> {
    let mut out = Vec::new();
    for id in IDS {
        for service in ["a", "b", "c", "d", "e", "f"] {
            let calls = METHODS.iter().flat_map(|m| TARGETS.iter().map(move |p| format!("\"method\":\"{m}\",\"path\":\"{p}\"")));
            let ports = ["5432", "80", "81"].iter().map(|p| format!("\"port\":{p}"));
            for call in calls.chain(ports) {
                // The whole grid would take long; each pair of bundles sees another part of it.
                if dice.chance(25) {
                    let line =
                        format!("{{\"principal\":\"spiffe://{id}\",\"service\":\"{service}\",{call},\"context\":{{{}}}}}", context(dice));
                    out.push(Request::from_json(line.as_bytes()).unwrap_or_else(|e| panic!("{e}: {line}")));
                }
            }
        }
    }
    out
}

#[derive(Default)]
struct Tally {
    pairs: usize,
    skipped: usize,
    requests: usize,
    differing: usize,
    changes: usize,
    witnesses: usize,
    kinds: BTreeMap<Kind, usize>,
    verdicts: BTreeMap<&'static str, usize>,
}

/// One pair of bundles and what was said of them.
struct Trial<'a> {
    seed: u64,
    sides: [&'a Authorizer; 2],
    comparison: &'a Comparison<'a>,
}

impl Trial<'_> {
    fn fail(&self, what: &str) -> ! {
        panic!("seed {}: {what}\nverdict {:?}\n{:#?}", self.seed, self.comparison.verdict, self.comparison.changes);
    }

    /// Asks both bundles and holds the answers against the report. Says whether they differ.
    fn ask(&self, request: &Request) -> bool {
        let decisions = self.sides.map(|a| a.decide(request));
        let effects = [&decisions[0], &decisions[1]].map(|d| d.effect);
        let at = self.comparison.changes_at(request);
        for change in at.iter().map(|n| &self.comparison.changes[*n]) {
            for (status, decision) in [change.before, change.after].iter().zip(&decisions) {
                let malformed = matches!(decision.reason, Reason::MalformedRequest | Reason::InvalidToken);
                let kept = match status {
                    Status::Always => decision.is_allow() || malformed,
                    Status::Never => !decision.is_allow(),
                    Status::Conditional => true,
                };
                if !kept {
                    self.fail(&format!("{request:#?}\nis answered {} where the report says {status:?}\n{change:#?}", decision.effect));
                }
            }
        }
        if effects[0] == effects[1] {
            return false;
        }
        let gained = effects[1] == Effect::Allow;
        let direction = if gained { Direction::Allow } else { Direction::Deny };
        let reported = at.iter().any(|n| [direction, Direction::Either].contains(&self.comparison.changes[*n].direction));
        if !reported {
            self.fail(&format!("{request:#?}\nis answered {effects:?}, and no change of {at:?} says so"));
        }
        let contradicted = match self.comparison.verdict {
            Verdict::Equivalent => true,
            Verdict::MorePermissive => !gained,
            Verdict::LessPermissive => gained,
            Verdict::Incomparable | Verdict::Unknown => false,
        };
        if contradicted {
            self.fail(&format!("{request:#?}\nis answered {effects:?}"));
        }
        true
    }

    fn witnesses(&self) -> usize {
        let mut shown = 0;
        for (number, change) in self.comparison.changes.iter().enumerate() {
            let Some(witness) = &change.witness else {
                if change.kind != Kind::MayDiffer {
                    self.fail(&format!("change {number} has no witness"));
                }
                continue;
            };
            shown += 1;
            let text = witness.json().to_string();
            let request = Request::from_json(text.as_bytes()).unwrap_or_else(|e| panic!("{e}: {text}"));
            let effects = self.sides.map(|a| a.decide(&request).effect);
            let want = match change.direction {
                Direction::Allow => Some([Effect::Deny, Effect::Allow]),
                Direction::Deny => Some([Effect::Allow, Effect::Deny]),
                Direction::Either => None,
            };
            let as_claimed = effects == witness.effects && effects[0] != effects[1] && want.is_none_or(|want| want == effects);
            if !as_claimed {
                self.fail(&format!("the witness of change {number} is answered {effects:?}: {text}"));
            }
            if !self.comparison.changes_at(&request).contains(&number) {
                self.fail(&format!("the witness of change {number} does not fall under it: {text}"));
            }
            let nobody = change.policies.iter().all(Vec::is_empty) && change.declarations.iter().all(Vec::is_empty);
            if nobody {
                self.fail(&format!("nothing is responsible for change {number}"));
            }
        }
        shown
    }
}

fn check(seed: u64, tally: &mut Tally) {
    let mut dice = Dice(seed);
    let old = Parts::random(&mut dice);
    let new = if dice.chance(10) { Parts::random(&mut dice) } else { old.changed(&mut dice) };
    let (Some((old_bundle, old)), Some((new_bundle, new))) = (compiled(&old), compiled(&new)) else {
        tally.skipped += 1;
        return;
    };
    let comparison = compare(Side { bundle: &old_bundle, authorizer: &old }, Side { bundle: &new_bundle, authorizer: &new });
    let trial = Trial { seed, sides: [&old, &new], comparison: &comparison };
    if !comparison.unexplored.is_empty() {
        trial.fail(&format!("not everything was explored: {:?}", comparison.unexplored));
    }
    let mut requests = grid(&mut dice);
    requests.extend((0..100).map(|_| Request::from_json(policies::request(&mut dice).as_bytes()).unwrap()));
    // Where a change is reported, more contexts.
    let callers: Vec<Request> = comparison.changes.iter().filter_map(|c| c.witness.as_ref()).map(|w| w.request.clone()).take(20).collect();
    for request in callers {
        for _ in 0..20 {
            let line =
                format!("{{\"principal\":\"spiffe://x.example/x\",\"service\":\"a\",\"port\":1,\"context\":{{{}}}}}", context(&mut dice));
            let other = Request::from_json(line.as_bytes()).unwrap();
            requests.push(Request { context: other.context, ..request.clone() });
        }
    }
    tally.differing += requests.iter().filter(|r| trial.ask(r)).count();
    tally.witnesses += trial.witnesses();
    tally.pairs += 1;
    tally.requests += requests.len();
    tally.changes += comparison.changes.len();
    *tally.verdicts.entry(comparison.verdict.as_str()).or_default() += 1;
    for change in &comparison.changes {
        *tally.kinds.entry(change.kind).or_default() += 1;
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the ban is on the engine, not on its tests: a longer run is asked for by the environment")]
fn the_report_agrees_with_asking() {
    let number = |name: &str, default: u64| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default);
    let (first, pairs) = (number("PORTREEVE_SEED", 1), number("PORTREEVE_CASES", 60));
    let mut tally = Tally::default();
    for seed in first..first + pairs {
        check(seed, &mut tally);
    }
    println!(
        "seeds {first}..{}: {} pairs ({} skipped as invalid), {} requests, {} answered differently, {} changes with {} witnesses; {:?}; {:?}",
        first + pairs,
        tally.pairs,
        tally.skipped,
        tally.requests,
        tally.differing,
        tally.changes,
        tally.witnesses,
        tally.verdicts,
        tally.kinds
    );
    // Pairs that never differ, or are never equal, would prove nothing.
    assert!(tally.pairs * 2 > tally.skipped && tally.differing * 200 > tally.requests);
    assert!(tally.verdicts.len() >= 4 && tally.kinds.len() == 4, "{:?} {:?}", tally.verdicts, tally.kinds);
}

/// Two bundles of one permission each, asked about nothing but its one operation.
fn narrow(seed: u64, old: &str, new: &str, requests: impl Iterator<Item = String>) -> (Verdict, usize) {
    let sides = [old, new].map(|text| {
        let bundle = Bundle::from_files("t", vec![SourceFile { path: "a.yaml".to_owned(), bytes: text.as_bytes().to_vec() }]).unwrap();
        let compiled = Authorizer::compile(&bundle);
        let problems: Vec<String> = compiled.diagnostics.iter().map(|d| d.render()).collect();
        (bundle, compiled.authorizer.unwrap_or_else(|| panic!("{}\n{text}", problems.concat())))
    });
    let [(old_bundle, old), (new_bundle, new)] = &sides;
    let comparison = compare(Side { bundle: old_bundle, authorizer: old }, Side { bundle: new_bundle, authorizer: new });
    let trial = Trial { seed, sides: [old, new], comparison: &comparison };
    trial.witnesses();
    let differing =
        requests.filter(|line| trial.ask(&Request::from_json(line.as_bytes()).unwrap_or_else(|e| panic!("{e}: {line}")))).count();
    (comparison.verdict, differing)
}

/// Each boundary by itself, with so many contexts that one lies on each side of it.
#[test]
fn every_change_of_a_condition_is_seen() {
    let conditions = [
        "source: [10.0.0.0/8, \"2001:db8::/32\"]",
        "source: [10.0.0.0/9, 10.1.0.0/16, 10.1.2.3]",
        "source: [10.1.2.3]",
        "source: [10.1.0.0/16]",
        "time: {from: \"08:00\", to: \"18:00\"}",
        "time: [{from: \"22:00\", to: \"06:00\"}]",
        "not_before: 2026-06-01",
        "expires: 2026-11-22T10:00:00Z",
        "expires: 2026-11-22T10:00:00Z\n  time: {from: \"08:00\", to: \"18:00\"}",
        "jwt: {issuer: [i1, i2], scopes: [r]}",
        "jwt: {audience: a, scopes_any: [r, w]}",
        "jwt: {claims: {tenant: [eu, us]}}",
        "jwt: {claims: {roles: admin}}",
        "jwt: {}",
        "headers: {x-tenant: [eu, us]}",
        "headers: {x-role: [admin, user]}",
        "query: {n: [1, 2]}",
    ];
    let more = [
        ("[eu, us]", "[us]"),
        ("[admin, user]", "[admin]"),
        ("[admin, user]", "[user, admin]"),
        ("roles: admin", "tenant: eu"),
        ("scopes: [r]", "scopes: [r, w]"),
    ];
    let mut dice = Dice(7);
    let inventory = policies::inventory(&mut dice);
    let (mut pairs, mut different) = (0, 0);
    for condition in conditions {
        for (from, to) in PERMISSION_CHANGES.iter().chain(&more).filter(|(from, _)| condition.contains(from)) {
            let bundle = |when: &str| {
                format!("{inventory}kind: Permission\nname: p\nallow: {{from: a, to: b, operations: [two]}}\nwhen:\n  {when}\n")
            };
            let (old, new) = (bundle(condition), bundle(&condition.replace(from, to)));
            let call = "\"principal\":\"spiffe://t.example/sa/a\",\"service\":\"b\",\"method\":\"GET\",\"path\":\"/two/7\"";
            let requests: Vec<String> = (0..900).map(|_| format!("{{{call},\"context\":{{{}}}}}", context(&mut dice))).collect();
            let (verdict, differing) = narrow(pairs, &old, &new, requests.into_iter());
            assert_eq!(verdict == Verdict::Equivalent, differing == 0, "{condition} → {to}: {verdict:?}, {differing} differ");
            pairs += 1;
            different += usize::from(differing > 0);
        }
    }
    assert!(pairs > 25 && different > 20, "{pairs} pairs, {different} different");
}

/// Each pair of templates by itself, with every path of interest.
#[test]
fn every_change_of_a_path_is_seen() {
    let templates = ["/one", "/one/", "/{x}", "/{x}/", "/one/{x}", "/{x}/{y}", "/{rest*}", "/one/{rest*}", "/", "/two/7"];
    let paths = ["/", "/one", "/one/", "/two", "/two/", "/one/x", "/one/x/", "/two/7", "/two/8", "/two/7/", "/one/x/y", "/a/b/c/"];
    let bundle = |main: &str, beside: &str| {
        format!(
            "kind: Service\nname: a\nidentities: [spiffe://t.example/sa/a]\n---\nkind: Service\nname: b\nidentities: [spiffe://t.example/sa/b]\n\
             operations:\n  - {{id: one, method: GET, path: \"{main}\"}}\n  - {{id: two, method: GET, path: \"{beside}\"}}\n---\n\
             kind: Permission\nname: p\nallow: {{from: a, to: b, operations: [one]}}\n"
        )
    };
    let mut different = 0;
    for (n, old) in templates.iter().enumerate() {
        for new in templates.iter().filter(|new| *new != old) {
            for beside in ["/one/y", "/{z}/{q}/z"] {
                let call = |path: &&str| {
                    format!(
                        "{{\"principal\":\"spiffe://t.example/sa/a\",\"service\":\"b\",\"method\":\"GET\",\"path\":\"{path}\",\
                         \"context\":{{\"time\":\"2026-01-01T00:00:00Z\"}}}}"
                    )
                };
                let requests: Vec<String> = paths.iter().map(call).collect();
                let (verdict, differing) = narrow(n as u64, &bundle(old, beside), &bundle(new, beside), requests.into_iter());
                assert!(verdict != Verdict::Equivalent && differing > 0, "{old} → {new}: {verdict:?}, {differing}");
                different += 1;
            }
        }
    }
    assert_eq!(different, templates.len() * (templates.len() - 1) * 2);
}

/// The lints say that a permission is idle; then the bundle without it must be equivalent.
#[test]
fn what_lints_call_idle_can_go() {
    let mut idle = BTreeMap::new();
    for seed in 500..620 {
        let mut dice = Dice(seed);
        let parts = Parts::random(&mut dice);
        let Some((bundle, authorizer)) = compiled(&parts) else { continue };
        for found in portreeve_engine::lint::lint(&authorizer, None) {
            if !["covered-permission", "overridden-permission", "unmatchable-permission"].contains(&found.code) {
                continue;
            }
            let name = found.message.split('`').nth(1).unwrap();
            let mut without = parts.clone();
            without.permissions.retain(|p| !p.contains(&format!("name: {name}\n")));
            assert_eq!(without.permissions.len() + 1, parts.permissions.len());
            let (other_bundle, other) = compiled(&without).unwrap();
            let comparison = compare(Side { bundle: &bundle, authorizer: &authorizer }, Side { bundle: &other_bundle, authorizer: &other });
            assert_eq!(comparison.verdict, Verdict::Equivalent, "seed {seed}: {}\n{:#?}", found.message, comparison.changes);
            *idle.entry(found.code).or_insert(0) += 1;
        }
    }
    println!("{idle:?}");
    assert_eq!(idle.len(), 3, "{idle:?}");
}
