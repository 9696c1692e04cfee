//! OSCAL 1.1: assessment results, and a plan of action and milestones.
//!
//! OSCAL knows two states of an objective, and a requirement is more than what a machine can measure. So every finding here is
//! about an objective of our own, the technical part as its control defines it, which the document declares; none is about the
//! requirement. INVARIANT: `needs-human`, `not-assessed`, `not-applicable` and `suspect` are observations without a finding;
//! `met-technical` is never a bare `satisfied`: it carries what a person must add and what the evidence cannot show. Every
//! identifier follows from what it names, and every time from the inputs.

use std::collections::BTreeSet;

use portreeve_auditor::assessment::{Assessment, ControlResult, Evidence, Finding, Verdict};
use portreeve_engine::{Digest, Timestamp};
use serde_json::{Map, Value, json};

use crate::escape::{line, uri, uuid};

/// The assessment results.
pub(crate) fn results(a: &Assessment) -> Value {
    let set = Set::of(a);
    let decided: Vec<&ControlResult> = a.controls.iter().filter(|c| has_finding(c.verdict)).collect();
    let mut root = Map::new();
    root.insert("uuid".to_owned(), json!(uuid(&["results", &set.seed])));
    root.insert("metadata".to_owned(), set.metadata("Assessment results"));
    root.insert(
        "import-ap".to_owned(),
        json!({"href": format!("#{}", set.method_uuid()), "remarks": "There is no separate plan: the resource says how the examination was done."}),
    );
    if !decided.is_empty() {
        let objectives: Vec<Value> = decided.iter().map(|c| objective(c)).collect();
        root.insert("local-definitions".to_owned(), json!({"objectives-and-methods": objectives}));
    }
    let mut result = Map::new();
    result.insert("uuid".to_owned(), json!(uuid(&["result", &set.seed])));
    result.insert("title".to_owned(), json!(line(&format!("Examination of {}", a.subject))));
    result.insert("description".to_owned(), json!("What recorded traffic and policy show about each control, and what they do not."));
    result.insert("start".to_owned(), json!(a.period.map_or(set.at, |p| p.from)));
    result.insert("end".to_owned(), json!(a.period.map_or(set.at, |p| p.to)));
    result.insert("local-definitions".to_owned(), json!({"assessment-assets": set.assets()}));
    result.insert("reviewed-controls".to_owned(), reviewed(a, &decided));
    put(&mut result, "observations", a.controls.iter().map(|c| set.verdict(c)).chain(a.findings.iter().map(|f| set.observation(f))));
    put(&mut result, "risks", set.risky().into_iter().map(|f| set.risk(f)));
    put(&mut result, "findings", decided.iter().map(|c| set.finding(c)));
    root.insert("results".to_owned(), json!([result]));
    root.insert("back-matter".to_owned(), set.back_matter());
    json!({"assessment-results": root})
}

/// The plan: an item for each control that is refuted or waived; `None` where there is none, since OSCAL knows no empty plan.
pub(crate) fn poam(a: &Assessment) -> Option<Value> {
    let set = Set::of(a);
    let open: Vec<&ControlResult> = a.controls.iter().filter(|c| is_open(c.verdict)).collect();
    if open.is_empty() {
        return None;
    }
    let bearing: BTreeSet<&String> = open.iter().flat_map(|c| &c.findings).collect();
    let mut root = Map::new();
    root.insert("uuid".to_owned(), json!(uuid(&["poam", &set.seed])));
    root.insert("metadata".to_owned(), set.metadata("Plan of action and milestones"));
    root.insert("system-id".to_owned(), json!({"id": line(&a.subject)}));
    root.insert("local-definitions".to_owned(), json!({"assessment-assets": set.assets()}));
    let seen = a.findings.iter().filter(|f| bearing.contains(&f.id));
    put(&mut root, "observations", open.iter().map(|c| set.verdict(c)).chain(seen.map(|f| set.observation(f))));
    put(&mut root, "risks", set.risky().into_iter().map(|f| set.risk(f)));
    put(&mut root, "poam-items", open.iter().map(|c| set.item(c)));
    root.insert("back-matter".to_owned(), set.back_matter());
    Some(json!({"plan-of-action-and-milestones": root}))
}

