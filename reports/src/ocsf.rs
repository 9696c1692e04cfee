//! OCSF events, one a line: a Compliance Finding for each control, a Detection Finding for each finding.
//!
//! OCSF has Pass, Warning and Fail; none of them says that a person must look or that nothing was measured. INVARIANT: only
//! `met-technical` is Pass and only `not-met` is Fail; the rest is Other with the verdict's own word, or Warning for `suspect`.

use portreeve_auditor::assessment::{Assessment, ControlResult, Finding, Verdict, Weight};
use portreeve_auditor::checks;
use portreeve_engine::Timestamp;
use serde_json::{Value, json};

use crate::escape::{line, uuid};

/// All events, one JSON object a line.
pub(crate) fn render(a: &Assessment) -> Vec<Value> {
    let at = a.generated_at.or(a.period.map(|p| p.to)).unwrap_or(Timestamp::from_unix_ms(0)).unix_ms().max(0);
    a.controls.iter().map(|c| control(a, c, at)).chain(a.findings.iter().map(|f| finding(a, f, at))).collect()
}

fn metadata(a: &Assessment) -> Value {
    let version = a.tool.split_once(' ').map_or("0", |(_, version)| version);
    json!({"version": OCSF_VERSION, "product": {"name": "Portreeve", "vendor_name": "Portreeve", "version": line(version)}})
}

fn control(a: &Assessment, c: &ControlResult, at: i64) -> Value {
    let (status_id, status) = match c.verdict {
        Verdict::MetTechnical => (1, "Pass"),
        Verdict::Suspect => (2, "Warning"),
        Verdict::NotMet => (3, "Fail"),
        other => (99, other.as_str()),
    };
    // How heavy the heaviest finding is, where the control is refuted or in doubt; nothing else is a matter of severity.
    let concerns = matches!(c.verdict, Verdict::NotMet | Verdict::Suspect);
    let heaviest = a.findings.iter().filter(|f| concerns && c.findings.contains(&f.id)).map(|f| f.severity).min();
    let (severity_id, severity) = heaviest.map_or((1, "Informational"), severity);
    let mut details = vec![line(&c.why)];
    details.extend(c.needs.iter().map(|need| format!("a person must add: {}", line(need))));
    if !c.cannot_show.is_empty() {
        details.push(format!("cannot show: {}", line(&c.cannot_show)));
    }
    json!({
        "class_uid": 2003, "class_name": "Compliance Finding", "category_uid": 2, "category_name": "Findings",
        "activity_id": 1, "activity_name": "Create", "type_uid": 200_301, "type_name": "Compliance Finding: Create",
        "time": at, "severity_id": severity_id, "severity": severity, "metadata": metadata(a),
        "message": line(&format!("{} {}: {} (verdict on the technical evidence alone)", c.catalog, c.id, c.verdict.as_str())),
        "finding_info": {"uid": uuid(&["control", &a.subject, &c.catalog, &c.id]), "title": line(&format!("{} {}", c.id, c.title))},
        "compliance": {
            "control": line(&c.id), "standards": [line(&c.catalog)], "requirements": [line(&c.id)],
            "status_id": status_id, "status": status, "status_code": c.verdict.as_str(), "status_details": details,
        },
        "resources": [{"name": line(&a.subject), "type": "service mesh"}],
        "unmapped": {"verdict": c.verdict.as_str(), "findings": c.findings},
    })
}

fn finding(a: &Assessment, f: &Finding, at: i64) -> Value {
    let (severity_id, severity) = severity(f.severity);
    let title = checks::check(&f.check).map_or(&*f.check, |check| check.title);
    let new = a.baseline.as_ref().map_or("unknown", |b| if b.findings.new.contains(&f.id) { "new" } else { "unchanged" });
    let evidence: Vec<Value> = f
        .evidence
        .iter()
        .filter_map(|e| Some((e, a.inputs.get(e.input)?)))
        .map(|(e, input)| json!({"data": {"log": line(&input.path), "line": e.line, "sha256": e.sha256.hex()}}))
        .collect();
    let mut out = json!({
        "class_uid": 2004, "class_name": "Detection Finding", "category_uid": 2, "category_name": "Findings",
        "activity_id": 1, "activity_name": "Create", "type_uid": 200_401, "type_name": "Detection Finding: Create",
        "time": at, "severity_id": severity_id, "severity": severity, "metadata": metadata(a), "message": line(&f.summary),
        "finding_info": {
            "uid": uuid(&["finding", &a.subject, &f.id]), "uid_alt": f.id, "title": line(&format!("{title}: {}", f.subject)),
            "desc": line(&f.summary), "types": [f.check], "related_events_count": f.count,
            "analytic": {"name": line(&f.check), "type_id": 1, "type": "Rule"},
        },
        "remediation": {"desc": line(&f.remedy)},
        "resources": [{"name": line(&f.subject)}],
        "unmapped": {"controls": f.controls.iter().map(|c| line(c)).collect::<Vec<_>>(), "policy": f.at.as_deref().map(line), "baseline": new},
    });
    if let (false, Some(fields)) = (evidence.is_empty(), out.as_object_mut()) {
        fields.insert("evidences".to_owned(), Value::Array(evidence));
    }
    out
}

const fn severity(weight: Weight) -> (u8, &'static str) {
    match weight {
        Weight::High => (4, "High"),
        Weight::Medium => (3, "Medium"),
        Weight::Low => (2, "Low"),
    }
}

/// The version whose classes these are; every attribute used is known to it.
const OCSF_VERSION: &str = "1.3.0";
