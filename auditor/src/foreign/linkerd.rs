//! Linkerd's JSON: one line for each request that a proxy took for its own workload.
//!
//! The caller is named as Linkerd names identities, `sa.ns.serviceaccount.identity.linkerd.<domain>`, from its verified certificate.
//! A status of 403 may be the proxy's denial or the application's: the line does not say which.

use super::envoy::{ip, port};
use super::json::{Keys, Slots};
use super::seen::{AddressOf, Callee, Caller, Did, Grade, Read, Seen};
use super::time::parse_time;

const TIMESTAMP: usize = 0;
const CLIENT_ID: usize = 1;
const CLIENT_ADDRESS: usize = 2;
const HOST: usize = 3;
const METHOD: usize = 4;
const URI: usize = 5;
const STATUS: usize = 6;

/// The keys.
pub(super) fn keys() -> Keys {
    Keys::new([
        ("timestamp", TIMESTAMP),
        (r"client\.id", CLIENT_ID),
        (r"client\.addr", CLIENT_ADDRESS),
        ("host", HOST),
        ("method", METHOD),
        ("uri", URI),
        ("status", STATUS),
    ])
}

/// The record.
pub(super) fn seen<'l>(mut facts: Slots<'l>) -> Read<'l> {
    let Some(at) = facts.text(TIMESTAMP).and_then(parse_time) else {
        return Read::Bad("`timestamp` is missing or no time".to_owned());
    };
    let mut seen = Seen::at(at);
    let address = facts.take(CLIENT_ADDRESS);
    (seen.caller_ip, seen.caller_ip_of) = (address.as_deref().and_then(ip), AddressOf::Field("client.addr"));
    (seen.caller, seen.grade) = match facts.take(CLIENT_ID) {
        Some(id) => (Caller::Id(id), Grade::B),
        None if seen.caller_ip.is_some() => (Caller::Unnamed, Grade::D),
        None => (Caller::Unnamed, Grade::E),
    };
    seen.status = facts.of(STATUS).integer().and_then(|n| u16::try_from(n).ok());
    seen.did = if matches!(seen.status, Some(401 | 403)) { Did::Unknown } else { Did::Allowed };
    let host = facts.take(HOST);
    seen.port =
        host.as_deref().and_then(|h| h.rsplit_once(':')).and_then(|(_, p)| p.parse().ok()).or_else(|| host.as_deref().and_then(port));
    seen.callee = Callee { names: [host, None, None, None], ..Callee::default() };
    seen.method = facts.take(METHOD);
    seen.path = facts.take(URI).map(super::path_of_url);
    Read::Request(Box::new(seen))
}
