//! The Cedar schema of a bundle, generated from its inventory.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::cedar::literal;
use crate::inventory::Inventory;
use crate::model::{AttributeType, Endpoint, Service};
use crate::request::METHODS;

/// The actions of a bundle: the standard methods and those its operations name, with the group each is in.
pub(crate) fn actions(inventory: &Inventory) -> BTreeMap<String, Option<&'static str>> {
    let mut out: BTreeMap<String, Option<&'static str>> = METHODS.iter().map(|m| ((*m).to_owned(), action_group(m))).collect();
    for operation in inventory.services().iter().flat_map(|s| &s.operations) {
        if let Endpoint::Http { methods, .. } = &operation.endpoint {
            out.extend(methods.iter().map(|m| (m.as_str().to_owned(), action_group(m.as_str()))));
        }
    }
    out.insert("connect".to_owned(), None);
    out
}

/// The group of a method: safe methods (RFC 9110 §9.2.1) read, the others write.
pub(crate) fn action_group(method: &str) -> Option<&'static str> {
    match method {
        "GET" | "HEAD" | "OPTIONS" | "TRACE" => Some("read"),
        "POST" | "PUT" | "PATCH" | "DELETE" => Some("write"),
        _ => None,
    }
}

/// The schema in Cedar's own syntax.
pub(crate) fn text(inventory: &Inventory) -> String {
    let labels: BTreeSet<&str> = inventory.services().iter().flat_map(|s| s.labels.keys().map(String::as_str)).collect();
    let labels = labels.iter().fold(String::new(), |mut out, label| {
        let _ = write!(out, "{}?: String, ", literal(label));
        out
    });
    let mut out = String::new();
    let _ = writeln!(out, "// Generated from the inventory; do not edit.");
    let _ = writeln!(out, "entity Group in [Group];");
    let _ = writeln!(out, "entity Pattern;");
    let _ = writeln!(out, "entity Service in [Group] = {{ zone?: String, owner?: String, data: Set<String>, labels: {{ {labels}}} }};");
    let _ = writeln!(out, "entity Workload in [Service, Pattern];");
    let _ = writeln!(out, "entity Operation in [Service] = {{ data: Set<String> }};");
    let _ = writeln!(
        out,
        "type Claims = {{ iss: String, sub: String, aud: Set<String>, scope?: String, scopes: Set<String>, {}}};",
        attributes(inventory, |s| &s.visible.claims)
    );
    let _ = writeln!(out, "type RequestContext = {{");
    let _ = writeln!(out, "    time: __cedar::datetime, source_ip?: __cedar::ipaddr,");
    let _ = writeln!(out, "    headers: {{ {}}},", attributes(inventory, |s| &s.visible.headers));
    let _ = writeln!(out, "    query: {{ {}}},", attributes(inventory, |s| &s.visible.query));
    let _ = writeln!(out, "    jwt?: Claims,");
    let _ = writeln!(out, "}};");
    let _ = writeln!(out, "action \"read\", \"write\";");
    for (action, group) in actions(inventory) {
        let member = group.map(|g| format!(" in [\"{g}\"]")).unwrap_or_default();
        let _ = writeln!(
            out,
            "action {}{member} appliesTo {{ principal: [Workload], resource: [Operation], context: RequestContext }};",
            literal(&action)
        );
    }
    out
}

fn attributes(inventory: &Inventory, of: fn(&Service) -> &BTreeMap<Box<str>, AttributeType>) -> String {
    // One name has one type in the whole bundle (checked when the inventory is built).
    let all: BTreeMap<&str, AttributeType> = inventory.services().iter().flat_map(|s| of(s).iter().map(|(n, k)| (&**n, *k))).collect();
    all.iter().fold(String::new(), |mut out, (name, kind)| {
        let kind = match kind {
            AttributeType::Text => "String",
            AttributeType::Integer => "Long",
            AttributeType::Boolean => "Bool",
            AttributeType::List => "Set<String>",
        };
        let _ = write!(out, "{}?: {kind}, ", literal(name));
        out
    })
}
