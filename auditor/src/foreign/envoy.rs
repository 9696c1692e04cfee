//! What Envoy says of a request, whatever form its log has: JSON of any keys, Envoy's text, Istio's text, or a format of one's own.
//!
//! Envoy's command operators are the facts; each form only brings them. What the proxy did is read from the status, its details and
//! the cluster: a denial is the proxy's own only where it says so, since a 403 may come from the application too.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use super::json::{Keys, Slots, Value};
use super::seen::{AddressOf, Callee, Caller, Did, Grade, Read, Reporter, Seen, SeenTls, Tie};
use super::time::parse_time;

/// The facts, as slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Fact {
    /// `%START_TIME%`.
    StartTime,
    /// `%REQ(:METHOD)%`.
    Method,
    /// `%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%`.
    Path,
    /// `%PROTOCOL%`.
    Protocol,
    /// `%RESPONSE_CODE%`.
    Code,
    /// `%RESPONSE_FLAGS%`.
    Flags,
    /// `%RESPONSE_CODE_DETAILS%`.
    CodeDetails,
    /// `%CONNECTION_TERMINATION_DETAILS%`.
    TerminationDetails,
    /// `%REQ(:AUTHORITY)%`.
    Authority,
    /// `%REQ(X-REQUEST-ID)%`.
    RequestId,
    /// `%UPSTREAM_CLUSTER%`.
    Cluster,
    /// `%UPSTREAM_HOST%`.
    UpstreamHost,
    /// `%UPSTREAM_LOCAL_ADDRESS%`: from where the proxy connected to the called side.
    UpstreamLocalAddress,
    /// `%DOWNSTREAM_LOCAL_ADDRESS%`.
    LocalAddress,
    /// `%DOWNSTREAM_REMOTE_ADDRESS%`: the other end of the connection, or what a header or a preamble said in its place.
    RemoteAddress,
    /// `%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%`: the other end of the connection.
    DirectAddress,
    /// `%KUMA_SOURCE_ADDRESS%`: the calling proxy's, as the control plane has it.
    SourceAddress,
    /// `%REQUESTED_SERVER_NAME%`.
    ServerName,
    /// `%DOWNSTREAM_PEER_URI_SAN%`.
    PeerSan,
    /// `%FILTER_STATE(io.istio.peer_principal)%` and the like: the same identity, handed on.
    PeerPrincipal,
    /// `%DOWNSTREAM_LOCAL_URI_SAN%`.
    LocalSan,
    /// `%UPSTREAM_PEER_URI_SAN%`.
    UpstreamPeerSan,
    /// `%UPSTREAM_LOCAL_URI_SAN%`.
    UpstreamLocalSan,
    /// `%DOWNSTREAM_TLS_VERSION%`.
    TlsVersion,
    /// `%DOWNSTREAM_TLS_CIPHER%`.
    TlsCipher,
    /// `%DOWNSTREAM_PEER_FINGERPRINT_256%`.
    PeerFingerprint,
    /// `%DOWNSTREAM_PEER_CERT_V_END%`.
    PeerEnd,
    /// `%DOWNSTREAM_PEER_SERIAL%`.
    PeerSerial,
    /// `%DOWNSTREAM_PEER_ISSUER%`.
    PeerIssuer,
    /// A name of the calling service that the control plane gives (Kuma).
    SourceService,
    /// The same of the called service.
    DestinationService,
}

