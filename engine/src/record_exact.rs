//! Reads lines of the decision log that are spelled exactly as [`crate::record_text`] spells them, in one pass and without detours.
//!
//! It knows the two events that are nearly all of a log, with their members in the order in which they are written, without spaces and
//! escapes. Whatever else there is, it gives back: `None` says nothing of the line, which is then for serde.
//!
//! INVARIANT: a line that is read here is read by serde too, as the same record; a test holds the two together.

use std::str::FromStr;

use crate::decision::{Effect, Reason};
use crate::digest::Digest;
use crate::record::{
    Answer, ContextFacts, Decided, Destination, Ended, Event, Mode, Outcome, Record, RequestFacts, Side, Source, Tls, Why,
};
use crate::request::{AttributeValue, Attributes, Claims, Token};

/// The record on a line.
pub(crate) fn read(line: &[u8]) -> Option<Record> {
    // Looked at all together: what is in a text is itself from here on.
    let is_odd = line.iter().fold(false, |odd, byte| odd | (*byte < b' ') | (*byte == b'\\'));
    if is_odd {
        return None;
    }
    let mut rest = Rest(std::str::from_utf8(line).ok()?);
    rest.skip("{\"v\":1,\"seq\":")?;
    let seq = rest.number()?;
    rest.skip(",\"prev\":")?;
    let prev = rest.parsed()?;
    rest.skip(",\"at\":")?;
    let at = rest.parsed()?;
    rest.skip(",\"event\":\"")?;
    let event = if rest.takes("decided\",") {
        Event::Decided(Box::new(decided(&mut rest)?))
    } else {
        rest.skip("ended\",")?;
        Event::Ended(ended(&mut rest)?)
    };
    rest.skip("}")?;
    rest.0.is_empty().then_some(Record { seq, prev, at, event })
}

fn decided(rest: &mut Rest<'_>) -> Option<Decided> {
    rest.skip("\"mode\":")?;
    let mode = rest.word(&[("enforce", Mode::Enforce), ("dry-run", Mode::DryRun)])?;
    rest.skip(",\"revision\":")?;
    let revision: Digest = rest.parsed()?;
    let side = rest.takes(",\"side\":\"outbound\"").then_some(Side::Outbound);
    rest.skip(",\"source\":{\"id\":")?;
    let id = rest.parsed()?;
    rest.skip(",\"service\":")?;
    let service = rest.text_or_null()?.map(str::to_owned);
    rest.skip(",\"ip\":")?;
    let ip = match rest.text_or_null()? {
        None => None,
        Some(ip) => Some(ip.parse().ok()?),
    };
    let source = Source { id, service, ip };
    rest.skip("},\"destination\":{")?;
    let id = if rest.takes("\"id\":") {
        let id = rest.parsed()?;
        rest.skip(",")?;
        Some(id)
    } else {
        None
    };
    rest.skip("\"service\":")?;
    let destination = Destination { id, service: rest.text()?.to_owned() };
    rest.skip("},\"request\":{")?;
    let request = request(rest)?;
    rest.skip(",\"context\":{")?;
    let context = context(rest)?;
    let tls = if rest.takes(",\"tls\":{") { Some(tls(rest)?) } else { None };
    rest.skip(",\"decision\":{")?;
    Some(Decided { mode, revision, side, source, destination, request, context, tls, decision: answer(rest)? })
}

fn request(rest: &mut Rest<'_>) -> Option<RequestFacts> {
    rest.skip("\"id\":")?;
    let id = rest.text()?.to_owned();
    let correlation = rest.optional(",\"correlation\":")?;
    let trace = rest.optional(",\"trace\":")?;
    rest.skip(",\"protocol\":")?;
    let protocol = rest.text()?.to_owned();
    let method = rest.optional(",\"method\":")?;
    let path = rest.optional(",\"path\":")?;
    let upgrade = rest.optional(",\"upgrade\":")?;
    let port = rest.optional_number(",\"port\":")?;
    let host = rest.optional(",\"host\":")?;
    rest.skip(",\"operation\":")?;
    let operation = rest.text_or_null()?.map(str::to_owned);
    let raw = rest.optional(",\"raw\":")?;
    rest.skip("}")?;
    Some(RequestFacts { id, correlation, trace, protocol, method, path, upgrade, port, host, operation, raw })
}

