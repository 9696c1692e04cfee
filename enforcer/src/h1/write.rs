//! Heads of HTTP/1 as they are written: from judged parts to the service, from strictly read ones to the caller.

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

use http::StatusCode;
use portreeve_engine::request::Method;

use crate::h1::body::Encoder;
use crate::h1::buffer;
use crate::h1::scan::{Framing, ResponseHead};
use crate::head::{Field, Kind, Lines};
use crate::headers;
use crate::question::Switch;

/// What the head of a request to the service begins with: its first line, and the host.
#[must_use]
pub fn opening(method: &Method, (path, query): (&str, Option<&str>), host: Option<&str>, switch: Option<Switch>) -> Vec<u8> {
    // A request of HTTP/1.0 may name no host; the service still gets one.
    let host = host.unwrap_or("localhost");
    let mut out = buffer::spare();
    out.extend_from_slice(method.as_str().as_bytes());
    out.push(b' ');
    if switch == Some(Switch::Tunnel) {
        // A tunnel is asked for by the authority it leads to, which is the service's own, whatever path it was judged under.
        out.extend_from_slice(host.as_bytes());
    } else {
        out.extend_from_slice(path.as_bytes());
        if let Some(query) = query {
            out.push(b'?');
            out.extend_from_slice(query.as_bytes());
        }
    }
    out.extend_from_slice(VERSION_AND_HOST);
    out.extend_from_slice(host.as_bytes());
    out.extend_from_slice(b"\r\n");
    out
}

/// Target and host of what [`opening`] wrote.
#[must_use]
pub fn opened(opening: &[u8]) -> Option<(&str, &str)> {
    // None of the three has white space in it.
    let (line, host) = std::str::from_utf8(opening).ok()?.strip_suffix("\r\n")?.split_once("\r\nhost: ")?;
    Some((line.strip_suffix(" HTTP/1.1")?.split_once(' ')?.1, host))
}