/// The keys by which JSON logs of Envoy name the facts: Istio's own, those of the recommended format, and those of gateways.
pub(super) const KEYS: [(&str, Fact); 37] = [
    ("start_time", Fact::StartTime),
    ("timestamp", Fact::StartTime),
    ("@timestamp", Fact::StartTime),
    ("method", Fact::Method),
    (":method", Fact::Method),
    ("path", Fact::Path),
    (":path", Fact::Path),
    ("x-envoy-origin-path", Fact::Path),
    ("protocol", Fact::Protocol),
    ("response_code", Fact::Code),
    ("response_flags", Fact::Flags),
    ("response_code_details", Fact::CodeDetails),
    ("connection_termination_details", Fact::TerminationDetails),
    ("authority", Fact::Authority),
    (":authority", Fact::Authority),
    ("request_id", Fact::RequestId),
    ("x-request-id", Fact::RequestId),
    ("upstream_cluster", Fact::Cluster),
    ("upstream_host", Fact::UpstreamHost),
    ("upstream_local_address", Fact::UpstreamLocalAddress),
    ("downstream_local_address", Fact::LocalAddress),
    ("downstream_remote_address", Fact::RemoteAddress),
    ("downstream_direct_remote_address", Fact::DirectAddress),
    ("requested_server_name", Fact::ServerName),
    ("downstream_peer_uri_san", Fact::PeerSan),
    ("peer_principal", Fact::PeerPrincipal),
    ("downstream_local_uri_san", Fact::LocalSan),
    ("upstream_peer_uri_san", Fact::UpstreamPeerSan),
    ("upstream_local_uri_san", Fact::UpstreamLocalSan),
    ("downstream_tls_version", Fact::TlsVersion),
    ("downstream_tls_cipher", Fact::TlsCipher),
    ("downstream_peer_fingerprint_256", Fact::PeerFingerprint),
    ("downstream_peer_cert_v_end", Fact::PeerEnd),
    ("downstream_peer_serial", Fact::PeerSerial),
    ("downstream_peer_issuer", Fact::PeerIssuer),
    ("kuma_source_service", Fact::SourceService),
    ("kuma_destination_service", Fact::DestinationService),
];

/// The keys of JSON logs.
#[must_use]
pub fn keys() -> Keys {
    Keys::new(KEYS.iter().map(|(key, fact)| (*key, *fact as usize)))
}

/// The fact of a command operator as it stands between the `%`, without a length limit; `None` for those nothing is read from.
#[must_use]
pub fn fact_of(operator: &str) -> Option<Fact> {
    let upper = operator.to_ascii_uppercase();
    let (name, arguments) = upper.split_once('(').map_or((&*upper, ""), |(name, rest)| (name, rest.trim_end_matches(')')));
    let fact = match name {
        "START_TIME" => Fact::StartTime,
        "PROTOCOL" => Fact::Protocol,
        "RESPONSE_CODE" => Fact::Code,
        "RESPONSE_FLAGS" => Fact::Flags,
        "RESPONSE_CODE_DETAILS" => Fact::CodeDetails,
        "CONNECTION_TERMINATION_DETAILS" => Fact::TerminationDetails,
        "UPSTREAM_CLUSTER" | "UPSTREAM_CLUSTER_RAW" => Fact::Cluster,
        "UPSTREAM_HOST" => Fact::UpstreamHost,
        "UPSTREAM_LOCAL_ADDRESS" => Fact::UpstreamLocalAddress,
        "DOWNSTREAM_LOCAL_ADDRESS" => Fact::LocalAddress,
        "DOWNSTREAM_REMOTE_ADDRESS" | "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT" => Fact::RemoteAddress,
        "DOWNSTREAM_DIRECT_REMOTE_ADDRESS" | "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT" => Fact::DirectAddress,
        "REQUESTED_SERVER_NAME" => Fact::ServerName,
        "DOWNSTREAM_PEER_URI_SAN" => Fact::PeerSan,
        "DOWNSTREAM_LOCAL_URI_SAN" => Fact::LocalSan,
        "UPSTREAM_PEER_URI_SAN" => Fact::UpstreamPeerSan,
        "UPSTREAM_LOCAL_URI_SAN" => Fact::UpstreamLocalSan,
        "DOWNSTREAM_TLS_VERSION" => Fact::TlsVersion,
        "DOWNSTREAM_TLS_CIPHER" => Fact::TlsCipher,
        "DOWNSTREAM_PEER_FINGERPRINT_256" => Fact::PeerFingerprint,
        "DOWNSTREAM_PEER_CERT_V_END" => Fact::PeerEnd,
        "DOWNSTREAM_PEER_SERIAL" => Fact::PeerSerial,
        "DOWNSTREAM_PEER_ISSUER" => Fact::PeerIssuer,
        "FILTER_STATE" if arguments.starts_with("IO.ISTIO.PEER_PRINCIPAL") => Fact::PeerPrincipal,
        "REQ" => match arguments {
            ":METHOD" => Fact::Method,
            ":AUTHORITY" | "HOST" => Fact::Authority,
            "X-REQUEST-ID" => Fact::RequestId,
            _ if arguments.split('?').any(|header| header == ":PATH") => Fact::Path,
            _ => return None,
        },
        "PATH" => Fact::Path,
        "KUMA_SOURCE_SERVICE" => Fact::SourceService,
        "KUMA_DESTINATION_SERVICE" => Fact::DestinationService,
        "KUMA_SOURCE_ADDRESS" | "KUMA_SOURCE_ADDRESS_WITHOUT_PORT" => Fact::SourceAddress,
        _ => return None,
    };
    Some(fact)
}

