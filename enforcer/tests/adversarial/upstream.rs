//! A service that keeps every byte it gets. It answers by the last segment of the path, and can behave as badly as services do.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use crate::client::{find, header_of, unchunk};

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header_of(&self.head, name)
    }

    pub(crate) fn headers(&self, name: &str) -> Vec<&str> {
        let pairs = self.head.split("\r\n").skip(1).filter_map(|l| l.split_once(':'));
        pairs.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim()).collect()
    }
}

#[derive(Clone)]
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    /// Every byte of every connection, in the order in which they were opened.
    pub(crate) bytes: Arc<Mutex<Vec<Vec<u8>>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
    /// Keeps only targets: for a test that asks a million times.
    forgetful: bool,
}

impl Upstream {
    pub(crate) fn start() -> Self {
        Self::begin(false)
    }

    /// One that remembers what it was asked for and nothing else.
    pub(crate) fn forgetful() -> Self {
        Self::begin(true)
    }

    fn begin(forgetful: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let upstream = Self { address: listener.local_addr().unwrap(), bytes: Arc::default(), seen: Arc::default(), forgetful };
        let theirs = upstream.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { continue };
                let n = {
                    let mut bytes = theirs.bytes.lock().unwrap();
                    bytes.push(Vec::new());
                    bytes.len() - 1
                };
                let theirs = theirs.clone();
                std::thread::spawn(move || theirs.serve(n, stream));
            }
        });
        upstream
    }

    /// The requests whose heads arrived, with as much of their bodies as was read.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn targets(&self) -> Vec<String> {
        self.seen().into_iter().map(|s| s.target).collect()
    }

    /// Whether these bytes arrived anywhere.
    pub(crate) fn got(&self, what: &[u8]) -> bool {
        self.bytes.lock().unwrap().iter().any(|conn| find(conn, what).is_some())
    }

    fn serve(&self, n: usize, mut stream: TcpStream) {
        let mut held = Vec::new();
        loop {
            let Some(end) = self.until(n, &mut stream, &mut held, |held| find(held, b"\r\n\r\n")) else { return };
            let head = String::from_utf8_lossy(&held[..end]).into_owned();
            held.drain(..end + 4);
            let mut words = head.split(' ');
            let (method, target) = (words.next().unwrap().to_owned(), words.next().unwrap_or_default().to_owned());
            let last = target.split('?').next().unwrap().rsplit('/').next().unwrap().to_owned();
            let at = {
                let mut seen = self.seen.lock().unwrap();
                let kept = if self.forgetful { String::new() } else { head.clone() };
                seen.push(Seen { method, target: target.clone(), head: kept, body: Vec::new() });
                seen.len() - 1
            };
            if before_the_body(&last, &mut stream) {
                return;
            }
            let body = if header_of(&head, "transfer-encoding").is_some() {
                let whole = |held: &[u8]| {
                    if held.starts_with(b"0\r\n\r\n") {
                        Some(5)
                    } else {
                        find(held, b"\r\n0\r\n").and_then(|at| find(&held[at + 2..], b"\r\n\r\n").map(|e| at + 2 + e + 4))
                    }
                };
                let Some(end) = self.until(n, &mut stream, &mut held, whole) else { return };
                let body = unchunk(&held[..end]).0;
                held.drain(..end);
                body
            } else {
                let length: usize = header_of(&head, "content-length").map_or(0, |l| l.parse().unwrap());
                if self.until(n, &mut stream, &mut held, |held| (held.len() >= length).then_some(())).is_none() {
                    return;
                }
                held.drain(..length).collect()
            };
            if !self.forgetful {
                self.seen.lock().unwrap()[at].body = body;
            }
            if after_the_body(&last, &target, &mut stream) {
                return;
            }
        }
    }

    /// Reads until `enough` says so; `None` when the gate closes before.
    fn until<T>(&self, n: usize, stream: &mut TcpStream, held: &mut Vec<u8>, enough: impl Fn(&[u8]) -> Option<T>) -> Option<T> {
        let mut part = [0; 16 * 1024];
        loop {
            if let Some(found) = enough(held) {
                return Some(found);
            }
            let count = stream.read(&mut part).ok().filter(|count| *count > 0)?;
            if !self.forgetful {
                self.bytes.lock().unwrap()[n].extend_from_slice(&part[..count]);
            }
            held.extend_from_slice(&part[..count]);
        }
    }
}

/// What it does before it reads the body. Whether that ends the connection.
fn before_the_body(last: &str, stream: &mut TcpStream) -> bool {
    match last {
        "die-early" => {
            let _ = stream.shutdown(Shutdown::Both);
            true
        }
        // Answers at once and goes on reading: the body is still on its way.
        "early" => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly");
            false
        }
        // The same, but the answer is whole only when the body is.
        "early-half" => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nearly");
            false
        }
        _ => false,
    }
}

fn after_the_body(last: &str, target: &str, stream: &mut TcpStream) -> bool {
    let answer = |stream: &mut TcpStream, bytes: &[u8]| stream.write_all(bytes).is_err();
    match last {
        "early" => false,
        "early-half" => answer(stream, b"later"),
        "die" => true,
        "die-head" => answer(stream, b"HTTP/1.1 200 OK\r\nContent-Le") | true,
        "die-mid" => answer(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly these") | true,
        "die-chunk" => answer(stream, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nonly these\r\n") | true,
        "slow" => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n");
            hold(stream)
        }
        "silent" => hold(stream),
        "switch" => answer(stream, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"),
        "claims" => answer(
            stream,
            b"HTTP/1.1 200 OK\r\nx-portreeve-principal: spiffe://evil/x\r\nx-request-id: theirs\r\nConnection: x-hop\r\nx-hop: 1\r\nContent-Length: 2\r\n\r\nok",
        ),
        // Two answers to one question: the second must reach nobody.
        "double" => answer(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\noneHTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned"),
        "both-lengths" => answer(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n0\r\n\r\n"),
        "big" => answer(stream, &[b"HTTP/1.1 200 OK\r\nContent-Length: 4194304\r\n\r\n".as_slice(), &vec![b'b'; 4 << 20]].concat()),
        "huge-head" => {
            let lines: String = (0..400).map(|n| format!("x-{n}: {}\r\n", "v".repeat(1000))).collect();
            answer(stream, format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: 2\r\n\r\nok").as_bytes())
        }
        _ => {
            let body = format!("you asked for {target}");
            answer(stream, format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes())
        }
    }
}

/// Keeps the connection until the gate closes it.
fn hold(stream: &mut TcpStream) -> bool {
    let mut byte = [0; 1024];
    while stream.read(&mut byte).is_ok_and(|n| n > 0) {}
    true
}
