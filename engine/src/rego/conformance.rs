//! The evaluator against the conformance cases of Open Policy Agent: an outside judge of what Rego means.
//!
//! Cases run as the gate runs policies: through the same scan and tree, with the same built-ins refused, failing built-ins as
//! errors, and the same budget. `with` works as in tests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use regorus::{Engine, Value};
use serde::Deserialize;

use super::ast::{Module, Span, Use, name_of, span_of, variant};
use super::check::Cost;
use super::evaluate::Evaluators;
use super::{builtins, scan, supply};

#[derive(Deserialize)]
struct File {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    /// Whether the modules are in the older syntax.
    #[serde(skip)]
    v0: bool,
    note: String,
    query: String,
    #[serde(default)]
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

/// What became of a case, and the words for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Passed,
    /// An error stands where the case goes on with undefined. It denies.
    Stricter,
    /// It calls a built-in that policies may not call.
    Refused,
    /// It does not parse: syntax of a later OPA.
    Syntax,
    Failed,
}

fn judge(case: &Case) -> (Verdict, String) {
    let strict = attempt(case, true);
    if strict.0 == Verdict::Failed && attempt(case, false).0 == Verdict::Passed {
        return (Verdict::Stricter, "a failing built-in is an error".to_owned());
    }
    strict
}