/// The head of a request to the service. The judged parts are all that is in it.
#[must_use]
pub fn request(lines: Lines, switch: Option<Switch>, framing: Framing) -> Vec<u8> {
    let mut out = lines.into_head();
    if let Some(Switch::Upgrade(upgrade)) = switch {
        out.extend_from_slice(b"connection: upgrade\r\nupgrade: ");
        out.extend_from_slice(upgrade.as_str().as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    Encoder::new(framing).head(&mut out);
    out.extend_from_slice(b"\r\n");
    out
}

/// The head of the service's answer, as the caller gets it.
pub fn answer_head(out: &mut Vec<u8>, head: &mut ResponseHead<'_>, framing: Framing, id: &str, closing: bool) {
    // Without a body the length tells what another method or time would have got.
    let keep_length = framing == Framing::None && head.status != 204;
    headers::clean_answer(&mut head.fields);
    status_line(out, head.status, head.reason);
    let dated = head.fields.iter().any(|f| f.is("date"));
    for field in head.fields.iter().filter(|f| f.kind != Kind::Length || keep_length) {
        line(out, field);
    }
    if !dated {
        date(out);
    }
    own(out, id);
    if closing {
        out.extend_from_slice(b"connection: close\r\n");
    }
    Encoder::new(framing).head(out);
    out.extend_from_slice(b"\r\n");
}

/// An interim answer (1xx).
pub fn interim(out: &mut Vec<u8>, head: &mut ResponseHead<'_>) {
    headers::clean_answer(&mut head.fields);
    status_line(out, head.status, head.reason);
    for field in head.fields.iter().filter(|f| f.kind != Kind::Length) {
        line(out, field);
    }
    out.extend_from_slice(b"\r\n");
}

/// The answer that begins a tunnel.
pub fn switch(out: &mut Vec<u8>, head: &mut ResponseHead<'_>, id: &str) {
    let upgrade: Option<Vec<u8>> = head.fields.of(Kind::Upgrade).next().map(|f| f.value.to_vec());
    headers::clean_answer(&mut head.fields);
    status_line(out, head.status, head.reason);
    for field in head.fields.iter().filter(|f| f.kind != Kind::Length) {
        line(out, field);
    }
    if let (101, Some(upgrade)) = (head.status, upgrade) {
        out.extend_from_slice(b"connection: upgrade\r\nupgrade: ");
        out.extend_from_slice(&upgrade);
        out.extend_from_slice(b"\r\n");
    }
    own(out, id);
    out.extend_from_slice(b"\r\n");
}

/// An answer of the gate's own: a status and the request id, nothing else (two faces for a refusal).
pub fn answer(out: &mut Vec<u8>, status: StatusCode, id: &str, head_only: bool, closing: bool, retry_after: Option<u64>) {
    status_line(out, status.as_u16(), status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"content-type: application/json\r\n");
    date(out);
    own(out, id);
    if let Some(seconds) = retry_after {
        out.extend_from_slice(format!("retry-after: {seconds}\r\n").as_bytes());
    }
    if closing {
        out.extend_from_slice(b"connection: close\r\n");
    }
    // Ids are made by us of letters, digits and dashes, so they need no escaping.
    let body = format!("{{\"request_id\":\"{id}\"}}\n");
    Encoder::new(Framing::Fixed(u64::try_from(body.len()).unwrap_or(0))).head(out);
    out.extend_from_slice(b"\r\n");
    if !head_only {
        out.extend_from_slice(body.as_bytes());
    }
}

fn status_line(out: &mut Vec<u8>, status: u16, reason: &[u8]) {
    out.extend_from_slice(b"HTTP/1.1 ");
    for digit in [status / 100, status / 10, status] {
        out.push(b'0' + u8::try_from(digit % 10).unwrap_or(0));
    }
    out.push(b' ');
    out.extend_from_slice(reason);
    out.extend_from_slice(b"\r\n");
}

fn line(out: &mut Vec<u8>, field: &Field<'_>) {
    out.extend_from_slice(field.name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(field.value);
    out.extend_from_slice(b"\r\n");
}

fn own(out: &mut Vec<u8>, id: &str) {
    out.extend_from_slice(b"x-request-id: ");
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// The date, as a line.
fn date(out: &mut Vec<u8>) {
    with_date(|date| {
        out.extend_from_slice(b"date: ");
        out.extend_from_slice(date);
        out.extend_from_slice(b"\r\n");
    });
}

/// Lends the date, written anew once a second for each thread.
pub fn with_date<T>(lend: impl FnOnce(&[u8]) -> T) -> T {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    DATE.with_borrow_mut(|(second, text)| {
        if *second != now || text.is_empty() {
            *second = now;
            *text = date_text(now);
        }
        lend(text.as_bytes())
    })
}

thread_local! {
    static DATE: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`.
fn date_text(unix: u64) -> String {
    let at = i64::try_from(unix).ok().and_then(|s| time::OffsetDateTime::from_unix_timestamp(s).ok());
    let at = at.unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    let day: String = at.weekday().to_string().chars().take(3).collect();
    let month: String = at.month().to_string().chars().take(3).collect();
    let (hour, minute, second) = at.to_hms();
    format!("{day}, {:02} {month} {} {hour:02}:{minute:02}:{second:02} GMT", at.day(), at.year())
}

const VERSION_AND_HOST: &[u8] = b" HTTP/1.1\r\nhost: ";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::h1::scan;

    #[test]
    fn what_a_head_begins_with_is_read_back() {
        let get = Method::parse("GET").unwrap();
        for (query, host, target) in [(None, Some("items:80"), "/v1/a%20b"), (Some("x=1?2"), None, "/v1/a%20b?x=1?2")] {
            let opening = opening(&get, ("/v1/a%20b", query), host, None);
            assert_eq!(opened(&opening), Some((target, host.unwrap_or("localhost"))));
        }
        let tunnel = opening(&Method::parse("CONNECT").unwrap(), ("/", None), Some("items:80"), Some(Switch::Tunnel));
        assert_eq!(tunnel, b"CONNECT items:80 HTTP/1.1\r\nhost: items:80\r\n");
    }

    #[test]
    fn dates_have_the_form_of_http() {
        assert_eq!(date_text(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
    }

    #[test]
    fn answers_are_cleaned_and_framed_anew() {
        let bytes = b"HTTP/1.1 200 Fine\r\nConnection: x-hop\r\nX-Hop: 1\r\nDate: then\r\nX-Request-Id: theirs\r\nX-Portreeve-Principal: x\r\nSet-Cookie: a\r\nset-cookie: b\r\nTransfer-Encoding: chunked\r\n\r\n";
        let mut out = Vec::new();
        answer_head(&mut out, &mut scan::response(bytes, "GET").unwrap(), Framing::Chunked, "r1", true);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "HTTP/1.1 200 Fine\r\nDate: then\r\nSet-Cookie: a\r\nset-cookie: b\r\nx-request-id: r1\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
        );
        let bytes = b"HTTP/1.1 200 OK\r\nDate: then\r\nContent-Length: 5\r\n\r\n";
        for (method, lengths) in [("HEAD", 1), ("GET", 1)] {
            let mut head = scan::response(bytes, method).unwrap();
            let (framing, mut out) = (head.framing, Vec::new());
            answer_head(&mut out, &mut head, framing, "r1", false);
            let text = String::from_utf8(out).unwrap().to_ascii_lowercase();
            assert_eq!(text.matches("content-length: 5\r\n").count(), lengths, "{text}");
        }
    }
}
