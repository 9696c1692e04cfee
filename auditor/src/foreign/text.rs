//! Lines of text that a format of Envoy's command operators wrote: `[%START_TIME%] "%REQ(:METHOD)% …`.
//!
//! Envoy escapes nothing in text, so a caller can write quotes into a header and move every field after it. Therefore a line counts
//! only if there is exactly one way to read it: each operator has the form its values have (a number, a word, a time, free text), and
//! a line that can be cut in two ways is refused.
//!
//! INVARIANT: the facts of a line are those of its only reading.

use std::borrow::Cow;
use std::fmt;

use memchr::{memchr, memmem};

use super::envoy::{Fact, fact_of};
use super::json::{Slots, Value};
use super::time::parse_time;
use crate::limits::{FORMAT_BYTES_MAX, READING_STEPS_MAX};

/// A format: what stands fast, and what an operator writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextFormat {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(Box<str>),
    Operator { form: Form, fact: Option<Fact> },
}

/// What values of an operator look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Digits, or `-`.
    Number,
    /// Neither space nor quote.
    Word,
    /// A time.
    Time,
    /// Anything: what a caller wrote.
    Free,
}

/// Why a format cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatError {
    /// Byte offset in the format, from 0.
    pub at: usize,
    /// What is wrong.
    pub why: String,
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: {}", self.at + 1, self.why)
    }
}

impl TextFormat {
    /// Reads a format.
    ///
    /// # Errors
    /// An operator that does not end, two with nothing between them, or no time.
    pub fn parse(format: &str) -> Result<Self, FormatError> {
        let fault = |at: usize, why: &str| Err(FormatError { at, why: why.to_owned() });
        if format.len() > FORMAT_BYTES_MAX {
            return fault(0, "the format is too long");
        }
        let mut parts: Vec<Part> = Vec::new();
        let mut literal = String::new();
        let mut rest = format.trim_end_matches('\n');
        while let Some((before, after)) = rest.split_once('%') {
            let at = format.len() - after.len() - 1;
            literal.push_str(before);
            if let Some(after) = after.strip_prefix('%') {
                literal.push('%');
                rest = after;
                continue;
            }
            let Some((operator, after)) = operator(after) else {
                return fault(at, "this operator has no end; `%%` stands for a percent sign");
            };
            if operator.is_empty() || !operator.starts_with(|c: char| c.is_ascii_alphabetic()) {
                return fault(at, "expected a command operator such as `%START_TIME%`");
            }
            if literal.is_empty() && matches!(parts.last(), Some(Part::Operator { .. })) {
                return fault(at, "nothing stands between this operator and the one before it, so their values cannot be told apart");
            }
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal).into()));
            }
            // A length limit stands after the operator: `%REQ(USER-AGENT):40%`.
            let name = operator.rsplit_once(':').filter(|(_, n)| n.bytes().all(|b| b.is_ascii_digit())).map_or(operator, |(name, _)| name);
            let fact = fact_of(name);
            parts.push(Part::Operator { form: form(name, fact), fact });
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Literal(literal.into()));
        }
        if !parts.iter().any(|p| matches!(p, Part::Operator { fact: Some(Fact::StartTime), .. })) {
            return fault(0, "there is no `%START_TIME%` in it, and a record without a time proves nothing");
        }
        Ok(Self { parts })
    }

    /// Whether a line begins as lines of this format do.
    #[must_use]
    pub fn begins(&self, line: &str) -> bool {
        match self.parts.first() {
            Some(Part::Literal(text)) => line.starts_with(&**text),
            _ => true,
        }
    }

    /// The facts of a line.
    ///
    /// # Errors
    /// There is no way to read it, or more than one.
    pub fn read<'l>(&self, line: &'l str) -> Result<Slots<'l>, Unread> {
        let mut reading = Reading { line, steps: 0, found: Vec::new(), taken: Vec::new(), several: false };
        reading.from(&self.parts, 0)?;
        if reading.several {
            return Err(Unread::Several);
        }
        if reading.found.is_empty() {
            return Err(Unread::Nothing);
        }
        let mut slots = Slots::default();
        for (fact, text) in reading.found {
            slots.put(fact as usize, Value::Text(Cow::Borrowed(text))).map_err(|_| Unread::Several)?;
        }
        Ok(slots)
    }
}

