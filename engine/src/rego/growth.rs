//! How often one value can stand in another that a rule makes: the measure of chained doublings.
//!
//! `x1 := [x0, x0]`, `x2 := [x1, x1]` and so on share their parts in memory, and yet comparing two such values takes as long as
//! if each part were there in full. Found on the syntax tree, variable by variable; what loops and comprehensions repeat is not
//! counted, because each round costs steps.

use std::collections::BTreeMap;

use serde_json::Value;

use super::ast::{name_of, variant};
use super::builtins;

/// What a rule makes of what it is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Growth {
    /// The most often that one given value stands in any variable.
    pub(super) peak: u64,
    /// The same for its own value.
    pub(super) result: u64,
}

/// Measures one definition of a rule.
pub(super) fn of(tree: &Value) -> Growth {
    let mut found = Found::default();
    found.gather(tree);
    let names: Vec<&str> = found.given.keys().copied().collect();
    let mut known = BTreeMap::new();
    let peak = names.iter().map(|name| found.variable(name, &mut known, NAMES_MAX)).max().unwrap_or(1);
    let result = found.results.iter().map(|value| found.weight(value, &mut known, NAMES_MAX)).max().unwrap_or(1);
    Growth { peak: peak.max(result).max(1), result: result.max(1) }
}

/// Built-ins whose result holds what they are given.
const COMBINING: &[&str] =
    &["array.concat", "array.flatten", "intersection", "json.patch", "object.union", "object.union_n", "sort", "union", "walk"];

/// Names that may depend on each other in a row.
const NAMES_MAX: usize = 300;

#[derive(Default)]
struct Found<'t> {
    /// What each variable is made of.
    given: BTreeMap<&'t str, Vec<&'t Value>>,
    /// The values of the rule itself.
    results: Vec<&'t Value>,
}

impl<'t> Found<'t> {
    fn gather(&mut self, tree: &'t Value) {
        match tree {
            Value::Array(items) => items.iter().for_each(|i| self.gather(i)),
            Value::Object(fields) => {
                match variant(tree) {
                    Some(("AssignExpr", body)) => {
                        if let (Some(left), Some(right)) = (body.get("lhs"), body.get("rhs")) {
                            self.unify(left, right);
                        }
                    }
                    Some(("SomeIn", body)) => {
                        for part in ["key", "value"] {
                            if let (Some(name), Some(collection)) = (body.get(part), body.get("collection")) {
                                self.give(name, collection);
                            }
                        }
                    }
                    _ => {}
                }
                if let Some(value) = fields.get("assign").and_then(|a| a.get("value")) {
                    self.results.push(value);
                }
                if let Some((_, head)) = variant(tree).filter(|(kind, _)| *kind == "Set") {
                    self.results.extend(head.get("key"));
                }
                fields.values().for_each(|f| self.gather(f));
            }
            _ => {}
        }
    }

    /// One side of an assignment or unification is made of the other: the names on the left of what stands on the right, or
    /// the other way round where only the right has a name.
    fn unify(&mut self, left: &'t Value, right: &'t Value) {
        match (variant(left), variant(right)) {
            (Some(("Array", left)), Some(("Array", right))) => {
                let items = |side: &'t serde_json::Map<String, Value>| side.get("items").and_then(Value::as_array).into_iter().flatten();
                items(left).zip(items(right)).for_each(|(left, right)| self.unify(left, right));
            }
            (Some(("Var" | "Array" | "Object", _)), _) => self.give(left, right),
            _ => self.give(right, left),
        }
    }

    /// The variables of a pattern are made of a value.
    fn give(&mut self, pattern: &'t Value, value: &'t Value) {
        match variant(pattern) {
            Some(("Var", body)) => {
                if let Some(name) = body.get("value").and_then(Value::as_str) {
                    self.given.entry(name).or_default().push(value);
                }
            }
            Some(("Array" | "Object", body)) => body.values().for_each(|f| self.give(f, value)),
            Some(_) => {}
            None => match pattern {
                Value::Array(items) => items.iter().for_each(|i| self.give(i, value)),
                Value::Object(fields) => fields.values().for_each(|f| self.give(f, value)),
                _ => {}
            },
        }
    }

    fn variable(&self, name: &'t str, known: &mut BTreeMap<&'t str, u64>, left: usize) -> u64 {
        if let Some(weight) = known.get(name) {
            return *weight;
        }
        // In the making, a name counts once: no rule of Rego makes a value of itself.
        known.insert(name, 1);
        let made = self.given.get(name).into_iter().flatten();
        let weight = match left.checked_sub(1) {
            Some(left) => made.map(|value| self.weight(value, known, left)).max().unwrap_or(1).max(1),
            None => u64::MAX,
        };
        known.insert(name, weight);
        weight
    }

    /// How often the most frequent given value can stand in what this expression makes.
    fn weight(&self, tree: &'t Value, known: &mut BTreeMap<&'t str, u64>, left: usize) -> u64 {
        match variant(tree) {
            Some(("Var", body)) => body.get("value").and_then(Value::as_str).map_or(0, |name| self.variable(name, known, left)),
            Some(("RefDot" | "RefBrack", body)) => body.get("refr").map_or(0, |refr| self.weight(refr, known, left)),
            Some(("Call", body)) => {
                let params = body.get("params").map_or(0, |params| self.weight(params, known, left));
                let name = body.get("fcn").and_then(name_of).unwrap_or_default();
                // Most built-ins hand out texts, numbers and truths, which hold nothing.
                if builtins::is_known(&name) && !COMBINING.contains(&name.as_str()) { params.min(1) } else { params }
            }
            // A truth holds nothing.
            Some(("BoolExpr" | "Membership", _)) => 0,
            Some((_, body)) => body.values().fold(0, |sum: u64, f| sum.saturating_add(self.weight(f, known, left))),
            None => match tree {
                Value::Array(items) => items.iter().fold(0, |sum: u64, i| sum.saturating_add(self.weight(i, known, left))),
                Value::Object(fields) if !fields.contains_key("stmts") => {
                    fields.values().fold(0, |sum: u64, f| sum.saturating_add(self.weight(f, known, left)))
                }
                _ => 0,
            },
        }
    }
}
