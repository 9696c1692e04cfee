//! Separation of environments and tenants, and the dates of reviews and exceptions.

use std::collections::{BTreeMap, BTreeSet};

use portreeve_engine::decision::Effect;
use portreeve_engine::model::Service;

use crate::assessment::Weight;
use crate::assessment::analyses::Part;
use crate::assessment::usage::{Crossing, DueStanding, ReviewDate};
use crate::examined::{Draft, Examined, list, many};
use crate::governance::{Scope, Until};
use crate::graph::map::Map;
use crate::limits::{ANALYSIS_ENTRIES_MAX, DUE_SOON_DAYS, EVIDENCE_MAX, GRAPH_EXAMPLES_MAX, PREPRODUCTION_ZONES};

/// What must be kept apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Environment,
    Tenant,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Environment => "environment",
            Self::Tenant => "tenant",
        }
    }

    /// To which one a service belongs. `None`: it is shared, or nobody said.
    fn of<'s>(self, scope: &'s Scope, service: &'s Service, has_preproduction: bool) -> Option<&'s str> {
        let label = |names: &[&str]| names.iter().find_map(|name| service.labels.get(*name)).map(String::as_str);
        match self {
            Self::Tenant => scope.tenant(service).map(|t| &*t.name).or_else(|| label(&["tenant"])),
            Self::Environment if !scope.environments.is_empty() => scope.environment(service).map(|e| &*e.name),
            Self::Environment => label(&ENVIRONMENT_LABELS).or_else(|| {
                let zone = service.zone.as_deref()?;
                if PREPRODUCTION_ZONES.contains(&zone) { Some(zone) } else { has_preproduction.then_some("production") }
            }),
        }
    }
}

/// What crosses from one environment, or one tenant, into another.
fn crossings(examined: &Examined<'_>, kind: Kind) -> Vec<Crossing> {
    let services = examined.newest.services();
    let has_preproduction = services.iter().any(|s| s.zone.as_deref().is_some_and(|zone| PREPRODUCTION_ZONES.contains(&zone)));
    let side = |service: &'_ Service| kind.of(examined.scope(), service, has_preproduction).map(str::to_owned);
    let pair = |from: Option<&Service>, to: Option<&Service>| {
        let ends = side(from?)?;
        let other = side(to?)?;
        (ends != other).then_some((ends, other))
    };
    let is_labelled = examined.scope().environments.is_empty()
        && services.iter().any(|s| ENVIRONMENT_LABELS.iter().any(|label| s.labels.contains_key(*label)));
    let mut found: BTreeMap<(String, String), (Crossing, BTreeSet<String>)> = BTreeMap::new();
    for edge in &examined.granted.edges {
        if let Some(ends) = pair(edge.from, Some(edge.to)) {
            let (crossing, examples) = found.entry(ends).or_default();
            crossing.granted += 1;
            let from = edge.from.map_or("", |s| &*s.name);
            examples.insert(format!("{from} → {} {}", edge.to.name, edge.operation.map_or("undeclared paths", |o| &*o.id)));
        }
    }
    for (key, tally) in &examined.fold.ledger.decided {
        let from = key.from.as_deref().and_then(|name| examined.newest.service(name));
        if let Some(ends) = pair(from, examined.newest.service(&key.to)) {
            let (crossing, examples) = found.entry(ends).or_default();
            *(if key.effect == Effect::Allow { &mut crossing.allowed } else { &mut crossing.denied }) += tally.count;
            crossing.evidence.extend(tally.evidence.iter().cloned());
            crossing.evidence.sort();
            crossing.evidence.truncate(EVIDENCE_MAX);
            let operation = key.operation.as_deref().unwrap_or("undeclared paths");
            examples.insert(format!("{} → {} {operation}", key.from.as_deref().unwrap_or_default(), key.to));
        }
    }
    let named = |((from, to), (crossing, examples)): ((String, String), (Crossing, BTreeSet<String>))| Crossing {
        kind: kind.as_str().to_owned(),
        is_told_by_edge: kind == Kind::Environment
            && !is_labelled
            && is_before_production(examined.scope(), &from)
            && !is_before_production(examined.scope(), &to),
        from,
        to,
        examples: examples.into_iter().take(GRAPH_EXAMPLES_MAX).collect(),
        ..crossing
    };
    found.into_iter().map(named).collect()
}

