//! The whole question: principal, action, resource, context.
//!
//! A [`Request`] that exists is well formed; what could not become one is a [`Malformed`], which every authorizer denies.
//! Whether the destination knows the named headers is not known here: [`crate::Authorizer::decide`] looks only at what the
//! inventory allow-lists.

mod json;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

use crate::id::SpiffeId;
use crate::path::{CanonicalPath, PathError, PathRef, Paths, decode_query};
use crate::time::Timestamp;

/// One question put to an authorizer.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Who asks: the one URI SAN of the verified client certificate.
    pub principal: SpiffeId,
    /// The destination's name in the inventory.
    pub service: Arc<str>,
    /// What is asked of it.
    pub target: Target,
    /// The authority the caller named, for the record; policies do not see it.
    pub host: Option<Box<str>>,
    /// Everything else a policy may read.
    pub context: Context,
}

/// What is asked for: an HTTP request or a connection to a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A method on a path.
    Http {
        /// The method, case-sensitive.
        method: Method,
        /// The canonical path, without query.
        path: CanonicalPath,
    },
    /// A TCP connection.
    Connect {
        /// The destination port.
        port: u16,
    },
}

/// A question whose parts are borrowed: what [`crate::Authorizer::answer`] looks at.
#[derive(Clone, Copy, Debug)]
pub struct RequestRef<'r> {
    /// As [`Request::principal`].
    pub principal: &'r SpiffeId,
    /// As [`Request::service`].
    pub service: &'r str,
    /// As [`Request::target`].
    pub target: TargetRef<'r>,
    /// As [`Request::context`].
    pub context: &'r Context,
}

/// A [`Target`] whose parts are borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetRef<'r> {
    /// A method on a path.
    Http {
        /// The method, case-sensitive.
        method: &'r Method,
        /// The canonical path, without query.
        path: PathRef<'r>,
    },
    /// A TCP connection.
    Connect {
        /// The destination port.
        port: u16,
    },
}

impl Target {
    /// The same target, borrowed.
    #[must_use]
    pub const fn borrowed(&self) -> TargetRef<'_> {
        match self {
            Self::Http { method, path } => TargetRef::Http { method, path: path.borrowed() },
            Self::Connect { port } => TargetRef::Connect { port: *port },
        }
    }
}

/// An HTTP method: a token of RFC 9110, compared case-sensitively.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Method(Word);

/// A method's text; those of [`METHODS`] are told apart by their place there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Word {
    Known(u8),
    Other(Box<str>),
}

impl Method {
    /// Reads a method.
    ///
    /// # Errors
    /// The text is empty, longer than 32 bytes, or has a character that is not allowed in a token.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        if let Some(known) = METHODS.iter().position(|m| *m == text).and_then(|at| u8::try_from(at).ok()) {
            return Ok(Self(Word::Known(known)));
        }
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if text.is_empty() || text.len() > 32 || !text.bytes().all(token) {
            return Err(Malformed::Method);
        }
        Ok(Self(Word::Other(text.into())))
    }

    /// Its place among [`METHODS`].
    #[must_use]
    pub(crate) const fn known(&self) -> Option<u8> {
        match self.0 {
            Word::Known(at) => Some(at),
            Word::Other(_) => None,
        }
    }

    /// The method as sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Word::Known(at) => METHODS.get(usize::from(*at)).copied().unwrap_or_default(),
            Word::Other(text) => text,
        }
    }
}

