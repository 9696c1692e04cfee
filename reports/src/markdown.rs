//! `summary.md`: what fits a pull request comment or the summary of a pipeline's step.
//!
//! INVARIANT: text of the assessment is never markup, link, mention or reference: it stands in code spans or is escaped.

use std::fmt::Write as _;

use portreeve_auditor::assessment::{Assessment, Baseline, ChainVerdict, Finding, Verdict};

use crate::filters::{verdict_word, weight_word};
use crate::limits::{FIX_FIRST_MAX, NAME_SHOWN_CHARS, REACH_NAMED_MAX, SUMMARY_CHANGES_MAX, SUMMARY_TEXT_CHARS};
use crate::text;

/// Renders the summary.
pub(crate) fn render(a: &Assessment) -> String {
    let mut out = String::new();
    opening(&mut out, a);
    verdicts(&mut out, a);
    if let Some(baseline) = &a.baseline {
        changes(&mut out, a, baseline);
    }
    findings(&mut out, a);
    totals(&mut out, a);
    inputs(&mut out, a);
    out
}

fn opening(out: &mut String, a: &Assessment) {
    put(out, format_args!("## Portreeve assessment: {}\n\n", prose(&text::short(&a.subject, NAME_SHOWN_CHARS))));
    let period = a.period.map_or_else(|| "no record".to_owned(), text::period);
    let titles: Vec<_> = a.catalog_titles.iter().map(|title| prose(title)).collect();
    put(out, format_args!("{period}{}{}", if titles.is_empty() { "" } else { " · " }, titles.join(" · ")));
    match &*a.bundles {
        [] => {}
        [only] => put(out, format_args!(" · policy revision {}", span(&only.revision.to_string()))),
        several => put(out, format_args!(" · {} policy revisions", several.len())),
    }
    out.push_str("\n\n");
    let summary = &a.summary;
    if !summary.sensitive_data.is_empty() {
        let (reach, all) = (summary.sensitive_reach.len(), a.services.len());
        put(
            out,
            format_args!(
                "Data of class {} can be reached from {reach} of {all} services, beside those that hold it",
                span(&summary.sensitive_data)
            ),
        );
        for (at, name) in summary.sensitive_reach.iter().take(REACH_NAMED_MAX).enumerate() {
            put(out, format_args!("{}{}", if at == 0 { ": " } else { ", " }, span(name)));
        }
        out.push_str(if reach > REACH_NAMED_MAX { ", …\n\n" } else { ".\n\n" });
    }
}

fn verdicts(out: &mut String, a: &Assessment) {
    if a.summary.controls == 0 {
        return;
    }
    out.push_str("| Verdict | Requirements |\n| --- | ---: |\n");
    for part in &a.summary.verdicts {
        put(out, format_args!("| {} | {} |\n", verdict_word(part.verdict), text::thousands(part.count)));
    }
    put(out, format_args!("| **all** | **{}** |\n\n", text::thousands(a.summary.controls)));
}

fn findings(out: &mut String, a: &Assessment) {
    if a.findings.is_empty() {
        out.push_str("No findings in the evidence given.\n\n");
        return;
    }
    let waived = a.findings.iter().filter(|f| f.waived.is_some()).count();
    let prefix = prefix(a);
    let first = first(a);
    if first.is_empty() {
        put(out, format_args!("Every finding ({}) is covered by an exception.\n\n", text::thousands(waived as u64)));
        return;
    }
    out.push_str("### Fix first\n\n");
    for finding in &first {
        line(out, finding, &prefix);
    }
    let left = a.findings.len().saturating_sub(first.len() + waived) as u64;
    let (left, waived) = (count(left, " more in the full report"), count(waived as u64, " covered by an exception"));
    let both = if left.is_empty() || waived.is_empty() { "" } else { "; " };
    if !left.is_empty() || !waived.is_empty() {
        put(out, format_args!("\n{left}{both}{waived}.\n"));
    }
    out.push('\n');
}

/// The weightiest finding of each kind that no exception covers: five lines about one kind would hide four others.
fn first(a: &Assessment) -> Vec<&Finding> {
    let mut out: Vec<&Finding> = Vec::new();
    for finding in a.findings.iter().filter(|f| f.waived.is_none()) {
        if out.len() < FIX_FIRST_MAX && out.iter().all(|f| f.check != finding.check) {
            out.push(finding);
        }
    }
    out
}

