//! Header hygiene: what a caller may not say, what concerns one hop only, and what the enforcer says itself.
//!
//! INVARIANT: the order is fixed: hop-by-hop headers go first (with those that `Connection` names, A19), then every header that
//! claims an identity (A18), and only then are our own set. What is left in between is what policy sees and what is forwarded.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use portreeve_engine::model::Visible;

use crate::h1::scan::is_token;
use crate::head::{Field, Fields, Kind};
use crate::limits;

/// The id of a request, on the way in and on the answer.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The verified caller, in the form other meshes use.
pub const XFCC: HeaderName = HeaderName::from_static("x-forwarded-client-cert");
/// The verified caller's SPIFFE ID.
pub const X_PRINCIPAL: HeaderName = HeaderName::from_static("x-portreeve-principal");

/// Removes what concerns one hop and what claims an identity. Returns the caller's own request id, if it sent a usable one.
pub fn clean(fields: &mut Fields<'_>) -> Option<String> {
    let trailers = fields.tokens(Kind::Te).any(|t| t.eq_ignore_ascii_case("trailers"));
    if fields.of(Kind::Connection).next().is_some() {
        let named: Vec<String> = fields.tokens(Kind::Connection).map(str::to_owned).collect();
        fields.retain(|f| !named.iter().any(|name| f.name.eq_ignore_ascii_case(name)));
    }
    let own = fields.of(Kind::RequestId).next().and_then(|f| f.text()).filter(|v| !v.is_empty());
    let correlation = own.map(|v| v.chars().take(limits::CORRELATION_BYTES_MAX).collect());
    let gone = |kind| matches!(kind, Kind::Connection | Kind::Te | Kind::Upgrade | Kind::Hop | Kind::RequestId);
    let claims = |f: &Field<'_>| f.kind == Kind::Other && claims_identity(f.name);
    fields.retain(|f| !gone(f.kind) && !claims(f));
    if trailers {
        fields.push("te", b"trailers");
    }
    correlation
}

/// Removes from an answer what concerns one hop, what claims an identity, and a request id that is not ours.
pub fn clean_answer(fields: &mut Fields<'_>) {
    if fields.of(Kind::Connection).next().is_some() {
        let named: Vec<String> = fields.tokens(Kind::Connection).map(str::to_owned).collect();
        fields.retain(|f| !named.iter().any(|name| f.name.eq_ignore_ascii_case(name)));
    }
    let gone = |kind| matches!(kind, Kind::Connection | Kind::Te | Kind::Upgrade | Kind::Hop | Kind::RequestId);
    let claims = |f: &Field<'_>| f.kind == Kind::Other && claims_identity(f.name);
    fields.retain(|f| !gone(f.kind) && !claims(f));
}

/// The same for trailers, and for heads that an HTTP library read and will write.
pub fn sanitise(headers: &mut HeaderMap) -> Option<String> {
    strip_hop_by_hop(headers);
    strip_identity(headers);
    let own = headers.get(&X_REQUEST_ID).and_then(|v| v.to_str().ok()).filter(|v| !v.is_empty());
    let correlation = own.map(|v| v.chars().take(limits::CORRELATION_BYTES_MAX).collect());
    headers.remove(&X_REQUEST_ID);
    correlation
}

/// Removes the headers that concern one hop, those that `Connection` names included. `TE: trailers` stays, because gRPC servers
/// ask for it and it promises nothing about this hop.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let trailers = tokens(headers, &header::TE).any(|t| t.eq_ignore_ascii_case("trailers"));
    if headers.contains_key(header::CONNECTION) {
        let named: Vec<HeaderName> =
            tokens(headers, &header::CONNECTION).filter_map(|t| HeaderName::from_bytes(t.as_bytes()).ok()).collect();
        for name in named {
            headers.remove(&name);
        }
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

fn tokens<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> + use<'h> {
    headers.get_all(name).into_iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(',')).map(str::trim).filter(|t| !t.is_empty())
}

