//! The checks: one file each, whose opening text is its manual page. A check is named for what it finds.
//!
//! A check looks at an [`Examined`] and drafts findings; it decides nothing about controls.

mod absent_log;
mod access_without_user;
mod address_of_another_network;
mod address_shared_by_identities;
mod authentication_data_in_log;
mod broken_chain;
mod card_number_in_log;
mod certificate_near_expiry;
mod certificate_shared_by_identities;
mod clock_skew;
mod clock_step;
mod config_drift;
mod copied_lines;
mod dead_declaration;
mod default_deny_hole;
mod denied_although_granted;
mod denied_spike;
mod divergent_revision;
mod dry_run_window;
mod empty_log;
mod enforcement_mismatch;
mod environment_crossing;
mod expired_certificate_used;
mod expired_exception;
mod identity_shared_by_sources;
mod late_head;
mod log_store_caller;
mod long_lived_certificate;
mod lost_records;
mod missing_end;
mod missing_governance;
mod open_ended_log;
mod open_finding;
mod out_of_band_revision;
mod out_of_scope_reach;
mod overdue_review;
mod partner_without_end;
mod preproduction_edge;
mod private_route_open;
mod rejected_lines;
mod review_due;
mod scanning_caller;
mod sensitive_data_exposed;
mod sensitive_data_reachable;
mod service_without_log;
mod shadow_edge;
mod silent_enforcer;
mod soft_setting;
mod stale_policy;
mod stale_service;
mod stray_end;
mod superseded_revision;
mod tenant_crossing;
mod test_account_granted;
mod token_without_tls;
mod trust_domain_drift;
mod unacknowledged_review;
mod unalerted_outage;
mod unanswered_outage;
mod unapproved_change;
mod unauthorised_approval;
mod unauthorised_provider_access;
mod unclassified_service;
mod undeclared_operation_attempts;
mod unknown_identity_allowed;
mod unknown_identity_seen;
mod unknown_revision;
mod unlawful_access;
mod unlisted_certificate;
mod unlisted_cryptography;
mod unlisted_third_party;
mod unrecorded_requests;
mod unreviewed_day;
mod unsafe_setting;
mod unscheduled_review;
mod unused_permission;
mod weak_public_tls;
pub(crate) mod weak_tls;
mod weak_tls_to_administration;
mod wildcard_grant;

use std::collections::BTreeSet;

use portreeve_engine::Digest;

use self::concerned::Concerned;
use crate::assessment::{Finding, Waiver, Weight};
use crate::examined::{Draft, Examined, few, many};
use crate::foreign::Grade;
use crate::governance::Exception;
use crate::limits::FINDINGS_PER_CHECK_MAX;

