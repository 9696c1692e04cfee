//! The analysis against the evaluator, on random conditions: what lies outside a footprint moves no answer.

use std::collections::BTreeMap;

use crate::authorizer::Authorizer;
use crate::bundle::{Bundle, SourceFile};
use crate::cedar::entities::{Callee, Caller};
use crate::footprint::{Footprint, Names, Reads, TimeReads};
use crate::id::SpiffeId;
use crate::request::{AttributeValue, Attributes, Claims, Context, Method, Target, Token};
use crate::time::Timestamp;

#[path = "../../../tests/shared/conditions.rs"]
mod conditions;
#[path = "../../../tests/shared/dice.rs"]
mod dice;

use dice::Dice;

const DAY: i64 = 86_400_000;
const IDS: [&str; 9] = ["sa/a", "sa/a2", "sa/b", "sa/b2", "sa/c", "job/k/e", "job/l/e", "other", "job/k/l"];
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PURGE", "BREW"];

fn inventory() -> String {
    let service = |name: &str, zone: &str, data: &str, groups: &str| {
        let pattern = if name == "e" { ", \"spiffe://t.example/job/*/e\"" } else { "" };
        format!(
            "kind: Service\nname: {name}\nidentities: [spiffe://t.example/sa/{name}, spiffe://t.example/sa/{name}2{pattern}]\n\
             zone: {zone}\ndata: [{data}]\n{groups}\
             headers: {{x-tenant: string, x-role: list}}\nquery: {{n: integer, full: boolean}}\n\
             claims: {{tenant: string, level: integer, roles: list}}\noperations:\n  - {{id: one, method: GET, path: /one}}\n  \
             - {{id: two, method: [GET, POST, PUT], path: \"/two/{{id}}\"}}\n  - {{id: rest, method: [GET, PURGE], path: \"/files/{{rest*}}\"}}\n  \
             - {{id: port, port: 5432}}\n---\n"
        )
    };
    ["a", "b", "c", "d", "e"]
        .iter()
        .zip(["edge", "core", "edge", "core", "edge"])
        .map(|(name, zone)| {
            service(name, zone, if zone == "core" { "pan" } else { "" }, if *name == "c" { "labels: {tier: gold}\n" } else { "" })
        })
        .collect::<String>()
        + "kind: Group\nname: g\nmembers: [a, b]\n---\nkind: Group\nname: h\nmembers: [g, c]\n---\n\
           kind: Permission\nname: jobs\nallow: {from: [\"spiffe://t.example/job/**\"], to: [a], operations: '*'}\n"
}

fn compile(cedar: &str) -> Authorizer {
    let files = [("a.yaml", inventory()), ("b.cedar", cedar.to_owned())]
        .map(|(path, text)| SourceFile { path: path.to_owned(), bytes: text.into_bytes() });
    let compiled = Authorizer::compile(&Bundle::from_files("random", files.into()).unwrap());
    let problems: Vec<String> = compiled.diagnostics.iter().filter(|d| d.is_error()).map(crate::Diagnostic::render).collect();
    compiled.authorizer.unwrap_or_else(|| panic!("{cedar}\n{}", problems.join("\n")))
}

/// A request to one operation, as policies see it.
#[derive(Clone, Debug)]
struct Asked {
    principal: SpiffeId,
    service: usize,
    operation: Option<usize>,
    target: Target,
    context: Context,
}

fn id(name: &str) -> SpiffeId {
    format!("spiffe://t.example/{name}").parse().unwrap()
}

fn method(name: &str) -> Target {
    Target::Http { method: Method::parse(name).unwrap(), path: crate::path::CanonicalPath::parse("/x").unwrap() }
}

/// A way to reach this operation.
fn target(dice: &mut Dice, operation: Option<usize>) -> Target {
    match operation {
        Some(0) => method("GET"),
        Some(1) => method(dice.pick(&["GET", "POST", "PUT"])),
        Some(2) => method(dice.pick(&["GET", "PURGE"])),
        Some(_) => Target::Connect { port: 5432 },
        None if dice.chance(20) => Target::Connect { port: 1 },
        None => method(dice.pick(&METHODS)),
    }
}

