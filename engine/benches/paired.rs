//! Decisions of this engine beside Cedar's and regorus', in one interleaved run: `cargo bench -p portreeve-engine --bench paired`.
//!
//! Each round runs every contestant in turn; what is compared are ratios within a round, and the median of those. Times are
//! the thread's time on a processor, which a busy neighbour disturbs less than the clock on the wall. `ROUNDS` sets how many; `ONLY` measures just the
//! contestants whose name has this text, without ratios. `PEERS=DIR` writes the same thousand grants as Rego for other engines
//! (see `opa.sh`) and measures nothing.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark ends at the first surprise, reads clocks and tells what it saw"
)]

#[path = "common/mesh.rs"]
mod mesh;
#[path = "common/questions.rs"]
mod questions;

use std::collections::{HashMap, HashSet};
use std::hint::black_box;
use std::time::{Duration, Instant};

use cedar_policy::{
    Authorizer as CedarAuthorizer, Context as CedarContext, Entities, Entity, EntityUid, Policy, PolicyId, PolicySet,
    Request as CedarRequest, RestrictedExpression,
};
use mesh::{Conditions, Size, bundle, grants, identity};
use portreeve_engine::path::canonicalise;
use portreeve_engine::request::{RequestRef, TargetRef};
use portreeve_engine::{Authorizer, Bundle, SourceFile};
use questions::{Asked, questions, with_user};

fn main() {
    // `cargo test --benches` passes through here too: nothing is measured in a debug build.
    if cfg!(debug_assertions) {
        println!("benchmarks are measured in release builds: cargo bench -p portreeve-engine --bench paired");
        return;
    }
    if let Some(dir) = std::env::var_os("PEERS") {
        write_peers(dir.as_ref());
        return;
    }
    let rounds: usize = std::env::var("ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(11);
    let only = std::env::var("ONLY").ok();
    let mut contestants = contestants();
    contestants.retain(|c| only.as_ref().is_none_or(|only| c.name.contains(only)));
    let mut seen: Vec<Vec<f64>> = vec![Vec::new(); contestants.len()];
    for _ in 0..rounds {
        for (contestant, seen) in contestants.iter_mut().zip(&mut seen) {
            seen.push(contestant.measure());
        }
    }
    println!("{} rounds; nanoseconds of processor time for one decision: median (least to most)", rounds);
    let median = |values: &[f64]| {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    };
    for (contestant, seen) in contestants.iter().zip(&seen) {
        let least = seen.iter().copied().fold(f64::MAX, f64::min);
        let most = seen.iter().copied().fold(0.0, f64::max);
        println!("{:<58} {:>11.0} ({least:.0} to {most:.0})", contestant.name, median(seen));
    }
    if only.is_some() {
        return;
    }
    println!("\nratios within a round: median (least to most)");
    let of = |name: &str| contestants.iter().position(|c| c.name == name).map(|at| &seen[at]).unwrap();
    for (what, over, under) in RATIOS {
        let ratios: Vec<f64> = of(over).iter().zip(of(under)).map(|(a, b)| a / b).collect();
        let (least, most) = ratios.iter().fold((f64::MAX, 0.0_f64), |(lo, hi), r| (lo.min(*r), hi.max(*r)));
        println!("{what:<58} {:>11.2} ({least:.2} to {most:.2})", median(&ratios));
    }
    two_threads(rounds);
    println!("two threads that only count take {:.2} times the time of one, each", spin_efficiency());
}

const RATIOS: [(&str, &str, &str); 10] = [
    ("D1: 100,000 permissions over 10, same routes (at most 1.5)", PLAIN_100K, PLAIN_FEW),
    ("D1: the same over 10 permissions among five services", PLAIN_100K, PLAIN_10),
    ("D2: Cedar, 1,000 policies, over ours at 1,000 (at least 1000)", CEDAR_1000, PLAIN_1000),
    ("D2: Cedar, one policy, over ours at 1,000 (at least 10)", CEDAR_ONE, PLAIN_1000),
    ("D2: the same, Cedar's request made from texts like ours", CEDAR_ONE_BUILT, PLAIN_1000),
    ("D3: native condition over Cedar, one policy (at most 0.125)", NATIVE, CEDAR_ONE_IF),
    ("regorus, one indexed look-up, over ours at 1,000", REGO_INDEXED, PLAIN_1000),
    ("regorus, 1,000 definitions of a rule, over ours at 1,000", REGO_1000, PLAIN_1000),
    ("Cedar residual from the memo over not from it", CEDAR_MEMO, CEDAR_NO_MEMO),
    ("Rego residual from the memo over not from it", REGO_MEMO, REGO_NO_MEMO),
];

/// Ten permissions over the services and operations of [`Size::LARGE`]: the same routes.
const FEW: Size = Size { permissions: 10, ..Size::LARGE };

const PLAIN_10: &str = "unconditional, 10 permissions";
const PLAIN_FEW: &str = "unconditional, 10 permissions, 2,000 services";
const PLAIN_1000: &str = "unconditional, 1,000 permissions";
const PLAIN_100K: &str = "unconditional, 100,000 permissions";
const NATIVE: &str = "scope and time window, 1,000 permissions";
const CEDAR_1000: &str = "Cedar authorizer, 1,000 lowered policies";
const CEDAR_ONE: &str = "Cedar authorizer, the one policy that matters";
const CEDAR_ONE_BUILT: &str = "Cedar, the one policy, from the same texts";
const CEDAR_ONE_IF: &str = "Cedar authorizer, the one policy, scope and time window";
const REGO_INDEXED: &str = "regorus interpreter, one look-up in indexed data";
const REGO_1000: &str = "regorus interpreter, 1,000 definitions of a rule";
const CEDAR_MEMO: &str = "residual Cedar, from the memo";
const CEDAR_NO_MEMO: &str = "residual Cedar, evaluated";
const REGO_MEMO: &str = "residual Rego, from the memo";
const REGO_NO_MEMO: &str = "residual Rego, evaluated";

/// Something that decides: its name, and one decision after another. The questions go round.
struct Contestant {
    name: &'static str,
    one: Box<dyn FnMut(usize) -> bool>,
    questions: usize,
}

impl Contestant {
    fn new(name: &'static str, questions: usize, one: impl FnMut(usize) -> bool + 'static) -> Self {
        let mut made = Self { name, one: Box::new(one), questions };
        // Whoever lacks its data answers "no" quickly: every question here is one that must be allowed.
        for n in 0..questions {
            assert!((made.one)(n), "{name}: question {n} is denied");
        }
        made
    }

    /// Processor time of one decision in nanoseconds, over about fifty milliseconds.
    fn measure(&mut self) -> f64 {
        let (mut done, mut n) = (0_u64, 0);
        let (wall, cpu) = (Instant::now(), on_cpu());
        while wall.elapsed() < Duration::from_millis(50) {
            for _ in 0..64 {
                n = if n + 1 == self.questions { 0 } else { n + 1 };
                black_box((self.one)(n));
            }
            done += 64;
        }
        (on_cpu() - cpu).as_nanos() as f64 / done as f64
    }
}

/// How long this thread has been on a processor.
fn on_cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("a Linux kernel with scheduler statistics");
    Duration::from_nanos(stat.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or_default())
}

