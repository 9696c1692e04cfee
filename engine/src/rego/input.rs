//! What a Rego policy sees as `input`: the recorded facts, in our shape and in opa-envoy's, and nothing else (INV-7).
//!
//! The document is made of plain facts that the caller has already reduced to what is recorded: allow-listed attributes only,
//! sensitive path segments standing as their `{name}`. A fact that is absent is an absent field, never `null`. There is no
//! host, request id, body or raw query here, because policies may not read them.
//!
//! Time is a text in RFC 3339 (`time.parse_rfc3339_ns(input.context.time)` gives nanoseconds where they are wanted).

use std::collections::BTreeMap;
use std::net::IpAddr;

use regorus::Value;

use crate::request::{AttributeValue, Attributes, Token};
use crate::time::Timestamp;

/// The facts an `input` document is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InputFacts<'a> {
    /// The caller's SPIFFE ID.
    pub(crate) principal: &'a str,
    /// The caller's service in the inventory.
    pub(crate) source_service: Option<&'a str>,
    /// The caller's address.
    pub(crate) source_ip: Option<IpAddr>,
    /// The called service.
    pub(crate) service: &'a str,
    /// The declared operation.
    pub(crate) operation: Option<&'a str>,
    /// The HTTP method; `None` for a connection to a port.
    pub(crate) method: Option<&'a str>,
    /// The path as recorded: canonical, sensitive segments hidden.
    pub(crate) path: Option<&'a str>,
    /// The port of a connection.
    pub(crate) port: Option<u16>,
    /// The time of the question.
    pub(crate) time: Timestamp,
    /// The allow-listed headers.
    pub(crate) headers: &'a Attributes,
    /// The allow-listed query parameters.
    pub(crate) query: &'a Attributes,
    /// The token, its claims already reduced to the visible ones.
    pub(crate) jwt: Option<&'a Token>,
}

/// Builds the `input` document.
pub(crate) fn input(facts: &InputFacts<'_>) -> Value {
    let time = Value::from(facts.time.to_string());
    let headers = attributes(facts.headers);
    let mut doc = Object::default();
    doc.put("principal", facts.principal);
    doc.put("service", facts.service);
    doc.put_some("operation", facts.operation);
    doc.put_some("method", facts.method);
    doc.put_some("path", facts.path);
    doc.put_some("port", facts.port.map(i64::from));
    if let Some(path) = facts.path {
        doc.put("segments", path_segments(path).map(Value::from).collect::<Vec<_>>());
        doc.put("parsed_path", path_segments(path).map(|s| Value::from(decoded(s))).collect::<Vec<_>>());
        doc.put("parsed_query", lists(facts.query));
    }
    doc.put("source", source(facts));
    doc.put("context", context(facts, time.clone(), headers.clone()));
    doc.put("attributes", envoy_attributes(facts, time, headers));
    doc.into()
}

fn source(facts: &InputFacts<'_>) -> Value {
    let mut source = Object::default();
    source.put("id", facts.principal);
    source.put_some("service", facts.source_service);
    source.put_some("ip", facts.source_ip.map(|ip| ip.to_string()));
    source.into()
}

fn context(facts: &InputFacts<'_>, time: Value, headers: Value) -> Value {
    let mut context = Object::default();
    context.put("time", time);
    context.put_some("source_ip", facts.source_ip.map(|ip| ip.to_string()));
    context.put("headers", headers);
    context.put("query", attributes(facts.query));
    context.put_some("jwt", facts.jwt.map(token));
    context.into()
}

/// opa-envoy's `attributes`, as far as they are recorded.
fn envoy_attributes(facts: &InputFacts<'_>, time: Value, headers: Value) -> Value {
    let mut source = Object::default();
    source.put("principal", facts.principal);
    if let Some(ip) = facts.source_ip {
        let mut socket = Object::default();
        socket.put("address", ip.to_string());
        let mut address = Object::default();
        address.put("socketAddress", socket);
        source.put("address", address);
    }
    let mut request = Object::default();
    request.put("time", time);
    if let (Some(method), Some(path)) = (facts.method, facts.path) {
        let mut http = Object::default();
        http.put("method", method);
        http.put("path", path);
        http.put("headers", with_client_cert(headers, facts.principal));
        request.put("http", http);
    }
    let mut all = Object::default();
    all.put("source", source);
    all.put("request", request);
    all.into()
}