/// Why a line is not of a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// It is not of this format.
    Nothing,
    /// It can be read in two ways: a value holds what stands between values.
    Several,
}

/// One attempt to read a line, from left to right, with a step back where a value may end in several places.
struct Reading<'l> {
    line: &'l str,
    steps: usize,
    found: Vec<(Fact, &'l str)>,
    taken: Vec<(Fact, &'l str)>,
    several: bool,
}

impl Reading<'_> {
    fn from(&mut self, parts: &[Part], at: usize) -> Result<(), Unread> {
        self.steps += 1;
        if self.steps > READING_STEPS_MAX {
            return Err(Unread::Several);
        }
        let rest = self.line.get(at..).unwrap_or_default();
        match parts.split_first() {
            None if rest.is_empty() => {
                // Two ways to the same facts are one.
                if self.found.is_empty() {
                    self.found.clone_from(&self.taken);
                } else {
                    self.several |= self.found != self.taken;
                }
                Ok(())
            }
            None => Ok(()),
            Some((Part::Literal(text), parts)) if rest.starts_with(&**text) => self.from(parts, at + text.len()),
            Some((Part::Literal(_), _)) => Ok(()),
            Some((Part::Operator { form, fact }, parts)) => self.value(*form, *fact, parts, at, rest),
        }
    }

    /// Tries every end that a value may have: before each place where what follows stands.
    fn value(&mut self, form: Form, fact: Option<Fact>, parts: &[Part], at: usize, rest: &'_ str) -> Result<(), Unread> {
        let longest = form.longest(rest);
        let next = match parts.first() {
            Some(Part::Literal(text)) => Some(&**text),
            _ => None,
        };
        let mut from = 0;
        loop {
            let end = match next {
                None => rest.len(),
                // What stands behind the last place where the value may end is not looked at.
                Some(text) => match find(rest.as_bytes().get(from..rest.len().min(longest + text.len())), text) {
                    Some(found) => from + found,
                    None => return Ok(()),
                },
            };
            if end > longest {
                return Ok(());
            }
            let value = self.line.get(at..at + end).unwrap_or_default();
            if form.fits(value) {
                let mark = self.taken.len();
                self.taken.extend(fact.map(|fact| (fact, value)));
                self.from(parts, at + end)?;
                self.taken.truncate(mark);
            }
            if next.is_none() {
                return Ok(());
            }
            from = end + 1;
            while !rest.is_char_boundary(from) {
                from += 1;
            }
        }
    }
}

/// Where a text begins in another.
fn find(tail: Option<&[u8]>, text: &str) -> Option<usize> {
    match text.as_bytes() {
        [byte] => memchr(*byte, tail?),
        bytes => memmem::find(tail?, bytes),
    }
}

impl Form {
    fn fits(self, value: &str) -> bool {
        match self {
            Self::Number => value == "-" || (!value.is_empty() && value.bytes().all(|b| b.is_ascii_digit())),
            Self::Word => !value.is_empty() && !value.bytes().any(|b| b == b' ' || b == b'"'),
            Self::Time => parse_time(value).is_some(),
            Self::Free => true,
        }
    }

    /// Where a value ends at the latest.
    fn longest(self, rest: &str) -> usize {
        match self {
            Self::Number => rest.bytes().take_while(|b| b.is_ascii_digit() || *b == b'-').count(),
            Self::Word => rest.bytes().take_while(|b| *b != b' ' && *b != b'"').count(),
            Self::Time => rest.len().min(TIME_BYTES_MAX),
            Self::Free => rest.len(),
        }
    }
}