fn attempt(case: &Case, strict: bool) -> (Verdict, String) {
    let wants_error = case.want_error.is_some() || case.want_error_code.is_some();
    let mut engine = super::compile::engine();
    engine.set_rego_v0(case.v0);
    supply::install_as(&mut engine, strict);
    for (i, text) in case.modules.iter().enumerate() {
        let file = format!("{i}.rego");
        if let Err(fault) = scan::check(&file, text) {
            return (Verdict::Failed, format!("the scan refused it: {}", fault.message));
        }
        if let Err(error) = engine.add_policy(file, with_results_first(text, case.v0)) {
            return (if wants_error { Verdict::Passed } else { Verdict::Syntax }, error.to_string());
        }
    }
    if let Some(why) = refused(&mut engine) {
        return (Verdict::Refused, why);
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
    let mut evaluators = Evaluators::new(engine, Cost::any());
    if !strict {
        evaluators.lenient();
    }
    match evaluators.query(&case.query, input) {
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

/// The first call that policies may not make. What tests may do beyond them, `with`, is done.
fn refused(engine: &mut Engine) -> Option<String> {
    let trees: Vec<_> = engine.get_modules().iter().map(|m| serde_json::to_value(m).unwrap()).collect();
    for module in trees.iter().map(|tree| Module::read(tree).unwrap()) {
        let local: Vec<&Vec<String>> = module.rules.iter().map(|r| &r.name).collect();
        for used in module.rules.iter().flat_map(|r| &r.uses) {
            let Use::Calls { name: Some(name), arguments, .. } = used else { continue };
            if local.contains(&name) || name[0] == "data" {
                continue;
            }
            match builtins::judge(&name.join("."), arguments) {
                // A function of another module.
                Err((_, help)) if help.is_empty() => {}
                Err((why, _)) => return Some(why),
                Ok(()) => {}
            }
        }
    }
    None
}

/// The cases write `f(x, result)`, which nobody does by hand and the evaluator knows of its own functions only. For the
/// functions that we add, it is written as `result = f(x)`.
fn with_results_first(text: &str, v0: bool) -> String {
    let mut engine = Engine::new();
    engine.set_rego_v0(v0);
    if engine.add_policy("a.rego".to_owned(), text.to_owned()).is_err() {
        return text.to_owned();
    }
    let tree = serde_json::to_value(engine.get_modules()).unwrap();
    let mut calls = Vec::new();
    late_results(&tree, &mut calls);
    let mut out = text.to_owned();
    calls.sort();
    for (function, last, result) in calls.into_iter().rev() {
        let rest = out.split_off(result.end);
        let named = out.split_off(result.start);
        // The place of a text leaves out its quotes.
        let quote = usize::from(out.get(last..).is_some_and(|rest| rest.starts_with(['"', '`'])));
        out.truncate(last + quote);
        out.insert_str(function, &format!("{named} = "));
        let rest = rest.strip_prefix(['"', '`']).unwrap_or(&rest);
        out.push_str(rest);
    }
    out
}

/// Where such a call begins, where its last true argument ends, and where the result stands.
fn late_results(tree: &serde_json::Value, out: &mut Vec<(usize, usize, Span)>) {
    if let Some(("Call", call)) = variant(tree)
        && let Some(name) = name_of(&call["fcn"])
        && let Some((_, wanted)) = supply::additions().find(|(added, _)| *added == name)
        && let [.., last, result] = call["params"].as_array().unwrap().as_slice()
        && call["params"].as_array().unwrap().len() == wanted + 1
    {
        out.push((span_of(&call["fcn"]).unwrap().start, span_of(last).unwrap().end, span_of(result).unwrap()));
    }
    match tree {
        serde_json::Value::Array(items) => items.iter().for_each(|i| late_results(i, out)),
        serde_json::Value::Object(fields) => fields.values().for_each(|f| late_results(f, out)),
        _ => {}
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

/// The categories that regorus 0.14.1 says it passes, of the suite of OPA 1.2.0 (`tests/opa.passing` of its sources).
const CLAIMED: &str = "aggregates all any arithmetic array assignments base64builtins base64urlbuiltins baseandvirtualdocs bitsand \
    bitsnegate bitsor bitsshiftleft bitsshiftright bitsxor casts comparisonexpr completedoc compositebasedereference \
    compositereferences comprehensions containskeyword dataderef defaultkeyword disjunction elsekeyword embeddedvirtualdoc eqexpr \
    evaltermexpr every example fix1863 functionerrors functions globmatch globquotemeta helloworld hexbuiltins indexing \
    indirectreferences inputvalues intersection jsonbuiltins jsonfilter jsonfilteridempotent jsonpatch jsonremove \
    jsonremoveidempotent jsonschema negation nestedreferences netcidrcontains netcidrisvalid netcidrexpand numbersrange \
    numbersrangestep objectfilter objectfilteridempotent objectfilternonstringkey objectget objectkeys objectremove \
    objectremoveidempotent objectremovenonstringkey objectunion objectunionn partialdocconstants partialiter partialobjectdoc \
    partialsetdoc planner-ir rand reachable refheads regexfind regexfindallstringsubmatch regexisvalid regexmatch \
    regexmatchtemplate regexreplace regexsplit replacen semvercompare semverisvalid sets sprintf strings subset toarray \
    topdowndynamicdispatch toset time trim trimleft trimprefix trimright trimspace trimsuffix type typebuiltin typenamebuiltin \
    undos union units urlbuiltins uuid varreferences virtualdocs walkbuiltin withkeyword";

/// Cases of claimed categories that are neither passed, nor stricter, nor refused on purpose, each with its reason.
const SHORT: &[(&str, &str)] = &[
    ("refheads/general, set leaf, deep query", "a name computed here and written out there is refused in bundles: `rego-head`"),
    ("withkeyword/builtin-builtin: arity 1, replacement is compound", "the evaluator does not replace one built-in by another"),
    ("withkeyword/builtin-builtin: arity 1, replacement is simple", "the evaluator does not replace one built-in by another"),
    ("withkeyword/function: direct call, built-in replacement, arity 1, result captured", "the same, with the result as an argument"),
];

/// The suite in the older syntax, where it is at hand: its numbers are in the book, and no case but those of later syntax, of
/// refused functions and of a stricter evaluator is short.
#[test]
fn conformance_of_the_older_syntax() {
    let Some(folder) = super::corpora::corpus("conformance-v0") else { return };
    let mut all = [0; 5];
    for path in super::corpora::files(&folder, ".json") {
        let file: File = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        for mut case in file.cases {
            case.v0 = true;
            let (verdict, why) = judge(&case);
            all[verdict as usize] += 1;
            if verdict > Verdict::Refused {
                println!(
                    "{verdict:?} {}: {}",
                    case.note,
                    why.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(200).collect::<String>()
                );
            }
        }
    }
    println!("passed, stricter, refused, syntax, failed: {all:?}");
    assert!(all[0] >= OLDER_PASSING, "{all:?}");
}

/// Cases of the older suite that passed in the run that the book records.
const OLDER_PASSING: usize = 834;

/// Set to a folder that holds all corpora, the cases are read from there.
fn folder() -> std::path::PathBuf {
    match std::env::var_os("PORTREEVE_CORPORA") {
        Some(all) => Path::new(&all).join("rego-conformance-v1"),
        None => Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/corpus/rego-conformance-v1")).to_owned(),
    }
}

/// The table in the book says what passes, category by category, and cannot drift: the lines are compared.
#[test]
fn conformance() {
    let mut files: Vec<_> = std::fs::read_dir(folder()).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "json"));
    files.sort();
    let claimed: Vec<&str> = CLAIMED.split_whitespace().collect();
    let mut lines = BTreeMap::new();
    let mut all = [0; 6];
    let mut short = Vec::new();
    for path in files {
        let category = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let file: File = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let mut counts = [file.cases.len(), 0, 0, 0, 0, 0];
        let mut words = BTreeSet::new();
        for case in &file.cases {
            let (verdict, why) = judge(case);
            counts[1 + verdict as usize] += 1;
            let why = why.split_whitespace().collect::<Vec<_>>().join(" ");
            if verdict > Verdict::Stricter {
                println!("{verdict:?} {}: {}", case.note, why.chars().take(220).collect::<String>());
            }
            if verdict == Verdict::Refused {
                words.insert(why);
            }
            let excused = SHORT.iter().any(|(note, _)| *note == case.note);
            if verdict > Verdict::Refused && claimed.contains(&&*category) && !excused {
                short.push(case.note.clone());
            }
        }
        all.iter_mut().zip(counts).for_each(|(sum, n)| *sum += n);
        let cells: Vec<String> = counts.iter().map(ToString::to_string).collect();
        let note = words.into_iter().collect::<Vec<_>>().join("; ");
        let mark = if claimed.contains(&&*category) { "yes" } else { "" };
        lines.insert(category.clone(), format!("| {category} | {mark} | {} | {note} |", cells.join(" | ")).replace("  ", " "));
    }
    println!("{}", lines.values().cloned().collect::<Vec<_>>().join("\n"));
    println!("cases, passed, stricter, refused, syntax, failed: {all:?}");
    assert!(short.is_empty(), "claimed by the evaluator and not passed: {short:#?}");
    let book = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/conformance.md")).unwrap();
    let book: BTreeSet<&str> = book.lines().collect();
    let drifted: Vec<&String> = lines.values().filter(|line| !book.contains(line.as_str())).collect();
    assert!(drifted.is_empty(), "docs/conformance.md does not have these lines: {drifted:#?}");
    assert!(lines.len() >= 110, "categories are missing");
}
