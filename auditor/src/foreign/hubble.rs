//! Cilium Hubble's flows: packets and L7 requests, with the labels of both ends and the verdict.
//!
//! A flow is a packet or a message, not a request: replies, packets within a connection and flows handed on to the L7 proxy are lines
//! without a decision, or every connection would count many times. What is counted is the opening of a connection, a datagram, an L7
//! request, and a denial by policy.

use std::borrow::Cow;
use std::net::IpAddr;

use super::envoy::ip;
use super::json::{Keys, Slots, Value};
use super::seen::{AddressOf, Callee, Caller, Did, Grade, Read, Reporter, Seen, Tie};
use super::time::parse_time;

/// The keys of a flow, by slot.
const FLOW: [&str; 31] = [
    "time",
    "verdict",
    "drop_reason_desc",
    "is_reply",
    "traffic_direction",
    "IP.source",
    "IP.destination",
    "l4.TCP.destination_port",
    "l4.UDP.destination_port",
    "l4.SCTP.destination_port",
    "l4.TCP.flags.SYN",
    "l4.TCP.flags.ACK",
    "source.namespace",
    "source.labels",
    "source.workloads.name",
    "source.pod_name",
    "destination.namespace",
    "destination.labels",
    "destination.workloads.name",
    "destination.pod_name",
    "destination_names",
    "l7.type",
    "l7.http.method",
    "l7.http.url",
    "l7.http.code",
    "ingress_denied_by.name",
    "egress_denied_by.name",
    "l4.TCP.flags",
    "l7.dns",
    "l7.kafka",
    "l4.TCP.source_port",
];
const TIME: usize = 0;
const VERDICT: usize = 1;
const DROP_REASON: usize = 2;
const IS_REPLY: usize = 3;
const DIRECTION: usize = 4;
const SOURCE_IP: usize = 5;
const DESTINATION_IP: usize = 6;
const PORTS: [usize; 3] = [7, 8, 9];
const SYN: usize = 10;
const ACK: usize = 11;
const SOURCE: Ends = Ends { namespace: 12, labels: 13, workload: 14, pod: 15 };
const DESTINATION: Ends = Ends { namespace: 16, labels: 17, workload: 18, pod: 19 };
const DESTINATION_NAMES: usize = 20;
const L7_TYPE: usize = 21;
const METHOD: usize = 22;
const URL: usize = 23;
const CODE: usize = 24;
const DENIED_BY: [usize; 2] = [25, 26];
const FLAGS: usize = 27;
const L7_OTHERS: [usize; 2] = [28, 29];
const SOURCE_PORT: usize = 30;
const NODE: usize = 31;
const LOST: usize = 32;
const WRAPPED: usize = 33;

#[derive(Clone, Copy)]
struct Ends {
    namespace: usize,
    labels: usize,
    workload: usize,
    pod: usize,
}

/// The keys: of a bare flow, or of one in its wrapper.
pub(super) fn keys(wrapped: bool) -> Keys {
    let paths: Vec<(String, usize)> = FLOW
        .iter()
        .enumerate()
        .map(|(slot, path)| (if wrapped { format!("flow.{path}") } else { (*path).to_owned() }, slot))
        .chain([("node_name".to_owned(), NODE), ("lost_events.num_events_lost".to_owned(), LOST)])
        .collect();
    let flow = (!wrapped).then_some(("flow", WRAPPED));
    Keys::new(paths.iter().map(|(path, slot)| (path.as_str(), *slot)).chain(flow))
}

/// Whether the object is a wrapper around a flow.
pub(super) fn is_wrapped(facts: &Slots<'_>) -> bool {
    *facts.of(WRAPPED) == Value::Object
}

/// The record.
pub(super) fn seen<'l>(mut facts: Slots<'l>) -> Read<'l> {
    if !facts.of(LOST).is_absent() {
        return Read::Lost(facts.of(LOST).integer().and_then(|n| u64::try_from(n).ok()).unwrap_or(1));
    }
    let Some(at) = facts.text(TIME).and_then(parse_time) else {
        return if facts.of(NODE).is_absent() {
            Read::Bad("it is no flow: there is no time in it".to_owned())
        } else {
            Read::Other("events that are no flows")
        };
    };
    if let Some(what) = no_request(&facts) {
        return Read::Other(what);
    }
    let mut seen = Seen::at(at);
    seen.did = match (facts.text(VERDICT), facts.text(DROP_REASON)) {
        // Under audit a denial is only noted: the packet went on.
        (Some("FORWARDED" | "AUDIT"), _) => Did::Allowed,
        (Some("DROPPED"), Some(reason)) if POLICY_DROPS.contains(&reason) => Did::Denied(denied_by(&facts)),
        // The L7 proxy denies by policy alone.
        (Some("DROPPED"), None) if !facts.of(L7_TYPE).is_absent() => Did::Denied(denied_by(&facts)),
        (Some("DROPPED"), _) => return Read::Other("drops that no policy made"),
        (Some(_), _) => return Read::Other("flows without a verdict"),
        (None, _) => return Read::Bad("`verdict` is missing".to_owned()),
    };
    seen.reporter = if facts.text(DIRECTION) == Some("EGRESS") { Reporter::Outbound } else { Reporter::Inbound };
    (seen.caller_ip, seen.caller_ip_of) = (facts.text(SOURCE_IP).and_then(ip), AddressOf::Field("IP.source"));
    seen.port = PORTS.iter().find_map(|slot| facts.of(*slot).integer()).and_then(|n| u16::try_from(n).ok());
    (seen.caller, seen.grade) = caller(&mut facts, seen.caller_ip.is_some());
    seen.callee = callee(&mut facts);
    seen.connection = opened(&facts, seen.caller_ip, seen.callee.ip, seen.port);
    seen.status = facts.of(CODE).integer().and_then(|n| u16::try_from(n).ok()).filter(|n| *n > 0);
    seen.method = facts.take(METHOD);
    seen.path = facts.take(URL).map(super::path_of_url);
    Read::Request(Box::new(seen))
}

