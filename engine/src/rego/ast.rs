//! The syntax tree of a module, reduced to what the checks need: rules, and what each of them reads and calls.
//!
//! The parser hands out its tree only in serialised form. It is read here generously: an unknown kind of node is looked
//! through, never skipped, so that nothing can hide in a construct this file does not know.

use serde_json::{Map, Value};

use super::growth::{self, Growth};

/// A parsed module.
#[derive(Debug)]
pub(super) struct Module {
    /// The package, `["portreeve", "items"]`.
    pub(super) package: Vec<String>,
    /// Where the package is named.
    pub(super) package_span: Span,
    pub(super) imports: Vec<Import>,
    pub(super) rules: Vec<Rule>,
}

/// `import path as alias`.
#[derive(Debug)]
pub(super) struct Import {
    pub(super) alias: String,
    pub(super) path: Vec<String>,
    pub(super) span: Span,
}

/// One definition of a rule.
#[derive(Debug)]
pub(super) struct Rule {
    /// The name in the package, up to the first part that is computed.
    pub(super) name: Vec<String>,
    /// Whether further, computed parts follow.
    pub(super) computed: bool,
    /// Whether it is a default, or one member of a set: further definitions add to it.
    pub(super) adds: bool,
    /// What its value is, in words, where that is written out and no answer.
    pub(super) odd: Option<&'static str>,
    /// How many arguments it takes, if it is a function.
    pub(super) arguments: Option<usize>,
    pub(super) span: Span,
    /// How many times the evaluator calls itself for it, the rules it reads not counted.
    pub(super) levels: usize,
    /// How much deeper than what it is given a value can be that it makes, what it calls not counted.
    pub(super) nests: usize,
    /// How often one value can stand in another that it makes, what it calls not counted.
    pub(super) growth: Growth,
    /// The body with the most statements: how many, and where.
    pub(super) longest: Option<(usize, Span)>,
    pub(super) uses: Vec<Use>,
}

/// Something a rule does that reaches outside of it.
#[derive(Debug)]
pub(super) enum Use {
    /// Reads `root.path[0]…`; `None` where the part is computed.
    Reads { root: String, path: Vec<Option<String>>, span: Span },
    /// Calls a function.
    Calls { name: Option<Vec<String>>, arguments: Vec<Value>, span: Span },
    /// Replaces a document by `with`.
    With { span: Span },
}

/// Bytes of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Module {
    /// Reads the serialised tree; `None` if it is not of the known shape.
    pub(super) fn read(tree: &Value) -> Option<Self> {
        let package = tree.get("package")?;
        let (root, path, package_span) = reference(package.get("refr")?)?;
        let package = std::iter::once(Some(root)).chain(path).collect::<Option<Vec<_>>>()?;
        let imports = tree.get("imports")?.as_array()?.iter().map(import).collect::<Option<Vec<_>>>()?;
        let rules = tree.get("rules")?.as_array()?.iter().map(rule).collect::<Option<Vec<_>>>()?;
        Some(Self { package, package_span, imports, rules })
    }
}

fn import(tree: &Value) -> Option<Import> {
    let (root, path, span) = reference(tree.get("refr")?)?;
    let path = std::iter::once(Some(root)).chain(path).collect::<Option<Vec<_>>>()?;
    // The alias is given by its place only; without one it is the last part.
    let alias = match tree.get("as").filter(|a| !a.is_null()) {
        Some(alias) => {
            let alias = span_of(alias)?;
            return Some(Import { alias: format!("\0{}:{}", alias.start, alias.end), path, span });
        }
        None => path.last()?.clone(),
    };
    Some(Import { alias, path, span })
}

impl Import {
    /// Fills in the alias from the text it stands in.
    pub(super) fn resolve(&mut self, text: &str) {
        if let Some((start, end)) = self.alias.strip_prefix('\0').and_then(|a| a.split_once(':')) {
            let range = start.parse::<usize>().ok().zip(end.parse::<usize>().ok());
            self.alias = range.and_then(|(s, e)| text.get(s..e)).unwrap_or_default().to_owned();
        }
    }
}

