//! Real lines of many meshes, and what is read of them.

use std::collections::BTreeMap;

use super::adapter::Adapter;
use super::mapping::Mapping;
use super::recognise::{Recognised, recognise};
use super::seen::{Caller, Did, Read, Reporter};
use super::{Format, Reading};

/// What was read, in one line: grade and caller, side, callee's names, what was asked, what was done.
fn told(read: &Read<'_>) -> String {
    let seen = match read {
        Read::Request(seen) => seen,
        Read::Other(what) => return format!("other: {what}"),
        Read::Lost(n) => return format!("lost: {n}"),
        Read::Bad(why) => return format!("bad: {why}"),
    };
    let caller = match &seen.caller {
        Caller::Id(id) => id.to_string(),
        Caller::Label { namespace, account, names } => format!(
            "{}/{} {}",
            namespace.as_deref().unwrap_or("?"),
            account.as_deref().unwrap_or("?"),
            names.iter().flatten().map(|n| &**n).collect::<Vec<_>>().join(",")
        ),
        Caller::Name(name) => format!("name {name}"),
        Caller::Unnamed => "unnamed".to_owned(),
    };
    let side = if seen.reporter == Reporter::Outbound { "->" } else { "=>" };
    let callee = &seen.callee;
    let names: Vec<&str> = callee.id.iter().chain(callee.names.iter().flatten()).map(|n| &**n).collect();
    let did = match &seen.did {
        Did::Allowed => "allowed".to_owned(),
        Did::Denied(None) => "denied".to_owned(),
        Did::Denied(Some(policy)) => format!("denied by {policy}"),
        Did::Unknown => "unknown".to_owned(),
    };
    let asked = match (&seen.method, &seen.path, seen.port) {
        (Some(method), path, _) => format!("{method} {}", path.as_deref().unwrap_or("?")),
        (None, _, Some(port)) => format!("port {port}"),
        _ => "nothing".to_owned(),
    };
    let tls = seen.tls.as_ref().map(|t| format!(" {}", t.version)).unwrap_or_default();
    format!("{} {caller} {side} {} {asked}{tls} {did}", seen.grade, names.join(","))
}

const BOOKINFO: &str = r#"{"requested_server_name":null,"path":"/reviews/0","user_agent":"Mozilla/5.0","downstream_local_address":"10.110.231.110:9080","start_time":"2021-08-29T10:19:39.660Z","protocol":"HTTP/1.1","upstream_service_time":"8","duration":8,"request_id":"6f867212-d7cf-4c68-9468-6fbc5f927335","x_forwarded_for":null,"response_flags":"-","bytes_received":0,"upstream_local_address":"10.1.0.223:34460","bytes_sent":295,"authority":"reviews:9080","connection_termination_details":null,"downstream_remote_address":"10.1.0.223:42980","upstream_host":"10.1.0.227:9080","response_code_details":"via_upstream","upstream_transport_failure_reason":null,"method":"GET","route_name":"default","upstream_cluster":"outbound|9080||reviews.default.svc.cluster.local","response_code":200}"#;
const AUDITED: &str = r#"{"response_code":"403","response_code_details":"rbac_access_denied_matched_policy[none]","start_time":"2026-11-22T10:00:00.000Z","downstream_peer_uri_san":"spiffe://cluster.local/ns/shop/sa/web","downstream_local_uri_san":"spiffe://cluster.local/ns/shop/sa/items","downstream_tls_version":"TLSv1.3","downstream_tls_cipher":"TLS_AES_128_GCM_SHA256","upstream_cluster":"inbound|8080||","method":"POST","path":"/v1/items?x=1","authority":"items:8080","downstream_remote_address":"10.0.0.7:40000","downstream_local_address":"10.0.0.8:8080","request_id":"r-1","response_flags":"-","requested_server_name":"outbound_.8080_._.items.shop.svc.cluster.local","route_name":"default"}"#;
const HUBBLE_L4: &str = r#"{"time":"2022-05-26T18:38:46.709177464Z","verdict":"FORWARDED","IP":{"source":"10.40.1.224","destination":"10.148.0.92","ipVersion":"IPv4"},"l4":{"TCP":{"source_port":59380,"destination_port":32001,"flags":{"ACK":true}}},"source":{"ID":3884,"identity":3195,"namespace":"flink","labels":["k8s:app=flink","k8s:io.cilium.k8s.policy.serviceaccount=default"],"pod_name":"flink-0","workloads":[{"name":"flink","kind":"StatefulSet"}]},"destination":{"identity":6,"labels":["reserved:remote-node"]},"Type":"L3_L4","traffic_direction":"EGRESS","is_reply":false}"#;