/// What both nodes see of a packet that opens a TCP connection. Datagrams may be alike, and requests within a connection are; of those no
/// line tells which of the other node's it is.
fn opened(facts: &Slots<'_>, source: Option<IpAddr>, destination: Option<IpAddr>, port: Option<u16>) -> Option<(Tie, String)> {
    let is = |slot: usize| *facts.of(slot) == Value::Boolean(true);
    let opens = is(SYN) && !is(ACK) && facts.of(L7_TYPE).is_absent();
    let source_port = facts.of(SOURCE_PORT).integer().filter(|_| opens)?;
    Some((Tie::Opened, format!("{}:{source_port}>{}:{}", source?, destination?, port?)))
}

/// What a flow is that opens nothing.
fn no_request(facts: &Slots<'_>) -> Option<&'static str> {
    let is = |slot: usize| *facts.of(slot) == Value::Boolean(true);
    if is(IS_REPLY) || facts.text(L7_TYPE) == Some("RESPONSE") {
        return Some("replies");
    }
    if L7_OTHERS.iter().any(|slot| *facts.of(*slot) != Value::Missing) {
        return Some("messages of DNS and Kafka");
    }
    if facts.text(VERDICT) == Some("REDIRECTED") {
        return Some("flows handed to the L7 proxy, which has lines of its own");
    }
    let is_l7 = !facts.of(L7_TYPE).is_absent();
    if !is_l7 && PORTS.iter().all(|slot| facts.of(*slot).is_absent()) {
        return Some("messages without a port (ICMP and the like)");
    }
    let has_flags = *facts.of(FLAGS) == Value::Object;
    let opens = is(SYN) && !is(ACK);
    (has_flags && !opens && facts.text(VERDICT) != Some("DROPPED")).then_some("packets within a connection")
}

fn denied_by(facts: &Slots<'_>) -> Option<Cow<'static, str>> {
    DENIED_BY.iter().find_map(|slot| facts.of(*slot).list().first().map(|name| Cow::Owned(name.to_string())))
}

fn caller<'l>(facts: &mut Slots<'l>, has_address: bool) -> (Caller<'l>, Grade) {
    let label = Label::of(facts, SOURCE);
    let is_known = label.account.is_some() || label.names.iter().any(Option::is_some);
    if is_known {
        return (Caller::Label { namespace: label.namespace, account: label.account, names: label.names }, Grade::C);
    }
    match label.reserved {
        Some(name) => (Caller::Name(name), Grade::D),
        None => (Caller::Unnamed, if has_address { Grade::D } else { Grade::E }),
    }
}

fn callee<'l>(facts: &mut Slots<'l>) -> Callee<'l> {
    let ip = facts.text(DESTINATION_IP).and_then(ip);
    let label = Label::of(facts, DESTINATION);
    let name = facts.of(DESTINATION_NAMES).list().first().cloned();
    let [first, second] = label.names;
    Callee { id: None, namespace: label.namespace, account: label.account, names: [first, second, name, label.reserved], ip }
}

/// What labels say of one end.
struct Label<'l> {
    namespace: Option<Cow<'l, str>>,
    account: Option<Cow<'l, str>>,
    names: [Option<Cow<'l, str>>; 2],
    reserved: Option<Cow<'l, str>>,
}

impl<'l> Label<'l> {
    fn of(facts: &mut Slots<'l>, ends: Ends) -> Self {
        let labels = facts.of(ends.labels).list().to_vec();
        let find = |keys: &[&str]| {
            keys.iter().find_map(|key| {
                labels.iter().find_map(|label| label.strip_prefix("k8s:")?.strip_prefix(key)?.strip_prefix('=').map(str::to_owned))
            })
        };
        let workload = facts.of(ends.workload).list().first().cloned();
        let pod = facts.take(ends.pod);
        let app = find(&["app.kubernetes.io/name", "app", "k8s-app"]).map(Cow::Owned);
        let names = match (app, workload) {
            (Some(app), workload) => [Some(app), workload],
            (None, Some(workload)) => [Some(workload), None],
            (None, None) => [pod, None],
        };
        Self {
            namespace: facts.take(ends.namespace).or_else(|| find(&["io.kubernetes.pod.namespace"]).map(Cow::Owned)),
            account: find(&["io.cilium.k8s.policy.serviceaccount"]).map(Cow::Owned),
            names,
            reserved: labels.iter().find(|label| label.starts_with("reserved:")).cloned(),
        }
    }
}

/// Reasons of drops that a policy made.
const POLICY_DROPS: [&str; 4] = ["POLICY_DENIED", "POLICY_DENY", "AUTH_REQUIRED", "DENIED_BY_LB_SRC_RANGE_CHECK"];
