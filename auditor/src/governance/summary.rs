//! What people declared, put into the assessment. It judges nothing that a check or a control has not judged.

use std::collections::BTreeSet;

use portreeve_engine::Digest;
use portreeve_engine::time::Date;

use super::{Class, Exception, Governance, Scope};
use crate::assessment::{
    AttestationSummary, ConfigSummary, EnvironmentSummary, ExceptionSummary, FileSummary, Finding, GovernanceSummary, NetworkSummary,
    NotApplicableSummary, ReviewSummary, ScopeSummary, ServiceClass,
};
use crate::commits;
use crate::examined::Examined;
use crate::settings::EnforcerConfig;

/// The summary. `findings` are all there are.
pub(crate) fn summary(examined: &Examined<'_>, findings: &[Finding]) -> GovernanceSummary {
    let governance = examined.governance;
    let today = examined.now.map(|now| now.date());
    let days = governance.runs.iter().map(|r| r.of).collect::<BTreeSet<Date>>();
    GovernanceSummary {
        files: governance.files.iter().map(|(path, sha256)| FileSummary { path: path.clone(), sha256: *sha256 }).collect(),
        scope: governance.scope.name.as_ref().map(|name| scope(examined, &governance.scope, name)),
        reviews: reviews(governance, *examined.newest.revision(), today),
        attestations: attestations(governance, today),
        exceptions: exceptions(&examined.exceptions, findings, today),
        audit_runs: days.len() as u64,
        alerts: governance.alerts.len() as u64,
        incidents: governance.incidents.len() as u64,
        dispositions: governance.dispositions.len() as u64,
        configs: examined.configs.iter().map(|c| config(examined, c)).collect(),
        history: commits::summary(examined.commits, examined.fold),
    }
}

fn config(examined: &Examined<'_>, config: &EnforcerConfig) -> ConfigSummary {
    let ran = examined.fold.processes.iter().filter(|(_, p)| p.config == Some(config.sha256));
    ConfigSummary {
        path: config.path.clone(),
        sha256: config.sha256,
        service: config.service.clone(),
        ran: ran.map(|(chain, _)| examined.process_name(*chain)).collect(),
        settings: config.settings.clone(),
    }
}

fn scope(examined: &Examined<'_>, scope: &Scope, name: &str) -> ScopeSummary {
    let services = examined.newest.services().iter();
    let class = |s| scope.class(s).map(|class: Class| class.as_str().to_owned());
    ScopeSummary {
        name: name.to_owned(),
        classes: services.map(|s| ServiceClass { service: s.name.to_string(), class: class(s) }).collect(),
        sensitive_data: scope.sensitive_classes().into_iter().map(str::to_owned).collect(),
        untrusted_zones: scope.untrusted_zones().into_iter().map(str::to_owned).collect(),
        environments: scope.environments.iter().map(|e| EnvironmentSummary { name: e.name.clone(), production: e.production }).collect(),
        tenants: scope.tenants.iter().map(|t| t.name.clone()).collect(),
        networks: scope.networks.iter().map(|n| NetworkSummary { name: n.name.clone(), open_public: n.open_public }).collect(),
        third_parties: scope.third_parties.iter().map(|p| p.name.clone()).collect(),
        service_provider: scope.service_provider,
        not_applicable: scope
            .not_applicable
            .iter()
            .map(|n| NotApplicableSummary {
                control: n.control.clone(),
                reason: n.reason.clone(),
                approved_by: n.approved_by.clone(),
                at: n.at.short(),
            })
            .collect(),
    }
}

fn reviews(governance: &Governance, newest: Digest, today: Option<Date>) -> Vec<ReviewSummary> {
    let mut reviews: Vec<_> = governance.reviews.iter().collect();
    reviews.sort_by_key(|r| (r.of, r.on, &r.name));
    let provider = governance.scope.service_provider;
    reviews
        .into_iter()
        .map(|r| ReviewSummary {
            name: r.name.clone(),
            of: r.of.as_str().to_owned(),
            on: r.on,
            by: r.by.clone(),
            revision: r.revision,
            of_newest: r.revision.map(|revision| revision == newest),
            acknowledged_by: r.acknowledged_by.clone(),
            acknowledged: r.is_acknowledged(),
            covers: r.covers.iter().cloned().collect(),
            overdue: today.is_some_and(|today| today.days() > r.due(provider)),
            days_after: today.map_or(0, |today| r.days_after(today)),
            too_late: today.is_some_and(|today| !r.is_of(today, provider)),
            result: r.result.clone(),
            at: r.at.short(),
        })
        .collect()
}

fn attestations(governance: &Governance, today: Option<Date>) -> Vec<AttestationSummary> {
    let mut out: Vec<_> = governance
        .attestations
        .iter()
        .map(|a| AttestationSummary {
            name: a.name.clone(),
            statement: a.statement.clone(),
            by: a.by.clone(),
            on: a.on,
            controls: a.controls.clone(),
            overdue: a.is_overdue(today),
            at: a.at.short(),
        })
        .collect();
    out.sort_by(|a, b| a.name.cmp(&b.name));
    out
}

fn exceptions(exceptions: &[Exception], findings: &[Finding], today: Option<Date>) -> Vec<ExceptionSummary> {
    let mut out: Vec<_> = exceptions
        .iter()
        .map(|e| ExceptionSummary {
            name: e.name.clone(),
            of: e.subject(),
            reason: e.reason.clone(),
            approved_by: e.approved_by.clone(),
            until: e.until_text(),
            expired: !e.holds(today),
            findings: findings.iter().filter(|f| e.covers(f)).map(|f| f.id.clone()).collect(),
            at: e.at.short(),
        })
        .collect();
    out.sort_by(|a, b| (!a.expired, &a.name).cmp(&(!b.expired, &b.name)));
    out
}
