//! The quick way for lines whose deciding parts were seen before.
//!
//! A scanner brings the wanted values of a line as they are written. What can differ between two requests that are one and the same
//! to policy and ledger is set aside: the time, the request id, the port the caller called from, statuses that mean the same, and
//! addresses of those whose names are known. The rest, byte for byte, is the question; if it was asked before, the answer is at hand,
//! and the line costs a look-up and an addition.
//!
//! The rest is kept in three parts, since few callers and few places in the mesh give many questions: each part of the first two gets a
//! number, and the numbers with the third, which is what was asked for, are all that has to be remembered.
//!
//! It refuses nothing and decides nothing: whatever it does not know goes the general way, and that one's answer is remembered.
//!
//! INVARIANT: two lines with the same deciding bytes are counted under the same key, but for the hour, and show the same certificate.

use std::net::Ipv4Addr;

use portreeve_engine::Timestamp;

use super::envoy::{Fact, KEYS};
use super::time::parse_time;
use crate::scan::{Scanner, Value};

/// What is left of a line beside its deciding bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sketch<'l> {
    pub(crate) at: Timestamp,
    pub(crate) request_id: Option<&'l str>,
    /// The address of the caller, as written.
    pub(crate) caller: Option<&'l str>,
}

/// The deciding bytes of a line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Deciding {
    /// What was called, over what, and what the mesh says it did.
    pub(crate) place: Vec<u8>,
    /// Who called.
    pub(crate) caller: Vec<u8>,
    /// The method and the path.
    pub(crate) ask: Vec<u8>,
}

impl Deciding {
    fn clear(&mut self) {
        self.place.clear();
        self.caller.clear();
        self.ask.clear();
    }

    #[inline]
    fn of(&mut self, fact: Fact) -> &mut Vec<u8> {
        match fact {
            Fact::Method | Fact::Path => &mut self.ask,
            Fact::RemoteAddress
            | Fact::PeerSan
            | Fact::PeerPrincipal
            | Fact::PeerFingerprint
            | Fact::PeerEnd
            | Fact::PeerSerial
            | Fact::SourceService => &mut self.caller,
            _ => &mut self.place,
        }
    }
}

/// Sketches the lines of one log.
#[derive(Debug)]
pub(crate) struct Quick {
    scanner: Scanner<{ KEYS.len() }>,
    clock: Clock,
}

impl Quick {
    /// For JSON logs of Envoy.
    pub(crate) fn envoy() -> Self {
        Self { scanner: Scanner::new(KEYS.map(|(key, _)| key)), clock: Clock::default() }
    }

    /// Sketches a line, and writes its deciding bytes; `None` where the line is for the general reader. `caller_address_counts`: policy or
    /// names may depend on the address of a caller that has an identity.
    pub(crate) fn sketch<'l>(&mut self, line: &'l [u8], deciding: &mut Deciding, caller_address_counts: bool) -> Option<Sketch<'l>> {
        deciding.clear();
        let values = self.scanner.scan(line).ok()?;
        let has = |key| is_said(values.get(key).copied().unwrap_or_default());
        // A named callee is never looked for by its address, an inbound caller with a certificate never named by its own.
        let callee_is_named = has(AUTHORITY);
        let is_inbound = values.get(CLUSTER).is_some_and(|cluster| cluster.raw().starts_with("inbound|"));
        let caller_is_known = !caller_address_counts && is_inbound && has(PEER_SAN);
        let mut at = None;
        let mut request_id = None;
        let mut caller_ip = None;
        for ((_, fact), value) in KEYS.iter().zip(values) {
            let out = deciding.of(*fact);
            match (fact, value) {
                (Fact::StartTime | Fact::RequestId, Value::Absent) => {}
                (Fact::StartTime, Value::Text(text)) if at.is_none() => at = Some(self.clock.read(text)?),
                (Fact::RequestId, Value::Text(text)) if request_id.is_none() => request_id = Some(text),
                (Fact::RequestId, Value::Null) => {}
                (Fact::StartTime | Fact::RequestId, _) => return None,
                (Fact::RemoteAddress, Value::Text(text)) => {
                    caller_ip = Some(text);
                    write(out, TEXT, if caller_is_known { "" } else { without_port(text).map_or(text, |(host, _)| host) });
                }
                (Fact::LocalAddress, Value::Text(text)) if callee_is_named => {
                    write(out, TEXT, without_port(text).map_or(text, |(_, port)| port));
                }
                // That there is one tells that somebody was asked.
                (Fact::UpstreamHost, Value::Text(host)) if callee_is_named && !matches!(host, "" | "-") => out.push(TEXT),
                (Fact::Code, Value::Number(code)) if is_ordinary(code) => out.push(TEXT),
                (_, Value::Absent) => out.push(END),
                (_, value) => write(out, kind(value), value.raw()),
            }
        }
        let request_id = request_id.filter(|id| !matches!(*id, "" | "-"));
        Some(Sketch { at: at?, request_id, caller: caller_ip })
    }
}