fn ask(authorizer: &Authorizer, asked: &Asked) -> bool {
    let path = canonicalise(&asked.path).unwrap();
    let target = TargetRef::Http { method: &asked.method, path: path.path() };
    authorizer.answer(RequestRef { principal: &asked.principal, service: &asked.service, target, context: &asked.context }).is_allow()
}

fn compile(bundle: &Bundle) -> Authorizer {
    let compiled = Authorizer::compile(bundle);
    compiled.authorizer.unwrap_or_else(|| panic!("{:?}", compiled.diagnostics.first()))
}

fn contestants() -> Vec<Contestant> {
    let mut out = Vec::new();
    for (name, size) in [(PLAIN_10, Size::SMALL), (PLAIN_FEW, FEW), (PLAIN_1000, Size::MEDIUM), (PLAIN_100K, Size::LARGE)] {
        let authorizer = compile(&bundle(size, Conditions::None));
        let questions = questions(size, 256);
        out.push(Contestant::new(name, questions.len(), move |n| ask(&authorizer, &questions[n])));
    }
    let authorizer = compile(&bundle(Size::MEDIUM, Conditions::ScopeAndTime));
    let asked = users();
    out.push(Contestant::new(NATIVE, asked.len(), move |n| ask(&authorizer, &asked[n])));
    out.push(cedar(CEDAR_1000, Conditions::None, false));
    out.push(cedar(CEDAR_ONE, Conditions::None, true));
    out.push(cedar_from_texts());
    out.push(cedar(CEDAR_ONE_IF, Conditions::ScopeAndTime, true));
    out.extend(rego());
    out.extend(residual("cedar", CEDAR_RESIDUAL, CEDAR_MEMO, CEDAR_NO_MEMO));
    out.extend(residual("rego", REGO_RESIDUAL, REGO_MEMO, REGO_NO_MEMO));
    out
}