/// What a check finds of them. Attempts that no grant allows and that were all denied are no crossing: the gate did its work, and
/// `analyses.separation` counts them. What is told edge by edge is not told again.
pub(crate) fn drafts(examined: &Examined<'_>, kind: Kind, remedy: &str) -> Vec<Draft> {
    let is_open = |c: &Crossing| !c.is_told_by_edge && (c.granted > 0 || c.allowed > 0);
    let draft = |c: Crossing| Draft {
        subject: format!("{} → {}", c.from, c.to),
        summary: format!(
            "{} lead from {} `{}` to `{}`, and {} took such a way, {} of them denied: {}",
            many(c.granted, "grant"),
            c.kind,
            c.from,
            c.to,
            many(c.allowed + c.denied, "request"),
            c.denied,
            list(c.examples.iter().map(String::as_str))
        ),
        remedy: remedy.to_owned(),
        count: c.allowed + c.denied,
        evidence: c.evidence,
        severity: (c.allowed > 0).then_some(Weight::High),
        by_policy: c.granted > 0,
        ..Draft::default()
    };
    crossings(examined, kind).into_iter().filter(is_open).map(draft).collect()
}

/// Whether an environment of this name comes before production.
fn is_before_production(scope: &Scope, name: &str) -> bool {
    match scope.environments.is_empty() {
        true => PREPRODUCTION_ZONES.contains(&name),
        false => scope.environments.iter().any(|e| e.name == name && !e.production),
    }
}

/// Both kinds as an analysis.
pub(crate) fn separation(map: &Map<'_, '_>, window: &str) -> Part<Crossing> {
    let mut entries = crossings(map.examined, Kind::Environment);
    entries.extend(crossings(map.examined, Kind::Tenant));
    let granted: u64 = entries.iter().map(|e| e.granted).sum();
    Part {
        what: "granted edges that lead from one environment into another, or from one tenant to another".to_owned(),
        have: granted,
        of: map.examined.granted.edges.len() as u64,
        rests_on: format!(
            "The environments and tenants of the scope; where it has none, the labels `environment` (or `env`) and `tenant` of the inventory; without the former, zones {} are environments of their own. \
             Requests are those of {window}. A service that says nothing is on no side.",
            PREPRODUCTION_ZONES.join(", ")
        ),
        ..Part::default()
    }
    .listing(entries, ANALYSIS_ENTRIES_MAX)
}

/// The dates of reviews and exceptions, the earliest first.
pub(crate) fn reviews(examined: &Examined<'_>) -> Part<ReviewDate> {
    let now = examined.now.map(|now| now.date());
    let standing = |due: Option<portreeve_engine::time::Date>| {
        let left = due.zip(now).map(|(due, now)| due.days() - now.days());
        let standing = match (due, left) {
            (None, _) => DueStanding::Unset,
            (Some(_), Some(..0)) => DueStanding::Overdue,
            (Some(_), Some(left)) if left <= DUE_SOON_DAYS => DueStanding::Soon,
            (Some(_), _) => DueStanding::Ahead,
        };
        (standing, left)
    };
    let mut entries = Vec::new();
    for policy in examined.grants() {
        let due = policy.governance.review_by;
        let (standing, days_left) = standing(due);
        entries.push(ReviewDate {
            kind: "grant".to_owned(),
            subject: policy.reference.id.to_string(),
            at: policy.reference.at.short(),
            owner: policy.governance.owner.clone(),
            due,
            standing,
            days_left,
        });
    }
    for exception in examined.newest.exceptions() {
        let (standing, days_left) = standing(Some(exception.expires));
        entries.push(ReviewDate {
            kind: "exception".to_owned(),
            subject: exception.name.to_string(),
            at: exception.at.short(),
            owner: (!exception.approved_by.is_empty()).then(|| exception.approved_by.join(", ")),
            due: Some(exception.expires),
            standing,
            days_left,
        });
    }
    for exception in &examined.governance.exceptions {
        // What is no day has expired.
        let due = if let Until::Day(day) = &exception.until { Some(*day) } else { None };
        let (standing, days_left) = if due.is_some() { standing(due) } else { (DueStanding::Overdue, None) };
        entries.push(ReviewDate {
            kind: "exception".to_owned(),
            subject: exception.name.clone(),
            at: exception.at.short(),
            owner: (!exception.approved_by.is_empty()).then(|| exception.approved_by.join(", ")),
            due,
            standing,
            days_left,
        });
    }
    entries.sort_by(|a, b| (a.standing, a.due, &a.subject).cmp(&(b.standing, b.due, &b.subject)));
    Part {
        what: "reviews and exceptions whose day is past".to_owned(),
        have: entries.iter().filter(|e| e.standing == DueStanding::Overdue).count() as u64,
        of: entries.len() as u64,
        rests_on: "`review_by` of grants and the days of exceptions, of the newest bundle and of the governance folder, against the last record, which stands for now."
            .to_owned(),
        ..Part::default()
    }
    .listing(entries, ANALYSIS_ENTRIES_MAX)
}

/// Labels that name an environment; the first that a service has counts.
const ENVIRONMENT_LABELS: [&str; 2] = ["environment", "env"];
