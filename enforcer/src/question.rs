//! Makes the question that policy is asked from what the network sent, or says why it is none.
//!
//! INVARIANT: what is judged is what is forwarded. The head is cleaned first ([`crate::headers`]); the path is canonicalised
//! once (INV-6); the host is brought into one form (A03); from then on nothing of the raw head is used.

use std::net::IpAddr;
use std::sync::Arc;

use http::{StatusCode, Version};
use portreeve_engine::model::{Operation, Upgrade, Visible};
use portreeve_engine::path::{CanonicalPath, Paths};
use portreeve_engine::request::{self, Attributes, Context, Target};
use portreeve_engine::{Malformed, Request, SpiffeId, Timestamp};

use crate::head::{Fault, Fields, Head, Kind};
use crate::headers;
use crate::jwt::Verifier;
use crate::limits;

/// Who asks, over which connection.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// The verified identity.
    pub id: &'a SpiffeId,
    /// When what proved the identity ends.
    pub until: Timestamp,
    /// The peer's address.
    pub ip: IpAddr,
    /// The server name of the handshake.
    pub server_name: Option<&'a str>,
}

/// What the asked service knows.
pub struct Asked<'a> {
    /// Its name.
    pub service: &'a Arc<str>,
    /// What policies may read.
    pub visible: &'a Visible,
    /// How it reads paths.
    pub paths: Paths,
    /// Which tokens are believed.
    pub tokens: &'a Verifier,
    /// Whether a name is a service of the inventory.
    pub is_service: &'a dyn Fn(&str) -> bool,
    /// Whether an operation lets its connection be switched so.
    pub offers: &'a dyn Fn(&Target, Switch) -> bool,
}

/// To what a request asks its connection to be switched. What passes afterwards is seen by no policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// To another protocol: `upgrade`, or `:protocol` of an extended `CONNECT`, which is judged as the `GET` that it stands for.
    Upgrade(Upgrade),
    /// To a tunnel: `CONNECT`.
    Tunnel,
}

impl Switch {
    /// Whether an operation of the inventory lets its connection be switched so. An undeclared one never does.
    #[must_use]
    pub fn is_offered_by(self, operation: Option<&Operation>) -> bool {
        match self {
            // An operation that is reached by `CONNECT` has it among its methods.
            Self::Tunnel => operation.is_some(),
            Self::Upgrade(upgrade) => operation.is_some_and(|o| o.upgrade.contains(&upgrade)),
        }
    }