/// Removes every header that claims an identity or steers a proxy. `_` counts as `-`, since many servers fold the two.
pub fn strip_identity(headers: &mut HeaderMap) {
    if !headers.keys().any(|n| claims_identity(n.as_str())) {
        return;
    }
    let claims: Vec<HeaderName> = headers.keys().filter(|n| claims_identity(n.as_str())).cloned().collect();
    for name in claims {
        headers.remove(&name);
    }
}

fn claims_identity(name: &str) -> bool {
    // Nearly all header names end here.
    if !matches!(name.as_bytes().first(), Some(b'x' | b'X' | b'l' | b'L')) {
        return false;
    }
    same_name(name, XFCC.as_str()) || PREFIXES.iter().any(|prefix| name.get(..prefix.len()).is_some_and(|start| same_name(start, prefix)))
}

/// Whether a field may stand behind a body: nothing that steers how a message is framed, routed, read or believed.
#[must_use]
pub fn may_trail(name: &str) -> bool {
    Kind::of(name) == Kind::Other && !NOT_IN_TRAILERS.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// What follows the word `Bearer` in an `Authorization`; `None` where that is of another scheme. It is of this one whatever ends the
/// word: a server that takes a tab for a space would find a token that nobody looked at.
#[must_use]
pub fn bearer(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = authorization.split_at_checked(BEARER.len())?;
    match rest.first() {
        _ if !scheme.eq_ignore_ascii_case(BEARER) => None,
        None | Some(b' ') => Some(rest.trim_ascii()),
        Some(b) if is_token(*b) => None,
        Some(_) => Some(rest),
    }
}

/// Whether a trailer of that name could be taken for a header that policy reads: what comes after the decision was not judged.
#[must_use]
pub fn is_read(name: &str, visible: &Visible) -> bool {
    visible.headers.keys().any(|read| same_name(name, read))
}

/// Whether many servers take the two for one name: case does not count, nor does `_` for `-`. `known` is in lower case.
fn same_name(name: &str, known: &str) -> bool {
    let fold = |b: u8| if b == b'_' { b'-' } else { b.to_ascii_lowercase() };
    name.len() == known.len() && name.bytes().map(fold).eq(known.bytes())
}

/// A header name with `_` that a server could take for another one which policy sees or framing rests on (A77).
#[must_use]
pub fn shadowing<'h>(fields: &Fields<'h>, visible: &Visible) -> Option<&'h str> {
    fields.iter().map(|f| f.name).filter(|name| name.contains('_')).find(|name| {
        let folded = name.replace('_', "-").to_ascii_lowercase();
        fields.named(&folded).next().is_some() || visible.headers.contains_key(folded.as_str()) || FRAMING.contains(&folded.as_str())
    })
}

const BEARER: &[u8] = b"bearer";

/// Fields that steer how a message is routed, read or believed (RFC 9110, 6.5.1).
const NOT_IN_TRAILERS: [&str; 8] =
    ["content-type", "content-encoding", "content-range", "trailer", "cookie", "set-cookie", "cache-control", "location"];

const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
];

const PREFIXES: [&str; 4] = ["x-portreeve-", "x-envoy-", "l5d-", "x-forwarded-client-cert-"];

