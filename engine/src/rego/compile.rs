//! From files to checked modules, ready to be evaluated.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use regorus::{Engine, PolicyLengthConfig};

use super::ast::Module;
use super::check::{Graph, Unit, check, check_tests, services};
use super::checks::{CHECKS_PACKAGE, CheckRead, RegoCheck, RegoChecks};
use super::evaluate::Evaluators;
use super::limits::{CHECK_STEPS_MAX, COMPILE_STACK_BYTES, FILE_BYTES, FILES_MAX, LINE_COLUMNS_MAX, STEPS_MAX};
use super::testing::{self, RegoTest, RegoTests};
use super::{RegoModules, RegoRule, document, metadata, place, prefixes, reads, scan, supply};
use crate::decision::Effect;
use crate::diagnostic::{Diagnostic, Location};
use crate::model::Governance;

/// Compiles all files together, or says everything that is wrong with them.
pub(super) fn compile(files: &[(&str, &str)]) -> Result<RegoModules, Vec<Diagnostic>> {
    let files: Vec<(&str, &str)> = files.iter().copied().filter(|(file, _)| !is_test_file(file)).collect();
    guarded(&files, attempt)
}

/// Compiles all tests together with the policies they are about.
pub(super) fn tests(files: &[(&str, &str)]) -> Result<RegoTests, Vec<Diagnostic>> {
    guarded(files, |files, out| {
        let mut built = build(files, out)?;
        check_tests(&built.units, out);
        if !out.is_empty() {
            return None;
        }
        let tests = found_tests(&built.units, &built.graph);
        prepare(&mut built.engine, tests.first().map(|t| &*t.id), files, out)?;
        built.engine.set_gather_prints(true);
        let cost = built.graph.cost();
        Some(RegoTests::new(tests, Evaluators::new(built.engine, cost)))
    })
}

/// Compiles checks: each package under `portreeve.checks` has one name more and a rule `finding`.
pub(super) fn checks(files: &[(&str, &str)]) -> Result<RegoChecks, Vec<Diagnostic>> {
    let files: Vec<(&str, &str)> = files.iter().copied().filter(|(file, _)| !is_test_file(file)).collect();
    guarded(&files, |files, out| {
        let mut built = build(files, out)?;
        let checks = found_checks(&built.units, &built.graph, out);
        let cost = built.graph.cost();
        if checks.is_empty() && out.is_empty() {
            let diagnostic = Diagnostic::error("rego-check", "there is no check in these modules");
            out.push(diagnostic.help("a check is a package `portreeve.checks.NAME` with `finding contains {…} if {…}`"));
        }
        if cost.nests > STEPS_MAX.get() as usize {
            out.push(Diagnostic::error("rego-too-deep", "these checks make values too deep to be released"));
        }
        if !out.is_empty() {
            return None;
        }
        let first = checks.first().map(|c| format!("{CHECKS_PACKAGE}.{}.finding", c.name));
        let reads = read_of_input(&mut built);
        prepare(&mut built.engine, first.as_deref(), files, out)?;
        Some(RegoChecks::new(checks, reads, Evaluators::with_steps(built.engine, cost, CHECK_STEPS_MAX)))
    })
}

/// Whatever part of the document the modules spell out, each where it stands first, in the order of the text.
fn read_of_input(built: &mut Built<'_>) -> Vec<CheckRead> {
    let mut known = BTreeSet::new();
    let mut out = Vec::new();
    for (unit, tree) in built.units.iter().zip(built.engine.get_modules()) {
        let imported = unit.module.imports.iter().filter_map(|import| match import.path.as_slice() {
            [root, path @ ..] if root == "input" => Some((import, path.iter().cloned().map(Some).collect::<reads::Path>())),
            _ => None,
        });
        let (mut read, mut names) = (Vec::new(), BTreeMap::new());
        for (import, path) in imported {
            read.push((path.clone(), import.span));
            names.insert(import.alias.clone(), path);
        }
        read.extend(serde_json::to_value(tree).map(|tree| reads::reads(&tree, unit.text, &names)).unwrap_or_default());
        read.sort_by_key(|(_, span)| *span);
        let new = read.into_iter().filter(|(path, _)| known.insert(path.clone()));
        out.extend(new.map(|(path, span)| CheckRead { path, at: place(unit.file, unit.text, span.start, span.end) }));
    }
    out
}