fn time(dice: &mut Dice) -> Timestamp {
    let base = ["2026-11-22T10:00:00Z", "2026-06-01T00:00:00Z", "2026-05-31T22:30:00Z", "1969-12-31T23:30:00Z", "2026-01-05T07:59:00.001Z"];
    let base: Timestamp = dice.pick(&base).parse().unwrap();
    match dice.below(4) {
        0 => base,
        1 => base.plus_ms(i64::try_from(dice.below(3)).unwrap() - 1),
        2 => base.plus_ms(i64::try_from(dice.below(4 * 86_400_000)).unwrap() - 2 * DAY),
        _ => *[Timestamp::MIN, Timestamp::MAX, Timestamp::from_unix_ms(0)].get(dice.below(3)).unwrap(),
    }
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::Text(value.into())
}

fn list(dice: &mut Dice) -> AttributeValue {
    AttributeValue::List((0..dice.below(3)).map(|_| dice.pick(&["admin", "x", "eu"]).into()).collect())
}

fn number(dice: &mut Dice) -> AttributeValue {
    AttributeValue::Integer([0, 1, 3, -7, 60, i64::MAX, i64::MIN][dice.below(7)])
}

fn header(dice: &mut Dice, name: &str) -> Option<AttributeValue> {
    dice.chance(60).then(|| if name == "x-role" { list(dice) } else { text(dice.pick(&["eu", "us", ""])) })
}

fn parameter(dice: &mut Dice, name: &str) -> Option<AttributeValue> {
    dice.chance(60).then(|| if name == "n" { number(dice) } else { AttributeValue::Boolean(dice.chance(50)) })
}

fn claim(dice: &mut Dice, name: &str) -> Option<AttributeValue> {
    dice.chance(60).then(|| match name {
        "tenant" => text(dice.pick(&["eu", "us", ""])),
        "level" => number(dice),
        _ => list(dice),
    })
}

fn fill(names: &[&str], of: &mut impl FnMut(&str) -> Option<AttributeValue>) -> Attributes {
    names.iter().filter_map(|name| Some(((*name).into(), of(name)?))).collect()
}

fn token(dice: &mut Dice) -> Token {
    Token::Valid(Claims {
        iss: dice.pick(&["i1", "i2"]).into(),
        sub: dice.pick(&["s", "ann"]).into(),
        aud: vec![dice.pick(&["a", "b"]).into()],
        scope: [None, Some("r".into()), Some("w  r".into()), Some("".into())][dice.below(4)].clone(),
        other: fill(&["tenant", "level", "roles"], &mut |n| claim(dice, n)),
    })
}

fn address(dice: &mut Dice) -> Option<std::net::IpAddr> {
    dice.chance(75).then(|| dice.pick(&["10.1.2.3", "127.0.0.1", "2001:db8::1", "ff02::1", "::1", "192.0.2.1"]).parse().unwrap())
}

fn asked(dice: &mut Dice) -> Asked {
    let operation = [None, Some(0), Some(1), Some(2), Some(3)][dice.below(5)];
    Asked {
        principal: id(dice.pick(&IDS)),
        service: dice.below(5),
        operation,
        target: target(dice, operation),
        context: Context {
            time: time(dice),
            source_ip: address(dice),
            headers: fill(&["x-tenant", "x-role"], &mut |n| header(dice, n)),
            query: fill(&["n", "full"], &mut |n| parameter(dice, n)),
            jwt: dice.chance(70).then(|| token(dice)),
        },
    }
}

/// The answer of the one Cedar policy of the bundle.
fn answer(authorizer: &Authorizer, asked: &Asked) -> Result<bool, String> {
    let services = authorizer.inventory.services();
    let caller = Caller { id: &asked.principal, service: authorizer.inventory.identify(&asked.principal).and_then(|n| services.get(n)) };
    let service = &services[asked.service];
    let callee = Callee { service, operation: asked.operation.map(|o| &service.operations[o]), target: asked.target.borrowed() };
    authorizer.cedar[0].satisfied(&authorizer.world.question(&caller, &callee, &asked.context).unwrap())
}

