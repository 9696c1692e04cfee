//! The auditor's quick way for lines of other meshes, held against its general way: whatever lines a log of Envoy has, known again by their
//! deciding bytes or read anew, the same is counted, graded and found.
//!
//! A tab behind the bracket that opens an object is JSON, and nothing that the scanner takes: so the same lines with one are read in the
//! general way. A fuzz target calls this with random bytes, a test of the auditor with the seeds.

use portreeve_auditor::foreign::{Format, Reading};
use portreeve_auditor::{Assessment, Audit, LogSource};
use portreeve_engine::{Authorizer, Bundle, SourceFile};

const POLICY: &str = "kind: Service
name: web
identities: [spiffe://a.example/web]
zone: shop
---
kind: Service
name: items
identities: [spiffe://a.example/items]
zone: shop
operations:
  - {id: list, method: GET, path: /v1/items}
  - {id: read, method: GET, path: \"/v1/items/{id}\"}
---
kind: Permission
name: read
allow: {from: [web], to: items, operations: [list, read]}
justification: It shows them.
owner: shop
";

fn law() -> Authorizer {
    let file = SourceFile { path: "policy.yaml".to_owned(), bytes: POLICY.as_bytes().to_vec() };
    Authorizer::compile(&Bundle::from_files("fuzz", vec![file]).unwrap()).authorizer.unwrap()
}

/// Keys with values of which each decides something, or is set aside.
const MEMBERS: [(&str, &[&str]); 18] = [
    ("start_time", &["\"2026-11-22T10:00:00.123Z\"", "\"2026-11-22T10:00:59.9Z\"", "\"2026-11-22T11:00:00Z\"", "\"-\"", "7"]),
    ("timestamp", &["\"2026-11-22T10:00:00.123Z\"", "null"]),
    ("method", &["\"GET\"", "\"PUT\"", "\"-\"", "null", "\"\\u0047ET\""]),
    ("path", &["\"/v1/items/1\"", "\"/v1/items/2\"", "\"/v1/items\"", "\"/x?pan=4111111111111111\"", "\"/a b\"", "\"\""]),
    ("x-envoy-origin-path", &["\"/v1/items/1\"", "\"-\""]),
    ("protocol", &["\"HTTP/2\"", "null"]),
    ("response_code", &["200", "403", "401", "\"403\"", "0", "-0", "1e2", "18446744073709551615", "null", "503"]),
    ("response_code_details", &["\"via_upstream\"", "\"rbac_access_denied_matched_policy[none]\"", "\"-\"", "true"]),
    ("authority", &["\"items:8080\"", "\"items.shop.svc.cluster.local\"", "\"-\"", "\"\"", "[\"items\"]"]),
    ("request_id", &["\"r1\"", "\"r2\"", "\"-\"", "null", "7", "\"\\u0072\""]),
    ("upstream_cluster", &["\"inbound|8080||\"", "\"outbound|8080||items.shop.svc.cluster.local\"", "null"]),
    ("upstream_host", &["\"10.0.0.8:8080\"", "\"10.0.0.9:8080\"", "\"-\"", "null"]),
    ("downstream_local_address", &["\"10.0.0.8:8080\"", "\"10.0.0.9:8080\"", "\"10.0.0.9:8081\"", "\"unix:/x\"", "\"-\""]),
    ("downstream_remote_address", &["\"10.0.0.7:4000\"", "\"10.0.0.7:4001\"", "\"10.0.0.6:4000\"", "\"[::1]:1\"", "\"\\u0031\""]),
    (
        "downstream_peer_uri_san",
        &["\"spiffe://a.example/web\"", "\"spiffe://a.example/items\"", "\"spiffe://b.example/x\"", "\"-\"", "null"],
    ),
    ("downstream_local_uri_san", &["\"spiffe://a.example/items\"", "\"spiffe://a.example/web\"", "\"\""]),
    ("downstream_tls_version", &["\"TLSv1.3\"", "\"TLSv1.1\"", "\"-\""]),
    ("bytes_sent", &["1", "{\"a\":[1,\"]\"]}", "\"\u{e9}\"", "4111111111111111"]),
];

/// The lines of some bytes: those that begin as JSON as they are, and of the others each byte says which value of which key there is.
fn lines(data: &[u8]) -> Vec<Vec<u8>> {
    let made = |line: &[u8]| {
        if line.first() == Some(&b'{') {
            return line.to_vec();
        }
        let member = |pair: &[u8]| {
            let [key, value] = pair else { return None };
            let (key, values) = MEMBERS.get(usize::from(*key) % MEMBERS.len())?;
            Some(format!("\"{key}\":{}", values.get(usize::from(*value) % values.len())?))
        };
        let members: Vec<String> = line.chunks(2).filter_map(member).collect();
        format!("{{{}}}", members.join(",")).into_bytes()
    };
    data.split(|byte| *byte == b'\n').map(made).collect()
}

fn audit(lines: &[Vec<u8>]) -> Assessment {
    let bytes = lines.iter().flat_map(|line| line.iter().chain(b"\n")).copied().collect();
    let reading = Reading { format: Some(Format::EnvoyJson), ..Reading::default() };
    let logs = [LogSource::Memory { name: "log".to_owned(), bytes }];
    Audit::new(vec![("fuzz".to_owned(), law())]).logs(logs).reading(reading).run(&mut |_| {}).unwrap()
}

/// What was counted and found, but for the bytes of the lines and the columns in them.
fn said(mut assessment: Assessment) -> String {
    for input in &mut assessment.inputs {
        input.rejected_examples.clear();
        input.sha256 = portreeve_engine::Digest::ZERO;
    }
    let text = format!("{:?}", (&assessment.inputs, &assessment.totals, &assessment.reads, &assessment.edges, &assessment.denials));
    let findings = assessment.findings.iter().filter(|finding| finding.check != "rejected_lines");
    let findings: Vec<_> = findings.map(|f| (&f.check, &f.subject, &f.summary, f.count, f.suspect)).collect();
    // Evidence names lines by their digest.
    let mut out = String::new();
    for (n, part) in text.split("sha256:").enumerate() {
        out.push_str(if n == 0 { part } else { part.trim_start_matches(|c: char| c.is_ascii_hexdigit()) });
    }
    format!("{out} {findings:?}")
}

/// All lines of some bytes, each twice.
pub(crate) fn quick(data: &[u8]) {
    let mut lines = lines(data);
    lines.extend_from_within(..);
    let slow: Vec<Vec<u8>> = lines
        .iter()
        .map(|line| match line.split_first() {
            Some((b'{', rest)) => [b"{\t", rest].concat(),
            _ => line.clone(),
        })
        .collect();
    assert_eq!(said(audit(&lines)), said(audit(&slow)), "{}", data.escape_ascii());
}
