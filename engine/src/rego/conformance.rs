//! The evaluator against the conformance cases of Open Policy Agent: an outside judge of what Rego means.
//!
//! Cases run as the gate runs policies: through the same scan and tree, with the same built-ins refused, failing built-ins as
//! errors, and the same budget. A case is `stricter` if an error stands where the case wants nothing: that denies.

use std::collections::BTreeMap;
use std::path::Path;

use regorus::{Engine, Value};
use serde::Deserialize;

use super::ast::{Module, Use};
use super::check::Cost;
use super::evaluate::Evaluators;
use super::{builtins, scan};

#[derive(Deserialize)]
struct File {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    note: String,
    query: String,
    modules: Vec<String>,
    data: Option<serde_json::Value>,
    input: Option<serde_json::Value>,
    input_term: Option<String>,
    want_result: Option<Vec<BTreeMap<String, serde_json::Value>>>,
    #[serde(default)]
    sort_bindings: bool,
    want_error: Option<String>,
    want_error_code: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Passed,
    Stricter,
    Refused,
    Failed,
}

fn judge(case: &Case) -> (Verdict, String) {
    let wants_error = case.want_error.is_some() || case.want_error_code.is_some();
    let mut engine = Engine::new();
    for (i, text) in case.modules.iter().enumerate() {
        let file = format!("{i}.rego");
        if let Err(fault) = scan::check(&file, text) {
            return (Verdict::Failed, format!("the scan refused it: {}", fault.message));
        }
        if let Err(error) = engine.add_policy(file, text.clone()) {
            return (if wants_error { Verdict::Passed } else { Verdict::Failed }, error.to_string());
        }
    }
    let trees: Vec<_> = engine.get_modules().iter().map(|m| serde_json::to_value(m).unwrap()).collect();
    for tree in &trees {
        let Some(module) = Module::read(tree) else { return (Verdict::Failed, "the tree was not understood".to_owned()) };
        let local: Vec<&Vec<String>> = module.rules.iter().map(|r| &r.name).collect();
        for used in module.rules.iter().flat_map(|r| &r.uses) {
            match used {
                Use::With { .. } => return (Verdict::Refused, "with".to_owned()),
                Use::Calls { name: Some(name), arguments, .. } if !local.contains(&name) && name[0] != "data" => {
                    match builtins::judge(&name.join("."), arguments) {
                        // A function of another module.
                        Err((_, help)) if help.is_empty() => {}
                        Err((why, _)) => return (Verdict::Refused, why),
                        Ok(()) => {}
                    }
                }
                _ => {}
            }
        }
    }
    if let Some(data) = &case.data
        && engine.add_data(Value::from_json_str(&data.to_string()).unwrap()).is_err()
    {
        return (Verdict::Failed, "the data was not taken".to_owned());
    }
    let input = match (&case.input, &case.input_term) {
        (Some(input), _) => Value::from_json_str(&input.to_string()).unwrap(),
        (None, Some(term)) => Engine::new().eval_query(term.clone(), false).unwrap().result[0].expressions[0].value.clone(),
        (None, None) => Value::Undefined,
    };
    match Evaluators::new(engine, Cost::any()).query(&case.query, input) {
        Err(_) if wants_error => (Verdict::Passed, String::new()),
        Err(error) if case.want_result.as_ref().is_some_and(Vec::is_empty) => (Verdict::Stricter, error),
        Err(error) => (Verdict::Failed, error),
        Ok(_) if wants_error => (Verdict::Failed, "wanted an error".to_owned()),
        Ok(found) => {
            let mut want = case.want_result.as_ref().map(|w| serde_json::to_value(w).unwrap()).unwrap_or_default();
            let mut found: serde_json::Value = serde_json::from_str(&found).unwrap();
            if case.sort_bindings {
                sort(&mut found);
                sort(&mut want);
            }
            if same(&found, &want) { (Verdict::Passed, String::new()) } else { (Verdict::Failed, format!("wanted {want}, got {found}")) }
        }
    }
}

/// Bindings in any order.
fn sort(results: &mut serde_json::Value) {
    for value in results.as_array_mut().into_iter().flatten().filter_map(|r| r.as_object_mut()).flat_map(|r| r.values_mut()) {
        if let Some(items) = value.as_array_mut() {
            items.sort_by_key(ToString::to_string);
        }
    }
}

/// Equal as Rego counts: `1` and `1.0` are one number. The order of the results is not promised.
fn same(a: &serde_json::Value, b: &serde_json::Value) -> bool {
    let results = |v: &serde_json::Value| -> Vec<Value> {
        let mut all: Vec<Value> = v.as_array().into_iter().flatten().map(|r| Value::from_json_str(&r.to_string()).unwrap()).collect();
        all.sort();
        all
    };
    results(a) == results(b)
}

