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
    for name in [
        "address 127.0.0.1 (peer or forwarded)",
        "address 10.244.2.10 (source.address)",
        "address 192.0.2.50 (as mapped)",
        "default/xwing",
    ] {
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
        // are granted by nothing either, and policy is not asked about them.
        let shadow = named("shadow_edge");
        for (subject, count) in named("unlawful_access") {
            let of = shadow.get(subject).copied().unwrap_or_default();
            assert!(of == count || (of > count && subject.ends_with("undeclared paths")), "{set}: {subject} {count} {of}");
        }
        both += shadow.len();
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
