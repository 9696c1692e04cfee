//! The JSON Schema of the enforcer's configuration against the reader of it: what one knows, the other knows.

#![cfg(test)]

#[path = "common/schemas.rs"]
mod schemas;

use std::collections::BTreeSet;
use std::path::Path;

use portreeve_enforcer::config::Config;
use portreeve_engine::yaml;
use serde_json::{Value, json};

use crate::schemas::{exported, plain};

fn schema() -> Value {
    exported(&["enforcer"])
}

fn document(text: &str) -> Value {
    plain(&yaml::parse("t", text).unwrap_or_else(|e| panic!("{text}: {e:?}"))[0])
}

/// Whether the reader takes a document, and what it says if not.
fn read(document: &Value) -> Result<(), String> {
    // JSON is YAML.
    let text = serde_json::to_string(document).unwrap();
    Config::parse("e.yaml", &text, Path::new("")).map(drop).map_err(|found| found.iter().map(|d| d.render()).collect())
}

/// Files in which every field of the schema occurs.
const WHOLE: &[&str] = &[
    r#"
service: items
bundle: {url: "https://bundles.example/b.tar.gz", key: bundle.pub, poll: 30s, ca: ca.pem, private_addresses: true, token: t, cache: c, max_age: 10m, on_stale: deny}
identity: {cert: items.pem, key: items.key, trust: {market.example: ca.pem}, crl: [crl.pem]}
tls: {min_version: "1.3"}
inbound:
  - listen: "0.0.0.0:8443"
    upstream: "127.0.0.1:8080"
    protocol: http
    upstream_protocol: http2
    connection_lifetime: 1h
    timeouts: {handshake: 5s, first_request: 30s, head: 10s, idle: 75s, connect: 2s, response: 60s, stream: 5m, request: 24h, upstream_idle: 30s, ping: 30s, pong: 10s, rotation: 60s, wind_down: 10s}
    identity_headers: {xfcc: [By, Hash, URI], principal: x-portreeve-caller, claims: {x-portreeve-user: sub}}
    forward_token: false
  - {listen: "[::]:5433", upstream: "127.0.0.1:5432", protocol: tcp, port: 5432, idle: 1h, timeouts: {handshake: 5s, connect: 2s}}
outbound:
  - listen: "127.0.0.1:15001"
    service: users
    connect: ["10.0.0.12:8443", "10.0.0.13:8443"]
    timeouts: {connect: 2s, handshake: 5s, request: 60s, idle: 50s, pending: 1s, stream: 5m, whole: 24h, tunnel: 1h}
    retries: 2
    limits: {requests: 1024, pending: 0, connections: 256}
    health: {path: /healthz, interval: 10s, timeout: 2s, down_after: 3, up_after: 2}
    exchange: off
proxy:
  listen: "127.0.0.1:15000"
  transparent: ["127.0.0.1:15002", "[::1]:15002"]
  services:
    users:
      connect: "10.0.0.12:8443"
      hosts: [users.shop.local]
      addresses: ["10.96.0.12:80"]
      exchange: {service: sts, connect: "10.0.0.9:8444", path: /token, audience: users, scope: read, client: {id: items, secret: s}}
  egress:
    private: [10.20.0.0/16]
    without_tls: ["db.partner.example:5432"]
    timeouts: {resolve: 5s, connect: 2s, request: 60s, stream: 5m, whole: 24h, tunnel: 1h}
exchange: {url: "https://sts.example/token", ca: ca.pem, private_addresses: true, audience: users}
jwt:
  - {issuer: "https://idp.example", jwks: {path: jwks.json}, audiences: [items]}
  - {issuer: "https://idp2.example", jwks: {url: "https://idp2.example/jwks", ca: ca.pem, private_addresses: false, refresh: 5m, max_stale: 12h}, audiences: [items]}
log:
  path: decisions.ndjson
  rotate: {size: 256MiB, keep: {files: 400, age: 400d, min_age: 366d}}
  durability: written
  heartbeat: 60s
  heads: {every: 60s, to: [heads.ndjson, "https://witness.example/heads"], key: head.key, ca: ca.pem, private_addresses: false, token: t}
admin: {listen: "127.0.0.1:9901"}
health: {listen: "0.0.0.0:9902"}
mode: enforce
traces: {otlp: "https://collector.example", ca: ca.pem, sample: 0.5}
self_check: {one_in: 1000}
workers: 2
drain: 20s
share_ports: false
"#,
    r#"
service: items
bundle: {path: policies}
identity: {workload_api: "unix:///run/agent.sock", id: "spiffe://market.example/items"}
inbound: [{listen: "0.0.0.0:8443", upstream: "127.0.0.1:8080", identity_headers: {xfcc: off, principal: off}}]
log: {path: "-"}
admin: {listen: "unix:///run/admin.sock"}
"#,
];

