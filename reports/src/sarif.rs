//! SARIF 2.1.0: the frame that every document of ours shares, and findings in it, for code scanning.
//!
//! A finding points at the policy's line where it has one, and else at the first raw line of a log; the others are related
//! places. With a baseline each result says whether it is new, and what is gone is listed as absent.

use portreeve_auditor::assessment::{Assessment, Evidence, Finding, GoneFinding, Weight};
use portreeve_auditor::checks;
use serde_json::{Map, Value, json};

use crate::escape::{line, uri};
use crate::limits::SARIF_RESULTS_MAX;

/// A whole document: one run of the tool with these descriptions and results.
#[must_use]
pub fn document(rules: &[Value], results: &[Value]) -> Value {
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": "portreeve", "semanticVersion": env!("CARGO_PKG_VERSION"), "rules": rules}},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

/// A line of a file, as a place.
fn place(file: &str, number: u64) -> Value {
    json!({"physicalLocation": {"artifactLocation": {"uri": uri(file)}, "region": {"startLine": number.max(1)}}})
}

/// The findings of an assessment. `prefix` leads from the repository's root to the newest bundle.
pub(crate) fn render(a: &Assessment, prefix: &str) -> Value {
    let mut ids: Vec<&str> = a.findings.iter().map(|f| &*f.check).collect();
    ids.sort_unstable();
    ids.dedup();
    let rules: Vec<Value> = ids.iter().map(|id| describe(id)).collect();
    let mut results: Vec<Value> = a.findings.iter().take(SARIF_RESULTS_MAX).map(|f| result(a, f, prefix)).collect();
    if let Some(baseline) = &a.baseline {
        let room = SARIF_RESULTS_MAX.saturating_sub(results.len());
        results.extend(baseline.findings.gone.iter().take(room).map(absent));
    }
    let mut out = document(&rules, &results);
    if let Some(run) = out.pointer_mut("/runs/0").and_then(Value::as_object_mut) {
        let logs: Vec<Value> =
            a.inputs.iter().map(|i| json!({"location": {"uri": uri(&i.path)}, "hashes": {"sha-256": i.sha256.hex()}})).collect();
        if !logs.is_empty() {
            run.insert("artifacts".to_owned(), Value::Array(logs));
        }
        let untold = a.findings.len().saturating_sub(SARIF_RESULTS_MAX);
        run.insert("properties".to_owned(), json!({"subject": line(&a.subject), "findingsNotListed": untold}));
    }
    out
}

fn describe(id: &str) -> Value {
    let title = checks::check(id).map_or(id, |check| check.title);
    json!({"id": id, "shortDescription": {"text": title}, "help": {"text": "see docs/audit.md of Portreeve"}})
}

fn result(a: &Assessment, finding: &Finding, prefix: &str) -> Value {
    let mut text = line(&finding.summary);
    if !finding.remedy.is_empty() {
        text.push_str(&format!(" (what to do: {})", line(&finding.remedy)));
    }
    let policy = finding.at.as_deref().and_then(|at| policy_place(at, prefix));
    let mut places: Vec<Value> = policy.into_iter().chain(finding.evidence.iter().filter_map(|e| log_place(a, e))).collect();
    let related = places.split_off(places.len().min(1));
    let mut out = Map::new();
    out.insert("ruleId".to_owned(), json!(finding.check));
    out.insert("level".to_owned(), json!(level(finding.severity)));
    out.insert("message".to_owned(), json!({"text": text}));
    out.insert("locations".to_owned(), Value::Array(places));
    if !related.is_empty() {
        let numbered = related.into_iter().enumerate().map(|(n, mut place)| {
            if let Some(fields) = place.as_object_mut() {
                fields.insert("id".to_owned(), json!(n));
            }
            place
        });
        out.insert("relatedLocations".to_owned(), numbered.collect());
    }
    out.insert("partialFingerprints".to_owned(), json!({"portreeveFinding/v1": finding.id}));
    if let Some(baseline) = &a.baseline {
        let state = if baseline.findings.new.contains(&finding.id) { "new" } else { "unchanged" };
        out.insert("baselineState".to_owned(), json!(state));
    }
    if let Some(waiver) = &finding.waived {
        let why = format!("{} (until {}; approved by {})", line(&waiver.reason), waiver.until, line(&waiver.approved_by.join(", ")));
        out.insert("suppressions".to_owned(), json!([{"kind": "external", "status": "accepted", "justification": why}]));
    }
    let controls: Vec<String> = finding.controls.iter().map(|c| line(c)).collect();
    out.insert("properties".to_owned(), json!({"controls": controls, "records": finding.count, "subject": line(&finding.subject)}));
    Value::Object(out)
}

/// What was found before and is not any more.
fn absent(gone: &GoneFinding) -> Value {
    json!({
        "ruleId": gone.check, "level": gone.severity.map_or("none", level), "message": {"text": line(&gone.summary)},
        "partialFingerprints": {"portreeveFinding/v1": gone.id}, "baselineState": "absent",
    })
}

fn policy_place(at: &str, prefix: &str) -> Option<Value> {
    let (file, number) = at.rsplit_once(':')?;
    // `file:line:column` too.
    let (file, number) = match file.rsplit_once(':') {
        Some((file, first)) if first.parse::<u64>().is_ok() => (file, first),
        _ => (file, number),
    };
    Some(place(&format!("{prefix}{file}"), number.parse().ok()?))
}

fn log_place(a: &Assessment, evidence: &Evidence) -> Option<Value> {
    a.inputs.get(evidence.input).map(|input| place(&input.path, evidence.line))
}

const fn level(weight: Weight) -> &'static str {
    match weight {
        Weight::High => "error",
        Weight::Medium => "warning",
        Weight::Low => "note",
    }
}
