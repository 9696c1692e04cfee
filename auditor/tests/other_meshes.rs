//! What the logs of other meshes say of callers and their certificates, and what an assessment makes of it: read from the lines once more
//! here, by their words alone.

#![cfg(test)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use portreeve_auditor::foreign::{Format, Mapping, Reading};
use portreeve_auditor::{Assessment, Audit, LogSource};
use portreeve_engine::{Authorizer, Bundle, SourceFile, SpiffeId};
use serde_json::Value;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus/logs")
}

fn law(folder: &str) -> Authorizer {
    let name = if folder.ends_with("policies") { "shop.yaml" } else { "policy.yaml" };
    let bytes = std::fs::read(corpus().join(folder).join(name)).unwrap();
    let file = SourceFile { path: "policy.yaml".to_owned(), bytes };
    Authorizer::compile(&Bundle::from_files(folder, vec![file]).unwrap()).authorizer.unwrap()
}

fn audit(policies: &str, bytes: Vec<u8>, reading: Reading) -> Assessment {
    let logs = [LogSource::Memory { name: "log".to_owned(), bytes }];
    Audit::new(vec![(policies.to_owned(), law(policies))]).logs(logs).reading(reading).run(&mut |_| {}).unwrap()
}

fn recorded(name: &str) -> Vec<u8> {
    std::fs::read(corpus().join(format!("envoy-recorded/{name}.ndjson.zst"))).unwrap()
}

/// Every set of the corpus that is another mesh's, audited.
fn all() -> Vec<(&'static str, Assessment)> {
    let mut out = Vec::new();
    for file in [
        "envoy/access.log",
        "istio/waypoint.log",
        "istio/access.json",
        "ztunnel/ztunnel.log",
        "hubble/docs.jsonl",
        "hubble/hipstershop.jsonl",
        "opa/decisions.jsonl",
        "mapped/flows.csv",
    ] {
        let folder = file.split('/').next().unwrap();
        let mapping = std::fs::read_to_string(corpus().join(folder).join("mapping.yaml"));
        let reading = mapping.map(|text| Reading::of(Mapping::parse("mapping.yaml", &text).unwrap())).unwrap_or_default();
        out.push((file, audit(folder, std::fs::read(corpus().join(file)).unwrap(), reading)));
    }
    for name in ["istio", "recommended"] {
        out.push((name, audit("envoy-recorded/policies", recorded(name), Reading::default())));
    }
    out
}

#[test]
fn a_caller_known_by_its_address_alone_is_called_so_and_looks_like_no_identity() {
    let all = all();
    let mut addresses = 0;
    for (set, a) in &all {
        for edge in a.edges.iter().filter(|edge| edge.from.is_none() && edge.from_id.is_none()) {
            let Some(name) = &edge.from_name else { continue };
            assert!(name.parse::<SpiffeId>().is_err() && name.parse::<std::net::IpAddr>().is_err(), "{set}: {name}");
            let is_address = name.split([' ', '/', '(', ')']).any(|word| word.parse::<std::net::IpAddr>().is_ok());
            assert_eq!(is_address, name.starts_with("address "), "{set}: {name}");
            addresses += usize::from(is_address);
        }
        // Nor in what findings are about.
        for finding in a.findings.iter().filter(|f| f.subject.contains(" → ")) {
            let from = finding.subject.split(" → ").next().unwrap();
            assert!(from.parse::<std::net::IpAddr>().is_err(), "{set}: {}", finding.id);
        }
    }
    assert!(addresses > 8, "{addresses}");
    let names: BTreeSet<&str> = all.iter().flat_map(|(_, a)| a.edges.iter().filter_map(|edge| edge.from_name.as_deref())).collect();
    // Without the address of the peer beside it nobody can tell what Envoy believed.
    for name in
        ["address 127.0.0.1 (peer or forwarded)", "address 10.244.2.10 (source.address)", "address 192.0.2.50 (as mapped)", "default/xwing"]
    {
        assert!(names.contains(name), "{name}: {names:?}");
    }
}

