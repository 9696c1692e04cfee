//! Decisions that the bundle of their revision answers differently: the enforcer did not apply the law it names, or the record
//! was changed. Each group of like differences is one finding. Refutes every statement that rests on enforcement.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined, list, many};

/// See the file's own text.
pub(super) const CHECK: Check = Check {
    id: "enforcement_mismatch",
    title: "decisions that replay answers differently",
    severity: Weight::High,
    about_evidence: true,
    find,
};

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let groups = &examined.fold.mismatches;
    groups
        .iter()
        .map(|(key, tally)| {
            let what: Vec<String> =
                key.differences.iter().map(|d| format!("{} `{}` instead of `{}`", d.what, d.recorded, d.replayed)).collect();
            let operation = key.operation.as_deref().unwrap_or("undeclared paths");
            let kinds = list(key.differences.iter().map(|d| d.what));
            Draft {
                subject: format!("{} → {} {operation}: {}", key.from, key.to, what.join("; ")),
                summary: format!(
                    "{} from `{}` to `{}` (`{operation}`) say {}",
                    many(tally.count, "record"),
                    key.from,
                    key.to,
                    what.join("; ")
                ),
                remedy: format!("find out which it was: a changed log, a wrong bundle, or an enforcer that errs (differs in: {kinds})"),
                evidence: tally.evidence.to_vec(),
                count: tally.count,
                ..Draft::default()
            }
        })
        .collect()
}
