//! A comparison as Markdown, for a comment on a pull request. Only renders.
//!
//! Names come from the bundles and may be hostile: each stands in a code span that it cannot leave.

use portreeve_engine::PolicyRef;
use portreeve_engine::diff::{Direction, Kind, Verdict};

use crate::diagnostics::many;
use crate::diff::human;
use crate::diff::report::{Change, Declaration, Report};
use crate::escape::xml;
use crate::limits::{CHANGES_SHOWN_MAX, WITNESSES_SHOWN_MAX};
use crate::replay::markdown as replay;

/// Verdict, table, details.
pub(crate) fn render(report: &Report<'_>) -> String {
    let mut out = format!("## Policy change: {}\n\n{}\n\n", report.verdict.as_str().replace('-', " "), sentence(report));
    out.push_str(&format!(
        "{} ({}) → {} ({})\n",
        code(report.old.bundle),
        code(short(&report.old.revision)),
        code(report.new.bundle),
        code(short(&report.new.revision))
    ));
    for part in report.unexplored {
        out.push_str(&format!("\n> **Not compared:** {}\n", text(part)));
    }
    if !report.changes.is_empty() {
        table(report, &mut out);
        for (number, change) in report.changes.iter().enumerate().take(WITNESSES_SHOWN_MAX) {
            details(number + 1, change, &mut out);
        }
    }
    if let Some(logs) = report.logs {
        out.push_str(&format!(
            "\nRecorded traffic: {} decided, {} unchanged, {} newly allowed, {} newly denied, {} not replayable.\n",
            logs.decided, logs.unchanged, logs.newly_allowed, logs.newly_denied, logs.not_replayable
        ));
        if !logs.by_policy.is_empty() {
            replay::by_policy(&logs.by_policy, ", of the old bundle", &mut out);
        }
        replay::unknown(&logs.reasons, &mut out);
    }
    out
}

fn sentence(report: &Report<'_>) -> String {
    match report.verdict {
        Verdict::Equivalent => "Every request has the same effect under both bundles.".to_owned(),
        Verdict::MorePermissive => "Some requests are newly allowed; none is newly denied.".to_owned(),
        Verdict::LessPermissive => "Some requests are newly denied; none is newly allowed.".to_owned(),
        Verdict::Incomparable => "Some requests are newly allowed, and some are newly denied.".to_owned(),
        Verdict::Unknown => {
            "What may differ, or was not compared, leaves open whether requests are newly allowed or newly denied.".to_owned()
        }
    }
}

fn table(report: &Report<'_>, out: &mut String) {
    let logs = report.logs.is_some();
    out.push_str(if logs {
        "\n| | change | callers | operations | lines | recorded requests |\n|---|---|---|---|---|---|\n"
    } else {
        "\n| | change | callers | operations | lines |\n|---|---|---|---|---|\n"
    });
    for (number, change) in report.changes.iter().enumerate().take(CHANGES_SHOWN_MAX) {
        let targets: Vec<String> = change.targets.iter().map(human::target).collect();
        out.push_str(&format!(
            "| {} | **{}**<br>{} | {} | {} | {} |",
            number + 1,
            label(change),
            human::became(change),
            code(&human::some(change.callers)),
            code(&human::some(&targets)),
            lines(change)
        ));
        if logs {
            let counted = change.recorded.map(|r| format!("{} newly allowed, {} newly denied", r.newly_allowed, r.newly_denied));
            out.push_str(&format!(" {} |", counted.unwrap_or_default()));
        }
        out.push('\n');
    }
    let more = report.changes.len().saturating_sub(CHANGES_SHOWN_MAX);
    if more > 0 {
        out.push_str(&format!("\nand {}; `portreeve diff` shows them all.\n", many(more, "further change")));
    }
}

fn label(change: &Change<'_>) -> String {
    let words = change.kind.as_str().replace('-', " ");
    match (change.kind, change.direction) {
        (Kind::NewlyConditional, Direction::Allow) => format!("{words} (allows more)"),
        (Kind::NewlyConditional, _) => format!("{words} (denies more)"),
        (Kind::MayDiffer, Direction::Allow) => format!("{words} (may allow more)"),
        (Kind::MayDiffer, Direction::Deny) => format!("{words} (may deny more)"),
        _ => words,
    }
}

fn lines(change: &Change<'_>) -> String {
    let of = |side: &str, policies: &[PolicyRef], declarations: &[Declaration<'_>]| -> Vec<String> {
        let policies = policies.iter().map(|p| format!("{side}: {} {}", code(&p.id), code(&p.at.short())));
        policies.chain(declarations.iter().map(|d| format!("{side}: {} {}", code(d.name), code(&d.at)))).collect()
    };
    let all: Vec<String> =
        human::sides(change).into_iter().flat_map(|(side, policies, declarations)| of(side, policies, declarations)).collect();
    human::some(&all).replace(", ", "<br>")
}

fn details(number: usize, change: &Change<'_>, out: &mut String) {
    let Some(witness) = &change.witness else { return };
    out.push_str(&format!(
        "\n<details><summary>{number}. {}: <code>{}</code></summary>\n\n",
        label(change),
        xml(&human::callers_and_targets(change))
    ));
    let request = serde_json::to_string_pretty(&witness.request).unwrap_or_default();
    out.push_str(&format!(
        "{} → {}\n\n````json\n{}\n````\n\n</details>\n",
        code(&format!("{} {}", witness.old.effect, witness.old.reason)),
        code(&format!("{} {}", witness.new.effect, witness.new.reason)),
        // A fence that the content cannot close.
        request.replace("````", "'''`")
    ));
}

pub(crate) fn short(revision: &str) -> &str {
    revision.get(..REVISION_SHOWN).unwrap_or(revision)
}

/// A code span, also inside a table: no back-tick, no line break, no bar.
pub(crate) fn code(text: &str) -> String {
    let inside: String = text
        .chars()
        .map(|c| match c {
            '`' => '\'',
            c if c.is_control() => '\u{fffd}',
            c => c,
        })
        .collect();
    format!("`{}`", inside.replace('|', "\\|"))
}

/// Plain text in which nothing is markup.
pub(crate) fn text(text: &str) -> String {
    xml(text).replace(['*', '_', '[', ']', '\n'], " ")
}

/// `sha256:` and twelve digits.
const REVISION_SHOWN: usize = 19;
