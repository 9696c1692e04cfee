//! Grants without a scope: identities outside the inventory, or paths that nobody declared, are allowed. A partner that a YAML
//! permission names is not among them; a wildcard over paths is, because what it grants was never listed.

use std::collections::{BTreeMap, BTreeSet};

use portreeve_engine::{Language, PolicyRef};

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined, list, many};

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "default_deny_hole", title: "grants to anyone or to any path", severity: Weight::High, about_evidence: false, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let is_named = |id: &str| examined.newest.policies().iter().any(|p| *p.reference.id == *id && p.language == Language::Yaml);
    let mut holes: BTreeMap<&str, (BTreeSet<String>, &PolicyRef, bool)> = BTreeMap::new();
    for edge in &examined.granted.edges {
        let is_stranger = edge.from.is_none();
        if !is_stranger && edge.operation.is_some() {
            continue;
        }
        for policy in edge.policies.iter().filter(|p| edge.operation.is_none() || !is_named(&p.id)) {
            let from = edge.from.map_or("identities outside the inventory", |s| &*s.name);
            let operation = edge.operation.map_or("undeclared paths", |o| &*o.id);
            let hole = holes.entry(&policy.id).or_insert((BTreeSet::new(), policy, false));
            hole.0.insert(format!("{from} → {} {operation}", edge.to.name));
            hole.2 |= is_stranger;
        }
    }
    holes
        .into_iter()
        .map(|(id, (what, policy, is_stranger))| Draft {
            subject: id.to_owned(),
            summary: format!(
                "`{id}` grants {} without a closed scope: {}",
                many(what.len() as u64, "edge"),
                list(what.iter().map(String::as_str))
            ),
            remedy: "name the callers and list the operations".to_owned(),
            at: Some(policy.at.short()),
            severity: (!is_stranger).then_some(Weight::Medium),
            ..Draft::default()
        })
        .collect()
}
