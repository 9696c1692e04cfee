//! The checks between parsing and compiling: what modules may be called, what they may name, and how they call each other.
//!
//! Every definition is checked, reached or not. The graph of who reads whom is drawn generously (a local variable that has
//! the name of a rule counts as that rule), so a cycle or a read of the time may be seen where there is none, never missed.

use std::collections::{BTreeMap, BTreeSet};

use super::ast::{Module, Rule, Span, Use};
use super::builtins;
use super::footprint;
use super::growth::Growth;
use super::limits::{ARGUMENTS_MAX, CALLS_MAX, GROWTH_MAX, LEVELS_MAX, STATEMENTS_MAX, TRIES_MAX};
use super::metadata::{Metadata, top};
use super::place;
use super::testing;
use crate::diagnostic::{Diagnostic, Location};
use crate::footprint::{Footprint, Reads};
use crate::limits::DIAGNOSTICS_MAX;

/// A module with its file.
#[derive(Debug)]
pub(super) struct Unit<'f> {
    pub(super) file: &'f str,
    pub(super) text: &'f str,
    pub(super) metadata: Metadata,
    pub(super) module: Module,
    /// Whether it holds tests, and no policy.
    pub(super) test: bool,
}

impl Unit<'_> {
    fn at(&self, span: Span) -> Location {
        place(self.file, self.text, span.start, span.end)
    }

    fn fault(&self, code: &'static str, message: impl Into<String>, span: Span) -> Diagnostic {
        Diagnostic::error(code, message).at(self.at(span)).with_source(self.text)
    }
}

/// A rule by its full path, whatever the number of its definitions.
type Path = Vec<String>;

/// What the rules are and how they hang together.
#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: BTreeMap<Path, Node>,
    deepest: Cost,
}