fn rule(tree: &Value) -> Option<Rule> {
    let (kind, body) = variant(tree)?;
    let mut uses = Vec::new();
    let levels = loops(tree) + depth(tree);
    let nests = nests(tree) + HEAD_NESTS;
    let growth = growth::of(tree);
    let longest = longest(tree);
    match kind {
        "Default" => {
            visit(body.get("args")?, &mut uses);
            visit(body.get("value")?, &mut uses);
            let arguments = body.get("args")?.as_array()?.len();
            let (name, computed) = head_name(body.get("refr")?, &mut uses)?;
            Some(Rule {
                name,
                computed,
                adds: true,
                odd: odd(body.get("value")?),
                arguments: Some(arguments).filter(|n| *n > 0),
                span: span_of(body.get("refr")?)?,
                levels,
                nests,
                growth,
                longest,
                uses,
            })
        }
        "Spec" => {
            let (form, head) = variant(body.get("head")?)?;
            let refr = head.get("refr")?;
            let (name, computed) = head_name(refr, &mut uses)?;
            for (field, value) in head {
                if field != "refr" {
                    visit(value, &mut uses);
                }
            }
            visit(body.get("bodies")?, &mut uses);
            let arguments = head.get("args").and_then(Value::as_array).map(Vec::len);
            let adds = form == "Set";
            let odd = head.get("assign").and_then(|assign| odd(assign.get("value")?));
            Some(Rule { name, computed, adds, odd, arguments, span: span_of(refr)?, levels, nests, growth, longest, uses })
        }
        _ => None,
    }
}

/// What a value that is written out is, if it can be no answer.
fn odd(value: &Value) -> Option<&'static str> {
    match variant(value)?.0 {
        "Object" | "ObjectCompr" => Some("an object"),
        "Array" | "ArrayCompr" => Some("an array"),
        "String" | "RawString" => Some("a text"),
        "Number" => Some("a number"),
        "Null" => Some("null"),
        _ => None,
    }
}

/// How many nodes make the evaluator begin a loop, in which it evaluates what follows.
fn loops(tree: &Value) -> usize {
    let own = match variant(tree) {
        Some(("SomeIn" | "Every" | "ArrayCompr" | "SetCompr" | "ObjectCompr", _)) => 1,
        Some(("RefBrack", body)) => usize::from(body.get("index").and_then(text).is_none()),
        _ => 0,
    };
    own + children(tree).map(loops).sum::<usize>()
}

/// How deep nodes stand in each other.
fn depth(tree: &Value) -> usize {
    usize::from(variant(tree).is_some()) + children(tree).map(depth).max().unwrap_or(0)
}

/// The levels that a head adds: a set or object, and the parts of its name.
const HEAD_NESTS: usize = 16;

/// By how many levels values can grow here: one for each list, set, object or comprehension that may come to stand in the next.
/// Only what a literal holds side by side cannot.
fn nests(tree: &Value) -> usize {
    match variant(tree) {
        Some(("Array" | "Set" | "Object", _)) => 1 + children(tree).map(widest).max().unwrap_or(0),
        Some(("ArrayCompr" | "SetCompr" | "ObjectCompr", _)) => 1 + children(tree).map(nests).sum::<usize>(),
        _ => children(tree).map(nests).sum(),
    }
}

fn widest(tree: &Value) -> usize {
    if variant(tree).is_some() { nests(tree) } else { children(tree).map(widest).max().unwrap_or(0) }
}

/// The longest list of statements.
fn longest(tree: &Value) -> Option<(usize, Span)> {
    let own = tree.get("stmts").and_then(Value::as_array).and_then(|s| Some((s.len(), span_of(s.last()?)?)));
    children(tree).filter_map(longest).chain(own).max()
}

pub(super) fn children(tree: &Value) -> Box<dyn Iterator<Item = &Value> + '_> {
    match tree {
        Value::Array(items) => Box::new(items.iter()),
        Value::Object(fields) => Box::new(fields.values()),
        _ => Box::new(std::iter::empty()),
    }
}

/// The static part of a rule's name. Computed parts are visited as expressions.
fn head_name(refr: &Value, uses: &mut Vec<Use>) -> Option<(Vec<String>, bool)> {
    let (root, path, _) = reference(refr)?;
    visit_indices(refr, uses);
    let mut name = vec![root];
    let mut computed = false;
    for part in path {
        match part {
            Some(part) if !computed => name.push(part),
            _ => computed = true,
        }
    }
    Some((name, computed))
}

/// Collects the uses of everything below a node.
fn visit(tree: &Value, uses: &mut Vec<Use>) {
    match tree {
        Value::Array(items) => items.iter().for_each(|i| visit(i, uses)),
        Value::Object(fields) => visit_node(tree, fields, uses),
        _ => {}
    }
}