/// Every check, by name.
fn found_checks(units: &[Unit<'_>], graph: &Graph, out: &mut Vec<Diagnostic>) -> Vec<RegoCheck> {
    let mut checks: Vec<RegoCheck> = Vec::new();
    for unit in units {
        let package = &unit.module.package;
        let Some(rest) = package.strip_prefix(["portreeve".to_owned(), "checks".to_owned()].as_slice()) else { continue };
        let wrong =
            |message: String| Diagnostic::error("rego-check", message).at(metadata::top(unit.file, unit.text)).with_source(unit.text);
        let [name] = rest else {
            out.push(wrong(format!("`{}` is no check: a check has one name after `{CHECKS_PACKAGE}`", package.join("."))));
            continue;
        };
        let path: Vec<String> = package.iter().cloned().chain(["finding".to_owned()]).collect();
        match graph.first(&path, units) {
            Some(at) if checks.iter().all(|c| *c.name != **name) => {
                checks.push(RegoCheck { name: name.as_str().into(), title: title(unit.text), at });
            }
            Some(_) => {}
            None => out.push(wrong(format!("`{}` has no rule `finding`", package.join("."))).help("write `finding contains {…} if {…}`")),
        }
    }
    checks.sort_by(|a, b| a.name.cmp(&b.name));
    checks
}

/// The title in the comment above the package.
fn title(text: &str) -> Option<String> {
    let above = text.lines().take_while(|line| !line.starts_with("package"));
    above.filter_map(|line| line.strip_prefix('#')?.trim().strip_prefix("title:")).map(|t| t.trim().to_owned()).next()
}

/// Whether a file holds tests by its name.
fn is_test_file(file: &str) -> bool {
    file.ends_with("_test.rego")
}

fn guarded<T>(
    files: &[(&str, &str)],
    attempt: impl FnOnce(&[(&str, &str)], &mut Vec<Diagnostic>) -> Option<T>,
) -> Result<T, Vec<Diagnostic>> {
    let mut out = Vec::new();
    if let Some((file, text)) = files.get(FILES_MAX) {
        out.push(Diagnostic::error("rego-too-large", format!("there are more than {FILES_MAX} Rego files")).at(metadata::top(file, text)));
        return Err(out);
    }
    // A panic of the parser or compiler is a fault of theirs, but it must not end the process that reads a bundle.
    let compiled =
        stacker::maybe_grow(COMPILE_STACK_BYTES, COMPILE_STACK_BYTES, || catch_unwind(AssertUnwindSafe(|| attempt(files, &mut out))))
            .unwrap_or_else(|_| {
                out.push(
                    Diagnostic::error("rego-internal", "the Rego compiler failed on these modules")
                        .help("please report it, with the files"),
                );
                None
            });
    match compiled {
        Some(modules) if out.is_empty() => Ok(modules),
        _ => {
            out.sort_by(|a, b| (&a.location, a.code, &a.message).cmp(&(&b.location, b.code, &b.message)));
            out.dedup();
            Err(out)
        }
    }
}

/// An evaluator with nothing in it. The scan bounds what it reads, so its own bound of a thousand characters a line, which a
/// table of keys does not keep to, is lifted.
pub(super) fn engine() -> Engine {
    let mut engine = Engine::new();
    engine.set_strict_builtin_errors(true);
    engine.set_policy_length_config(PolicyLengthConfig { max_col: LINE_COLUMNS_MAX, max_file_bytes: FILE_BYTES, max_lines: FILE_BYTES });
    engine
}

/// Modules that have been parsed and checked.
struct Built<'f> {
    engine: Engine,
    units: Vec<Unit<'f>>,
    graph: Graph,
}

fn build<'f>(files: &[(&'f str, &'f str)], out: &mut Vec<Diagnostic>) -> Option<Built<'f>> {
    let mut engine = engine();
    supply::install(&mut engine);
    let units = parse(&mut engine, files, out);
    // Without all modules, the checks would complain of names that are only missing because their file did not parse.
    if !out.is_empty() {
        return None;
    }
    let graph = check(&units, out);
    out.is_empty().then_some(Built { engine, units, graph })
}

fn attempt(files: &[(&str, &str)], out: &mut Vec<Diagnostic>) -> Option<RegoModules> {
    let Built { mut engine, units, graph } = build(files, out)?;
    let rules = rules(&units, &graph, out);
    if !out.is_empty() {
        return None;
    }
    prepare(&mut engine, rules.first().map(|r| &*r.id), files, out)?;
    Some(RegoModules { rules, bare_prefixes: prefixes::bare(&units), evaluators: Evaluators::new(engine, graph.cost()) })
}

/// Does once what an evaluator does before it answers the first time.
fn prepare(engine: &mut Engine, first: Option<&str>, files: &[(&str, &str)], out: &mut Vec<Diagnostic>) -> Option<()> {
    if let Some(first) = first
        && let Err(error) = engine.compile_with_entrypoint(&document(first).into())
    {
        out.push(explain(&error.to_string(), files, None));
        return None;
    }
    Some(())
}