/// The headers with the caller's identity as Envoy writes it after it has verified a certificate, whatever the caller sent under
/// that name. Hash and recipient are left empty: they are not among the facts of a request.
fn with_client_cert(mut headers: Value, principal: &str) -> Value {
    if let Ok(fields) = headers.as_object_mut() {
        fields.extend(std::iter::once((Value::from(CLIENT_CERT), Value::from(format!("By=;Hash=;URI={principal}")))));
    }
    headers
}

/// The header in which Envoy passes on the identity of a verified certificate.
pub(super) const CLIENT_CERT: &str = "x-forwarded-client-cert";

fn token(token: &Token) -> Value {
    let mut out = Object::default();
    match token {
        Token::Invalid(why) => out.put("invalid", &**why),
        Token::Valid(claims) => {
            for (name, value) in &claims.other {
                out.put(name, attribute(value));
            }
            // After the further claims, so that none of those can stand in for a verified one.
            out.put("iss", &*claims.iss);
            out.put("sub", &*claims.sub);
            out.put("aud", claims.aud.iter().map(|a| Value::from(&**a)).collect::<Vec<_>>());
            out.put_some("scope", claims.scope.as_deref());
        }
    }
    out.into()
}

fn attributes(all: &Attributes) -> Value {
    let mut out = Object::default();
    for (name, value) in all {
        out.put(name, attribute(value));
    }
    out.into()
}

fn attribute(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::Text(text) => Value::from(&**text),
        AttributeValue::Integer(n) => Value::from(*n),
        AttributeValue::Boolean(b) => Value::from(*b),
        AttributeValue::List(items) => items.iter().map(|i| Value::from(&**i)).collect::<Vec<_>>().into(),
    }
}

/// opa-envoy's `parsed_query`: every value is a list of texts.
fn lists(all: &Attributes) -> Value {
    let mut out = Object::default();
    for (name, value) in all {
        let texts: Vec<Value> = match value {
            AttributeValue::Text(text) => vec![Value::from(&**text)],
            AttributeValue::Integer(n) => vec![Value::from(n.to_string())],
            AttributeValue::Boolean(b) => vec![Value::from(b.to_string())],
            AttributeValue::List(items) => items.iter().map(|i| Value::from(&**i)).collect(),
        };
        out.put(name, texts);
    }
    out.into()
}

fn path_segments(path: &str) -> impl Iterator<Item = &str> {
    path.strip_prefix('/').unwrap_or(path).split('/')
}

/// A segment percent-decoded. What is not UTF-8 stays as it stands, and so does what would show a brace: braces mean a hidden
/// segment, and nobody on the network may write one.
fn decoded(segment: &str) -> String {
    let mut out = Vec::with_capacity(segment.len());
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16)).and_then(|d| u8::try_from(d).ok());
        match (digit(bytes.next()), digit(bytes.next())) {
            (Some(high), Some(low)) if !matches!(high << 4 | low, b'{' | b'}') => out.push(high << 4 | low),
            _ => return segment.to_owned(),
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| segment.to_owned())
}

/// An object under construction.
#[derive(Default)]
struct Object(BTreeMap<Value, Value>);

impl Object {
    fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(Value::from(name), value.into());
    }

    fn put_some<V: Into<Value>>(&mut self, name: &str, value: Option<V>) {
        if let Some(value) = value {
            self.put(name, value);
        }
    }
}

