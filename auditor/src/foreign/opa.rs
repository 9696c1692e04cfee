//! OPA's decision log, with the input of its Envoy plugin: OPA's answer is what the mesh did.
//!
//! What the input does not have, OPA did not know. Masked parts are gone: policy is then asked only where they cannot count.

use std::borrow::Cow;

use super::envoy::ip;
use super::json::{Keys, Slots, Value};
use super::seen::{AddressOf, Callee, Caller, Did, Grade, Read, Seen};
use super::time::parse_time;

const KEYS: [(&str, usize); 26] = [
    ("timestamp", 0),
    ("decision_id", 1),
    ("result", 2),
    ("result.allowed", 3),
    ("result.allow", 3),
    ("input.attributes.source.principal", 4),
    ("input.attributes.source.address.socketAddress.address", 5),
    ("input.attributes.source.address.socket_address.address", 5),
    ("input.attributes.destination.principal", 6),
    ("input.attributes.destination.address.socketAddress.address", 7),
    ("input.attributes.destination.address.socket_address.address", 7),
    ("input.attributes.destination.address.socketAddress.portValue", 8),
    ("input.attributes.destination.address.socket_address.port_value", 8),
    ("input.attributes.request.http.method", 9),
    ("input.method", 9),
    ("input.attributes.request.http.path", 10),
    ("input.attributes.request.http.host", 11),
    ("input.attributes.request.http.headers.x-request-id", 12),
    ("input.attributes.destination.labels.app", 13),
    ("erased", 14),
    ("masked", 15),
    ("msg", 16),
    ("error", 17),
    ("decision_logs.metrics.<built-in>.counter_decision_logs_dropped_rate_limit_exceeded", 18),
    ("decision_logs.metrics.<built-in>.counter_decision_logs_dropped_buffer_size_limit_exceeded", 19),
    ("metrics.<built-in>.counter_decision_logs_dropped", 20),
];
const TIMESTAMP: usize = 0;
const DECISION_ID: usize = 1;
const RESULT: usize = 2;
const RESULT_ALLOWED: usize = 3;
const PRINCIPAL: usize = 4;
const SOURCE_IP: usize = 5;
const DESTINATION_PRINCIPAL: usize = 6;
const DESTINATION_IP: usize = 7;
const PORT: usize = 8;
const METHOD: usize = 9;
const PATH: usize = 10;
const HOST: usize = 11;
const REQUEST_ID: usize = 12;
const DESTINATION_APP: usize = 13;
const MASKS: [usize; 2] = [14, 15];
const DROPPED: [usize; 3] = [18, 19, 20];

/// The keys.
pub(super) fn keys() -> Keys {
    Keys::new(KEYS)
}

/// How many decisions OPA says it has dropped since it began, where the line is a status that says so.
pub(super) fn dropped(facts: &Slots<'_>) -> Option<u64> {
    let counts = DROPPED.iter().filter_map(|slot| facts.of(*slot).integer()).filter_map(|n| u64::try_from(n).ok());
    counts.reduce(u64::saturating_add)
}

/// The record.
pub(super) fn seen<'l>(mut facts: Slots<'l>) -> Read<'l> {
    if facts.of(DECISION_ID).is_absent() {
        return Read::Other("messages of OPA itself");
    }
    let Some(at) = facts.text(TIMESTAMP).and_then(parse_time) else {
        return Read::Bad("`timestamp` is missing or no time".to_owned());
    };
    let mut seen = Seen::at(at);
    seen.did = did(&facts);
    (seen.caller_ip, seen.caller_ip_of) = (facts.text(SOURCE_IP).and_then(ip), AddressOf::Field("source.address"));
    (seen.caller, seen.grade) = match facts.take(PRINCIPAL) {
        // Envoy verified it and handed it on.
        Some(id) => (Caller::Id(id), Grade::B),
        None if seen.caller_ip.is_some() => (Caller::Unnamed, Grade::D),
        None => (Caller::Unnamed, Grade::E),
    };
    let is_masked = MASKS.iter().any(|slot| facts.of(*slot).list().iter().any(|path| hides(path)));
    seen.port = facts.of(PORT).integer().and_then(|n| u16::try_from(n).ok());
    seen.callee = Callee {
        id: facts.take(DESTINATION_PRINCIPAL),
        names: [facts.take(HOST), facts.take(DESTINATION_APP), None, None],
        ip: facts.text(DESTINATION_IP).and_then(ip),
        ..Callee::default()
    };
    seen.method = facts.take(METHOD);
    seen.path = facts.take(PATH);
    seen.request_id = facts.take(REQUEST_ID);
    if is_masked {
        // What is left would be another request than the one that was asked about.
        (seen.method, seen.path, seen.port) = (None, None, None);
        if matches!(seen.caller, Caller::Id(_)) {
            seen.caller = Caller::Name(Cow::Borrowed("masked"));
            seen.grade = Grade::E;
        }
    }
    Read::Request(Box::new(seen))
}

/// OPA's answer: a boolean, an object with `allowed`, or nothing, which denies.
fn did<'l>(facts: &Slots<'l>) -> Did<'l> {
    let answer = |value: &Value<'_>| match value {
        Value::Boolean(yes) => Some(*yes),
        Value::Text(text) => text.parse().ok(),
        _ => None,
    };
    match (facts.of(RESULT), answer(facts.of(RESULT)), answer(facts.of(RESULT_ALLOWED))) {
        (_, Some(true), _) | (_, _, Some(true)) => Did::Allowed,
        (_, Some(false), _) | (_, _, Some(false)) | (Value::Missing, None, None) => Did::Denied(None),
        _ => Did::Unknown,
    }
}

/// Whether a masked part is one that tells who asked what.
fn hides(path: &str) -> bool {
    let within = |whole: &str| path.starts_with(whole) || whole.starts_with(path);
    [
        "/input/attributes/source",
        "/input/attributes/request/http/path",
        "/input/attributes/request/http/method",
        "/input/attributes/request/http/host",
        "/input/attributes/destination",
    ]
    .into_iter()
    .any(within)
}
