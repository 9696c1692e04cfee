//! The head of a request as it is judged: borrowed from the bytes that came, whatever protocol carried them.
//!
//! A [`Head`] never repairs anything. [`Fields`] are the header lines in the order in which they came; what is taken out of them is
//! neither seen by policy nor forwarded. [`Lines`] are the cleaned ones, owned, in the one form from which every way to a service
//! writes them; what a head begins with may stand before them, so that it is written once.
//!
//! INVARIANT: a [`Lines`] is made of [`Fields`] that were judged and of lines of our own, and no value in it has a line end.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Request, StatusCode, Uri, Version, uri};

/// Why a head is not acceptable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong, for the record.
    pub why: &'static str,
    /// The status of the answer.
    pub status: StatusCode,
    /// The request line, raw and cut, without its query.
    pub raw: Vec<u8>,
}

/// A request's head.
#[derive(Clone, Debug)]
pub struct Head<'a> {
    /// The version of HTTP.
    pub version: Version,
    /// The method, a token.
    pub method: &'a str,
    /// The scheme of an absolute target.
    pub scheme: Option<&'a str>,
    /// The authority of an absolute target, or `:authority`.
    pub authority: Option<&'a str>,
    /// Path and query.
    pub target: &'a str,
    /// `:protocol` of an extended `CONNECT` (RFC 8441).
    pub protocol: Option<&'a str>,
    /// The header lines.
    pub fields: Fields<'a>,
}

impl<'a> Head<'a> {
    /// The head of a request that an HTTP library read.
    #[must_use]
    pub fn of(parts: &'a Parts) -> Self {
        let mut fields = Fields::with_capacity(parts.headers.len() + 1);
        for (name, value) in &parts.headers {
            fields.push(name.as_str(), value.as_bytes());
        }
        Self {
            version: parts.version,
            method: parts.method.as_str(),
            scheme: parts.uri.scheme_str(),
            authority: parts.uri.authority().map(uri::Authority::as_str),
            target: parts.uri.path_and_query().map_or("/", uri::PathAndQuery::as_str),
            protocol: None,
            fields,
        }
    }

    /// The head as the HTTP library has it; `None` where it has no form for it. `:protocol` is left behind.
    #[must_use]
    pub fn to_request(&self) -> Option<Request<()>> {
        let target: uri::PathAndQuery = self.target.parse().ok()?;
        // The library leaves a fragment out, and a path that is none is the root.
        if target.as_str() != self.target {
            return None;
        }
        let mut uri = uri::Parts::default();
        uri.path_and_query = Some(target);
        if let Some(authority) = self.authority {
            uri.authority = Some(authority.parse().ok()?);
            uri.scheme = Some(self.scheme.unwrap_or("http").parse().ok()?);
        }
        let mut request = Request::new(());
        *request.version_mut() = self.version;
        *request.method_mut() = self.method.parse().ok()?;
        *request.uri_mut() = Uri::from_parts(uri).ok()?;
        for field in self.fields.iter() {
            let (name, value) = (HeaderName::from_bytes(field.name.as_bytes()).ok()?, HeaderValue::from_bytes(field.value).ok()?);
            request.headers_mut().append(name, value);
        }
        Some(request)
    }

    /// The target without its query.
    #[must_use]
    pub fn path(&self) -> &'a str {
        self.target.split_once('?').map_or(self.target, |(path, _)| path)
    }
}

/// One header line.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    /// The name as sent: a token in any case.
    pub name: &'a str,
    /// The value, without white space around it.
    pub value: &'a [u8],
    /// What the name means to us.
    pub kind: Kind,
}

impl Field<'_> {
    /// Whether this is the header of that name, which is given in lower case.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// The value, where it is ASCII text.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(self.value).ok().filter(|text| text.is_ascii())
    }
}

/// What a header name means to the enforcer. Found once for each line, so that nothing is searched for by text afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `Host`.
    Host,
    /// `Connection`.
    Connection,
    /// `TE`.
    Te,
    /// `Upgrade`.
    Upgrade,
    /// Another header that concerns one hop only.
    Hop,
    /// `Content-Length`: framing is written anew for each hop.
    Length,
    /// `Expect`.
    Expect,
    /// `Authorization`.
    Authorization,
    /// `X-Request-Id`.
    RequestId,
    /// Any other.
    Other,
}

