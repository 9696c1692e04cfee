//! However many threads read, nothing but the time may tell: logs of every format and layout, whole and damaged, alone and many.

use std::fmt::Write as _;
use std::io::Write as _;

use portreeve_engine::diff::{Side, compare as compared};
use portreeve_engine::{Bundle, Record, SourceFile};

use crate::audit::Audit;
use crate::fold::Fold;
use crate::foreign::mapping::Mapping;
use crate::foreign::{Deciding, ForeignFold, Format, Grade, Place, Reading, Seen, Sketch, Taken, lines_of_all_sorts};
use crate::heads::VerifiedHeads;
use crate::history::History;
use crate::intake::{self, Intake, Line, ReadError, Sink};
use crate::random::Random;
use crate::replay::Replayer;
use crate::replay_logs::{Trial, replay_logs};
use crate::source::LogSource;
use crate::testing::{POLICY, authorizer, memory};
use crate::traffic::traffic;

/// A log and how it is read.
struct Case {
    name: &'static str,
    bytes: Vec<u8>,
    mapping: Option<&'static str>,
    /// Lines that can be looked at apart are answered from memory.
    is_known_again: bool,
}

fn case(name: &'static str, bytes: impl Into<Vec<u8>>) -> Case {
    Case { name, bytes: bytes.into(), mapping: None, is_known_again: true }
}

const LINES: usize = 2_000;

/// Lines of a few forms, with a time, callers, services, paths and numbers put in; now and then something that is none of them.
fn lines(seed: u64, forms: &[&str], strange: &[&str]) -> String {
    let mut random = Random(seed);
    let mut out = String::new();
    for n in 0..LINES {
        let form = if random.below(25) == 0 { random.one(strange) } else { random.one(forms) };
        let time = format!("2026-11-22T1{}:{:02}:{:02}.{:03}Z", n / 1200, n / 20 % 60, n * 2 % 60, random.below(1000));
        let line = form
            .replace("@TIME", &time)
            .replace("@FROM", random.one(&["invoices", "gateway", "users", "stranger"]))
            .replace("@TO", random.one(&["items", "items", "invoices", "nobody"]))
            .replace("@PATH", random.one(&["/v1/items/1", "/v1/items/2", "/v1/invoices", "/", "/x?card=4111111111111111", "/a?cvv=123"]))
            .replace("@N", &(n + 7 * (n / 900)).to_string())
            .replace("@SMALL", &random.below(9).to_string())
            .replace("@ID", &format!("r{}", n / 2));
        writeln!(out, "{line}").unwrap();
    }
    out
}

const ISTIO_TEXT: &str = r#"[@TIME] "GET @PATH HTTP/1.1" 200 - via_upstream - "-" 0 178 @SMALL 0 "-" "agent" "@ID" "@TO:8080" "10.1.0.1:8080" inbound|8080|| 127.0.0.6:1 10.1.0.1:8080 10.0.0.@SMALL:40000 outbound_.8080_._.@TO.shop.svc.cluster.local default"#;
const ISTIO_DENIED: &str = r#"[@TIME] "POST @PATH HTTP/1.1" 403 - rbac_access_denied_matched_policy[none] - "-" 0 19 0 - "-" "curl" "@ID" "@TO:8080" "-" inbound|8080|| - 10.1.0.1:8080 10.0.0.@SMALL:4 outbound_.8080_._.@TO.shop.svc.cluster.local default"#;
const ENVOY_TEXT: &str = r#"[@TIME] "GET @PATH HTTP/1.1" 200 - 0 178 @SMALL 0 "-" "agent" "@ID" "@TO:8080" "10.1.0.1:8080""#;
const MESSAGE: &str = "[2026-11-22 10:00:00.000][1][warning][runtime] [file.cc:31] words";
const CARD: &str = r#"{"card":"4111 1111 1111 1111","start_time":"@TIME","timestamp":"@TIME"}"#;
const TORN: &str = r#"{"timestamp":"@TIME","half"#;

