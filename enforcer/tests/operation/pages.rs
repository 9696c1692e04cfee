//! The pages: who may see what, in which form, and that nothing secret is on them.

use std::time::Duration;

use portreeve_enforcer::Enforcer;
use portreeve_enforcer::report::Report;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::world::{World, at, judged, on, page, status};

#[tokio::test]
async fn methods_and_forms() {
    let world = World::new().await;
    let config = world.config("admin: {listen: \"unix://admin.sock\"}\nhealth: {listen: \"127.0.0.1:0\"}\n");
    let enforcer = Enforcer::start(config, Report::silent()).await.unwrap();
    let (socket, health) = (world.path("admin.sock"), enforcer.health().unwrap());
    assert_eq!(enforcer.admin(), None);
    assert_eq!(status(&world.get(enforcer.inbound()[0], "").await.unwrap()), 200);
    for target in ["/livez", "/readyz", "/metrics", "/config", "/revision", "/connections"] {
        let all = on(&socket, target).await;
        assert_eq!(status(&all), 200, "{target}: {all}");
        let head = page(UnixStream::connect(&socket).await.unwrap(), "HEAD", target, "").await;
        assert_eq!(status(&head), 200, "{target}");
        assert!(head.ends_with("\r\n\r\n"), "a body after HEAD: {head}");
        let post = page(UnixStream::connect(&socket).await.unwrap(), "POST", target, "Content-Length: 0\r\n").await;
        assert_eq!(status(&post), 405, "{post}");
        assert!(post.to_lowercase().contains("allow: get, head"), "{post}");
        let expected = if matches!(target, "/livez" | "/readyz" | "/metrics") { 200 } else { 404 };
        assert_eq!(status(&at(health, target).await), expected, "{target}");
    }
    for target in ["/", "/livez/", "/Livez", "//livez", "/metrics/x"] {
        assert_eq!(status(&on(&socket, target).await), 404, "{target}");
    }
    let asked = |accept: &'static str| async move {
        page(TcpStream::connect(health).await.unwrap(), "GET", "/metrics", &format!("Accept: {accept}\r\n")).await
    };
    let open = asked("application/openmetrics-text;version=1.0.0").await;
    assert!(open.contains("content-type: application/openmetrics-text; version=1.0.0"), "{open}");
    assert!(open.contains("# TYPE portreeve_requests counter") && open.trim_end().ends_with("# EOF"));
    let text = asked("text/plain").await;
    assert!(text.contains("content-type: text/plain; version=0.0.4"), "{text}");
    assert!(text.contains("# TYPE portreeve_requests_total counter") && !text.contains("# EOF"));
    let body = |page: &str| page.split_once("\r\n\r\n").unwrap().1.to_owned();
    judged("prometheus_client", OPEN_JUDGE, &body(&open));
    judged("prometheus_client", TEXT_JUDGE, &body(&text));
    enforcer.shutdown().await;
    assert!(!socket.exists());
}

/// Whoever takes every place of the probes and says nothing, or asks and asks without reading, keeps no probe from its answer: else any
/// stranger could have the process restarted.
#[tokio::test]
async fn a64_probes_are_answered_though_others_hold_every_place() {
    let world = World::new().await;
    let config = world.config("admin: {listen: \"unix://admin.sock\"}\nhealth: {listen: \"127.0.0.1:0\"}\n");
    let enforcer = Enforcer::start(config, Report::silent()).await.unwrap();
    let (socket, health) = (world.path("admin.sock"), enforcer.health().unwrap());
    let from = async |address: [u8; 4]| {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((address, 0).into()).unwrap();
        socket.connect(health).await.unwrap()
    };
    // One that is used now and then, as a scraper's, from an address of its own.
    let mut kept = from([127, 0, 0, 9]).await;
    let (mut silent, mut greedy, mut local) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..200_u8 {
        silent.push(TcpStream::connect(health).await.unwrap());
        let mut stream = from([127, 0, 0, 2 + n % 3]).await;
        let _ = stream.write_all(&b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(20)).await;
        greedy.push(stream);
        local.push(UnixStream::connect(&socket).await.unwrap());
    }
    let soon = Duration::from_secs(10);
    for _ in 0..20 {
        assert_eq!(status(&timeout(soon, at(health, "/livez")).await.expect("the probe is answered")), 200);
        assert_eq!(status(&timeout(soon, on(&socket, "/config")).await.expect("the page is answered")), 200);
    }
    kept.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    timeout(soon, kept.read_to_string(&mut answer)).await.expect("it is answered").unwrap();
    assert_eq!(status(&answer), 200, "who holds little keeps it");
    drop((silent, greedy, local));
    enforcer.shutdown().await;
}

