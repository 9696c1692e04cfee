//! Lines of a log that are no records: torn, too long, of another form, or contradicting a line read before. What they stood for
//! is unknown.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined, many};

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "rejected_lines", title: "lines that are no records", severity: Weight::Medium, about_evidence: true, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let inputs = examined.verification.inputs.iter().filter(|i| i.rejected > 0);
    inputs
        .map(|input| {
            let first = input.rejected_examples.first();
            let why = first.map(|r| format!("; the first, at line {}: {}", r.line, r.why)).unwrap_or_default();
            Draft {
                subject: input.path.clone(),
                summary: format!(
                    "{} of {} in {} {}{why}",
                    input.rejected,
                    many(input.lines, "line"),
                    input.path,
                    if input.rejected == 1 { "is no record" } else { "are no records" }
                ),
                remedy: "find out what wrote them; the enforcer puts a torn tail aside when it starts".to_owned(),
                count: input.rejected,
                ..Draft::default()
            }
        })
        .collect()
}
