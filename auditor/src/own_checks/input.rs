//! The document that checks in Rego read as `input`, and its JSON Schema.
//!
//! It has the ledger by edge, the graphs, the inventory, the policies and what people declared. Its shape is a promise.

use std::collections::BTreeMap;

use portreeve_engine::decision::Effect;
use serde::Serialize;
use serde_json::{Value, json};

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

/// The JSON Schema of `input`.
#[must_use]
pub fn json_schema() -> Value {
    let text = json!({"type": "string"});
    let maybe = json!({"type": ["string", "null"]});
    let flag = json!({"type": "boolean"});
    let number = json!({"type": "integer"});
    let texts = json!({"type": "array", "items": text});
    let list = |properties: Value| {
        let required: Vec<String> = properties.as_object().map(|o| o.keys().cloned().collect()).unwrap_or_default();
        json!({"type": "array", "items": {"type": "object", "properties": properties, "required": required}})
    };
    let evidence = list(json!({"input": number, "line": number, "sha256": text}));
    let part = |doc: &str, shape: Value| {
        let mut shape = shape;
        if let Some(fields) = shape.as_object_mut() {
            fields.insert("description".to_owned(), json!(doc));
        }
        shape
    };
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Portreeve: input of checks",
        "description": "What a check in Rego (package `portreeve.checks.NAME`, rule `finding`) reads as `input`.",
        "type": "object",
        "required": ["period", "totals", "services", "policies", "edges", "reach", "enforcers", "certificates", "tls", "refusals", "denials", "governance"],
        "properties": {
            "period": {"description": "First and last time in the logs", "type": ["object", "null"]},
            "totals": {"description": "What was counted, as in assessment.json", "type": "object"},
            "services": part("The inventory, and what was asked of each", list(json!({
                "name": text, "zone": maybe, "owner": maybe, "data": texts, "allowed": number, "denied": number, "observed": flag,
                "labels": {"type": "object"}, "operations": texts, "outside": flag, "sensitive": flag}))),
            "policies": part("The policies of the newest bundle", list(json!({
                "id": text, "effect": {"enum": ["allow", "deny"]}, "at": text, "conditional": flag, "wildcard": flag, "expires": maybe,
                "justification": maybe, "owner": maybe, "approved_by": texts, "ticket": maybe, "review_by": maybe}))),
            "edges": part("Who may call what, and who did: the allowed and the observed graph", list(json!({
                "from": maybe, "to": text, "operation": maybe, "allowed": number, "denied": number, "declared": flag,
                "conditional": flag, "policies": texts, "evidence": evidence}))),
            "reach": {"description": "From each service that reaches sensitive data, the shortest chain", "type": "object",
                      "additionalProperties": texts},
            "enforcers": {"description": "Processes that wrote the logs", "type": "array", "items": {"type": "object"}},
            "certificates": {"description": "Client certificates seen", "type": "array", "items": {"type": "object"}},
            "tls": part("TLS versions and suites seen", list(json!({"version": text, "suite": text, "requests": number}))),
            "refusals": part("Strangers refused", list(json!({"reason": text, "count": number, "lines": number}))),
            "denials": part("Denials by reason", list(json!({"reason": text, "count": number}))),
            "governance": {"description": "What people declared, as in assessment.json", "type": "object"},
        },
    })
}