/// By text.
impl Ord for Method {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl PartialOrd for Method {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The methods with a meaning of their own in RFC 9110 and RFC 5789.
pub const METHODS: [&str; 9] = ["GET", "HEAD", "OPTIONS", "TRACE", "POST", "PUT", "PATCH", "DELETE", "CONNECT"];

/// What a policy may read besides principal, action and resource.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Context {
    /// The time of the question, read once by the caller.
    pub time: Timestamp,
    /// The address of the peer on the connection.
    pub source_ip: Option<IpAddr>,
    /// Headers by lower-case name.
    pub headers: Attributes,
    /// Query parameters by name.
    pub query: Attributes,
    /// The verified user token, or why it was not accepted; `None` where none was sent.
    pub jwt: Option<Token>,
}

/// Named values.
pub type Attributes = BTreeMap<Box<str>, AttributeValue>;

/// The value of a header, query parameter or claim.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(untagged)]
pub enum AttributeValue {
    /// Text; what comes from the network is text until the inventory says otherwise.
    Text(Box<str>),
    /// A whole number.
    Integer(i64),
    /// True or false.
    Boolean(bool),
    /// Several texts: a header or parameter sent more than once, or a claim that is an array.
    List(Vec<Box<str>>),
}

/// A user token as policies see it.
#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    /// Verified: signature, issuer, audience, times.
    Valid(Claims),
    /// Present and not acceptable; the reason in a word (`expired`, `signature`, `audience`, …). It denies.
    Invalid(Box<str>),
}

/// The claims of a verified token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Issuer.
    pub iss: Box<str>,
    /// Subject.
    pub sub: Box<str>,
    /// Audiences.
    pub aud: Vec<Box<str>>,
    /// The `scope` claim as sent: words with single spaces between.
    pub scope: Option<Box<str>>,
    /// Further claims, allow-listed by the inventory.
    pub other: Attributes,
}

impl Claims {
    /// The words of `scope`.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.scope.as_deref().unwrap_or_default().split(' ').filter(|s| !s.is_empty())
    }
}

/// Why something is not a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not JSON of the documented shape.
    #[error("not a request: {0}")]
    Json(String),
    /// The principal is not a SPIFFE ID with a path.
    #[error("the principal is not a SPIFFE ID: {0}")]
    Principal(String),
    /// The method is not a token.
    #[error("the method is not an HTTP token")]
    Method,
    /// The path is ambiguous or broken.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The query has a byte that may not stand there.
    #[error("the query has a character that must be percent-encoded")]
    Query,
    /// An attribute that policies can read was sent twice or is not of its type.
    #[error("`{name}` {why}")]
    Attribute {
        /// Header or parameter.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A fault that the carrier of the request found (framing, hosts, header syntax).
    #[error("{0}")]
    Carrier(String),
}

/// Splits a raw target into its canonical path, as the asked service reads it, and its raw query.
///
/// # Errors
/// The path is refused, or the query has a control byte, a space, `#` or a non-ASCII byte.
pub fn parse_target(raw: &str, paths: Paths) -> Result<(CanonicalPath, Option<&str>), Malformed> {
    let (path, query) = paths.split(raw);
    let path = CanonicalPath::parse_as(path, paths)?;
    if query.is_some_and(|q| !q.bytes().all(|b| b.is_ascii_graphic() && b != b'#')) {
        return Err(Malformed::Query);
    }
    Ok((path, query))
}

/// The parameters of a raw query whose name `wanted` accepts. A name that is sent more than once becomes a list.
///
/// # Errors
/// A wanted parameter that does not decode.
pub fn parse_query(raw: &str, wanted: impl Fn(&str) -> bool) -> Result<Attributes, Malformed> {
    let mut out = Attributes::new();
    for pair in raw.split('&').filter(|p| !p.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let Some(name) = decode_query(name).filter(|n| wanted(n)) else { continue };
        let Some(value) = decode_query(value) else {
            return Err(Malformed::Attribute { name, why: "does not decode" });
        };
        push_attribute(&mut out, name.into(), value.into());
    }
    Ok(out)
}

/// Adds one more value under a name: the second value of a name makes a list.
pub fn push_attribute(out: &mut Attributes, name: Box<str>, value: Box<str>) {
    match out.get_mut(&name) {
        None => {
            out.insert(name, AttributeValue::Text(value));
        }
        Some(AttributeValue::List(list)) => list.push(value),
        Some(first) => {
            let held = match first {
                AttributeValue::Text(text) => std::mem::take(text),
                _ => Box::default(),
            };
            *first = AttributeValue::List(vec![held, value]);
        }
    }
}