/// The record of the facts.
#[must_use]
pub fn seen<'l>(mut facts: Slots<'l>) -> Read<'l> {
    let Some(at) = time(facts.of(Fact::StartTime as usize)) else {
        return Read::Bad("there is no time in it that could be read".to_owned());
    };
    let mut seen = Seen::at(at);
    let cluster = facts.take(Fact::Cluster as usize);
    let cluster = cluster.as_ref().map(|text| Cluster::of(text));
    seen.reporter = reporter(&facts, cluster);
    seen.status = facts.of(Fact::Code as usize).integer().and_then(|n| u16::try_from(n).ok()).filter(|n| *n > 0);
    seen.did = did(&facts, seen.status, seen.reporter, cluster.is_some());
    seen.method = facts.take(Fact::Method as usize);
    if seen.method.is_none() {
        seen.connection = opened(&facts, seen.reporter);
    }
    let of;
    (seen.caller_ip, of) = address(&facts);
    callee(&mut facts, cluster, &mut seen);
    caller(&mut facts, &mut seen);
    if seen.caller == Caller::Unnamed {
        seen.caller_ip_of = of;
    }
    seen.tls = tls(&mut facts, seen.reporter);
    seen.path = facts.take(Fact::Path as usize);
    seen.request_id = facts.take(Fact::RequestId as usize);
    Read::Request(Box::new(seen))
}

/// What both proxies know of a connection that is no request: from where the calling one connected, and to where. No line of Envoy's default
/// text says the former; and where another proxy stands between, the two are not the same.
fn opened(facts: &Slots<'_>, reporter: Reporter) -> Option<(Tie, String)> {
    let of = |fact: Fact| facts.text(fact as usize).and_then(socket);
    let (from, to) = match reporter {
        Reporter::Outbound => (of(Fact::UpstreamLocalAddress), of(Fact::UpstreamHost)),
        Reporter::Inbound => (of(Fact::DirectAddress).or_else(|| of(Fact::RemoteAddress)), of(Fact::LocalAddress)),
    };
    Some((Tie::Opened, format!("{}>{}", from?, to?)))
}

/// An address with its port. Both sides may write it in forms of their own.
fn socket(text: &str) -> Option<SocketAddr> {
    let socket: SocketAddr = text.parse().ok()?;
    Some(SocketAddr::new(socket.ip().to_canonical(), socket.port()))
}

/// `outbound|9080||reviews.default.svc.cluster.local`, or a name of any other form.
#[derive(Clone, Copy, Debug)]
struct Cluster<'c> {
    direction: &'c str,
    port: Option<u16>,
    host: &'c str,
}

impl<'c> Cluster<'c> {
    fn of(text: &'c str) -> Self {
        let mut parts = text.split('|');
        match (parts.next(), parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(direction), Some(port), Some(_), Some(host), None) => Self { direction, port: port.parse().ok(), host },
            _ => Self { direction: "", port: None, host: text },
        }
    }
}

fn reporter(facts: &Slots<'_>, cluster: Option<Cluster<'_>>) -> Reporter {
    let direction = cluster.map(|c| c.direction).unwrap_or_default();
    let is_outbound = match direction {
        // Waypoints stand before the callee and decide for it.
        "inbound" | "inbound-vip" => false,
        "outbound" => true,
        // Kuma knows the caller on the calling side alone.
        _ if facts.text(Fact::SourceService as usize).is_some_and(|name| !matches!(name, "*" | "unknown")) => true,
        // A caller's proxy knows the callee's certificate and no caller's.
        _ => !facts.of(Fact::UpstreamPeerSan as usize).is_absent() && facts.of(Fact::PeerSan as usize).is_absent(),
    };
    if is_outbound { Reporter::Outbound } else { Reporter::Inbound }
}

