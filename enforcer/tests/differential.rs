//! A77: the gate's HTTP/1 beside hyper's. Whatever both accept is read alike; what hyper refuses the gate refuses.

#![cfg(test)]

#[path = "../../fuzz/http.rs"]
#[expect(unreachable_pub, reason = "the same file is the library of a fuzz target, where its functions are public")]
mod checks;
#[path = "common/dice.rs"]
mod dice;

use checks::{http, hypers, ours};
use dice::Dice;

/// Plain requests and known tricks, put behind a request that is fine and before one that must not be reached by accident.
const TRICKS: &[&str] = &[
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /a?b=c&d HTTP/1.1\r\nHost: a:80\r\nAccept: */*\r\nX: a\r\nx: b\r\n\r\n",
    "GET http://a/b HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 005\r\n\r\nhello",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKED\r\n\r\n0005\r\nhello\r\n1\r\n!\r\n000\r\nX-T: 1\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:chunked\t \r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nok",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5,5\r\n\r\nhello",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5 \r\n\r\nhello",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nhello",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\x0b\r\n\r\nhello",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=1\r\nhello\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;\nhello\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n100000000000000005\r\nhello\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 7\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX : 1\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\n",
    "GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nA:\x00b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nA\x00: b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nA: \u{e9}\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nA:b\rC: d\r\n\r\n",
    "GET / HTTP/1.1\nHost: a\n\n",
    "GET / HTTP/1.1\r\nHost: a\r\n\n",
    "GET / HTTP/1.1\r\nHost: a\r\nEmpty:\r\n\r\n",
    "GET / HTTP/1.1\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "GET / HTTP/1.0\r\n\r\n",
    "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nok",
    "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "GET /#x HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /?\" HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /?<x> HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /?{|}^`\\ HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
    "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    " GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "get / HTTP/1.1\r\nHost: a\r\n\r\n",
    "M-SEARCH * HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.9\r\nHost: a\r\n\r\n",
    "GET /\r\n",
];

const PLAIN: &str = "GET /plain HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn known_tricks_are_read_as_hyper_reads_them_or_refused() {
    let mut accepted = 0;
    for trick in TRICKS {
        let bytes = [PLAIN, trick, PLAIN].concat();
        http(bytes.as_bytes());
        let read = ours(bytes.as_bytes());
        assert_eq!(read[0].target, "/plain", "{trick}");
        accepted += usize::from(read.len() > 1);
        // A request that was accepted is the one that was sent: nothing behind it became part of it, and none came of its body.
        assert!(read.len() <= 3, "{trick}: {read:?}");
    }
    assert!((14..30).contains(&accepted), "{accepted} of {} are accepted", TRICKS.len());
    // The judge must be able to say no: hyper takes some of what is refused here, and repairs it.
    let repaired = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!((hypers(repaired.as_bytes()).len(), ours(repaired.as_bytes()).len()), (1, 0));
}

const PIECES: &[&str] = &[
    "GET ",
    "POST ",
    "HEAD ",
    "/",
    "/a/b",
    "/a%41",
    "?x=1",
    "http://a/",
    "*",
    " HTTP/1.1\r\n",
    " HTTP/1.0\r\n",
    " HTTP/1.1\n",
    "Host: a\r\n",
    "Host: b\r\n",
    "host:a\r\n",
    "Content-Length: 3\r\n",
    "Content-Length: 0\r\n",
    "content-length:10\r\n",
    "Content-Length: 3, 3\r\n",
    "Transfer-Encoding: chunked\r\n",
    "transfer-encoding:\tchunked\r\n",
    "Transfer-Encoding: gzip\r\n",
    "Transfer-Encoding: chunked\n",
    "X: y\r\n",
    "X : y\r\n",
    " folded\r\n",
    "\r\n",
    "\r\n\r\n",
    "\n",
    "\r",
    "0\r\n",
    "3\r\nabc\r\n",
    "3\r\nabc\r\n0\r\n\r\n",
    "abc",
    "a;x\r\n",
    "\0",
    "\t",
    "Connection: close\r\n",
    "Connection: x\r\n",
    "Expect: 100-continue\r\n",
    "é",
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
];

#[test]
fn seeds_and_finds_of_the_fuzz_target_are_read_alike() {
    let mut seen = 0;
    for folder in ["../fuzz/seeds/http", "../tests/corpus/fuzz/http"] {
        for entry in std::fs::read_dir(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap() {
            let path = entry.unwrap().path();
            println!("{}", path.display());
            http(&std::fs::read(&path).unwrap());
            seen += 1;
        }
    }
    assert!(seen >= 5, "{seen}");
}

#[test]
fn requests_put_together_at_random_are_read_alike_or_refused() {
    let seed = 0x9e37_79b9_7f4a_7c15;
    println!("seed {seed:#x}");
    let mut dice = Dice(seed);
    let mut accepted = 0;
    for _ in 0..20_000 {
        let mut bytes = Vec::new();
        for _ in 0..=dice.roll(12) {
            bytes.extend_from_slice(PIECES[dice.roll(PIECES.len())].as_bytes());
        }
        http(&bytes);
        accepted += ours(&bytes).len();
    }
    assert!(accepted > 500, "only {accepted} requests were accepted: the pieces do not fit together any more");
}

#[test]
fn requests_with_one_byte_changed_are_read_alike_or_refused() {
    let seed = 0x2545_f491_4f6c_dd1d;
    println!("seed {seed:#x}");
    let mut dice = Dice(seed);
    let base = [TRICKS[3], TRICKS[6], TRICKS[1], PLAIN].concat().into_bytes();
    let mut accepted = 0;
    for n in 0..20_000 {
        let mut bytes = base.clone();
        let at = dice.roll(bytes.len());
        match n % 4 {
            0 => bytes[at] = u8::try_from(dice.roll(256)).unwrap(),
            1 => drop(bytes.remove(at)),
            2 => bytes.insert(at, b"\r\n\t :;,0a\0\x7f\xff"[dice.roll(12)]),
            _ => bytes.truncate(at),
        }
        http(&bytes);
        accepted += ours(&bytes).len();
    }
    assert!(accepted > 10_000, "{accepted}");
}