impl Kind {
    /// What a name means.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        match name.len() {
            2 if is("te") => Self::Te,
            4 if is("host") => Self::Host,
            6 if is("expect") => Self::Expect,
            7 if is("upgrade") => Self::Upgrade,
            10 if is("connection") => Self::Connection,
            10 if is("keep-alive") => Self::Hop,
            12 if is("x-request-id") => Self::RequestId,
            13 if is("authorization") => Self::Authorization,
            14 if is("content-length") => Self::Length,
            14 if is("http2-settings") => Self::Hop,
            16 if is("proxy-connection") => Self::Hop,
            17 if is("transfer-encoding") => Self::Hop,
            18 if is("proxy-authenticate") => Self::Hop,
            19 if is("proxy-authorization") => Self::Hop,
            _ => Self::Other,
        }
    }
}

/// Header lines, borrowed.
#[derive(Clone, Debug, Default)]
pub struct Fields<'a>(Vec<Field<'a>>);

impl<'a> Fields<'a> {
    /// No lines, with room for some.
    #[must_use]
    pub fn with_capacity(n: usize) -> Self {
        Self(Vec::with_capacity(n))
    }

    /// Adds a line.
    pub fn push(&mut self, name: &'a str, value: &'a [u8]) {
        self.0.push(Field { name, value, kind: Kind::of(name) });
    }

    /// The lines in their order.
    pub fn iter(&self) -> std::slice::Iter<'_, Field<'a>> {
        self.0.iter()
    }

    /// The lines of one kind.
    pub fn of(&self, kind: Kind) -> impl Iterator<Item = &Field<'a>> {
        self.0.iter().filter(move |f| f.kind == kind)
    }

    /// The lines of one name, which is given in lower case.
    pub fn named(&self, name: &str) -> impl Iterator<Item = &Field<'a>> {
        self.0.iter().filter(move |f| f.is(name))
    }

    /// The words, separated by commas, of the lines of one kind.
    pub fn tokens(&self, kind: Kind) -> impl Iterator<Item = &str> {
        self.of(kind).filter_map(Field::text).flat_map(|v| v.split(',')).map(str::trim).filter(|t| !t.is_empty())
    }

    /// Takes out every line that does not fit.
    pub fn retain(&mut self, fits: impl FnMut(&Field<'a>) -> bool) {
        self.0.retain(fits);
    }

    /// How many lines there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Header lines as they are forwarded, each with its line end. The host and the framing are not among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    bytes: Vec<u8>,
    /// Where they begin, behind what the head begins with.
    from: usize,
}

impl Lines {
    /// The lines that are left of a request's own.
    #[must_use]
    pub fn of(fields: &Fields<'_>) -> Self {
        Self::behind(Vec::new(), fields)
    }

    /// The same, behind what the head begins with.
    #[must_use]
    pub fn behind(opening: Vec<u8>, fields: &Fields<'_>) -> Self {
        let more: usize = fields.iter().map(|f| f.name.len() + f.value.len() + 4).sum();
        let mut lines = Self { from: opening.len(), bytes: opening };
        lines.bytes.reserve(more + OWN_BYTES);
        for field in fields.iter() {
            // The two are said by whoever writes the head to the service.
            if !matches!(field.kind, Kind::Host | Kind::Length) {
                lines.put(field.name, field.value);
            }
        }
        lines
    }

    /// Adds a line of our own. A value with a line end in it is not one, and is left out.
    pub fn push(&mut self, name: &str, value: &[u8]) {
        self.put(name, value);
    }