/// Changes, of what the footprint leaves out, about half.
fn shake(dice: &mut Dice, asked: &Asked, reads: &Reads, authorizer: &Authorizer) -> Asked {
    let mut out = asked.clone();
    let other = id(dice.pick(&IDS));
    if !reads.principal && authorizer.inventory.identify(&other) == authorizer.inventory.identify(&asked.principal) {
        out.principal = other;
    }
    if !reads.method {
        out.target = target(dice, asked.operation);
    }
    if !reads.source_ip {
        out.context.source_ip = address(dice);
    }
    for _ in 0..20 {
        let at = time(dice);
        if same_side(&reads.time, at, asked.context.time) {
            out.context.time = at;
            break;
        }
    }
    others(&reads.headers, &["x-tenant", "x-role"], &mut out.context.headers, &mut |n| header(dice, n));
    others(&reads.query, &["n", "full"], &mut out.context.query, &mut |n| parameter(dice, n));
    if !reads.token {
        assert!(reads.claims.is_empty());
        out.context.jwt = dice.chance(70).then(|| token(dice));
    } else if let (Some(Token::Valid(claims)), Token::Valid(fresh)) = (&mut out.context.jwt, token(dice)) {
        let read = |name: &str| reads.claims == Names::All || matches!(&reads.claims, Names::Only(n) if n.contains(name));
        let kept = claims.clone();
        *claims = Claims {
            iss: if read("iss") { kept.iss } else { fresh.iss },
            sub: if read("sub") { kept.sub } else { fresh.sub },
            aud: if read("aud") { kept.aud } else { fresh.aud },
            scope: if read("scope") { kept.scope } else { fresh.scope },
            other: kept.other,
        };
        others(&reads.claims, &["tenant", "level", "roles"], &mut claims.other, &mut |n| claim(dice, n));
    }
    out
}

fn others(read: &Names, names: &[&str], have: &mut Attributes, fresh: &mut impl FnMut(&str) -> Option<AttributeValue>) {
    let Names::Only(read) = read else { return };
    for name in names.iter().filter(|n| !read.contains(**n)) {
        match fresh(name) {
            Some(value) => drop(have.insert((*name).into(), value)),
            None => drop(have.remove(*name)),
        }
    }
}

/// Whether the times lie on the same side of every boundary, or no boundary lies between them: either is enough.
fn same_side(reads: &TimeReads, a: Timestamp, b: Timestamp) -> bool {
    let sides = reads.instants.iter().all(|at| a.cmp(at) == b.cmp(at))
        && reads.of_day_ms.iter().all(|at| a.ms_of_day().cmp(at) == b.ms_of_day().cmp(at));
    let (first, last) = (a.min(b).unix_ms(), a.max(b).unix_ms());
    let passed = |at: i64| first <= at && at <= last;
    let daily = |at: i64| (last - at).div_euclid(DAY) != (first - 1 - at).div_euclid(DAY);
    sides || !(reads.instants.iter().any(|at| passed(at.unix_ms())) || reads.of_day_ms.iter().any(|at| daily(*at)))
}

type Tally = BTreeMap<&'static str, usize>;

/// Shakes requests to a policy with this condition.
fn check(condition: &str, dice: &mut Dice, requests: usize, tally: &mut Tally) {
    let authorizer = compile(&format!("@id(\"c\") permit(principal, action, resource) when {{ {condition} }};"));
    let Footprint::Bounded(reads) = &authorizer.cedar[0].footprint else {
        assert!(condition.contains("context.time"), "{condition}");
        return *tally.entry("unbounded").or_default() += 1;
    };
    *tally.entry("bounded").or_default() += 1;
    *tally.entry("time").or_default() += usize::from(!reads.time.is_empty());
    *tally.entry("sure").or_default() += usize::from(!authorizer.cedar[0].can_err());
    for _ in 0..requests {
        let first = asked(dice);
        let expected = answer(&authorizer, &first);
        assert!(authorizer.cedar[0].can_err() || expected.is_ok(), "{condition}\n{expected:?}\n{first:#?}");
        for _ in 0..6 {
            let shaken = shake(dice, &first, reads, &authorizer);
            let got = answer(&authorizer, &shaken);
            assert_eq!(got.is_err(), expected.is_err(), "{condition}\n{reads:#?}\n{first:#?}\n{shaken:#?}");
            assert_eq!(got.ok(), expected.clone().ok(), "{condition}\n{reads:#?}\n{first:#?}\n{shaken:#?}");
        }
        let outcome = match expected {
            Ok(true) => "yes",
            Ok(false) => "no",
            Err(_) => "error",
        };
        *tally.entry(outcome).or_default() += 1;
    }
}

