//! Cases with a `matrix`: one case as written, and one for each combination of its parameters.
//!
//! `{name}` in a text of the case stands for the parameter of that name. A parameter that is named like a field of the case
//! fills that field, unless the case gives it itself. A parameter that is used nowhere would only repeat the case, so it is
//! an error; so is `{name}` without a parameter.

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnostic::Diagnostic;
use crate::limits::MATRIX_CASES_MAX;
use crate::yaml::{self, Node, Value};

/// A parameter: its key, and its values.
type Parameter<'n> = (&'n Node, Vec<&'n Node>);

/// The cases that this one stands for, each with its parameters in words; `None` where there is no matrix.
pub(crate) fn expand(file: &str, case: &Node, fields: &[&str], problems: &mut Vec<Diagnostic>) -> Option<Vec<(Node, String)>> {
    let matrix = case.get("matrix")?;
    let Some(parameters) = parameters(file, matrix, problems) else { return Some(Vec::new()) };
    let count = parameters.iter().try_fold(1_usize, |n, (_, values)| n.checked_mul(values.len()).filter(|n| *n <= MATRIX_CASES_MAX));
    let Some(count) = count else {
        problems.push(
            shape(format!("the matrix stands for more than {MATRIX_CASES_MAX} cases"))
                .at(matrix.location(file))
                .help("an invariant speaks of all requests at once; a test asks about a few that matter"),
        );
        return Some(Vec::new());
    };
    let mut used: BTreeSet<String> = BTreeSet::new();
    let mut unknown: Vec<Diagnostic> = Vec::new();
    let mut out = Vec::with_capacity(count);
    for number in 0..count {
        let chosen = choose(&parameters, number);
        let title: Vec<String> =
            chosen.iter().map(|(key, value)| format!("{}={}", key.as_str().unwrap_or_default(), text(value))).collect();
        let mut filling =
            Filling { file, chosen: chosen.iter().map(|(k, v)| (text(k), *v)).collect(), used: &mut used, unknown: &mut unknown };
        out.push((filling.case(case, &chosen, fields), title.join(", ")));
    }
    for (key, _) in parameters.iter().filter(|(key, _)| !used.contains(text(key))) {
        problems.push(
            shape(format!("the parameter `{}` is used nowhere in the case", text(key)))
                .at(key.location(file))
                .help(format!("write `{{{}}}` where its value belongs, or take it out", text(key))),
        );
    }
    problems.extend(unknown);
    Some(out)
}

fn shape(message: String) -> Diagnostic {
    Diagnostic::error("matrix-shape", message)
}

fn text(node: &Node) -> &str {
    node.as_str().unwrap_or_default()
}

fn parameters<'n>(file: &str, matrix: &'n Node, problems: &mut Vec<Diagnostic>) -> Option<Vec<Parameter<'n>>> {
    let wrong = |node: &Node| {
        shape("a matrix is a mapping of parameters to their values".to_owned())
            .at(node.location(file))
            .help("for example `matrix: {as: [users, items], item: [1, 2]}`")
    };
    let Value::Mapping(items) = &matrix.value else {
        problems.push(wrong(matrix));
        return None;
    };
    if items.is_empty() {
        problems.push(wrong(matrix));
        return None;
    }
    let mut out = Vec::new();
    for (key, values) in items {
        let listed = match &values.value {
            Value::Sequence(list) if list.is_empty() => {
                problems.push(yaml::empty_list(text(key)).at(values.location(file)));
                return None;
            }
            Value::Sequence(list) => list.iter().collect(),
            _ => vec![values],
        };
        if let Some(odd) = listed.iter().find(|v| v.as_str().is_none() || v.is_null()) {
            problems.push(wrong(odd));
            return None;
        }
        if !is_parameter(text(key)) {
            problems.push(
                shape(format!("`{}` is not the name of a parameter", text(key)))
                    .at(key.location(file))
                    .help("a name has letters, digits, dashes and underscores"),
            );
            return None;
        }
        out.push((key, listed));
    }
    Some(out)
}

fn is_parameter(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

/// The values of one combination; the last parameter turns fastest.
fn choose<'n>(parameters: &[Parameter<'n>], mut number: usize) -> Vec<(&'n Node, &'n Node)> {
    let mut out: Vec<(&Node, &Node)> = Vec::with_capacity(parameters.len());
    for (key, values) in parameters.iter().rev() {
        if let Some(value) = values.get(number % values.len().max(1)) {
            out.push((key, value));
        }
        number /= values.len().max(1);
    }
    out.reverse();
    out
}

/// Puts the values of one combination into a case.
struct Filling<'a, 'p> {
    file: &'a str,
    chosen: BTreeMap<&'a str, &'a Node>,
    used: &'p mut BTreeSet<String>,
    unknown: &'p mut Vec<Diagnostic>,
}

impl Filling<'_, '_> {
    fn case(&mut self, case: &Node, chosen: &[(&Node, &Node)], fields: &[&str]) -> Node {
        let Value::Mapping(items) = &case.value else { return case.clone() };
        let mut filled: Vec<(Node, Node)> = Vec::with_capacity(items.len() + chosen.len());
        for (key, value) in items.iter().filter(|(key, _)| text(key) != "matrix") {
            filled.push((key.clone(), self.value(value)));
        }
        for (key, value) in chosen {
            if fields.contains(&text(key)) && case.get(text(key)).is_none() {
                self.used.insert(text(key).to_owned());
                filled.push(((*key).clone(), (*value).clone()));
            }
        }
        Node { value: Value::Mapping(filled), ..case.clone() }
    }

    fn value(&mut self, node: &Node) -> Node {
        let value = match &node.value {
            Value::Sequence(items) => Value::Sequence(items.iter().map(|item| self.value(item)).collect()),
            Value::Mapping(items) => Value::Mapping(items.iter().map(|(key, value)| (key.clone(), self.value(value))).collect()),
            Value::Scalar(scalar, _) => self.scalar(node, scalar),
        };
        Node { value, line: node.line, column: node.column, length: node.length }
    }

    fn scalar(&mut self, node: &Node, scalar: &str) -> Value {
        // A text that is nothing but the parameter takes its value as it was written, a number as a number.
        let whole = scalar.strip_prefix('{').and_then(|s| s.strip_suffix('}')).and_then(|name| self.chosen.get(name).copied());
        if let Some(value) = whole {
            self.used.insert(scalar.trim_matches(['{', '}']).to_owned());
            return value.value.clone();
        }
        let mut out = String::with_capacity(scalar.len());
        let mut left = scalar;
        while let Some((before, after)) = left.split_once('{') {
            out.push_str(before);
            let Some((name, rest)) = after.split_once('}').filter(|(name, _)| is_parameter(name)) else {
                out.push('{');
                left = after;
                continue;
            };
            match self.chosen.get(name) {
                Some(value) => {
                    self.used.insert(name.to_owned());
                    out.push_str(text(value));
                }
                None => {
                    let problem = Diagnostic::error("unknown-parameter", format!("the matrix has no parameter `{name}`"))
                        .at(node.location(self.file))
                        .suggest(name, self.chosen.keys().copied());
                    if !self.unknown.contains(&problem) {
                        self.unknown.push(problem);
                    }
                }
            }
            left = rest;
        }
        out.push_str(left);
        let plain = matches!(node.value, Value::Scalar(_, true));
        Value::Scalar(out, plain)
    }
}
