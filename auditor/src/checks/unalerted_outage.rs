//! Times in which an enforcer was silent, lost records, ran in dry-run or under old policies, and of which no alert is on record within a day.
//! Without a governance folder nobody can say, and the finding is in doubt.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined};
use crate::governance::Alert;
use crate::limits::{ALERT_MS_MAX, CLOCK_SKEW_MS};
use crate::outages::Outage;

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "unalerted_outage", title: "outages that nobody was told of", severity: Weight::Medium, about_evidence: true, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let told = |service: &str, outage: &Outage, a: &Alert| {
        // An alert of before it is one of something else.
        let is_in_time =
            a.raised.unix_ms() >= outage.from.unix_ms() - CLOCK_SKEW_MS && a.raised.unix_ms() <= outage.to.unix_ms() + ALERT_MS_MAX;
        a.service == service && a.from <= outage.to && a.to >= outage.from && is_in_time
    };
    let on_record = |service: &str, outage: &Outage| examined.governance.alerts.iter().any(|a| told(service, outage, a));
    examined.outages_without(on_record, "alert within a day", "raise an alert on it, and record it as an `Alert`")
}