#[test]
fn what_a_footprint_leaves_out_moves_no_answer() {
    let mut tally = Tally::new();
    for seed in 1..=80 {
        let mut dice = Dice(seed);
        let condition = conditions::condition(&mut dice, 1 + usize::try_from(seed % 4).unwrap());
        check(&condition, &mut dice, 12, &mut tally);
    }
    println!("{tally:?}");
    // A generator of one kind of answer would prove little.
    let at_least = |what: &str, n: usize| assert!(tally.get(what).is_some_and(|have| *have >= n), "{what}: {tally:?}");
    for (what, n) in [("bounded", 60), ("time", 10), ("sure", 40), ("yes", 150), ("no", 150), ("error", 5)] {
        at_least(what, n);
    }
}

/// Conditions with their footprint in words: times, then everything else that is read.
const FOOTPRINTS: [(&str, &str); 38] = [
    ("true", ""),
    ("resource.data.contains(\"pan\") && Service::\"a\" has zone", ""),
    ("principal in Service::\"a\" || principal in [Group::\"g\", Group::\"h\"]", ""),
    ("principal is Workload in Group::\"g\" && resource is Operation in Service::\"a\"", ""),
    ("principal == Workload::\"spiffe://t.example/sa/a\"", "principal"),
    ("principal in Workload::\"spiffe://t.example/sa/a\"", "principal"),
    ("principal in Pattern::\"spiffe://t.example/job/**\"", "principal"),
    ("principal is Workload in Pattern::\"spiffe://t.example/job/**\"", "principal"),
    ("[principal].contains(Workload::\"spiffe://t.example/sa/a\")", "principal"),
    ("action in Action::\"read\"", "method"),
    ("context has source_ip", "ip"),
    ("context has source_ip && context.source_ip.isLoopback()", "ip"),
    ("context has jwt", "token"),
    ("context has jwt && context.jwt.iss == \"i1\"", "token claims[iss]"),
    ("context has jwt && context.jwt.scopes.contains(\"r\")", "token claims[scope]"),
    ("context has jwt && context.jwt has scope && context.jwt.scope like \"r*\"", "token claims[scope]"),
    ("context has jwt.level", "token claims[level]"),
    ("context has jwt && (if action in Action::\"read\" then context.jwt else context.jwt).sub == \"s\"", "method token claims"),
    ("context has jwt && {a: context.jwt.aud}.a.contains(\"a\")", "token claims[aud]"),
    ("context.headers has \"x-tenant\" && context.query has n", "headers[x-tenant] query[n]"),
    ("context has headers && context has query && context has time", ""),
    ("context.headers == context.headers || context.query == context.query", "headers query"),
    ("context.time >= datetime(\"1970-01-01T00:00:01Z\")", "1000"),
    ("context.time.offset(duration(\"2s\")) < datetime(\"1970-01-01T00:00:05Z\")", "3000"),
    ("duration(\"1s\") < context.time.durationSince(datetime(\"1970-01-01\"))", "1000"),
    ("datetime(\"1970-01-01T00:00:05Z\").durationSince(context.time) < duration(\"2s\")", "3000"),
    ("datetime(\"1970-01-02\").durationSince(context.time).toHours() == 23", "0 3600000 7200000"),
    ("context.time.toTime() < duration(\"1h\")", "@0 @3600000"),
    ("context.time.offset(duration(\"-1h\")).toTime() >= duration(\"22h\")", "@3600000 @82800000"),
    ("context.time.toTime().toHours() >= 9", "@0 @32400000 @36000000"),
    ("context.time.durationSince(context.time.toDate()) < duration(\"1h\")", "@0 @3600000"),
    ("context.time.toDate() == datetime(\"1970-01-02\")", "86400000 172800000"),
    ("[datetime(\"1970-01-02\"), datetime(\"1970-01-03\")].contains(context.time)", "86400000 172800000"),
    ("context.time == context.time && context.time < context.time.offset(duration(\"1s\"))", ""),
    ("context.time < datetime(\"9999-12-31\").offset(duration(\"106751991d\"))", "253402300799999"),
    ("context.time.offset(duration(\"106751991167d\")) > context.time", "unbounded"),
    ("context.time.toDate().offset(duration(\"1h\")) < context.time", "unbounded"),
    ("{t: context.time}.t < datetime(\"1970-01-02\")", "unbounded"),
];