/// Whether there is a text that says something.
fn is_said(value: Value<'_>) -> bool {
    matches!(value, Value::Text(text) if !matches!(text, "" | "-"))
}

/// A status of three digits that by itself says that the mesh let the request through.
fn is_ordinary(code: &str) -> bool {
    !matches!(code, "401" | "403") && matches!(code.as_bytes(), [b'1'..=b'5', b'0'..=b'9', b'0'..=b'9'])
}

const AUTHORITY: usize = place("authority");
const CLUSTER: usize = place("upstream_cluster");
const PEER_SAN: usize = place("downstream_peer_uri_san");

/// The place of a key; one beyond all where there is none, which a test would tell.
const fn place(key: &str) -> usize {
    let mut n = 0;
    while n < KEYS.len() {
        #[expect(clippy::indexing_slicing, reason = "below the length, and evaluated by the compiler")]
        if same(KEYS[n].0.as_bytes(), key.as_bytes()) {
            return n;
        }
        n += 1;
    }
    n
}

#[expect(clippy::indexing_slicing, reason = "below both lengths, and evaluated by the compiler")]
const fn same(a: &[u8], b: &[u8]) -> bool {
    let mut n = 0;
    while n < a.len() && n < b.len() && a[n] == b[n] {
        n += 1;
    }
    n == a.len() && n == b.len()
}

/// A value and its end, which no value can hold: the scanner takes no control bytes.
#[inline]
fn write(out: &mut Vec<u8>, kind: u8, raw: &str) {
    out.push(kind);
    out.extend_from_slice(raw.as_bytes());
    out.push(END);
}

const fn kind(value: Value<'_>) -> u8 {
    match value {
        Value::Absent => b'0',
        Value::Null => b'-',
        Value::Bool(_) => b'b',
        Value::Number(_) => b'n',
        Value::Text(_) => TEXT,
        Value::Escaped(_) => b'e',
        Value::Nested(_) => b'{',
    }
}

/// `10.0.0.7:43210` as its two parts; callers choose the port anew for each connection. Every other form stays as it is.
fn without_port(text: &str) -> Option<(&str, &str)> {
    let (host, port) = text.rsplit_once(':')?;
    let is_v4 = host.bytes().all(|b| b.is_ascii_digit() || b == b'.') && host.parse::<Ipv4Addr>().is_ok();
    (is_v4 && port.parse::<u16>().is_ok()).then_some((host, port))
}

/// Reads times that mostly have the minute of the one before.
#[derive(Debug, Default)]
struct Clock {
    minute: [u8; MINUTE_BYTES],
    unix_ms: i64,
}

impl Clock {
    /// As [`parse_time`].
    #[inline]
    fn read(&mut self, text: &str) -> Option<Timestamp> {
        let Some((minute, rest)) = text.as_bytes().split_first_chunk::<MINUTE_BYTES>() else { return parse_time(text) };
        let [b':', s1 @ b'0'..=b'5', s2 @ b'0'..=b'9', b'.', m1 @ b'0'..=b'9', m2 @ b'0'..=b'9', m3 @ b'0'..=b'9', b'Z'] = rest else {
            return parse_time(text);
        };
        if *minute != self.minute {
            let at = parse_time(text)?;
            let into = i64::from(number(&[*s1, *s2])) * 1000 + i64::from(number(&[*m1, *m2, *m3]));
            (self.minute, self.unix_ms) = (*minute, at.unix_ms() - into);
        }
        let ms = number(&[*s1, *s2]) * 1000 + number(&[*m1, *m2, *m3]);
        Some(Timestamp::from_unix_ms(self.unix_ms + i64::from(ms)))
    }
}