/// What the proxy did. Where it answered itself for want of permission it says so in the details; flag `UAEX` is an outside judge's
/// denial.
fn did<'l>(facts: &Slots<'l>, status: Option<u16>, reporter: Reporter, has_cluster: bool) -> Did<'l> {
    let details = facts.text(Fact::CodeDetails as usize);
    for text in [details, facts.text(Fact::TerminationDetails as usize)].into_iter().flatten() {
        if let Some(policy) = denied_by(text) {
            return Did::Denied(Some(policy).filter(|p| !matches!(*p, "none" | "")).map(|p| Cow::Owned(p.to_owned())));
        }
        if DENIED.iter().any(|word| text.starts_with(word)) {
            return Did::Denied(None);
        }
    }
    let flags = facts.text(Fact::Flags as usize).unwrap_or_default();
    if flags.split(',').any(|flag| flag == "UAEX") {
        return Did::Denied(None);
    }
    let is_unrouted = !has_cluster && facts.of(Fact::UpstreamHost as usize).is_absent();
    match (status, details, reporter) {
        // It answered itself before it asked anybody: a broken request, no route.
        (_, Some(details), _) if is_unrouted && details != "via_upstream" => Did::Unknown,
        // The other side's proxy or its application: a caller's proxy cannot tell, nor can one that gives no details.
        (Some(401 | 403), Some(_), Reporter::Outbound) | (Some(401 | 403), None, _) => Did::Unknown,
        // Nothing was asked, or the connection broke before it was.
        (None, _, _) if flags.split(',').any(|flag| matches!(flag, "DPE" | "DR")) => Did::Unknown,
        _ => Did::Allowed,
    }
}

/// The policy named in `rbac_access_denied_matched_policy[…]`; its own name may hold brackets.
fn denied_by(details: &str) -> Option<&str> {
    let (_, policy) = details.split_once("rbac_access_denied_matched_policy[")?;
    Some(policy.strip_suffix(']').unwrap_or(policy))
}

fn callee<'l>(facts: &mut Slots<'l>, cluster: Option<Cluster<'_>>, seen: &mut Seen<'l>) {
    let is_outbound = seen.reporter == Reporter::Outbound;
    let local = facts.text(Fact::LocalAddress as usize).map(str::to_owned);
    let upstream = facts.text(Fact::UpstreamHost as usize).map(str::to_owned);
    let address = if is_outbound { upstream.as_deref() } else { local.as_deref() };
    seen.port = cluster.and_then(|c| c.port).or_else(|| address.and_then(port));
    let san = facts.take(if is_outbound { Fact::UpstreamPeerSan } else { Fact::LocalSan } as usize);
    let server_name = facts.take(Fact::ServerName as usize).map(|name| match subset_host(&name) {
        Some(host) => Cow::Owned(host.to_owned()),
        None => name,
    });
    let of_cluster = cluster.map(|c| c.host).filter(|host| !host.is_empty()).map(|host| Cow::Owned(host.to_owned()));
    seen.callee = Callee {
        id: san.map(first_id),
        names: [
            facts.take(Fact::DestinationService as usize).map(kuma_name),
            of_cluster,
            server_name,
            facts.take(Fact::Authority as usize),
        ],
        ip: address.and_then(ip),
        ..Callee::default()
    };
}

/// The address of the caller, and what it is.
fn address(facts: &Slots<'_>) -> (Option<IpAddr>, AddressOf) {
    let of = |fact: Fact| facts.text(fact as usize);
    let direct = of(Fact::DirectAddress);
    if let Some(remote) = of(Fact::RemoteAddress) {
        let remote = ip(remote);
        return match (remote, direct.and_then(ip)) {
            (Some(remote), Some(direct)) if remote == direct => (Some(remote), AddressOf::Peer),
            (Some(remote), Some(direct)) => (Some(remote), AddressOf::ForwardedBy(direct)),
            (remote, _) => (remote, AddressOf::PeerOrForwarded),
        };
    }
    match direct {
        Some(direct) => (ip(direct), AddressOf::Peer),
        None => (of(Fact::SourceAddress).and_then(ip), AddressOf::Field("KUMA_SOURCE_ADDRESS")),
    }
}