fn count(n: u64, words: &str) -> String {
    if n == 0 { String::new() } else { format!("{}{words}", text::thousands(n)) }
}

/// Where there is one catalogue its name need not stand before every id.
fn prefix(a: &Assessment) -> String {
    if let [only] = &*a.catalogs { format!("{only} ") } else { String::new() }
}

fn changes(out: &mut String, a: &Assessment, b: &Baseline) {
    let (f, n) = (&b.findings, |n: usize| text::thousands(n as u64));
    put(out, format_args!("### Since the baseline {}\n\n", span(&b.path)));
    let (new, gone, same, heavier) = (n(f.new.len()), n(f.gone.len()), n(f.unchanged.len()), n(f.heavier.len()));
    put(out, format_args!("Findings: **{new} new**, {gone} gone, {same} unchanged, {heavier} of them heavier. "));
    put(out, format_args!("Verdicts changed: {}. Edges changed: {}.\n\n", n(b.verdicts.len()), n(b.edges.len())));
    for premise in &b.differs {
        put(out, format_args!("> Not the same: {}: {}\n\n", prose(&premise.what), prose(&premise.meaning)));
    }
    listed(out, "New", &f.new, |id| match a.findings.iter().find(|f| f.id == *id) {
        Some(f) => format!("**{}** {}{}", weight_word(f.severity), prose(&f.summary), if f.waived.is_some() { " (waived)" } else { "" }),
        None => span(id),
    });
    listed(out, "Gone", &f.gone, |gone| {
        let weight = gone.severity.map(|w| format!("**{}** ", weight_word(w))).unwrap_or_default();
        format!("{weight}{} ({})", prose(&gone.summary), span(&gone.check))
    });
    let word = |verdict: Option<Verdict>| verdict.map_or("not there", verdict_word);
    let named = |catalog: &str, id: &str| {
        let whole = format!("{catalog} {id}");
        span(whole.strip_prefix(&prefix(a)).unwrap_or(&whole))
    };
    listed(out, "Verdicts", &b.verdicts, |v| format!("{}: {} → **{}**", named(&v.catalog, &v.id), word(v.before), word(v.now)));
}

/// A list of bounded length under a word, and what of it is left out.
fn listed<T>(out: &mut String, word: &str, all: &[T], show: impl Fn(&T) -> String) {
    if all.is_empty() {
        return;
    }
    put(out, format_args!("{word}:\n\n"));
    for one in all.iter().take(SUMMARY_CHANGES_MAX) {
        put(out, format_args!("- {}\n", show(one)));
    }
    let left = all.len().saturating_sub(SUMMARY_CHANGES_MAX);
    if left > 0 {
        put(out, format_args!("- {} more in the full report\n", text::thousands(left as u64)));
    }
    out.push('\n');
}

fn line(out: &mut String, finding: &Finding, prefix: &str) {
    put(out, format_args!("- **{}** {}", weight_word(finding.severity), prose(&finding.summary)));
    if !finding.remedy.is_empty() {
        put(out, format_args!(" — {}", prose(&finding.remedy)));
    }
    let mut facts: Vec<String> = finding.controls.iter().map(|control| span(control.strip_prefix(prefix).unwrap_or(control))).collect();
    facts.extend(finding.at.as_deref().map(span));
    if finding.count > 0 {
        facts.push(format!("{} {}", text::thousands(finding.count), if finding.count == 1 { "record" } else { "records" }));
    }
    if !facts.is_empty() {
        put(out, format_args!(" ({})", facts.join(", ")));
    }
    out.push('\n');
}

