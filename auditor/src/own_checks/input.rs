//! The document that checks in Rego read as `input`, and its JSON Schema.
//!
//! It has the ledger by edge, the graphs, the inventory, the policies and what people declared. Its shape is a promise.

use std::collections::BTreeMap;

use portreeve_engine::decision::Effect;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::assemble::{certificates, denials, edges, enforcers, refusals, services, tls};
use crate::assessment::{
    CertificateSummary, DenialSummary, EdgeSummary, EnforcerSummary, Evidence, GovernanceSummary, Period, RefusalSummary, ServiceSummary,
    TlsSummary, Totals,
};
use crate::examined::Examined;
use crate::governance;

/// The document.
#[derive(Debug, Serialize)]
pub(crate) struct Input {
    /// First and last record.
    period: Option<Period>,
    totals: Totals,
    services: Vec<InputService>,
    policies: Vec<InputPolicy>,
    edges: Vec<InputEdge>,
    /// From each service that reaches sensitive data, the shortest chain of grants.
    reach: BTreeMap<String, Vec<String>>,
    enforcers: Vec<EnforcerSummary>,
    certificates: Vec<CertificateSummary>,
    tls: Vec<TlsSummary>,
    refusals: Vec<RefusalSummary>,
    denials: Vec<DenialSummary>,
    governance: GovernanceSummary,
}

#[derive(Debug, Serialize)]
struct InputService {
    #[serde(flatten)]
    summary: ServiceSummary,
    labels: BTreeMap<String, String>,
    operations: Vec<String>,
    outside: bool,
    sensitive: bool,
}

#[derive(Debug, Serialize)]
struct InputPolicy {
    id: String,
    effect: &'static str,
    at: String,
    conditional: bool,
    wildcard: bool,
    expires: Option<String>,
    justification: Option<String>,
    owner: Option<String>,
    approved_by: Vec<String>,
    ticket: Option<String>,
    review_by: Option<String>,
}

#[derive(Debug, Serialize)]
struct InputEdge {
    #[serde(flatten)]
    summary: EdgeSummary,
    evidence: Vec<Evidence>,
}

/// The document of what was examined.
pub(crate) fn input(examined: &Examined<'_>) -> Input {
    let lines = examined.group(|key| Some((key.from.as_deref(), key.to.as_str(), key.operation.as_deref())));
    let edge = |summary: EdgeSummary| {
        let key = (summary.from.as_deref(), summary.to.as_str(), summary.operation.as_deref());
        let evidence = lines.get(&key).map(|t| t.evidence.clone()).unwrap_or_default();
        InputEdge { evidence: evidence.into_vec(), summary }
    };
    let mut labelled: BTreeMap<String, _> = services(examined).into_iter().map(|s| (s.name.clone(), s)).collect();
    let service = |s: &portreeve_engine::model::Service| {
        let labels = s.labels.iter().map(|(k, v)| (k.to_string(), v.clone())).collect();
        let operations = s.operations.iter().map(|o| o.id.to_string()).collect();
        let summary = labelled.remove(&*s.name)?;
        Some(InputService { summary, labels, operations, outside: s.is_outside(), sensitive: examined.scope().is_sensitive(s) })
    };
    Input {
        period: examined.fold.seen.map(|(from, to)| Period { from, to }),
        totals: examined.fold.totals,
        services: examined.newest.services().iter().filter_map(service).collect(),
        policies: examined.newest.policies().iter().map(policy).collect(),
        edges: edges(examined).into_iter().map(edge).collect(),
        reach: examined.granted.reach().into_iter().map(|(k, v)| (k.to_owned(), v.into_iter().map(str::to_owned).collect())).collect(),
        enforcers: enforcers(examined),
        certificates: certificates(examined),
        tls: tls(examined),
        refusals: refusals(examined),
        denials: denials(examined),
        governance: governance::summary(examined, &[]),
    }
}

fn policy(policy: &portreeve_engine::Policy) -> InputPolicy {
    let g = &policy.governance;
    InputPolicy {
        id: policy.reference.id.to_string(),
        effect: if policy.reference.effect == Effect::Allow { "allow" } else { "deny" },
        at: policy.reference.at.short(),
        conditional: policy.conditional,
        wildcard: policy.wildcard,
        expires: policy.expires.map(|t| t.to_string()),
        justification: g.justification.clone(),
        owner: g.owner.clone(),
        approved_by: g.approved_by.clone(),
        ticket: g.ticket.clone(),
        review_by: g.review_by.map(|d| d.to_string()),
    }
}

