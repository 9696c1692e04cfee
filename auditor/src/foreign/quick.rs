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

use std::borrow::Cow;
use std::net::IpAddr;

use portreeve_engine::Timestamp;

use super::Format;
use super::deciding::{DecidingBytes, Part};
use super::envoy::{Fact, KEYS, ip};
use super::json::{Slots, Value};
use super::seen::{Seen, Tie};
use super::time::parse_time;
use crate::scan::{Found, Kind, Scanner};

/// What is left of a line beside its deciding bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sketch<'l> {
    pub(crate) at: Timestamp,
    /// What the other side knows of it, too.
    pub(crate) known_by: Option<(Tie, &'l [u8])>,
    pub(crate) caller: Address<'l>,
}

/// The address of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Address<'l> {
    /// The line does not say it.
    Unsaid,
    /// As written.
    Written(&'l [u8]),
    /// As read.
    Read(IpAddr),
}

impl Address<'_> {
    pub(super) fn ip(self) -> Option<IpAddr> {
        match self {
            Self::Unsaid => None,
            Self::Written(text) => std::str::from_utf8(text).ok().and_then(ip),
            Self::Read(ip) => Some(ip),
        }
    }
}

impl<'l> Sketch<'l> {
    /// What is left of a line that the general reader read.
    pub(crate) fn of(seen: &'l Seen<'_>) -> Self {
        Self { at: seen.at, known_by: seen.known_by(), caller: seen.caller_ip.map_or(Address::Unsaid, Address::Read) }
    }
}

/// What a value of a line decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// Every byte of it counts.
    Whole,
    /// Every byte of it counts, and it says something: what has no method is a connection, which the other side knows by addresses that are set
    /// aside here.
    Method,
    /// The address of the caller.
    CallerAddress,
    /// The address that was called.
    LocalAddress,
    /// The address that the called side asked.
    UpstreamHost,
    Code,
}

/// Of each key the part that its fact belongs to, and what counts of it.
const PLAN: [(Part, Use); KEYS.len()] = {
    let mut plan = [(Part::Place, Use::Whole); KEYS.len()];
    let mut n = 0;
    while n < KEYS.len() {
        #[expect(clippy::indexing_slicing, reason = "below the length, and evaluated by the compiler")]
        {
            plan[n] = (part_of(KEYS[n].1), use_of(KEYS[n].1));
        }
        n += 1;
    }
    plan
};

const fn part_of(fact: Fact) -> Part {
    match fact {
        Fact::Method | Fact::Path => Part::Ask,
        Fact::RemoteAddress
        | Fact::DirectAddress
        | Fact::PeerSan
        | Fact::PeerPrincipal
        | Fact::PeerFingerprint
        | Fact::PeerEnd
        | Fact::PeerSerial
        | Fact::PeerIssuer
        | Fact::SourceService => Part::Caller,
        _ => Part::Place,
    }
}

const fn use_of(fact: Fact) -> Use {
    match fact {
        Fact::RemoteAddress | Fact::DirectAddress => Use::CallerAddress,
        Fact::LocalAddress => Use::LocalAddress,
        Fact::UpstreamHost => Use::UpstreamHost,
        Fact::Code => Use::Code,
        Fact::Method => Use::Method,
        _ => Use::Whole,
    }
}

/// Sketches the lines of one log.
#[derive(Clone, Debug)]
pub(crate) struct Quick {
    scanner: Scanner<{ KEYS.len() }>,
    clock: Clock,
    /// Stands among the keys that a line has, for the format: of two formats that have the same keys each has lines of its own.
    mark: u64,
}

impl Quick {
    /// For JSON logs of Envoy.
    pub(crate) fn envoy(format: Format) -> Self {
        let mark = if format == Format::IstioJson { ISTIO } else { 0 };
        Self { scanner: Scanner::new(KEYS.map(|(key, _)| key)), clock: Clock::default(), mark }
    }

