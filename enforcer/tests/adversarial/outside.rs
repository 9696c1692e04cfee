//! Clients and judges that are not ours: h2spec, curl, nghttp, gRPC's own interoperability suite, grpcurl, sslscan.
//!
//! Each test says why it is skipped where its tool is not on this machine; `.ci/run` installs them.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;

use portreeve_engine::{Effect, Reason};

use crate::client::Client;
use crate::interop;
use crate::world::{SHOP, Sidecar, World, until};

/// The output of a tool, or `None`, said aloud, where there is none.
fn tool(name: &str, args: &[&str]) -> Option<Output> {
    match Command::new(name).args(args).stdin(Stdio::null()).output() {
        Ok(output) => Some(output),
        Err(why) => {
            eprintln!("skipped: `{name}` cannot be run ({why})");
            None
        }
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A pipe for tools that cannot show a certificate: it takes bytes in the clear and carries them, unchanged, over mutual TLS.
struct Pipe {
    address: SocketAddr,
    /// Dropped with the pipe; its tasks end with it.
    _runtime: tokio::runtime::Runtime,
}

impl Pipe {
    fn start(client: &Client, alpn: &str, to: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let mut config = client.clone().alpn(&[alpn]).config;
        config.enable_sni = false;
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let connector = connector.clone();
                tokio::spawn(async move {
                    let socket = tokio::net::TcpStream::connect(to).await?;
                    let name = rustls_pki_types::ServerName::try_from("portreeve.invalid").unwrap();
                    let mut far = connector.connect(name, socket).await?;
                    tokio::io::copy_bidirectional(&mut near, &mut far).await
                });
            }
        });
        Self { address, _runtime: runtime }
    }
}

/// Remarks of h2spec that are known, by the heading and number under which it prints them, each with its reason.
const H2SPEC_KNOWN: &[(&str, &str)] = &[];

#[test]
fn h2spec_finds_nothing_that_is_not_explained() {
    if tool("h2spec", &["--version"]).is_none() {
        return;
    }
    let world = World::new();
    let sidecar = world.start();
    // h2spec has no way to present a certificate, so its frames go through a pipe that adds nothing but TLS.
    let pipe = Pipe::start(&world.client("invoices"), "h2", sidecar.inbound);
    let port = pipe.address.port().to_string();
    let run = Command::new("h2spec").args(["-h", "127.0.0.1", "-p", &port, "-P", "/v1/items/1", "-o", "5", "--strict"]).output().unwrap();
    let said = text(&run);
    let summary = said.lines().find(|l| l.contains("tests,") && l.contains("passed")).unwrap_or_else(|| panic!("no summary: {said}"));
    let failed: Vec<&str> = said.split("Failures:").nth(1).unwrap_or_default().lines().filter(|l| l.contains('×')).map(str::trim).collect();
    let unexplained: Vec<&&str> = failed.iter().filter(|line| !H2SPEC_KNOWN.iter().any(|(known, _)| line.contains(known))).collect();
    assert!(unexplained.is_empty(), "{summary}\n{unexplained:#?}\n{said}");
    let total: u32 = summary.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap();
    assert!(total > 140, "{summary}");
    eprintln!("h2spec: {summary}");
    let log = sidecar.stop();
    log.every_allow_ended();
}

/// Certificate and key of a caller as files, for tools that take them so.
fn files(world: &World, service: &str) -> (String, String) {
    world.leaf(service).write(world.dir.path(), service);
    let at = |end: &str| world.path(&format!("{service}.{end}")).display().to_string();
    (at("pem"), at("key"))
}

#[test]
fn nghttp_is_served_and_denied() {
    if tool("nghttp", &["--version"]).is_none() {
        return;
    }
    let world = World::new();
    let sidecar = world.start();
    let ask = |service: &str, target: &str, more: &[&str]| {
        let (cert, key) = files(&world, service);
        let url = format!("https://{}{target}", sidecar.inbound);
        let output = Command::new("nghttp")
            .args(["--no-verify-peer", "-v", "--timeout=20", &format!("--cert={cert}"), &format!("--key={key}")])
            .args(more)
            .arg(url)
            .output()
            .unwrap();
        text(&output)
    };
    let upload = world.path("upload");
    std::fs::write(&upload, vec![b'u'; 300_000]).unwrap();
    let served = ask("invoices", "/v1/items/1", &[]);
    assert!(served.contains(":status: 200") && served.contains("you asked for /v1/items/1"), "{served}");
    let sent = ask("invoices", "/v1/items/2", &[&format!("--data={}", upload.display())]);
    assert!(sent.contains(":status: 200"), "{sent}");
    let many = ask("invoices", "/v1/items/3", &["--multiply=50"]);
    assert_eq!(many.matches(":status: 200").count(), 50, "{many}");
    // Answered before it came whole: the rest may come, and nothing is reset.
    let early = ask("invoices", "/v1/items/early", &[&format!("--data={}", upload.display())]);
    assert!(early.contains(":status: 200") && !early.contains("RST_STREAM"), "{early}");
    let denied = ask("users", "/v1/items/1", &[]);
    assert!(denied.contains(":status: 403") && !denied.contains("you asked"), "{denied}");
    let log = sidecar.stop();
    assert_eq!(log.reasons().iter().filter(|r| **r == Reason::Permitted).count(), 53);
    assert_eq!(world.upstream.seen()[1].body.len(), 300_000);
    log.every_allow_ended();
}