fn context(rest: &mut Rest<'_>) -> Option<ContextFacts> {
    rest.skip("\"headers\":{")?;
    let headers = attributes(rest)?;
    rest.skip(",\"query\":{")?;
    let query = attributes(rest)?;
    let jwt = if rest.takes(",\"jwt\":{\"invalid\":") {
        let why = rest.text()?.into();
        rest.skip("}")?;
        Some(Token::Invalid(why))
    } else if rest.takes(",\"jwt\":{\"iss\":") {
        Some(Token::Valid(claims(rest)?))
    } else {
        None
    };
    let time = if rest.takes(",\"time\":") { Some(rest.parsed()?) } else { None };
    rest.skip("}")?;
    Some(ContextFacts { headers, query, jwt, time })
}

/// The claims of a token behind the name of its issuer, and its end.
fn claims(rest: &mut Rest<'_>) -> Option<Claims> {
    let iss = rest.text()?.into();
    rest.skip(",\"sub\":")?;
    let sub = rest.text()?.into();
    rest.skip(",\"aud\":")?;
    let aud = rest.list(Into::into)?;
    let scope = if rest.takes(",\"scope\":") { Some(rest.text()?.into()) } else { None };
    let other = if rest.takes("}") {
        Attributes::new()
    } else {
        rest.skip(",")?;
        members(rest)?
    };
    // A claim of one of these names would be another one than that which stands before.
    let is_told = |name: &&str| other.contains_key(*name);
    if ["invalid", "iss", "sub", "aud", "scope"].iter().any(is_told) {
        return None;
    }
    Some(Claims { iss, sub, aud, scope, other })
}

/// Members and the end of an object of attributes.
fn attributes(rest: &mut Rest<'_>) -> Option<Attributes> {
    if rest.takes("}") { Some(Attributes::new()) } else { members(rest) }
}

/// At least one member, and the end of the object.
fn members(rest: &mut Rest<'_>) -> Option<Attributes> {
    let mut out = Attributes::new();
    loop {
        let name = rest.text()?;
        rest.skip(":")?;
        let value = value(rest)?;
        // They are written in order, each once.
        if out.last_key_value().is_some_and(|(last, _)| **last >= *name) {
            return None;
        }
        out.insert(name.into(), value);
        if rest.takes("}") {
            return Some(out);
        }
        rest.skip(",")?;
    }
}

/// A value that an attribute can have.
fn value(rest: &mut Rest<'_>) -> Option<AttributeValue> {
    Some(match rest.0.as_bytes().first()? {
        b'"' => AttributeValue::Text(rest.text()?.into()),
        b'[' => AttributeValue::List(rest.list(Into::into)?),
        b't' => {
            rest.skip("true")?;
            AttributeValue::Boolean(true)
        }
        b'f' => {
            rest.skip("false")?;
            AttributeValue::Boolean(false)
        }
        _ => AttributeValue::Integer(rest.integer()?),
    })
}

fn tls(rest: &mut Rest<'_>) -> Option<Tls> {
    rest.skip("\"version\":")?;
    let version = rest.text()?.to_owned();
    rest.skip(",\"suite\":")?;
    let suite = rest.text()?.to_owned();
    rest.skip(",\"serial\":")?;
    let serial = rest.text()?.to_owned();
    rest.skip(",\"sha256\":")?;
    let sha256 = rest.parsed()?;
    rest.skip(",\"not_after\":")?;
    let not_after = rest.parsed()?;
    let issuer = rest.optional(",\"issuer\":")?;
    let key = rest.optional(",\"key\":")?;
    rest.skip("}")?;
    Some(Tls { version, suite, serial, sha256, not_after, issuer, key })
}

fn answer(rest: &mut Rest<'_>) -> Option<Answer> {
    rest.skip("\"effect\":")?;
    let effect = rest.word(&[("allow", Effect::Allow), ("deny", Effect::Deny)])?;
    rest.skip(",\"reason\":")?;
    let word = rest.text()?;
    let reason = Reason::ALL.into_iter().find(|reason| reason.as_str() == word)?;
    rest.skip(",\"policies\":")?;
    let policies = rest.list(str::to_owned)?;
    rest.skip(",\"errors\":")?;
    let errors = rest.list(str::to_owned)?;
    rest.skip(",\"shadow\":")?;
    let shadow = rest.list(str::to_owned)?;
    rest.skip("}")?;
    Some(Answer { effect, reason, policies, errors, shadow })
}