#[test]
fn what_nothing_grants_and_what_policy_denies_are_named_alike() {
    let mut both = 0;
    for (set, a) in all() {
        let mut by_line: BTreeMap<u64, BTreeSet<&str>> = BTreeMap::new();
        let named = |check: &str| -> BTreeMap<&str, u64> {
            a.findings.iter().filter(|f| f.check == check).map(|f| (f.subject.as_str(), f.count)).collect()
        };
        for finding in a.findings.iter().filter(|f| ["shadow_edge", "unlawful_access"].contains(&&*f.check)) {
            for place in &finding.evidence {
                by_line.entry(place.line).or_default().insert(&finding.subject);
            }
        }
        for (line, subjects) in by_line {
            assert_eq!(subjects.len(), 1, "{set}: line {line} is {subjects:?}");
        }
        // No policy here hangs on anything but who asks for what, so what is denied is granted by nothing. Paths that can be read in two ways
        // are granted by nothing either, and policy is not asked about them: they have a name of their own.
        let mut shadow = named("shadow_edge");
        let all = shadow.len();
        shadow.retain(|subject, _| !subject.ends_with("paths that can be read in two ways"));
        assert_eq!((shadow.len(), set == "recommended"), (named("unlawful_access").len(), shadow.len() < all), "{set}");
        assert_eq!(shadow, named("unlawful_access"), "{set}");
        both += all;
    }
    assert!(both > 5, "{both}");
}

#[test]
fn the_inventory_says_who_issued_what_envoy_wrote_down() {
    let bytes = recorded("recommended");
    let text = String::from_utf8(zstd::decode_all(&*bytes).unwrap()).unwrap();
    let mut issuers: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut certificates: BTreeMap<String, (String, u64)> = BTreeMap::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let Some(id) = line["downstream_peer_uri_san"].as_str() else { continue };
        let of = |key: &str| line[key].as_str().unwrap().to_owned();
        issuers.entry(id.to_owned()).or_default().insert(of("downstream_peer_issuer"));
        let digest = format!("sha256:{}", of("downstream_peer_fingerprint_256"));
        certificates.entry(digest).or_insert_with(|| (of("downstream_peer_serial"), 0)).1 += 1;
    }
    assert!(issuers.len() > 5 && certificates.len() > 5);
    let a = audit("envoy-recorded/policies", bytes, Reading::default());
    let told = a.certificates.iter().map(|c| (c.sha256.to_string(), (c.serial.clone(), c.requests))).collect::<BTreeMap<_, _>>();
    assert_eq!(told, certificates);
    let inventory = serde_json::to_value(&a.analyses.certificates.entries).unwrap();
    let told: BTreeMap<String, BTreeSet<String>> = inventory
        .as_array()
        .unwrap()
        .iter()
        .map(|e| (e["id"].as_str().unwrap().to_owned(), serde_json::from_value(e["issuers"].clone()).unwrap()))
        .collect();
    assert_eq!(told, issuers);
    // No operator of Envoy tells the kind of a key, and the report says that it is missing.
    let fit = a.reads.fitness.first().unwrap();
    assert!(fit.lacks.iter().any(|l| l.contains("kind of key")) && !fit.lacks.iter().any(|l| l.contains("issuer")), "{:?}", fit.lacks);
    // Of lines without it both are, with what to add.
    let without = text.replace("\"downstream_peer_issuer\"", "\"something_else\"").into_bytes();
    let a = audit("envoy-recorded/policies", without, Reading::default());
    let fit = a.reads.fitness.first().unwrap();
    assert!(fit.lacks.iter().any(|l| l == "the issuer of the caller's certificate"), "{:?}", fit.lacks);
    assert!(fit.snippet.as_ref().unwrap().contains("%DOWNSTREAM_PEER_ISSUER%"));
}

#[test]
fn issuer_and_key_come_by_mapping_too() {
    let mapping = "format: haproxy-json\ncallee: ratings\ngrade: B\nfields: {time: t, caller: san, method: m, path: p, status: s, tls_version: v, tls_suite: c, certificate_sha256: fp, certificate_end: end, certificate_serial: n, certificate_issuer: ca, certificate_key: alg}\n";
    let line = |second: u32, serial: &str, issuer: &str, key: &str| {
        format!(
            r#"{{"t":"2026-11-22T10:00:{second:02}Z","san":"spiffe://cluster.local/ns/bookinfo/sa/bookinfo-reviews","m":"GET","p":"/ratings/0","s":200,"v":"TLSv1.3","c":"TLS_AES_128_GCM_SHA256","fp":"{:064}","end":"2026-11-23T10:00:00Z","n":"{serial}","ca":"{issuer}","alg":"{key}"}}"#,
            7
        )
    };
    // Lines that say less stand beside lines that say more, in any order.
    let lines = [line(1, "-", "-", "-"), line(2, "1f", "-", "RSA 1024"), line(3, "-", "CN=old CA", "-"), line(4, "1f", "", "")];
    for shift in 0..lines.len() {
        let log: String = (0..lines.len()).map(|n| lines[(n + shift) % lines.len()].clone() + "\n").collect();
        let reading = Reading::of(Mapping::parse("m.yaml", mapping).unwrap());
        assert_eq!(reading.format, Some(Format::HaproxyJson));
        let a = audit("istio", log.into_bytes(), reading);
        let entry = &a.analyses.certificates.entries[0];
        assert_eq!((entry.issuers.as_slice(), entry.algorithms.as_slice()), (&["CN=old CA".to_owned()][..], &["RSA 1024".to_owned()][..]));
        assert_eq!((a.certificates[0].serial.as_str(), a.certificates[0].requests), ("1f", 4));
        let weak = a.findings.iter().find(|f| f.check == "weak_tls").unwrap();
        assert!(weak.subject.ends_with("RSA 1024") && weak.count == 4, "{}", weak.subject);
    }
}

