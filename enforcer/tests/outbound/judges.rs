//! Clients and judges that are not ours, where the local service would be: h2spec, and gRPC's own interoperability suite.
//!
//! Each test says why it is skipped where its tool is not on this machine; `.ci/run` installs them.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use portreeve_engine::Effect;

use crate::interop;
use crate::mesh::way;
use crate::town::{LAW, Town, app, decided, ended, ok};

/// What a tool says in the end, or `None`, said aloud, where there is none. What it talks to goes on meanwhile.
async fn tool(name: &'static str, args: Vec<String>) -> Option<Output> {
    let run = move || Command::new(name).args(args).stdin(Stdio::null()).output();
    match tokio::task::spawn_blocking(run).await.unwrap() {
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

/// Remarks of h2spec that are known, by the heading and number under which it prints them, each with its reason.
const H2SPEC_KNOWN: &[(&str, &str)] = &[("2: Sends invalid connection preface", "what does not begin so is HTTP/1, and answered as such")];

#[tokio::test]
async fn h2spec_finds_nothing_on_a_way_out() {
    let (town, (address, _)) = (Town::new(443), app(|_, _| ok("well")).await);
    let callee = town.callee("users", address).await;
    let caller = town.start("payments", "payments", &way(&[callee.inbound()[0]], "")).await;
    let port = caller.outbound()[0].port().to_string();
    let args = ["-h", "127.0.0.1", "-p", &port, "-P", "/v1/users/1", "-o", "5", "--strict"];
    let Some(run) = tool("h2spec", args.iter().map(ToString::to_string).collect()).await else { return };
    let said = text(&run);
    let summary = said.lines().find(|l| l.contains("tests,") && l.contains("passed")).unwrap_or_else(|| panic!("no summary: {said}"));
    let failed = said.split("Failures:").nth(1).unwrap_or_default().lines().filter(|l| l.contains('×'));
    let unexplained: Vec<_> = failed.filter(|line| !H2SPEC_KNOWN.iter().any(|(known, _)| line.contains(known))).collect();
    assert!(unexplained.is_empty(), "{summary}\n{unexplained:#?}\n{said}");
    let total: u32 = summary.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap();
    assert!(total > 140, "{summary}");
    caller.shutdown().await;
}

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The real gRPC server (google.golang.org/grpc/interop/server).
async fn grpc_server() -> Option<(Running, SocketAddr)> {
    for n in 0..20 {
        // It cannot say which port it took, so it is told one: below those that the system gives to whoever asks for any.
        let port = 10_000 + u16::try_from((std::process::id() * 7 + n * 131) % 10_000).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_err() {
            continue;
        }
        let mut command = Command::new("grpc-interop-server");
        command.arg(format!("--port={port}")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut server = match command.spawn() {
            Ok(child) => Running(child),
            Err(why) => {
                eprintln!("skipped: `grpc-interop-server` cannot be run ({why})");
                return None;
            }
        };
        for _ in 0..1000 {
            if server.0.try_wait().unwrap().is_some() {
                break;
            }
            if TcpStream::connect(address).is_ok() {
                return Some((server, address));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    panic!("the gRPC server never finds its port free");
}

#[tokio::test]
async fn grpc_s_own_suite_passes_from_the_local_service_through_both_enforcers() {
    let town = Town::new(443);
    let methods = ["EmptyCall", "UnaryCall", "StreamingInputCall", "StreamingOutputCall", "FullDuplexCall"];
    let operations: String =
        methods.iter().map(|m| format!("  - {{id: {}, grpc: grpc.testing.TestService/{m}}}\n", m.to_lowercase())).collect();
    town.law(2, &LAW.replace("PORT", "443").replace("  - {id: call, grpc: shop.Users/Get}\n", &operations));
    let Some((_server, service)) = grpc_server().await else { return };
    let inbound = format!("inbound: [{{listen: \"127.0.0.1:0\", upstream: \"{service}\", upstream_protocol: http2}}]\n");
    let callee = town.start("users", "users", &inbound).await;
    let caller = town.start("payments", "payments", &way(&[callee.inbound()[0]], "")).await;
    let port = format!("--server_port={}", caller.outbound()[0].port());
    for case in interop::CASES {
        let args = ["--server_host=127.0.0.1", &port, &format!("--test_case={case}")].iter().map(ToString::to_string).collect();
        let Some(run) = tool("grpc-interop-client", args).await else { return };
        assert!(run.status.success(), "{case}: {}", text(&run));
    }
    caller.shutdown().await;
    callee.shutdown().await;
    let records = town.records("users");
    let asked = decided(&records);
    assert!(asked.iter().all(|(_, d)| d.decision.effect == Effect::Allow && d.request.protocol == "HTTP/2"));
    assert_eq!(ended(&records).len(), asked.len());
    let operations: std::collections::BTreeSet<_> = asked.iter().filter_map(|(_, d)| d.request.operation.clone()).collect();
    assert_eq!(
        operations.into_iter().collect::<Vec<_>>(),
        ["emptycall", "fullduplexcall", "streaminginputcall", "streamingoutputcall", "unarycall"]
    );
}