fn in_words(footprint: &Footprint) -> String {
    let Footprint::Bounded(reads) = footprint else { return "unbounded".to_owned() };
    let mut out: Vec<String> = reads.time.instants.iter().map(|at| at.unix_ms().to_string()).collect();
    out.extend(reads.time.of_day_ms.iter().map(|at| format!("@{at}")));
    let flags =
        [(reads.principal, "principal"), (reads.method, "method"), (reads.path, "path"), (reads.source_ip, "ip"), (reads.token, "token")];
    out.extend(flags.iter().filter(|(read, _)| *read).map(|(_, word)| (*word).to_owned()));
    for (what, names) in [("claims", &reads.claims), ("headers", &reads.headers), ("query", &reads.query)] {
        match names {
            Names::All => out.push(what.to_owned()),
            Names::Only(names) if names.is_empty() => {}
            Names::Only(names) => out.push(format!("{what}[{}]", names.iter().map(|n| &**n).collect::<Vec<_>>().join(" "))),
        }
    }
    out.join(" ")
}

#[test]
fn footprints_are_no_wider_than_they_must_be() {
    let mut tally = Tally::new();
    for (number, (condition, expected)) in FOOTPRINTS.iter().enumerate() {
        let authorizer = compile(&format!("@id(\"c\") forbid(principal, action, resource) unless {{ {condition} }};"));
        assert_eq!(in_words(&authorizer.cedar[0].footprint), *expected, "{condition}");
        check(condition, &mut Dice(number as u64), 12, &mut tally);
    }
}