/// One connection over TCP to the database, as a proxy writes it: the calling one, or the called one.
fn connection(caller: &str, port: u16, second: u32, is_outbound: bool, denied: bool) -> String {
    let (from, to) = (format!("10.0.1.7:{port}"), "10.0.3.5:5432");
    let id = |name: &str| format!("spiffe://shop.example/ns/shop/sa/{name}");
    let own = if is_outbound {
        serde_json::json!({
            "upstream_cluster": "outbound|5432||db.shop.svc.cluster.local", "upstream_host": to, "upstream_local_address": from,
            "downstream_local_address": "10.96.0.9:5432", "downstream_remote_address": "10.0.1.7:33333",
            "upstream_local_uri_san": id(caller), "upstream_peer_uri_san": id("db"),
        })
    } else {
        serde_json::json!({
            "upstream_cluster": "inbound|5432||", "upstream_host": "127.0.0.1:5432", "upstream_local_address": "127.0.0.6:40001",
            "downstream_local_address": to, "downstream_remote_address": from,
            "downstream_peer_uri_san": id(caller), "downstream_local_uri_san": id("db"),
            "requested_server_name": "outbound_.5432_._.db.shop.svc.cluster.local",
            "connection_termination_details": if denied { "rbac_access_denied_matched_policy[none]" } else { "-" },
        })
    };
    let mut line = serde_json::json!({
        "start_time": format!("2026-11-22T10:{:02}:{:02}.{}00Z", second / 60, second % 60, u8::from(!is_outbound)),
        "method": null, "path": null, "authority": null, "request_id": null, "response_code": 0, "response_flags": "-",
        "response_code_details": null, "bytes_sent": 7, "bytes_received": 9,
    });
    line.as_object_mut().unwrap().append(&mut own.as_object().unwrap().clone());
    line.to_string() + "\n"
}

#[test]
fn a_connection_over_tcp_that_both_proxies_of_envoy_wrote_down_counts_once() {
    let both = |caller: &str, port: u16, second: u32, denied: bool| {
        connection(caller, port, second, true, false) + &connection(caller, port, second, false, denied)
    };
    let counted = |log: String| {
        let a = audit("mapped", log.into_bytes(), Reading::default());
        let t = a.totals;
        assert_eq!(t.lines, t.decided + t.duplicates, "{t:?}");
        ((t.allowed, t.denied, t.duplicates, t.unlawful, t.overdenied), a)
    };
    let connection_lacks = |a: &Assessment| a.reads.fitness[0].lacks.iter().any(|l| l.starts_with("what tells a connection"));
    // Jobs may use the database, the web may not; who let it in broke the law, and who kept it out did not, whatever the caller's end saw.
    let (counts, a) = counted(both("jobs", 40_000, 1, false) + &both("web", 40_001, 2, false) + &both("web", 40_002, 3, true));
    assert_eq!(counts, (2, 1, 3, 1, 0));
    assert!(!connection_lacks(&a) && a.reads.uncompared == 0, "{:?}", a.reads.fitness[0].lacks);
    assert!(a.edges.iter().all(|e| e.to == "db" && e.operation.as_deref() == Some("sql")), "{:?}", a.edges);
    // The same ports an hour later are another connection, other ports are, too; what is written while it lasts is not.
    let lasting = connection("jobs", 40_000, 1, false, false);
    let (counts, _) =
        counted(both("jobs", 40_000, 1, false) + &lasting + &both("jobs", 40_000, 3_500, false) + &both("jobs", 40_001, 1, false));
    assert_eq!(counts, (3, 0, 4, 0, 0));
    // One end alone, each of another connection.
    let (counts, _) = counted(connection("jobs", 40_000, 1, true, false) + &connection("jobs", 40_001, 1, false, false));
    assert_eq!(counts, (2, 0, 0, 0, 0));
    // Where the calling side does not write from where it connected, both count; the report says so, and what to add.
    let (counts, a) = counted(both("jobs", 40_000, 1, false).replace("\"upstream_local_address\"", "\"something_else\""));
    assert_eq!(counts, (2, 0, 0, 0, 0));
    assert!(connection_lacks(&a) && a.reads.uncompared == 1, "{:?}", a.reads.fitness[0].lacks);
    assert!(a.reads.fitness[0].snippet.as_ref().unwrap().contains("%UPSTREAM_LOCAL_ADDRESS%"));
}

