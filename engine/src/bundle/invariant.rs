//! Invariants and selectors as written.

use crate::bundle::declare::{Named, method, named};
use crate::diagnostic::Diagnostic;
use crate::request::Method;
use crate::yaml::{Fields, Node, Value};

/// An invariant before its names are resolved.
#[derive(Debug)]
pub(crate) struct DeclaredInvariant {
    pub(crate) name: Named,
    pub(crate) claim: DeclaredClaim,
    pub(crate) controls: Vec<String>,
}

#[derive(Debug)]
pub(crate) enum DeclaredClaim {
    NeverCalls { from: DeclaredSelector, to: DeclaredSelector },
    NeverReaches { from: DeclaredSelector, to: DeclaredSelector, except_through: Vec<Named> },
    AlwaysCalls { from: DeclaredSelector, to: DeclaredSelector },
}

/// A selector before its names are resolved.
#[derive(Debug, Default)]
pub(crate) struct DeclaredSelector {
    pub(crate) services: Vec<Named>,
    pub(crate) zones: Vec<Named>,
    pub(crate) data: Vec<Named>,
    pub(crate) operations: Vec<Named>,
    pub(crate) identities: Vec<Named>,
    pub(crate) methods: Vec<Method>,
    pub(crate) at: Option<crate::diagnostic::Location>,
}

impl DeclaredInvariant {
    pub(crate) fn read(name: Named, fields: &mut Fields<'_>, problems: &mut Vec<Diagnostic>) -> Option<Self> {
        let file = fields.file();
        let controls = fields.texts("controls", problems).into_iter().map(|t| t.text.to_owned()).collect();
        let shape = |name: &Named| {
            Diagnostic::error("invariant-shape", format!("invariant `{}` does not say what must hold", name.text))
                .at(name.at.clone())
                .help("write `never: {from, to}`, `never: {from, reaches, except_through}` or `always: {from, to}`")
        };
        let (always, body) = match (fields.take("never"), fields.take("always")) {
            (Some(never), None) => (false, never),
            (None, Some(always)) => (true, always),
            _ => {
                problems.push(shape(&name));
                return None;
            }
        };
        let mut body = Fields::of(file, body, problems)?;
        let from = body.require("from", problems).and_then(|n| DeclaredSelector::read(file, n, true, problems));
        let (to_given, reaches_given) = (body.take("to"), body.take("reaches"));
        let to = to_given.and_then(|n| DeclaredSelector::read(file, n, false, problems));
        let reaches = reaches_given.and_then(|n| DeclaredSelector::read(file, n, false, problems));
        let except_through = named(&mut body, "except_through", problems);
        body.finish(problems);
        let claim = match (always, to_given.is_some(), reaches_given.is_some()) {
            (true, true, false) if except_through.is_empty() => DeclaredClaim::AlwaysCalls { from: from?, to: to? },
            (false, true, false) if except_through.is_empty() => DeclaredClaim::NeverCalls { from: from?, to: to? },
            (false, false, true) => DeclaredClaim::NeverReaches { from: from?, to: reaches?, except_through },
            _ => {
                problems.push(shape(&name));
                return None;
            }
        };
        Some(Self { name, claim, controls })
    }
}

impl DeclaredSelector {
    /// Reads a selector of callers, or of what is called.
    pub(crate) fn read(file: &str, node: &Node, callers: bool, problems: &mut Vec<Diagnostic>) -> Option<Self> {
        let at = Some(node.location(file));
        if !matches!(node.value, Value::Mapping(_)) {
            let texts = crate::yaml::texts(file, node, problems);
            if matches!(&node.value, Value::Sequence(items) if items.is_empty()) {
                problems.push(empty(node.location(file)));
                return None;
            }
            let named = texts.into_iter().map(|t| Named { text: t.text.into(), at: t.location(file) });
            let (identities, services): (Vec<_>, Vec<_>) = named.partition(|n| is_identity(&n.text));
            if let (false, Some(identity)) = (callers, identities.first()) {
                problems.push(not_called(identity));
            }
            return Some(Self { services, identities, at, ..Self::default() });
        }
        let mut fields = Fields::of(file, node, problems)?;
        let methods = fields.some_texts("method", problems);
        let selector = Self {
            services: named(&mut fields, "service", problems),
            zones: named(&mut fields, "zone", problems),
            data: named(&mut fields, "data", problems),
            operations: named(&mut fields, "operation", problems),
            identities: named(&mut fields, "identity", problems),
            methods: methods.iter().filter_map(|text| method(file, *text, problems)).collect(),
            at,
        };
        let at = fields.location();
        let given = ["service", "zone", "data", "operation", "identity", "method"].iter().any(|name| fields.take(name).is_some());
        fields.finish(problems);
        if !given {
            problems.push(empty(at));
            return None;
        }
        // Callers have no operations: the part would be read over, and more be selected than was written.
        let odd = if callers { ["operation", "method"].as_slice() } else { &["identity"] };
        for name in odd.iter().filter(|name| node.get(name).is_some()) {
            let side = if callers {
                "callers, and `operation` and `method` are of what is called"
            } else {
                "what is called, and an `identity` calls"
            };
            problems.push(
                Diagnostic::error("misplaced-selector", format!("`{name}` does not belong here: this selects {side}"))
                    .at(node.location(file))
                    .help(if callers { "put it into `to` or `reaches`" } else { "put it into `from`" }),
            );
        }
        Some(selector)
    }
}

fn is_identity(text: &str) -> bool {
    text.starts_with("spiffe://") || matches!(text, "any-authenticated" | "strangers")
}

fn not_called(identity: &Named) -> Diagnostic {
    Diagnostic::error("misplaced-selector", format!("`{}` is an identity, and this selects what is called", identity.text))
        .at(identity.at.clone())
        .help("name services, groups, or a mapping of `service`, `zone`, `data`, `operation` and `method`")
}

fn empty(at: crate::diagnostic::Location) -> Diagnostic {
    Diagnostic::error("empty-selector", "the selector names nothing")
        .at(at)
        .help("give `service`, `zone`, `data`, `identity`, `operation` or `method`")
}
