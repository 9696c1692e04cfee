//! Policies and cases of other projects, run through the same evaluator: what of them works, in numbers.
//!
//! They are not kept in this repository but for a few. Where `PORTREEVE_CORPORA` names a folder that has them they run;
//! otherwise each test says that it has nothing to do. `docs/conformance.md` has the numbers of a run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use regorus::Value;
use serde_json::json;

use super::ast::Module;
use super::check::Cost;
use super::compile::engine;
use super::evaluate::Evaluators;
use super::{scan, supply};
use crate::yaml::{self, Node};

pub(super) fn corpus(name: &str) -> Option<PathBuf> {
    // The folders begin with the name of the language; a text that does would be taken for a code of a diagnostic.
    let folders = |all: &Path| [all.join(format!("rego-{name}")), all.join(name)].into_iter().find(|folder| folder.is_dir());
    let found = std::env::var_os("PORTREEVE_CORPORA").and_then(|all| folders(Path::new(&all)));
    if found.is_none() {
        println!("skipped: PORTREEVE_CORPORA names no folder with `{name}`");
    }
    found
}

pub(super) fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut out = Vec::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(folder) = open.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()) {
            if path.is_dir() {
                open.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                out.push(path);
            }
        }
    }
    out.sort();
    out
}

/// An evaluator of these modules, in the newer or the older syntax, whichever parses. Unless `strict`, a failing built-in is
/// undefined, as those who wrote policies for Open Policy Agent expect.
fn evaluators(modules: &[(String, String)], strict: bool) -> Result<Evaluators, String> {
    let mut engine = engine();
    supply::install_as(&mut engine, strict);
    for (file, text) in modules {
        scan::check(file, text).map_err(|fault| fault.message)?;
        engine.set_rego_v0(false);
        if let Err(newer) = engine.add_policy(file.clone(), text.clone()) {
            engine.set_rego_v0(true);
            engine.add_policy(file.clone(), text.clone()).map_err(|_| newer.to_string())?;
        }
    }
    for module in engine.get_modules().iter() {
        Module::read(&serde_json::to_value(module).unwrap()).ok_or("the tree was not understood")?;
    }
    engine.set_gather_prints(true);
    let mut evaluators = Evaluators::new(engine, Cost::any());
    if !strict {
        evaluators.lenient();
    }
    Ok(evaluators)
}

fn value(json: &serde_json::Value) -> Value {
    Value::from_json_str(&json.to_string()).unwrap()
}

/// Real policies of 49 to 86 KB with recorded requests: every verdict is as recorded.
#[test]
fn kata_policies_give_the_recorded_verdicts() {
    let Some(folder) = corpus("kata-policies") else { return };
    for path in files(&folder, "policy.rego") {
        let text = std::fs::read_to_string(&path).unwrap();
        let evaluators = evaluators(&[("policy.rego".to_owned(), text.clone())], false).unwrap();
        let inputs = std::fs::read_to_string(path.with_file_name("inputs.txt")).unwrap();
        let wanted: Vec<bool> = serde_json::from_slice(&std::fs::read(path.with_file_name("outputs.json")).unwrap()).unwrap();
        let mut times = Vec::new();
        let mut asked = 0;
        for line in inputs.lines().filter_map(|line| line.trim().trim_end_matches(',').strip_prefix("[\"ep\":")) {
            let (entry, input) = line.split_once(',').unwrap();
            let input: serde_json::Value = serde_json::from_str(input.strip_suffix(']').unwrap()).unwrap();
            let document = format!("data.agent_policy.{}", entry.trim_matches('"'));
            #[expect(clippy::disallowed_methods, reason = "the test measures; what it measures does not")]
            let begun = std::time::Instant::now();
            let answer = evaluators.run(entry, &document, &value(&input));
            times.push(begun.elapsed());
            assert_eq!(answer.as_ref().ok(), wanted.get(asked), "{}: request {asked}, {entry}: {answer:?}", path.display());
            asked += 1;
        }
        assert_eq!(asked, wanted.len(), "{}", path.display());
        times.sort();
        println!(
            "{}: {} bytes, {asked} requests as recorded; median {:?}, longest {:?}",
            path.parent().unwrap().file_name().unwrap().to_string_lossy(),
            text.len(),
            times[asked / 2],
            times[asked - 1]
        );
    }
}

