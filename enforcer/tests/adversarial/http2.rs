//! HTTP/2 by hand: a writer and reader of raw frames, and as much of HPACK as an attacker needs.
//!
//! No library stands between a test and the wire, so every frame can be wrong in its own way.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::SocketAddr;

use crate::client::{Client, Conn};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// What came back on one stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    pub(crate) reset: Option<u32>,
    pub(crate) ended: bool,
}

pub(crate) struct Http2 {
    pub(crate) conn: Conn,
    pub(crate) replies: BTreeMap<u32, Reply>,
    /// The error code of the gate's GOAWAY.
    pub(crate) goaway: Option<u32>,
    pub(crate) pings: usize,
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// A header block of literals that no table remembers.
pub(crate) fn block(headers: &[(&str, &str)]) -> Vec<u8> {
    headers.iter().flat_map(|(name, value)| literal(name.as_bytes(), value.as_bytes())).collect()
}

pub(crate) fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    [&[0], string(name).as_slice(), &string(value)].concat()
}

pub(crate) fn string(text: &[u8]) -> Vec<u8> {
    let mut out = integer(text.len(), 7, 0);
    out.extend_from_slice(text);
    out
}

/// An integer with a prefix of `bits` bits under `pattern` (RFC 7541, 5.1).
pub(crate) fn integer(mut value: usize, bits: u8, pattern: u8) -> Vec<u8> {
    let max = (1_usize << bits) - 1;
    if value < max {
        return vec![pattern | u8::try_from(value).unwrap()];
    }
    let mut out = vec![pattern | u8::try_from(max).unwrap()];
    value -= max;
    while value >= 128 {
        out.push(u8::try_from(value % 128 + 128).unwrap());
        value /= 128;
    }
    out.push(u8::try_from(value).unwrap());
    out
}

/// The pseudo-headers of a request to `items`.
pub(crate) fn request(method: &str, path: &str) -> Vec<u8> {
    block(&[(":method", method), (":scheme", "https"), (":authority", "items"), (":path", path)])
}

impl Http2 {
    /// Opens a connection: preface and settings; what the gate sends in return is read later.
    pub(crate) fn open(client: &Client, to: SocketAddr) -> Self {
        let conn = client.clone().alpn(&["h2"]).open(to);
        let mut http2 = Self { conn, replies: BTreeMap::new(), goaway: None, pings: 0 };
        http2.raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        // Without a table of its own the gate spells every header out, so that this reader needs no table either.
        http2.send(SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 0]).unwrap();
        http2
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.conn.write_all(bytes)?;
        self.conn.flush()
    }

    pub(crate) fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
        self.raw(&frame(kind, flags, stream, payload))
    }

    /// The next frame; `None` when the gate has closed.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.exact(&mut head)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.exact(&mut payload)?;
        let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    fn exact(&mut self, out: &mut [u8]) -> Option<()> {
        match self.conn.read_exact(out) {
            Ok(()) => Some(()),
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                panic!("the gate is silent; replies so far {:?}", self.replies)
            }
            Err(_) => None,
        }
    }

    /// Takes one frame in. `false` when the gate has closed.
    pub(crate) fn step(&mut self) -> bool {
        let Some(frame) = self.next() else { return false };
        let code = |at: usize| u32::from_be_bytes(frame.payload[at..at + 4].try_into().unwrap());
        match frame.kind {
            SETTINGS if frame.flags & ACK == 0 => {
                let _ = self.send(SETTINGS, ACK, 0, &[]);
            }
            PING if frame.flags & ACK == 0 => {
                let _ = self.send(PING, ACK, 0, &frame.payload);
            }
            PING => self.pings += 1,
            GOAWAY => self.goaway = Some(code(4)),
            RST_STREAM => self.replies.entry(frame.stream).or_default().reset = Some(code(0)),
            HEADERS => {
                let reply = self.replies.entry(frame.stream).or_default();
                if reply.status == 0 {
                    reply.status = status(&frame.payload);
                }
                reply.ended |= frame.flags & END_STREAM != 0;
            }
            DATA => {
                let reply = self.replies.entry(frame.stream).or_default();
                reply.body.extend_from_slice(&frame.payload);
                reply.ended |= frame.flags & END_STREAM != 0;
            }
            _ => {}
        }
        true
    }

    /// Reads until this stream has its answer or was reset. A closed connection leaves what there was.
    pub(crate) fn reply(&mut self, stream: u32) -> Reply {
        loop {
            let reply = self.replies.get(&stream).cloned().unwrap_or_default();
            if reply.ended || reply.reset.is_some() || !self.step() {
                return reply;
            }
        }
    }
}

/// The status at the head of a header block: by index, or as a literal, in plain digits or in Huffman's.
fn status(block: &[u8]) -> u16 {
    let mut at = 0;
    // An update of the table's size may stand first.
    while block.get(at).is_some_and(|b| b & 0xe0 == 0x20) {
        at += 1;
    }
    let indexed = [200, 204, 206, 304, 400, 404, 500];
    match block[at] {
        b if b & 0x80 != 0 => indexed[usize::from(b & 0x7f) - 8],
        _ => {
            let length = usize::from(block[at + 1] & 0x7f);
            let text = &block[at + 2..at + 2 + length];
            let digits = if block[at + 1] & 0x80 != 0 { huffman_digits(text) } else { String::from_utf8_lossy(text).into_owned() };
            digits.parse().unwrap_or_else(|e| panic!("{e}: {block:02x?}"))
        }
    }
}

/// Digits in HPACK's Huffman code: `0`–`2` have five bits, `3`–`9` six.
fn huffman_digits(bytes: &[u8]) -> String {
    let bits: String = bytes.iter().map(|b| format!("{b:08b}")).collect();
    let (mut out, mut at) = (String::new(), 0);
    while out.len() < 3 {
        let five = u8::from_str_radix(&bits[at..at + 5], 2).unwrap();
        if five <= 2 {
            out.push(char::from(b'0' + five));
            at += 5;
        } else {
            let six = u8::from_str_radix(&bits[at..at + 6], 2).unwrap();
            assert!((0x19..=0x1f).contains(&six), "no digit: {bits}");
            out.push(char::from(b'3' + six - 0x19));
            at += 6;
        }
    }
    out
}