/// Every test, by id.
fn found_tests(units: &[Unit<'_>], graph: &Graph) -> Vec<RegoTest> {
    let mut tests = Vec::new();
    for unit in units {
        for rule in &unit.module.rules {
            let [name] = rule.name.as_slice() else { continue };
            let Some(testing::Todo(todo)) = testing::kind(name) else { continue };
            let path: Vec<String> = unit.module.package.iter().chain([name]).cloned().collect();
            if let Some(at) = graph.first(&path, units) {
                tests.push(RegoTest { id: path.join(".").into(), at, todo });
            }
        }
    }
    tests.sort_by(|a, b| a.id.cmp(&b.id));
    tests.dedup();
    tests
}

/// Parses every file; the units stand in the order of the engine's modules.
fn parse<'f>(engine: &mut Engine, files: &[(&'f str, &'f str)], out: &mut Vec<Diagnostic>) -> Vec<Unit<'f>> {
    let mut parsed = Vec::new();
    for (file, text) in files {
        if let Err(diagnostic) = scan::check(file, text) {
            out.push(diagnostic.with_source(text));
            continue;
        }
        let metadata = metadata::read(file, text, out);
        engine.set_rego_v0(metadata.v0);
        match engine.add_policy((*file).to_owned(), (*text).to_owned()) {
            Ok(_) => parsed.push((*file, *text, metadata)),
            Err(error) => out.push(explain(&error.to_string(), files, Some((file, text)))),
        }
    }
    let mut units = Vec::new();
    for ((file, text, metadata), tree) in parsed.into_iter().zip(engine.get_modules()) {
        match serde_json::to_value(tree).ok().as_ref().and_then(Module::read) {
            Some(mut module) => {
                module.imports.iter_mut().for_each(|import| import.resolve(text));
                units.push(Unit { file, text, metadata, module, test: is_test_file(file) });
            }
            None => {
                out.push(Diagnostic::error("rego-internal", "this module has a shape that cannot be checked").at(place(file, text, 0, 1)))
            }
        }
    }
    units
}

/// Every `allow` and `deny`, by id.
fn rules(units: &[Unit<'_>], graph: &Graph, out: &mut Vec<Diagnostic>) -> Vec<RegoRule> {
    let packages: BTreeSet<&Vec<String>> = units.iter().map(|u| &u.module.package).collect();
    let mut rules = Vec::new();
    for package in packages {
        let services = services(units, package, out);
        for effect in [Effect::Allow, Effect::Deny] {
            let path: Vec<String> = package.iter().cloned().chain(std::iter::once(effect.as_str().to_owned())).collect();
            if let Some(at) = graph.first(&path, units) {
                let id = path.join(".").into_boxed_str();
                let (reads_time, footprint) = (graph.reads_time(&path), graph.footprint(&path));
                let governance = governance(units, package);
                let odd = graph.odd(&path, units);
                rules.push(RegoRule { id, effect, at, services: services.clone(), reads_time, footprint, odd, governance });
            }
        }
    }
    rules.sort_by(|a, b| a.id.cmp(&b.id));
    rules
}

/// What the modules of a package say of why they exist: the first that says anything.
fn governance(units: &[Unit<'_>], package: &[String]) -> Governance {
    let said = units.iter().filter(|u| u.module.package == package).map(|u| &u.metadata.governance);
    said.into_iter().find(|g| **g != Governance::default()).cloned().unwrap_or_default()
}

/// Turns a message of the parser or compiler (`--> file:line:column`, an excerpt, `error: what`) into a diagnostic.
fn explain(message: &str, files: &[(&str, &str)], current: Option<(&str, &str)>) -> Diagnostic {
    let located = message.split_once("--> ").and_then(|(_, rest)| {
        let mut parts = rest.lines().next()?.rsplitn(3, ':');
        let column: usize = parts.next()?.parse().ok()?;
        let line: usize = parts.next()?.parse().ok()?;
        let file = parts.next()?;
        files.iter().find(|(name, _)| *name == file).map(|(name, text)| (*name, *text, line, column))
    });
    // A message may have a second part with an excerpt of its own; the first says what and where.
    let what = match message.split_once("error: ") {
        Some((_, what)) => what.split("\n--> ").next().unwrap_or(what),
        None => message,
    };
    let what = lower_first(what.split_whitespace().collect::<Vec<_>>().join(" ").trim_end_matches('.'));
    let what = if what.ends_with("Missing package declaration") { "there is no `package` declaration".to_owned() } else { what };
    let diagnostic = Diagnostic::error("rego-syntax", if what.is_empty() { "this cannot be compiled".to_owned() } else { what });
    match (located, current) {
        (Some((file, text, line, column)), _) => diagnostic.at(from_parser(file, text, line, column)).with_source(text),
        (None, Some((file, text))) => diagnostic.at(place(file, text, 0, 1)).with_source(text),
        (None, None) => diagnostic,
    }
}

/// The parser counts a tab as four columns, and sometimes points one line behind the text.
fn from_parser(file: &str, text: &str, line: usize, column: usize) -> Location {
    let line = line.clamp(1, text.lines().count().max(1));
    let content = text.lines().nth(line - 1).unwrap_or_default();
    let mut width = 1;
    let mut place = 1;
    for c in content.chars() {
        if width >= column {
            break;
        }
        width += if c == '\t' { 4 } else { 1 };
        place += 1;
    }
    let clamp = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Location::new(file, clamp(line), clamp(place))
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), chars.clone().next()) {
        // An acronym or a name keeps its capital.
        (Some(first), Some(second)) if second.is_lowercase() || second == ' ' => first.to_lowercase().chain(chars).collect(),
        _ => text.to_owned(),
    }
}
