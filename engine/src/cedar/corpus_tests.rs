//! Cedar's own corpora through our Cedar path: each policy by itself, deny overrides, and an error denies (INV-4).
//!
//! Schemas and entities are those of the corpora, so this holds the evaluation and the combination, not the entities of a
//! bundle. What is expected is compared in full: decision, determining policies, policies that err. The analysis runs over
//! all policies as well: a condition of which it says that it cannot err must not err for any request of the corpus, and what
//! reads no context must not move with it.
//!
//! The figures are a table in docs/conformance.md, compared with every run. `PORTREEVE_CORPORA` names a folder with the whole
//! corpora (`cedar-integration-tests/corpus-tests` unpacked); their figures are printed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use cedar_policy::pst::EntityUID;
use cedar_policy::{
    Context, Effect, Entities, EntityId, EntityTypeName, EntityUid, EvaluationError, Policy, PolicySet, Request, Schema, ValidationMode,
    ValidationWarning, Validator,
};
use serde_json::Value;

use crate::cedar::analysis::Analysis;
use crate::cedar::policies::{satisfied, stack_bytes};
use crate::cedar::tokens::outlines;
use crate::footprint::Footprint;
use crate::limits::{CEDAR_COMPILE_STACK_BYTES, CEDAR_DEPTH_MAX};

/// What is known of one corpus after a run.
#[derive(Debug, Default)]
struct Tally {
    cases: usize,
    requests: usize,
    same: usize,
    /// Allowed by Cedar with an error beside; denied here (INV-4).
    denied_for_errors: usize,
    policies: usize,
    cannot_err: usize,
    skipped: BTreeMap<&'static str, usize>,
    wrong: Vec<String>,
}

impl Tally {
    fn skip(&mut self, why: &'static str) {
        *self.skipped.entry(why).or_default() += 1;
    }

    fn row(&self, name: &str) -> String {
        let skipped: Vec<String> = self.skipped.iter().map(|(why, n)| format!("{n} {why}")).collect();
        format!(
            "| {name} | {} | {} | {} | {} | {} | {} of {} | {} |",
            self.cases,
            self.requests,
            self.same,
            self.denied_for_errors,
            self.wrong.len(),
            self.cannot_err,
            self.policies,
            if skipped.is_empty() { "nothing".to_owned() } else { skipped.join("; ") }
        )
    }
}

/// A policy set with a schema and entities of its own.
struct World {
    policies: Vec<One>,
    schema: Schema,
    entities: Entities,
    /// No action fits the scope of some policy.
    inapplicable: bool,
}

/// One policy and what the analysis says of it, where strict validation accepts the set.
struct One {
    policy: Policy,
    alone: PolicySet,
    analysis: Option<Analysis>,
}

/// What is expected of a request.
struct Expected {
    allow: bool,
    reason: Option<BTreeSet<String>>,
    errors: Option<BTreeSet<String>>,
    error_count: Option<usize>,
}

impl World {
    fn read(policies: &str, schema: &str, entities: Value, tally: &mut Tally) -> Option<Self> {
        let Ok((schema, _)) = Schema::from_cedarschema_str(schema) else {
            tally.skip("schemas that this Cedar does not read");
            return None;
        };
        if outlines(policies).iter().any(|o| o.depth > CEDAR_DEPTH_MAX) {
            tally.skip("policies deeper than the limit");
            return None;
        }
        let Ok(set) = policies.parse::<PolicySet>() else {
            tally.skip("policies that this Cedar does not read");
            return None;
        };
        if set.templates().next().is_some() {
            tally.skip("sets with templates, which are refused");
            return None;
        }
        let parsed = Entities::from_json_value(entities.clone(), Some(&schema)).ok();
        let Some(entities) = parsed.or_else(|| Entities::from_json_value(entities, None).ok()) else {
            tally.skip("entities that this Cedar does not read");
            return None;
        };
        let result = Validator::new(schema.clone()).validate(&set, ValidationMode::Strict);
        let valid = result.validation_passed();
        let inapplicable = result.validation_warnings().any(|w| matches!(w, ValidationWarning::InvalidActionApplication(_)));
        let exists = |uid: &EntityUID| {
            let kind: Option<EntityTypeName> = uid.ty.to_string().parse().ok();
            kind.is_some_and(|kind| entities.get(&EntityUid::from_type_name_and_id(kind, EntityId::new(uid.eid.as_str()))).is_some())
        };
        let policies = set.policies().map(|policy| One {
            alone: PolicySet::from_policies([policy.clone()]).unwrap(),
            analysis: valid.then(|| Analysis::of(policy, &exists)),
            policy: policy.clone(),
        });
        let policies: Vec<One> = policies.collect();
        tally.policies += policies.len();
        tally.cannot_err += policies.iter().filter(|p| p.analysis.as_ref().is_some_and(|a| a.faults.is_empty())).count();
        Some(Self { policies, schema, entities, inapplicable })
    }

    fn valid(&self) -> bool {
        self.policies.iter().all(|p| p.analysis.is_some())
    }