/// The questions with a user.
fn users() -> Vec<Asked> {
    let mut asked = questions(Size::MEDIUM, 256);
    asked.iter_mut().for_each(|a| a.context = with_user(a.context.clone()));
    asked
}

/// Cedar on all lowered permissions, or for each question on just the one that allows it.
fn cedar(name: &'static str, conditions: Conditions, sliced: bool) -> Contestant {
    let authorizer = compile(&bundle(Size::MEDIUM, conditions));
    let lowered: HashMap<String, Policy> = authorizer
        .lowered()
        .into_iter()
        .map(|(id, text)| (id.to_owned(), Policy::parse(Some(PolicyId::new(id)), &text).unwrap()))
        .collect();
    let entities = entities();
    let grants = grants(Size::MEDIUM);
    let asked: Vec<(CedarRequest, PolicySet)> = (0..256)
        .map(|n| {
            let number = n * (grants.len() / 256).max(1) % grants.len();
            let grant = grants[number];
            let uid = |text: String| text.parse::<EntityUid>().unwrap();
            let mut context = vec![("time".to_owned(), RestrictedExpression::new_datetime("2026-11-22T12:00:00.000Z"))];
            if conditions == Conditions::ScopeAndTime {
                let text = |t: &str| RestrictedExpression::new_string(t.to_owned());
                let set = |items: &[&str]| RestrictedExpression::new_set(items.iter().map(|i| text(i)));
                let pairs = [
                    ("iss", text("https://idp.mesh.example")),
                    ("sub", text("ann")),
                    ("aud", set(&["items"])),
                    ("scopes", set(&["profile", "items:read"])),
                ];
                let jwt = RestrictedExpression::new_record(pairs.map(|(k, v)| (k.to_owned(), v))).unwrap();
                context.push(("jwt".to_owned(), jwt));
            }
            let request = CedarRequest::new(
                uid(format!("Workload::\"{}\"", identity(grant.from))),
                uid("Action::\"GET\"".to_owned()),
                uid(format!("Operation::\"service-{}/op-{}\"", grant.to, grant.operation)),
                CedarContext::from_pairs(context).unwrap(),
                None,
            )
            .unwrap();
            let one = PolicySet::from_policies([lowered[&format!("grant-{number}")].clone()]).unwrap();
            (request, one)
        })
        .collect();
    let all = PolicySet::from_policies(lowered.into_values()).unwrap();
    let judge = CedarAuthorizer::new();
    Contestant::new(name, asked.len(), move |n| {
        let (request, one) = &asked[n];
        judge.is_authorized(request, if sliced { one } else { &all }, &entities).decision() == cedar_policy::Decision::Allow
    })
}

/// Cedar on the one policy, its request made from the texts that ours begins from (without a path: Cedar has no routes).
fn cedar_from_texts() -> Contestant {
    let authorizer = compile(&bundle(Size::MEDIUM, Conditions::None));
    let lowered: HashMap<String, String> = authorizer.lowered().into_iter().map(|(id, text)| (id.to_owned(), text)).collect();
    let (entities, grants) = (entities(), grants(Size::MEDIUM));
    let kind = |name: &str| name.parse::<cedar_policy::EntityTypeName>().unwrap();
    let (workload, action, operation) = (kind("Workload"), kind("Action"), kind("Operation"));
    let asked: Vec<(String, String, PolicySet)> = (0..256)
        .map(|n| {
            let number = n * (grants.len() / 256).max(1) % grants.len();
            let (grant, id) = (grants[number], format!("grant-{number}"));
            let one = PolicySet::from_policies([Policy::parse(Some(PolicyId::new(&id)), &lowered[&id]).unwrap()]).unwrap();
            (identity(grant.from), format!("service-{}/op-{}", grant.to, grant.operation), one)
        })
        .collect();
    let judge = CedarAuthorizer::new();
    Contestant::new(CEDAR_ONE_BUILT, asked.len(), move |n| {
        let (caller, target, one) = &asked[n];
        let uid =
            |kind: &cedar_policy::EntityTypeName, id: &str| EntityUid::from_type_name_and_id(kind.clone(), cedar_policy::EntityId::new(id));
        let context =
            CedarContext::from_pairs([("time".to_owned(), RestrictedExpression::new_datetime("2026-11-22T12:00:00.000Z"))]).unwrap();
        let request = CedarRequest::new(uid(&workload, caller), uid(&action, "GET"), uid(&operation, target), context, None).unwrap();
        judge.is_authorized(&request, one, &entities).decision() == cedar_policy::Decision::Allow
    })
}

