//! A group that no permission, no invariant, no Cedar policy and no group in use names. It grants nothing; perhaps a policy
//! that was to name it names something else.
//!
//! Rego does not see groups. Where a Cedar policy cannot be looked into, nothing is said.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::authorizer::Authorizer;
use crate::diagnostic::Diagnostic;
use crate::invariant::selectors;
use crate::lint::{Findings, Lint, Linted};
use crate::model::Caller;

pub(super) const LINT: Lint = Lint { code: "unused-group", find, dated: false };

fn find(linted: &Linted<'_>, out: &mut Findings) {
    let authorizer = linted.authorizer;
    let Some(mut used) = named(authorizer) else { return };
    let groups = authorizer.inventory.groups();
    // A group within a group in use is in use; they nest to a bound, so this ends.
    loop {
        let more: Vec<Box<str>> = groups
            .iter()
            .filter(|g| used.contains(&g.name))
            .flat_map(|g| &g.members)
            .filter(|member| !used.contains(*member))
            .cloned()
            .collect();
        if more.is_empty() {
            break;
        }
        used.extend(more);
    }
    for group in groups.iter().filter(|g| !used.contains(&g.name)) {
        out.add(
            &group.name,
            Diagnostic::warning("unused-group", format!("no policy and no invariant names the group `{}`", group.name))
                .at(group.at.clone())
                .help("name it where its members are meant, or take it out"),
        );
    }
}

/// Every name that stands where a group may. `None` where that cannot be told.
fn named(authorizer: &Authorizer) -> Option<BTreeSet<Box<str>>> {
    let mut out = BTreeSet::new();
    for permission in authorizer.permissions.iter().chain(&authorizer.dry_run.permissions) {
        out.extend(permission.to.iter().cloned());
        out.extend(permission.from.iter().filter_map(|caller| match caller {
            Caller::Group(name) => Some(name.clone()),
            _ => None,
        }));
    }
    for selector in selectors(&authorizer.invariants, &authorizer.exceptions) {
        out.extend(selector.services.iter().cloned());
    }
    for policy in authorizer.cedar.iter().flat_map(|c| c.policies()) {
        entities(&policy.to_json().ok()?, &mut out);
    }
    Some(out)
}

/// The ids of all groups that a policy names, in its scope or its conditions.
fn entities(policy: &Value, out: &mut BTreeSet<Box<str>>) {
    match policy {
        Value::Array(items) => items.iter().for_each(|item| entities(item, out)),
        Value::Object(fields) => {
            if let (Some("Group"), Some(id)) = (fields.get("type").and_then(Value::as_str), fields.get("id").and_then(Value::as_str)) {
                out.insert(id.into());
            }
            fields.values().for_each(|value| entities(value, out));
        }
        _ => {}
    }
}
