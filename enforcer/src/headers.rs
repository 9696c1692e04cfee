//! Header hygiene: what a caller may not say, what concerns one hop only, and what the enforcer says itself.
//!
//! INVARIANT: the order is fixed: hop-by-hop headers go first (with those that `Connection` names, A19), then every header that
//! claims an identity (A18), and only then are our own set. What is left in between is what policy sees and what is forwarded.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use portreeve_engine::SpiffeId;
use portreeve_engine::model::Visible;

use crate::limits;

/// The id of a request, on the way in and on the answer.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The verified caller, in the form other meshes use.
pub const XFCC: HeaderName = HeaderName::from_static("x-forwarded-client-cert");
/// The verified caller's SPIFFE ID.
pub const X_PRINCIPAL: HeaderName = HeaderName::from_static("x-portreeve-principal");

/// Removes what concerns one hop and what claims an identity. Returns the caller's own request id, if it sent a usable one.
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
    if !headers.keys().any(claims_identity) {
        return;
    }
    let claims: Vec<HeaderName> = headers.keys().filter(|n| claims_identity(n)).cloned().collect();
    for name in claims {
        headers.remove(&name);
    }
}

fn claims_identity(name: &HeaderName) -> bool {
    let name = name.as_str();
    // Nearly all header names end here.
    if !(name.starts_with('x') || name.starts_with('l')) {
        return false;
    }
    let folded = name.replace('_', "-");
    folded == XFCC.as_str() || PREFIXES.iter().any(|prefix| folded.starts_with(prefix))
}

/// A header name with `_` that a server could take for another one which policy sees or framing rests on (A77).
#[must_use]
pub fn shadowing<'h>(headers: &'h HeaderMap, visible: &Visible) -> Option<&'h str> {
    headers.keys().map(HeaderName::as_str).filter(|name| name.contains('_')).find(|name| {
        let folded = name.replace('_', "-");
        headers.contains_key(folded.as_str()) || visible.headers.contains_key(folded.as_str()) || FRAMING.contains(&folded.as_str())
    })
}

/// Says who the caller is. `By` is ourselves, `Hash` the digest of the caller's certificate.
pub fn set_identity(headers: &mut HeaderMap, own: &SpiffeId, caller: &SpiffeId, certificate: &str, request_id: &str) {
    // SPIFFE IDs have no quote, comma, semicolon or space, so nothing here can end the field early.
    let xfcc = format!("By={own};Hash={certificate};URI={caller}");
    for (name, value) in [(XFCC, xfcc.as_str()), (X_PRINCIPAL, caller.as_str()), (X_REQUEST_ID, request_id)] {
        match HeaderValue::from_str(value) {
            Ok(value) => headers.insert(name, value),
            Err(_) => headers.remove(name),
        };
    }
}

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
    use super::*;
    use portreeve_engine::model::AttributeType;

    fn map(lines: &[(&str, &str)]) -> HeaderMap {
        lines.iter().map(|(n, v)| (HeaderName::try_from(*n).unwrap(), HeaderValue::try_from(*v).unwrap())).collect()
    }

    fn names(headers: &HeaderMap) -> Vec<String> {
        let mut out: Vec<_> = headers.keys().map(|n| n.as_str().to_owned()).collect();
        out.sort();
        out
    }

    #[test]
    fn a18_claimed_identities_are_stripped() {
        let mut headers = map(&[
            ("x-forwarded-client-cert", "By=a;URI=spiffe://evil/x"),
            ("x_forwarded_client_cert", "x"),
            ("X-Portreeve-Principal", "spiffe://evil/x"),
            ("x-portreeve_principal", "x"),
            ("x-envoy-original-path", "/admin"),
            ("l5d-client-id", "x"),
            ("x-request-id", "mine"),
            ("x-tenant", "eu"),
            ("accept", "*/*"),
        ]);
        assert_eq!(sanitise(&mut headers).as_deref(), Some("mine"));
        assert_eq!(names(&headers), ["accept", "x-tenant"]);
    }

    #[test]
    fn a19_connection_cannot_remove_our_own_headers() {
        let mut headers = map(&[
            ("connection", "X-Forwarded-Client-Cert, x-tenant, close"),
            ("x-tenant", "eu"),
            ("keep-alive", "5"),
            ("te", "gzip, trailers"),
        ]);
        sanitise(&mut headers);
        assert_eq!(names(&headers), ["te"]);
        let id = |text: &str| text.parse::<SpiffeId>().unwrap();
        set_identity(&mut headers, &id("spiffe://m/items"), &id("spiffe://m/invoices"), "ab", "r1");
        assert_eq!(headers[XFCC], "By=spiffe://m/items;Hash=ab;URI=spiffe://m/invoices");
        assert_eq!(headers[X_PRINCIPAL], "spiffe://m/invoices");
        assert_eq!(headers[X_REQUEST_ID], "r1");
        assert_eq!(headers[header::TE], "trailers");
    }

    #[test]
    fn a77_underscores_may_not_shadow() {
        let mut visible = Visible::default();
        visible.headers.insert("x-tenant".into(), AttributeType::Text);
        for (lines, found) in [
            (vec![("x_role", "a"), ("x-role", "b")], Some("x_role")),
            (vec![("x_tenant", "eu")], Some("x_tenant")),
            (vec![("content_length", "5")], Some("content_length")),
            (vec![("my_header", "a")], None),
        ] {
            assert_eq!(shadowing(&map(&lines), &visible), found);
        }
    }
}
