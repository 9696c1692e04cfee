//! Times in which an enforcer failed as a control, and of which no closed incident is on record. Without a governance folder nobody can say,
//! and the finding is in doubt.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined};
use crate::governance::Incident;
use crate::outages::Outage;

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "unanswered_outage", title: "outages that nobody dealt with", severity: Weight::Medium, about_evidence: true, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let closed = |service: &str, outage: &Outage, i: &Incident| {
        i.service == service && i.from <= outage.to && i.to >= outage.from && i.closed.is_some_and(|day| day >= outage.from.date())
    };
    let on_record = |service: &str, outage: &Outage| examined.governance.incidents.iter().any(|i| closed(service, outage, i));
    examined.outages_without(on_record, "closed incident", "restore it, find the cause, and record it as an `Incident`")
}