/// The form of an operator's values: words, but for numbers, times and what a caller may write freely.
fn form(name: &str, fact: Option<Fact>) -> Form {
    match fact {
        Some(Fact::StartTime) => Form::Time,
        Some(Fact::Code) => Form::Number,
        Some(Fact::Path | Fact::Authority | Fact::RequestId | Fact::TerminationDetails | Fact::PeerEnd | Fact::PeerIssuer) => Form::Free,
        Some(_) => Form::Word,
        None => {
            let upper = name.to_ascii_uppercase();
            let base = upper.split('(').next().unwrap_or_default();
            match base {
                "BYTES_RECEIVED" | "BYTES_SENT" | "DURATION" => Form::Number,
                "KUMA_MESH" | "ROUTE_NAME" | "HOSTNAME" | "CONNECTION_ID" => Form::Word,
                _ if upper.contains("X-ENVOY-UPSTREAM-SERVICE-TIME") => Form::Number,
                _ => Form::Free,
            }
        }
    }
}

/// The operator up to its closing `%`; a `%` may stand within its parentheses (`%START_TIME(%Y-%m-%d)%`).
fn operator(text: &str) -> Option<(&str, &str)> {
    let mut depth = 0_u32;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            '%' if depth == 0 => return Some((text.get(..at)?, text.get(at + 1..)?)),
            _ => {}
        }
    }
    None
}

/// Envoy's own default.
pub const ENVOY: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\"";
/// Istio's default, and those of its earlier releases.
pub const ISTIO: [&str; 3] = [
    "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% \"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%",
    "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% %RESPONSE_FLAGS% \"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER% %UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%",
    "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% %RESPONSE_FLAGS% \"%DYNAMIC_METADATA(istio.mixer:status)%\" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER% %UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME%",
];
/// Kuma's defaults, of connections and of requests.
pub const KUMA: [&str; 2] = [
    "[%START_TIME%] %RESPONSE_FLAGS% %KUMA_MESH% %KUMA_SOURCE_ADDRESS_WITHOUT_PORT%(%KUMA_SOURCE_SERVICE%)->%UPSTREAM_HOST%(%KUMA_DESTINATION_SERVICE%) took %DURATION%ms, sent %BYTES_SENT% bytes, received: %BYTES_RECEIVED% bytes",
    "[%START_TIME%] %KUMA_MESH% \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-B3-TRACEID?X-DATADOG-TRACEID)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%KUMA_SOURCE_SERVICE%\" \"%KUMA_DESTINATION_SERVICE%\" \"%KUMA_SOURCE_ADDRESS_WITHOUT_PORT%\" \"%UPSTREAM_HOST%\"",
];

