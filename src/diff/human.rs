//! A comparison in words. Only renders.

use portreeve_auditor::traffic::Recorded;
use portreeve_engine::PolicyRef;
use portreeve_engine::diff::{ChangedOperation, ChangedService, Kind, Status, Verdict};

use crate::diagnostics::many;
use crate::diff::report::{Both, Change, Declaration, Report, Witness};
use crate::limits::NAMES_SHOWN_MAX;
use crate::replay::human as replay;

/// Every change, then the verdict.
pub(crate) fn render(report: &Report<'_>) -> String {
    let mut out = String::new();
    for change in &report.changes {
        out.push_str(&format!("{}: {}\n", change.kind.as_str(), callers_and_targets(change)));
        out.push_str(&format!("  {}\n", became(change)));
        for (side, policies, declarations) in sides(change) {
            for policy in policies {
                out.push_str(&format!("  {side} {} {} ({})\n", policy.effect, policy.id, policy.at.short()));
            }
            for declaration in declarations {
                out.push_str(&format!("  {side} declaration of {} ({})\n", declaration.name, declaration.at));
            }
        }
        match &change.witness {
            Some(witness) => out.push_str(&shown(witness)),
            None => out.push_str("  no request was found that shows it\n"),
        }
        if let Some(recorded) = &change.recorded {
            out.push_str(&format!("  {}\n", in_the_logs(recorded)));
        }
        out.push('\n');
    }
    if let Some(logs) = report.logs {
        logs.by_policy.iter().for_each(|change| out.push_str(&replay::brought(change, "of the new bundle", "of the old bundle")));
        logs.reasons.iter().for_each(|unknown| out.push_str(&replay::not_replayed(unknown)));
    }
    out.push_str(&summary(report));
    out
}

/// One sentence for a change: kind, callers, targets and what became of them.
pub(crate) fn headline(change: &Change<'_>) -> String {
    format!("{}: {}: {}", change.kind.as_str().replace('-', " "), callers_and_targets(change), became(change))
}

/// `a, b → items: read-item (GET)`.
pub(crate) fn callers_and_targets(change: &Change<'_>) -> String {
    let targets: Vec<String> = change.targets.iter().map(target).collect();
    format!("{} → {}", some(change.callers), some(&targets))
}

/// A service with its operations.
pub(crate) fn target(target: &ChangedService) -> String {
    let operations: Vec<String> = target.operations.iter().map(operation).collect();
    format!("{}: {}", target.service, some(&operations))
}

fn operation(operation: &ChangedOperation) -> String {
    let name = |id: &Option<String>| id.clone().unwrap_or_else(|| "undeclared".to_owned());
    let (before, after) = (name(&operation.before), name(&operation.after));
    let by = operation.by.join(", ");
    if before == after { format!("{after} ({by})") } else { format!("{before} ⇒ {after} ({by})") }
}

/// What became of the answers.
pub(crate) fn became(change: &Change<'_>) -> String {
    let word = |status: Status| match status {
        Status::Never => "never allowed",
        Status::Conditional => "allowed on conditions",
        Status::Always => "always allowed",
    };
    match (change.kind, change.before, change.after) {
        (Kind::MayDiffer, ..) => "a Cedar condition or a Rego body has a say, which is not looked into".to_owned(),
        (Kind::NewlyAllowed, Status::Conditional, Status::Conditional) => "still allowed on conditions, and these are wider".to_owned(),
        (_, Status::Conditional, Status::Conditional) => "still allowed on conditions, and these are narrower".to_owned(),
        (_, before, after) if before == after => format!("{}, and other requests are well formed", word(after)),
        (_, before, after) => format!("was {}, is {}", word(before), word(after)),
    }
}

/// Old and new in turn.
pub(crate) fn sides<'r>(change: &'r Change<'_>) -> [(&'static str, &'r [PolicyRef], &'r [Declaration<'r>]); 2] {
    let Both { old, new } = &change.policies;
    [("old", old, &change.declarations.old), ("new", new, &change.declarations.new)]
}

fn shown(witness: &Witness<'_>) -> String {
    let answer = |decision: &portreeve_engine::Decision<'_>| format!("{} ({})", decision.effect, decision.reason);
    format!("  for example {}\n    {} → {}\n", witness.request, answer(&witness.old), answer(&witness.new))
}

/// How many recorded requests a change touches.
pub(crate) fn in_the_logs(recorded: &Recorded) -> String {
    let count = usize::try_from(recorded.requests).unwrap_or(usize::MAX);
    format!(
        "in the logs: {} of its callers to its operations, {} newly allowed, {} newly denied",
        many(count, "request"),
        recorded.newly_allowed,
        recorded.newly_denied
    )
}

/// The verdict, counts, revisions.
pub(crate) fn summary(report: &Report<'_>) -> String {
    let mut out = String::new();
    for part in report.unexplored {
        out.push_str(&format!("warning: not compared: {part}\n"));
    }
    let counts: Vec<String> = [Kind::NewlyAllowed, Kind::NewlyDenied, Kind::NewlyConditional, Kind::MayDiffer]
        .into_iter()
        .map(|kind| (kind, report.changes.iter().filter(|c| c.kind == kind).count()))
        .filter(|(_, count)| *count > 0)
        .map(|(kind, count)| format!("{count} {}", kind.as_str()))
        .collect();
    let (word, text) = match report.verdict {
        Verdict::Equivalent => ("ok", "equivalent: every request has the same effect".to_owned()),
        verdict => ("differs", format!("{}: {} ({})", verdict.as_str(), many(report.changes.len(), "change"), counts.join(", "))),
    };
    out.push_str(&format!("{word}: {text}\n"));
    if let Some(logs) = report.logs {
        out.push_str(&format!(
            "    logs: {} decided, {} unchanged, {} newly allowed, {} newly denied, {} not replayable; {} lines, {} rejected\n",
            logs.decided, logs.unchanged, logs.newly_allowed, logs.newly_denied, logs.not_replayable, logs.lines, logs.rejected
        ));
        if let Some(period) = &logs.period {
            out.push_str(&format!("    recorded from {} to {}\n", period.from, period.to));
        }
    }
    out.push_str(&format!("    old {}\n    new {}\n", report.old.revision, report.new.revision));
    out
}

/// The first few of some names, and how many more there are.
pub(crate) fn some(names: &[String]) -> String {
    let shown: Vec<&str> = names.iter().take(NAMES_SHOWN_MAX).map(String::as_str).collect();
    match names.len().saturating_sub(NAMES_SHOWN_MAX) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