const LINKERD: &str = r#"{"client.addr":"10.42.0.@SMALL:3299@SMALL","client.id":"@FROM.shop.serviceaccount.identity.linkerd.cluster.local","host":"@TO:7000","method":"GET","status":200,"timestamp":"@TIME","uri":"http://@TO:7000@PATH","version":"HTTP/2.0"}"#;
const ZTUNNEL_TEXT: &str = "@TIME\tinfo\taccess\tconnection complete\tsrc.addr=10.244.0.@SMALL:59115 src.workload=@FROM-1 src.namespace=shop src.identity=\"spiffe://market.example/ns/shop/sa/@FROM\" dst.addr=10.244.0.14:9080 dst.service=@TO.shop.svc.cluster.local dst.workload=@TO-1 dst.namespace=shop dst.identity=\"spiffe://market.example/ns/shop/sa/@TO\" direction=\"inbound\" bytes_sent=@N bytes_recv=200 duration=\"6ms\"";
const ZTUNNEL_JSON: &str = r#"{"level":"info","time":"@TIME","scope":"access","message":"connection complete","src.addr":"10.244.0.@SMALL:59115","src.workload":"@FROM-1","src.namespace":"shop","dst.addr":"10.244.0.14:9080","dst.service":"@TO.shop.svc.cluster.local","direction":"outbound","bytes_sent":200,"bytes_recv":@N}"#;
const HUBBLE: &str = r#"{"time":"@TIME","verdict":"FORWARDED","IP":{"source":"10.40.1.@SMALL","destination":"10.148.0.92","ipVersion":"IPv4"},"l4":{"TCP":{"source_port":59@SMALL,"destination_port":8080,"flags":{"SYN":true}}},"source":{"namespace":"shop","labels":["k8s:app=@FROM"],"pod_name":"@FROM-0"},"destination":{"namespace":"shop","labels":["k8s:app=@TO"],"pod_name":"@TO-0"},"Type":"L3_L4","traffic_direction":"EGRESS","is_reply":false}"#;
const HUBBLE_WRAPPED: &str = r#"{"flow":{"time":"@TIME","verdict":"DROPPED","traffic_direction":"INGRESS","source":{"labels":["k8s:app=@FROM"],"namespace":"shop"},"destination":{"labels":["k8s:app=@TO"],"namespace":"shop"},"l4":{"TCP":{"destination_port":8080}},"l7":{"type":"REQUEST","http":{"method":"GET","url":"http://@TO:8080@PATH"}}}}"#;
const HUBBLE_LOST: &str =
    r#"{"lost_events":{"source":"HUBBLE_RING_BUFFER","num_events_lost":"@SMALL","cpu":0},"node_name":"n","time":"@TIME"}"#;
const HUBBLE_PACKET: &str = r#"{"time":"@TIME","verdict":"FORWARDED","IP":{"source":"10.40.1.1","destination":"10.148.0.92"},"l4":{"TCP":{"source_port":5,"destination_port":8080,"flags":{"ACK":true}}},"Type":"L3_L4","is_reply":false}"#;
const OPA: &str = r#"{"decision_id":"d@N","input":{"attributes":{"destination":{"principal":"spiffe://market.example/ns/shop/sa/@TO"},"request":{"http":{"headers":{"x-request-id":"@ID"},"host":"@TO:8080","method":"GET","path":"@PATH"}},"source":{"principal":"spiffe://market.example/ns/shop/sa/@FROM","address":{"socketAddress":{"address":"10.244.2.10","portValue":53@SMALL}}}}},"result":true,"timestamp":"@TIME"}"#;
const OPA_STATUS: &str = r#"{"decision_id":"d@N","metrics":{"<built-in>":{"counter_decision_logs_dropped":@N}},"result":false,"input":{"attributes":{"request":{"http":{"method":"GET","path":"@PATH","host":"@TO"}}}},"timestamp":"@TIME"}"#;
const KUMA: &str =
    "[@TIME] - default 10.0.0.@SMALL(@FROM_shop_svc_80)->10.0.0.2:8080(@TO_shop_svc_8080) took 12ms, sent 7 bytes, received: 9 bytes";