/// Conditions with the parts of them that can err; the first part is where it is said to be.
const FAULTS: [(&str, &str); 32] = [
    ("context has jwt && context.jwt has level && context.jwt.level > 5", ""),
    ("context.query has n && context.query.n + 1 > 5", "context.query.n + 1"),
    ("context.query has n && context.query.n < 100 && context.query.n + 1 > 5", ""),
    ("context.query has n && context.query.n <= 9223372036854775806 && context.query.n + 1 > 5", ""),
    ("context.query has n && context.query.n <= 9223372036854775807 && context.query.n + 1 > 5", "context.query.n + 1"),
    ("context.query has n && context.query.n < 9223372036854775807 && context.query.n + 2 > 5", "context.query.n + 2"),
    ("context.query has n && context.query.n > -9223372036854775808 && -1 - context.query.n > 5", ""),
    ("context.query has n && context.query.n - 1 > 5", "context.query.n - 1"),
    ("context.query has n && 0 < context.query.n && context.query.n - 1 > 5", ""),
    ("context.query has n && !(context.query.n < 0) && context.query.n - 1 > 5", ""),
    ("context.query has n && (context.query.n > 1000 || context.query.n + 1 > 5)", ""),
    ("context.query has n && (context.query.n < 1000 || context.query.n + 1 > 5)", "context.query.n + 1"),
    ("context.query has n && (if context.query.n < 1000 then context.query.n + 1 else context.query.n - 1) > 5", ""),
    ("context.query has n && context.query.n != 3 && context.query.n * 2 > 5", "context.query.n * 2"),
    ("context.query has n && [1, 2, 4].contains(context.query.n) && context.query.n * 1000 > 5", ""),
    ("context.query has n && [1, context.query.n].contains(context.query.n) && context.query.n * 2 > 5", "context.query.n * 2"),
    (
        "context.query has n && context.query.n > -1000 && context.query.n < 1000 && context.query.n * context.query.n * context.query.n > 5",
        "",
    ),
    ("context.query has n && -(context.query.n) > 5", "-(context.query.n)"),
    ("context.query has n && context.query.n > -5 && -(context.query.n) > 5", ""),
    ("context.query has n && context.query.n > 5 && context.query.n < 3 && context.query.n * 2 > 5", ""),
    ("9223372036854775807 + 1 > 5", "9223372036854775807 + 1"),
    ("false && 9223372036854775807 + 1 > 5", ""),
    ("context.time.toTime().toHours() * 3600 + 60 > 5", ""),
    ("context.time.offset(duration(\"-24h\")) < datetime(\"2026-01-01\")", ""),
    ("context.time.offset(duration(\"106751991167d\")) < datetime(\"2026-01-01\")", "context.time.offset(duration(\"106751991167d\"))"),
    ("context.time < datetime(\"1970-01-02\") && context.time.offset(duration(\"106751991165d\")) > context.time", ""),
    ("context.time.durationSince(datetime(\"2026-01-01\")).toDays() * 86400000 > 5", ""),
    (
        "context.time.offset(duration(\"-106751000000d\")).offset(duration(\"-1000000d\")) < context.time",
        "context.time.offset(duration(\"-106751000000d\")).offset(duration(\"-1000000d\"))",
    ),
    ("context has source_ip && context.source_ip.isInRange(ip(\"10.0.0.0/8\")) && decimal(\"1.0\").lessThan(decimal(\"2.0\"))", ""),
    ("Service::\"a\".data.contains(\"pan\") && resource.data.isEmpty()", ""),
    ("{a: {n: 9223372036854775807}}.a.n + 1 > 0", "{a: {n: 9223372036854775807}}.a.n + 1"),
    ("context.headers has \"x-tenant\" && context.headers[\"x-tenant\"] like \"e*\" && [\"eu\"].containsAny([\"x\"])", ""),
];

#[test]
fn faults_are_found_where_they_are_and_nowhere_else() {
    let mut tally = Tally::new();
    for (number, (condition, expected)) in FAULTS.iter().enumerate() {
        for clause in ["when", "unless"] {
            let text = format!("@id(\"c\") forbid(principal, action, resource)\n{clause} {{ {condition} }};");
            let authorizer = compile(&text);
            let policy = &authorizer.cedar[0];
            let parts: Vec<String> = policy.faults.iter().map(|f| f.part.replace(' ', "")).collect();
            assert_eq!(parts.join("; "), expected.replace(' ', ""), "{condition}");
            for fault in &policy.faults {
                let line = text.lines().nth(fault.at.line as usize - 1).unwrap();
                let marked: String = line.chars().skip(fault.at.column as usize - 1).take(fault.at.length as usize).collect();
                assert!(expected.starts_with(&marked), "{marked}");
            }
        }
        check(condition, &mut Dice(number as u64), 12, &mut tally);
    }
    println!("{tally:?}");
}

/// Facts from one clause hold in the next; those from an `unless` the other way round.
#[test]
fn clauses_are_evaluated_in_their_order() {
    for (clauses, can_err) in [
        ("when { context.query has n && context.query.n < 9 } when { context.query.n + 1 > 2 }", false),
        ("when { context.query has n && context.query.n + 1 > 2 } when { context.query.n < 9 }", true),
        ("when { context.query has n } unless { context.query.n > 9 } when { context.query.n + 1 > 2 }", false),
        ("when { context.query has n } unless { context.query.n < 9 } when { context.query.n + 1 > 2 }", true),
    ] {
        let authorizer = compile(&format!("@id(\"c\") permit(principal, action, resource) {clauses};"));
        assert_eq!(authorizer.cedar[0].can_err(), can_err, "{clauses}");
    }
}

