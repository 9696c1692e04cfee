//! The head of a request, made of a header block (RFC 9113, 8.2 and 8.3).
//!
//! INVARIANT: what is accepted here would be accepted of HTTP/1 too ([`crate::h1::scan`]): the same bytes in method, target, names and
//! values. Nothing is repaired; of values the blanks around them are not looked at, as in HTTP/1 (RFC 9113, 8.2.1, has no place for
//! them, and some callers send them).

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{StatusCode, Version};

use crate::h1::scan::{self, Flaw, Framing, is_token};
use crate::h2::hpack::Block;
use crate::head::{Fields, Head, Kind};
use crate::limits;

/// A request, borrowed from its block.
#[derive(Clone, Debug)]
pub struct Asked<'a> {
    /// What is judged.
    pub head: Head<'a>,
    /// What follows it; never [`Framing::Close`].
    pub framing: Framing,
    /// Whether the caller waits for `100 Continue`.
    pub expects_continue: bool,
}

/// What is wrong with a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// It is no request, and the stream ends with it (RFC 9113, 8.1.1).
    Malformed(&'static str),
    /// It is one that is not accepted, and is answered.
    Refused(Flaw),
}

use Wrong::Malformed;

/// Reads a request. `last` says that nothing follows it.
///
/// # Errors
/// What is wrong with it.
pub fn request(block: &Block, last: bool) -> Result<Asked<'_>, Wrong> {
    if block.is_too_large() {
        return Err(Wrong::Refused(("the head is too large", StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)));
    }
    let mut pseudo = Pseudo::default();
    let mut fields = Fields::with_capacity(FIELDS_USUAL);
    for (name, value) in block.iter() {
        if let Some(name) = name.strip_prefix(b":") {
            if !fields.is_empty() {
                return Err(Malformed("a pseudo-header stands behind a header"));
            }
            pseudo.put(name, value)?;
            continue;
        }
        if fields.len() == limits::HEADERS_MAX {
            return Err(Wrong::Refused(("too many headers", StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)));
        }
        let name = field(name, value)?;
        fields.push(name, value.trim_ascii());
    }
    for field in fields.iter() {
        one_hop(field.kind, field.name, field.value)?;
    }
    let head = pseudo.head(fields)?;
    // RFC 9113, 8.3.1; the two must agree, which is looked at with the question.
    if head.authority.is_none() && head.fields.of(Kind::Host).next().is_none() {
        return Err(Malformed("the request names no host"));
    }
    let length = scan::length(&head.fields).map_err(|(why, _)| Malformed(why))?;
    let framing = match length {
        Some(n) if last && n > 0 => return Err(Malformed("`content-length` tells of a body, and there is none")),
        _ if last => Framing::None,
        Some(length) => Framing::Fixed(length),
        None => Framing::Chunked,
    };
    let expects_continue = scan::expects(&head.fields).map_err(Wrong::Refused)? && !matches!(framing, Framing::None | Framing::Fixed(0));
    Ok(Asked { head, framing, expects_continue })
}

/// Reads trailers.
///
/// # Errors
/// Why they are none.
pub fn trailers(block: &Block) -> Result<HeaderMap, &'static str> {
    if block.is_too_large() {
        return Err("the trailers are too large");
    }
    let mut map = HeaderMap::new();
    for (name, value) in block.iter() {
        let Ok(text) = field(name, value) else { return Err("a trailer is broken") };
        if one_hop(Kind::of(text), text, value.trim_ascii()).is_err() {
            return Err("a trailer concerns one connection of HTTP/1");
        }
        if map.len() == limits::HEADERS_MAX {
            return Err("too many trailers");
        }
        let name = HeaderName::from_bytes(name).map_err(|_| "a trailer is broken")?;
        map.append(name, HeaderValue::from_bytes(value.trim_ascii()).map_err(|_| "a trailer is broken")?);
    }
    Ok(map)
}

/// The method of what may be no request.
#[must_use]
pub fn method(block: &Block) -> Option<&[u8]> {
    named(block, b":method")
}

/// The request line of what is no request, as far as it can be told, without its query.
#[must_use]
pub fn raw(block: &Block) -> Vec<u8> {
    let method = method(block).unwrap_or(UNKNOWN);
    let path = named(block, b":path").map_or(UNKNOWN, |path| path.split(|b| *b == b'?').next().unwrap_or_default());
    method.iter().chain(b" ").chain(path).take(limits::RAW_BYTES_MAX).copied().collect()
}

