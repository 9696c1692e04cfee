//! What the rules of checks read of their document, as deep as they spell it: through `input` itself, and through names that stand for a part
//! of it within one rule (`some edge in input.edges`, `edge := input.edges[0]`).
//!
//! INVARIANT: a path is told only where the name surely stands for it. A name that is bound twice in a rule, is an argument, or comes
//! from a pattern stands for nothing; what is handed to functions and other rules is not followed.

use std::collections::BTreeMap;

use serde_json::Value;

use super::ast::{Span, children, reference, span_of, text, variant};

/// A part of the document; `None` where a part of the way is computed, or any member of a list or mapping.
pub(super) type Path = Vec<Option<String>>;

/// What the rules of a module read of the document, and where. `imported` are names for parts of it.
pub(super) fn reads(tree: &Value, source: &str, imported: &BTreeMap<String, Path>) -> Vec<(Path, Span)> {
    let mut out = Vec::new();
    for rule in tree.get("rules").and_then(Value::as_array).into_iter().flatten() {
        let mut bound = Bound { source, names: BTreeMap::new() };
        bound.collect(rule);
        collect(rule, &bound.resolved(imported), &mut out);
    }
    out
}

/// What names of a rule are bound to: a reference, or something else.
struct Bound<'s> {
    source: &'s str,
    names: BTreeMap<String, Option<(String, Path)>>,
}

impl Bound<'_> {
    /// One more place where a name gets a value; that of a name with two is not known.
    fn bind(&mut self, name: &str, to: Option<(String, Path)>) {
        self.names.entry(name.to_owned()).and_modify(|known| *known = None).or_insert(to);
    }

    /// The names of a pattern stand for nothing that is known here.
    fn bind_all(&mut self, pattern: &Value) {
        if let Some(name) = variable(pattern) {
            self.bind(name, None);
        }
        children(pattern).for_each(|child| self.bind_all(child));
    }

    fn collect(&mut self, tree: &Value) {
        match variant(tree) {
            Some(("SomeIn", body)) => {
                let of = |name: &str| body.get(name).unwrap_or(&Value::Null);
                if let Some(name) = variable(of("value")) {
                    let each = reference(of("collection")).map(|(root, mut path, _)| {
                        path.push(None);
                        (root, path)
                    });
                    self.bind(name, each);
                } else {
                    self.bind_all(of("value"));
                }
                self.bind_all(of("key"));
            }
            Some(("AssignExpr", body)) => {
                let of = |name: &str| body.get(name).unwrap_or(&Value::Null);
                match variable(of("lhs")) {
                    Some(name) => self.bind(name, reference(of("rhs")).map(|(root, path, _)| (root, path))),
                    None => self.bind_all(of("lhs")),
                }
                // `=` binds on either side.
                if body.get("op").and_then(Value::as_str) != Some("ColEq") {
                    self.bind_all(of("rhs"));
                }
            }
            Some(("Every", body)) => {
                for name in ["key", "value"] {
                    let span = body.get(name).and_then(span_of);
                    if let Some(name) = span.and_then(|span| self.source.get(span.start..span.end)).map(str::to_owned) {
                        self.bind(&name, None);
                    }
                }
            }
            Some(("Func", body)) => self.bind_all(body.get("args").unwrap_or(&Value::Null)),
            _ => {}
        }
        children(tree).for_each(|child| self.collect(child));
    }

    /// The part of the document that each name stands for.
    fn resolved(&self, imported: &BTreeMap<String, Path>) -> BTreeMap<String, Path> {
        let mut out = imported.clone();
        out.retain(|name, _| !self.names.contains_key(name));
        out.insert("input".to_owned(), Path::new());
        // One name leads to the next, in any order; each round knows at least one more.
        for _ in 0..=self.names.len() {
            let before = out.len();
            for (name, to) in &self.names {
                if let Some((root, path)) = to
                    && let Some(base) = out.get(root)
                {
                    let whole = base.iter().chain(path).cloned().collect();
                    out.entry(name.clone()).or_insert(whole);
                }
            }
            if out.len() == before {
                break;
            }
        }
        out
    }
}

fn collect(tree: &Value, names: &BTreeMap<String, Path>, out: &mut Vec<(Path, Span)>) {
    // Where a document is put in place of another, what is read of it is not known.
    if tree.get("with_mods").is_some() {
        return;
    }
    match variant(tree) {
        Some(("Var" | "RefDot" | "RefBrack", _)) => {
            if let Some((root, path, span)) = reference(tree)
                && let Some(base) = names.get(&root)
            {
                out.push((base.iter().cloned().chain(path).collect(), span));
            }
            below(tree, names, out);
        }
        Some(("Call", body)) => {
            let arguments: Vec<&Value> = body.get("params").and_then(Value::as_array).into_iter().flatten().collect();
            let is_get = body.get("fcn").and_then(super::ast::name_of).as_deref() == Some("object.get");
            if let (true, [object, key, ..]) = (is_get, arguments.as_slice())
                && let Some((root, path, span)) = reference(object)
                && let (Some(base), Some(key)) = (names.get(&root), text(key))
            {
                out.push((base.iter().cloned().chain(path).chain([Some(key)]).collect(), span));
            }
            arguments.into_iter().for_each(|argument| collect(argument, names, out));
        }
        _ => children(tree).for_each(|child| collect(child, names, out)),
    }
}

/// What stands in the brackets of a reference, and its root where that is no name.
fn below(tree: &Value, names: &BTreeMap<String, Path>, out: &mut Vec<(Path, Span)>) {
    let Some((kind, body)) = variant(tree) else { return };
    match kind {
        "Var" => {}
        "RefDot" | "RefBrack" => {
            if let Some(index) = body.get("index") {
                collect(index, names, out);
            }
            body.get("refr").into_iter().for_each(|inner| below(inner, names, out));
        }
        _ => collect(tree, names, out),
    }
}

fn variable(tree: &Value) -> Option<&str> {
    match variant(tree)? {
        ("Var", body) => body.get("value")?.as_str(),
        _ => None,
    }
}