/// Looks for one thing.
#[derive(Clone, Copy)]
pub struct Check {
    /// Its name, for catalogues and reports.
    pub id: &'static str,
    /// What it finds, as a heading.
    pub title: &'static str,
    /// How much a finding weighs, unless the finding says otherwise.
    pub severity: Weight,
    /// It is about the evidence itself, so that broken evidence does not weaken it.
    pub about_evidence: bool,
    find: fn(&Examined<'_>) -> Vec<Draft>,
}

/// Every check, those about evidence first.
pub const CHECKS: &[Check] = &[
    enforcement_mismatch::CHECK,
    broken_chain::CHECK,
    absent_log::CHECK,
    empty_log::CHECK,
    copied_lines::CHECK,
    open_ended_log::CHECK,
    rejected_lines::CHECK,
    unrecorded_requests::CHECK,
    lost_records::CHECK,
    silent_enforcer::CHECK,
    service_without_log::CHECK,
    missing_end::CHECK,
    stray_end::CHECK,
    dry_run_window::CHECK,
    stale_policy::CHECK,
    unknown_revision::CHECK,
    divergent_revision::CHECK,
    superseded_revision::CHECK,
    unused_permission::CHECK,
    wildcard_grant::CHECK,
    missing_governance::CHECK,
    unscheduled_review::CHECK,
    overdue_review::CHECK,
    expired_exception::CHECK,
    dead_declaration::CHECK,
    stale_service::CHECK,
    shadow_edge::CHECK,
    unlawful_access::CHECK,
    denied_although_granted::CHECK,
    undeclared_operation_attempts::CHECK,
    denied_spike::CHECK,
    scanning_caller::CHECK,
    sensitive_data_exposed::CHECK,
    sensitive_data_reachable::CHECK,
    preproduction_edge::CHECK,
    environment_crossing::CHECK,
    tenant_crossing::CHECK,
    default_deny_hole::CHECK,
    weak_tls::CHECK,
    expired_certificate_used::CHECK,
    long_lived_certificate::CHECK,
    certificate_near_expiry::CHECK,
    identity_shared_by_sources::CHECK,
    certificate_shared_by_identities::CHECK,
    address_shared_by_identities::CHECK,
    trust_domain_drift::CHECK,
    unknown_identity_allowed::CHECK,
    unknown_identity_seen::CHECK,
    access_without_user::CHECK,
    unsafe_setting::CHECK,
    soft_setting::CHECK,
    config_drift::CHECK,
    out_of_band_revision::CHECK,
    unapproved_change::CHECK,
    unauthorised_approval::CHECK,
    unreviewed_day::CHECK,
    unlisted_certificate::CHECK,
    unlisted_cryptography::CHECK,
    unlisted_third_party::CHECK,
    weak_public_tls::CHECK,
    weak_tls_to_administration::CHECK,
    token_without_tls::CHECK,
    private_route_open::CHECK,
    address_of_another_network::CHECK,
    card_number_in_log::CHECK,
    authentication_data_in_log::CHECK,
    clock_step::CHECK,
    clock_skew::CHECK,
    late_head::CHECK,
    unalerted_outage::CHECK,
    unanswered_outage::CHECK,
    partner_without_end::CHECK,
    log_store_caller::CHECK,
    test_account_granted::CHECK,
    unauthorised_provider_access::CHECK,
    unclassified_service::CHECK,
    out_of_scope_reach::CHECK,
    review_due::CHECKS[0],
    review_due::CHECKS[1],
    review_due::CHECKS[2],
    review_due::CHECKS[3],
    review_due::CHECKS[4],
    review_due::CHECKS[5],
    review_due::CHECKS[6],
    review_due::CHECKS[7],
    review_due::CHECKS[8],
    review_due::CHECKS[9],
    review_due::CHECKS[10],
    review_due::CHECKS[11],
    unacknowledged_review::CHECK,
    open_finding::CHECK,
];

/// How well the caller must be known for a finding of this check to be proved: by a label where it is about who reached what, by
/// its certificate where it is about identities. Below it a finding is in doubt.
#[must_use]
pub fn needed_grade(check: &str) -> Option<Grade> {
    match check {
        "shadow_edge"
        | "unlawful_access"
        | "denied_although_granted"
        | "sensitive_data_exposed"
        | "denied_spike"
        | "scanning_caller"
        | "undeclared_operation_attempts"
        | "environment_crossing"
        | "tenant_crossing"
        | "access_without_user" => Some(Grade::C),
        "unknown_identity_allowed" | "unknown_identity_seen" | "trust_domain_drift" | "address_shared_by_identities" => Some(Grade::B),
        _ => None,
    }
}

/// The check of this name.
#[must_use]
pub fn check(id: &str) -> Option<&'static Check> {
    CHECKS.iter().find(|c| c.id == id)
}

/// What a check found, with whether each finding is proved.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) finding: Finding,
    pub(crate) suspect: bool,
    /// Ids of the findings folded into this one.
    pub(crate) folded: Vec<String>,
}

/// Runs every check. Findings come in the order of checks, and within one by subject.
pub(crate) fn run(examined: &Examined<'_>) -> Vec<Found> {
    let concerned = Concerned::of(examined);
    let mut all: Vec<Found> = CHECKS.iter().flat_map(|check| findings(check, drafts(check, examined), examined, &concerned)).collect();
    let after = open_finding::after(examined, &all);
    all.extend(findings(&open_finding::CHECK, after, examined, &concerned));
    all
}