const ROW: &str = "@N;@TIME;spiffe://market.example/ns/shop/sa/@FROM;@TO;GET;@PATH;OK";
const BY_COLUMNS: &str = "lines: csv\ndelimiter: \";\"\nfields: {time: start, caller: source, callee: target, method: verb, path: path, note: status, sequence: no}\nresults: {ignored: NODATA, lost: SKIPDATA}\n";
const BY_KEYS: &str = "lines: json\nfields: {time: t, caller_address: from, callee: to, port: port}\naddresses:\n  - {network: 10.0.0.0/30, service: invoices}\n  - {network: 10.0.0.4, service: users}\n";
const BY_TIMES: &str = "lines: json\nfields: {time: t, caller_address: from, callee: to, port: port}\naddresses:\n  - {network: 10.0.0.0/30, service: invoices, until: 2026-11-22T10:30:00Z}\n";
const BY_KEY: &str = r#"{"t":"@TIME","from":"10.0.0.@SMALL","to":"@TO","port":8080}"#;

fn of_every_format() -> Vec<Case> {
    let strange = [MESSAGE, CARD, TORN, ""];
    let head = "no;start;source;target;verb;path;status\n";
    let rows = lines(9, &[ROW], &["@N;@TIME;-;-;-;-;NODATA", "@N;@TIME;-;-;-;-;SKIPDATA", "@N;soon;a;b;c;/;OK", "too;few"]);
    let mapped = |name, bytes: String, mapping, is_known_again| Case { mapping: Some(mapping), is_known_again, ..case(name, bytes) };
    vec![
        case("istio-json", [lines_of_all_sorts(0x5eed_0030, LINES), lines(1, &[CARD], &[TORN]).into_bytes()].concat()),
        case("istio-text", lines(2, &[ISTIO_TEXT, ISTIO_DENIED], &strange)),
        case("envoy-text", lines(3, &[ENVOY_TEXT, ENVOY_TEXT, ISTIO_TEXT], &strange)),
        case("kuma", lines(4, &[KUMA], &strange)),
        case("linkerd", lines(5, &[LINKERD], &strange)),
        case("ztunnel", lines(6, &[ZTUNNEL_TEXT, ZTUNNEL_JSON], &[MESSAGE, TORN, "@TIME\tinfo\tproxy\tstarted"])),
        case("hubble", lines(7, &[HUBBLE, HUBBLE_WRAPPED, HUBBLE_PACKET], &[HUBBLE_LOST, TORN])),
        case("opa", lines(8, &[OPA], &[OPA_STATUS, TORN])),
        mapped("columns", format!("{head}{rows}"), BY_COLUMNS, true),
        mapped("columns without a head", rows, BY_COLUMNS, false),
        mapped("addresses", lines(10, &[BY_KEY], &strange), BY_KEYS, true),
        mapped("addresses at times", lines(11, &[BY_KEY], &strange), BY_TIMES, false),
    ]
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

/// The same log in every layout, and damaged in every way.
fn in_every_layout() -> Vec<Case> {
    let istio = lines_of_all_sorts(0x5eed_0031, LINES);
    let linkerd = lines(12, &[LINKERD], &[MESSAGE, CARD, TORN]).into_bytes();
    let text = String::from_utf8(linkerd.clone()).unwrap();
    let objects: Vec<&str> = text.lines().filter(|line| line.ends_with('}')).collect();
    let kubelet = |line: &str| {
        let (a, b) = line.split_at(line.len() / 2);
        format!("2026-11-22T10:00:00.000000000Z stdout P {a}\n2026-11-22T10:00:00.000000000Z stdout F {b}\n")
    };
    let docker =
        |line: &str| format!("{}\n", serde_json::json!({"log": format!("{line}\n"), "stream": "stdout", "time": "2026-11-22T10:00:00Z"}));
    let mut long = linkerd.clone();
    let middle = long.len() / 2;
    long.splice(middle..middle, vec![b'x'; crate::limits::LINE_BYTES_MAX + 9]);
    let control: Vec<u8> = istio.iter().enumerate().map(|(n, b)| if n % 9_999 == 0 && *b != b'\n' { 0x1b } else { *b }).collect();
    let parquet = |name: &str| {
        std::fs::read(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus/logs/parquet").join(name)).unwrap()
    };
    let half = |bytes: Vec<u8>| bytes[..bytes.len() / 2].to_vec();
    vec![
        case("an array", format!("[{}]", objects.join(",\n  "))),
        case("parts of the kubelet", text.lines().map(kubelet).collect::<String>()),
        case("docker", objects.iter().map(|line| docker(line)).collect::<String>()),
        case("torn", linkerd[..linkerd.len() - 30].to_vec()),
        case("begins in the middle", istio[400..].to_vec()),
        case("a line that is too long", long),
        case("control bytes", control),
        case("short lines", [linkerd.clone(), b"\n".repeat(50_000), b"x\n".repeat(9_000), linkerd.clone()].concat()),
        case("gzip", gzip(&istio)),
        case("zstd", zstd::encode_all(&*istio, 1).unwrap()),
        case("cut gzip", half(gzip(&istio))),
        case("cut zstd", half(zstd::encode_all(&*linkerd, 1).unwrap())),
        Case { is_known_again: false, ..case("rows", parquet("istio.parquet")) },
        Case { is_known_again: false, ..case("few rows", parquet("hubble.parquet")) },
    ]
}

impl Case {
    fn reading(&self, threads: usize) -> Reading {
        let reading = self.mapping.map(|mapping| Reading::of(Mapping::parse("mapping.yaml", mapping).unwrap())).unwrap_or_default();
        reading.on_threads(threads)
    }

    fn logs(&self) -> Vec<LogSource> {
        // The same again, and once more so short that it is not read ahead.
        let short: Vec<u8> = self.bytes.iter().copied().take(crate::limits::AHEAD_BYTES_MIN as usize / 2).collect();
        let all = [memory("one", &self.bytes), memory("two", &self.bytes)];
        let is_packed = self.bytes.starts_with(b"PAR1") || self.name.contains("zstd") || self.name.contains("gzip");
        all.into_iter().chain((!is_packed).then(|| memory("short", &short))).collect()
    }
}

/// A fold that notes whether lines were fetched, which of formats that are not sketched only those are that were looked at apart.
struct Watched<'a> {
    fold: Fold<'a>,
    remembers: bool,
    fetched: std::cell::Cell<usize>,
}

impl Sink for Watched<'_> {
    fn take(&mut self, line: &Line, record: Record) -> bool {
        self.fold.take(line, record)
    }

    fn seen(&mut self, format: Format, place: &Place<'_>, seen: &Seen<'_>, deciding: Option<Deciding<'_>>) -> Taken {
        self.fold.seen(format, place, seen, deciding)
    }

    fn remembers(&self) -> bool {
        self.remembers
    }

    fn recalls(&self, whole: bool) -> bool {
        self.remembers && self.fold.recalls(whole)
    }

    fn fetch(&self, sketched: &mut dyn Iterator<Item = (portreeve_engine::Timestamp, u64)>) {
        self.fetched.set(self.fetched.get() + sketched.count());
    }

    fn seen_again(&mut self, place: &Place<'_>, sketch: &Sketch<'_>, deciding: Deciding<'_>) -> Option<(Taken, Grade)> {
        self.fold.seen_again(place, sketch, deciding)
    }
}

