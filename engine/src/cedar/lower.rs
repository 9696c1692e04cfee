//! A YAML permission as the Cedar policy that is its meaning.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::cedar::{ANY_AUTHENTICATED, literal};
use crate::decision::Effect;
use crate::inventory::Inventory;
use crate::model::{AttributeType, Caller, Condition, JwtCondition, Operations, Permission, Service, TimeWindow, Visible};
use crate::request::AttributeValue;

/// The permission in Cedar's own syntax. Its id is the permission's name; no condition of it can err.
pub(crate) fn lower(permission: &Permission, inventory: &Inventory) -> String {
    let effect = if permission.effect == Effect::Allow { "permit" } else { "forbid" };
    let action = match permission.methods.as_deref() {
        None => "action".to_owned(),
        Some(methods) => {
            let list: Vec<String> = methods.iter().map(|m| format!("Action::{}", literal(m.as_str()))).collect();
            format!("action in [{}]", list.join(", "))
        }
    };
    let mut out = format!(
        "@id({})\n{effect}(principal, {action}, resource)\nwhen {{\n  {}\n}}\nwhen {{\n  {}\n}}",
        literal(&permission.name),
        callers(permission),
        targets(permission, inventory)
    );
    let kinds = Kinds::of(permission, inventory);
    for clause in condition(&permission.when, &kinds) {
        let _ = write!(out, "\nwhen {{\n  {clause}\n}}");
    }
    out.push_str(";\n");
    out
}

fn callers(permission: &Permission) -> String {
    let one = |caller: &Caller| match caller {
        Caller::Service(name) => format!("principal in Service::{}", literal(name)),
        Caller::Group(name) => format!("principal in Group::{}", literal(name)),
        Caller::Identity(id) => format!("principal == Workload::{}", literal(id.as_str())),
        Caller::Pattern(pattern) => format!("principal in Pattern::{}", literal(pattern.as_str())),
        Caller::AnyAuthenticated => format!("principal in Group::{}", literal(ANY_AUTHENTICATED)),
    };
    any_of(permission.from.iter().map(one))
}

fn targets(permission: &Permission, inventory: &Inventory) -> String {
    let services = || inventory.services().iter().filter(|s| permission.to.iter().any(|to| *to == s.name || s.groups.contains(to)));
    let within = |service: &Service| format!("resource in Service::{}", literal(&service.name));
    match &permission.operations {
        Operations::AnyPath => any_of(services().map(within)),
        Operations::Declared => {
            any_of(services().map(|s| format!("({} && resource != Operation::{})", within(s), literal(&undeclared(&s.name)))))
        }
        Operations::Listed(ids) => any_of(
            services()
                .flat_map(|s| s.operations.iter().filter(|o| ids.contains(&o.id)).map(move |o| (s, o)))
                .map(|(s, o)| format!("resource == Operation::{}", literal(&operation(&s.name, &o.id)))),
        ),
    }
}

fn any_of(parts: impl Iterator<Item = String>) -> String {
    let parts: Vec<String> = parts.collect();
    if parts.is_empty() { "false".to_owned() } else { parts.join(" ||\n  ") }
}

/// The entity id of a declared operation.
pub(crate) fn operation(service: &str, operation: &str) -> String {
    format!("{service}/{operation}")
}

/// The entity id of a service's undeclared operation. No declared one has it: `*` is not a name.
pub(crate) fn undeclared(service: &str) -> String {
    format!("{service}/*")
}

/// Which attributes a permission compares are lists.
struct Kinds<'a>(Vec<&'a Visible>);

impl<'a> Kinds<'a> {
    fn of(permission: &Permission, inventory: &'a Inventory) -> Self {
        Self(
            inventory
                .services()
                .iter()
                .filter(|s| permission.to.iter().any(|to| *to == s.name || s.groups.contains(to)))
                .map(|s| &s.visible)
                .collect(),
        )
    }

    fn is_list(&self, of: fn(&Visible) -> &BTreeMap<Box<str>, AttributeType>, name: &str) -> bool {
        self.0.iter().any(|v| of(v).get(name) == Some(&AttributeType::List))
    }
}

fn condition(when: &Condition, kinds: &Kinds<'_>) -> Vec<String> {
    let mut out = Vec::new();
    if let Some(jwt) = &when.jwt {
        out.push(jwt_clause(jwt, kinds));
    }
    if !when.source.is_empty() {
        let nets = when.source.iter().map(|net| format!("context.source_ip.isInRange(ip({}))", literal(&net.to_string())));
        out.push(format!("context has source_ip && ({})", any_of(nets)));
    }
    if !when.time.is_empty() {
        out.push(any_of(when.time.iter().map(window)));
    }
    if let Some(from) = when.not_before {
        out.push(format!("context.time >= datetime(\"{from}\")"));
    }
    if let Some(end) = when.expires {
        out.push(format!("context.time < datetime(\"{end}\")"));
    }
    out.extend(when.headers.iter().map(|(name, values)| attribute("context.headers", name, values, kinds.is_list(|v| &v.headers, name))));
    out.extend(when.query.iter().map(|(name, values)| attribute("context.query", name, values, kinds.is_list(|v| &v.query, name))));
    out
}

fn jwt_clause(jwt: &JwtCondition, kinds: &Kinds<'_>) -> String {
    let mut parts = vec!["context has jwt".to_owned()];
    let set = |texts: &[Box<str>]| {
        let items: Vec<String> = texts.iter().map(|t| literal(t)).collect();
        format!("[{}]", items.join(", "))
    };
    if !jwt.issuer.is_empty() {
        parts.push(format!("{}.contains(context.jwt.iss)", set(&jwt.issuer)));
    }
    if !jwt.audience.is_empty() {
        parts.push(format!("context.jwt.aud.containsAny({})", set(&jwt.audience)));
    }
    if !jwt.scopes.is_empty() {
        parts.push(format!("context.jwt.scopes.containsAll({})", set(&jwt.scopes)));
    }
    if !jwt.scopes_any.is_empty() {
        parts.push(format!("context.jwt.scopes.containsAny({})", set(&jwt.scopes_any)));
    }
    parts.extend(jwt.claims.iter().map(|(name, values)| attribute("context.jwt", name, values, kinds.is_list(|v| &v.claims, name))));
    parts.join(" &&\n  ")
}

fn attribute(record: &str, name: &str, values: &[AttributeValue], list: bool) -> String {
    let name = literal(name);
    let items: Vec<String> = values.iter().map(value).collect();
    let items = items.join(", ");
    let test = if list { format!("{record}[{name}].containsAny([{items}])") } else { format!("[{items}].contains({record}[{name}])") };
    format!("{record} has {name} && {test}")
}

fn value(value: &AttributeValue) -> String {
    match value {
        AttributeValue::Text(text) => literal(text),
        AttributeValue::Integer(n) => n.to_string(),
        AttributeValue::Boolean(b) => b.to_string(),
        AttributeValue::List(list) => {
            let items: Vec<String> = list.iter().map(|t| literal(t)).collect();
            format!("[{}]", items.join(", "))
        }
    }
}

fn window(window: &TimeWindow) -> String {
    let from = format!("context.time.toTime() >= duration(\"{}ms\")", window.from_ms);
    let to = format!("context.time.toTime() < duration(\"{}ms\")", window.to_ms);
    let joint = if window.from_ms < window.to_ms { "&&" } else { "||" };
    format!("({from} {joint} {to})")
}