/// Prometheus's own readers; the one of OpenMetrics is strict. Every name and unit is as it should be.
const OPEN_JUDGE: &str = r"
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
families = list(text_string_to_metric_families(sys.stdin.read()))
names = {f.name for f in families}
assert len(names) == len(families) > 30, names
samples = {s.name: s for f in families for s in f.samples}
assert samples['portreeve_ready'].value == 1
assert samples['portreeve_build_info'].labels['version']
assert samples['process_resident_memory_bytes'].value > 1e6
for f in families:
    assert f.name.startswith(('portreeve_', 'process_')), f.name
    assert f.documentation and f.type in ('counter', 'gauge', 'histogram', 'info'), f
    for s in f.samples:
        for key in s.labels:
            assert key in ('effect', 'reason', 'policy', 'side', 'what', 'result', 'direction', 'le', 'version', 'service', 'kind', 'outcome'), (f.name, key)
";

const TEXT_JUDGE: &str = r"
import sys
from prometheus_client.parser import text_string_to_metric_families
families = {f.name: f for f in text_string_to_metric_families(sys.stdin.read())}
assert families['portreeve_requests'].type == 'counter', families
count = [s.value for s in families['portreeve_requests'].samples if s.labels == {'effect': 'allow', 'reason': 'permitted'}]
assert count == [1.0], count
buckets = [s for s in families['portreeve_decision_duration_seconds'].samples if s.name.endswith('_bucket')]
assert buckets[-1].labels['le'] == '+Inf' and buckets[-1].value == 1, buckets
assert [s.value for s in buckets] == sorted(s.value for s in buckets)
policies = [(s.labels, s.value) for s in families['portreeve_policy_decisions'].samples]
assert policies == [({'policy': 'invoices-items', 'effect': 'allow'}, 1.0)], policies
";

#[tokio::test]
async fn the_configuration_is_shown_without_secrets() {
    let world = World::new().await;
    let pair = portreeve_enforcer::ca::head_key().unwrap();
    pair.write(&world.path("head.key"), &world.path("head.pub")).unwrap();
    let log = "log: {path: \"decisions-{instance}.ndjson\", rotate: {size: 1MiB}, heads: {every: 1s, to: heads.ndjson, key: head.key}}\n";
    let config = world.config(&format!("{log}admin: {{listen: \"unix://admin.sock\"}}\nshare_ports: true\nself_check: {{one_in: 7}}\n"));
    let enforcer = Enforcer::start(config, Report::silent()).await.unwrap();
    let text = on(&world.path("admin.sock"), "/config").await;
    let body: serde_json::Value = serde_json::from_str(text.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    for (pointer, value) in [
        ("/service", serde_json::json!("items")),
        ("/mode", serde_json::json!("enforce")),
        ("/identity/id", serde_json::json!("spiffe://market.example/ns/shop/sa/items")),
        ("/inbound/0/upstream", serde_json::json!(world.upstream)),
        ("/inbound/0/upstream_protocol", serde_json::json!("http1")),
        ("/log/rotate/size", serde_json::json!(1 << 20)),
        ("/log/heads/every", serde_json::json!("1s")),
        ("/self_check/one_in", serde_json::json!(7)),
        ("/drain", serde_json::json!("5s")),
        ("/share_ports", serde_json::json!(true)),
        ("/health", serde_json::json!(null)),
    ] {
        assert_eq!(body.pointer(pointer), Some(&value), "{pointer}: {body:#}");
    }
    let open = body.pointer("/log/open").unwrap().as_str().unwrap().to_owned();
    assert!(!open.contains('{') && std::path::Path::new(&open).exists(), "{open}");
    for secret in ["items.key", "head.key"] {
        let pem = std::fs::read_to_string(world.path(secret)).unwrap();
        let line = pem.lines().nth(1).unwrap();
        assert!(line.len() > 20 && !text.contains(line), "{secret} is on the page");
    }
    enforcer.shutdown().await;
}

#[tokio::test]
async fn connections_tell_who_is_there_and_what_runs() {
    let world = World::new().await;
    let enforcer = Enforcer::start(world.config("admin: {listen: \"127.0.0.1:0\"}\n"), Report::silent()).await.unwrap();
    let admin = enforcer.admin().unwrap();
    assert!(at(admin, "/connections").await.contains("\"open\":0"));
    let client = world.connect(enforcer.inbound()[0]).await.unwrap();
    let page = crate::world::until("it is listed", || at(admin, "/connections"), |page| page.contains("\"open\":1")).await;
    for part in ["sa/invoices", "\"protocol\":\"HTTP/1.1\"", "\"requests\":0", "\"running\":0", "\"age_seconds\":", "\"bytes_sent\":0"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let metrics = at(admin, "/metrics").await;
    assert!(metrics.contains("portreeve_connections{side=\"inbound\"} 1"), "{metrics}");
    drop(client);
    crate::world::until("it is gone", || at(admin, "/connections"), |page| page.contains("\"open\":0")).await;
    enforcer.shutdown().await;
}