    /// The same, of a value in several parts.
    pub fn push_parts(&mut self, name: &str, parts: &[&[u8]]) {
        if parts.iter().any(|part| breaks_a_line(part)) {
            return;
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(b": ");
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
        self.bytes.extend_from_slice(b"\r\n");
    }

    fn put(&mut self, name: &str, value: &[u8]) {
        if breaks_a_line(value) {
            return;
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(b": ");
        self.bytes.extend_from_slice(value);
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// Adds the lines of another one.
    pub fn append(&mut self, more: &Self) {
        self.bytes.extend_from_slice(more.as_bytes());
    }

    /// The bytes of an HTTP/1 head.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(self.from..).unwrap_or_default()
    }

    /// What stands before them.
    #[must_use]
    pub fn opening(&self) -> &[u8] {
        self.bytes.get(..self.from).unwrap_or_default()
    }

    /// All of it, as it stands.
    #[must_use]
    pub fn into_head(self) -> Vec<u8> {
        self.bytes
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.as_bytes().split(|b| *b == b'\n').filter_map(|line| {
            let line = line.strip_suffix(b"\r")?;
            let colon = line.iter().position(|b| *b == b':')?;
            Some((line.get(..colon)?, line.get(colon + 2..)?))
        })
    }

    /// The lines as an HTTP library wants them.
    #[must_use]
    pub fn to_map(&self) -> HeaderMap {
        let line = |(name, value)| Some((HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?));
        self.iter().filter_map(line).collect()
    }
}

/// Whether a value has what ends a line. Looked for in all of it, which is quicker than to stop at the first.
fn breaks_a_line(value: &[u8]) -> bool {
    value.iter().fold(false, |found, b| found | matches!(b, b'\r' | b'\n' | 0))
}

/// Room for the lines that we add.
const OWN_BYTES: usize = 384;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_what_was_left_and_nothing_ends_one_early() {
        let mut fields = Fields::default();
        for (name, value) in [("Host", "items"), ("X-Tenant", "eu"), ("content-length", "5"), ("Empty", ""), ("Connection", "close")] {
            fields.push(name, value.as_bytes());
        }
        fields.retain(|f| f.kind != Kind::Connection);
        let mut lines = Lines::of(&fields);
        lines.push("x-own", b"a\r\nx-evil: 1");
        lines.push_parts("x-own", &[b"a", b"b\n", b"c"]);
        lines.push("x-own", b"1: 2");
        assert_eq!(lines.as_bytes(), b"X-Tenant: eu\r\nEmpty: \r\nx-own: 1: 2\r\n");
        let map = lines.to_map();
        assert_eq!(map.len(), 3);
        assert_eq!(
            (&map["x-tenant"], &map["empty"], &map["x-own"]),
            (&"eu".parse().unwrap(), &"".parse().unwrap(), &"1: 2".parse().unwrap())
        );
    }

    #[test]
    fn the_library_has_the_same_head_or_none() {
        let mut fields = Fields::default();
        for (name, value) in [("host", "a.example"), ("x-one", "1"), ("x-one", "2"), ("x-odd", "\u{fc}")] {
            fields.push(name, value.as_bytes());
        }
        let plain = Head {
            version: Version::HTTP_2,
            method: "PUT",
            scheme: Some("https"),
            authority: Some("a.example:8080"),
            target: "/a%20b/{c}?d=e&f",
            protocol: None,
            fields,
        };
        let variants = [
            Head { authority: None, scheme: None, ..plain.clone() },
            Head { target: "*", method: "OPTIONS", version: Version::HTTP_11, ..plain.clone() },
            plain.clone(),
        ];
        for head in variants {
            let (parts, ()) = head.to_request().unwrap().into_parts();
            let again = Head::of(&parts);
            let lines = |head: &Head<'_>| head.fields.iter().map(|f| (f.name.to_owned(), f.value.to_owned())).collect::<Vec<_>>();
            assert_eq!(
                (again.version, again.method, again.scheme, again.authority),
                (head.version, head.method, head.scheme, head.authority)
            );
            assert_eq!((again.target, lines(&again)), (head.target, lines(&head)));
        }
        assert_eq!(Head { scheme: None, ..plain.clone() }.to_request().unwrap().uri().scheme_str(), Some("http"));
        let authority = |authority| Head { authority: Some(authority), ..plain.clone() };
        let target = |target| Head { target, ..plain.clone() };
        for head in [authority("a b"), authority("a:b:c"), target("/a`b"), target("/a#b"), Head { scheme: Some("a b"), ..plain.clone() }] {
            let found = head.to_request().map(|request| request.uri().clone());
            assert_eq!(found, None);
        }
    }

    #[test]
    fn kinds_do_not_depend_on_case() {
        for (name, kind) in
            [("HOST", Kind::Host), ("Te", Kind::Te), ("Transfer-Encoding", Kind::Hop), ("hosts", Kind::Other), ("x", Kind::Other)]
        {
            assert_eq!(Kind::of(name), kind);
        }
    }
}