/// No writer's time is longer.
const TIME_BYTES_MAX: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_format_reads_its_line() {
        let istio = r#"[2026-10-09T08:05:55.932Z] "GET /status/200 HTTP/1.1" 403 - rbac_access_denied_matched_policy[ns[starfleet]-policy[probe-deny-status]-rule[0]] - "-" 0 19 0 - "-" "curl/8.11.1" "66146f25-bad9-438d-bbe8-c08ceb51be1e" "probe:8000" "-" inbound|8080|| - 10.244.0.14:8080 10.244.0.12:54616 outbound_.8000_._.probe.starfleet.svc.cluster.local default"#;
        let old = r#"[2019-03-06T09:31:27.354Z] "GET /status/418 HTTP/1.1" 418 - "-" 0 135 11 10 "-" "curl/7.60.0" "d209e46f-9ed5-9b61-bbdd-43e22662702a" "httpbin:8000" "172.30.146.73:80" outbound|8000||httpbin.default.svc.cluster.local - 172.21.13.94:8000 172.30.146.82:60290 -"#;
        let envoy = r#"[2021-03-12T09:11:51.592Z] "GET /server_info HTTP/1.1" 200 - 0 27805 1 - "64.145.79.247" "Datadog Agent/7.26.0" "d0000a1f-0000-4b42-0000-0000e13d78ca" "64.145.79.247:8001" "-""#;
        let tcp = "[2026-10-09T08:05:55.932Z] - default 10.0.0.1(web_shop_svc_80)->10.0.0.2:5432(db_shop_svc_5432) took 12ms, sent 7 bytes, received: 9 bytes";
        let http = r#"[2026-10-09T08:05:55.932Z] default "GET /x HTTP/1.1" 200 - 0 5 1 1 "-" "curl" "-" "r-1" "db" "web" "db" "10.0.0.1" "10.0.0.2:80""#;
        for (format, line, fact, want) in [
            (ISTIO[0], istio, Fact::CodeDetails, "rbac_access_denied_matched_policy[ns[starfleet]-policy[probe-deny-status]-rule[0]]"),
            (ISTIO[0], istio, Fact::ServerName, "outbound_.8000_._.probe.starfleet.svc.cluster.local"),
            (ISTIO[2], old, Fact::Cluster, "outbound|8000||httpbin.default.svc.cluster.local"),
            (ENVOY, envoy, Fact::Authority, "64.145.79.247:8001"),
            (KUMA[0], tcp, Fact::DestinationService, "db_shop_svc_5432"),
            (KUMA[1], http, Fact::SourceService, "web"),
        ] {
            let read = TextFormat::parse(format).unwrap().read(line);
            assert_eq!(read.map(|slots| slots.text(fact as usize).map(str::to_owned)), Ok(Some(want.to_owned())), "{line}");
        }
        for (format, line) in [(ISTIO[0], old), (ISTIO[2], istio), (ENVOY, old), (KUMA[0], http), (ENVOY, ""), (ENVOY, "[")] {
            assert_eq!(TextFormat::parse(format).unwrap().read(line).unwrap_err(), Unread::Nothing, "{line}");
        }
    }

    #[test]
    fn a_header_with_quotes_cannot_move_the_fields() {
        let format = TextFormat::parse(ENVOY).unwrap();
        let line =
            |agent: &str| format!(r#"[2021-03-12T09:11:51.592Z] "GET / HTTP/1.1" 200 - 0 1 1 - "-" "{agent}" "real-id" "items:80" "-""#);
        let honest = line("curl");
        assert_eq!(format.read(&honest).unwrap().text(Fact::RequestId as usize), Some("real-id"));
        // One field too many: whichever it is, the line has two readings.
        for agent in [r#"x" "forged-id" "users:80"#, r#"" ""#, r#"x" "y"#] {
            assert_eq!(format.read(&line(agent)).unwrap_err(), Unread::Several, "{agent}");
        }
        assert_eq!(format.read(&line(r#"say "hi""#)).unwrap().text(Fact::RequestId as usize), Some("real-id"));
        assert_eq!(format.read(&line(&r#"" ""#.repeat(500))).unwrap_err(), Unread::Several);
    }

    #[test]
    fn wrong_formats_are_told_with_their_column() {
        for (format, at, want) in [
            ("%START_TIME", 0, "no end"),
            ("%START_TIME% %REQ(:METHOD", 13, "no end"),
            ("%START_TIME%%REQ(:METHOD)%", 12, "nothing stands between"),
            ("%REQ(:METHOD)%", 0, "START_TIME"),
            ("%START_TIME% % %", 13, "expected a command operator"),
        ] {
            let error = TextFormat::parse(format).unwrap_err();
            assert!(error.at == at && error.why.contains(want), "{format}: {error}");
        }
        let own = TextFormat::parse("%START_TIME(%s.%3f)%|%REQ(:METHOD):8%|100%%|%DOWNSTREAM_PEER_URI_SAN%\n").unwrap();
        let slots = own.read("1760000000.123|GET|100%|spiffe://a/b").unwrap();
        assert_eq!(slots.text(Fact::PeerSan as usize), Some("spiffe://a/b"));
        assert!(own.read("1760000000.123|GET|100%|-").unwrap().text(Fact::PeerSan as usize).is_none());
    }
}