fn named<'a>(block: &'a Block, wanted: &[u8]) -> Option<&'a [u8]> {
    block.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value)
}

/// What stands in a record for what was not said.
const UNKNOWN: &[u8] = b"?";

/// What concerns one connection of HTTP/1 stands neither in a head nor in trailers (RFC 9113, 8.2.2).
fn one_hop(kind: Kind, name: &str, value: &[u8]) -> Result<(), Wrong> {
    match kind {
        Kind::Connection | Kind::Upgrade => Err(Malformed("a header concerns one connection of HTTP/1")),
        Kind::Hop if !name.eq_ignore_ascii_case("http2-settings") && !name.starts_with("proxy-auth") => {
            Err(Malformed("a header concerns one connection of HTTP/1"))
        }
        Kind::Te if !value.eq_ignore_ascii_case(b"trailers") => Err(Malformed("`te` asks for something other than `trailers`")),
        _ => Ok(()),
    }
}

/// What a name must be: a token without a capital letter; and a value: no control bytes.
fn field<'a>(name: &'a [u8], value: &[u8]) -> Result<&'a str, Wrong> {
    let small = |b: &u8| is_token(*b) && !b.is_ascii_uppercase();
    if name.is_empty() || !name.iter().all(small) {
        return Err(Malformed("a name is no token in lower case"));
    }
    if !scan::is_value(value) {
        return Err(Malformed("a value has a control byte"));
    }
    std::str::from_utf8(name).map_err(|_| Malformed("a name is no text"))
}

/// What the value of a pseudo-header must be.
type Fits = fn(&[u8]) -> Result<(), Wrong>;

/// What a request begins with.
#[derive(Debug, Default)]
struct Pseudo<'a> {
    method: Option<&'a str>,
    scheme: Option<&'a str>,
    authority: Option<&'a str>,
    path: Option<&'a str>,
    protocol: Option<&'a str>,
}

impl<'a> Pseudo<'a> {
    fn put(&mut self, name: &[u8], value: &'a [u8]) -> Result<(), Wrong> {
        let (place, fits): (_, Fits) = match name {
            b"method" => (&mut self.method, token),
            b"scheme" => (&mut self.scheme, scheme),
            b"authority" => (&mut self.authority, visible),
            b"path" => (&mut self.path, path),
            b"protocol" => (&mut self.protocol, token),
            _ => return Err(Malformed("there is no such pseudo-header of a request")),
        };
        fits(value)?;
        let value = std::str::from_utf8(value).map_err(|_| Malformed("a pseudo-header is no text"))?;
        if place.replace(value).is_some() { Err(Malformed("a pseudo-header is given twice")) } else { Ok(()) }
    }

    fn head(self, fields: Fields<'a>) -> Result<Head<'a>, Wrong> {
        let Self { method, scheme, authority, path, protocol } = self;
        let method = method.ok_or(Malformed("there is no `:method`"))?;
        // RFC 9113, 8.5, and RFC 8441, 4.
        let target = match (method == "CONNECT", protocol, scheme, path) {
            (true, None, None, None) if authority.is_some() => "/",
            (true, None, ..) => return Err(Malformed("a `CONNECT` has an authority and nothing else")),
            (true, Some(_), Some(_), Some(path)) if authority.is_some() => path,
            (false, None, Some(_), Some(path)) => path,
            (false, Some(_), ..) => return Err(Malformed("`:protocol` stands without `CONNECT`")),
            _ => return Err(Malformed("a pseudo-header is missing")),
        };
        Ok(Head { version: Version::HTTP_2, method, scheme, authority, target, protocol, fields })
    }
}

fn token(value: &[u8]) -> Result<(), Wrong> {
    if !value.is_empty() && value.iter().all(|b| is_token(*b)) { Ok(()) } else { Err(Malformed("a pseudo-header is no token")) }
}

fn scheme(value: &[u8]) -> Result<(), Wrong> {
    let fits = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
    if !value.is_empty() && value.iter().all(fits) { Ok(()) } else { Err(Malformed("`:scheme` is none")) }
}

fn visible(value: &[u8]) -> Result<(), Wrong> {
    if !value.is_empty() && value.iter().all(u8::is_ascii_graphic) { Ok(()) } else { Err(Malformed("`:authority` is none")) }
}

fn path(value: &[u8]) -> Result<(), Wrong> {
    if !value.starts_with(b"/") && value != b"*" {
        return Err(Malformed("`:path` is no path"));
    }
    scan::target(value).map_err(Wrong::Refused)
}

/// Header lines of a usual request.
const FIELDS_USUAL: usize = 16;