/// All that a reading finds; how many lines were answered from memory, and questions asked; and how many lines were fetched before.
fn read(case: &Case, threads: usize, remembers: bool) -> (String, [u64; 2], usize) {
    let law = authorizer(POLICY);
    let reading = case.reading(threads);
    let fold = Fold::new(Replayer::new([&law]), ForeignFold::new([&law], reading.names.clone()));
    let mut sink = Watched { fold, remembers, fetched: std::cell::Cell::default() };
    let mut told = Vec::new();
    let intake: Result<Intake, ReadError> =
        intake::read(&case.logs(), &VerifiedHeads::default(), &reading, &mut sink, &mut |bytes| told.push(bytes));
    assert!(told.is_sorted(), "{}", case.name);
    let (again, asked) = (sink.fold.foreign.again, sink.fold.foreign.asked);
    sink.fold.finish();
    let inputs = intake.map(|intake| intake.inputs).map_err(|error| error.to_string());
    let fold = &sink.fold;
    let found = format!(
        "{:?} {inputs:?} {:?} {:?} {:?} {:?} {}",
        told.last(),
        fold.ledger,
        fold.totals,
        fold.seen,
        fold.foreign.surplus,
        fold.foreign.not_paired()
    );
    (found, [again, asked], sink.fetched.get())
}