fn ended(rest: &mut Rest<'_>) -> Option<Ended> {
    rest.skip("\"of\":")?;
    let of = rest.number()?;
    rest.skip(",\"outcome\":")?;
    let outcomes = [("forwarded", Outcome::Forwarded), ("limited", Outcome::Limited), ("unavailable", Outcome::Unavailable)];
    let outcome = rest.word(&outcomes)?;
    let status = rest.optional_number(",\"status\":")?;
    rest.skip(",\"duration_us\":")?;
    let duration_us = rest.number()?;
    rest.skip(",\"bytes\":")?;
    let bytes = rest.number()?;
    rest.skip(",\"why\":")?;
    let why = rest.word(&[
        ("complete", Why::Complete),
        ("client", Why::Client),
        ("upstream", Why::Upstream),
        ("policy", Why::Policy),
        ("expired", Why::Expired),
        ("revoked", Why::Revoked),
        ("shutdown", Why::Shutdown),
        ("stale", Why::Stale),
        ("log", Why::Log),
    ])?;
    let attempts = rest.optional_number(",\"attempts\":")?;
    let detail = rest.optional(",\"detail\":")?;
    Some(Ended { of, outcome, status, duration_us, bytes, why, attempts, detail })
}

/// What is left of a line that has neither control bytes nor escapes.
struct Rest<'l>(&'l str);

impl<'l> Rest<'l> {
    /// Whether this stands here; then it is behind it.
    fn takes(&mut self, text: &str) -> bool {
        self.skip(text).is_some()
    }

    fn skip(&mut self, text: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(text)?;
        Some(())
    }