/// Of two formats that may both fit it counts which one fitted the line before: what was found elsewhere holds only where that was the same.
#[test]
fn a_line_of_text_was_read_as_it_would_be_here_where_the_same_format_was_tried_first() {
    let mut adapter = Adapter::of(Format::EnvoyText, &Reading::default()).unwrap();
    let line = br#"[2026-10-09T08:05:55.932Z] "GET /status/200 HTTP/1.1" 403 - rbac_access_denied_matched_policy[none] - "-" 0 19 0 - "-" "curl" "66146f25" "probe:8000" "-" inbound|8080|| - 10.244.0.14:8080 10.244.0.12:54616 outbound_.8080_._.probe.starfleet.svc.cluster.local default"#;
    let (read, step) = adapter.read_apart(line);
    assert!(matches!(read, Read::Request(_)));
    let step = step.unwrap();
    assert!(adapter.agrees(step));
    adapter.take_step(step);
    assert!(!adapter.agrees(step));
    let again = adapter.read_apart(line).1.unwrap();
    assert!(adapter.agrees(again) && again != step);
}

#[test]
fn real_lines_of_every_format() {
    let dropped = r#"{"flow":{"time":"2023-08-21T12:12:18.510175415Z","verdict":"DROPPED","IP":{"source":"10.244.1.60","destination":"10.244.1.5","ipVersion":"IPv4"},"l4":{"TCP":{"source_port":44916,"destination_port":80,"flags":{"SYN":true}}},"source":{"namespace":"default","pod_name":"xwing"},"destination":{"namespace":"default","pod_name":"deathstar-7848d6c4d5-th9v2"},"node_name":"kind-kind/kind-worker","drop_reason_desc":"POLICY_DENIED"},"node_name":"kind-kind/kind-worker","time":"2023-08-21T12:12:18.510175415Z"}"#;
    let icmp = r#"{"flow":{"time":"2023-08-21T12:12:13.517394084Z","verdict":"DROPPED","IP":{"source":"fe80::64d8:8aff:fe72:fc14","destination":"ff02::2","ipVersion":"IPv6"},"l4":{"ICMPv6":{"type":133}},"source":{},"destination":{},"node_name":"kind-kind/kind-worker","drop_reason_desc":"INVALID_SOURCE_IP"},"node_name":"kind-kind/kind-worker","time":"2023-08-21T12:12:13.517394084Z"}"#;
    let l7 = r#"{"flow":{"time":"2026-04-25T10:00:00Z","verdict":"DROPPED","traffic_direction":"INGRESS","source":{"labels":["k8s:app.kubernetes.io/name=frontend"],"namespace":"production"},"destination":{"labels":["k8s:app.kubernetes.io/name=api","k8s:io.cilium.k8s.policy.serviceaccount=api"],"namespace":"production"},"l4":{"TCP":{"destination_port":8080}},"l7":{"type":"REQUEST","http":{"method":"GET","url":"http://api:8080/api/v1/users?x=1"}},"ingress_denied_by":[{"name":"only-reads","namespace":"production"}]}}"#;
    let lost =
        r#"{"lost_events":{"source":"HUBBLE_RING_BUFFER","num_events_lost":"12","cpu":0},"node_name":"n","time":"2026-04-25T10:00:00Z"}"#;
    let opa = r#"{"decision_id":"1df154b5","input":{"attributes":{"destination":{"address":{"socketAddress":{"address":"10.0.16.44","portValue":14001}}},"request":{"http":{"headers":{":authority":"bookstore.bookstore:14001","x-request-id":"69b80716"},"host":"bookstore.bookstore:14001","method":"GET","path":"/books-bought","protocol":"HTTP/1.1"}},"source":{"address":{"socketAddress":{"address":"10.244.2.10","portValue":53488}}}}},"msg":"Decision Log","path":"envoy/authz/allow","result":false,"time":"2021-05-04T01:21:18Z","timestamp":"2021-05-04T01:21:18.1971808Z"}"#;
    let ztunnel = "2024-04-12T14:25:33.985405Z\tinfo\taccess\tconnection complete\tsrc.addr=10.244.0.16:59115 src.workload=productpage-v1-87d54dd59-p4c4f src.namespace=bookinfo src.identity=\"spiffe://cluster.local/ns/bookinfo/sa/bookinfo-productpage\" dst.addr=10.244.0.14:9080 dst.hbone_addr=\"10.244.0.14:9080\" dst.service=reviews.bookinfo.svc.cluster.local dst.workload=reviews-v3-7d99fd7978-qfjpc dst.namespace=reviews dst.identity=\"spiffe://cluster.local/ns/bookinfo/sa/bookinfo-reviews\" direction=\"inbound\" bytes_sent=599 bytes_recv=200 duration=\"6ms\"";
    let rejected = r#"{"level":"error","time":"2026-08-01T10:00:00.000000Z","scope":"access","message":"connection complete","src.addr":"10.244.1.6:42020","src.workload":"reviews-v1","src.namespace":"default","dst.addr":"10.244.1.9:15008","dst.hbone_addr":"10.244.1.9:9080","dst.service":"productpage.default.svc.cluster.local","direction":"inbound","error":"connection closed due to policy rejection: allow policies exist, but none allowed"}"#;
    let linkerd = r#"{"client.addr":"10.42.0.70:32996","client.id":"traffic.booksapp.serviceaccount.identity.linkerd.cluster.local","host":"webapp:7000","method":"GET","processing_ns":"39826","request_bytes":"","response_bytes":"19627","status":200,"timestamp":"2022-08-23T20:33:42.321746212Z","total_ns":"14441135","trace_id":"","uri":"http://webapp:7000/books","user_agent":"Go-http-client/1.1","version":"HTTP/2.0"}"#;
    let waypoint = r#"2025-01-30T12:10:13.682034460Z [2025-01-30T12:10:13.279Z] "GET /details/0 HTTP/1.1" 200 - via_upstream - "-" 0 178 0 0 "-" "Go-http-client/1.1" "e7d5b6ce" "details:9080" "envoy://connect_originate/10.244.0.32:9080" inbound-vip|9080|http|details.bookinfo.svc.cluster.local envoy://internal_client_address/ 10.96.185.196:9080 10.244.0.37:52134 - default"#;
    let denied = r#"[2026-10-09T08:05:55.932Z] "GET /status/200 HTTP/1.1" 403 - rbac_access_denied_matched_policy[ns[starfleet]-policy[probe-deny-status]-rule[0]] - "-" 0 19 0 - "-" "curl/8.11.1" "66146f25" "probe:8000" "-" inbound|8080|| - 10.244.0.14:8080 10.244.0.12:54616 outbound_.8000_._.probe.starfleet.svc.cluster.local default"#;
    let kuma = "[2026-10-09T08:05:55.932Z] - default 10.0.0.1(web_shop_svc_80)->10.0.0.2:5432(db_shop_svc_5432) took 12ms, sent 7 bytes, received: 9 bytes";
    let message =
        "[2021-03-12 15:31:30.492][1][warning][runtime] [source/common/runtime/runtime_features.cc:31] Unable to use runtime singleton";
    let cases: [(Format, &str, &str); 18] = [
        (Format::IstioJson, BOOKINFO, "D unnamed -> reviews.default.svc.cluster.local,reviews:9080 GET /reviews/0 allowed"),
        (
            Format::IstioJson,
            AUDITED,
            "A spiffe://cluster.local/ns/shop/sa/web => spiffe://cluster.local/ns/shop/sa/items,items.shop.svc.cluster.local,items:8080 POST /v1/items?x=1 TLSv1.3 denied",
        ),
        (
            Format::IstioText,
            denied,
            "D unnamed => probe.starfleet.svc.cluster.local,probe:8000 GET /status/200 denied by ns[starfleet]-policy[probe-deny-status]-rule[0]",
        ),
        (Format::IstioText, waypoint, "D unnamed => details.bookinfo.svc.cluster.local,details:9080 GET /details/0 allowed"),
        (Format::EnvoyText, message, "other: messages of the proxy itself"),
        (Format::Kuma, kuma, "C name web.shop -> db.shop port 5432 allowed"),
        (
            Format::LinkerdJson,
            linkerd,
            "B traffic.booksapp.serviceaccount.identity.linkerd.cluster.local => webapp:7000 GET /books allowed",
        ),
        (
            Format::Ztunnel,
            ztunnel,
            "C spiffe://cluster.local/ns/bookinfo/sa/bookinfo-productpage => spiffe://cluster.local/ns/bookinfo/sa/bookinfo-reviews,reviews.bookinfo.svc.cluster.local,reviews-v3-7d99fd7978-qfjpc port 9080 allowed",
        ),
        (Format::Ztunnel, rejected, "D default/? reviews-v1 => productpage.default.svc.cluster.local port 9080 denied"),
        (Format::Ztunnel, "2024-04-12T10:17:44.080629Z\tinfo\tproxy\tstarted", "other: messages of the proxy itself"),
        (Format::Hubble, HUBBLE_L4, "other: packets within a connection"),
        (Format::Hubble, dropped, "C default/? xwing => deathstar-7848d6c4d5-th9v2 port 80 denied"),
        (Format::Hubble, icmp, "other: messages without a port (ICMP and the like)"),
        (Format::Hubble, l7, "C production/? frontend => api GET /api/v1/users?x=1 denied by only-reads"),
        (Format::Hubble, lost, "lost: 12"),
        (Format::Opa, opa, "D unnamed => bookstore.bookstore:14001 GET /books-bought denied"),
        (Format::Opa, r#"{"level":"info","msg":"Initializing server.","time":"2021-05-04T01:21:18Z"}"#, "other: messages of OPA itself"),
        (Format::IstioJson, r#"{"start_time":"-","response_code":200}"#, "bad: there is no time in it that could be read"),
    ];
    let reading = Reading::default();
    let mut wrong = Vec::new();
    for (format, line, want) in cases {
        let mut adapter = Adapter::of(format, &reading).unwrap();
        let got = told(&adapter.read(line.as_bytes()));
        if got != want {
            wrong.push(format!("{format}: {line}\n  got  {got}\n  want {want}"));
        }
        let recognised = recognise([line.as_bytes()], &reading);
        let is_of = matches!(&recognised, Recognised::Format(found) if *found == format);
        if !is_of && !want.starts_with("other: messages of") && !want.starts_with("bad") {
            wrong.push(format!("{format} is taken for {recognised:?}: {line}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn keys_in_any_order_and_numbers_in_any_dress_say_the_same() {
    let object: BTreeMap<String, serde_json::Value> = serde_json::from_str(AUDITED).unwrap();
    let mut adapter = Adapter::of(Format::IstioJson, &Reading::default()).unwrap();
    let want = told(&adapter.read(AUDITED.as_bytes()));
    let keys: Vec<&String> = object.keys().collect();
    for shift in 0..keys.len() {
        let mut parts: Vec<String> = (0..keys.len())
            .map(|n| keys[(n * 7 + shift) % keys.len()])
            .map(|key| {
                format!(
                    "{}: {}",
                    serde_json::json!(key),
                    if key == "response_code" && shift % 2 == 0 { "403".into() } else { object[key].to_string() }
                )
            })
            .collect();
        parts.insert(shift, r#""an_extra_key": {"with": ["anything", null, {"method": "PUT"}]}"#.to_owned());
        let line = format!("{{{}}}", parts.join(" , "));
        assert_eq!(told(&adapter.read(line.as_bytes())), want, "{line}");
    }
    for absent in ["null", r#""-""#, r#""""#] {
        let line = AUDITED.replace(r#""spiffe://cluster.local/ns/shop/sa/web""#, absent);
        assert!(told(&adapter.read(line.as_bytes())).starts_with("D unnamed =>"), "{line}");
    }
}

#[test]
fn what_the_proxy_did_is_told_only_where_it_says_so() {
    let mut adapter = Adapter::of(Format::EnvoyJson, &Reading::default()).unwrap();
    for (facts, want) in [
        (r#""response_code":403,"response_code_details":"rbac_access_denied_matched_policy[none]""#, "denied"),
        (r#""response_code":403,"response_code_details":"rbac_access_denied""#, "denied"),
        (r#""response_code":403,"response_code_details":"ext_authz_denied""#, "denied"),
        (r#""response_code":403,"response_flags":"UAEX""#, "denied"),
        (r#""response_code":401,"response_code_details":"jwt_authn_access_denied{Jwt_is_expired}""#, "denied"),
        // The application's own answer, seen by its own proxy.
        (r#""response_code":403,"response_code_details":"via_upstream""#, "allowed"),
        // The same seen by the caller's proxy, or without details: nobody can tell.
        (r#""response_code":403,"response_code_details":"via_upstream","upstream_cluster":"outbound|80||items""#, "unknown"),
        (r#""response_code":403"#, "unknown"),
        (r#""response_code":503,"response_flags":"UF""#, "allowed"),
        (r#""response_code":0,"connection_termination_details":"rbac_access_denied_matched_policy[none]""#, "denied"),
        (r#""response_code":0,"response_flags":"DPE""#, "unknown"),
        (r#""response_code":200"#, "allowed"),
        (r#""response_code":400,"response_code_details":"path_normalization_failed","upstream_cluster":null"#, "denied"),
        (r#""response_code":404,"response_code_details":"route_not_found","upstream_cluster":null"#, "unknown"),
        (r#""response_code":503,"response_code_details":"no_healthy_upstream","upstream_cluster":"inbound|80||""#, "allowed"),
    ] {
        let line = format!(r#"{{"start_time":"2026-11-22T10:00:00Z",{facts}}}"#);
        let told = told(&adapter.read(line.as_bytes()));
        assert!(told.ends_with(&format!(" {want}")), "{line}: {told}");
    }
}

#[test]
fn what_an_address_is_is_told_as_far_as_the_line_says_it() {
    let text = "%START_TIME% %DOWNSTREAM_DIRECT_REMOTE_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%";
    let given = Reading { text: Some(super::text::TextFormat::parse(text).unwrap()), ..Reading::default() };
    let json = |facts: &str| format!(r#"{{"start_time":"2026-11-22T10:00:00Z","response_code":200{facts}}}"#);
    let (remote, direct) = (r#","downstream_remote_address":"10.0.0.7:1""#, r#","downstream_direct_remote_address":"10.0.0.8:2""#);
    let kuma = "[2026-10-09T08:05:55.932Z] - default 10.0.0.1(unknown)->10.0.0.2:5432(db_shop_svc_5432) took 12ms, sent 7 bytes, received: 9 bytes";
    for (format, line, want) in [
        (Format::EnvoyJson, json(remote), Some("address 10.0.0.7 (peer or forwarded)")),
        (Format::EnvoyJson, json(direct), Some("address 10.0.0.8 (peer)")),
        (Format::EnvoyJson, json(&format!("{direct}{remote}")), Some("address 10.0.0.7 (forwarded by 10.0.0.8)")),
        (Format::EnvoyJson, json(&format!("{remote}{}", direct.replace("0.8", "0.7"))), Some("address 10.0.0.7 (peer)")),
        (Format::EnvoyJson, json(&format!("{remote}{}", direct.replace("10.0.0.8:2", "-"))), Some("address 10.0.0.7 (peer or forwarded)")),
        (Format::EnvoyJson, json(&remote.replace("10.0.0.7:1", "[::ffff:10.0.0.7]:1")), Some("address 10.0.0.7 (peer or forwarded)")),
        (Format::EnvoyJson, json(&remote.replace("10.0.0.7:1", "::ffff:10.0.0.7")), Some("address 10.0.0.7 (peer or forwarded)")),
        (Format::EnvoyJson, json(&remote.replace("10.0.0.7:1", "[fe80::1%eth0]:1")), Some("address fe80::1 (peer or forwarded)")),
        (Format::EnvoyJson, json(&remote.replace("10.0.0.7:1", "[2001:DB8:0::7]:1")), Some("address 2001:db8::7 (peer or forwarded)")),
        (Format::EnvoyJson, json(&remote.replace("10.0.0.7:1", "[2001:db8::7")), None),
        (Format::EnvoyJson, json(""), None),
        (Format::EnvoyText, "2026-10-09T08:05:55Z 10.0.0.8:2 10.0.0.7".to_owned(), Some("address 10.0.0.7 (forwarded by 10.0.0.8)")),
        (Format::Kuma, kuma.to_owned(), Some("address 10.0.0.1 (KUMA_SOURCE_ADDRESS)")),
    ] {
        let reading = if format == Format::EnvoyText { &given } else { &Reading::default() };
        let mut adapter = Adapter::of(format, reading).unwrap();
        let Read::Request(seen) = adapter.read(line.as_bytes()) else { panic!("{line}") };
        assert_eq!(seen.caller, Caller::Unnamed, "{line}");
        assert_eq!(seen.caller_ip.map(|ip| seen.caller_ip_of.name(ip)).as_deref(), want, "{line}");
    }
}

#[test]
fn two_formats_or_none_at_the_head_of_a_log() {
    let own = r#"{"v":1,"seq":0,"prev":"sha256:00","event":"started"}"#;
    let reading = Reading::default();
    let of = |lines: &[&str]| recognise(lines.iter().map(|l| l.as_bytes()), &reading);
    assert_eq!(of(&["e\":1}", BOOKINFO, "nonsense"]), Recognised::Format(Format::IstioJson));
    assert_eq!(of(&[own, BOOKINFO]), Recognised::Several((Format::Portreeve, 1), (Format::IstioJson, 2)));
    assert_eq!(of(&["nonsense", "{}"]), Recognised::Nothing);
    assert_eq!(of(&[]), Recognised::Empty);
    assert_eq!(of(&[""]), Recognised::Empty);
    assert_eq!(of(&[r#"{"start_time":"x","response_code":1}"#, BOOKINFO]), Recognised::Format(Format::IstioJson));
}

/// Reads lines by a mapping.
fn mapped(mapping: &str, lines: &[&str]) -> (Vec<String>, u64) {
    let mapping = Mapping::parse("m.yaml", mapping).unwrap_or_else(|found| panic!("{found:?}"));
    let reading = Reading::of(mapping);
    let mut adapter = Adapter::of(reading.format.unwrap(), &reading).unwrap();
    let read = lines.iter().map(|line| told(&adapter.read(line.as_bytes()))).collect();
    (read, adapter.take_lost())
}

#[test]
fn logs_of_ones_own_are_read_by_a_mapping() {
    let nginx = "format: nginx-json\ncallee: items\ngrade: B\nfields: {time: time_iso8601, caller: ssl_client_san, caller_address: remote_addr, method: request_method, path: request_uri, status: status, request_id: request_id, tls_version: ssl_protocol, tls_suite: ssl_cipher}\nstatuses: {denied: [403], unknown: [401]}\n";
    let (read, _) = mapped(
        nginx,
        &[
            r#"{"time_iso8601":"2026-11-22T10:00:00+00:00","remote_addr":"10.0.0.7","request_method":"GET","request_uri":"/v1/items/1","status":"200","ssl_client_san":"spiffe://market.example/ns/shop/sa/web","ssl_protocol":"TLSv1.3","ssl_cipher":"TLS_AES_128_GCM_SHA256","request_id":"r1"}"#,
            r#"{"time_iso8601":"2026-11-22T10:00:00+00:00","remote_addr":"10.0.0.7","request_method":"GET","request_uri":"/v1/items/1","status":403,"ssl_client_san":""}"#,
            r#"{"time_iso8601":"2026-11-22T10:00:00+00:00","status":401}"#,
        ],
    );
    assert_eq!(read[0], "B spiffe://market.example/ns/shop/sa/web => items GET /v1/items/1 TLSv1.3 allowed");
    assert_eq!(read[1], "D unnamed => items GET /v1/items/1 denied");
    assert_eq!(read[2], "E unnamed => items nothing unknown");
    let csv = "lines: csv\ngrade: C\nfields: {time: when, caller: who, callee: what, method: verb, path: where, result: answer, sequence: no}\nresults: {allowed: [ok], denied: [no], ignored: [ping], lost: [gap]}\n";
    let (read, lost) = mapped(
        csv,
        &[
            "no,when,who,what,verb,where,answer",
            r#"1,2026-11-22T10:00:00Z,web,items,GET,"/a,b",ok"#,
            "5,1790000000,web,items,GET,/x,no",
            "6,1790000000,web,items,GET,/x,maybe",
            "7,1790000000,web,items,GET,/x,ping",
            "8,1790000000,web,items,GET,/x,gap",
            "9,1790000000,web",
        ],
    );
    assert_eq!(lost, 3);
    assert_eq!(
        read,
        [
            "other: heads of columns",
            "C name web => items GET /a,b allowed",
            "C name web => items GET /x denied",
            "C name web => items GET /x unknown",
            "other: lines that the mapping passes over",
            "lost: 1",
            "bad: it has 3 values, and there are 7 columns"
        ]
    );
    let flow = "lines: words\ncolumns: [version, account, eni, src, dst, srcport, dstport, protocol, packets, bytes, start, end, action, status]\nfields: {time: start, caller_address: src, callee_address: dst, port: dstport, result: action, note: status}\nresults: {allowed: ACCEPT, denied: REJECT, ignored: NODATA, lost: SKIPDATA}\n";
    let (read, _) = mapped(
        flow,
        &[
            "2 123456789010 eni-1235b8ca123456789 172.31.16.139 172.31.16.21 20641 22 6 20 4249 1418530010 1418530070 REJECT OK",
            "2 123456789010 eni-1235b8ca123456789 - - - - - - - 1431280876 1431280934 - NODATA",
            "2 123456789010 eni-1235b8ca123456789 - - - - - - - 1431280876 1431280934 - SKIPDATA",
        ],
    );
    assert_eq!(read, ["D unnamed =>  port 22 denied", "other: lines that the mapping passes over", "lost: 1"]);
}
