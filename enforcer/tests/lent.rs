//! Memory is lent among the requests of a thread: no byte of one request shows in another's head, body, answer or record.
//!
//! Every request carries a mark of its own wherever it can carry text, many run at once over both protocols, and the service answers,
//! breaks off, closes and says too much by lot (a fixed seed, printed). Whatever arrives anywhere must bear one mark.

#![cfg(test)]

#[path = "common/world.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod world;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use portreeve_enforcer::Enforcer;
use portreeve_enforcer::report::Report;
use portreeve_engine::Event;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use world::{SHOP, World, service};

const SEED: u64 = 0x9e37_79b9_7f4a_7c15;
const CALLERS: u64 = 8;
const REQUESTS: u64 = 120;

/// Numbers by lot, the same in every run.
struct Lot(u64);

impl Lot {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

fn mark(caller: u64, n: u64) -> String {
    format!("m{caller:02}{n:04}m")
}

/// All marks in a text, those that are cut off at its end left aside.
fn marks(text: &[u8]) -> BTreeSet<String> {
    let is_mark = |w: &&[u8]| w[0] == b'm' && w[7] == b'm' && w[1..7].iter().all(u8::is_ascii_digit);
    text.windows(8).filter(is_mark).map(|w| String::from_utf8(w.to_vec()).unwrap()).collect()
}

fn only(mark: &str, text: &[u8], what: &str) {
    let found = marks(text);
    assert!(found.iter().all(|m| m == mark), "{what} of {mark} shows {found:?} (seed {SEED:#x})");
}

/// A service that tells each caller what it got, and does not always end well.
async fn telling(stream: &mut TcpStream, heads: &Mutex<Vec<(Vec<u8>, Vec<u8>)>>, mut lot: Lot) -> Option<()> {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.ok()?);
        }
        let text = String::from_utf8(head.clone()).unwrap().to_ascii_lowercase();
        let length = text.split("content-length: ").nth(1).map_or(0, |t| t.split('\r').next().unwrap().parse().unwrap());
        if lot.below(8) == 0 {
            // It answers before it has read, or goes without a word.
            heads.lock().unwrap().push((head.clone(), Vec::new()));
            let _ = stream.write_all(&[b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n", head.as_slice()].concat()).await;
            return None;
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.ok()?;
        let got = [head.as_slice(), &body].concat();
        heads.lock().unwrap().push((head, body));
        let sized = [format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", got.len()).as_bytes(), &got].concat();
        match lot.below(8) {
            0 => stream.write_all(&sized[..sized.len() / 2]).await.ok()?,
            1 => {
                for part in got.chunks(1000) {
                    let begin = if part.as_ptr() == got.as_ptr() { "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" } else { "" };
                    stream.write_all(&[format!("{begin}{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat()).await.ok()?;
                }
                stream.write_all(b"0\r\n\r\n").await.ok()?;
                continue;
            }
            // More than was asked for: it is nobody's answer.
            2 => {
                stream.write_all(&[sized.as_slice(), &sized].concat()).await.ok()?;
                continue;
            }
            3 => stream.write_all(&[b"HTTP/1.1 200 OK\r\ncontent-length: nothing\r\n\r\n", got.as_slice()].concat()).await.ok()?,
            _ => {
                stream.write_all(&sized).await.ok()?;
                continue;
            }
        }
        return None;
    }
}

/// Requests of HTTP/1, as many on a connection as it lasts.
async fn http1(world: &World, enforcer: &Enforcer, caller: u64) {
    let (mut lot, mut stream) = (Lot(SEED ^ caller), None);
    for n in 0..REQUESTS {
        let mark = mark(caller, n);
        let body = mark.repeat(usize::try_from(lot.below(3) * lot.below(1500)).unwrap());
        let line = if body.is_empty() { format!("GET /v1/items/{mark}?q={mark}") } else { format!("POST /v1/items?q={mark}") };
        // Some are denied, some are broken.
        let line = if lot.below(10) == 0 { line.replace("/v1/items", "/v1//items") } else { line };
        let line = if lot.below(10) == 0 { line.replace("/v1/items", "/admin") } else { line };
        let head = format!("{line} HTTP/1.1\r\nHost: items\r\nX-Tenant: {mark}\r\nX-Request-Id: {mark}\r\nX-Other: {mark}\r\n");
        let head = if body.is_empty() { format!("{head}\r\n") } else { format!("{head}Content-Length: {}\r\n\r\n", body.len()) };
        let mut conn = match stream.take() {
            Some(conn) => conn,
            None => world.connect(enforcer.inbound()[0], "invoices", b"http/1.1").await,
        };
        let sent = conn.write_all(format!("{head}{body}").as_bytes()).await.is_ok();
        let (mut got, mut buffer) = (Vec::new(), vec![0; 16_384]);
        let whole = loop {
            if let Some(end) = is_whole(&got) {
                break end == got.len();
            }
            match conn.read(&mut buffer).await {
                Ok(n @ 1..) => got.extend_from_slice(&buffer[..n]),
                _ => break false,
            }
        };
        only(&mark, &got, "an answer");
        if sent && whole && !String::from_utf8_lossy(&got).to_ascii_lowercase().contains("connection: close") {
            stream = Some(conn);
        }
    }
}

/// Where an answer ends, once all of it is there.
fn is_whole(got: &[u8]) -> Option<usize> {
    let end = got.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&got[..end]).to_ascii_lowercase();
    if head.contains("transfer-encoding: chunked") {
        return got[end..].windows(5).position(|w| w == b"0\r\n\r\n").map(|at| end + at + 5);
    }
    let length: usize = head.split("content-length: ").nth(1)?.split('\r').next()?.parse().ok()?;
    (got.len() >= end + length).then_some(end + length)
}

/// Requests of HTTP/2, eight at once on a connection.
async fn http2(world: &World, enforcer: &Enforcer, caller: u64) {
    let mut lot = Lot(SEED ^ caller);
    let stream = world.connect(enforcer.inbound()[0], "invoices", b"h2").await;
    let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let driver = tokio::spawn(connection);
    for first in (0..REQUESTS).step_by(8) {
        let asked = (first..first + 8).map(|n| {
            let (mark, mut sender) = (mark(caller, n), sender.clone());
            let body = mark.repeat(usize::try_from(lot.below(3) * lot.below(1500)).unwrap());
            let (method, path) = if body.is_empty() { ("GET", format!("/v1/items/{mark}")) } else { ("POST", "/v1/items".to_owned()) };
            let path = if lot.below(10) == 0 { path.replace("/v1/items", "/admin") } else { path };
            let gives_up = lot.below(10) == 0;
            let request = Request::builder().method(method).uri(format!("https://items{path}?q={mark}"));
            let request = ["x-tenant", "x-request-id", "x-other"].iter().fold(request, |r, name| r.header(*name, &mark));
            let request = request.body(Full::new(Bytes::from(body))).unwrap();
            async move {
                let Ok(answer) = sender.send_request(request).await else { return };
                let (parts, mut body) = answer.into_parts();
                only(&mark, format!("{:?}", parts.headers).as_bytes(), "a head");
                let mut got = Vec::new();
                while let Some(Ok(frame)) = body.frame().await {
                    got.extend_from_slice(&frame.into_data().unwrap_or_default());
                    if gives_up {
                        break;
                    }
                }
                only(&mark, &got, "an answer");
            }
        });
        futures_util::future::join_all(asked.collect::<Vec<_>>()).await;
    }
    drop(sender);
    driver.abort();
}

#[tokio::test]
async fn no_byte_of_a_request_shows_in_another() {
    let world = World::new(SHOP);
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&heads);
    let upstream = service(move |n, mut stream| {
        let heads = Arc::clone(&seen);
        async move {
            telling(&mut stream, &heads, Lot(SEED.rotate_left(u32::try_from(n % 64).unwrap()))).await;
        }
    })
    .await;
    // All of them on one thread, which lends the memory.
    let enforcer = Enforcer::start(world.config(upstream, "", "workers: 1\n"), Report::silent()).await.unwrap();
    let callers = (0..CALLERS).map(|caller| {
        let (world, enforcer) = (&world, &enforcer);
        async move { if caller % 2 == 0 { http1(world, enforcer, caller).await } else { http2(world, enforcer, caller).await } }
    });
    tokio::time::timeout(std::time::Duration::from_secs(120), futures_util::future::join_all(callers)).await.expect("it ends");
    enforcer.shutdown().await;
    let heads = heads.lock().unwrap();
    assert!(heads.len() > 500, "{} arrived", heads.len());
    for (head, body) in heads.iter() {
        let found = marks(head);
        assert_eq!(found.len(), 1, "{found:?} in one head (seed {SEED:#x})");
        only(found.first().unwrap(), body, "the body");
    }
    let text = std::fs::read_to_string(world.path("decisions.ndjson")).unwrap();
    assert!(text.lines().all(|line| marks(line.as_bytes()).len() <= 1), "seed {SEED:#x}");
    let told: BTreeSet<String> = world
        .records()
        .iter()
        .filter_map(|r| if let Event::Decided(decided) = &r.event { decided.request.correlation.clone() } else { None })
        .collect();
    assert_eq!(u64::try_from(told.len()).unwrap(), CALLERS * REQUESTS, "every request has its record");
}