const fn has_finding(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::MetTechnical | Verdict::NotMet | Verdict::Waived)
}

const fn is_open(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::NotMet | Verdict::Waived)
}

/// What every part of a document needs.
struct Set<'a> {
    a: &'a Assessment,
    /// Names this assessment and no other.
    seed: String,
    /// When the document was made, as far as the inputs say: the end of the period, unless a time was asked for.
    at: Timestamp,
}

impl<'a> Set<'a> {
    fn of(a: &'a Assessment) -> Self {
        // A well-formed assessment can be serialised; another one would still have the digest of nothing, and valid documents.
        let seed = Digest::of(&serde_json::to_vec(a).unwrap_or_default()).hex();
        let at = a.generated_at.or(a.period.map(|p| p.to)).unwrap_or(Timestamp::from_unix_ms(0));
        Self { a, seed, at }
    }

    /// The same for the same thing in every assessment of this subject.
    fn stable(&self, kind: &str, key: &str) -> String {
        uuid(&[kind, &self.a.subject, key])
    }

    fn metadata(&self, title: &str) -> Value {
        json!({
            "title": line(&format!("{title}: {}", self.a.subject)),
            "last-modified": self.at,
            "version": self.seed.get(..12).unwrap_or_default(),
            "oscal-version": OSCAL_VERSION,
            "props": [property("tool", &self.a.tool)],
            "remarks": "Verdicts speak of the technical evidence given. Whether a requirement is fulfilled is the assessor's to say.",
        })
    }

    fn tool_uuid(&self) -> String {
        uuid(&["tool", &self.a.tool])
    }

    fn method_uuid(&self) -> String {
        uuid(&["method", &self.seed])
    }

    fn assets(&self) -> Value {
        let tool = self.tool_uuid();
        json!({
            "components": [{
                "uuid": tool, "type": "software", "title": line(&self.a.tool), "status": {"state": "operational"},
                "description": "Reads decision logs, asks the same policy again, and compares.",
            }],
            "assessment-platforms": [{"uuid": uuid(&["platform", &self.a.tool]), "uses-components": [{"component-uuid": tool}]}],
        })
    }

    fn origins(&self) -> Value {
        json!([{"actors": [{"type": "tool", "actor-uuid": self.tool_uuid()}]}])
    }

    /// What was concluded about a control, whatever it was.
    fn verdict(&self, c: &ControlResult) -> Value {
        let mut text = vec![format!("Verdict of the tool: {}; {}", c.verdict.as_str(), line(&c.why))];
        text.extend(c.needs.iter().map(|need| format!("A person must add: {}", line(need))));
        if !c.cannot_show.is_empty() {
            text.push(format!("This evidence cannot show: {}", line(&c.cannot_show)));
        }
        json!({
            "uuid": self.stable("verdict", &control(c)), "title": line(&format!("{} {}", c.id, c.title)),
            "description": text.join("\n\n"), "methods": ["EXAMINE"], "types": ["control-objective"], "collected": self.at,
            "origins": self.origins(),
            "props": [property("verdict", c.verdict.as_str()), property("control", &format!("{} {}", c.catalog, c.id))],
        })
    }

    fn observation(&self, f: &Finding) -> Value {
        let mut out = json!({
            "uuid": self.stable("observation", &f.id), "title": line(&format!("{}: {}", f.check, f.subject)), "description": line(&f.summary),
            "methods": ["EXAMINE"], "types": ["finding"], "collected": self.at, "origins": self.origins(),
            "props": [property("check", &f.check), property("weight", f.severity.as_str()), property("records", &f.count.to_string())],
        });
        let evidence: Vec<Value> = f.evidence.iter().filter_map(|e| self.evidence(e)).collect();
        if let Some(fields) = out.as_object_mut() {
            if !evidence.is_empty() {
                fields.insert("relevant-evidence".to_owned(), Value::Array(evidence));
            }
            if let Some(at) = &f.at {
                fields.insert("remarks".to_owned(), json!(format!("Policy: {}", line(at))));
            }
        }
        out
    }