const FRAMING: [&str; 4] = ["content-length", "transfer-encoding", "content-type", "x-request-id"];

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::introduction::Introduced;
    use portreeve_engine::model::AttributeType;

    fn fields<'a>(lines: &[(&'a str, &'a str)]) -> Fields<'a> {
        let mut fields = Fields::default();
        for (name, value) in lines {
            fields.push(name, value.as_bytes());
        }
        fields
    }

    fn names(fields: &Fields<'_>) -> Vec<String> {
        let mut out: Vec<_> = fields.iter().map(|f| f.name.to_owned()).collect();
        out.sort();
        out
    }

    /// A header map and borrowed fields are cleaned alike.
    fn check(lines: &[(&str, &str)], left: &[&str]) -> Option<String> {
        let mut fields = fields(lines);
        let mut map: HeaderMap =
            lines.iter().map(|(n, v)| (HeaderName::try_from(*n).unwrap(), HeaderValue::try_from(*v).unwrap())).collect();
        let correlation = clean(&mut fields);
        assert_eq!(sanitise(&mut map), correlation);
        let mut kept: Vec<_> = map.keys().map(|n| n.as_str().to_owned()).collect();
        kept.sort();
        assert_eq!(kept, left);
        assert_eq!(names(&fields).iter().map(|n| n.to_ascii_lowercase()).collect::<Vec<_>>(), left);
        correlation
    }

    #[test]
    fn a18_claimed_identities_are_stripped() {
        let lines = [
            ("x-forwarded-client-cert", "By=a;URI=spiffe://evil/x"),
            ("x_forwarded_client_cert", "x"),
            ("X-Forwarded_Client-Cert-Chain", "x"),
            ("X-Portreeve-Principal", "spiffe://evil/x"),
            ("x-portreeve_principal", "x"),
            ("X-Envoy-Original-Path", "/admin"),
            ("L5D-client-id", "x"),
            ("x-request-id", "mine"),
            ("x-tenant", "eu"),
            ("accept", "*/*"),
        ];
        assert_eq!(check(&lines, &["accept", "x-tenant"]).as_deref(), Some("mine"));
    }

    #[test]
    fn a19_connection_cannot_remove_our_own_headers() {
        let lines =
            [("Connection", "X-Forwarded-Client-Cert, x-tenant, close"), ("x-tenant", "eu"), ("keep-alive", "5"), ("te", "gzip, trailers")];
        check(&lines, &["te"]);
        let mut fields = fields(&lines);
        clean(&mut fields);
        let (own, caller) = ("spiffe://m/items".parse().unwrap(), "spiffe://m/invoices".parse().unwrap());
        let introduced = Introduced::of(&Arc::default(), &caller, "ab", &[]);
        let headers = introduced.lines(Vec::new(), &fields, &own, None, "r1").to_map();
        assert_eq!(headers[XFCC], "By=spiffe://m/items;Hash=ab;URI=spiffe://m/invoices");
        assert_eq!(headers[X_PRINCIPAL], "spiffe://m/invoices");
        assert_eq!(headers[X_REQUEST_ID], "r1");
        assert_eq!(headers[header::TE], "trailers");
    }

    #[test]
    fn a16_a_token_is_one_whatever_stands_before_it() {
        for (value, found) in [
            ("Bearer a.b.c", Some("a.b.c")),
            ("bEARER  a.b.c\t", Some("a.b.c")),
            ("Bearer", Some("")),
            ("Bearer\ta.b.c", Some("\ta.b.c")),
            ("Bearer,a.b.c", Some(",a.b.c")),
            ("Bearer=a.b.c", Some("=a.b.c")),
            ("Bearer\u{a0}a.b.c", Some("\u{a0}a.b.c")),
            ("Bearertoken a.b.c", None),
            ("Bearer-x a.b.c", None),
            ("Basic eDp5", None),
            ("Bear", None),
            ("", None),
        ] {
            assert_eq!(bearer(value.as_bytes()), found.map(str::as_bytes), "{value}");
        }
    }

    #[test]
    fn a77_underscores_may_not_shadow() {
        let mut visible = Visible::default();
        visible.headers.insert("x-tenant".into(), AttributeType::Text);
        for (lines, found) in [
            (vec![("x_role", "a"), ("X-Role", "b")], Some("x_role")),
            (vec![("X_Tenant", "eu")], Some("X_Tenant")),
            (vec![("content_length", "5")], Some("content_length")),
            (vec![("my_header", "a")], None),
        ] {
            assert_eq!(shadowing(&fields(&lines), &visible), found);
        }
    }
}
