//! A span, and the JSON in which collectors take spans (OTLP/HTTP, the JSON mapping of its protocol buffers).

use std::time::Duration;

use portreeve_engine::record::Why;
use portreeve_engine::record_text::RequestText;
use portreeve_engine::{Decision, Timestamp};
use serde_json::{Value, json};

use super::{Trace, hex};
use crate::gate::Caller;
use crate::limits::SPAN_TEXT_BYTES_MAX;

/// What is told of one request.
#[derive(Clone, Debug)]
pub struct Span {
    /// Its place.
    pub trace: Trace,
    /// The service and the operation: few values.
    pub name: String,
    /// When the request was read.
    pub began: Timestamp,
    /// Until it ended.
    pub took: Duration,
    /// The status that the caller got.
    pub status: Option<u16>,
    /// What else is told: names by the OpenTelemetry conventions, ours under `portreeve.`.
    pub attributes: Vec<(&'static str, String)>,
}

impl Span {
    /// What is known of a request when it is decided.
    #[must_use]
    pub fn new(trace: &Trace, began: Timestamp, caller: &Caller, facts: &RequestText<'_>, decision: &Decision<'_>) -> Self {
        let method = facts.method.unwrap_or(facts.protocol);
        let name = match facts.operation {
            Some(operation) => format!("{} {operation}", cut(method)),
            None => cut(method),
        };
        let given = [
            ("http.request.method", facts.method.map(cut)),
            ("url.path", facts.path.as_deref().map(cut)),
            ("server.address", facts.host.map(cut)),
            ("client.address", Some(caller.ip.to_string())),
            ("portreeve.principal", Some(caller.peer().svid().id.to_string())),
            ("portreeve.operation", facts.operation.map(str::to_owned)),
            ("portreeve.effect", Some(decision.effect.to_string())),
            ("portreeve.reason", Some(decision.reason.to_string())),
            ("portreeve.request_id", Some(facts.id.to_owned())),
        ];
        let attributes = given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        Self { trace: trace.clone(), name, began, took: Duration::ZERO, status: None, attributes }
    }

    /// It came to its end.
    #[must_use]
    pub fn ended(mut self, took: Duration, status: Option<u16>, why: Why) -> Self {
        let why = serde_json::to_value(why).ok().and_then(|why| why.as_str().map(str::to_owned));
        self.attributes.extend(why.map(|why| ("portreeve.why", why)));
        Self { took, status, ..self }
    }

    /// It was refused.
    #[must_use]
    pub fn refused(self, took: Duration, status: u16) -> Self {
        Self { took, status: Some(status), ..self }
    }
}

/// Who tells.
#[derive(Clone, Debug)]
pub(super) struct Teller {
    pub(super) service: String,
    pub(super) instance: String,
}

/// The body of one export.
pub(super) fn body(teller: &Teller, spans: &[Span]) -> Value {
    let resource = [
        ("service.name", teller.service.as_str()),
        ("service.instance.id", teller.instance.as_str()),
        ("telemetry.sdk.name", "portreeve"),
        ("telemetry.sdk.language", "rust"),
        ("telemetry.sdk.version", env!("CARGO_PKG_VERSION")),
    ];
    json!({"resourceSpans": [{
        "resource": {"attributes": resource.map(|(key, value)| text(key, value))},
        "scopeSpans": [{
            "scope": {"name": "portreeve", "version": env!("CARGO_PKG_VERSION")},
            "spans": spans.iter().map(one).collect::<Vec<_>>(),
        }],
    }]})
}

fn one(span: &Span) -> Value {
    // Numbers of 64 bits are texts in this mapping, ids are hexadecimal, enumerations are numbers.
    let began = i128::from(span.began.unix_ms()) * 1_000_000;
    let ended = began + i128::try_from(span.took.as_nanos()).unwrap_or_default();
    let mut attributes: Vec<Value> = span.attributes.iter().map(|(key, value)| text(key, value)).collect();
    if let Some(status) = span.status {
        attributes.push(json!({"key": "http.response.status_code", "value": {"intValue": status.to_string()}}));
    }
    // For a server an error is its own: a refusal is no failure.
    let failed = span.status.is_some_and(|status| status >= 500);
    let mut out = json!({
        "traceId": hex(&span.trace.id),
        "spanId": hex(&span.trace.span),
        "name": span.name,
        "kind": SERVER,
        "startTimeUnixNano": began.to_string(),
        "endTimeUnixNano": ended.to_string(),
        "attributes": attributes,
        "status": if failed { json!({"code": ERROR}) } else { json!({}) },
        "flags": u32::from(span.trace.sampled),
    });
    if let (Some(parent), Value::Object(fields)) = (&span.trace.parent, &mut out) {
        fields.insert("parentSpanId".to_owned(), Value::String(hex(parent)));
    }
    if let (Some(state), Value::Object(fields)) = (&span.trace.state, &mut out) {
        fields.insert("traceState".to_owned(), Value::String(state.clone()));
    }
    out
}

/// A text, as far as it is told.
fn cut(text: &str) -> String {
    let end = text.floor_char_boundary(SPAN_TEXT_BYTES_MAX);
    text.get(..end).unwrap_or_default().to_owned()
}

fn text(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

/// `SPAN_KIND_SERVER`.
const SERVER: u32 = 2;
/// `STATUS_CODE_ERROR`.
const ERROR: u32 = 2;