    fn evidence(&self, e: &Evidence) -> Option<Value> {
        let input = self.a.inputs.get(e.input)?;
        Some(json!({
            "href": format!("#{}", self.input_uuid(e.input)), "description": format!("line {} of {}", e.line, line(&input.path)),
            "props": [property("line", &e.line.to_string()), property("sha256", &e.sha256.hex())],
        }))
    }

    fn input_uuid(&self, index: usize) -> String {
        uuid(&["input", &self.seed, &index.to_string()])
    }

    /// Findings that bear on a control which is refuted or waived.
    fn risky(&self) -> Vec<&'a Finding> {
        let bearing: BTreeSet<&String> = self.a.controls.iter().filter(|c| is_open(c.verdict)).flat_map(|c| &c.findings).collect();
        self.a.findings.iter().filter(|f| bearing.contains(&f.id)).collect()
    }

    fn risk(&self, f: &Finding) -> Value {
        let open = f.waived.is_none() && self.a.controls.iter().any(|c| c.verdict == Verdict::NotMet && c.findings.contains(&f.id));
        let mut out = json!({
            "uuid": self.stable("risk", &f.id), "title": line(&format!("{}: {}", f.check, f.subject)), "description": line(&f.summary),
            "statement": format!("{}, by the check `{}`", f.severity.as_str(), line(&f.check)),
            "status": if open { "open" } else { "deviation-approved" },
            "origins": self.origins(), "props": [property("weight", f.severity.as_str())],
            "related-observations": [{"observation-uuid": self.stable("observation", &f.id)}],
        });
        if let (Some(waiver), Some(fields)) = (&f.waived, out.as_object_mut()) {
            let why = format!("Exception `{}` until {}: {}", line(&waiver.exception), waiver.until, line(&waiver.reason));
            fields.insert("deadline".to_owned(), json!(format!("{}T23:59:59Z", waiver.until)));
            fields.insert("statement".to_owned(), json!(format!("{why}; approved by {}", line(&waiver.approved_by.join(", ")))));
        }
        if let (false, Some(fields)) = (f.remedy.is_empty(), out.as_object_mut()) {
            let remedy = json!([{
                "uuid": self.stable("remedy", &f.id), "lifecycle": "recommendation", "title": "What to do", "description": line(&f.remedy),
            }]);
            fields.insert("remediations".to_owned(), remedy);
        }
        out
    }

    fn finding(&self, c: &ControlResult) -> Value {
        let (state, reason, said) = match c.verdict {
            Verdict::MetTechnical => ("satisfied", "pass", "The technical part holds for all that was measured"),
            Verdict::Waived => ("not-satisfied", "other", "The technical part is refuted, and an approved exception covers it"),
            _ => ("not-satisfied", "fail", "The technical part is refuted"),
        };
        let remarks = "The state is that of the technical objective which this document declares, not of the requirement; a person must add the rest.";
        let mut out = json!({
            "uuid": self.stable("finding", &control(c)), "title": line(&format!("{} (technical part): {}", c.id, c.title)),
            "description": format!("{said}: {}", line(&c.why)), "origins": self.origins(), "props": [property("verdict", c.verdict.as_str())],
            "target": {
                "type": "objective-id", "target-id": objective_id(c), "title": line(&format!("{}: technical part", c.id)),
                "props": [property("verdict", c.verdict.as_str())], "status": {"state": state, "reason": reason}, "remarks": remarks,
            },
            "related-observations": self.related(c),
        });
        let risks: Vec<Value> = if is_open(c.verdict) { self.risks_of(c) } else { Vec::new() };
        if let (false, Some(fields)) = (risks.is_empty(), out.as_object_mut()) {
            fields.insert("related-risks".to_owned(), Value::Array(risks));
        }
        out
    }

    /// The observation of the control's verdict, and those of the findings that bear on it.
    fn related(&self, c: &ControlResult) -> Vec<Value> {
        let of_findings = self.known(c).map(|id| self.stable("observation", id));
        std::iter::once(self.stable("verdict", &control(c))).chain(of_findings).map(|id| json!({"observation-uuid": id})).collect()
    }

    fn risks_of(&self, c: &ControlResult) -> Vec<Value> {
        self.known(c).map(|id| json!({"risk-uuid": self.stable("risk", id)})).collect()
    }

    fn known(&self, c: &'a ControlResult) -> impl Iterator<Item = &'a String> {
        let all: BTreeSet<&String> = self.a.findings.iter().map(|f| &f.id).collect();
        c.findings.iter().filter(move |id| all.contains(id))
    }

    fn item(&self, c: &ControlResult) -> Value {
        let mut out = json!({
            "uuid": self.stable("item", &control(c)), "title": line(&format!("{} {}", c.id, c.title)), "description": line(&c.why),
            "origins": self.origins(), "related-observations": self.related(c),
            "props": [property("verdict", c.verdict.as_str()), property("control", &format!("{} {}", c.catalog, c.id))],
        });
        let risks = self.risks_of(c);
        if let (false, Some(fields)) = (risks.is_empty(), out.as_object_mut()) {
            fields.insert("related-risks".to_owned(), Value::Array(risks));
        }
        out
    }

    /// How the examination was done, the logs and the bundles.
    fn back_matter(&self) -> Value {
        let said = |texts: &[String]| texts.iter().map(|t| line(t)).collect::<Vec<_>>().join("\n\n");
        let mut all = vec![json!({
            "uuid": self.method_uuid(), "title": "How the examination was done", "description": said(&self.a.method),
        })];
        for (n, input) in self.a.inputs.iter().enumerate() {
            all.push(json!({
                "uuid": self.input_uuid(n), "title": line(&format!("Log {}", input.path)),
                "props": [property("lines", &input.lines.to_string()), property("format", &input.format)],
                "rlinks": [{"href": uri(&input.path), "hashes": [{"algorithm": "SHA-256", "value": input.sha256.hex()}]}],
            }));
        }
        for (n, bundle) in self.a.bundles.iter().enumerate() {
            all.push(json!({
                "uuid": uuid(&["bundle", &self.seed, &n.to_string()]), "title": line(&format!("Policy {}", bundle.path)),
                "props": [property("revision", &bundle.revision.to_string())], "rlinks": [{"href": uri(&bundle.path)}],
            }));
        }
        json!({"resources": all})
    }
}

