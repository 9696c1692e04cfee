//! Traces: the context goes on to the service and into the record, and spans reach a collector without holding anything up.

use std::sync::{Arc, Mutex};

use portreeve_enforcer::Enforcer;
use portreeve_enforcer::report::Report;
use portreeve_engine::Event;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use crate::world::{World, judged, posted, status, until};

/// A collector: what it was sent, and the status with which it answers next.
async fn collector() -> (std::net::SocketAddr, Arc<Mutex<Vec<String>>>, Arc<Mutex<Vec<u16>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let (got, next) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
    let (sink, answers) = (Arc::clone(&got), Arc::clone(&next));
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let Some(body) = posted(&mut stream, "/v1/traces", "application/json").await else { continue };
            let status = answers.lock().unwrap().pop().unwrap_or(200);
            if status == 200 {
                sink.lock().unwrap().push(body);
            }
            let _ = stream.write_all(format!("HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\n{{}}").as_bytes()).await;
        }
    });
    (at, got, next)
}

const PARENT: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn spans(bodies: &[String]) -> Vec<Value> {
    bodies
        .iter()
        .flat_map(|body| {
            let body: Value = serde_json::from_str(body).unwrap();
            body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().clone()
        })
        .collect()
}

fn attribute<'a>(span: &'a Value, key: &str) -> &'a Value {
    &span["attributes"].as_array().unwrap().iter().find(|a| a["key"] == key).unwrap_or_else(|| panic!("{key}: {span:#}"))["value"]
}

/// Which traces are told of is said by callers, and so is what is told: spans wait for a collector that is away, so none may be long.
#[tokio::test]
async fn what_callers_make_long_is_short_in_a_span() {
    let world = World::new().await;
    let (at, got, next) = collector().await;
    next.lock().unwrap().push(503);
    let config = world.config(&format!("traces: {{otlp: \"http://{at}\", sample: 0}}\n"));
    let enforcer = Enforcer::start(config, Report::silent()).await.unwrap();
    let parent = format!("traceparent: 00-{PARENT}-00f067aa0ba902b7-01");
    // A character of two bytes stands where the text is cut.
    let path = format!("/v1/items/{}%C3%A9{}", "x".repeat(1024 - 11), "y".repeat(2000));
    let head = format!("GET {path} HTTP/1.1\r\nHost: items\r\nConnection: close\r\n{parent}\r\n\r\n");
    assert_eq!(status(&world.ask(enforcer.inbound()[0], &head).await.unwrap()), 200);
    until("the span comes", || async { spans(&got.lock().unwrap()).len() }, |n| *n == 1).await;
    enforcer.shutdown().await;
    let body = got.lock().unwrap()[0].clone();
    assert!(body.len() < 3072, "{}", body.len());
    let told = attribute(&spans(&[body])[0], "url.path")["stringValue"].as_str().unwrap().to_owned();
    assert!(told.starts_with("/v1/items/xxxx") && told.len() <= 1024, "{}", told.len());
}

#[tokio::test]
async fn a_trace_is_carried_recorded_and_told_of() {
    let world = World::new().await;
    let (at, got, next) = collector().await;
    // A collector that is busy is asked again.
    next.lock().unwrap().extend([503, 429]);
    let config = world.config(&format!("traces: {{otlp: \"http://{at}\", sample: 1}}\n"));
    let enforcer = Enforcer::start(config, Report::silent()).await.unwrap();
    let to = enforcer.inbound()[0];
    let carried =
        world.get(to, &format!("traceparent: 00-{PARENT}-00f067aa0ba902b7-01\r\ntracestate: a=1\r\ntracestate: b=2\r\n")).await.unwrap();
    assert_eq!(status(&carried), 200);
    let heard = carried.split("\r\n\r\n").nth(1).unwrap().to_owned();
    let (parent, state) = heard.split_once('|').unwrap();
    assert!(
        parent.starts_with(&format!("traceparent: 00-{PARENT}-")) && parent.ends_with("-01") && !parent.contains("00f067aa0ba902b7"),
        "{heard}"
    );
    assert_eq!(state, "tracestate: a=1,b=2");
    let begun = world.get(to, "traceparent: 00-XX\r\ntracestate: a=1\r\n").await.unwrap();
    let begun = begun.split("\r\n\r\n").nth(1).unwrap().to_owned();
    assert!(!begun.contains("XX") && !begun.contains("tracestate") && begun.ends_with("-01"), "{begun}");
    // Not sampled by the caller: carried, and nothing is told.
    let quiet = "0af7651916cd43dd8448eb211c80319c";
    world.get(to, &format!("traceparent: 00-{quiet}-00f067aa0ba902b7-00\r\n")).await.unwrap();
    let refused = world.ask(to, "GET /v1/elsewhere HTTP/1.1\r\nHost: items\r\nConnection: close\r\n\r\n").await.unwrap();
    assert_eq!(status(&refused), 403);
    until("three spans come", || async { spans(&got.lock().unwrap()).len() }, |n| *n == 3).await;
    let metrics = enforcer.gate().metrics.render();
    enforcer.shutdown().await;

    let bodies = got.lock().unwrap().clone();
    let all = spans(&bodies);
    let records = world.records("decisions.ndjson");
    let traces: Vec<_> = records
        .iter()
        .filter_map(|r| if let Event::Decided(d) = &r.event { Some(d.request.trace.clone().unwrap()) } else { None })
        .collect();
    assert_eq!(traces.len(), 4);
    assert_eq!((traces[0].as_str(), traces[2].as_str()), (PARENT, quiet));
    assert_eq!(begun.get("traceparent: 00-".len()..).unwrap().get(..32).unwrap(), traces[1]);
    let told: Vec<_> = all.iter().map(|s| s["traceId"].as_str().unwrap()).collect();
    let mut sorted = told.clone();
    sorted.sort_unstable();
    let mut expected = vec![traces[0].as_str(), traces[1].as_str(), traces[3].as_str()];
    expected.sort_unstable();
    assert_eq!(sorted, expected);
    let first = all.iter().find(|s| s["traceId"] == PARENT).unwrap();
    assert_eq!((first["parentSpanId"].as_str(), first["name"].as_str()), (Some("00f067aa0ba902b7"), Some("GET read-item")));
    assert!(parent.contains(first["spanId"].as_str().unwrap()), "the service's parent is the span that is told of");
    assert_eq!(attribute(first, "http.response.status_code")["intValue"], "200");
    assert_eq!(attribute(first, "portreeve.principal")["stringValue"], "spiffe://market.example/ns/shop/sa/invoices");
    assert_eq!(attribute(first, "portreeve.why")["stringValue"], "complete");
    let nanos = |name: &str| first[name].as_str().unwrap().parse::<u128>().unwrap();
    assert!(nanos("endTimeUnixNano") > nanos("startTimeUnixNano"));
    let denied = all.iter().find(|s| s["traceId"] == traces[3]).unwrap();
    assert_eq!(attribute(denied, "portreeve.reason")["stringValue"], "undeclared-operation");
    assert_eq!(attribute(denied, "http.response.status_code")["intValue"], "403");
    assert!(denied.get("parentSpanId").is_none());
    assert!(metrics.lines().any(|l| l == "portreeve_spans_total{result=\"sent\"} 3"), "{metrics}");
    for body in &bodies {
        judged("opentelemetry.proto", OTLP_JUDGE, body);
    }
}