impl Request {
    /// The same question, borrowed.
    #[must_use]
    pub fn borrowed(&self) -> RequestRef<'_> {
        RequestRef { principal: &self.principal, service: &self.service, target: self.target.borrowed(), context: &self.context }
    }

    /// Reads the JSON form that `portreeve decide` takes, with paths read strictly.
    ///
    /// # Errors
    /// [`Malformed`], with the first reason found.
    pub fn from_json(line: &[u8]) -> Result<Self, Malformed> {
        Self::from_json_as(line, |_| Paths::Strict)
    }

    /// Reads the JSON form that `portreeve decide` takes; `paths` says how the named service reads paths.
    ///
    /// # Errors
    /// [`Malformed`], with the first reason found.
    pub fn from_json_as(line: &[u8], paths: impl FnOnce(&str) -> Paths) -> Result<Self, Malformed> {
        // The fields of an object could also be read from an array, in their order; that form is not promised.
        if line.trim_ascii_start().first() == Some(&b'[') {
            return Err(Malformed::Json("expected an object".to_owned()));
        }
        let json: RequestJson<'_> = serde_json::from_slice(line).map_err(|e| Malformed::Json(e.to_string()))?;
        let paths = paths(&json.service);
        json.build(paths)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[serde(expecting = "an object")]
struct RequestJson<'a> {
    #[serde(borrow)]
    principal: Cow<'a, str>,
    #[serde(borrow)]
    service: Cow<'a, str>,
    #[serde(borrow, default)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    path: Option<Cow<'a, str>>,
    #[serde(default)]
    port: Option<u16>,
    #[serde(default)]
    host: Option<Box<str>>,
    context: ContextJson,
}

/// The context of a request as JSON; also the `context` of a record, there without time and address.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[serde(expecting = "an object")]
struct ContextJson {
    time: Timestamp,
    #[serde(default)]
    source_ip: Option<IpAddr>,
    #[serde(default)]
    headers: Attributes,
    #[serde(default)]
    query: Attributes,
    #[serde(default)]
    jwt: Option<Token>,
}

impl RequestJson<'_> {
    fn build(self, paths: Paths) -> Result<Request, Malformed> {
        let principal: SpiffeId = self.principal.parse().map_err(|e| Malformed::Principal(format!("{e}")))?;
        if !principal.is_workload() {
            return Err(Malformed::Principal("it names a trust domain, not a workload".to_owned()));
        }
        let mut query = self.context.query;
        let target = match (self.method, self.path, self.port) {
            (Some(method), Some(path), None) => {
                let (path, raw) = parse_target(&path, paths)?;
                if let Some(raw) = raw {
                    if !query.is_empty() {
                        return Err(Malformed::Json("the query is given twice: in `path` and in `context.query`".to_owned()));
                    }
                    query = parse_query(raw, |_| true)?;
                }
                Target::Http { method: Method::parse(&method)?, path }
            }
            (None, None, Some(port)) => Target::Connect { port },
            _ => return Err(Malformed::Json("give either `method` and `path`, or `port`".to_owned())),
        };
        let headers = self.context.headers.into_iter().map(|(n, v)| (n.to_ascii_lowercase().into_boxed_str(), v)).collect();
        let context = Context { time: self.context.time, source_ip: self.context.source_ip, headers, query, jwt: self.context.jwt };
        Ok(Request { principal, service: Arc::from(&*self.service), target, host: self.host, context })
    }
}

impl Serialize for Token {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let mut map = serializer.serialize_map(None)?;
        match self {
            Self::Invalid(why) => map.serialize_entry("invalid", why)?,
            Self::Valid(claims) => {
                map.serialize_entry("iss", &claims.iss)?;
                map.serialize_entry("sub", &claims.sub)?;
                map.serialize_entry("aud", &claims.aud)?;
                if let Some(scope) = &claims.scope {
                    map.serialize_entry("scope", scope)?;
                }
                for (name, value) in &claims.other {
                    map.serialize_entry(name, value)?;
                }
            }
        }
        map.end()
    }
}
