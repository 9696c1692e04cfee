//! The lines of the decision log as text, written without detours on the request path.
//!
//! INVARIANT: byte for byte what serde writes of the types in [`crate::record`], which readers read with; a property test holds
//! the two together (`engine/tests/line_text.rs`). Every structure is taken apart whole, so that a field added to a record does
//! not compile until it is written here too.

use std::borrow::Cow;
use std::io::Write as _;
use std::net::IpAddr;

use crate::bundle::Revision;
use crate::decision::{Decision, Effect, Reason};
use crate::digest::Digest;
use crate::record::{
    Answer, ContextFacts, Decided, Destination, Ended, Event, Mode, Outcome, RequestFacts, Side, Source, Tls, VERSION, Why,
};
use crate::request::{AttributeValue, Attributes, Claims, Token};
use crate::time::Timestamp;

/// What an event says, as it stands in a line behind number, digest and time. It can be used again for the next event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventText(Vec<u8>);

/// What all `decided` lines of one connection have in common while bundle and own identity stay the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionText {
    head: Vec<u8>,
    tls: Vec<u8>,
    /// What only the first line of the connection says.
    once: Vec<u8>,
}

/// Events one after another in one piece of memory, so that keeping one costs a copy and no allocation.
#[derive(Clone, Debug, Default)]
pub struct EventTexts {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

/// An event's text, borrowed from where it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventTextRef<'a>(&'a [u8]);

/// The facts of a request, borrowed from wherever they stand: what a line says of it, without a copy of each.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "the fields of [`RequestFacts`]")]
pub struct RequestText<'a> {
    pub id: &'a str,
    pub correlation: Option<&'a str>,
    pub trace: Option<&'a str>,
    pub protocol: &'a str,
    pub method: Option<&'a str>,
    pub path: Option<Cow<'a, str>>,
    pub upgrade: Option<&'a str>,
    pub port: Option<u16>,
    pub host: Option<&'a str>,
    pub operation: Option<&'a str>,
    pub raw: Option<&'a str>,
}

impl<'a> From<&'a RequestFacts> for RequestText<'a> {
    fn from(facts: &'a RequestFacts) -> Self {
        let RequestFacts { id, correlation, trace, protocol, method, path, upgrade, port, host, operation, raw } = facts;
        Self {
            id,
            correlation: correlation.as_deref(),
            trace: trace.as_deref(),
            protocol,
            method: method.as_deref(),
            path: path.as_deref().map(Cow::Borrowed),
            upgrade: upgrade.as_deref(),
            port: *port,
            host: host.as_deref(),
            operation: operation.as_deref(),
            raw: raw.as_deref(),
        }
    }
}

impl RequestText<'_> {
    /// The same facts, owned.
    #[must_use]
    pub fn to_facts(&self) -> RequestFacts {
        let Self { id, correlation, trace, protocol, method, path, upgrade, port, host, operation, raw } = self;
        let owned = |text: &Option<&str>| text.map(str::to_owned);
        RequestFacts {
            id: (*id).to_owned(),
            correlation: owned(correlation),
            trace: owned(trace),
            protocol: (*protocol).to_owned(),
            method: owned(method),
            path: path.as_deref().map(str::to_owned),
            upgrade: owned(upgrade),
            port: *port,
            host: owned(host),
            operation: owned(operation),
            raw: owned(raw),
        }
    }
}

impl EventText {
    /// The text of any event.
    #[must_use]
    pub fn of(event: &Event) -> Self {
        let mut out = Self::default();
        match event {
            Event::Decided(decided) => out.decided_whole(decided),
            Event::Ended(ended) => out.ended(ended),
            other => {
                // These hold nothing that JSON cannot say and the sink is memory, so this cannot fail; were it to, the chain
                // would carry a line that every reader reports.
                let text = serde_json::to_vec(other).unwrap_or_default();
                out.0.extend_from_slice(text.strip_prefix(b"{").unwrap_or_default());
            }
        }
        out
    }