/// Modules that need only parse, be understood and compile.
#[test]
fn modules_of_others_parse_and_are_understood() {
    for name in ["policies", "regal-bundle", "spire-envoy-opa"] {
        let Some(folder) = corpus(name) else { continue };
        let (mut fine, mut failed) = (0, Vec::new());
        for path in files(&folder, ".rego") {
            let text = std::fs::read_to_string(&path).unwrap();
            match evaluators(&[("a.rego".to_owned(), text)], false) {
                Ok(_) => fine += 1,
                Err(why) => failed.push(format!("{}: {}", path.display(), why.split_whitespace().collect::<Vec<_>>().join(" "))),
            }
        }
        println!("{name}: {fine} modules understood, {} not\n{}", failed.len(), failed.join("\n"));
    }
}

fn json_of(node: &Node) -> serde_json::Value {
    match &node.value {
        yaml::Value::Sequence(items) => items.iter().map(json_of).collect(),
        yaml::Value::Mapping(fields) => {
            fields.iter().map(|(k, v)| (k.as_str().unwrap_or_default().to_owned(), json_of(v))).collect::<serde_json::Map<_, _>>().into()
        }
        yaml::Value::Scalar(text, true) => match text.as_str() {
            "" | "~" | "null" => serde_json::Value::Null,
            "yes" => json!("yes"),
            plain => serde_json::from_str(plain).ok().filter(|v: &serde_json::Value| !v.is_string()).unwrap_or_else(|| json!(plain)),
        },
        yaml::Value::Scalar(text, false) => json!(text),
    }
}

fn yaml_of(path: &Path) -> Result<serde_json::Value, String> {
    let text = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
    let documents = yaml::parse("a.yaml", &text).map_err(|d| d.message)?;
    documents.first().map(json_of).ok_or_else(|| "no document".to_owned())
}

/// Admission policies with samples: as many violations as their suites say, where a suite asks without further data.
#[test]
fn gatekeeper_policies_find_what_their_suites_say() {
    let Some(folder) = corpus("gatekeeper-library") else { return };
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for path in files(&folder, "suite.yaml") {
        let here = path.parent().unwrap();
        let Ok(suite) = yaml_of(&path) else {
            *counts.entry("suite not read".to_owned()).or_default() += 1;
            continue;
        };
        for test in suite["tests"].as_array().unwrap() {
            for (verdict, case) in gatekeeper_test(here, test) {
                if verdict != "as said" {
                    println!("{verdict}: {} {}", here.display(), case);
                }
                *counts.entry(verdict).or_default() += 1;
            }
        }
    }
    println!("{counts:?}");
    assert_eq!(counts.get("otherwise"), None);
}