fn visit_node(tree: &Value, fields: &Map<String, Value>, uses: &mut Vec<Use>) {
    if let Some(Value::Array(replacements)) = fields.get("with_mods") {
        for replacement in replacements {
            uses.extend(span_of(replacement).map(|span| Use::With { span }));
            // What is replaced is not read; what replaces it is.
            visit(replacement.get("as").unwrap_or(&Value::Null), uses);
        }
    }
    match variant(tree) {
        Some(("Var" | "RefDot" | "RefBrack", _)) => {
            if let Some((root, path, span)) = reference(tree) {
                uses.push(Use::Reads { root, path, span });
            }
            visit_indices(tree, uses);
        }
        Some(("Call", call)) => {
            let function = call.get("fcn").unwrap_or(&Value::Null);
            let name = reference(function).and_then(|(root, path, _)| std::iter::once(Some(root)).chain(path).collect());
            let arguments = call.get("params").and_then(Value::as_array).cloned().unwrap_or_default();
            match lookup(function, &arguments) {
                Some((read, rest)) => {
                    uses.push(read);
                    arguments.first().into_iter().for_each(|a| visit_indices(a, uses));
                    rest.iter().for_each(|a| visit(a, uses));
                }
                None => arguments.iter().for_each(|a| visit(a, uses)),
            }
            if let Some(span) = span_of(function) {
                uses.push(Use::Calls { name, arguments, span });
            }
            visit_indices(function, uses);
        }
        _ => fields.iter().filter(|(name, _)| *name != "with_mods").for_each(|(_, v)| visit(v, uses)),
    }
}

/// `object.get(a.b, "c", …)` and `object.get(a.b, ["c", "d"], …)` read `a.b.c` and `a.b.c.d`, no more. The arguments that
/// follow the path are handed back. A key that is not written out may be a path of any length, and then all of `a.b` is read.
fn lookup<'a>(function: &Value, arguments: &'a [Value]) -> Option<(Use, &'a [Value])> {
    if name_of(function)? != "object.get" {
        return None;
    }
    let [object, key, ..] = arguments else { return None };
    let (root, mut path, span) = reference(object)?;
    match items(key) {
        Some(parts) => path.extend(parts.iter().map(text)),
        None => path.push(Some(text(key)?)),
    }
    Some((Use::Reads { root, path, span }, arguments.get(1..).unwrap_or_default()))
}

/// Visits what stands in the brackets of a reference, and its root if that is not a name.
fn visit_indices(tree: &Value, uses: &mut Vec<Use>) {
    let mut node = tree;
    while let Some((kind, body)) = variant(node) {
        match kind {
            "Var" => return,
            "RefDot" | "RefBrack" => {
                if let Some(index) = body.get("index") {
                    visit(index, uses);
                }
                match body.get("refr") {
                    Some(inner) => node = inner,
                    None => return,
                }
            }
            _ => return visit(node, uses),
        }
    }
}

/// A reference that begins with a name: the name, the parts, the place.
pub(super) fn reference(tree: &Value) -> Option<(String, Vec<Option<String>>, Span)> {
    let span = span_of(tree)?;
    let mut path = Vec::new();
    let mut node = tree;
    loop {
        let (kind, body) = variant(node)?;
        match kind {
            "Var" => {
                path.reverse();
                return Some((body.get("value")?.as_str()?.to_owned(), path, span));
            }
            "RefDot" => path.push(Some(body.get("field")?.get(1)?.as_str()?.to_owned())),
            "RefBrack" => path.push(text(body.get("index")?)),
            _ => return None,
        }
        node = body.get("refr")?;
    }
}

/// The dotted name of a function.
pub(super) fn name_of(tree: &Value) -> Option<String> {
    let (root, path, _) = reference(tree)?;
    Some(std::iter::once(Some(root)).chain(path).collect::<Option<Vec<_>>>()?.join("."))
}

/// The text of a string literal.
pub(super) fn text(tree: &Value) -> Option<String> {
    match variant(tree)? {
        ("String" | "RawString", body) => body.get("value")?.as_str().map(str::to_owned),
        _ => None,
    }
}

/// The value of a whole number, with or without a sign.
pub(super) fn integer(tree: &Value) -> Option<i64> {
    match variant(tree)? {
        ("Number", body) => body.get("value")?.as_i64(),
        ("UnaryExpr", body) => integer(body.get("expr")?)?.checked_neg(),
        _ => None,
    }
}

/// The items of an array literal.
pub(super) fn items(tree: &Value) -> Option<&Vec<Value>> {
    match variant(tree)? {
        ("Array", body) => body.get("items")?.as_array(),
        _ => None,
    }
}

/// Kind and body of a node that is `{"Kind": {…}}`.
pub(super) fn variant(tree: &Value) -> Option<(&str, &Map<String, Value>)> {
    let fields = tree.as_object()?;
    let (kind, body) = fields.iter().next()?;
    if fields.len() != 1 || !kind.starts_with(|c: char| c.is_ascii_uppercase()) {
        return None;
    }
    Some((kind, body.as_object()?))
}

/// The place of a node, or of its body.
pub(super) fn span_of(tree: &Value) -> Option<Span> {
    let body = variant(tree).map_or(tree.as_object()?, |(_, body)| body);
    let span = body.get("span").unwrap_or(tree);
    let offset = |name: &str| span.get(name)?.as_u64().and_then(|n| usize::try_from(n).ok());
    Some(Span { start: offset("start")?, end: offset("end")? })
}
