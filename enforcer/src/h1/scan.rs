//! Heads of HTTP/1.0 and 1.1, read from raw bytes.
//!
//! A head is taken whole or refused; nothing in it is repaired. What two readers could understand in two ways is refused: a line
//! that does not end in CR LF, a folded line, white space before a colon, control bytes, more than one length, a length beside
//! a transfer encoding, any transfer encoding but `chunked`, a host too many or too few (A02, A21, A23, A77).
//!
//! INVARIANT: what is accepted here means the same to every reader that keeps to RFC 9112.

use http::{StatusCode, Version};

use crate::head::{Fields, Head, Kind};
use crate::limits;

/// What is wrong with a head, and the status that tells it.
pub type Flaw = (&'static str, StatusCode);

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// By its length.
    Fixed(u64),
    /// By its chunks.
    Chunked,
    /// By the end of the connection; a response's only.
    Close,
}

/// A request's head, borrowed from the bytes that came.
#[derive(Clone, Debug)]
pub struct RequestHead<'a> {
    /// What is judged.
    pub head: Head<'a>,
    /// What follows it.
    pub framing: Framing,
    /// Whether another request may follow.
    pub persistent: bool,
    /// Whether the caller waits for `100 Continue`.
    pub expects_continue: bool,
}

/// A response's head, borrowed from the bytes that came.
#[derive(Clone, Debug)]
pub struct ResponseHead<'a> {
    /// The status.
    pub status: u16,
    /// The words after it.
    pub reason: &'a [u8],
    /// The header lines.
    pub fields: Fields<'a>,
    /// What follows it.
    pub framing: Framing,
    /// Whether the connection can serve another request.
    pub persistent: bool,
}

/// Finds the end of a head in bytes that come in pieces, each looked at once.
#[derive(Clone, Copy, Debug, Default)]
pub struct Finder {
    line_start: usize,
}

impl Finder {
    /// The length of the head with its empty line, `None` while it is not whole. `bytes` begin where they began before.
    ///
    /// # Errors
    /// A line ends in LF alone, or the head is too long.
    pub fn find(&mut self, bytes: &[u8]) -> Result<Option<usize>, Flaw> {
        while let Some(at) = bytes.get(self.line_start..).and_then(|rest| memchr::memchr(b'\n', rest)) {
            let end = self.line_start + at;
            if end.checked_sub(1).and_then(|i| bytes.get(i)) != Some(&b'\r') {
                return Err(("a line ends without a carriage return", StatusCode::BAD_REQUEST));
            }
            if end >= limits::HEAD_BYTES_MAX {
                return Err(TOO_LARGE);
            }
            if end == self.line_start + 1 {
                return Ok(Some(end + 1));
            }
            self.line_start = end + 1;
        }
        if bytes.len() > limits::HEAD_BYTES_MAX { Err(TOO_LARGE) } else { Ok(None) }
    }
}

/// Reads a whole request head.
///
/// # Errors
/// Why it is refused.
pub fn request(bytes: &[u8]) -> Result<RequestHead<'_>, Flaw> {
    let mut lines = Lines(bytes);
    let (method, target, version) = request_line(lines.next().unwrap_or_default())?;
    let fields = header_lines(lines)?;
    let http11 = version == Version::HTTP_11;
    let (scheme, authority, target) = split_target(method, target)?;
    let hosts = fields.of(Kind::Host).count();
    if hosts > 1 || (hosts == 0 && http11) {
        return Err(bad("the request has not exactly one `host`"));
    }
    let framing = match framing(&fields, http11)? {
        Framing::Close => Framing::None,
        framing => framing,
    };
    let expects_continue = http11 && expects(&fields)? && !matches!(framing, Framing::None | Framing::Fixed(0));
    // A caller of HTTP/1.0 may mean another thing with `keep-alive`, and none of them needs it here.
    let persistent = http11 && !fields.tokens(Kind::Connection).any(|t| t.eq_ignore_ascii_case("close"));
    Ok(RequestHead {
        head: Head { version, method, scheme, authority, target, protocol: None, fields },
        framing,
        persistent,
        expects_continue,
    })
}