/// A caller that chooses the id of its request chooses that of another one's, and sends both at once: none is hidden by the other.
#[test]
fn a_request_is_not_hidden_behind_another_one_with_its_id() {
    let line = |caller: &str, denied: bool| {
        let (status, details) = if denied { (403, "rbac_access_denied_matched_policy[none]") } else { (200, "via_upstream") };
        let line = serde_json::json!({
            "start_time": "2026-11-26T14:48:10.670Z", "method": "GET", "path": "/v1/orders/167",
            "authority": "orders.shop.svc.cluster.local:8080", "request_id": "7c1e5a00-0000-4000-8000-000000000001",
            "upstream_cluster": "inbound|8080||", "response_code": status, "response_code_details": details, "response_flags": "-",
            "bytes_sent": 19, "bytes_received": 0, "downstream_peer_uri_san": format!("spiffe://shop.example/ns/shop/sa/{caller}"),
            "requested_server_name": "outbound_.8080_._.orders.shop.svc.cluster.local",
        });
        line.to_string() + "\n"
    };
    let counted = |lines: &[String]| {
        let t = audit("envoy-recorded/policies", lines.concat().into_bytes(), Reading::default()).totals;
        assert_eq!(t.lines, t.decided + t.duplicates, "{t:?}");
        (t.allowed, t.denied, t.duplicates)
    };
    let (kept_out, let_in) = (line("mallory", true), line("mallory", false));
    let lawful = line("checkout", false);
    // The same line again is the same request.
    assert_eq!(counted(&[let_in.clone(), let_in.clone()]), (1, 0, 1));
    assert_eq!(counted(&[let_in.clone(), kept_out.clone()]), (1, 1, 0));
    assert_eq!(counted(&[lawful.clone(), let_in.clone()]), (2, 0, 0));
    assert_eq!(counted(&[lawful.clone(), kept_out.clone(), let_in.clone(), kept_out, lawful, let_in]), (2, 1, 3));
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % n
    }
}