    /// Becomes the text of a `decided` event.
    ///
    /// With `first` it says what is said once for each connection, too.
    pub fn decided(
        &mut self,
        connection: &ConnectionText,
        first: bool,
        request: &RequestText<'_>,
        context: &ContextFacts,
        decision: &Decision<'_>,
    ) {
        self.begin(connection, first, request, context);
        let policies = decision.policies.iter().map(|p| &*p.id);
        let shadow = decision.shadow.iter().map(|p| &*p.id);
        push_answer(&mut self.0, decision.effect, decision.reason, policies, decision.errors.iter().map(|e| &**e), shadow);
        self.0.extend_from_slice(b"}");
    }

    fn decided_whole(&mut self, decided: &Decided) {
        let Decided { mode, revision, side, source, destination, request, context, tls, decision } = decided;
        self.begin(&ConnectionText::new(*mode, revision, *side, source, destination, tls.as_ref()), true, &request.into(), context);
        let Answer { effect, reason, policies, errors, shadow } = decision;
        let (policies, errors, shadow) = (policies.iter(), errors.iter(), shadow.iter());
        push_answer(&mut self.0, *effect, *reason, policies.map(|t| &**t), errors.map(|t| &**t), shadow.map(|t| &**t));
        self.0.extend_from_slice(b"}");
    }

    fn begin(&mut self, connection: &ConnectionText, first: bool, request: &RequestText<'_>, context: &ContextFacts) {
        let out = &mut self.0;
        out.clear();
        // Room for a line of the usual length at once, not in many steps.
        out.reserve(connection.head.len() + connection.tls.len() + REQUEST_BYTES_USUAL);
        out.extend_from_slice(b"\"event\":\"decided\",");
        out.extend_from_slice(&connection.head);
        push_request(out, request);
        push_context(out, context);
        if !connection.tls.is_empty() {
            out.extend_from_slice(&connection.tls);
            if first {
                out.extend_from_slice(&connection.once);
            }
            out.push(b'}');
        }
    }

    /// Becomes the text of an `ended` event.
    pub fn ended(&mut self, ended: &Ended) {
        let Ended { of, outcome, status, duration_us, bytes, why, attempts, detail } = ended;
        let out = &mut self.0;
        out.clear();
        out.extend_from_slice(b"\"event\":\"ended\",\"of\":");
        push_number(out, *of);
        out.extend_from_slice(b",\"outcome\":\"");
        out.extend_from_slice(word_of_outcome(*outcome).as_bytes());
        out.push(b'"');
        if let Some(status) = status {
            out.extend_from_slice(b",\"status\":");
            push_number(out, u64::from(*status));
        }
        out.extend_from_slice(b",\"duration_us\":");
        push_number(out, *duration_us);
        out.extend_from_slice(b",\"bytes\":");
        push_number(out, *bytes);
        out.extend_from_slice(b",\"why\":\"");
        out.extend_from_slice(word_of_why(*why).as_bytes());
        out.push(b'"');
        if let Some(attempts) = attempts {
            out.extend_from_slice(b",\"attempts\":");
            push_number(out, u64::from(*attempts));
        }
        push_optional(out, b",\"detail\":", detail.as_deref());
        out.push(b'}');
    }

    /// Forgets the text and keeps the memory, as far as it is no more than `bytes`.
    pub fn clear(&mut self, bytes: usize) {
        self.0.clear();
        self.0.shrink_to(bytes);
    }

    /// The same text, borrowed.
    #[must_use]
    pub fn borrowed(&self) -> EventTextRef<'_> {
        EventTextRef(&self.0)
    }
}

impl<'a> EventTextRef<'a> {
    /// Its bytes, from `"event"` to the last bracket.
    #[cfg(test)]
    pub(crate) const fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// Its length in bytes.
    #[must_use]
    pub fn size(self) -> usize {
        self.0.len()
    }