/// Reads a whole response head. `method` is the request's.
///
/// # Errors
/// Why it is refused.
pub fn response<'a>(bytes: &'a [u8], method: &str) -> Result<ResponseHead<'a>, &'static str> {
    let mut lines = Lines(bytes);
    let (status, reason, http11) = status_line(lines.next().unwrap_or_default())?;
    let fields = header_lines(lines).map_err(|(why, _)| why)?;
    let said = framing(&fields, http11).map_err(|(why, _)| why)?;
    let bodiless = method == "HEAD" || matches!(status, 100..=199 | 204 | 304) || (method == "CONNECT" && matches!(status, 200..=299));
    if said == Framing::Chunked && matches!(status, 100..=199 | 204) {
        return Err("a response that has no body says that it is chunked");
    }
    let framing = if bodiless { Framing::None } else { said };
    let says = |word: &str| fields.tokens(Kind::Connection).any(|t| t.eq_ignore_ascii_case(word));
    let persistent = framing != Framing::Close && if http11 { !says("close") } else { says("keep-alive") && !says("close") };
    Ok(ResponseHead { status, reason, fields, framing, persistent })
}

/// Reads header lines up to the empty one, as they stand in a head or in trailers.
///
/// # Errors
/// A line is broken or folded, or there are too many.
pub fn header_lines(lines: Lines<'_>) -> Result<Fields<'_>, Flaw> {
    let mut fields = Fields::with_capacity(FIELDS_USUAL);
    for line in lines.take_while(|line| !line.is_empty()) {
        if fields.len() == limits::HEADERS_MAX {
            return Err(("too many headers", StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
        }
        let (name, value) = header_line(line).ok_or(bad("a header line is broken or folded"))?;
        fields.push(name, value);
    }
    Ok(fields)
}

/// The lines of bytes in which every LF has its CR; without their ends.
#[derive(Clone, Copy, Debug)]
pub struct Lines<'a>(pub &'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let end = memchr::memchr(b'\n', self.0)?;
        let line = self.0.get(..end)?;
        self.0 = self.0.get(end + 1..)?;
        line.strip_suffix(b"\r")
    }
}

/// Name and trimmed value of a header line.
fn header_line(line: &[u8]) -> Option<(&str, &[u8])> {
    let colon = line.iter().position(|b| !is_token(*b))?;
    let (name, rest) = line.split_at_checked(colon)?;
    let value = rest.strip_prefix(b":")?;
    if name.is_empty() || !is_value(value) {
        return None;
    }
    Some((std::str::from_utf8(name).ok()?, value.trim_ascii()))
}

fn request_line(line: &[u8]) -> Result<(&str, &str, Version), Flaw> {
    let mut parts = line.split(|b| *b == b' ');
    let (Some(method), Some(target), Some(version), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err(bad("the request line does not have three parts"));
    };
    if method.is_empty() || !method.iter().all(|b| is_token(*b)) {
        return Err(bad("the method is not a token"));
    }
    self::target(target)?;
    let version = match version {
        b"HTTP/1.1" => Version::HTTP_11,
        b"HTTP/1.0" => Version::HTTP_10,
        _ => return Err(("the version is neither HTTP/1.1 nor HTTP/1.0", StatusCode::HTTP_VERSION_NOT_SUPPORTED)),
    };
    let text = |bytes| std::str::from_utf8(bytes).map_err(|_| bad("the request line is not text"));
    Ok((text(method)?, text(target)?, version))
}

/// Whether a target has only bytes that may stand in one.
///
/// # Errors
/// It has others.
pub fn target(bytes: &[u8]) -> Result<(), Flaw> {
    if bytes.is_empty() || !are_all(bytes, |b| (b > b' ') & (b < 0x7f) & (b != b'"') & (b != b'<') & (b != b'>')) {
        return Err(bad("the target has a character that must be percent-encoded"));
    }
    if bytes.contains(&b'#') { Err(bad("the target has a fragment")) } else { Ok(()) }
}

/// Whether these bytes may be the value of a header.
#[must_use]
pub fn is_value(bytes: &[u8]) -> bool {
    are_all(bytes, is_text)
}

/// Scheme, authority, and path with query.
fn split_target<'a>(method: &str, target: &'a str) -> Result<(Option<&'a str>, Option<&'a str>, &'a str), Flaw> {
    if method == "CONNECT" {
        return Ok((None, Some(target), "/"));
    }
    if target.starts_with('/') || target == "*" {
        return Ok((None, None, target));
    }
    let wrong = bad("the target is not a URI");
    let (scheme, rest) = target.split_once("://").ok_or(wrong)?;
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let path = match path {
        "" => "/",
        path if path.starts_with('/') => path,
        _ => return Err(wrong),
    };
    if scheme.is_empty() || authority.is_empty() || !scheme.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(wrong);
    }
    Ok((Some(scheme), Some(authority), path))
}