    fn context(&self, value: &Value, action: &EntityUid) -> Option<Context> {
        let typed = Context::from_json_value(value.clone(), Some((&self.schema, action))).ok();
        typed.or_else(|| Context::from_json_value(value.clone(), None).ok())
    }

    fn answers(&self, request: &Request) -> Vec<(&One, Result<bool, EvaluationError>)> {
        self.policies.iter().map(|one| (one, satisfied(&one.alone, request, &self.entities, stack_bytes(CEDAR_DEPTH_MAX / 8)))).collect()
    }

    fn check(&self, name: &str, parts: [EntityUid; 3], context: &Value, others: &[Value], want: &Expected, tally: &mut Tally) {
        let [principal, action, resource] = parts;
        let ask = |context: Context| Request::new(principal.clone(), action.clone(), resource.clone(), context, None).unwrap();
        let Some(first) = self.context(context, &action) else {
            return tally.skip("contexts that this Cedar does not read");
        };
        tally.requests += 1;
        let answers = self.answers(&ask(first));
        let ids = |wanted: &dyn Fn(&Policy, &Result<bool, EvaluationError>) -> bool| -> BTreeSet<String> {
            answers.iter().filter(|(one, answer)| wanted(&one.policy, answer)).map(|(one, _)| one.policy.id().to_string()).collect()
        };
        let forbids = ids(&|policy, answer| policy.effect() == Effect::Forbid && matches!(answer, Ok(true)));
        let permits = ids(&|policy, answer| policy.effect() == Effect::Permit && matches!(answer, Ok(true)));
        let errors = ids(&|_, answer| answer.is_err());
        let allow = forbids.is_empty() && errors.is_empty() && !permits.is_empty();
        let reason = if forbids.is_empty() { &permits } else { &forbids };
        let stricter = want.allow && !errors.is_empty() && forbids.is_empty() && !permits.is_empty();
        let agrees = (allow == want.allow || stricter)
            && want.reason.as_ref().is_none_or(|r| r == reason)
            && want.errors.as_ref().is_none_or(|e| *e == errors)
            && want.error_count.is_none_or(|n| n == errors.len());
        if agrees {
            *(if stricter { &mut tally.denied_for_errors } else { &mut tally.same }) += 1;
        } else {
            tally.wrong.push(format!("{name}: {allow} {reason:?} {errors:?}"));
        }
        for (number, (one, answer)) in answers.iter().enumerate() {
            let Some(analysis) = &one.analysis else { continue };
            // Entities that an attribute names and nobody sent are a matter of the corpus; a bundle has none.
            let missing = matches!(answer, Err(EvaluationError::EntityDoesNotExist(_)));
            if analysis.faults.is_empty() && answer.is_err() && !missing {
                tally.wrong.push(format!("{name}: {} was to be without error: {answer:?}", one.policy));
            }
            let reads_context = !matches!(&analysis.footprint, Footprint::Bounded(r) if !r.token && !r.source_ip && r.time.is_empty() && r.headers.is_empty() && r.query.is_empty());
            for other in others.iter().filter(|_| !reads_context).filter_map(|c| self.context(c, &action)) {
                let moved = self.answers(&ask(other)).swap_remove(number).1;
                if moved.is_ok() != answer.is_ok() || moved.ok() != answer.as_ref().ok().copied() {
                    tally.wrong.push(format!("{name}: {} moved with a context that it was not to read", one.policy));
                }
            }
        }
    }
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn uid(value: &Value) -> EntityUid {
    match value {
        Value::String(text) => text.parse().unwrap(),
        _ => EntityUid::from_json(value.clone()).unwrap(),
    }
}

fn names(value: &Value) -> BTreeSet<String> {
    value.as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned()).collect()
}

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().map(|e| e.unwrap().path()) {
        if entry.is_dir() {
            out.extend(files(&entry, ending));
        } else if entry.to_string_lossy().ends_with(ending) {
            out.push(entry);
        }
    }
    out.sort();
    out
}

/// Cases of Cedar's integration tests: a file names policies, schema and entities and lists requests.
fn integration(root: &Path, folder: &str) -> Tally {
    let mut tally = Tally::default();
    for file in files(&root.join(folder), ".json").into_iter().filter(|f| !f.to_string_lossy().ends_with(".entities.json")) {
        let case = json(&file);
        tally.cases += 1;
        let text = |field: &str| fs::read_to_string(root.join(case[field].as_str().unwrap())).unwrap();
        let entities = json(&root.join(case["entities"].as_str().unwrap()));
        let Some(world) = World::read(&text("policies"), &text("schema"), entities, &mut tally) else { continue };
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let valid = case["shouldValidate"].as_bool().unwrap();
        if !valid && world.valid() && world.inapplicable {
            tally.skip("verdicts of the validator on policies that no action fits: an error once, a warning since");
        } else if world.valid() != valid {
            tally.wrong.push(format!("{name}: validation says {}", world.valid()));
        }
        let requests = case["requests"].as_array().unwrap();
        for request in requests {
            let want = Expected {
                allow: request["decision"] == "allow",
                reason: Some(names(&request["reason"])),
                errors: Some(names(&request["errors"])),
                error_count: None,
            };
            let others: Vec<Value> = requests.iter().filter(|r| r["action"] == request["action"]).map(|r| r["context"].clone()).collect();
            let parts = ["principal", "action", "resource"].map(|part| uid(&request[part]));
            world.check(&name, parts, &request["context"], &others, &want, &mut tally);
        }
    }
    tally
}