#[test]
fn whole_files_are_good_to_both() {
    let schema = schema();
    assert!(jsonschema::meta::is_valid(&schema));
    let validator = jsonschema::validator_for(&schema).unwrap();
    for text in WHOLE {
        let document = document(text);
        let errors: Vec<String> = validator.iter_errors(&document).map(|e| format!("{e} at {}", e.instance_path())).collect();
        assert!(errors.is_empty(), "{errors:#?}");
        read(&document).unwrap();
    }
}

/// The files of the book are good to the schema.
#[test]
fn the_examples_of_the_book_validate() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/enforcer.md")).unwrap();
    let example = text.split("```yaml\n").find(|part| part.starts_with("service: ")).unwrap().split("```").next().unwrap();
    let document = document(example);
    let errors: Vec<String> = validator.iter_errors(&document).map(|e| format!("{e} at {}", e.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    read(&document).unwrap();
}

/// All objects of a document, by pointer.
fn objects(at: &str, value: &Value, out: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            out.push(at.to_owned());
            fields.iter().for_each(|(name, value)| objects(&format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), value, out));
        }
        Value::Array(items) => items.iter().enumerate().for_each(|(n, value)| objects(&format!("{at}/{n}"), value, out)),
        _ => {}
    }
}

/// Objects whose names are the user's.
const FREE: [&str; 3] = ["trust", "claims", "services"];

#[test]
fn a_field_that_is_not_known_is_refused_by_both_wherever_it_stands() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let mut seen = 0;
    for text in WHOLE {
        let document = document(text);
        let mut places = Vec::new();
        objects("", &document, &mut places);
        for place in places.iter().filter(|place| !FREE.iter().any(|free| place.ends_with(&format!("/{free}")))) {
            let mut odd = document.clone();
            odd.pointer_mut(place).unwrap().as_object_mut().unwrap().insert("surprise".to_owned(), json!("1"));
            assert!(!validator.is_valid(&odd), "the schema takes `surprise` in `{place}`");
            let said = read(&odd).expect_err(place);
            assert!(said.contains("surprise"), "{place}: {said}");
            seen += 1;
        }
    }
    assert!(seen > 30, "{seen}");
}

/// Every field of the schema occurs in the whole files, which the reader takes: so it knows each.
#[test]
fn the_reader_knows_every_field_of_the_schema() {
    fn named(value: &Value, out: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                // Where a name is forbidden it is named in another place.
                if let Some(Value::Object(properties)) = fields.get("properties") {
                    out.extend(properties.keys().cloned());
                }
                fields.values().for_each(|value| named(value, out));
            }
            Value::Array(items) => items.iter().for_each(|value| named(value, out)),
            _ => {}
        }
    }
    fn used(value: &Value, out: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => fields.iter().for_each(|(name, value)| {
                out.insert(name.clone());
                used(value, out);
            }),
            Value::Array(items) => items.iter().for_each(|value| used(value, out)),
            _ => {}
        }
    }
    let (mut known, mut seen) = (BTreeSet::new(), BTreeSet::new());
    named(&schema(), &mut known);
    WHOLE.iter().for_each(|text| used(&document(text), &mut seen));
    assert!(known.len() > 90, "{}", known.len());
    assert_eq!(known.difference(&seen).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn what_is_badly_shaped_is_refused_by_both() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    for (place, value) in [
        ("/service", json!(null)),
        ("/bundle/path", json!("also")),
        ("/bundle/key", json!(null)),
        ("/identity/workload_api", json!("unix:///x")),
        ("/identity/trust", json!({})),
        ("/tls/min_version", json!("1.1")),
        ("/inbound/0/port", json!(1)),
        ("/inbound/0/listen", json!("items:8443")),
        ("/inbound/0/timeouts/idle", json!("75")),
        ("/inbound/1/port", json!(70_000)),
        ("/inbound/1/connection_lifetime", json!("1h")),
        ("/inbound/1/timeouts/handshake", json!("1 s")),
        ("/outbound/0/retries", json!(6)),
        ("/outbound/0/connect", json!([])),
        ("/outbound/0/limits/requests", json!(0)),
        ("/outbound/0/health/path", json!("healthz")),
        ("/outbound/0/health/up_after", json!(0)),
        ("/exchange/service", json!("sts")),
        ("/jwt/0/audiences", json!([])),
        ("/jwt/0/jwks/url", json!("https://x")),
        ("/log/rotate/size", json!("256MB")),
        ("/log/rotate/keep", json!({"min_age": "1h"})),
        ("/log/durability", json!("sometimes")),
        ("/mode", json!("audit")),
        ("/traces/sample", json!(2)),
        ("/self_check/one_in", json!(0)),
        ("/workers", json!(0)),
        ("/drain", json!("soon")),
    ] {
        let mut odd = document(WHOLE[0]);
        let (parent, name) = place.rsplit_once('/').unwrap();
        let fields = odd.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        if value.is_null() {
            drop(fields.remove(name))
        } else {
            drop(fields.insert(name.to_owned(), value))
        };
        assert!(!validator.is_valid(&odd), "the schema takes {place}");
        assert!(read(&odd).is_err(), "the reader takes {place}");
    }
}