/// What a check finds, with what rests on callers that are not known well enough in doubt.
fn drafts(check: &Check, examined: &Examined<'_>) -> Vec<Draft> {
    let mut drafts = (check.find)(examined);
    if let Some(grade) = needed_grade(check.id).filter(|grade| !drafts.is_empty() && examined.has_below(*grade)) {
        // What is seen without the doubtful records too is proved.
        let proved: BTreeSet<String> = examined.looking_from(grade, check.find).into_iter().map(|d| d.subject).collect();
        for draft in drafts.iter_mut().filter(|d| !d.by_policy && !proved.contains(&d.subject)) {
            draft.suspect = true;
            draft.summary.push_str(&format!("; no line names the caller well enough to prove it (grade {grade} or better)"));
        }
    }
    drafts
}

fn findings(check: &Check, mut drafts: Vec<Draft>, examined: &Examined<'_>, concerned: &Concerned<'_>) -> Vec<Found> {
    drafts.sort_by(|a, b| a.subject.cmp(&b.subject));
    let mut folded = Vec::new();
    if drafts.len() > FINDINGS_PER_CHECK_MAX {
        // The weightiest are named; the rest are one finding, so that none is lost.
        drafts.sort_by_key(|d| (d.severity.unwrap_or(check.severity), std::cmp::Reverse(d.count)));
        let rest = drafts.split_off(FINDINGS_PER_CHECK_MAX - 1);
        folded = rest.iter().map(|d| finding_id(check, &d.subject)).collect();
        folded.sort();
        drafts.push(Draft {
            subject: format!("{} more", rest.len()),
            summary: format!("{} of this kind besides those named", many(rest.len() as u64, "finding")),
            remedy: "begin with those named".to_owned(),
            count: rest.iter().map(|d| d.count).fold(0, u64::saturating_add),
            suspect: rest.iter().all(|d| d.suspect),
            severity: rest.iter().filter_map(|d| d.severity).min(),
            evidence: few(rest.into_iter().flat_map(|d| d.evidence)),
            at: None,
            by_policy: false,
        });
    }
    let mut out: Vec<Found> = drafts.into_iter().map(|draft| found(check, draft, examined, concerned)).collect();
    if let Some(last) = out.last_mut() {
        last.folded = folded;
    }
    out
}

/// The same for the same check and subject, whatever else was found.
fn finding_id(check: &Check, subject: &str) -> String {
    format!("{}-{}", check.id, Digest::of(subject.as_bytes()).hex().get(..ID_DIGITS).unwrap_or_default())
}

/// The text with a capital letter at its beginning.
pub(crate) fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

fn found(check: &Check, draft: Draft, examined: &Examined<'_>, concerned: &Concerned<'_>) -> Found {
    let suspect = draft.suspect || (!check.about_evidence && !draft.by_policy && examined.is_weak(&draft.evidence));
    let mut finding = Finding {
        id: finding_id(check, &draft.subject),
        check: check.id.to_owned(),
        severity: draft.severity.unwrap_or(check.severity),
        services: concerned.services(&draft.subject, examined),
        subject: draft.subject,
        summary: sentence(&draft.summary),
        remedy: sentence(&draft.remedy),
        at: draft.at,
        evidence: draft.evidence,
        count: draft.count,
        controls: Vec::new(),
        suspect,
        waived: None,
    };
    let confirmed = examined.governance.dispositions.iter().any(|d| d.confirmed && d.finding == finding.id);
    finding.suspect = suspect && !confirmed;
    finding.waived = waiver(&finding, examined);
    Found { suspect: finding.suspect, finding, folded: Vec::new() }
}

/// The exception that covers it, the one that holds longest.
pub(crate) fn waiver(finding: &Finding, examined: &Examined<'_>) -> Option<Waiver> {
    let today = examined.now.map(|now| now.date());
    let covering = examined.exceptions.iter().filter(|e| e.covers(finding) && e.holds(today));
    covering.filter_map(Exception::waiver).max_by(|a, b| (a.until, &a.exception).cmp(&(b.until, &b.exception)))
}

const ID_DIGITS: usize = 12;

mod concerned;