/// Entities that conditions name and look into, with what is so of them.
#[test]
fn named_entities_are_what_the_inventory_says() {
    for (condition, expected) in [
        ("Service::\"a\" in Group::\"h\" && Service::\"a\" in Group::\"g\" && Service::\"a\" in Group::\"any-authenticated\"", true),
        ("Service::\"d\" in Group::\"h\"", false),
        ("Group::\"g\" in Group::\"h\" && !(Group::\"h\" in Group::\"g\")", true),
        ("Workload::\"spiffe://t.example/sa/a2\" in Group::\"h\" && Workload::\"spiffe://t.example/sa/c\" in Service::\"c\"", true),
        ("Workload::\"spiffe://t.example/other\" in Group::\"any-authenticated\"", false),
        ("Workload::\"spiffe://t.example/job/k/e\" in Pattern::\"spiffe://t.example/job/**\"", true),
        ("Operation::\"c/one\" in Service::\"c\" && Operation::\"c/*\" in Group::\"h\"", true),
        ("Operation::\"b/two\".data.contains(\"pan\") && Operation::\"b/*\".data == [\"pan\"]", true),
        ("Action::\"GET\" in Action::\"read\" && !(Action::\"PURGE\" in Action::\"read\")", true),
        ("Service::\"d\" has zone && Service::\"d\".zone == \"edge\"", false),
        ("Service::\"a\" has zone && Service::\"a\".zone == \"edge\" && Service::\"c\".labels has tier", true),
    ] {
        let authorizer = compile(&format!("@id(\"c\") permit(principal, action, resource) when {{ {condition} }};"));
        let mut dice = Dice(1);
        assert_eq!(answer(&authorizer, &asked(&mut dice)), Ok(expected), "{condition}");
    }
}

/// Every entity of every question fits the schema under which policies are validated, and there are three of them however
/// large the inventory is.
#[test]
fn questions_are_small_and_fit_the_schema() {
    let authorizer = compile("@id(\"c\") permit(principal, action, resource);");
    let (schema, _) = cedar_policy::Schema::from_cedarschema_str(&authorizer.schema).unwrap();
    let mut dice = Dice(7);
    for _ in 0..200 {
        let asked = asked(&mut dice);
        let services = authorizer.inventory.services();
        let service = &services[asked.service];
        let caller = Caller { id: &asked.principal, service: authorizer.inventory.identify(&asked.principal).map(|n| &services[n]) };
        let callee = Callee { service, operation: asked.operation.map(|o| &service.operations[o]), target: asked.target.borrowed() };
        let question = authorizer.world.question(&caller, &callee, &asked.context).unwrap();
        assert_eq!(question.entities.iter().count(), 3);
        // Actions come from the schema itself, and those that nobody names are not in it.
        let others = question.entities.iter().filter(|e| e.uid().type_name().to_string() != "Action").cloned();
        cedar_policy::Entities::from_entities(others, Some(&schema)).unwrap();
    }
}

#[test]
fn any_address_can_be_put_to_cedar() {
    let authorizer = compile("@id(\"c\") permit(principal, action, resource);");
    let mut dice = Dice(9);
    let special = ["::1.2.3.4", "::", "64:ff9b::1.2.3.4", "::ffff:0:1.2.3.4", "fe80::1", "2001:db8:0:0:1::1", "0.0.0.0", "255.255.255.255"];
    let random = (0..200).map(|_| std::net::IpAddr::from(((u128::from(dice.next()) << 64) | u128::from(dice.next())).to_be_bytes()));
    for address in special.iter().map(|a| a.parse().unwrap()).chain(random.collect::<Vec<std::net::IpAddr>>()) {
        for time in [Timestamp::MIN, Timestamp::MAX, Timestamp::from_unix_ms(-1)] {
            let mut asked = asked(&mut Dice(1));
            asked.context.source_ip = Some(address.to_canonical());
            asked.context.time = time;
            assert_eq!(answer(&authorizer, &asked), Ok(true), "{address}");
        }
    }
}
