//! Ztunnel's lines, text or JSON: one for each connection, with the identities that both ends showed.
//!
//! Text: a time, a level, a scope and a message with tabs between, then `key=value` with spaces between, values in quotes where they
//! need them. Ztunnel says of a connection that policy rejected it; other errors say nothing about permission.

use std::borrow::Cow;
use std::net::IpAddr;

use super::envoy::{ip, port};
use super::json::{Keys, Slots, Value};
use super::seen::{AddressOf, Callee, Caller, Did, Grade, Read, Reporter, Seen, Tie};
use super::time::parse_time;

const KEYS: [&str; 17] = [
    "time",
    "scope",
    "message",
    r"src\.addr",
    r"src\.identity",
    r"src\.workload",
    r"src\.namespace",
    r"dst\.addr",
    r"dst\.hbone_addr",
    r"dst\.service",
    r"dst\.workload",
    r"dst\.namespace",
    r"dst\.identity",
    "direction",
    "error",
    "bytes_sent",
    "bytes_recv",
];
const TIME: usize = 0;
const SCOPE: usize = 1;
const MESSAGE: usize = 2;
const SRC_ADDR: usize = 3;
const SRC_IDENTITY: usize = 4;
const SRC_WORKLOAD: usize = 5;
const SRC_NAMESPACE: usize = 6;
const DST_ADDR: usize = 7;
const DST_HBONE_ADDR: usize = 8;
const DST_SERVICE: usize = 9;
const DST_WORKLOAD: usize = 10;
const DST_NAMESPACE: usize = 11;
const DST_IDENTITY: usize = 12;
const DIRECTION: usize = 13;
const ERROR: usize = 14;
const BYTES_SENT: usize = 15;
const BYTES_RECEIVED: usize = 16;

/// The keys of the JSON form.
pub(super) fn keys() -> Keys {
    Keys::new(KEYS.iter().enumerate().map(|(slot, key)| (*key, slot)))
}

/// Whether a line of text is one of ztunnel's about connections.
pub(super) fn is_text(line: &str) -> bool {
    let mut parts = line.split('\t');
    let time = parts.next().and_then(parse_time);
    time.is_some() && parts.nth(1) == Some("access") && line.contains("src.addr=")
}

/// The facts of a line of text; `None` where it is another message of ztunnel's.
pub(super) fn text(line: &str) -> Result<Option<Slots<'_>>, String> {
    let mut slots = Slots::default();
    let mut parts = line.splitn(4, '\t');
    let (time, level, scope, rest) = (parts.next(), parts.next(), parts.next(), parts.next());
    let (Some(time), Some(_), Some(scope), Some(rest)) = (time, level, scope, rest) else {
        return Err("expected a time, a level, a scope and a message, with tabs between".to_owned());
    };
    if parse_time(time).is_none() {
        return Err("it does not begin with a time".to_owned());
    }
    let (message, mut rest) = rest.split_once('\t').unwrap_or((rest, ""));
    let twice = |_| "a key is given twice".to_owned();
    for (slot, text) in [(TIME, time), (SCOPE, scope), (MESSAGE, message)] {
        slots.put(slot, Value::Text(Cow::Borrowed(text))).map_err(twice)?;
    }
    if scope != "access" {
        return Ok(None);
    }
    while !rest.is_empty() {
        let (key, value, after) = pair(rest)?;
        rest = after;
        if let Some(slot) = KEYS.iter().position(|k| k.bytes().filter(|b| *b != b'\\').eq(key.bytes())) {
            slots.put(slot, Value::Text(value)).map_err(twice)?;
        }
    }
    Ok(Some(slots))
}