#[derive(Debug, Default)]
struct Node {
    /// The first definition: the number of its unit, and where it stands there.
    first: Option<(usize, Span)>,
    /// How many times the evaluator calls itself for one definition.
    levels: usize,
    /// By how many levels one definition can nest values.
    nests: usize,
    /// How often one value can stand in another that a definition makes.
    growth: Growth,
    /// The definitions of a function; 0 for what is none.
    definitions: usize,
    /// The definition whose value is written out and no answer: its unit, place, and what it is.
    odd: Option<(usize, Span, &'static str)>,
    reads: BTreeSet<Path>,
    /// For each definition the functions it calls, as often as they stand there.
    calls: Vec<BTreeMap<Path, usize>>,
    /// What its own definitions read of the request; `None` if nothing.
    input: Option<Footprint>,
    reads_time: bool,
}

impl Node {
    fn add(&mut self, found: Found) {
        let mut calls: BTreeMap<Path, usize> = BTreeMap::new();
        for called in found.calls {
            *calls.entry(called.clone()).or_default() += 1;
            self.reads.insert(called);
        }
        if !calls.is_empty() {
            self.calls.push(calls);
        }
        self.reads.extend(found.reads);
        self.reads_time |= found.reads_time;
        for footprint in found.input {
            self.input = Some(match self.input.take() {
                Some(known) => known.and(&footprint),
                None => footprint,
            });
        }
    }
}

/// Checks all modules together.
pub(super) fn check(units: &[Unit<'_>], out: &mut Vec<Diagnostic>) -> Graph {
    let mut graph = Graph::default();
    for (number, unit) in units.iter().enumerate() {
        check_names(unit, out);
        for rule in &unit.module.rules {
            let node = graph.nodes.entry(full_path(unit, rule)).or_default();
            node.first.get_or_insert((number, rule.span));
            node.levels = node.levels.max(rule.levels);
            node.nests = node.nests.max(rule.nests);
            node.growth.peak = node.growth.peak.max(rule.growth.peak);
            node.growth.result = node.growth.result.max(rule.growth.result);
            node.odd = node.odd.or(rule.odd.map(|odd| (number, rule.span, odd)));
            node.definitions += usize::from(rule.arguments.is_some());
        }
    }
    check_overlaps(units, &graph, out);
    let packages: BTreeSet<&[String]> = units.iter().map(|u| u.module.package.as_slice()).collect();
    for unit in units {
        check_imports(unit, &graph, &packages, out);
        for rule in &unit.module.rules {
            if out.len() >= DIAGNOSTICS_MAX {
                break;
            }
            let found = uses(unit, rule, &graph, &packages, out);
            graph.nodes.entry(full_path(unit, rule)).or_default().add(found);
        }
    }
    graph.check_depth(units, out);
    graph
}

fn full_path(unit: &Unit<'_>, rule: &Rule) -> Path {
    unit.module.package.iter().chain(&rule.name).cloned().collect()
}

/// Whether a package is one that policies of a bundle may have.
fn is_ours(package: &[String]) -> bool {
    matches!(package, [first, ..] if first == "portreeve") || matches!(package, [a, b] if a == "envoy" && b == "authz")
}

fn check_names(unit: &Unit<'_>, out: &mut Vec<Diagnostic>) {
    let package = &unit.module.package;
    if !is_ours(package) && !unit.test {
        out.push(
            unit.fault("rego-package", format!("the package `{}` is never asked", package.join(".")), unit.module.package_span).help(
                format!("name it `portreeve.{}`; only packages under `portreeve`, and `envoy.authz`, are policies", package.join(".")),
            ),
        );
    }
    for rule in &unit.module.rules {
        check_head(unit, rule, out);
    }
    for import in &unit.module.imports {
        if builtins::is_family(&import.alias) {
            out.push(
                unit.fault("rego-shadow", format!("`{}` would hide the built-in functions of that name", import.alias), import.span)
                    .help("import it `as` something else"),
            );
        }
    }
}

fn check_head(unit: &Unit<'_>, rule: &Rule, out: &mut Vec<Diagnostic>) {
    let name = rule.name.join(".");
    let last = rule.name.last().map(String::as_str);
    // A prohibition with a slip in its name would silently not exist.
    let asked = is_ours(&unit.module.package) && !unit.test;
    let slip = ["allow", "deny"].into_iter().find(|name_asked| asked && strsim::osa_distance(name_asked, &name) == 1);
    if let Some(asked) = slip {
        out.push(
            unit.fault("rego-head", format!("`{name}` is not asked; only `allow` and `deny` are"), rule.span)
                .help(format!("did you mean `{asked}`? if not, give it a name that is less like it")),
        );
    }
    if matches!(last, Some("allow" | "deny")) && asked {
        if rule.name.len() > 1 {
            let package = unit.module.package.iter().chain(rule.name.iter().rev().skip(1).rev()).cloned().collect::<Vec<_>>().join(".");
            out.push(
                unit.fault("rego-head", format!("`{name}` is not asked, because it is not the rule of a package"), rule.span)
                    .help(format!("put it into a file with `package {package}`")),
            );
        } else if rule.arguments.is_some() {
            out.push(
                unit.fault("rego-head", format!("`{name}` takes arguments, and nobody would pass them"), rule.span)
                    .help("read `input`, or give the function another name"),
            );
        } else if rule.computed {
            out.push(
                unit.fault("rego-head", format!("`{name}` is an object; it must be a boolean or a set of texts"), rule.span)
                    .help(format!("write `{name} contains reason if {{ … }}`")),
            );
        }
    }
    if let Some((_, span)) = rule.longest.filter(|(n, _)| *n > STATEMENTS_MAX) {
        out.push(
            unit.fault("rego-too-large", format!("this body has more than {STATEMENTS_MAX} statements"), span)
                .help("give parts of it names of their own"),
        );
    }
    if rule.arguments.is_some_and(|n| n > ARGUMENTS_MAX) {
        out.push(
            unit.fault("rego-arguments", format!("`{name}` takes more than {ARGUMENTS_MAX} arguments"), rule.span).help("pass an object"),
        );
    }
    if rule.name.first().is_some_and(|n| builtins::is_family(n)) || last.is_some_and(|n| n.starts_with("__")) {
        out.push(
            unit.fault("rego-shadow", format!("`{name}` would hide the built-in functions of that name"), rule.span)
                .help("give it another name"),
        );
    }
}

/// Whether a rule is a test.
fn is_test(rule: &Rule) -> bool {
    matches!(rule.name.as_slice(), [name] if testing::kind(name).is_some())
}

/// Tests are not part of what they test: they add nothing to a policy, and no policy reads them.
pub(super) fn check_tests(units: &[Unit<'_>], out: &mut Vec<Diagnostic>) {
    let policies: BTreeSet<Path> = units.iter().filter(|u| !u.test).flat_map(|u| u.module.rules.iter().map(|r| full_path(u, r))).collect();
    let mut seen = BTreeSet::new();
    for unit in units {
        for rule in &unit.module.rules {
            let path = full_path(unit, rule);
            let name = rule.name.join(".");
            if unit.test && policies.contains(&path) {
                out.push(
                    unit.fault("rego-test", format!("`{name}` is defined by a policy, and a test may not add to it"), rule.span)
                        .help("give it another name, or another package"),
                );
            }
            if !is_test(rule) {
                continue;
            }
            if rule.arguments.is_some() {
                let fault = unit.fault("rego-test", format!("`{name}` takes arguments, and nobody would pass them"), rule.span);
                out.push(fault.help(format!("write `{name}[case] := … if {{ … }}` for several cases")));
            }
            if !rule.computed && !rule.adds && !seen.insert(path) {
                let fault = unit.fault("rego-test", format!("there is already a test `{name}`"), rule.span);
                out.push(fault.help("one of the two would hide a failure of the other; give it a name of its own"));
            }
        }
    }
}

/// Refuses a rule with a computed name that another rule names a part of: the evaluator may lose one of the two.
fn check_overlaps(units: &[Unit<'_>], graph: &Graph, out: &mut Vec<Diagnostic>) {
    for unit in units {
        for rule in unit.module.rules.iter().filter(|r| r.computed) {
            let path = full_path(unit, rule);
            if graph.nodes.keys().any(|other| other.len() > path.len() && other.starts_with(&path)) {
                let name = rule.name.join(".");
                out.push(
                    unit.fault("rego-head", format!("a part of `{name}` is computed here and named by another rule"), rule.span)
                        .help("give one of them another name"),
                );
            }
        }
    }
}

fn check_imports(unit: &Unit<'_>, graph: &Graph, packages: &BTreeSet<&[String]>, out: &mut Vec<Diagnostic>) {
    for import in &unit.module.imports {
        let [root, path @ ..] = import.path.as_slice() else { continue };
        let wanted: Vec<Option<String>> = path.iter().cloned().map(Some).collect();
        if root == "data" && !graph.knows(&wanted, packages) {
            out.push(unknown_document(unit, &wanted, import.span));
        }
    }
}

fn unknown_document(unit: &Unit<'_>, path: &[Option<String>], span: Span) -> Diagnostic {
    let path: Vec<&str> = path.iter().map(|p| p.as_deref().unwrap_or("[…]")).collect();
    unit.fault("rego-unknown-document", format!("there is no `data.{}` in this bundle", path.join(".")), span)
        .help("`data` holds the rules of the bundle's Rego modules and nothing else; write the values into such a module")
}

#[derive(Default)]
struct Found {
    reads: BTreeSet<Path>,
    calls: Vec<Path>,
    input: Vec<Footprint>,
    reads_time: bool,
}

fn uses(unit: &Unit<'_>, rule: &Rule, graph: &Graph, packages: &BTreeSet<&[String]>, out: &mut Vec<Diagnostic>) -> Found {
    let mut found = Found::default();
    let testing = unit.test || is_test(rule);
    for one in &rule.uses {
        match one {
            Use::With { .. } if testing => {}
            Use::With { span } => out.push(
                unit.fault("rego-with", "`with` is not accepted in a policy", *span)
                    .help("pass the value to a function; `with` belongs into tests, in files named `…_test.rego`"),
            ),
            Use::Reads { root, path, span } => {
                let (root, path) = through_imports(unit, root, path);
                match root {
                    "input" => {
                        found.reads_time |= footprint::may_reach_time(&path);
                        found.input.push(footprint::of(&path, &unit.at(*span).short()));
                    }
                    "data" if path.first().is_none_or(Option::is_none) => out.push(
                        unit.fault("rego-unknown-document", "`data` as a whole is not accepted", *span)
                            .help("name the package and rule, such as `data.portreeve.lib.members`"),
                    ),
                    "data" if !graph.knows(&path, packages) => out.push(unknown_document(unit, &path, *span)),
                    "data" => found.reads.extend(graph.matching(&path)),
                    _ => found.reads.extend(graph.matching(&local(unit, root, &path))),
                }
                let test = found.reads.iter().filter_map(|path| path.last()).find(|name| !testing && testing::kind(name).is_some());
                if let Some(name) = test {
                    let fault = unit.fault("rego-test", format!("this reads `{name}`, which is a test"), *span);
                    out.push(fault.help("put what both need into a rule of another name"));
                }
            }
            Use::Calls { name, arguments, span } => match call(unit, name.as_deref(), graph) {
                Some(path) => {
                    found.calls.push(path);
                    if arguments.len() > ARGUMENTS_MAX + 1 {
                        out.push(
                            unit.fault("rego-arguments", format!("more than {ARGUMENTS_MAX} arguments"), *span).help("pass an object"),
                        );
                    }
                }
                None if testing && matches!(name.as_deref(), Some([n]) if n == "print" || n == "trace") => {}
                None => check_builtin(unit, name.as_deref(), arguments, *span, graph, out),
            },
        }
    }
    found
}

/// A reference with a leading import alias replaced by what it stands for.
fn through_imports<'r>(unit: &'r Unit<'_>, root: &'r str, path: &[Option<String>]) -> (&'r str, Vec<Option<String>>) {
    match unit.module.imports.iter().find(|i| i.alias == root) {
        Some(import) => match import.path.as_slice() {
            [first, rest @ ..] => (first, rest.iter().cloned().map(Some).chain(path.iter().cloned()).collect()),
            [] => (root, path.to_vec()),
        },
        None => (root, path.to_vec()),
    }
}

fn local(unit: &Unit<'_>, root: &str, path: &[Option<String>]) -> Vec<Option<String>> {
    unit.module.package.iter().cloned().map(Some).chain(std::iter::once(Some(root.to_owned()))).chain(path.iter().cloned()).collect()
}

/// The rule a call means, if it means one of the bundle.
fn call(unit: &Unit<'_>, name: Option<&[String]>, graph: &Graph) -> Option<Path> {
    let [root, rest @ ..] = name? else { return None };
    let rest: Vec<Option<String>> = rest.iter().cloned().map(Some).collect();
    let (root, path) = through_imports(unit, root, &rest);
    let path = if root == "data" { path } else { local(unit, root, &path) };
    let path = path.into_iter().collect::<Option<Path>>()?;
    graph.nodes.contains_key(&path).then_some(path)
}

fn check_builtin(
    unit: &Unit<'_>,
    name: Option<&[String]>,
    arguments: &[serde_json::Value],
    span: Span,
    graph: &Graph,
    out: &mut Vec<Diagnostic>,
) {
    let Some(name) = name else {
        out.push(unit.fault("rego-builtin", "a computed function name is not accepted", span).help("name the function"));
        return;
    };
    let name = name.join(".");
    if let Err((message, help)) = builtins::judge(&name, arguments) {
        let fault = unit.fault("rego-builtin", message, span);
        let functions = graph.nodes.keys().filter(|p| p.starts_with(&unit.module.package)).filter_map(|p| p.last()).map(String::as_str);
        let mut known: Vec<&str> = builtins::names().collect();
        known.extend(functions);
        out.push(if help.is_empty() { fault.suggest(&name, known) } else { fault.help(help) });
    }
}

impl Graph {
    /// Where the first definition of a rule stands.
    pub(super) fn first(&self, path: &[String], units: &[Unit<'_>]) -> Option<Location> {
        let (number, span) = self.nodes.get(path)?.first?;
        Some(units.get(number)?.at(span))
    }

    /// What a rule is, and where, if that is written out and no answer.
    pub(super) fn odd(&self, path: &[String], units: &[Unit<'_>]) -> Option<(&'static str, Location)> {
        let (number, span, odd) = self.nodes.get(path)?.odd?;
        Some((odd, units.get(number)?.at(span)))
    }

    /// Whether a rule, or one it reads, may read the time.
    pub(super) fn reads_time(&self, path: &[String]) -> bool {
        self.reached(path).iter().any(|node| node.reads_time)
    }

    /// What a rule, and all it reads, can read of the request.
    pub(super) fn footprint(&self, path: &[String]) -> Footprint {
        let nothing = Footprint::Bounded(Reads::default());
        self.reached(path).into_iter().filter_map(|node| node.input.as_ref()).fold(nothing, Footprint::and)
    }

    /// A rule and all it reads, directly or not.
    fn reached(&self, path: &[String]) -> Vec<&Node> {
        let mut open = vec![path];
        let mut seen = BTreeSet::new();
        let mut out = Vec::new();
        while let Some(path) = open.pop() {
            let Some(node) = self.nodes.get(path).filter(|_| seen.insert(path)) else { continue };
            open.extend(node.reads.iter().map(Vec::as_slice));
            out.push(node);
        }
        out
    }

    /// The rules of which a path reads all or a part.
    fn matching(&self, path: &[Option<String>]) -> Vec<Path> {
        // Only rules that share the leading named parts can match; they stand together in the map.
        let prefix: Path = path.iter().map_while(Clone::clone).collect();
        let exact = (1..=prefix.len()).filter_map(|n| self.nodes.get_key_value(prefix.get(..n)?)).map(|(p, _)| p.clone());
        let below = self.nodes.range(prefix.clone()..).take_while(|(p, _)| p.starts_with(&prefix)).map(|(p, _)| p);
        let below = below.filter(|p| p.iter().zip(path).all(|(name, part)| part.as_ref().is_none_or(|part| part == name)));
        exact.chain(below.cloned()).collect()
    }

    /// Whether a path below `data` can be defined at all.
    fn knows(&self, path: &[Option<String>], packages: &BTreeSet<&[String]>) -> bool {
        !self.matching(path).is_empty()
            || packages.iter().any(|p| p.len() >= path.len() && p.iter().zip(path).all(|(a, b)| b.as_ref().is_none_or(|b| b == a)))
    }

    /// Refuses cycles, and calls nested deeper than the evaluator may go; finds what the deepest costs.
    fn check_depth(&mut self, units: &[Unit<'_>], out: &mut Vec<Diagnostic>) {
        let mut known = BTreeMap::new();
        let mut trail = Vec::new();
        let mut deepest = Cost::default();
        for path in self.nodes.keys() {
            match self.depth(path, &mut trail, &mut known) {
                Ok(cost) => deepest = deepest.max(cost),
                Err(Deep { at, message, help }) => {
                    let fault = Diagnostic::error("rego-recursion", message).help(help);
                    out.push(match self.first(&at, units) {
                        Some(place) => fault.at(place),
                        None => fault,
                    });
                    return;
                }
            }
        }
        self.deepest = deepest;
    }

    /// What evaluating can cost, whatever rule is asked for.
    pub(super) fn cost(&self) -> Cost {
        self.deepest
    }

    /// The cost from here to the deepest. Calls itself at most [`CALLS_MAX`] times, because a longer trail is a fault.
    fn depth<'g>(&'g self, path: &'g Path, trail: &mut Vec<&'g Path>, known: &mut BTreeMap<&'g Path, Cost>) -> Result<Cost, Deep> {
        let fault = |message, help| Err(Deep { at: path.clone(), message, help });
        if let Some(begin) = trail.iter().position(|p| *p == path) {
            let names: Vec<String> = trail.iter().skip(begin).chain(std::iter::once(&path)).map(|p| format!("`{}`", p.join("."))).collect();
            return fault(format!("a rule depends on itself: {}", names.join(", then ")), CALL_LESS);
        }
        let cost = match known.get(path) {
            Some(cost) => *cost,
            None if trail.len() >= CALLS_MAX => Cost { calls: 1, ..Cost::default() },
            None => {
                trail.push(path);
                let mut cost = Cost::default();
                let mut nested: usize = 0;
                let mut grown: u64 = 1;
                if let Some(node) = self.nodes.get(path) {
                    let mut below = BTreeMap::new();
                    for next in &node.reads {
                        let found = self.depth(next, trail, known)?;
                        below.insert(next, found);
                        cost = cost.max(found);
                    }
                    // Calls of one definition can be handed each other's values; of what is only read, one is the largest.
                    for calls in &node.calls {
                        let each = || calls.iter().filter_map(|(called, times)| Some((below.get(called)?, *times)));
                        let times = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
                        nested = nested.max(each().fold(0, |sum: usize, (c, n)| sum.saturating_add(c.nests.saturating_mul(n))));
                        grown = grown.max(each().fold(1, |all: u64, (c, n)| all.saturating_mul(c.growth.max(1).saturating_pow(times(n)))));
                    }
                    cost.levels += node.levels;
                    let only_read = below.iter().filter(|(path, _)| !node.calls.iter().any(|calls| calls.contains_key(**path)));
                    let given = only_read.fold(1, |most: u64, (_, c)| most.max(c.growth)).saturating_mul(grown);
                    cost.peak = cost.peak.max(given.saturating_mul(node.growth.peak.max(1)));
                    cost.growth = given.saturating_mul(node.growth.result.max(1));
                    cost.tries = cost.tries.max(1).saturating_mul(node.definitions.max(1));
                    cost.nests = cost.nests.saturating_add(nested).saturating_add(node.nests);
                }
                trail.pop();
                Cost { calls: cost.calls + 1, levels: cost.levels + 1, ..cost }
            }
        };
        if trail.len() + cost.calls > CALLS_MAX {
            return fault(format!("rules call each other more than {CALLS_MAX} deep"), CALL_LESS);
        }
        if cost.levels > LEVELS_MAX {
            return fault(format!("this rule and what it calls nest more than {LEVELS_MAX} loops and levels"), CALL_LESS);
        }
        if cost.peak > GROWTH_MAX {
            return fault(format!("one value can stand in another more than {GROWTH_MAX} times here"), DOUBLE_LESS);
        }
        if cost.tries > TRIES_MAX {
            return fault(format!("this function and those it calls can be tried in more than {TRIES_MAX} ways"), DEFINE_LESS);
        }
        known.insert(path, cost);
        Ok(cost)
    }
}

const CALL_LESS: &str = "call less deeply; a rule may not depend on itself";
const DOUBLE_LESS: &str = "each literal that names a value twice doubles it; name it once, or give its parts";
const DEFINE_LESS: &str =
    "each definition of a function multiplies with those of the functions it calls; use a rule, or a table such as `limits := {…}`";

/// What evaluating a rule, and all it reads, can cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cost {
    calls: usize,
    /// How many times the evaluator may call itself.
    pub(super) levels: usize,
    /// How deep a value can be, beyond what built-ins hand out.
    pub(super) nests: usize,
    /// How often the budget can be spent: the evaluator goes on with the next definition of a function when one has failed.
    tries: usize,
    /// How often one value can stand in the value of the rule, and in any that it makes.
    growth: u64,
    peak: u64,
}

impl Cost {
    /// The cost of modules that nobody has looked at: as much as any may have.
    #[cfg(test)]
    pub(super) const fn any() -> Self {
        Self { calls: CALLS_MAX, levels: LEVELS_MAX, nests: LEVELS_MAX, tries: TRIES_MAX, growth: 1, peak: 1 }
    }

    /// The larger of both in each respect.
    fn max(self, other: Self) -> Self {
        Self {
            calls: self.calls.max(other.calls),
            levels: self.levels.max(other.levels),
            nests: self.nests.max(other.nests),
            tries: self.tries.max(other.tries),
            growth: self.growth.max(other.growth),
            peak: self.peak.max(other.peak),
        }
    }
}

struct Deep {
    at: Path,
    message: String,
    help: &'static str,
}

/// Decides to which services the rules of a package are limited: all its modules that define them must agree.
pub(super) fn services(units: &[Unit<'_>], package: &[String], out: &mut Vec<Diagnostic>) -> Option<Vec<String>> {
    let mut defining = units.iter().filter(|u| {
        u.module.package == package && u.module.rules.iter().any(|r| matches!(r.name.as_slice(), [n] if n == "allow" || n == "deny"))
    });
    let first = defining.next()?;
    let said = first.metadata.services.as_ref().map(|(s, _)| s);
    for unit in defining {
        if unit.metadata.services.as_ref().map(|(s, _)| s) != said {
            let at = unit.metadata.services.as_ref().map_or_else(|| top(unit.file, unit.text), |(_, at)| at.clone());
            out.push(
                Diagnostic::error("rego-metadata", format!("modules of `{}` are limited to different services", package.join(".")))
                    .at(at)
                    .with_source(unit.text)
                    .help(format!("say the same as `{}`, or use another package", first.file)),
            );
        }
    }
    said.cloned()
}