fn status_line(line: &[u8]) -> Result<(u16, &[u8], bool), &'static str> {
    let http11 = line.starts_with(b"HTTP/1.1 ");
    if !http11 && !line.starts_with(b"HTTP/1.0 ") {
        return Err("the status line does not begin with an HTTP/1 version");
    }
    let rest = line.get(9..).unwrap_or_default();
    let (digits, reason) = rest.split_at_checked(3).ok_or("the status line has no status")?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err("the status is not a number");
    }
    let status = digits.iter().fold(0, |n, d| n * 10 + u16::from(d - b'0'));
    // The space may be missing where there are no words; many servers leave it out.
    let reason = match reason {
        [] => reason,
        [b' ', words @ ..] if are_all(words, is_text) => words,
        _ => return Err("the status line is broken after the status"),
    };
    if status < 100 { Err("the status is out of range") } else { Ok((status, reason, http11)) }
}

/// What the lines say of the body. [`Framing::Close`] where they say nothing.
fn framing(fields: &Fields<'_>, http11: bool) -> Result<Framing, Flaw> {
    let mut chunked = false;
    for field in fields.of(Kind::Hop).filter(|f| f.is("transfer-encoding")) {
        if chunked || !http11 || !field.value.eq_ignore_ascii_case(b"chunked") {
            return Err(bad("`transfer-encoding` is not exactly `chunked`"));
        }
        chunked = true;
    }
    match (chunked, length(fields)?) {
        (true, Some(_)) => Err(bad("`content-length` stands beside `transfer-encoding`")),
        (true, None) => Ok(Framing::Chunked),
        (false, Some(length)) => Ok(Framing::Fixed(length)),
        (false, None) => Ok(Framing::Close),
    }
}

/// The one length that the lines tell, if they tell one.
///
/// # Errors
/// It is told twice, or is no number.
pub fn length(fields: &Fields<'_>) -> Result<Option<u64>, Flaw> {
    let mut length = None;
    for field in fields.of(Kind::Length) {
        let value = field.value;
        let digits = value.len() <= 18 && !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        if length.is_some() || !digits {
            return Err(bad("`content-length` is given more than once or is not a number"));
        }
        length = Some(value.iter().fold(0_u64, |n, d| n * 10 + u64::from(d - b'0')));
    }
    Ok(length)
}

/// Whether the caller waits for `100 Continue`.
///
/// # Errors
/// It waits for something else.
pub fn expects(fields: &Fields<'_>) -> Result<bool, Flaw> {
    let mut expects = false;
    for field in fields.of(Kind::Expect) {
        if !field.value.eq_ignore_ascii_case(b"100-continue") {
            return Err(("`expect` asks for something other than `100-continue`", StatusCode::EXPECTATION_FAILED));
        }
        expects = true;
    }
    Ok(expects)
}

const fn bad(why: &'static str) -> Flaw {
    (why, StatusCode::BAD_REQUEST)
}

/// Whether a byte may stand in a name (`tchar`).
pub const fn is_token(b: u8) -> bool {
    matches!(TOKEN.as_slice().split_at(b as usize).1, [true, ..])
}

/// Whether all bytes are so. Looked for in all of them, which is quicker than to stop at the first that is not.
fn are_all(bytes: &[u8], so: impl Fn(u8) -> bool) -> bool {
    bytes.iter().fold(true, |all, b| all & so(*b))
}

const fn is_text(b: u8) -> bool {
    // Without a branch, so that many are looked at together.
    (b == b'\t') | ((b >= b' ') & (b != 0x7f))
}