/// Use cases: folders with `ALLOW` and `DENY` full of requests.
fn examples(root: &Path) -> Tally {
    let mut tally = Tally::default();
    let folders: BTreeSet<PathBuf> = files(root, ".json").iter().filter_map(|f| f.parent()?.parent().map(Path::to_owned)).collect();
    for folder in folders.into_iter().filter(|f| f.join("ALLOW").is_dir()) {
        tally.cases += 1;
        let one = |ending: &str| {
            fs::read_to_string(
                fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).find(|p| p.to_string_lossy().ends_with(ending)).unwrap(),
            )
            .unwrap()
        };
        let entities = serde_json::from_str(&one("entities.json")).unwrap();
        let Some(world) = World::read(&one(".cedar"), &one(".cedarschema"), entities, &mut tally) else { continue };
        for (verdict, allow) in [("ALLOW", true), ("DENY", false)] {
            for file in files(&folder.join(verdict), ".json") {
                let request = json(&file);
                let want = Expected { allow, reason: None, errors: None, error_count: None };
                let parts = ["principal", "action", "resource"].map(|part| uid(&request[part]));
                world.check(&file.display().to_string(), parts, &request["context"], &[], &want, &mut tally);
            }
        }
    }
    tally
}

/// Samples of Cedar's command line: `tests-*.json` list requests with the entities of each.
fn samples(root: &Path) -> Tally {
    let mut tally = Tally::default();
    for file in files(root, ".json") {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        if !name.starts_with("tests-") {
            continue;
        }
        if !matches!(name.as_str(), "tests-combined.json" | "tests-named.json" | "tests-error.json") {
            tally.skip("files made to fail in Cedar's own test runner");
            continue;
        }
        tally.cases += 1;
        let folder = file.parent().unwrap();
        let text = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
        for request in json(&file).as_array().unwrap() {
            let Some(world) = World::read(&text("policy.cedar"), &text("schema.cedarschema"), request["entities"].clone(), &mut tally)
            else {
                continue;
            };
            let want = Expected {
                allow: request["decision"] == "allow",
                reason: None,
                errors: None,
                // The one in `tests-error.json` is wrong, to show what the runner says then.
                error_count: request["num_errors"].as_u64().filter(|_| name != "tests-error.json").and_then(|n| usize::try_from(n).ok()),
            };
            let asked = &request["request"];
            let parts = ["principal", "action", "resource"].map(|part| uid(&asked[part]));
            world.check(&name, parts, &asked["context"], &[], &want, &mut tally);
        }
    }
    tally
}

fn run(root: &Path) -> Vec<(&'static str, Tally)> {
    let all = || {
        vec![
            ("hand-written integration tests", integration(&root.join("cedar-integration-tests/"), "tests")),
            ("generated integration tests", integration(&root.join("cedar-integration-tests/"), "corpus-tests/")),
            ("example use cases", examples(&root.join("cedar-examples/"))),
            ("samples of the command line", samples(&root.join("cedar-cli-samples/"))),
        ]
    };
    stacker::maybe_grow(CEDAR_COMPILE_STACK_BYTES, CEDAR_COMPILE_STACK_BYTES, all)
}

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn wrong(corpora: &[(&str, Tally)]) -> Vec<String> {
    corpora.iter().flat_map(|(_, tally)| tally.wrong.iter().take(20).cloned()).collect()
}

#[test]
fn the_corpora_are_decided_as_cedar_decides_them() {
    let corpora = run(&here().join("tests/corpus"));
    let page = fs::read_to_string(here().join("docs/conformance.md")).unwrap();
    let rows: Vec<String> = corpora.iter().map(|(name, tally)| tally.row(name)).collect();
    assert_eq!(wrong(&corpora), [""; 0], "{}", rows.join("\n"));
    for row in &rows {
        assert!(page.contains(row.as_str()), "docs/conformance.md differs; the rows are\n{}", rows.join("\n"));
    }
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the ban is on the engine, not on its tests: the whole corpora are asked for by the environment"
)]
fn the_whole_corpora_where_they_are_at_hand() {
    let Ok(folder) = std::env::var("PORTREEVE_CORPORA") else {
        println!("skipped: PORTREEVE_CORPORA names no folder");
        return;
    };
    let corpora = run(Path::new(&folder));
    for (name, tally) in &corpora {
        println!("{}", tally.row(name));
    }
    assert_eq!(wrong(&corpora), [""; 0]);
}