    /// Whether the line sketched last may have a run of bytes long enough to be a card number.
    pub(crate) const fn has_run(&self) -> bool {
        self.scanner.has_run()
    }

    /// The facts of the line that was sketched last; `None` where one of them takes the general reader.
    pub(crate) fn facts<'l>(&self, line: &'l [u8]) -> Option<Slots<'l>> {
        let found = self.scanner.found(line);
        let mut facts = Slots::default();
        let (mut left, mut before) = (found.present(), 0_u64);
        while left != 0 {
            let slot = left.trailing_zeros() as usize;
            left &= left.wrapping_sub(1);
            let ((_, fact), (kind, raw)) = (KEYS.get(slot)?, found.raw(slot)?);
            let fact = *fact as usize;
            // Of two keys of one fact it counts which comes first in the line.
            if before >> fact & 1 == 1 {
                return None;
            }
            before |= 1 << fact;
            let text = std::str::from_utf8(raw).ok()?;
            let value = match kind {
                Kind::Null => Value::Null,
                Kind::True => Value::Boolean(true),
                Kind::False => Value::Boolean(false),
                // `-0` is no whole number there.
                Kind::Number if raw.iter().all(u8::is_ascii_digit) => Value::Integer(text.parse().ok()?),
                Kind::Text => Value::Text(Cow::Borrowed(text)),
                Kind::Number | Kind::Escaped | Kind::Nested => return None,
            };
            facts.put(fact, value).ok()?;
        }
        Some(facts)
    }

    /// Sketches a line, and writes its deciding bytes; `None` where the line is for the general reader. `caller_address_counts`: policy or
    /// names may depend on the address of a caller that has an identity.
    pub(crate) fn sketch<'l>(&mut self, line: &'l [u8], deciding: &mut DecidingBytes, caller_address_counts: bool) -> Option<Sketch<'l>> {
        deciding.begin(line.len());
        let found = self.scanner.glance(line)?;
        if found.present() & slots_of(Fact::Method) == 0 {
            return None;
        }
        let known_by = |id| (Tie::Request, id);
        let mut sketch = Sketch { at: times(found, &mut self.clock)?, known_by: request_id(found)?.map(known_by), caller: Address::Unsaid };
        let has = |slot| found.text(slot).is_some_and(says);
        // A named callee is never looked for by its address, an inbound caller with a certificate never named by its own.
        let callee_is_named = has(AUTHORITY);
        let is_inbound = found.raw(CLUSTER).is_some_and(|(_, cluster)| cluster.starts_with(b"inbound|"));
        let caller_is_known = !caller_address_counts && is_inbound && has(PEER_SAN);
        // Which keys there are, in one; so those that are not need not be told one by one.
        let mut left = found.present() & !SET_ASIDE;
        deciding.part(Part::Place).keys(left | self.mark)?;
        while left != 0 {
            let slot = left.trailing_zeros() as usize;
            left &= left.wrapping_sub(1);
            let (part, counts) = *PLAN.get(slot)?;
            let (kind, rest, length) = found.rest(slot)?;
            let is_text = kind == Kind::Text;
            let raw = || rest.get(..length).unwrap_or_default();
            let out = deciding.part(part);
            match counts {
                Use::Whole => out.write(sign(kind), rest, length)?,
                Use::Method if !is_text || !says(raw()) => return None,
                Use::CallerAddress if kind == Kind::Escaped => return None,
                Use::CallerAddress if is_text => {
                    let raw = raw();
                    // Of the two, which stand in this order, the first that says something.
                    if sketch.caller == Address::Unsaid && says(raw) {
                        sketch.caller = Address::Written(raw);
                    }
                    let kept = if caller_is_known { 0 } else { host_bytes(raw).unwrap_or(length) };
                    out.write(TEXT, raw, kept)?;
                }
                Use::LocalAddress if is_text && callee_is_named => {
                    let port = host_bytes(raw()).map_or(0, |host| host + 1);
                    out.write(TEXT, rest.get(port..)?, length - port)?;
                }
                // That there is one tells that somebody was asked.
                Use::UpstreamHost if is_text && callee_is_named && says(raw()) => out.sign(ASKED)?,
                Use::Code if kind == Kind::Number && is_ordinary(raw()) => out.sign(ORDINARY)?,
                _ => out.write(sign(kind), rest, length)?,
            }
        }
        deciding.end();
        Some(sketch)
    }
}

