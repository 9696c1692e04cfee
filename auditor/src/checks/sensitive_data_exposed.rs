//! Grants and requests that lead from the untrusted zone, or from strangers, straight to an operation on sensitive data. Where a
//! permission names the stranger, it is a partner whose zone the inventory does not tell, and the finding is in doubt.

use std::collections::BTreeMap;

use portreeve_engine::decision::Effect;
use portreeve_engine::{AllowedEdge, Language};

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined, caller, list, many};

/// See the file's own text.
pub(super) const CHECK: Check = Check {
    id: "sensitive_data_exposed",
    title: "sensitive data one step from the untrusted zone",
    severity: Weight::High,
    about_evidence: false,
    find,
};

/// Callers that have no name: said in words, not quoted.
const OUTSIDE: &str = "identities outside the inventory";
const UNIDENTIFIED: &str = "callers that no line identifies";

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let is_yaml = |id: &str| examined.newest.policies().iter().any(|p| *p.reference.id == *id && p.language == Language::Yaml);
    let is_partner = |edge: &AllowedEdge<'_>| edge.from.is_none() && edge.policies.iter().all(|p| is_yaml(&p.id));
    let mut out: BTreeMap<String, Draft> = BTreeMap::new();
    for edge in examined.granted.exposed() {
        let from = edge.from.map_or(OUTSIDE, |s| &*s.name);
        let operation = edge.operation.map_or("undeclared paths", |o| &*o.id);
        let policies = list(edge.policies.iter().map(|p| &*p.id));
        let subject = format!("{from} → {} {operation}", edge.to.name);
        let draft = Draft {
            summary: format!(
                "{} may call `{}` (`{operation}`), which touches sensitive data, directly by {policies}",
                named(from),
                edge.to.name
            ),
            subject: subject.clone(),
            remedy: "let a service between them do it, and keep that path in an invariant".to_owned(),
            at: edge.policies.first().map(|p| p.at.short()),
            by_policy: true,
            severity: is_partner(edge).then_some(Weight::Medium),
            suspect: is_partner(edge),
            ..Draft::default()
        };
        out.insert(subject, draft);
    }
    let observed = examined.group(|key| {
        let from = key.from.as_deref().map(|name| examined.newest.service(name));
        let is_outside = from.is_none_or(|service| service.is_some_and(|s| examined.scope().is_untrusted(s)));
        let to = examined.newest.service(&key.to)?;
        let operation = key.operation.as_deref().and_then(|id| to.operations.iter().find(|o| *o.id == *id));
        let is_sensitive = examined.scope().touches(to, operation);
        let name = key.operation.as_deref().unwrap_or("undeclared paths");
        let label = match (&key.from, &key.from_id) {
            (Some(_), _) => caller(key),
            (None, Some(_)) => OUTSIDE.to_owned(),
            (None, None) => UNIDENTIFIED.to_owned(),
        };
        (key.effect == Effect::Allow && is_outside && is_sensitive).then_some((label, key.to.as_str(), name))
    });
    for ((from, to, operation), tally) in observed {
        let subject = format!("{from} → {to} {operation}");
        let draft = out.entry(subject.clone()).or_insert_with(|| Draft {
            subject,
            summary: format!("{} called `{to}` (`{operation}`), which touches sensitive data, directly", named(&from)),
            remedy: "let a service between them do it, and keep that path in an invariant".to_owned(),
            ..Draft::default()
        });
        draft.summary = format!("{}; {}", draft.summary, many(tally.count, "allowed request"));
        (draft.evidence, draft.count) = (tally.evidence.into_vec(), tally.count);
    }
    out.into_values().collect()
}

fn named(from: &str) -> String {
    if [OUTSIDE, UNIDENTIFIED].contains(&from) { from.to_owned() } else { format!("`{from}`") }
}
