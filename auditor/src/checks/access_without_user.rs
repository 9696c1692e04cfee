//! Allowed requests to operations on sensitive data whose record names no user. Some are made by services for themselves; which
//! ones, only a person can say.

use portreeve_engine::decision::Effect;

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined, caller, many};
use crate::ledger::User;

/// See the file's own text.
pub(super) const CHECK: Check = Check {
    id: "access_without_user",
    title: "sensitive data read for nobody in particular",
    severity: Weight::Low,
    about_evidence: false,
    find,
};

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let anonymous = examined.group(|key| {
        let to = examined.newest.service(&key.to)?;
        let operation = key.operation.as_deref().and_then(|id| to.operations.iter().find(|o| *o.id == *id));
        let is_anonymous = !matches!(key.user, User::Named | User::Unknown);
        let is_one = key.effect == Effect::Allow && is_anonymous && examined.scope().touches(to, operation);
        is_one.then(|| (caller(key), key.to.as_str(), key.operation.as_deref().unwrap_or("undeclared paths")))
    });
    anonymous
        .into_iter()
        .map(|((from, to, operation), tally)| Draft {
            subject: format!("{from} → {to} {operation}"),
            summary: format!("{} from `{from}` to `{to}` (`{operation}`) name no user", many(tally.count, "allowed request")),
            remedy: "ask for a user token there, or say that the service acts for itself".to_owned(),
            evidence: tally.evidence.into_vec(),
            count: tally.count,
            suspect: true,
            ..Draft::default()
        })
        .collect()
}