/// The controls looked at, and the objectives of ours that findings are about.
fn reviewed(a: &Assessment, decided: &[&ControlResult]) -> Value {
    let ids: Vec<Value> = a.controls.iter().map(|c| json!({"control-id": control(c)})).collect();
    let mut selection = json!({"description": line(&format!("Every control of {}", a.catalog_titles.join(", ")))});
    if let Some(fields) = selection.as_object_mut() {
        if ids.is_empty() {
            fields.insert("include-all".to_owned(), json!({}));
        } else {
            fields.insert("include-controls".to_owned(), Value::Array(ids));
        }
    }
    let mut out = json!({"control-selections": [selection]});
    let objectives: Vec<Value> = decided.iter().map(|c| json!({"objective-id": objective_id(c)})).collect();
    if let (false, Some(fields)) = (objectives.is_empty(), out.as_object_mut()) {
        fields.insert("control-objective-selections".to_owned(), json!([{"include-objectives": objectives}]));
    }
    out
}

/// The technical part of a control, as an objective of this document.
fn objective(c: &ControlResult) -> Value {
    let mut prose = vec![format!("What logs and policy can show of: {}", line(&c.title))];
    if !c.checks.is_empty() {
        prose.push(format!("Checks that bear on it: {}", line(&c.checks.join(", "))));
    }
    prose.extend(c.needs.iter().map(|need| format!("Not part of it, and to be added by a person: {}", line(need))));
    if !c.cannot_show.is_empty() {
        prose.push(format!("It cannot show: {}", line(&c.cannot_show)));
    }
    json!({
        "control-id": control(c), "description": "The part of the control that a machine can measure; never the whole of it.",
        "parts": [{"id": objective_id(c), "name": "objective", "title": line(&format!("{}: technical part", c.id)), "prose": prose.join("\n\n")}],
    })
}