/// The mesh's entities, as the engine's own Cedar world has them.
fn entities() -> Entities {
    let size = Size::MEDIUM;
    let uid = |text: String| text.parse::<EntityUid>().unwrap();
    let mut out = Vec::new();
    for service in 0..size.services {
        let own = uid(format!("Service::\"service-{service}\""));
        out.push(Entity::new_no_attrs(own.clone(), HashSet::new()));
        out.push(Entity::new_no_attrs(uid(format!("Workload::\"{}\"", identity(service))), HashSet::from([own.clone()])));
        for operation in 0..size.operations {
            out.push(Entity::new_no_attrs(uid(format!("Operation::\"service-{service}/op-{operation}\"")), HashSet::from([own.clone()])));
        }
    }
    Entities::from_entities(out, None).unwrap()
}

/// The thousand grants in Rego, and a question that one of them allows.
struct InRego {
    /// `{"index": {caller: {operation: true}}}`.
    data: serde_json::Value,
    /// One rule that looks the data up.
    indexed: String,
    /// A definition for each grant, of equalities alone.
    equalities: String,
    /// The same with a set of methods in each, which older versions of OPA did not index.
    sets: String,
    /// The same by computed, which OPA does not index.
    computed: String,
    inputs: Vec<serde_json::Value>,
}

fn in_rego() -> InRego {
    let grants = grants(Size::MEDIUM);
    let head = "package mesh\nimport rego.v1\ndefault allow := false\n";
    let mut index = serde_json::Map::new();
    let (mut equalities, mut sets, mut computed) = (head.to_owned(), head.to_owned(), head.to_owned());
    for grant in &grants {
        let (caller, target) = (identity(grant.from), format!("service-{}/op-{}", grant.to, grant.operation));
        let body = format!("input.principal == \"{caller}\"; input.operation == \"{target}\"");
        equalities += &format!("allow if {{ {body} }}\n");
        sets += &format!("allow if {{ input.method in {{\"GET\", \"HEAD\"}}; {body} }}\n");
        computed += &format!("allow if {{ lower(input.principal) == \"{caller}\"; lower(input.operation) == \"{target}\" }}\n");
        let entry = index.entry(caller).or_insert_with(|| serde_json::Value::Object(serde_json::Map::new()));
        entry.as_object_mut().unwrap().insert(target, true.into());
    }
    let step = grants.len() / 256;
    let input = |grant: mesh::Grant| {
        let operation = format!("service-{}/op-{}", grant.to, grant.operation);
        serde_json::json!({"principal": identity(grant.from), "method": "GET", "operation": operation})
    };
    InRego {
        data: serde_json::json!({ "index": index }),
        indexed: format!("{head}allow if data.index[input.principal][input.operation]\n"),
        equalities,
        sets,
        computed,
        inputs: (0..256).map(|n| input(grants[n * step])).collect(),
    }
}

fn rego() -> Vec<Contestant> {
    let InRego { data, indexed, equalities, inputs, .. } = in_rego();
    let inputs: Vec<regorus::Value> = inputs.iter().map(|i| regorus::Value::from_json_str(&i.to_string()).unwrap()).collect();
    [(REGO_INDEXED, indexed), (REGO_1000, equalities)]
        .into_iter()
        .map(|(name, module)| {
            let mut engine = regorus::Engine::new();
            engine.add_policy("mesh.rego".to_owned(), module).unwrap();
            engine.add_data(regorus::Value::from_json_str(&data.to_string()).unwrap()).unwrap();
            let inputs = inputs.clone();
            Contestant::new(name, inputs.len(), move |n| {
                engine.set_input(inputs[n].clone());
                engine.eval_rule("data.mesh.allow".to_owned()).unwrap() == regorus::Value::Bool(true)
            })
        })
        .collect()
}

fn write_peers(dir: &std::path::Path) {
    let InRego { data, indexed, equalities, sets, computed, inputs } = in_rego();
    std::fs::create_dir_all(dir).unwrap();
    for (name, text) in [("indexed.rego", indexed), ("equalities.rego", equalities), ("sets.rego", sets), ("computed.rego", computed)] {
        std::fs::write(dir.join(name), text).unwrap();
    }
    std::fs::write(dir.join("data.json"), data.to_string()).unwrap();
    // The grant in the middle: neither the first definition nor the last.
    std::fs::write(dir.join("input.json"), inputs[128].to_string()).unwrap();
}