/// curl (7.88) takes a reset right behind an answer for all there is: an upload that is denied must not look like none was answered.
#[test]
fn curl_sees_the_answer_to_an_upload_that_nobody_wants() {
    let Some(version) = tool("curl", &["--version"]) else { return };
    if !text(&version).contains("HTTP2") {
        eprintln!("skipped: this curl speaks no HTTP/2");
        return;
    }
    let world = World::new();
    let sidecar = world.start();
    let upload = world.path("upload");
    std::fs::write(&upload, vec![b'u'; 3_000_000]).unwrap();
    for (service, target, status) in [("users", "/v1/items/1", "403"), ("invoices", "/v1/items/1", "200")] {
        let (cert, key) = files(&world, service);
        let at = sidecar.inbound;
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--insecure", "--http2", "--max-time", "20", "--cert", &cert, "--key", &key])
            .args(["--output", "/dev/null", "--write-out", "%{http_version} %{http_code}", "--request", "POST"])
            .args(["--data-binary", &format!("@{}", upload.display())])
            .args(["--resolve", &format!("items:{}:{}", at.port(), at.ip()), &format!("https://items:{}{target}", at.port())])
            .output()
            .unwrap();
        assert_eq!(text(&output).trim(), format!("2 {status}"), "{service} {target}");
    }
    sidecar.stop().every_allow_ended();
}