fn objective_id(c: &ControlResult) -> String {
    format!("{}.technical", control(c))
}

/// The control's id as a token. Ids of NIST SP 800-53 are those of its own OSCAL catalogue (`ac-4`, `ac-4.21`); others have their
/// catalogue before them, since a token begins with a letter.
fn control(c: &ControlResult) -> String {
    if c.catalog.contains("800-53")
        && let Some(id) = nist(&c.id)
    {
        return id;
    }
    let name = format!("{}_{}", c.catalog, c.id);
    let fits = |ch: char| ch.is_ascii_alphanumeric() || matches!(ch, '.' | '-' | '_');
    let mut token: String = name.chars().map(|ch| if fits(ch) { ch } else { '_' }).collect();
    if !token.starts_with(|ch: char| ch.is_ascii_alphabetic() || ch == '_') {
        token.insert(0, '_');
    }
    if name.chars().all(fits) { token } else { format!("{token}_{}", Digest::of(name.as_bytes()).hex().get(..8).unwrap_or_default()) }
}

fn nist(id: &str) -> Option<String> {
    let (family, number) = id.split_once('-')?;
    let (number, enhancement) = match number.split_once('(') {
        Some((number, rest)) => (number, Some(rest.strip_suffix(')')?)),
        None => (number, None),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let is_family = family.len() == 2 && family.bytes().all(|b| b.is_ascii_alphabetic());
    if !is_family || !digits(number) || !enhancement.is_none_or(digits) {
        return None;
    }
    let family = family.to_ascii_lowercase();
    Some(enhancement.map_or_else(|| format!("{family}-{number}"), |e| format!("{family}-{number}.{e}")))
}

fn property(name: &str, value: &str) -> Value {
    json!({"name": name, "ns": NAMESPACE, "value": line(value)})
}

/// OSCAL has no empty lists: a part without members is left out.
fn put(into: &mut Map<String, Value>, name: &str, values: impl Iterator<Item = Value>) {
    let values: Vec<Value> = values.collect();
    if !values.is_empty() {
        into.insert(name.to_owned(), Value::Array(values));
    }
}

/// The version written; what is written is valid by 1.2 too.
const OSCAL_VERSION: &str = "1.1.3";
/// The namespace of our properties: a name, not an address.
const NAMESPACE: &str = "urn:portreeve:oscal:1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_controls_become_tokens() {
        for (catalog, id, expected) in [
            ("pci-dss-4.0.1", "7.3.3", "pci-dss-4.0.1_7.3.3"),
            ("nist-sp-800-53", "AC-4", "ac-4"),
            ("nist-sp-800-53", "AC-4(21)", "ac-4.21"),
            ("nist-sp-800-53", "T-1", "nist-sp-800-53_T-1"),
            ("9own", "A", "_9own_A"),
        ] {
            let c = ControlResult { catalog: catalog.to_owned(), id: id.to_owned(), ..sample() };
            assert_eq!(control(&c), expected);
        }
        let odd = |id: &str| control(&ControlResult { id: id.to_owned(), ..sample() });
        assert_ne!(odd("A 1"), odd("A/1"));
    }

    fn sample() -> ControlResult {
        ControlResult { catalog: "own".to_owned(), id: "1".to_owned(), ..ControlResult::default() }
    }
}