    /// What a head asks for.
    ///
    /// # Errors
    /// It asks for something that is not known, or not in the form in which that is asked for.
    pub fn of(head: &Head<'_>) -> Result<Option<Self>, &'static str> {
        if head.method == "CONNECT" {
            return match head.protocol {
                None => Ok(Some(Self::Tunnel)),
                Some(protocol) => Upgrade::parse(protocol).map(|u| Some(Self::Upgrade(u))).ok_or(NOT_SERVED),
            };
        }
        let mut asked = head.fields.of(Kind::Upgrade);
        let Some(upgrade) = asked.next() else { return Ok(None) };
        let connection = head.fields.tokens(Kind::Connection).any(|t| t.eq_ignore_ascii_case("upgrade"));
        if asked.next().is_some() || head.version != Version::HTTP_11 || head.method != "GET" || !connection {
            return Err(NOT_SERVED);
        }
        upgrade.text().and_then(Upgrade::parse).map(|u| Some(Self::Upgrade(u))).ok_or(NOT_SERVED)
    }
}

/// A question, and what is needed to forward it.
#[derive(Clone, Debug)]
pub struct Question {
    /// What policy is asked.
    pub request: Request,
    /// The raw query.
    pub query: Option<String>,
    /// To what the connection is to be switched.
    pub switch: Option<Switch>,
    /// The caller's own id of the request.
    pub correlation: Option<String>,
}

/// Why there is no question.
#[derive(Clone, Debug)]
pub struct NoQuestion {
    /// The fault, for policy and record.
    pub malformed: Malformed,
    /// The status of the answer.
    pub status: StatusCode,
    /// The request line, escaped and cut, without its query.
    pub raw: String,
    /// The host, if that much was clear.
    pub host: Option<String>,
    /// The caller's own id of the request.
    pub correlation: Option<String>,
}

impl From<Fault> for NoQuestion {
    fn from(fault: Fault) -> Self {
        let raw = escape(&fault.raw);
        Self { malformed: Malformed::Carrier(fault.why.to_owned()), status: fault.status, raw, host: None, correlation: None }
    }
}

/// Cleans the head and makes the question.
///
/// # Errors
/// Why the request is ambiguous, broken or not served.
pub fn ask(head: &mut Head<'_>, asker: Asker<'_>, asked: &Asked<'_>, now: Timestamp) -> Result<Question, Box<NoQuestion>> {
    let switch = Switch::of(head);
    let correlation = headers::clean(&mut head.fields);
    let head = &*head;
    let refused = |(malformed, status): (Malformed, StatusCode), host: Option<String>| {
        let line = format!("{} {}", head.method, head.path());
        let raw = escape(line.as_bytes());
        Box::new(NoQuestion { malformed, status, raw, host, correlation: correlation.clone() })
    };
    let mut host = host(head).map_err(|e| refused(e, None))?;
    let body = |host: &mut Option<String>| -> Result<Question, (Malformed, StatusCode)> {
        // The connection is cut for it too, but by a timer, and a clock that was set or a machine that slept is ahead of timers (A65).
        if asker.until <= now {
            return Err((carrier("the certificate of this connection has ended"), StatusCode::FORBIDDEN));
        }
        let switch = switch.map_err(|why| (carrier(why), StatusCode::NOT_IMPLEMENTED))?;
        misdirected(asker.server_name, host.as_deref(), asked.is_service)?;
        if let Some(name) = headers::shadowing(&head.fields, asked.visible) {
            return Err(bad(Malformed::Attribute { name: name.to_owned(), why: "could be taken for another header" }));
        }
        let (path, query) = request::parse_target(head.target, asked.paths).map_err(bad)?;
        let method = if matches!(switch, Some(Switch::Upgrade(_))) { "GET" } else { head.method };
        let method = request::Method::parse(method).map_err(bad)?;
        let context = context(&head.fields, query, asker.ip, asked, now).map_err(bad)?;
        let target = Target::Http { method, path };
        if let Some(switch) = switch
            && !(asked.offers)(&target, switch)
        {
            return Err((carrier("the operation offers no such upgrade or tunnel"), StatusCode::NOT_IMPLEMENTED));
        }
        let request =
            Request { principal: asker.id.clone(), service: Arc::clone(asked.service), target, host: host.take().map(Into::into), context };
        Ok(Question { request, query: query.map(str::to_owned), switch, correlation: correlation.clone() })
    };
    body(&mut host).map_err(|e| refused(e, host))
}

fn context(fields: &Fields<'_>, query: Option<&str>, ip: IpAddr, asked: &Asked<'_>, now: Timestamp) -> Result<Context, Malformed> {
    let mut seen = Attributes::new();
    for name in asked.visible.headers.keys() {
        // Every line of a header counts (A05, A06); whether it may have several is for its type to say.
        for field in fields.named(name) {
            let text = std::str::from_utf8(field.value).map_err(|_| Malformed::Attribute { name: name.to_string(), why: "is not text" })?;
            request::push_attribute(&mut seen, name.clone(), text.trim_matches([' ', '\t']).into());
        }
    }
    let query = query.map_or(Ok(Attributes::new()), |q| request::parse_query(q, |name| asked.visible.query.contains_key(name)))?;
    let mut tokens = fields.of(Kind::Authorization);
    let token = tokens.next();
    if tokens.next().is_some() {
        return Err(Malformed::Attribute { name: "authorization".to_owned(), why: "is given more than once" });
    }
    let jwt = asked.tokens.verify(token.map(|f| f.value), now, asked.visible);
    Ok(Context { time: now, source_ip: Some(ip), headers: seen, query, jwt })
}

/// The one host of a request: of an absolute target, `:authority` or `Host`. Where two are given they must be the same.
pub(crate) fn host(head: &Head<'_>) -> Result<Option<String>, (Malformed, StatusCode)> {
    if head.scheme.is_some_and(|s| !s.eq_ignore_ascii_case("http") && !s.eq_ignore_ascii_case("https")) {
        return Err(bad(carrier("the scheme of the target is not `http` or `https`")));
    }
    let mut given = head.fields.of(Kind::Host);
    let header = given.next().map(|f| one_form(f.value));
    if given.next().is_some() {
        return Err(bad(carrier("the request has more than one `host`")));
    }
    let target = head.authority.map(|a| one_form(a.as_bytes()));
    let wrong = || bad(carrier("the host has a character that may not stand in it"));
    match (target, header) {
        (Some(None), _) | (_, Some(None)) => Err(wrong()),
        (Some(Some(a)), Some(Some(b))) if a != b => Err(bad(carrier("the target and `host` name different hosts"))),
        (Some(Some(host)), _) | (None, Some(Some(host))) => Ok(Some(host)),
        (None, None) if head.version == Version::HTTP_10 => Ok(None),
        (None, None) => Err(bad(carrier("the request names no host"))),
    }
}

/// Whether a host is in the one form as it was sent: labels of lower case, no port. Nearly all are.
fn is_in_one_form(raw: &[u8]) -> bool {
    let (mut label, mut fits) = (false, true);
    for byte in raw {
        fits &= if *byte == b'.' { label } else { matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_') };
        label = *byte != b'.';
    }
    fits && label
}

/// Lower case, without the dot at the end, port kept. `None` where the text is not a host (A03, A30).
fn one_form(raw: &[u8]) -> Option<String> {
    if is_in_one_form(raw) {
        return std::str::from_utf8(raw).ok().map(str::to_owned);
    }
    in_one_form(raw)
}

fn in_one_form(raw: &[u8]) -> Option<String> {
    let mut text = std::str::from_utf8(raw).ok()?.to_ascii_lowercase();
    let (port, dot) = match text.strip_prefix('[').and_then(|t| t.split_once(']')) {
        Some((v6, port)) => {
            v6.parse::<std::net::Ipv6Addr>().ok()?;
            (port, None)
        }
        None => {
            let (whole, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            let name = whole.strip_suffix('.').unwrap_or(whole);
            let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
            if name.is_empty() || !name.bytes().all(fits) || name.split('.').any(str::is_empty) {
                return None;
            }
            (port, (name.len() < whole.len()).then_some(name.len()))
        }
    };
    let fits = match port.strip_prefix(':') {
        None => port.is_empty(),
        Some(digits) => digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok(),
    };
    if let Some(at) = dot {
        text.remove(at);
    }
    fits.then_some(text)
}

/// One connection was made for one service: a request for another one must not ride on it (A46).
fn misdirected(sni: Option<&str>, host: Option<&str>, is_service: &dyn Fn(&str) -> bool) -> Result<(), (Malformed, StatusCode)> {
    let named = |name: &str| -> Option<String> {
        let name = name.split(':').next().unwrap_or_default();
        let label = name.split('.').next().unwrap_or_default();
        [name, label].into_iter().find(|n| is_service(n)).map(str::to_owned)
    };
    if sni.is_some() && sni == host {
        return Ok(());
    }
    match (sni.and_then(named), host.and_then(named)) {
        (Some(a), Some(b)) if a != b => {
            Err((carrier("the handshake and the request name different services"), StatusCode::MISDIRECTED_REQUEST))
        }
        _ => Ok(()),
    }
}

/// The target as it is forwarded: the canonical path and the raw query.
#[must_use]
pub fn target_of(path: &CanonicalPath, query: Option<&str>) -> String {
    match query {
        None => path.as_str().to_owned(),
        Some(query) => format!("{}?{query}", path.as_str()),
    }
}

const NOT_SERVED: &str = "no such upgrade is served";

fn bad(malformed: Malformed) -> (Malformed, StatusCode) {
    (malformed, StatusCode::BAD_REQUEST)
}

fn carrier(why: &str) -> Malformed {
    Malformed::Carrier(why.to_owned())
}

/// Printable ASCII, at most [`limits::RAW_BYTES_MAX`] bytes, with long runs of digits hidden.
///
/// What is no request reached no path template, so nothing says which of its segments are sensitive. A card number is the one
/// secret that must not end up in a log whatever the policy says (PCI DSS 3.5.1).
pub(crate) fn escape(raw: &[u8]) -> String {
    let mut out = String::new();
    for byte in raw {
        let part = std::ascii::escape_default(*byte);
        if out.len() + part.len() > limits::RAW_BYTES_MAX {
            break;
        }
        out.extend(part.map(char::from));
    }
    hide_digits(&out)
}

fn hide_digits(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for run in text.split_inclusive(|c: char| !c.is_ascii_digit()) {
        let digits = run.trim_end_matches(|c: char| !c.is_ascii_digit()).len();
        let (number, rest) = run.split_at_checked(digits).unwrap_or((run, ""));
        if digits >= limits::RAW_DIGITS_MAX {
            out.extend(std::iter::repeat_n('#', digits));
        } else {
            out.push_str(number);
        }
        out.push_str(rest);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use portreeve_engine::model::AttributeType;
    use portreeve_engine::request::AttributeValue;

    fn visible() -> Visible {
        let mut visible = Visible::default();
        visible.headers.insert("x-role".into(), AttributeType::Text);
        visible.query.insert("full".into(), AttributeType::Text);
        visible
    }

    /// `METHOD target` and headers; the connection was made for `sni`.
    fn put(line: &str, lines: &[(&str, &str)], version: Version, sni: Option<&str>) -> Result<Question, Box<NoQuestion>> {
        let (method, target) = line.split_once(' ').unwrap();
        let mut builder = http::Request::builder().method(method).uri(target).version(version);
        for (name, value) in lines {
            builder = builder.header(*name, *value);
        }
        let (parts, ()) = builder.body(()).unwrap().into_parts();
        let id = "spiffe://market.example/ns/shop/sa/invoices".parse().unwrap();
        let asker = Asker { id: &id, until: Timestamp::from_unix_ms(i64::MAX), ip: IpAddr::from([10, 0, 0, 7]), server_name: sni };
        let asked = Asked {
            service: &Arc::from("items"),
            visible: &visible(),
            paths: Paths::Strict,
            tokens: &Verifier::load(&[]).unwrap(),
            is_service: &|name| matches!(name, "items" | "users"),
            offers: &|target, _| matches!(target, Target::Http { path, .. } if matches!(path.as_str(), "/talk" | "/")),
        };
        ask(&mut Head::of(&parts), asker, &asked, Timestamp::default())
    }

    fn get(line: &str, lines: &[(&str, &str)]) -> Result<Question, Box<NoQuestion>> {
        let mut all = vec![("host", "items")];
        all.extend_from_slice(lines);
        put(line, &all, Version::HTTP_11, None)
    }

    #[test]
    fn a01_a04_paths_are_canonical_or_refused() {
        for (line, path) in
            [("GET /v1/%69tems/42?full=1", "/v1/items/42"), ("GET /v1/items?x=1", "/v1/items"), ("GET /a%c3%a9", "/a%C3%A9")]
        {
            let question = get(line, &[]).unwrap();
            let Target::Http { path: found, .. } = &question.request.target else { panic!() };
            assert_eq!(found.as_str(), path);
        }
        for target in ["//admin", "/%2Fadmin", "/x/..%2Fadmin", "/%5Cadmin", "/x%5C..%5Cadmin", "/a/../b", "/a;b", "/%00", "/a//b", "/%zz"]
        {
            let refused = get(&format!("GET {target}?q=secret"), &[]).unwrap_err();
            assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{target}");
            assert!(refused.raw.starts_with("GET /") && !refused.raw.contains("secret"), "{}", refused.raw);
        }
    }

    #[test]
    fn a03_a30_hosts_have_one_form() {
        for (given, kept) in [
            ("ITEMS", "items"),
            ("items.", "items"),
            ("Items.Example:8443", "items.example:8443"),
            ("[::1]:80", "[::1]:80"),
            ("10.0.0.1", "10.0.0.1"),
        ] {
            let question = put("GET /", &[("host", given)], Version::HTTP_11, None).unwrap();
            assert_eq!(question.request.host.as_deref(), Some(kept));
        }
        // What is taken as it was sent is what would come out.
        for given in ["items", "items.example", "a.b-c.d_e", "10.0.0.1", "", ".", "a.", ".a", "a..b", "A", "a:1", "[::1]", "a/b", "\u{e9}"]
        {
            let raw = given.as_bytes();
            assert_eq!(is_in_one_form(raw), in_one_form(raw).is_some_and(|form| form == given && !given.contains([':', '['])), "{given}");
        }
        for given in ["a/b", "a?b", "a#b", "a@b", "", "a b", "a:b", "a:99999", "a..b", "[::1", "[zz]", ":80"] {
            assert_eq!(put("GET /", &[("host", given)], Version::HTTP_11, None).unwrap_err().status, StatusCode::BAD_REQUEST, "{given}");
        }
        assert!(put("GET http://items/x", &[("host", "ITEMS")], Version::HTTP_11, None).is_ok());
        assert!(put("GET http://items/x", &[("host", "users")], Version::HTTP_11, None).is_err());
        assert!(put("GET https://items/x", &[], Version::HTTP_2, None).is_ok());
        assert!(put("GET ftp://items/x", &[], Version::HTTP_2, None).is_err());
        assert!(put("GET /", &[("host", "a"), ("host", "a")], Version::HTTP_11, None).is_err());
        assert!(put("GET /", &[], Version::HTTP_11, None).is_err());
        assert!(put("GET /", &[], Version::HTTP_10, None).is_ok());
        assert!(put("OPTIONS *", &[("host", "a")], Version::HTTP_11, None).is_err());
    }

    #[test]
    fn a05_a06_policy_sees_every_line_of_a_header() {
        let question = get("GET /", &[("x-role", "user"), ("X-Role", " admin\t"), ("x-other", "unseen")]).unwrap();
        let seen = &question.request.context.headers;
        assert_eq!(seen.get("x-role"), Some(&AttributeValue::List(vec!["user".into(), "admin".into()])));
        assert_eq!(seen.len(), 1);
    }

    #[test]
    fn a18_a19_claimed_headers_are_gone_before_the_question() {
        let question = get("GET /", &[("connection", "x-role"), ("x-role", "admin"), ("x-request-id", "mine")]).unwrap();
        assert!(question.request.context.headers.is_empty());
        assert_eq!(question.correlation.as_deref(), Some("mine"));
    }

    #[test]
    fn a22_tunnels_and_upgrades_are_refused() {
        let talk = [("upgrade", "WebSocket"), ("connection", "keep-alive, Upgrade")];
        let switch = get("GET /talk", &talk).unwrap().switch;
        assert_eq!(switch, Some(Switch::Upgrade(Upgrade::WebSocket)));
        for (line, lines) in [
            ("GET /other", talk),
            ("POST /talk", talk),
            ("GET /talk", [("upgrade", "h2c"), ("connection", "upgrade")]),
            ("GET /talk", [("upgrade", "websocket, h2c"), ("connection", "upgrade")]),
            ("GET /talk", [("upgrade", "websocket"), ("connection", "close")]),
        ] {
            assert_eq!(get(line, &lines).unwrap_err().status, StatusCode::NOT_IMPLEMENTED, "{line} {lines:?}");
        }
        assert_eq!(
            put("GET /talk", &[talk[0], talk[1], ("host", "items")], Version::HTTP_10, None).unwrap_err().status,
            StatusCode::NOT_IMPLEMENTED
        );
        assert_eq!(put("CONNECT items:80", &[], Version::HTTP_2, None).unwrap().switch, Some(Switch::Tunnel));
    }

    #[test]
    fn a46_a_request_for_another_service_is_misdirected() {
        let ask = |sni, host| put("GET /", &[("host", host)], Version::HTTP_11, Some(sni));
        assert_eq!(ask("items", "users").unwrap_err().status, StatusCode::MISDIRECTED_REQUEST);
        assert_eq!(ask("items.market.example", "Users:8443").unwrap_err().status, StatusCode::MISDIRECTED_REQUEST);
        assert!(ask("items", "items.market.example").is_ok());
        assert!(ask("items", "unknown.example").is_ok());
    }

    #[test]
    fn a77_underscores_and_doubled_tokens_are_refused() {
        assert!(get("GET /", &[("x_role", "admin")]).is_err());
        assert!(get("GET /", &[("authorization", "Bearer a"), ("authorization", "Bearer b")]).is_err());
    }

    #[test]
    fn card_numbers_do_not_reach_the_log_by_way_of_broken_requests() {
        for (sent, kept) in [("/cards/4111111111111111//x", "/cards/################//x"), ("/v1/20261122//", "/v1/20261122//")] {
            assert_eq!(get(&format!("GET {sent}"), &[]).unwrap_err().raw, format!("GET {kept}"));
        }
    }

    #[test]
    fn only_visible_parameters_are_kept_and_raw_is_bounded() {
        let question = get("GET /?full=1&token=secret", &[]).unwrap();
        assert_eq!(question.request.context.query.len(), 1);
        assert_eq!(question.query.as_deref(), Some("full=1&token=secret"));
        let refused = get(&format!("GET /{}//", "a".repeat(1000)), &[]).unwrap_err();
        assert!(refused.raw.len() <= limits::RAW_BYTES_MAX);
    }
}