fn compare(case: &Case) {
    let (one, known, _) = read(case, 1, true);
    let (plainly, [none, _], _) = read(case, 1, false);
    assert!(plainly == one && none == 0, "{}: what is remembered counts otherwise\n{one:.2000}\n{plainly:.2000}", case.name);
    for threads in [2, 5] {
        let (several, as_often, fetched) = read(case, threads, true);
        assert!(
            several == one && as_often == known,
            "{}: {threads} threads find something else than one\n{one:.2000}\n{several:.2000}",
            case.name
        );
        assert_eq!(fetched > 300, case.is_known_again, "{}: {fetched} lines were looked at apart", case.name);
    }
    assert_eq!(known[0] > 300, case.is_known_again, "{}: {known:?} lines were known again, and questions asked", case.name);
}

#[test]
fn logs_of_every_format_are_read_the_same_on_any_number_of_threads() {
    of_every_format().iter().for_each(compare);
}

#[test]
fn logs_of_every_layout_are_read_the_same_on_any_number_of_threads() {
    in_every_layout().iter().for_each(compare);
}

/// Of several files one beside another, and through every verb that reads other meshes' logs.
#[test]
fn every_verb_says_the_same_on_any_number_of_threads() {
    let proposed = POLICY.replace("from: [invoices], to: items", "from: [users], to: items");
    let (before, after) = (authorizer(POLICY), authorizer(&proposed));
    let file = |text: &str| SourceFile { path: "policy.yaml".to_owned(), bytes: text.as_bytes().to_vec() };
    let [old, new] = [POLICY, &proposed].map(|text| Bundle::from_files("market", vec![file(text)]).unwrap());
    let comparison = compared(Side { bundle: &old, authorizer: &before }, Side { bundle: &new, authorizer: &after });
    let istio = lines_of_all_sorts(0x5eed_0032, LINES);
    let (begins, ends) = istio.split_at(istio.len() / 2 + 100);
    let mut logs = vec![memory("log.1", begins), memory("log", ends)];
    logs.extend(of_every_format().iter().filter(|case| case.mapping.is_none()).map(|case| memory(case.name, &case.bytes)));
    let said = |threads: usize| {
        let reading = Reading::default().on_threads(threads);
        let audit = Audit::new(vec![("market".to_owned(), authorizer(POLICY))]).logs(logs.clone()).reading(reading.clone());
        let audit = serde_json::to_string(&audit.run(&mut |_| {}).unwrap()).unwrap();
        let (bundles, history) = ([&before], History::default());
        let trial = Trial { bundles: &bundles, history: &history, against: Some(&after) };
        let replayed = replay_logs(trial, &logs, &reading, &mut |_| {}).unwrap();
        let recorded = traffic(&logs, &reading, [&before, &after], &comparison, &mut |_| {}).unwrap();
        (audit, format!("{replayed:?}"), format!("{recorded:?}"))
    };
    let one = said(1);
    assert!(one.0.contains("rests of lines that another file begins"));
    assert!(said(3) == one, "three threads say something else than one");
}

/// What cannot be read is told as by one thread, after the same lines.
#[test]
fn what_cannot_be_read_is_told_the_same_on_any_number_of_threads() {
    let two_formats = [lines(13, &[LINKERD], &[LINKERD]), lines(14, &[ZTUNNEL_TEXT], &[ZTUNNEL_TEXT])];
    let mixed: String = two_formats[0].lines().zip(two_formats[1].lines()).flat_map(|(a, b)| [a, "\n", b, "\n"]).collect();
    let nothing = "neither this nor that\n".repeat(1_000);
    for (name, bytes) in [("two formats", mixed), ("no format", nothing)] {
        let case = Case { is_known_again: false, ..case(name, bytes) };
        let one = read(&case, 1, true).0;
        assert!(one.contains("Err("), "{name}: {one}");
        assert_eq!(read(&case, 3, true).0, one);
    }
}