const CEDAR_RESIDUAL: &str = r#"@id("readers")
permit(principal, action in Action::"read", resource in Service::"service-1")
when { context has jwt && context.jwt.scopes.contains("items:read") && context.jwt.sub != "mallory" };
"#;

const REGO_RESIDUAL: &str = "package portreeve.readers\nimport rego.v1\nallow if {\n  input.service == \"service-1\"\n  \
    some scope in split(input.context.jwt.scope, \" \")\n  scope == \"items:read\"\n  input.context.jwt.sub != \"mallory\"\n}\n";

/// One conditional policy in another language, answered from the memo and evaluated each time.
fn residual(extension: &str, text: &str, memo: &'static str, evaluated: &'static str) -> Vec<Contestant> {
    let mut files = mesh::inventory(Size::SMALL);
    files.push(SourceFile { path: format!("readers.{extension}"), bytes: text.as_bytes().to_vec() });
    let bundle = Bundle::from_files("residual", files).unwrap();
    let asked = || -> Vec<Asked> {
        let all = (0..16).map(|n| Asked {
            principal: identity(n % 5).parse().unwrap(),
            service: "service-1".to_owned(),
            method: portreeve_engine::request::Method::parse("GET").unwrap(),
            path: questions::path(n % 10, n),
            context: with_user(questions::context()),
        });
        all.collect()
    };
    let (with, without) = (compile(&bundle), compile(&bundle).without_memo());
    let (one, two) = (asked(), asked());
    vec![
        Contestant::new(memo, one.len(), move |n| ask(&with, &one[n])),
        Contestant::new(evaluated, two.len(), move |n| ask(&without, &two[n])),
    ]
}

/// D4: what a decision costs each of two threads, over what it costs one alone.
fn two_threads(rounds: usize) {
    let conditional = {
        let mut files = mesh::inventory(Size::SMALL);
        files.push(SourceFile { path: "readers.cedar".to_owned(), bytes: CEDAR_RESIDUAL.as_bytes().to_vec() });
        compile(&Bundle::from_files("residual", files).unwrap())
    };
    let plain = compile(&bundle(Size::LARGE, Conditions::None));
    let asked = questions(Size::LARGE, 256);
    let mut residual = questions(Size::SMALL, 16);
    residual.iter_mut().for_each(|a| {
        a.service = "service-1".to_owned();
        a.context = with_user(a.context.clone());
    });
    for (what, authorizer, asked) in
        [("unconditional, 100,000 permissions", &plain, &asked), ("residual Cedar, from the memo", &conditional, &residual)]
    {
        let run = || {
            let mut n = 0;
            let (wall, cpu, mut done) = (Instant::now(), on_cpu(), 0_u64);
            while wall.elapsed() < Duration::from_millis(100) {
                for _ in 0..64 {
                    n = (n + 1) % asked.len();
                    black_box(ask(authorizer, &asked[n]));
                }
                done += 64;
            }
            (on_cpu() - cpu).as_nanos() as f64 / done as f64
        };
        let mut ratios: Vec<f64> = (0..rounds)
            .map(|_| {
                let alone = run();
                let both = std::thread::scope(|s| {
                    let handles = [s.spawn(run), s.spawn(run)];
                    handles.into_iter().map(|h| h.join().unwrap()).sum::<f64>() / 2.0
                });
                both / alone
            })
            .collect();
        ratios.sort_by(f64::total_cmp);
        println!(
            "D4: two threads over one, {what} (at most 1.3): {:.2} ({:.2} to {:.2})",
            ratios[rounds / 2],
            ratios[0],
            ratios[rounds - 1]
        );
    }
}

/// How much longer a count takes each of two threads than one alone: what of D4 is the machine's doing.
fn spin_efficiency() -> f64 {
    let spin = || {
        let started = on_cpu();
        let mut x = 1_u64;
        for n in 0..100_000_000_u64 {
            x = black_box(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(n));
        }
        (on_cpu() - started).as_secs_f64()
    };
    let alone = spin();
    let both = std::thread::scope(|s| {
        let handles = [s.spawn(spin), s.spawn(spin)];
        handles.into_iter().map(|h| h.join().unwrap()).sum::<f64>() / 2.0
    });
    both / alone
}