    /// A text between its quotes.
    fn text(&mut self) -> Option<&'l str> {
        let (text, rest) = self.0.strip_prefix('"')?.split_once('"')?;
        self.0 = rest;
        Some(text)
    }

    fn text_or_null(&mut self) -> Option<Option<&'l str>> {
        if self.takes("null") { Some(None) } else { self.text().map(Some) }
    }

    /// A text that is not always there.
    fn optional(&mut self, key: &str) -> Option<Option<String>> {
        if self.takes(key) { self.text().map(|text| Some(text.to_owned())) } else { Some(None) }
    }

    fn parsed<T: FromStr>(&mut self) -> Option<T> {
        self.text()?.parse().ok()
    }

    /// A whole number of no more than its type holds, without a zero before it.
    fn number<T: FromStr>(&mut self) -> Option<T> {
        let length = self.0.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, rest) = self.0.split_at_checked(length)?;
        if digits.len() > 1 && digits.starts_with('0') {
            return None;
        }
        self.0 = rest;
        digits.parse().ok()
    }

    /// A whole number with its sign; zero has none.
    fn integer(&mut self) -> Option<i64> {
        let whole = self.0;
        let is_below = self.takes("-");
        let behind = self.0;
        let size: u64 = self.number()?;
        if !is_below {
            return i64::try_from(size).ok();
        }
        let digits = behind.len() - self.0.len();
        if size == 0 { None } else { whole.get(..digits + 1)?.parse().ok() }
    }

    fn optional_number<T: FromStr>(&mut self, key: &str) -> Option<Option<T>> {
        if self.takes(key) { self.number().map(Some) } else { Some(None) }
    }

    fn word<T: Copy>(&mut self, words: &[(&str, T)]) -> Option<T> {
        let said = self.text()?;
        words.iter().find(|(word, _)| *word == said).map(|(_, value)| *value)
    }

    fn list<T>(&mut self, of: impl Fn(&'l str) -> T) -> Option<Vec<T>> {
        self.skip("[")?;
        let mut out = Vec::new();
        if self.takes("]") {
            return Some(out);
        }
        loop {
            out.push(of(self.text()?));
            if self.takes("]") {
                return Some(out);
            }
            self.skip(",")?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Heartbeat;
    use crate::record_text::EventText;
    use crate::time::Timestamp;

    fn line(event: &Event) -> String {
        let at = Timestamp::from_unix_ms(1_764_150_000_123);
        let text = EventText::of(event);
        let said = std::str::from_utf8(text.borrowed().bytes()).unwrap();
        format!("{{\"v\":1,\"seq\":7,\"prev\":\"{}\",\"at\":\"{at}\",{said}", Digest::of(b"before"))
    }

    fn plain() -> Decided {
        Decided {
            mode: Mode::Enforce,
            revision: Digest::of(b"bundle"),
            side: None,
            source: Source {
                id: "spiffe://shop.example/ns/shop/sa/web".parse().unwrap(),
                service: Some("web".to_owned()),
                ip: Some("10.0.0.7".parse().unwrap()),
            },
            destination: Destination { id: Some("spiffe://shop.example/ns/shop/sa/items".parse().unwrap()), service: "items".to_owned() },
            request: RequestFacts {
                id: "r1".to_owned(),
                protocol: "HTTP/2".to_owned(),
                method: Some("GET".to_owned()),
                path: Some("/v1/items/é".to_owned()),
                operation: Some("read".to_owned()),
                ..RequestFacts::default()
            },
            context: ContextFacts::default(),
            tls: None,
            decision: Answer {
                effect: Effect::Allow,
                reason: Reason::Permitted,
                policies: vec!["a".to_owned(), "b".to_owned()],
                errors: Vec::new(),
                shadow: Vec::new(),
            },
        }
    }

    fn full() -> Decided {
        let text = |text: &str| AttributeValue::Text(text.into());
        let time = Timestamp::from_unix_ms(1_764_150_000_000);
        Decided {
            mode: Mode::DryRun,
            side: Some(Side::Outbound),
            source: Source { service: None, ip: None, ..plain().source },
            destination: Destination { id: None, service: "items".to_owned() },
            request: RequestFacts {
                correlation: Some("c".to_owned()),
                trace: Some("0af7651916cd43dd8448eb211c80319c".to_owned()),
                upgrade: Some("websocket".to_owned()),
                port: Some(443),
                host: Some("items.example".to_owned()),
                raw: Some("x".to_owned()),
                operation: None,
                ..plain().request
            },
            context: ContextFacts {
                headers: Attributes::from([("a".into(), text("1")), ("b".into(), text(""))]),
                query: Attributes::from([("q".into(), text("null"))]),
                jwt: Some(Token::Invalid("expired".into())),
                time: Some(time),
            },
            tls: Some(Tls {
                version: "TLSv1.3".to_owned(),
                suite: "TLS13_AES_128_GCM_SHA256".to_owned(),
                serial: "0a".to_owned(),
                sha256: Digest::of(b"leaf"),
                not_after: time,
                issuer: Some("CN=root".to_owned()),
                key: Some("EC P-256".to_owned()),
            }),
            decision: Answer {
                effect: Effect::Deny,
                reason: Reason::EvaluationError,
                policies: Vec::new(),
                errors: vec!["e".to_owned()],
                shadow: vec!["s".to_owned(), "t".to_owned()],
            },
            ..plain()
        }
    }

    /// With a token, and attributes of every kind.
    fn with_token() -> Decided {
        let list = |texts: &[&str]| AttributeValue::List(texts.iter().map(|text| (*text).into()).collect());
        let other = Attributes::from([
            ("admin".into(), AttributeValue::Boolean(true)),
            ("level".into(), AttributeValue::Integer(i64::MIN)),
            ("none".into(), list(&[])),
            ("roles".into(), list(&["a", "b"])),
            ("team".into(), AttributeValue::Text("x".into())),
        ]);
        let claims =
            Claims { iss: "https://id".into(), sub: "ann".into(), aud: vec!["shop".into()], scope: Some("read write".into()), other };
        let query = Attributes::from([("no".into(), AttributeValue::Boolean(false)), ("q".into(), list(&["1", "2"]))]);
        Decided { context: ContextFacts { query, jwt: Some(Token::Valid(claims)), ..ContextFacts::default() }, ..plain() }
    }

    /// A token with little in it, and a number.
    fn with_bare_token() -> Decided {
        let claims = Claims { iss: "".into(), sub: "".into(), aud: Vec::new(), scope: None, other: Attributes::new() };
        let headers = Attributes::from([("n".into(), AttributeValue::Integer(i64::MAX)), ("z".into(), AttributeValue::Integer(0))]);
        Decided { context: ContextFacts { headers, jwt: Some(Token::Valid(claims)), ..ContextFacts::default() }, ..plain() }
    }

    fn every() -> [Event; 6] {
        let decided = [plain(), full(), with_token(), with_bare_token()].map(|decided| Event::Decided(Box::new(decided)));
        let [a, b, c, d] = decided;
        [a, b, c, d, ended(true), ended(false)]
    }

    fn ended(whole: bool) -> Event {
        Event::Ended(Ended {
            of: 6,
            outcome: if whole { Outcome::Forwarded } else { Outcome::Unavailable },
            status: whole.then_some(200),
            duration_us: u64::MAX,
            bytes: 0,
            why: if whole { Why::Complete } else { Why::Upstream },
            attempts: (!whole).then_some(3),
            detail: (!whole).then(|| "connect".to_owned()),
        })
    }

    #[test]
    fn what_the_enforcer_writes_is_read_without_serde() {
        for event in every() {
            let line = line(&event);
            let record = read(line.as_bytes()).unwrap_or_else(|| panic!("{line}"));
            assert_eq!(record.event, event);
            assert_eq!(Record::from_line_by_serde(line.as_bytes()).unwrap(), record);
        }
        // What it leaves to serde.
        let heartbeat = Event::Heartbeat(Heartbeat {
            revision: Digest::ZERO,
            mode: Mode::Enforce,
            unrecorded: 0,
            refusals_dropped: 0,
            stale: false,
            deleted: Vec::new(),
        });
        let mut escaped = plain();
        escaped.request.raw = Some("\"".to_owned());
        for event in [heartbeat, Event::Decided(Box::new(escaped))] {
            let line = line(&event);
            assert_eq!(read(line.as_bytes()), None, "{line}");
            assert_eq!(Record::from_line(line.as_bytes()).unwrap().event, event);
        }
    }

    /// Every byte left out, doubled, altered and put beside others, members swapped and doubled: whatever is read here is read by serde,
    /// as the same record.
    #[test]
    fn damaged_lines_are_read_as_serde_reads_them() {
        let mut read_here = 0;
        let mut check = |damaged: &[u8]| {
            if let Some(record) = read(damaged) {
                read_here += 1;
                assert_eq!(Record::from_line_by_serde(damaged), Ok(record), "{}", damaged.escape_ascii());
            }
        };
        for event in every() {
            let line = line(&event).into_bytes();
            for at in 0..line.len() {
                let (before, after) = line.split_at(at);
                check(before);
                check(&[before, &after[1..]].concat());
                check(&[before, &after[..1], after].concat());
                for byte in b"\"\\{}[],:0-1e.n \t\x00\x7f\xc3\xff" {
                    check(&[before, &[*byte], &after[1..]].concat());
                    check(&[before, &[*byte], after].concat());
                }
            }
            let members: Vec<&[u8]> = line.split(|b| *b == b',').collect();
            for n in 1..members.len() {
                let mut swapped = members.clone();
                swapped.swap(n - 1, n);
                check(&swapped.join(&b','));
                let mut doubled = members.clone();
                doubled.insert(n, members[n - 1]);
                check(&doubled.join(&b','));
            }
        }
        assert!(read_here > 2_000, "{read_here}");
    }

    /// Tokens as nobody writes them: names given twice or out of order, numbers in odd dress, values of other kinds.
    #[test]
    fn random_tokens_are_read_as_serde_reads_them() {
        let seed = 0x5eed_0040_u64;
        println!("seed {seed:#x}");
        let mut random = seed;
        let mut below = |n: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(random >> 33).unwrap() % n
        };
        let values = [
            "\"x\"",
            "\"\"",
            "[]",
            "[\"a\"]",
            "[\"a\",\"b\"]",
            "[1]",
            "0",
            "7",
            "-7",
            "-0",
            "00",
            "01",
            "-01",
            "1.0",
            "1e3",
            "9223372036854775807",
            "9223372036854775808",
            "-9223372036854775808",
            "-9223372036854775809",
            "18446744073709551616",
            "true",
            "false",
            "truee",
            "null",
            "{}",
            "-",
            "",
        ];
        let names = ["a", "b", "c", "é", "iss", "sub", "aud", "scope", "invalid", ""];
        let base = line(&Event::Decided(Box::new(plain())));
        let (before, after) = base.split_once("\"query\":{}").unwrap();
        let (mut here, mut good) = (0, 0);
        for _ in 0..40_000 {
            let aud = ["[\"x\"]", "[]", "\"x\""][below(8).saturating_sub(5)];
            let mut members = vec!["\"iss\":\"i\"".to_owned(), "\"sub\":\"s\"".to_owned(), format!("\"aud\":{aud}")];
            if below(2) == 0 {
                members.push("\"scope\":\"read\"".to_owned());
            }
            for _ in 0..below(4) {
                let most = if below(4) == 0 { names.len() } else { 4 };
                let (name, value) = (names[below(most)], values[below(values.len())]);
                members.push(format!("\"{name}\":{value}"));
            }
            if below(12) == 0 {
                let (a, b) = (below(members.len()), below(members.len()));
                members.swap(a, b);
            }
            let query = if below(4) == 0 { format!("{{\"q\":{}}}", values[below(values.len())]) } else { "{}".to_owned() };
            let line = format!("{before}\"query\":{query},\"jwt\":{{{}}}{after}", members.join(","));
            let by_serde = Record::from_line_by_serde(line.as_bytes());
            good += usize::from(by_serde.is_ok());
            if let Some(record) = read(line.as_bytes()) {
                here += 1;
                assert_eq!(by_serde.as_ref(), Ok(&record), "{line}");
            }
        }
        assert!(here > 10_000 && good > here, "{here} {good}");
    }
}