fn caller<'l>(facts: &mut Slots<'l>, seen: &mut Seen<'l>) {
    let verified = facts.take(Fact::PeerSan as usize);
    let handed_on = facts.take(Fact::PeerPrincipal as usize);
    let own = facts.take(Fact::UpstreamLocalSan as usize);
    let (caller, grade) = match (seen.reporter, verified, handed_on, own) {
        (Reporter::Inbound, Some(id), _, _) => (Caller::Id(first_id(id)), Grade::A),
        (Reporter::Inbound, None, Some(id), _) | (Reporter::Outbound, _, _, Some(id)) => (Caller::Id(first_id(id)), Grade::B),
        _ => match facts.take(Fact::SourceService as usize).filter(|name| !matches!(&**name, "*" | "unknown")) {
            Some(name) => (Caller::Name(kuma_name(name)), Grade::C),
            None if seen.caller_ip.is_some() => (Caller::Unnamed, Grade::D),
            None => (Caller::Unnamed, Grade::E),
        },
    };
    (seen.caller, seen.grade) = (caller, grade);
}

fn tls<'l>(facts: &mut Slots<'l>, reporter: Reporter) -> Option<SeenTls<'l>> {
    // What a caller's proxy says of its downstream is about its own application.
    if reporter == Reporter::Outbound {
        return None;
    }
    let version = facts.take(Fact::TlsVersion as usize)?;
    Some(SeenTls {
        version,
        suite: facts.take(Fact::TlsCipher as usize).unwrap_or(Cow::Borrowed("unknown")),
        peer_sha256: facts.take(Fact::PeerFingerprint as usize),
        peer_serial: facts.take(Fact::PeerSerial as usize),
        peer_not_after: time(facts.of(Fact::PeerEnd as usize)),
        peer_issuer: facts.take(Fact::PeerIssuer as usize),
        // No operator tells it. The suite would tell the kind of the called side's key, and only before TLS 1.3.
        peer_key: None,
    })
}

fn time(value: &Value<'_>) -> Option<portreeve_engine::Timestamp> {
    match value {
        Value::Text(text) => parse_time(text),
        Value::Integer(n) => parse_time(&n.to_string()),
        Value::Float(n) => parse_time(&format!("{n:.3}")),
        _ => None,
    }
}

/// Of several SANs the first; Envoy writes them with commas between.
fn first_id(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.split(',').next().unwrap_or(text)),
        Cow::Owned(text) => Cow::Owned(text.split(',').next().unwrap_or(&text).to_owned()),
    }
}

/// Kuma's `web_shop_svc_80` as a platform's name, `web.shop`.
fn kuma_name(name: Cow<'_, str>) -> Cow<'_, str> {
    let mut parts = name.split('_');
    match (parts.next(), parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(service), Some(namespace), Some("svc"), Some(_), None) => Cow::Owned(format!("{service}.{namespace}")),
        _ => name,
    }
}

/// The host of `outbound_.9080_._.reviews.default.svc.cluster.local`.
fn subset_host(name: &str) -> Option<&str> {
    let rest = name.strip_prefix("outbound_.").or_else(|| name.strip_prefix("inbound_."))?;
    rest.split_once("_.").and_then(|(_, rest)| rest.split_once("_.")).map(|(_, host)| host)
}

/// The address in `10.0.0.7:9080`, `[::1]:80`, `10.0.0.7` or `envoy://connect_originate/10.0.0.7:9080`. One IPv4 address is one, also where it is
/// written in IPv6 (`::ffff:10.0.0.7`), and the name of an interface (`fe80::1%eth0`) is no part of any.
pub(super) fn ip(text: &str) -> Option<IpAddr> {
    let text = text.rsplit('/').next().unwrap_or(text);
    let plain = |text: &str| text.split('%').next().and_then(|text| text.parse::<IpAddr>().ok()).map(|ip| ip.to_canonical());
    if let Some(ip) = plain(text) {
        return Some(ip);
    }
    let (host, port) = text.rsplit_once(':')?;
    port.parse::<u16>().ok()?;
    plain(host.trim_start_matches('[').trim_end_matches(']'))
}

/// The port at the end of an address.
pub(super) fn port(text: &str) -> Option<u16> {
    ip(text)?;
    text.rsplit_once(':').and_then(|(_, port)| port.parse().ok())
}

/// How the details of the proxy's own denials begin: RBAC, an outside judge, a token; and of requests that it refused as malformed
/// before it asked anybody.
const DENIED: [&str; 8] = [
    "rbac_access_denied",
    "ext_authz_denied",
    "jwt_authn_access_denied",
    "path_normalization_failed",
    "absolute_path_rejected",
    "missing_path_rejected",
    "missing_host_header",
    "low_version",
];