/// A flow as a node's Hubble writes it of the packet that opens a connection: at the caller's node, or at the callee's.
fn flow(at_ms: usize, port: usize, is_egress: bool, verdict: &str) -> String {
    let time = format!("2026-11-22T10:{:02}:{:02}.{:03}000000Z", at_ms / 60_000, at_ms / 1000 % 60, at_ms % 1000);
    let (direction, node) = if is_egress { ("EGRESS", "n1") } else { ("INGRESS", "n2") };
    let end = |name: &str| format!(r#"{{"namespace":"hipstershop","pod_name":"{name}-1","labels":["k8s:app={name}"]}}"#);
    format!(
        r#"{{"flow":{{"time":"{time}","verdict":"{verdict}","drop_reason_desc":"{}","IP":{{"source":"10.0.1.7","destination":"10.0.2.8"}},"l4":{{"TCP":{{"source_port":{port},"destination_port":3550,"flags":{{"SYN":true}}}}}},"source":{},"destination":{},"is_reply":false,"traffic_direction":"{direction}","node_name":"{node}"}},"node_name":"{node}","time":"{time}"}}"#,
        if verdict == "DROPPED" { "POLICY_DENIED" } else { "" },
        end("frontend"),
        end("productcatalogservice")
    ) + "\n"
}

/// A line of the ztunnel beside the caller, or of the one beside the callee.
fn tunnel(at_ms: usize, port: usize, is_outbound: bool, [sent, received]: [usize; 2], error: &str) -> String {
    let (direction, to, bytes) =
        if is_outbound { ("outbound", "10.0.2.8:15008", [sent, received]) } else { ("inbound", "10.0.2.8:9080", [received, sent]) };
    format!(
        "2026-11-22T10:{:02}:{:02}.{:03}000Z\tinfo\taccess\tconnection complete\tsrc.addr=10.0.1.7:{port} src.workload=productpage-1 src.namespace=bookinfo src.identity=\"spiffe://cluster.local/ns/bookinfo/sa/bookinfo-productpage\" dst.addr={to} dst.hbone_addr=10.0.2.8:9080 dst.service=reviews.bookinfo.svc.cluster.local dst.workload=reviews-1 dst.namespace=bookinfo dst.identity=\"spiffe://cluster.local/ns/bookinfo/sa/bookinfo-reviews\" direction=\"{direction}\" bytes_sent={} bytes_recv={} duration=\"6ms\"{error}\n",
        at_ms / 60_000,
        at_ms / 1000 % 60,
        at_ms % 1000,
        bytes[0],
        bytes[1]
    )
}

/// Connections that both nodes wrote down, or one of them; many of them alike and at nearly one time.
#[test]
fn a_connection_that_both_ends_wrote_down_is_one() {
    for (seed, policies) in [(0x5eed_0050, "hubble"), (0x5eed_0051, "ztunnel")] {
        println!("seed {seed:#x}");
        let mut random = Random(seed);
        for round in 0..6 {
            let (mut logs, mut both, mut lines, mut denied) = ([Vec::new(), Vec::new()], 0, 0, 0);
            // In the last round the log of one node is not there; a log is there or not for all that its node saw.
            let is_there = if round == 5 { [true, false] } else { [true, true] };
            let connections = 60;
            for n in 0..connections {
                let (at, late) = (n * 400 + random.below(300), random.below(90));
                let is_denied = random.below(4) == 0;
                denied += usize::from(is_denied && is_there[1]);
                let bytes = if is_denied { [0, 0] } else { [[200, 599], [200, 358], [0, 0]][random.below(3)] };
                for (side, log) in logs.iter_mut().enumerate().filter(|(side, _)| is_there[*side]) {
                    let is_caller = side == 0;
                    let at = if is_caller { at } else { at + late };
                    lines += 1;
                    log.push(match (policies, is_denied && !is_caller) {
                        ("hubble", true) => flow(at, 40_000 + n, is_caller, "DROPPED"),
                        ("hubble", false) => flow(at, 40_000 + n, is_caller, "FORWARDED"),
                        // The callee's ztunnel says that policy rejected it, the caller's that the tunnel was not made.
                        (_, true) => tunnel(at, 50_000 + n, is_caller, bytes, " error=\"connection closed due to policy rejection: x\""),
                        (_, false) if is_denied => tunnel(at, 40_000 + n, is_caller, bytes, " error=\"http status: 401 Unauthorized\""),
                        (_, false) => tunnel(at, 40_000 + n + side, is_caller, bytes, ""),
                    });
                }
                both += usize::from(is_there == [true, true]);
            }
            let files = logs.iter().zip(is_there).enumerate().filter(|(_, (_, is_there))| *is_there);
            let mut sources: Vec<LogSource> = files
                .map(|(n, (log, _))| {
                    let mut log = log.clone();
                    // The order of lines does not matter.
                    for at in (1..log.len()).rev() {
                        log.swap(at, random.below(at + 1));
                    }
                    LogSource::Memory { name: format!("node-{n}"), bytes: log.concat().into_bytes() }
                })
                .collect();
            if round % 2 == 1 {
                sources.reverse();
            }
            let a = Audit::new(vec![(policies.to_owned(), law(policies))]).logs(sources).run(&mut |_| {}).unwrap();
            let t = a.totals;
            assert_eq!(t.lines, t.decided + t.refused + t.lifecycle + t.duplicates + t.rejected, "{policies} {round}: {t:?}");
            assert_eq!((t.lines, t.duplicates), (lines as u64, both as u64), "{policies} {round}");
            // Where a ztunnel alone knows that no tunnel was made, nobody says why.
            let told = t.decided + t.undetermined;
            assert_eq!(told, connections as u64, "{policies} {round}: {t:?}");
            if round < 5 {
                assert_eq!((t.denied, t.undetermined), (denied as u64, 0), "{policies} {round}: the called side's line stays");
            }
            for input in &a.inputs {
                let c = &input.coverage;
                assert_eq!(input.lines, c.decided + c.refused + c.lifecycle + c.duplicates + c.rejected, "{policies} {round}: {c:?}");
            }
        }
    }
}
