//! Findings, controls and edges as CSV (RFC 4180), for spreadsheets.
//!
//! INVARIANT: no cell acts in a spreadsheet: what would be read as a formula begins with an apostrophe, as spreadsheets want it.

use portreeve_auditor::assessment::Assessment;

use crate::escape::line;

/// One line for each finding.
pub(crate) fn findings(a: &Assessment) -> String {
    let new = |id: &String| match &a.baseline {
        None => "",
        Some(b) if b.findings.new.contains(id) => "new",
        Some(_) => "unchanged",
    };
    let mut out = row(&["id", "check", "weight", "subject", "summary", "remedy", "policy", "records", "controls", "evidence", "baseline"]);
    for f in &a.findings {
        let place =
            |e: &portreeve_auditor::assessment::Evidence| a.inputs.get(e.input).map(|i| format!("{}:{} {}", i.path, e.line, e.sha256));
        let evidence: Vec<String> = f.evidence.iter().filter_map(place).collect();
        out.push_str(&row(&[
            &f.id,
            &f.check,
            f.severity.as_str(),
            &f.subject,
            &f.summary,
            &f.remedy,
            f.at.as_deref().unwrap_or_default(),
            &f.count.to_string(),
            &f.controls.join("; "),
            &evidence.join("; "),
            new(&f.id),
        ]));
    }
    for gone in a.baseline.iter().flat_map(|b| &b.findings.gone) {
        let weight = gone.severity.map_or("", |w| w.as_str());
        out.push_str(&row(&[&gone.id, &gone.check, weight, &gone.subject, &gone.summary, "", "", "", "", "", "gone"]));
    }
    out
}

/// One line for each control.
pub(crate) fn controls(a: &Assessment) -> String {
    let mut out = row(&["catalog", "id", "family", "title", "verdict", "before", "why", "checks", "findings", "needs", "cannot_show"]);
    for c in &a.controls {
        let changed = a.baseline.iter().flat_map(|b| &b.verdicts).find(|v| v.catalog == c.catalog && v.id == c.id);
        let before = match (&a.baseline, changed) {
            (None, _) => "",
            (Some(_), None) => c.verdict.as_str(),
            (Some(_), Some(change)) => change.before.map_or("", |v| v.as_str()),
        };
        out.push_str(&row(&[
            &c.catalog,
            &c.id,
            &c.family,
            &c.title,
            c.verdict.as_str(),
            before,
            &c.why,
            &c.checks.join("; "),
            &c.findings.join("; "),
            &c.needs.join("; "),
            &c.cannot_show,
        ]));
    }
    out
}

/// One line for each edge.
pub(crate) fn edges(a: &Assessment) -> String {
    let mut out = row(&["from", "from_id", "to", "operation", "allowed", "denied", "declared", "conditional", "policies"]);
    for e in &a.edges {
        out.push_str(&row(&[
            e.from.as_deref().unwrap_or_default(),
            e.from_id.as_ref().map_or("", |id| id.as_str()),
            &e.to,
            e.operation.as_deref().unwrap_or_default(),
            &e.allowed.to_string(),
            &e.denied.to_string(),
            if e.declared { "yes" } else { "no" },
            if e.conditional { "yes" } else { "no" },
            &e.policies.join("; "),
        ]));
    }
    out
}

fn row(cells: &[&str]) -> String {
    let cells: Vec<String> = cells.iter().map(|text| cell(text)).collect();
    cells.join(",") + "\r\n"
}

fn cell(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    let mut text = line(text);
    if text.starts_with(['=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}', '|', '%']) {
        text.insert(0, '\'');
    }
    if text.contains([',', '"', ';']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_acts() {
        for (text, expected) in [
            ("plain", "plain"),
            ("", ""),
            ("=cmd|'/C calc'!A0", "'=cmd|'/C calc'!A0"),
            ("@SUM(1,2)", "\"'@SUM(1,2)\""),
            ("\t=1", "'=1"),
            ("\r\n-1", "⟦U+000D⟧ -1"),
            ("a,\"b\"", "\"a,\"\"b\"\"\""),
            ("two\nlines", "two lines"),
            ("17", "17"),
        ] {
            assert_eq!(cell(text), expected, "{text:?}");
        }
    }
}
