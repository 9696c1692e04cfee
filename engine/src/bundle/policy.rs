//! Permissions as written.

use ipnet::IpNet;

use crate::bundle::condition::DeclaredCondition;
use crate::bundle::declare::{Named, method, named};
use crate::bundle::govern;
use crate::decision::Effect;
use crate::diagnostic::Diagnostic;
use crate::model::{Governance, Limit, Rate};
use crate::request::Method;
use crate::yaml::{Fields, Node, Text};

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
    pub(crate) dry_run: bool,
    pub(crate) governance: Governance,
}

impl DeclaredPermission {
    pub(crate) fn read(name: Named, fields: &mut Fields<'_>, problems: &mut Vec<Diagnostic>) -> Option<Self> {
        let file = fields.file();
        let when = fields.take("when").and_then(|node| DeclaredCondition::read(file, node, problems)).unwrap_or_default();
        let limit_at = fields.key("limit").map_or_else(|| name.at.clone(), |key| key.location(file));
        let limit = fields.take("limit").and_then(|node| limit(file, node, problems));
        let dry_run = mode(fields, problems);
        let governance = govern::governance(fields, problems);
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
        if limit.is_some() && effect == Effect::Deny {
            problems.push(
                Diagnostic::error("empty-limit", "a prohibition has nothing to limit")
                    .at(limit_at)
                    .help("put the limit on the permission that grants"),
            );
        }
        let mut scope = Fields::of(file, scope, problems)?;
        scope.require("from", problems);
        scope.require("to", problems);
        let from = named(&mut scope, "from", problems);
        let to = named(&mut scope, "to", problems);
        let operations = operations(&mut scope, problems);
        let methods = scope.some_texts("methods", problems);
        let methods = (!methods.is_empty()).then(|| methods.into_iter().filter_map(|m| method(file, m, problems)).collect());
        scope.finish(problems);
        Some(Self { name, effect, from, to, operations, methods, when, limit, dry_run, governance })
    }
}

/// Whether `mode: dry-run` is given.
fn mode(fields: &mut Fields<'_>, problems: &mut Vec<Diagnostic>) -> bool {
    let file = fields.file();
    match fields.text("mode", problems) {
        None => false,
        Some(text) if text.text == "enforce" => false,
        Some(text) => {
            if text.text != "dry-run" {
                problems.push(
                    Diagnostic::error("invalid-value", format!("`{}` is not a mode", text.text))
                        .at(text.location(file))
                        .help("expect `enforce` (which is meant where nothing is said) or `dry-run`"),
                );
            }
            true
        }
    }
}

fn operations(scope: &mut Fields<'_>, problems: &mut Vec<Diagnostic>) -> Vec<Named> {
    let listed = named(scope, "operations", problems);
    if scope.take("operations").is_none() {
        problems.push(
            Diagnostic::error("missing-field", "`operations` is missing")
                .at(scope.location())
                .help("list operation ids, or write `operations: '*'` for every declared one, `any-path` for undeclared ones too"),
        );
    }
    listed
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
    let limit = Limit { rate, burst: count(&mut fields, "burst", problems), concurrency: count(&mut fields, "concurrency", problems) };
    let (at, asked) = (fields.location(), ["rate", "burst", "concurrency"].iter().any(|name| fields.key(name).is_some()));
    let rate_given = fields.key("rate").is_some();
    fields.finish(problems);
    if !asked {
        problems.push(
            Diagnostic::error("empty-limit", "the limit limits nothing").at(at).help("give `rate`, `rate` and `burst`, or `concurrency`"),
        );
    } else if limit.burst.is_some() && !rate_given {
        problems.push(
            Diagnostic::error("empty-limit", "a `burst` is what may come at once above a `rate`, and there is none")
                .at(at)
                .help("give `rate` too, or mean `concurrency`"),
        );
    }
    Some(limit)
}

/// A number of requests; none at all would be a prohibition in disguise.
fn count(fields: &mut Fields<'_>, name: &'static str, problems: &mut Vec<Diagnostic>) -> Option<u32> {
    let file = fields.file();
    let text = fields.text(name, problems)?;
    let number = text.text.parse().ok().filter(|n| *n > 0 && text.text.bytes().all(|b| b.is_ascii_digit()));
    if number.is_none() {
        problems.push(
            Diagnostic::error("invalid-value", format!("`{}` is not a number of requests", text.text))
                .at(text.location(file))
                .help(format!("`{name}` is a whole number from 1 to {}", u32::MAX)),
        );
    }
    number
}

fn rate(text: &str) -> Option<Rate> {
    let (requests, unit) = text.split_once('/')?;
    let period_ms = match unit {
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    let requests: u32 = requests.parse().ok().filter(|_| requests.bytes().all(|b| b.is_ascii_digit()))?;
    (requests > 0).then_some(Rate { requests, period_ms })
}

/// Networks of a condition.
pub(crate) fn networks(file: &str, texts: Vec<Text<'_>>, problems: &mut Vec<Diagnostic>) -> Vec<IpNet> {
    let mut out = Vec::new();
    for text in texts {
        // `010.0.0.0` is 10.0.0.0 to some and 8.0.0.0 to others; the standard reader refuses it.
        let address = text.text.split('/').next().unwrap_or_default().parse::<std::net::IpAddr>();
        let net =
            address.ok().and_then(|address| text.text.parse::<IpNet>().ok().or_else(|| (!text.text.contains('/')).then(|| address.into())));
        match net {
            // Addresses are judged in their plain form, so such a network would never match, and a prohibition never hold.
            Some(IpNet::V6(net)) if net.addr().to_ipv4_mapped().is_some() && net.prefix_len() >= 96 => problems.push(
                Diagnostic::error("invalid-network", format!("`{}` is an IPv4 network in IPv6 clothes", text.text))
                    .at(text.location(file))
                    .help(match (net.addr().to_ipv4_mapped(), net.prefix_len().saturating_sub(96)) {
                        (Some(plain), bits) => format!("write `{plain}/{bits}`"),
                        _ => "write it as an IPv4 network".to_owned(),
                    }),
            ),
            Some(net) if net.trunc() == net => out.push(net),
            Some(net) => problems.push(
                Diagnostic::error("invalid-network", format!("`{}` has bits beyond its prefix", text.text))
                    .at(text.location(file))
                    .help(format!("write `{}`", net.trunc())),
            ),
            None => problems.push(
                Diagnostic::error("invalid-network", format!("`{}` is not a network", text.text))
                    .at(text.location(file))
                    .help("for example `10.0.0.0/8` or `2001:db8::/32`"),
            ),
        }
    }
    out
}
