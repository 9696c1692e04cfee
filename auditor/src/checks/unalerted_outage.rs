//! Times in which an enforcer was silent, lost records, ran in dry-run or under old policies, and of which no alert is on record within a day.
//! Without a governance folder nobody can say, and the finding is in doubt.

use std::collections::BTreeMap;

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined, few, many};
use crate::governance::Alert;
use crate::limits::ALERT_MS_MAX;

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "unalerted_outage", title: "outages that nobody was told of", severity: Weight::Medium, about_evidence: true, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let given = examined.governance.is_given();
    let mut out: BTreeMap<String, Draft> = BTreeMap::new();
    for (chain, outage) in examined.outages() {
        let service = examined.service_of(chain).map(|s| &*s.name);
        let told = |a: &Alert| {
            Some(a.service.as_str()) == service
                && a.from <= outage.to
                && a.to >= outage.from
                && a.raised.unix_ms() <= outage.to.unix_ms() + ALERT_MS_MAX
        };
        if examined.governance.alerts.iter().any(told) {
            continue;
        }
        let name = examined.process_name(chain);
        let draft = out.entry(name.clone()).or_insert_with(|| Draft {
            summary: format!("{name} was {} from {} to {}, and no alert within a day is on record", outage.what, outage.from, outage.to),
            subject: name,
            remedy: "raise an alert on it, and record it as an `Alert`".to_owned(),
            suspect: !given,
            ..Draft::default()
        });
        draft.count += 1;
        draft.evidence.extend(few(outage.evidence.clone()));
    }
    out.into_values()
        .map(|mut draft| {
            if draft.count > 1 {
                draft.summary = format!("{}; {}", draft.summary, many(draft.count - 1, "more such time"));
            }
            draft.evidence = few(draft.evidence);
            draft
        })
        .collect()
}