/// gRPC's own test service, as far as callers may use it: one method is left out.
const GRPC: &str = r#"
kind: Service
name: items
identities: [spiffe://market.example/ns/shop/sa/items]
operations:
  - {id: empty, grpc: grpc.testing.TestService/EmptyCall}
  - {id: unary, grpc: grpc.testing.TestService/UnaryCall}
  - {id: upload, grpc: grpc.testing.TestService/StreamingInputCall}
  - {id: download, grpc: grpc.testing.TestService/StreamingOutputCall}
  - {id: talk, grpc: grpc.testing.TestService/FullDuplexCall}
  - {id: half, grpc: grpc.testing.TestService/HalfDuplexCall}
---
kind: Service
name: invoices
identities: [spiffe://market.example/ns/shop/sa/invoices]
operations: [{id: read, method: GET, path: "/v1/invoices"}]
---
kind: Permission
name: invoices-items
allow: {from: [invoices], to: items, operations: [empty, unary, upload, download, talk]}
justification: An invoice line names the item sold.
owner: team-billing
"#;

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The real gRPC server (google.golang.org/grpc/interop/server) behind a sidecar that speaks HTTP/2 to it.
fn grpc(world: &World) -> Option<(Running, Sidecar)> {
    for n in 0..20 {
        // It cannot say which port it took, so it is told one: below those that the system gives to whoever asks for any, since
        // other tests ask for thousands.
        let port = 20_000 + u16::try_from((std::process::id() * 7 + n * 131) % 10_000).unwrap();
        let upstream = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(upstream).is_err() {
            continue;
        }
        let mut command = Command::new("grpc-interop-server");
        command.arg(format!("--port={}", upstream.port())).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut server = match command.spawn() {
            Ok(child) => Running(child),
            Err(why) => {
                eprintln!("skipped: `grpc-interop-server` cannot be run ({why})");
                return None;
            }
        };
        let mut listens = false;
        until("the gRPC server listens or ends", || {
            listens = std::net::TcpStream::connect(upstream).is_ok();
            listens || server.0.try_wait().unwrap().is_some()
        });
        if listens && server.0.try_wait().unwrap().is_none() {
            let from = format!("upstream: \"{}\"", world.upstream.address);
            let config = world.config().replace(&from, &format!("upstream: \"{upstream}\", upstream_protocol: http2"));
            return Some((server, world.start_with(&config)));
        }
    }
    panic!("the gRPC server never finds its port free");
}

#[test]
fn grpc_s_own_suite_passes_through_the_gate() {
    let world = World::with(&[("grpc.yaml", GRPC)]);
    let Some((_server, sidecar)) = grpc(&world) else { return };
    // Its client cannot show a certificate of its own either.
    let pipe = Pipe::start(&world.client("invoices"), "h2", sidecar.inbound);
    let port = format!("--server_port={}", pipe.address.port());
    for case in interop::CASES {
        let Some(run) = tool("grpc-interop-client", &["--server_host=127.0.0.1", &port, &format!("--test_case={case}")]) else { return };
        assert!(run.status.success(), "{case}: {}", text(&run));
    }
    let log = sidecar.stop();
    assert!(log.decided().iter().all(|d| d.decision.effect == Effect::Allow && d.request.protocol == "HTTP/2"), "{:?}", log.reasons());
    log.every_allow_ended();
    let operations: std::collections::BTreeSet<_> = log.decided().iter().filter_map(|d| d.request.operation.clone()).collect();
    assert_eq!(operations.into_iter().collect::<Vec<_>>(), ["download", "empty", "talk", "unary", "upload"]);
}

/// What `grpcurl` must know of the service: shapes only, written for this test.
const PROTO: &str = r#"
syntax = "proto3";
package grpc.testing;
message Empty {}
message Payload { int32 type = 1; bytes body = 2; }
message EchoStatus { int32 code = 1; string message = 2; }
message SimpleRequest { int32 response_size = 2; Payload payload = 3; EchoStatus response_status = 7; }
message SimpleResponse { Payload payload = 1; }
message ResponseParameters { int32 size = 1; }
message StreamingOutputCallRequest { repeated ResponseParameters response_parameters = 2; Payload payload = 3; }
message StreamingOutputCallResponse { Payload payload = 1; }
service TestService {
  rpc EmptyCall(Empty) returns (Empty);
  rpc UnaryCall(SimpleRequest) returns (SimpleResponse);
  rpc StreamingOutputCall(StreamingOutputCallRequest) returns (stream StreamingOutputCallResponse);
  rpc FullDuplexCall(stream StreamingOutputCallRequest) returns (stream StreamingOutputCallResponse);
  rpc HalfDuplexCall(stream StreamingOutputCallRequest) returns (stream StreamingOutputCallResponse);
}
"#;

#[test]
fn grpcurl_calls_over_mutual_tls() {
    if tool("grpcurl", &["-version"]).is_none() {
        return;
    }
    let world = World::with(&[("grpc.yaml", GRPC)]);
    let Some((_server, sidecar)) = grpc(&world) else { return };
    std::fs::write(world.path("test.proto"), PROTO).unwrap();
    let call = |service: &str, method: &str, data: &str| {
        let (cert, key) = files(&world, service);
        let (at, dir) = (sidecar.inbound.to_string(), world.dir.path().display().to_string());
        let mut child = Command::new("grpcurl")
            .args([
                "-insecure",
                "-max-time",
                "20",
                "-cert",
                &cert,
                "-key",
                &key,
                "-import-path",
                &dir,
                "-proto",
                "test.proto",
                "-d",
                "@",
                &at,
            ])
            .arg(format!("grpc.testing.TestService/{method}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(data.as_bytes()).unwrap();
        let mut said = String::new();
        child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (child.wait().unwrap().success(), said)
    };
    let (ok, said) = call("invoices", "UnaryCall", "{\"response_size\": 5}");
    assert!(ok && said.contains("\"body\": \"AAAAAAA=\""), "{said}");
    let sizes = "{\"response_parameters\": [{\"size\": 1}, {\"size\": 2}, {\"size\": 3}]}";
    let (ok, said) = call("invoices", "StreamingOutputCall", sizes);
    assert!(ok && said.matches("\"payload\"").count() == 3, "{said}");
    let (ok, said) = call("invoices", "FullDuplexCall", &sizes.repeat(2));
    assert!(ok && said.matches("\"payload\"").count() == 6, "{said}");
    // The service's own status comes back as it is, in trailers.
    let (ok, said) = call("invoices", "UnaryCall", "{\"response_status\": {\"code\": 9, \"message\": \"of its own\"}}");
    assert!(!ok && said.contains("FailedPrecondition") && said.contains("of its own"), "{said}");
    // Denied by the gate: PermissionDenied, with nothing about policies.
    for (service, method) in [("invoices", "HalfDuplexCall"), ("stranger", "EmptyCall")] {
        let (ok, said) = call(service, method, "{}");
        assert!(!ok && said.contains("PermissionDenied"), "{service} {method}: {said}");
    }
    let log = sidecar.stop();
    assert_eq!(log.reasons().iter().filter(|r| **r == Reason::Permitted).count(), 4);
    log.every_allow_ended();
}

#[test]
fn sslscan_finds_tls_1_3_and_nothing_older() {
    if tool("sslscan", &["--version"]).is_none() {
        return;
    }
    let world = World::with(&[("shop.yaml", SHOP)]);
    let sidecar = world.start();
    let (cert, key) = files(&world, "invoices");
    let run = tool("sslscan", &["--no-colour", &format!("--certs={cert}"), &format!("--pk={key}"), &sidecar.inbound.to_string()]).unwrap();
    let said = text(&run);
    for old in ["SSLv2", "SSLv3", "TLSv1.0", "TLSv1.1", "TLSv1.2"] {
        let line = said.lines().find(|l| l.starts_with(old)).unwrap_or_else(|| panic!("{old}: {said}"));
        assert!(line.contains("disabled"), "{line}");
    }
    let suites: Vec<&str> = said.lines().filter(|l| l.starts_with("Accepted") || l.starts_with("Preferred")).collect();
    assert!(!suites.is_empty() && suites.iter().all(|l| l.contains("TLSv1.3")), "{said}");
    assert!(Path::new(&cert).exists());
    sidecar.stop();
}
