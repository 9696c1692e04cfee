//! A replay in words. Only renders.

use portreeve_auditor::assessment::graphs::Reach;
use portreeve_auditor::replay_report::{PolicyChange, ReplayReport, Unknown, WhatIf};
use portreeve_engine::Authorizer;

use crate::diagnostics::many;
use crate::limits::BUNDLES_NAMED_MAX;

/// Every difference and change, then the numbers.
pub(crate) fn render(report: &ReplayReport) -> String {
    let mut out = String::new();
    for group in &report.differences.groups {
        let call = &group.call;
        out.push_str(&format!("FAIL {} × {} → {} {} (first {})\n", group.count, call.from, call.to, call.operation, group.first));
        for difference in &group.differences {
            out.push_str(&format!("  {}: recorded `{}`, replayed `{}`\n", difference.what, difference.recorded, difference.replayed));
        }
    }
    report.not_replayed.iter().for_each(|unknown| out.push_str(&not_replayed(unknown)));
    for group in &report.changes.groups {
        let call = &group.call;
        let (from, to) = (group.recorded, group.candidate);
        out.push_str(&format!("{from} → {to}: {} × {} → {} {} (first {})\n", group.count, call.from, call.to, call.operation, group.first));
        let policies = if group.policies.is_empty() { "no policy".to_owned() } else { group.policies.join(", ") };
        out.push_str(&format!("  {}: {policies}\n", group.reason));
    }
    for (further, what) in [(report.differences.further, "differences"), (report.changes.further, "changes")] {
        if further > 0 {
            out.push_str(&format!("and {further} records with further {what}\n"));
        }
    }
    for (n, what) in
        [(report.unlawful, "allowed by another mesh, denied by policy"), (report.overdenied, "denied by another mesh, allowed by policy")]
    {
        if n > 0 {
            out.push_str(&format!("FAIL {n} × {what}\n"));
        }
    }
    if let Some(what_if) = &report.against {
        out.push_str(&against(what_if));
    }
    out.push_str(&summary(report));
    out
}

/// Which bundles there were, where a record names another; nothing where all that is named was given.
pub(crate) fn missing(report: &ReplayReport, bundles: &[(String, Authorizer)]) -> String {
    if report.revisions.iter().all(|revision| revision.given) {
        return String::new();
    }
    let given = bundles.iter().rev().take(BUNDLES_NAMED_MAX).map(|(name, law)| format!("{} ({name})", law.revision()));
    let given: Vec<String> = given.collect();
    let more = bundles.len().saturating_sub(given.len());
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("  help: given were {}{more}; `--bundle REV:PATH` takes an older one from git, `--bundle-history` all\n", given.join(", "))
}

fn against(what_if: &WhatIf) -> String {
    let mut out = String::new();
    for unknown in &what_if.reasons {
        out.push_str(&not_replayed(unknown));
    }
    for change in &what_if.by_policy {
        out.push_str(&brought(change, "proposed", "granted so far"));
    }
    for (what, reach) in [("gained", &what_if.reach.gained), ("lost", &what_if.reach.lost)] {
        for entry in reach {
            out.push_str(&format!("reach {what}: {}\n", chain(entry)));
        }
    }
    out.push_str(&format!(
        "proposed: {} newly allowed ({}), {} newly denied ({}), {} unchanged, {} not replayable; reach {} → {}\n",
        what_if.newly_allowed.requests,
        calls(what_if.newly_allowed.calls),
        what_if.newly_denied.requests,
        calls(what_if.newly_denied.calls),
        what_if.unchanged,
        what_if.not_replayable,
        what_if.reach.before,
        what_if.reach.after,
    ));
    out
}

/// `1 call`, `2 calls`.
pub(crate) fn calls(n: u64) -> String {
    many(usize::try_from(n).unwrap_or(usize::MAX), "call")
}

/// What one policy brings; the words say which side it is on.
pub(crate) fn brought(change: &PolicyChange, proposed: &str, before: &str) -> String {
    let name = change.policy.as_deref().unwrap_or("no policy");
    let place = change.at.as_ref().map(|at| format!(" ({at})")).unwrap_or_default();
    let side = if change.proposed { proposed } else { before };
    let first = change.examples.first().map(|at| format!(" (first {at})")).unwrap_or_default();
    format!("by {name}{place}, {side}: {}{first}\n", newly(change.newly_allowed, change.newly_denied))
}

/// Answers that cannot be known, for one reason.
pub(crate) fn not_replayed(unknown: &Unknown) -> String {
    let first = unknown.examples.first().map(|at| format!(" (first {at})")).unwrap_or_default();
    format!("not replayable: {} × {}{first}\n", unknown.count, unknown.reason)
}

/// `4 newly allowed, 6 newly denied`, without what is none.
pub(crate) fn newly(allowed: u64, denied: u64) -> String {
    let parts = [(allowed, "newly allowed"), (denied, "newly denied")];
    parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect::<Vec<_>>().join(", ")
}

/// Who reaches what, and how.
pub(crate) fn chain(reach: &Reach) -> String {
    let stranger = "identities outside the inventory";
    let way: Vec<&str> = std::iter::once(reach.from.as_deref().unwrap_or(stranger)).chain(reach.chain.iter().map(|h| &*h.to)).collect();
    format!("{} {} by {}", reach.kind, reach.target, way.join(" → "))
}

/// The numbers.
pub(crate) fn summary(report: &ReplayReport) -> String {
    format!(
        "{}: {} decided, {} agree, {} differ, {} not replayable; {}, {} rejected; {} would change\n",
        match report.is_clean() {
            _ if report.is_void() => "nothing",
            true => "ok",
            false => "FAIL",
        },
        report.decided,
        report.agrees,
        report.differs,
        report.not_replayable,
        many(usize::try_from(report.lines).unwrap_or(usize::MAX), "line"),
        report.rejected,
        report.changed,
    )
}