const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut b = 0_u8;
    loop {
        let token =
            b.is_ascii_alphanumeric() || matches!(b, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~');
        #[expect(clippy::indexing_slicing, reason = "a byte is less than 256, and this runs when compiling")]
        {
            table[b as usize] = token;
        }
        if b == u8::MAX {
            break table;
        }
        b += 1;
    }
};

const TOO_LARGE: Flaw = ("the head is too large", StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
/// Header lines of a usual request.
const FIELDS_USUAL: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(head: &str, says: &str) {
        let mut finder = Finder::default();
        let found = match finder.find(head.as_bytes()) {
            Ok(Some(length)) => request(&head.as_bytes()[..length]).map(|_| ()),
            Ok(None) => panic!("not whole: {head}"),
            Err(flaw) => Err(flaw),
        };
        let (why, _) = found.expect_err(head);
        assert!(why.contains(says), "{head}: {why}");
    }

    #[test]
    fn a02_a21_a23_a77_ambiguous_heads_are_refused() {
        for (head, says) in [
            ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "beside"),
            ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", "beside"),
            ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", "more than once"),
            ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 5\r\n\r\n", "not a number"),
            ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\n", "not a number"),
            ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", "not a number"),
            ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0x5\r\n\r\n", "not a number"),
            ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4 2\r\n\r\n", "not a number"),
            ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: \r\n\r\n", "not a number"),
            ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 18446744073709551616\r\n\r\n", "not a number"),
            ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "exactly"),
            ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n", "exactly"),
            ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\n\r\n", "exactly"),
            ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n", "exactly"),
            ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \"chunked\"\r\n\r\n", "exactly"),
            ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked;q=1\r\n\r\n", "exactly"),
            ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \x0bchunked\r\n\r\n", "broken"),
            ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", "exactly"),
            ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "exactly"),
            ("GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", "exactly one `host`"),
            ("GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", "exactly one `host`"),
            ("GET / HTTP/1.1\r\nAccept: y\r\n\r\n", "exactly one `host`"),
            ("GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", "folded"),
            ("GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n\tc\r\n\r\n", "folded"),
            ("GET / HTTP/1.1\r\n Host: x\r\n\r\n", "folded"),
            ("GET / HTTP/1.1\r\nHost : x\r\n\r\n", "broken"),
            ("GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding\t: chunked\r\n\r\n", "broken"),
            ("GET / HTTP/1.1\r\nHost: x\r\n: empty\r\n\r\n", "broken"),
            ("GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n", "broken"),
            ("GET / HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n", "broken"),
            ("GET / HTTP/1.1\r\nHost: x\r\nA\u{e9}: b\r\n\r\n", "broken"),
            ("GET / HTTP/1.1\nHost: x\n\n", "carriage return"),
            ("GET / HTTP/1.1\r\nHost: x\n\r\n", "carriage return"),
            ("GET / HTTP/1.1\r\nHost: x\rA: b\r\n\r\n", "broken"),
            ("GET /\rx HTTP/1.1\r\nHost: x\r\n\r\n", "percent-encoded"),
            ("GET /admin#x HTTP/1.1\r\nHost: x\r\n\r\n", "fragment"),
            ("GET  / HTTP/1.1\r\nHost: x\r\n\r\n", "three parts"),
            ("GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", "three parts"),
            ("GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n", "three parts"),
            ("GET / HTTP/1.1 \r\nHost: x\r\n\r\n", "three parts"),
            ("GET /\r\nHost: x\r\n\r\n", "three parts"),
            ("G(T / HTTP/1.1\r\nHost: x\r\n\r\n", "token"),
            ("GET /\u{e9} HTTP/1.1\r\nHost: x\r\n\r\n", "percent-encoded"),
            ("GET http:// HTTP/1.1\r\nHost: x\r\n\r\n", "not a URI"),
            ("GET http://x?y HTTP/1.1\r\nHost: x\r\n\r\n", "not a URI"),
            ("GET admin HTTP/1.1\r\nHost: x\r\n\r\n", "not a URI"),
            ("GET ://x/ HTTP/1.1\r\nHost: x\r\n\r\n", "not a URI"),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "version"),
            ("GET / HTTP/1.2\r\nHost: x\r\n\r\n", "version"),
            ("GET / http/1.1\r\nHost: x\r\n\r\n", "version"),
            ("GET / HTTP/01.1\r\nHost: x\r\n\r\n", "version"),
            ("\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", "three parts"),
            ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue, x\r\n\r\n", "expect"),
        ] {
            check(head, says);
        }
    }

    #[test]
    fn plain_heads_are_read() {
        for (head, framing, persistent, expects) in [
            ("GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n", Framing::None, true, false),
            ("GET / HTTP/1.0\r\n\r\n", Framing::None, false, false),
            ("GET / HTTP/1.1\r\nHost:x\r\nConnection: Keep-Alive, Close\r\n\r\n", Framing::None, false, false),
            ("POST / HTTP/1.1\r\nhost: \t x \t\r\ncontent-length: 007\r\n\r\n", Framing::Fixed(7), true, false),
            ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n", Framing::Fixed(0), true, false),
            ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: CHUNKED\r\nExpect: 100-Continue\r\n\r\n", Framing::Chunked, true, true),
        ] {
            for piece in 1..=head.len() {
                let (mut finder, mut length) = (Finder::default(), None);
                for end in (piece..=head.len()).step_by(piece).chain([head.len()]) {
                    length = length.or(finder.find(&head.as_bytes()[..end]).unwrap());
                }
                assert_eq!(length, Some(head.len()));
            }
            let read = request(head.as_bytes()).unwrap();
            assert_eq!((read.framing, read.persistent, read.expects_continue), (framing, persistent, expects), "{head}");
        }
        let read = request(b"GET HTTP://Items:80/a?b HTTP/1.1\r\nHost: items\r\n\r\n").unwrap().head;
        assert_eq!((read.scheme, read.authority, read.target), (Some("HTTP"), Some("Items:80"), "/a?b"));
        let read = request(b"CONNECT items:80 HTTP/1.1\r\nHost: items:80\r\n\r\n").unwrap().head;
        assert_eq!((read.scheme, read.authority, read.target), (None, Some("items:80"), "/"));
    }

    #[test]
    fn heads_have_a_greatest_size_and_number_of_lines() {
        let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(limits::HEAD_BYTES_MAX));
        assert_eq!(Finder::default().find(long.as_bytes()), Err(TOO_LARGE));
        assert_eq!(Finder::default().find(long.trim_end().as_bytes()), Err(TOO_LARGE));
        let many = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "a: b\r\n".repeat(limits::HEADERS_MAX));
        check(&many, "too many");
    }

    #[test]
    fn ambiguous_answers_are_refused() {
        for (head, says) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "beside"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", "more than once"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "exactly"),
            ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "exactly"),
            ("HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n", "no body"),
            ("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", "folded"),
            ("HTTP/1.1 200 O\0K\r\n\r\n", "after the status"),
            ("HTTP/1.1 2000\r\n\r\n", "after the status"),
            ("HTTP/1.1 20 OK\r\n\r\n", "not a number"),
            ("HTTP/1.1 099 OK\r\n\r\n", "out of range"),
            ("HTTP/2 200 OK\r\n\r\n", "version"),
            ("ICY 200 OK\r\n\r\n", "version"),
            ("HTTP/1.1  200 OK\r\n\r\n", "not a number"),
        ] {
            let why = response(head.as_bytes(), "GET").map(|_| ()).expect_err(head);
            assert!(why.contains(says), "{head}: {why}");
        }
    }

    #[test]
    fn answers_are_framed_as_their_request_says() {
        let full = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".as_slice();
        for (head, method, framing, persistent) in [
            (full, "GET", Framing::Fixed(5), true),
            (full, "HEAD", Framing::None, true),
            (full, "CONNECT", Framing::None, true),
            (b"HTTP/1.1 304\r\nContent-Length: 5\r\n\r\n", "GET", Framing::None, true),
            (b"HTTP/1.1 200 OK\r\n\r\n", "GET", Framing::Close, false),
            (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n", "GET", Framing::Fixed(1), false),
            (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\n", "GET", Framing::Fixed(1), true),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n", "GET", Framing::Chunked, false),
            (b"HTTP/1.1 500 \xe9\r\nContent-Length: 0\r\n\r\n", "GET", Framing::Fixed(0), true),
        ] {
            let read = response(head, method).unwrap();
            assert_eq!((read.framing, read.persistent), (framing, persistent));
        }
    }
}