/// The protocol's own definition reads what was sent. Ids are hexadecimal in OTLP, where the mapping has base64 otherwise.
const OTLP_JUDGE: &str = r"
import json, sys
from google.protobuf.json_format import Parse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
text = sys.stdin.read()
found = Parse(text, ExportTraceServiceRequest(), ignore_unknown_fields=False)
spans = [s for r in found.resource_spans for t in r.scope_spans for s in t.spans]
assert spans, text
raw = [s for r in json.loads(text)['resourceSpans'] for t in r['scopeSpans'] for s in t['spans']]
for span, plain in zip(spans, raw):
    assert span.kind == 2 and span.start_time_unix_nano < span.end_time_unix_nano, span
    assert len(bytes.fromhex(plain['traceId'])) == 16 and len(bytes.fromhex(plain['spanId'])) == 8, plain
names = {a.key for a in found.resource_spans[0].resource.attributes}
assert {'service.name', 'service.instance.id'} <= names, names
";

#[tokio::test]
async fn a_collector_that_is_away_costs_spans_and_nothing_else() {
    let world = World::new().await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = nobody.local_addr().unwrap();
    drop(nobody);
    let config = world.config(&format!("traces: {{otlp: \"http://{at}\", sample: 1}}\n"));
    let enforcer = Enforcer::start(config, Report::silent()).await.unwrap();
    let stream = world.connect(enforcer.inbound()[0]).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake::<_, http_body_util::Empty<bytes::Bytes>>(hyper_util::rt::TokioIo::new(stream))
            .await
            .unwrap();
    let driver = tokio::spawn(connection);
    let asked = portreeve_enforcer::limits::SPANS_MAX + portreeve_enforcer::limits::SPANS_BATCH_MAX + 100;
    for _ in 0..asked {
        use http_body_util::BodyExt as _;
        let request = http::Request::builder().uri("/v1/items/1").header("host", "items").body(http_body_util::Empty::new()).unwrap();
        sender.ready().await.unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.into_body().collect().await.unwrap();
    }
    driver.abort();
    let metrics = enforcer.gate().metrics.render();
    // For want of room, or, where requests come slower than the attempts are given up, one batch after another.
    let lost = metrics
        .lines()
        .filter(|l| ["dropped", "refused"].iter().any(|r| l.starts_with(&format!("portreeve_spans_total{{result=\"{r}\"}} "))));
    assert!(lost.filter_map(|l| l.rsplit(' ').next()?.parse::<u64>().ok()).sum::<u64>() > 0, "{metrics}");
    enforcer.shutdown().await;
}

/// One that takes a connection and then says nothing holds up the end no longer than what is left to hand over may take.
#[tokio::test]
async fn what_a_silent_collector_was_offered_is_offered_again_at_the_end() {
    let world = World::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = world.config(&format!("traces: {{otlp: \"http://{}\", sample: 1}}\n", listener.local_addr().unwrap()));
    let enforcer = Enforcer::start(config, Report::silent()).await.unwrap();
    assert_eq!(status(&world.get(enforcer.inbound()[0], "").await.unwrap()), 200);
    let (_silent, _) = listener.accept().await.unwrap();
    let ended = tokio::spawn(enforcer.shutdown());
    let again = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let body = posted(&mut stream, "/v1/traces", "application/json").await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").await.unwrap();
        body
    };
    let body = tokio::time::timeout(crate::world::LIMIT, again).await.expect("it is offered again");
    assert_eq!(spans(&[body]).len(), 1);
    ended.await.unwrap();
}