fn totals(out: &mut String, a: &Assessment) {
    let t = &a.totals;
    let rows = [
        ("Decisions examined", t.decided),
        ("Allowed", t.allowed),
        ("Denied", t.denied),
        ("Replay answers differently", t.mismatches),
        ("Could not be replayed", t.not_replayable),
        ("Another mesh allowed, policy denies", t.unlawful),
        ("Another mesh denied, policy allows", t.overdenied),
        ("Strangers refused", t.refused_attempts),
        ("Grants never used", a.summary.grants_unused),
        ("Grants", a.summary.grants),
        ("Lines read", t.lines),
        ("Lines unreadable", t.rejected),
        ("Requests without a record", t.unrecorded),
    ];
    out.push_str("| Counted | |\n| --- | ---: |\n");
    for (word, count) in rows {
        put(out, format_args!("| {word} | {} |\n", text::thousands(count)));
    }
    out.push('\n');
}

fn inputs(out: &mut String, a: &Assessment) {
    let count = |chain| a.inputs.iter().filter(|i| i.chain == chain).count();
    put(
        out,
        format_args!(
            "Log chains: {} vouched for, {} self-consistent, {} broken, {} empty, {} without a chain. ",
            count(ChainVerdict::Vouched),
            count(ChainVerdict::SelfConsistent),
            count(ChainVerdict::Broken),
            count(ChainVerdict::Empty),
            count(ChainVerdict::Unchained)
        ),
    );
    put(
        out,
        format_args!("Made by {}; verdicts are about the evidence given, and the full report says what it cannot show.\n", prose(&a.tool)),
    );
}

/// A name in a code span that nothing inside can close.
fn span(value: &str) -> String {
    let value: String = flat(value, NAME_SHOWN_CHARS);
    let longest = value.split(|c| c != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(longest + 1);
    let pad = if value.is_empty() || value.contains('`') { " " } else { "" };
    format!("{fence}{pad}{value}{pad}{fence}")
}

/// A sentence: pairs of backticks are kept as code, everything else is escaped.
fn prose(value: &str) -> String {
    let value = flat(value, SUMMARY_TEXT_CHARS);
    let mut out = String::with_capacity(value.len() + 16);
    let mut rest = &*value;
    while let Some((before, after)) = rest.split_once('`') {
        let Some((inside, further)) = after.split_once('`') else { break };
        escape(&mut out, before);
        if inside.trim().is_empty() {
            escape(&mut out, "``");
        } else {
            // Two spans side by side would read as one longer fence.
            out.push_str(if out.ends_with('`') { " " } else { "" });
            out.push_str(&span(inside));
        }
        rest = further;
    }
    escape(&mut out, rest);
    out
}

fn escape(out: &mut String, value: &str) {
    // Code forges link these even where they are escaped; an empty comment keeps them apart from what follows.
    const LINKED: [&str; 5] = ["@", "#", "://", "www.", "gh-"];
    let lower = value.to_ascii_lowercase();
    for (at, c) in value.char_indices() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '$' => out.extend(['\\', c]),
            c => out.push(c),
        }
        if LINKED.iter().any(|linked| lower.get(at..).is_some_and(|rest| rest.starts_with(linked))) {
            out.push_str("<!-- -->");
        }
    }
}

/// One tame line of bounded length.
fn flat(value: &str, max: usize) -> String {
    let cut = text::short(value, max);
    text::tame(&cut).replace(['\n', '\t'], " ").trim().to_owned()
}

fn put(out: &mut String, args: std::fmt::Arguments<'_>) {
    let _infallible = out.write_fmt(args);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_keep_their_code_and_lose_their_markup() {
        for (given, expected) in [
            ("`a` and *b*", "`a` and \\*b\\*"),
            ("`a``b`", "`a` `b`"),
            ("```x", "\\`\\`\\`x"),
            ("one ` alone", "one \\` alone"),
            ("[x](y) <b>", "\\[x\\](y) &lt;b&gt;"),
            ("@all #1 http://e www.e GH-1", "@<!-- -->all #<!-- -->1 http:<!-- -->//e w<!-- -->ww.e G<!-- -->H-1"),
            ("a\nb\r\u{202e}", "a b⟦U+000D⟧⟦U+202E⟧"),
        ] {
            assert_eq!(prose(given), expected);
        }
    }

    #[test]
    fn a_name_cannot_close_its_code_span() {
        for (given, expected) in [("a", "`a`"), ("a`b", "`` a`b ``"), ("``", "``` `` ```"), ("", "`  `")] {
            assert_eq!(span(given), expected);
        }
    }
}