/// The first `key=value` and what follows it.
fn pair(text: &str) -> Result<(&str, Cow<'_, str>, &str), String> {
    let (key, rest) = text.split_once('=').ok_or("expected `key=value`")?;
    let Some(quoted) = rest.strip_prefix('"') else {
        let (value, after) = rest.split_once(' ').unwrap_or((rest, ""));
        return Ok((key, Cow::Borrowed(value), after));
    };
    let mut escaped = false;
    for (at, c) in quoted.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => {
                let value = quoted.get(..at).unwrap_or_default();
                let after = quoted.get(at + 1..).unwrap_or_default();
                let value =
                    if value.contains('\\') { Cow::Owned(value.replace("\\\"", "\"").replace("\\\\", "\\")) } else { Cow::Borrowed(value) };
                return Ok((key, value, after.strip_prefix(' ').unwrap_or(after)));
            }
            _ => {}
        }
    }
    Err("a quote does not end".to_owned())
}

/// The record.
pub(super) fn seen<'l>(mut facts: Slots<'l>) -> Read<'l> {
    let Some(at) = facts.text(TIME).and_then(parse_time) else {
        return Read::Bad("there is no time in it that could be read".to_owned());
    };
    if facts.text(SCOPE) != Some("access") || facts.text(MESSAGE).is_none_or(|m| !m.contains("connection complete")) {
        return Read::Other("messages of ztunnel itself");
    }
    let mut seen = Seen::at(at);
    seen.reporter = if facts.text(DIRECTION) == Some("outbound") { Reporter::Outbound } else { Reporter::Inbound };
    (seen.caller_ip, seen.caller_ip_of) = (facts.text(SRC_ADDR).and_then(ip), AddressOf::Field("src.addr"));
    let namespace = facts.take(SRC_NAMESPACE);
    let workload = facts.take(SRC_WORKLOAD);
    (seen.caller, seen.grade) = match facts.take(SRC_IDENTITY) {
        // The identity is derived from the workload the address belongs to, and shown only where the connection was mutual TLS.
        Some(id) => (Caller::Id(id), Grade::C),
        None if workload.is_some() => (Caller::Label { namespace, account: None, names: [workload, None] }, Grade::D),
        None if seen.caller_ip.is_some() => (Caller::Unnamed, Grade::D),
        None => (Caller::Unnamed, Grade::E),
    };
    let hbone = facts.text(DST_HBONE_ADDR).map(str::to_owned);
    let address = facts.text(DST_ADDR).map(str::to_owned);
    let inner = hbone.as_deref().or(address.as_deref());
    seen.port = inner.and_then(port).filter(|p| *p != HBONE_PORT || hbone.is_some());
    seen.callee = Callee {
        // Where a waypoint stands between, the identity is the waypoint's and no service of the inventory has it.
        id: facts.take(DST_IDENTITY),
        namespace: facts.take(DST_NAMESPACE),
        account: None,
        names: [facts.take(DST_SERVICE), facts.take(DST_WORKLOAD), None, None],
        ip: inner.and_then(ip),
    };
    seen.connection = closed(&facts, seen.reporter, seen.caller_ip, address.as_deref().and_then(ip));
    seen.did = match facts.text(ERROR) {
        None => Did::Allowed,
        Some(error) if error.contains("policy rejection") => {
            Did::Denied(error.split_once("denied by: ").map(|(_, p)| Cow::Owned(p.to_owned())))
        }
        Some(_) => Did::Unknown,
    };
    Read::Request(Box::new(seen))
}

/// What both ztunnels know of a connection: the addresses of caller and callee (or the waypoint between), and the bytes that went each way. The
/// ports of the caller are two: that of its connection and that of the tunnel.
fn closed(facts: &Slots<'_>, reporter: Reporter, from: Option<IpAddr>, to: Option<IpAddr>) -> Option<(Tie, String)> {
    let (sent, received) = (facts.of(BYTES_SENT).integer()?, facts.of(BYTES_RECEIVED).integer()?);
    let (forth, back) = if reporter == Reporter::Outbound { (sent, received) } else { (received, sent) };
    Some((Tie::Closed, format!("{}>{} {forth} {back}", from?, to?)))
}

/// The port of ztunnel's own tunnel, which is no service's.
const HBONE_PORT: u16 = 15008;