    /// Appends the whole line, without its newline, to `out`.
    pub(crate) fn push_line(self, out: &mut Vec<u8>, seq: u64, prev: &Digest, at: &TimeText) {
        out.extend_from_slice(b"{\"v\":");
        push_number(out, u64::from(VERSION));
        out.extend_from_slice(b",\"seq\":");
        push_number(out, seq);
        out.extend_from_slice(b",\"prev\":");
        push_digest(out, prev);
        out.extend_from_slice(b",\"at\":");
        out.extend_from_slice(&at.text);
        out.push(b',');
        out.extend_from_slice(self.0);
    }
}

/// A time as it was spelled last: under load many records share one.
#[derive(Clone, Debug, Default)]
pub(crate) struct TimeText {
    at: Option<Timestamp>,
    text: Vec<u8>,
}

impl TimeText {
    /// Nothing spelled yet.
    pub(crate) const fn new() -> Self {
        Self { at: None, text: Vec::new() }
    }

    /// Spells `at`, unless that is what stands here.
    pub(crate) fn set(&mut self, at: Timestamp) {
        if self.at != Some(at) {
            self.text.clear();
            push_time(&mut self.text, at);
            self.at = Some(at);
        }
    }
}

impl EventTexts {
    /// Keeps a copy of a text.
    pub fn push(&mut self, text: EventTextRef<'_>) {
        self.bytes.extend_from_slice(text.0);
        self.ends.push(self.bytes.len());
    }

    /// Bytes kept.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The texts in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = EventTextRef<'_>> {
        let mut begin = 0;
        self.ends.iter().map(move |end| EventTextRef(self.bytes.get(std::mem::replace(&mut begin, *end)..*end).unwrap_or_default()))
    }

    /// Forgets the texts and keeps the memory, as far as it is no more than `bytes`.
    pub fn clear(&mut self, bytes: usize) {
        self.bytes.clear();
        self.ends.clear();
        self.bytes.shrink_to(bytes);
        self.ends.shrink_to(bytes / 256);
    }
}

impl ConnectionText {
    /// Writes down what the connection's lines have in common.
    #[must_use]
    pub fn new(mode: Mode, revision: &Revision, side: Option<Side>, source: &Source, destination: &Destination, tls: Option<&Tls>) -> Self {
        let mut head = Vec::with_capacity(400);
        head.extend_from_slice(b"\"mode\":\"");
        head.extend_from_slice(match mode {
            Mode::Enforce => b"enforce".as_slice(),
            Mode::DryRun => b"dry-run",
        });
        head.extend_from_slice(b"\",\"revision\":");
        push_digest(&mut head, revision);
        match side {
            None => {}
            Some(Side::Outbound) => head.extend_from_slice(b",\"side\":\"outbound\""),
        }
        push_source(&mut head, source);
        push_destination(&mut head, destination);
        head.push(b',');
        let (mut text, mut once) = (Vec::new(), Vec::new());
        if let Some(tls) = tls {
            text.reserve(250);
            push_tls(&mut text, &mut once, tls);
        }
        Self { head, tls: text, once }
    }
}

fn push_source(out: &mut Vec<u8>, source: &Source) {
    let Source { id, service, ip } = source;
    out.extend_from_slice(b",\"source\":{\"id\":");
    push_text(out, id.as_str());
    out.extend_from_slice(b",\"service\":");
    push_or_null(out, service.as_deref());
    out.extend_from_slice(b",\"ip\":");
    match ip {
        None => out.extend_from_slice(b"null"),
        Some(ip) => push_ip(out, *ip),
    }
    out.push(b'}');
}

fn push_destination(out: &mut Vec<u8>, destination: &Destination) {
    let Destination { id, service } = destination;
    out.extend_from_slice(b",\"destination\":{");
    if let Some(id) = id {
        out.extend_from_slice(b"\"id\":");
        push_text(out, id.as_str());
        out.push(b',');
    }
    out.extend_from_slice(b"\"service\":");
    push_text(out, service);
    out.push(b'}');
}