/// By category: how many of its cases pass. Fewer is a fault; more is a reason to raise the number.
const PASSING: &[(&str, usize)] = &[
    ("aggregates", 40),
    ("arithmetic", 18),
    ("array", 7),
    ("assignments", 5),
    ("base64builtins", 6),
    ("base64urlbuiltins", 5),
    ("baseandvirtualdocs", 5),
    ("bitsand", 2),
    ("bitsnegate", 2),
    ("bitsor", 2),
    ("bitsshiftleft", 3),
    ("bitsshiftright", 3),
    ("bitsxor", 2),
    ("casts", 5),
    ("comparisonexpr", 13),
    ("completedoc", 10),
    ("compositebasedereference", 2),
    ("compositereferences", 8),
    ("comprehensions", 18),
    ("containskeyword", 4),
    ("dataderef", 1),
    ("defaultkeyword", 5),
    ("disjunction", 17),
    ("elsekeyword", 8),
    ("eqexpr", 38),
    ("evaltermexpr", 15),
    ("every", 26),
    ("example", 1),
    ("fix1863", 3),
    ("functionerrors", 4),
    ("functions", 21),
    ("globmatch", 21),
    ("globsmatch", 1),
    ("helloworld", 1),
    ("indirectreferences", 4),
    ("inputvalues", 7),
    ("intersection", 3),
    ("jsonbuiltins", 11),
    ("jsonfilter", 6),
    ("jsonfilteridempotent", 1),
    ("jsonremove", 17),
    ("jsonremoveidempotent", 1),
    ("keywordrefs", 27),
    ("negation", 8),
    ("nestedreferences", 10),
    ("netcidrcontains", 5),
    ("netcidrisvalid", 2),
    ("numbersrange", 4),
    ("numbersrangestep", 5),
    ("objectfilter", 14),
    ("objectfilteridempotent", 1),
    ("objectfilternonstringkey", 1),
    ("objectget", 13),
    ("objectkeys", 4),
    ("objectremove", 15),
    ("objectremoveidempotent", 1),
    ("objectremovenonstringkey", 1),
    ("objectunion", 8),
    ("objectunionn", 4),
    ("partialdocconstants", 3),
    ("partialiter", 1),
    ("partialobjectdoc", 10),
    ("partialsetdoc", 9),
    ("reachable", 7),
    ("refheads", 29),
    ("regexfind", 3),
    ("regexfindallstringsubmatch", 5),
    ("regexisvalid", 2),
    ("regexmatch", 5),
    ("regexmatchtemplate", 1),
    ("regexreplace", 9),
    ("regexsplit", 7),
    ("replacen", 7),
    ("semvercompare", 4),
    ("semverisvalid", 1),
    ("sets", 5),
    ("sprintf", 2),
    ("strings", 90),
    ("subset", 11),
    ("time", 16),
    ("topdowndynamicdispatch", 1),
    ("trim", 2),
    ("trimleft", 2),
    ("trimprefix", 1),
    ("trimright", 1),
    ("trimspace", 2),
    ("trimsuffix", 1),
    ("type", 2),
    ("typebuiltin", 16),
    ("typenamebuiltin", 6),
    ("undos", 3),
    ("union", 5),
    ("urlbuiltins", 6),
    ("varreferences", 12),
    ("virtualdocs", 54),
];

#[test]
fn conformance() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/corpus/rego-conformance-v1"));
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "json"));
    files.sort();
    let mut short = Vec::new();
    let mut seen = 0;
    println!("{:32} {:>6} {:>6} {:>8} {:>8} {:>6}", "category", "cases", "passed", "stricter", "refused", "failed");
    for path in files {
        let category = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let file: File = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let verdicts: Vec<_> = file.cases.iter().map(|c| (judge(c), &c.note)).collect();
        let count = |v| verdicts.iter().filter(|((found, _), _)| *found == v).count();
        let passed = count(Verdict::Passed);
        seen += 1;
        println!(
            "{category:32} {:>6} {passed:>6} {:>8} {:>8} {:>6}",
            file.cases.len(),
            count(Verdict::Stricter),
            count(Verdict::Refused),
            count(Verdict::Failed)
        );
        for ((verdict, why), note) in &verdicts {
            if *verdict == Verdict::Failed {
                println!("    {note}: {}", why.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(200).collect::<String>());
            }
        }
        if PASSING.iter().find(|(c, _)| *c == category).is_none_or(|(_, wanted)| passed < *wanted) {
            short.push(category);
        }
    }
    assert_eq!(seen, PASSING.len(), "a category is missing");
    assert!(short.is_empty(), "fewer cases pass than did: {short:?}");
}