/// The one time of a line.
#[inline]
fn times<const N: usize>(found: Found<'_, '_, N>, clock: &mut Clock) -> Option<Timestamp> {
    let only = only(found, Fact::StartTime)?;
    clock.read(found.text(only)?)
}

/// The one request id of a line, if it has one that says something; `None` where it is for the general reader.
#[inline]
fn request_id<'l, const N: usize>(found: Found<'_, 'l, N>) -> Option<Option<&'l [u8]>> {
    if found.present() & slots_of(Fact::RequestId) == 0 {
        return Some(None);
    }
    let only = only(found, Fact::RequestId)?;
    match found.raw(only)? {
        (Kind::Text, id) => Some(Some(id).filter(|id| says(id))),
        (Kind::Null, _) => Some(None),
        _ => None,
    }
}

/// The one key of a fact that the line has; `None` where it has none or several.
#[inline]
fn only<const N: usize>(found: Found<'_, '_, N>, fact: Fact) -> Option<usize> {
    let there = found.present() & slots_of(fact);
    there.is_power_of_two().then_some(there.trailing_zeros() as usize)
}

/// Whether a text says something.
fn says(text: &[u8]) -> bool {
    !matches!(text, b"" | b"-")
}

/// A status of three digits that by itself says that the mesh let the request through.
fn is_ordinary(code: &[u8]) -> bool {
    !matches!(code, b"401" | b"403") && matches!(code, [b'1'..=b'5', b'0'..=b'9', b'0'..=b'9'])
}

/// The keys of what differs between like requests, a bit for each.
const SET_ASIDE: u64 = slots_of(Fact::StartTime) | slots_of(Fact::RequestId) | slots_of(Fact::UpstreamLocalAddress);