fn gatekeeper_test(here: &Path, test: &serde_json::Value) -> Vec<(String, String)> {
    let cases = test["cases"].as_array().cloned().unwrap_or_default();
    let all = |why: &str| cases.iter().map(|c| (why.to_owned(), c["name"].to_string())).collect();
    let file = |name: &serde_json::Value| yaml_of(&here.join(name.as_str().unwrap_or_default()));
    let (Ok(template), Ok(constraint)) = (file(&test["template"]), file(&test["constraint"])) else { return all("YAML not read") };
    let target = &template["spec"]["targets"][0];
    let code = target["code"].as_array().and_then(|c| c.iter().find(|c| c["engine"] == "Rego")).map(|c| &c["source"]);
    let source = code.unwrap_or(target);
    let Some(rego) = source["rego"].as_str() else { return all("no Rego in the template") };
    let mut modules = vec![("policy.rego".to_owned(), rego.to_owned())];
    for (i, lib) in source["libs"].as_array().into_iter().flatten().enumerate() {
        modules.push((format!("lib{i}.rego"), lib.as_str().unwrap().to_owned()));
    }
    let evaluators = match evaluators(&modules, false) {
        Ok(evaluators) => evaluators,
        Err(why) => return all(&why),
    };
    let package = rego.lines().find_map(|l| l.trim().strip_prefix("package ")).unwrap().trim();
    cases
        .iter()
        .map(|case| {
            let name = case["name"].to_string();
            if case.get("inventory").is_some() {
                return ("needs an inventory".to_owned(), name);
            }
            let Ok(object) = file(&case["object"]) else { return ("YAML not read".to_owned(), name) };
            let parameters = constraint["spec"].get("parameters").cloned().unwrap_or_else(|| json!({}));
            let review = if object["kind"] == "AdmissionReview" { object["request"].clone() } else { request(&object) };
            let input = json!({"review": review, "parameters": parameters});
            let found = evaluators.query(&format!("x = data.{package}.violation"), value(&input));
            let found: serde_json::Value = match found {
                Ok(text) => serde_json::from_str(&text).unwrap(),
                Err(why) => return (format!("error: {}", why.lines().last().unwrap_or_default()), name),
            };
            let count = found[0]["x"].as_array().map_or(0, Vec::len);
            let holds = case["assertions"].as_array().into_iter().flatten().all(|a| match (&a["violations"], a.get("message")) {
                (serde_json::Value::Number(n), None) => n.as_u64() == u64::try_from(count).ok(),
                (serde_json::Value::String(yes), None) => (yes == "yes") == (count > 0),
                _ => true,
            });
            ((if holds { "as said" } else { "otherwise" }).to_owned(), name)
        })
        .collect()
}

/// What an API server would ask about a new object.
fn request(object: &serde_json::Value) -> serde_json::Value {
    let version = object["apiVersion"].as_str().unwrap_or_default();
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    json!({
        "object": object, "operation": "CREATE", "name": object["metadata"]["name"], "namespace": object["metadata"]["namespace"],
        "kind": {"group": group, "version": version, "kind": object["kind"]},
    })
}

/// The cases of the evaluator's own tests that ask a query of modules.
#[test]
fn regorus_cases_give_the_wanted_results() {
    let Some(folder) = corpus("regorus-cases") else { return };
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for path in files(&folder, ".yaml") {
        let Ok(document) = yaml_of(&path) else {
            *counts.entry("file not read").or_default() += 1;
            continue;
        };
        for case in document["cases"].as_array().into_iter().flatten() {
            let verdict = regorus_case(case);
            if verdict.starts_with("other") {
                println!("{verdict}: {} {}", path.display(), case["note"]);
            }
            *counts.entry(verdict).or_default() += 1;
        }
    }
    println!("{counts:?}");
}

fn regorus_case(case: &serde_json::Value) -> &'static str {
    let Some(modules) = case["modules"].as_array() else { return "no modules" };
    let modules: Vec<_> =
        modules.iter().enumerate().map(|(i, m)| (format!("{i}.rego"), m.as_str().unwrap_or_default().to_owned())).collect();
    let fails = case.get("error").is_some();
    let Some(query) = case["query"].as_str() else { return "no query" };
    if case.get("data").is_some_and(|d| d.as_object().is_some_and(|d| !d.is_empty())) || case["input"].is_array() {
        return "data or many inputs";
    }
    let Ok(evaluators) = evaluators(&modules, true) else {
        return if fails { "as wanted" } else { "not compiled" };
    };
    let input = case.get("input").map_or(Value::Undefined, value);
    match evaluators.query(&format!("portreeve_result = {query}"), input) {
        Err(_) if fails => "as wanted",
        Err(_) => "otherwise: error",
        Ok(_) if fails => "otherwise: no error",
        Ok(found) => {
            let found: serde_json::Value = serde_json::from_str(&found).unwrap();
            let same = value(&found[0]["portreeve_result"]) == value(&case["want_result"]);
            if same { "as wanted" } else { "otherwise: another result (many are sets, which YAML cannot say)" }
        }
    }
}
