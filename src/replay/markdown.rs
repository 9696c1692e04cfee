//! A replay as Markdown, for a comment on a pull request. Only renders.
//!
//! Names come from logs and bundles and may be hostile: each stands in a code span that it cannot leave.

use portreeve_auditor::replay_report::{PolicyChange, ReplayReport, Unknown, WhatIf};

use crate::diff::markdown::{code, short, text};
use crate::limits::GROUPS_SHOWN_MAX;
use crate::replay::human::{calls, chain, newly};

/// Numbers, what differs, and what the proposed bundle would change.
pub(crate) fn render(report: &ReplayReport, against: Option<&str>) -> String {
    let mut out = String::from("## Recorded traffic\n\n");
    out.push_str(&format!("{} of {} decisions agree with the policy that was in force", report.agrees, report.decided));
    out.push_str(&match report.period {
        Some(period) => format!(" ({} to {}).\n", period.from, period.to),
        None => ".\n".to_owned(),
    });
    if !report.differences.groups.is_empty() {
        out.push_str("\n| records | call | what differs | first |\n|---|---|---|---|\n");
        for group in report.differences.groups.iter().take(GROUPS_SHOWN_MAX) {
            let what: Vec<String> =
                group.differences.iter().map(|d| format!("{}: {} ⇒ {}", d.what, code(&d.recorded), code(&d.replayed))).collect();
            let call = format!("{} → {} {}", group.call.from, group.call.to, group.call.operation);
            out.push_str(&format!("| {} | {} | {} | {} |\n", group.count, code(&call), what.join("<br>"), code(&group.first)));
        }
        rest(report.differences.groups.len(), "differences", &mut out);
    }
    unknown(&report.not_replayed, &mut out);
    if let Some(what_if) = &report.against {
        proposed(report, what_if, against.unwrap_or_default(), &mut out);
    }
    out
}

fn proposed(report: &ReplayReport, what_if: &WhatIf, name: &str, out: &mut String) {
    let revision = what_if.revision.map(|r| r.to_string()).unwrap_or_default();
    out.push_str(&format!(
        "\n### Under {} ({})\n\n| newly allowed | newly denied | unchanged | not replayable |\n|---|---|---|---|\n| {} ({}) | {} ({}) | {} | {} |\n",
        code(name),
        code(short(&revision)),
        what_if.newly_allowed.requests,
        calls(what_if.newly_allowed.calls),
        what_if.newly_denied.requests,
        calls(what_if.newly_denied.calls),
        what_if.unchanged,
        what_if.not_replayable,
    ));
    unknown(&what_if.reasons, out);
    if !what_if.by_policy.is_empty() {
        by_policy(&what_if.by_policy, ", which granted so far", out);
        out.push_str("\n| change | requests | call | reason | first |\n|---|---|---|---|---|\n");
        for group in report.changes.groups.iter().take(GROUPS_SHOWN_MAX) {
            let call = format!("{} → {} {}", group.call.from, group.call.to, group.call.operation);
            out.push_str(&format!(
                "| {} → {} | {} | {} | {} | {} |\n",
                group.recorded,
                group.candidate,
                group.count,
                code(&call),
                group.reason,
                code(&group.first)
            ));
        }
        rest(report.changes.groups.len(), "changes", out);
    }
    let reach = &what_if.reach;
    out.push_str(&format!("\nReach into classes of data and sensitive zones: {} pairs before, {} after.\n", reach.before, reach.after));
    for (what, entries) in [("gained", &reach.gained), ("lost", &reach.lost)] {
        for entry in entries.iter().take(GROUPS_SHOWN_MAX) {
            out.push_str(&format!("- {what}: {}\n", code(&chain(entry))));
        }
        rest(entries.len(), what, out);
    }
}

/// The changes that each policy brings; `old` marks those of the bundle before.
pub(crate) fn by_policy(changes: &[PolicyChange], old: &str, out: &mut String) {
    out.push_str("\n| policy | brings | for example |\n|---|---|---|\n");
    for change in changes.iter().take(GROUPS_SHOWN_MAX) {
        let place = change.at.as_ref().map(|at| format!(" {}", code(at))).unwrap_or_default();
        let side = if change.proposed { "" } else { old };
        out.push_str(&format!(
            "| {}{place}{side} | {} | {} |\n",
            code(change.policy.as_deref().unwrap_or("no policy")),
            newly(change.newly_allowed, change.newly_denied),
            change.examples.first().map(|at| code(at)).unwrap_or_default(),
        ));
    }
    rest(changes.len(), "policies", out);
}

/// Why answers cannot be known.
pub(crate) fn unknown(reasons: &[Unknown], out: &mut String) {
    for unknown in reasons.iter().take(GROUPS_SHOWN_MAX) {
        out.push_str(&format!("\n> **Not replayable:** {} × {}\n", unknown.count, text(&unknown.reason)));
    }
    rest(reasons.len(), "reasons", out);
}

fn rest(all: usize, what: &str, out: &mut String) {
    if all > GROUPS_SHOWN_MAX {
        out.push_str(&format!("\nand {} further {what}; the JSON document has them all\n", all - GROUPS_SHOWN_MAX));
    }
}