/// The keys of a fact, a bit for each.
const fn slots_of(fact: Fact) -> u64 {
    let mut n = 0;
    let mut slots = 0;
    while n < KEYS.len() {
        #[expect(clippy::indexing_slicing, reason = "below the length, and evaluated by the compiler")]
        if KEYS[n].1 as usize == fact as usize {
            slots |= 1 << n;
        }
        n += 1;
    }
    slots
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

const fn sign(kind: Kind) -> u8 {
    match kind {
        Kind::Null => b'-',
        Kind::True => b'y',
        Kind::False => b'f',
        Kind::Number => b'n',
        Kind::Text => TEXT,
        Kind::Escaped => b'e',
        Kind::Nested => b'{',
    }
}

/// Where the host of `10.0.0.7:43210` ends; callers choose the port anew for each connection. `None` for every other form.
#[inline]
fn host_bytes(text: &[u8]) -> Option<usize> {
    let (mut dots, mut digits, mut number) = (0, 0, 0_u32);
    for (n, byte) in text.iter().enumerate() {
        match byte {
            // As addresses are read: no number begins with a zero but zero itself.
            b'0'..=b'9' if digits == 0 || (digits < 3 && number > 0) => {
                number = number * 10 + u32::from(byte & 0x0f);
                digits += 1;
            }
            b'.' if dots < 3 && digits > 0 && number <= 255 => (dots, digits, number) = (dots + 1, 0, 0),
            b':' if dots == 3 && digits > 0 && number <= 255 => return is_port(text.get(n + 1..)?).then_some(n),
            _ => return None,
        }
    }
    None
}

fn is_port(text: &[u8]) -> bool {
    let is_number = (1..=5).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    is_number && text.iter().fold(0, |n, digit| n * 10 + u32::from(digit & 0x0f)) <= u32::from(u16::MAX)
}

/// Reads times that mostly have the minute of the one before.
#[derive(Clone, Debug, Default)]
struct Clock {
    minute: [u8; MINUTE_BYTES],
    unix_ms: i64,
}

impl Clock {
    /// As [`parse_time`].
    #[inline]
    fn read(&mut self, text: &[u8]) -> Option<Timestamp> {
        let general = || parse_time(std::str::from_utf8(text).ok()?);
        let Some((minute, rest)) = text.split_first_chunk::<MINUTE_BYTES>() else { return general() };
        let [b':', s1 @ b'0'..=b'5', s2 @ b'0'..=b'9', b'.', m1 @ b'0'..=b'9', m2 @ b'0'..=b'9', m3 @ b'0'..=b'9', b'Z'] = rest else {
            return general();
        };
        if *minute != self.minute {
            let at = general()?;
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

/// The bit behind those of the keys that marks lines of Istio.
const ISTIO: u64 = 1 << KEYS.len();
const TEXT: u8 = b't';
/// Stands for a text that says something, whatever it says.
const ASKED: u8 = b'a';
/// Stands for a status that is ordinary.
const ORDINARY: u8 = b'o';
const MINUTE_BYTES: usize = "2026-11-22T10:00".len();

#[cfg(test)]
mod tests {
    use super::*;

    fn sketch(quick: &mut Quick, line: &str) -> Option<(Timestamp, Option<String>, DecidingBytes)> {
        let mut deciding = DecidingBytes::default();
        let sketch = quick.sketch(line.as_bytes(), &mut deciding, true)?;
        Some((sketch.at, sketch.known_by.map(|(_, id)| String::from_utf8(id.to_vec()).unwrap()), deciding))
    }

    #[test]
    fn only_time_request_id_and_the_callers_port_are_set_aside() {
        let base = r#"{"start_time":"2026-11-22T10:00:00.123Z","method":"GET","path":"/a","response_code":200,"request_id":"r1","downstream_remote_address":"10.0.0.7:4000"}"#;
        let mut quick = Quick::envoy(Format::EnvoyJson);
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
    fn hosts_and_ports_are_told_apart_as_addresses_are_read() {
        let general = |text: &str| {
            let (host, port) = text.rsplit_once(':')?;
            let is_port = port.bytes().all(|b| b.is_ascii_digit()) && port.len() < 6 && port.parse::<u16>().is_ok();
            (host.parse::<std::net::Ipv4Addr>().is_ok() && is_port).then_some(host.len())
        };
        let good = ["10.0.0.7:4000", "0.0.0.0:0", "255.255.255.255:65535", "1.2.3.4:00080"];
        for text in good {
            assert!(general(text).is_some());
            assert_eq!(host_bytes(text.as_bytes()), general(text), "{text}");
            for at in 0..text.len() {
                let (before, after) = text.split_at(at);
                let rest: String = after.chars().skip(1).collect();
                let one_less = format!("{before}{rest}");
                assert_eq!(host_bytes(one_less.as_bytes()), general(&one_less), "{one_less}");
                for byte in "0129.: +-a[".chars() {
                    for damaged in [format!("{before}{byte}{rest}"), format!("{before}{byte}{after}")] {
                        assert_eq!(host_bytes(damaged.as_bytes()), general(&damaged), "{damaged}");
                    }
                }
            }
        }
        for text in ["", ":", "1.2.3.4", "1.2.3:4", "[::1]:80", "256.1.1.1:1", "1.2.3.4:65536", "unix:/x", "1.2.3.4.5:6"] {
            assert_eq!(host_bytes(text.as_bytes()), None, "{text}");
        }
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
            assert_eq!(clock.read(text.as_bytes()), parse_time(text), "{text}");
            assert_eq!(clock.read(text.as_bytes()), parse_time(text), "{text}, again");
        }
    }
}