fn number(digits: &[u8]) -> u32 {
    digits.iter().fold(0, |n, digit| n * 10 + u32::from(*digit & 0x0f))
}

const TEXT: u8 = b't';
const END: u8 = 0x1f;
const MINUTE_BYTES: usize = "2026-11-22T10:00".len();

#[cfg(test)]
mod tests {
    use super::*;

    fn sketch(quick: &mut Quick, line: &str) -> Option<(Timestamp, Option<String>, Deciding)> {
        let mut deciding = Deciding::default();
        let sketch = quick.sketch(line.as_bytes(), &mut deciding, true)?;
        Some((sketch.at, sketch.request_id.map(str::to_owned), deciding))
    }

    #[test]
    fn only_time_request_id_and_the_callers_port_are_set_aside() {
        let base = r#"{"start_time":"2026-11-22T10:00:00.123Z","method":"GET","path":"/a","response_code":200,"request_id":"r1","downstream_remote_address":"10.0.0.7:4000"}"#;
        let mut quick = Quick::envoy();
        let (at, id, deciding) = sketch(&mut quick, base).unwrap();
        assert_eq!((at.to_string().as_str(), id.as_deref()), ("2026-11-22T10:00:00.123Z", Some("r1")));
        for (from, to) in
            [("00.123Z", "59.999Z"), ("r1", "r2"), (":4000", ":40001"), (":4000", ""), ("\"method\"", "\"unwanted\":{},\"method\"")]
        {
            assert_eq!(sketch(&mut quick, &base.replace(from, to)).unwrap().2, deciding, "{to}");
        }
        for (from, to) in [
            ("GET", "PUT"),
            ("/a", "/b"),
            ("200", "\"200\""),
            ("200", "403"),
            ("200", "null"),
            ("\"response_code\":200,", ""),
            ("10.0.0.7", "10.0.0.8"),
            (":4000", ":400000"),
        ] {
            assert_ne!(sketch(&mut quick, &base.replace(from, to)).unwrap().2, deciding, "{to}");
        }
        for (from, to) in [
            ("\"start_time\"", "\"when\""),
            ("10:00:00.123Z", "10:00:60.123Z"),
            ("10:00:00.123Z", "25:00:00.123Z"),
            ("\"2026-11-22T10:00:00.123Z\"", "1418530010"),
            ("{\"start", "{\"timestamp\":\"2026-11-22T10:00:00.123Z\",\"start"),
            ("\"r1\"", "7"),
            ("\"r1\"", "\"\\u0072\""),
            ("}", ""),
        ] {
            assert_eq!(sketch(&mut quick, &base.replace(from, to)), None, "{to}");
        }
    }

    #[test]
    fn places_are_those_of_the_keys() {
        let key = |place: usize| KEYS.get(place).map(|(key, _)| *key);
        let want = [Some("authority"), Some("upstream_cluster"), Some("downstream_peer_uri_san")];
        assert_eq!([key(AUTHORITY), key(CLUSTER), key(PEER_SAN)], want);
    }

    #[test]
    fn the_clock_reads_as_the_general_reader_does() {
        let mut clock = Clock::default();
        for text in [
            "2026-11-22T10:00:00.123Z",
            "2026-11-22T10:00:59.999Z",
            "2026-11-22T10:01:00.000Z",
            "2026-02-30T10:01:00.000Z",
            "2026-11-22T10:01:60.000Z",
            "2026-11-22T10:01:00Z",
            "2026-11-22T10:01:00.1234Z",
            "2026-11-22T10:01:00.123+02:00",
            "2024-02-29T23:59:59.999Z",
            "1960-01-01T00:00:00.001Z",
            "x026-11-22T10:01:00.123Z",
            "",
        ] {
            assert_eq!(clock.read(text), parse_time(text), "{text}");
            assert_eq!(clock.read(text), parse_time(text), "{text}, again");
        }
    }
}