/// Leaves the object open: `once` may follow.
fn push_tls(out: &mut Vec<u8>, once: &mut Vec<u8>, tls: &Tls) {
    let Tls { version, suite, serial, sha256, not_after, issuer, key } = tls;
    out.extend_from_slice(b",\"tls\":{\"version\":");
    push_text(out, version);
    out.extend_from_slice(b",\"suite\":");
    push_text(out, suite);
    out.extend_from_slice(b",\"serial\":");
    push_text(out, serial);
    out.extend_from_slice(b",\"sha256\":");
    push_digest(out, sha256);
    out.extend_from_slice(b",\"not_after\":");
    push_time(out, *not_after);
    push_optional(once, b",\"issuer\":", issuer.as_deref());
    push_optional(once, b",\"key\":", key.as_deref());
}

fn push_request(out: &mut Vec<u8>, request: &RequestText<'_>) {
    let RequestText { id, correlation, trace, protocol, method, path, upgrade, port, host, operation, raw } = request;
    out.extend_from_slice(b"\"request\":{\"id\":");
    push_text(out, id);
    push_optional(out, b",\"correlation\":", *correlation);
    push_optional(out, b",\"trace\":", *trace);
    out.extend_from_slice(b",\"protocol\":");
    push_text(out, protocol);
    push_optional(out, b",\"method\":", *method);
    push_optional(out, b",\"path\":", path.as_deref());
    push_optional(out, b",\"upgrade\":", *upgrade);
    if let Some(port) = port {
        out.extend_from_slice(b",\"port\":");
        push_number(out, u64::from(*port));
    }
    push_optional(out, b",\"host\":", *host);
    out.extend_from_slice(b",\"operation\":");
    push_or_null(out, *operation);
    push_optional(out, b",\"raw\":", *raw);
    out.push(b'}');
}

fn push_context(out: &mut Vec<u8>, context: &ContextFacts) {
    let ContextFacts { headers, query, jwt, time } = context;
    out.extend_from_slice(b",\"context\":{\"headers\":{");
    push_attributes(out, headers, true);
    out.extend_from_slice(b"},\"query\":{");
    push_attributes(out, query, true);
    out.push(b'}');
    match jwt {
        None => {}
        Some(Token::Invalid(why)) => {
            out.extend_from_slice(b",\"jwt\":{\"invalid\":");
            push_text(out, why);
            out.push(b'}');
        }
        Some(Token::Valid(claims)) => push_claims(out, claims),
    }
    if let Some(time) = time {
        out.extend_from_slice(b",\"time\":");
        push_time(out, *time);
    }
    out.push(b'}');
}

fn push_claims(out: &mut Vec<u8>, claims: &Claims) {
    let Claims { iss, sub, aud, scope, other } = claims;
    out.extend_from_slice(b",\"jwt\":{\"iss\":");
    push_text(out, iss);
    out.extend_from_slice(b",\"sub\":");
    push_text(out, sub);
    out.extend_from_slice(b",\"aud\":");
    push_list(out, aud.iter().map(|a| &**a));
    push_optional(out, b",\"scope\":", scope.as_deref());
    push_attributes(out, other, false);
    out.push(b'}');
}

/// The members of an object; `first` says whether they are its first ones.
fn push_attributes(out: &mut Vec<u8>, attributes: &Attributes, mut first: bool) {
    for (name, value) in attributes {
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        push_text(out, name);
        out.push(b':');
        match value {
            AttributeValue::Text(text) => push_text(out, text),
            AttributeValue::Integer(n) => push_integer(out, *n),
            AttributeValue::Boolean(yes) => out.extend_from_slice(if *yes { b"true" } else { b"false" }),
            AttributeValue::List(list) => push_list(out, list.iter().map(|t| &**t)),
        }
    }
}

fn push_answer<'a>(
    out: &mut Vec<u8>,
    effect: Effect,
    reason: Reason,
    policies: impl Iterator<Item = &'a str>,
    errors: impl Iterator<Item = &'a str>,
    shadow: impl Iterator<Item = &'a str>,
) {
    out.extend_from_slice(b",\"decision\":{\"effect\":\"");
    out.extend_from_slice(effect.as_str().as_bytes());
    out.extend_from_slice(b"\",\"reason\":\"");
    out.extend_from_slice(reason.as_str().as_bytes());
    out.extend_from_slice(b"\",\"policies\":");
    push_list(out, policies);
    out.extend_from_slice(b",\"errors\":");
    push_list(out, errors);
    out.extend_from_slice(b",\"shadow\":");
    push_list(out, shadow);
    out.push(b'}');
}

