//! Permissions and invariants as written.

use ipnet::IpNet;

use crate::bundle::condition::DeclaredCondition;
use crate::bundle::declare::{Named, method, named};
use crate::decision::Effect;
use crate::diagnostic::Diagnostic;
use crate::model::{Governance, Limit, Rate};
use crate::request::Method;
use crate::yaml::{Fields, Node, Text, Value};

/// A permission before its names are resolved.
#[derive(Debug)]
pub(crate) struct DeclaredPermission {
    pub(crate) name: Named,
    pub(crate) effect: Effect,
    pub(crate) from: Vec<Named>,
    pub(crate) to: Vec<Named>,
    pub(crate) operations: Vec<Named>,
    pub(crate) methods: Option<Vec<Method>>,
    pub(crate) when: DeclaredCondition,
    pub(crate) limit: Option<Limit>,
    pub(crate) governance: Governance,
}

impl DeclaredPermission {
    pub(crate) fn read(name: Named, fields: &mut Fields<'_>, problems: &mut Vec<Diagnostic>) -> Option<Self> {
        let file = fields.file();
        let when = fields.take("when").and_then(|node| DeclaredCondition::read(file, node, problems)).unwrap_or_default();
        let limit = fields.take("limit").and_then(|node| limit(file, node, problems));
        let governance = governance(fields, problems);
        let (effect, scope) = match (fields.take("allow"), fields.take("deny")) {
            (Some(allow), None) => (Effect::Allow, allow),
            (None, Some(deny)) => (Effect::Deny, deny),
            _ => {
                problems.push(
                    Diagnostic::error("permission-shape", format!("permission `{}` needs either `allow` or `deny`", name.text))
                        .at(name.at)
                        .help("for example `allow: {from: [invoices], to: items, operations: [read-item]}`"),
                );
                return None;
            }
        };
        let mut scope = Fields::of(file, scope, problems)?;
        scope.require("from", problems);
        scope.require("to", problems);
        let from = named(&mut scope, "from", problems);
        let to = named(&mut scope, "to", problems);
        let operations = operations(&mut scope, problems);
        let methods = scope.texts("methods", problems);
        let methods = (!methods.is_empty()).then(|| methods.into_iter().filter_map(|m| method(file, m, problems)).collect());
        scope.finish(problems);
        Some(Self { name, effect, from, to, operations, methods, when, limit, governance })
    }
}

fn operations(scope: &mut Fields<'_>, problems: &mut Vec<Diagnostic>) -> Vec<Named> {
    let listed = named(scope, "operations", problems);
    if listed.is_empty() {
        problems.push(
            Diagnostic::error("missing-field", "`operations` is missing")
                .at(scope.location())
                .help("list operation ids, or write `operations: '*'` for every declared one, `any-path` for undeclared ones too"),
        );
    }
    listed
}

fn governance(fields: &mut Fields<'_>, problems: &mut Vec<Diagnostic>) -> Governance {
    let own = |text: Option<Text<'_>>| text.map(|t| t.text.to_owned());
    Governance {
        justification: own(fields.text("justification", problems)),
        owner: own(fields.text("owner", problems)),
        approved_by: fields.texts("approved_by", problems).into_iter().map(|t| t.text.to_owned()).collect(),
        ticket: own(fields.text("ticket", problems)),
        review_by: fields.parse("review_by", problems),
    }
}

fn limit(file: &str, node: &Node, problems: &mut Vec<Diagnostic>) -> Option<Limit> {
    let mut fields = Fields::of(file, node, problems)?;
    let rate = fields.text("rate", problems).and_then(|text| match rate(text.text) {
        Some(rate) => Some(rate),
        None => {
            problems.push(
                Diagnostic::error("invalid-value", format!("`{}` is not a rate", text.text))
                    .at(text.location(file))
                    .help("for example `200/s`, `1000/m` or `50/h`"),
            );
            None
        }
    });
    let limit = Limit { rate, burst: fields.parse("burst", problems), concurrency: fields.parse("concurrency", problems) };
    fields.finish(problems);
    Some(limit)
}

fn rate(text: &str) -> Option<Rate> {
    let (requests, unit) = text.split_once('/')?;
    let period_ms = match unit {
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    let requests: u32 = requests.parse().ok()?;
    (requests > 0).then_some(Rate { requests, period_ms })
}

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
        let from = body.require("from", problems).and_then(|n| DeclaredSelector::read(file, n, problems));
        let to = body.take("to").and_then(|n| DeclaredSelector::read(file, n, problems));
        let reaches = body.take("reaches").and_then(|n| DeclaredSelector::read(file, n, problems));
        let except_through = named(&mut body, "except_through", problems);
        body.finish(problems);
        let claim = match (always, from?, to, reaches) {
            (true, from, Some(to), None) if except_through.is_empty() => DeclaredClaim::AlwaysCalls { from, to },
            (false, from, Some(to), None) if except_through.is_empty() => DeclaredClaim::NeverCalls { from, to },
            (false, from, None, Some(to)) => DeclaredClaim::NeverReaches { from, to, except_through },
            _ => {
                problems.push(shape(&name));
                return None;
            }
        };
        Some(Self { name, claim, controls })
    }
}

impl DeclaredSelector {
    fn read(file: &str, node: &Node, problems: &mut Vec<Diagnostic>) -> Option<Self> {
        if !matches!(node.value, Value::Mapping(_)) {
            let services =
                crate::yaml::texts(file, node, problems).into_iter().map(|t| Named { text: t.text.into(), at: t.location(file) }).collect();
            return Some(Self { services, ..Self::default() });
        }
        let mut fields = Fields::of(file, node, problems)?;
        let selector = Self {
            services: named(&mut fields, "service", problems),
            zones: named(&mut fields, "zone", problems),
            data: named(&mut fields, "data", problems),
            operations: named(&mut fields, "operation", problems),
        };
        let at = fields.location();
        fields.finish(problems);
        if selector.services.is_empty() && selector.zones.is_empty() && selector.data.is_empty() && selector.operations.is_empty() {
            problems.push(
                Diagnostic::error("empty-selector", "the selector names nothing")
                    .at(at)
                    .help("give `service`, `zone`, `data` or `operation`"),
            );
            return None;
        }
        Some(selector)
    }
}

/// Networks of a condition.
pub(crate) fn networks(file: &str, texts: Vec<Text<'_>>, problems: &mut Vec<Diagnostic>) -> Vec<IpNet> {
    let mut out = Vec::new();
    for text in texts {
        let net = text.text.parse::<IpNet>().or_else(|_| text.text.parse::<std::net::IpAddr>().map(IpNet::from));
        match net {
            Ok(net) if net.trunc() == net => out.push(net),
            Ok(net) => problems.push(
                Diagnostic::error("invalid-network", format!("`{}` has bits beyond its prefix", text.text))
                    .at(text.location(file))
                    .help(format!("write `{}`", net.trunc())),
            ),
            Err(_) => problems.push(
                Diagnostic::error("invalid-network", format!("`{}` is not a network", text.text))
                    .at(text.location(file))
                    .help("for example `10.0.0.0/8` or `2001:db8::/32`"),
            ),
        }
    }
    out
}