/// The JSON Schema of `input`. Every object of it names all that it can have, but for mappings with free names: checks that read anything
/// else are refused.
#[must_use]
pub fn json_schema() -> Value {
    let text = || json!({"type": "string"});
    let maybe = || json!({"type": ["string", "null"]});
    let flag = || json!({"type": "boolean"});
    let number = || json!({"type": "integer"});
    let texts = || list(text());
    let evidence = || list(object(json!({"input": number(), "line": number(), "sha256": text()})));
    let mut edge = object(json!({
        "from": maybe(), "to": text(), "operation": maybe(), "allowed": number(), "denied": number(), "declared": flag(),
        "conditional": flag(), "policies": texts(), "evidence": evidence()}));
    // Of callers that are no service of the inventory, where the lines say it.
    if let Some(known) = edge.get_mut("properties").and_then(Value::as_object_mut) {
        known.extend([("from_id".to_owned(), text()), ("from_name".to_owned(), text())]);
    }
    let counts = [
        "lines",
        "decided",
        "allowed",
        "denied",
        "refused",
        "refused_attempts",
        "lifecycle",
        "duplicates",
        "rejected",
        "mismatches",
        "not_replayable",
        "unrecorded",
        "undetermined",
        "unlawful",
        "overdenied",
    ];
    let totals: Map<String, Value> = counts.iter().map(|name| ((*name).to_owned(), number())).collect();
    let mut period = object(json!({"from": text(), "to": text()}));
    or_null(&mut period);
    let properties = json!({
        "period": part("First and last time in the logs", period),
        "totals": part("What was counted, as in assessment.json", object(Value::Object(totals))),
        "services": part("The inventory, and what was asked of each", list(object(json!({
            "name": text(), "zone": maybe(), "owner": maybe(), "data": texts(), "allowed": number(), "denied": number(), "observed": flag(),
            "labels": {"type": "object", "additionalProperties": text()}, "operations": texts(), "outside": flag(), "sensitive": flag()})))),
        "policies": part("The policies of the newest bundle", list(object(json!({
            "id": text(), "effect": {"enum": ["allow", "deny"]}, "at": text(), "conditional": flag(), "wildcard": flag(), "expires": maybe(),
            "justification": maybe(), "owner": maybe(), "approved_by": texts(), "ticket": maybe(), "review_by": maybe()})))),
        "edges": part("Who may call what, and who did: the allowed and the observed graph", list(edge)),
        "reach": {"description": "From each service that reaches sensitive data, the shortest chain", "type": "object",
                  "additionalProperties": texts()},
        "enforcers": part("Processes that wrote the logs", list(object(json!({
            "enforcer": text(), "service": maybe(), "instance": text(), "from": text(), "to": text(), "decided": number(),
            "unrecorded": number(), "revisions": texts(), "modes": texts(), "stopped": flag(), "silence_ms_max": number()})))),
        "certificates": part("Client certificates seen", list(object(json!({
            "id": text(), "serial": text(), "sha256": text(), "not_after": text(), "from": text(), "to": text(), "requests": number()})))),
        "tls": part("TLS versions and suites seen", list(object(json!({"version": text(), "suite": text(), "requests": number()})))),
        "refusals": part("Strangers refused", list(object(json!({"reason": text(), "count": number(), "lines": number()})))),
        "denials": part("Denials by reason", list(object(json!({"reason": text(), "count": number()})))),
        "governance": part("What people declared, as in assessment.json", declared()),
    });
    let required: Vec<String> = properties.as_object().map(|all| all.keys().cloned().collect()).unwrap_or_default();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Portreeve: input of checks",
        "description": "What a check in Rego (package `portreeve.checks.NAME`, rule `finding`) reads as `input`.",
        "type": "object",
        "required": required,
        "properties": properties,
        "additionalProperties": false,
    })
}

/// What people declared.
fn declared() -> Value {
    let text = || json!({"type": "string"});
    let maybe = || json!({"type": ["string", "null"]});
    let flag = || json!({"type": "boolean"});
    let number = || json!({"type": "integer"});
    let texts = || list(text());
    let mut scope = object(json!({
        "name": text(), "classes": list(object(json!({"service": text(), "class": maybe()}))), "sensitive_data": texts(),
        "untrusted_zones": texts(), "environments": list(object(json!({"name": text(), "production": flag()}))), "tenants": texts(),
        "networks": list(object(json!({"name": text(), "open_public": flag()}))), "third_parties": texts(), "service_provider": flag(),
        "not_applicable": list(object(json!({"control": text(), "reason": text(), "approved_by": texts(), "at": text()})))}));
    or_null(&mut scope);
    object(json!({
        "files": list(object(json!({"path": text(), "sha256": text()}))),
        "scope": scope,
        "reviews": list(object(json!({
            "name": text(), "of": text(), "on": text(), "by": texts(), "revision": maybe(), "of_newest": {"type": ["boolean", "null"]},
            "acknowledged_by": texts(), "acknowledged": flag(), "covers": texts(), "overdue": flag(), "days_after": number(),
            "too_late": flag(), "result": text(), "at": text()}))),
        "attestations": list(object(json!({
            "name": text(), "statement": text(), "by": texts(), "on": text(), "controls": texts(), "overdue": flag(), "at": text()}))),
        "exceptions": list(object(json!({
            "name": text(), "of": text(), "reason": text(), "approved_by": texts(), "until": text(), "expired": flag(), "findings": texts(),
            "at": text()}))),
        "audit_runs": number(), "alerts": number(), "incidents": number(), "dispositions": number(),
        "configs": list(object(json!({
            "path": text(), "sha256": text(), "service": maybe(), "ran": texts(),
            "settings": list(object(json!({"name": text(), "value": text(), "at": maybe()})))}))),
        "history": list(object(json!({
            "commit": text(), "author": text(), "at": text(), "approved_by": texts(), "revision": maybe(), "in_force": flag()}))),
    }))
}

fn list(items: Value) -> Value {
    Value::Object(Map::from_iter([("type".to_owned(), json!("array")), ("items".to_owned(), items)]))
}

/// An object that has these and no others.
fn object(properties: Value) -> Value {
    let required: Vec<String> = properties.as_object().map(|all| all.keys().cloned().collect()).unwrap_or_default();
    let fields =
        [("type", json!("object")), ("properties", properties), ("required", json!(required)), ("additionalProperties", json!(false))];
    Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn part(says: &str, mut shape: Value) -> Value {
    if let Some(fields) = shape.as_object_mut() {
        fields.insert("description".to_owned(), json!(says));
    }
    shape
}

/// It may be missing.
fn or_null(shape: &mut Value) {
    if let Some(kind) = shape.get_mut("type") {
        *kind = json!([kind, "null"]);
    }
}