fn word_of_outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Forwarded => "forwarded",
        Outcome::Limited => "limited",
        Outcome::Unavailable => "unavailable",
    }
}

fn word_of_why(why: Why) -> &'static str {
    match why {
        Why::Complete => "complete",
        Why::Client => "client",
        Why::Upstream => "upstream",
        Why::Policy => "policy",
        Why::Expired => "expired",
        Why::Revoked => "revoked",
        Why::Shutdown => "shutdown",
        Why::Stale => "stale",
        Why::Log => "log",
    }
}

fn push_list<'a>(out: &mut Vec<u8>, texts: impl Iterator<Item = &'a str>) {
    out.push(b'[');
    for (at, text) in texts.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        push_text(out, text);
    }
    out.push(b']');
}

fn push_optional(out: &mut Vec<u8>, name: &[u8], text: Option<&str>) {
    if let Some(text) = text {
        out.extend_from_slice(name);
        push_text(out, text);
    }
}

fn push_or_null(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        None => out.extend_from_slice(b"null"),
        Some(text) => push_text(out, text),
    }
}

/// A JSON string. Quotes, backslashes and control characters are escaped, everything else stands as it is.
fn push_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut plain = text.as_bytes();
    // Nearly all texts are plain, and to look at all of one is quicker than to stop at the first byte that is not.
    if !plain.iter().fold(false, |found, b| found | (*b < 0x20) | (*b == b'"') | (*b == b'\\')) {
        out.extend_from_slice(plain);
        out.push(b'"');
        return;
    }
    while let Some(at) = plain.iter().position(|b| *b < 0x20 || matches!(b, b'"' | b'\\')) {
        let (before, rest) = plain.split_at(at);
        out.extend_from_slice(before);
        let Some((byte, after)) = rest.split_first() else { break };
        push_escaped(out, *byte);
        plain = after;
    }
    out.extend_from_slice(plain);
    out.push(b'"');
}

fn push_escaped(out: &mut Vec<u8>, byte: u8) {
    let short = match byte {
        b'"' => b'"',
        b'\\' => b'\\',
        0x08 => b'b',
        0x09 => b't',
        0x0a => b'n',
        0x0c => b'f',
        0x0d => b'r',
        _ => {
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&hex(byte));
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

fn push_number(out: &mut Vec<u8>, mut n: u64) {
    let mut digits = [b'0'; 20];
    let mut used = 0;
    for place in digits.iter_mut().rev() {
        *place = b'0' + u8::try_from(n % 10).unwrap_or_default();
        n /= 10;
        used += 1;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(20 - used..).unwrap_or_default());
}

fn push_integer(out: &mut Vec<u8>, n: i64) {
    if n < 0 {
        out.push(b'-');
    }
    push_number(out, n.unsigned_abs());
}

fn push_digest(out: &mut Vec<u8>, digest: &Digest) {
    let mut text = [0; 64];
    for (pair, byte) in text.chunks_exact_mut(2).zip(digest.as_bytes()) {
        pair.copy_from_slice(&hex(*byte));
    }
    out.extend_from_slice(b"\"sha256:");
    out.extend_from_slice(&text);
    out.push(b'"');
}

fn hex(byte: u8) -> [u8; 2] {
    [byte >> 4, byte & 0xf].map(|nibble| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 })
}

fn push_ip(out: &mut Vec<u8>, ip: IpAddr) {
    // Writing into memory does not fail.
    let _ = write!(out, "\"{ip}\"");
}

/// `"2026-11-22T10:00:00.000Z"`.
fn push_time(out: &mut Vec<u8>, at: Timestamp) {
    let _ = write!(out, "\"{at}\"");
}

/// Bytes of what differs from request to request in a `decided` line, usually.
const REQUEST_BYTES_USUAL: usize = 512;