impl From<Object> for Value {
    fn from(object: Object) -> Self {
        Self::from(object.0)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::request::Claims;

    fn rendered(facts: &InputFacts<'_>) -> serde_json::Value {
        serde_json::from_str(&input(facts).to_json_str().unwrap()).unwrap()
    }

    #[test]
    fn an_http_request_has_exactly_the_documented_fields() {
        let headers = Attributes::from([("x-tenant".into(), AttributeValue::Text("eu".into()))]);
        let query = Attributes::from([
            ("full".into(), AttributeValue::Boolean(true)),
            ("tag".into(), AttributeValue::List(vec!["a".into(), "b".into()])),
        ]);
        let jwt = Token::Valid(Claims {
            iss: "https://idp".into(),
            sub: "ann".into(),
            aud: vec!["items".into()],
            scope: Some("items:read".into()),
            other: Attributes::from([("level".into(), AttributeValue::Integer(3)), ("sub".into(), AttributeValue::Text("bob".into()))]),
        });
        let facts = InputFacts {
            principal: "spiffe://market.example/ns/shop/sa/invoices",
            source_service: Some("invoices"),
            source_ip: Some("10.0.0.7".parse().unwrap()),
            service: "items",
            operation: Some("read-item"),
            method: Some("GET"),
            path: Some("/v1/items/a%20b/{card}/%7Bcard%7D/%C3"),
            port: None,
            time: "2026-11-22T10:00:00Z".parse().unwrap(),
            headers: &headers,
            query: &query,
            jwt: Some(&jwt),
        };
        assert_eq!(
            rendered(&facts),
            json!({
                "principal": "spiffe://market.example/ns/shop/sa/invoices",
                "source": {"id": "spiffe://market.example/ns/shop/sa/invoices", "service": "invoices", "ip": "10.0.0.7"},
                "service": "items",
                "operation": "read-item",
                "method": "GET",
                "path": "/v1/items/a%20b/{card}/%7Bcard%7D/%C3",
                "segments": ["v1", "items", "a%20b", "{card}", "%7Bcard%7D", "%C3"],
                "context": {
                    "time": "2026-11-22T10:00:00.000Z",
                    "source_ip": "10.0.0.7",
                    "headers": {"x-tenant": "eu"},
                    "query": {"full": true, "tag": ["a", "b"]},
                    "jwt": {"iss": "https://idp", "sub": "ann", "aud": ["items"], "scope": "items:read", "level": 3}
                },
                "attributes": {
                    "source": {
                        "principal": "spiffe://market.example/ns/shop/sa/invoices",
                        "address": {"socketAddress": {"address": "10.0.0.7"}}
                    },
                    "request": {
                        "time": "2026-11-22T10:00:00.000Z",
                        "http": {"method": "GET", "path": "/v1/items/a%20b/{card}/%7Bcard%7D/%C3", "headers": {"x-tenant": "eu", "x-forwarded-client-cert": "By=;Hash=;URI=spiffe://market.example/ns/shop/sa/invoices"}}
                    }
                },
                "parsed_path": ["v1", "items", "a b", "{card}", "%7Bcard%7D", "%C3"],
                "parsed_query": {"full": ["true"], "tag": ["a", "b"]}
            })
        );
    }

    #[test]
    fn a_connection_has_a_port_and_nothing_of_http() {
        let none = Attributes::new();
        let facts = InputFacts {
            principal: "spiffe://a.example/x",
            source_service: None,
            source_ip: None,
            service: "db",
            operation: None,
            method: None,
            path: None,
            port: Some(5432),
            time: Timestamp::default(),
            headers: &none,
            query: &none,
            jwt: None,
        };
        assert_eq!(
            rendered(&facts),
            json!({
                "principal": "spiffe://a.example/x",
                "source": {"id": "spiffe://a.example/x"},
                "service": "db",
                "port": 5432,
                "context": {"time": "1970-01-01T00:00:00.000Z", "headers": {}, "query": {}},
                "attributes": {"source": {"principal": "spiffe://a.example/x"}, "request": {"time": "1970-01-01T00:00:00.000Z"}}
            })
        );
    }
}
