//! Reviews that the governance folder has not on record, or that have lapsed, or that were of another revision than the newest. One check
//! for each subject. Without a governance folder nothing is known of reviews, and nothing is found.
//!
//! Where the subject asks for a new review after a change, and the policy has changed since, the finding is in doubt for all but the review
//! of policies itself: whether a change matters to it, a person must say.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined};
use crate::governance::Subject;

/// The checks, one for each subject.
pub(super) const CHECKS: [Check; 12] = [
    due("policy_review_due", "policies that nobody reviewed of late", |e| find(e, Subject::Policy)),
    due("account_review_due", "access of services that nobody reviewed of late", |e| find(e, Subject::SystemAccounts)),
    due("user_review_due", "access of people that nobody reviewed of late", |e| find(e, Subject::UserAccounts)),
    due("scope_confirmation_due", "a scope that nobody confirmed of late", |e| find(e, Subject::Scope)),
    due("risk_analysis_due", "risk analyses that nobody looked at of late", |e| find(e, Subject::RiskAnalysis)),
    due("cryptography_review_due", "protocols and suites that nobody reviewed of late", |e| find(e, Subject::Cryptography)),
    due("technology_review_due", "technologies that nobody reviewed of late", |e| find(e, Subject::Technologies)),
    due("operations_review_due", "operations that nobody reviewed of late", |e| find(e, Subject::Operations)),
    due("other_log_review_due", "other logs that nobody reviewed of late", |e| find(e, Subject::OtherLogs)),
    due("segmentation_retest_due", "segmentation that nobody attacked of late", |e| find(e, Subject::SegmentationTest)),
    due("third_party_review_due", "third parties that nobody reviewed of late", |e| find(e, Subject::ThirdParties)),
    due("change_confirmation_due", "changes after which nobody confirmed the requirements", |e| find(e, Subject::SignificantChange)),
];

const fn due(id: &'static str, title: &'static str, find: fn(&Examined<'_>) -> Vec<Draft>) -> Check {
    Check { id, title, severity: Weight::Medium, about_evidence: false, find }
}

fn find(examined: &Examined<'_>, of: Subject) -> Vec<Draft> {
    let (true, Some(today)) = (examined.governance.is_given(), examined.today()) else { return Vec::new() };
    let provider = examined.scope().service_provider;
    let draft = |what: String, at: Option<String>, suspect: bool| Draft {
        subject: of.as_str().to_owned(),
        summary: what,
        remedy: format!("review it, and record that as a `Review` of `{}`", of.as_str()),
        at,
        by_policy: true,
        suspect,
        ..Draft::default()
    };
    let newest = examined.newest.revision();
    let latest = examined.governance.latest(of, None, today);
    // A later review of another revision does not undo one of the newest.
    let of_newest = examined.governance.latest(of, Some(newest), today);
    let Some(review) = of_newest.filter(|_| of.is_of_revision()).or(latest) else {
        let too_late = examined.governance.reviews.iter().find(|r| r.of == of);
        let what = match too_late {
            Some(r) => format!("the review `{}` of {} lies too long after the last record to be about it", r.name, r.on),
            None => format!("no review of `{}` is on record", of.as_str()),
        };
        return vec![draft(what, too_late.map(|r| r.at.short()), false)];
    };
    let at = Some(review.at.short());
    if today.days() > review.due(provider) {
        let late = today.days() - review.due(provider);
        return vec![draft(
            format!("the review `{}` of {} has lapsed, {late} days before the last record", review.name, review.on),
            at,
            false,
        )];
    }
    if of.is_of_revision() && review.revision.as_ref() != Some(newest) {
        let what = match review.revision {
            Some(other) => format!("the review `{}` is of revision {other}; the newest is {newest}", review.name),
            None => format!("the review `{}` does not say of which revision it is; the newest is {newest}", review.name),
        };
        return vec![draft(what, at, of != Subject::Policy)];
    }
    Vec::new()
}
