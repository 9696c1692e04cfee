//! The gate's HTTP/2 beside the HTTP library's. Whatever both accept is read alike; what the library refuses the gate refuses.

#![cfg(test)]

#[path = "../../fuzz/http2.rs"]
#[expect(unreachable_pub, reason = "the same file is the library of a fuzz target, where its functions are public")]
mod checks;
#[path = "common/dice.rs"]
mod dice;

use checks::{http2, ours, theirs};
use dice::Dice;

impl Dice {
    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.roll(of.len())]
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.roll(256)).unwrap()
    }
}

const FIELDS: &[(&str, &str)] = &[
    (":method", "GET"),
    (":method", "POST"),
    (":method", "CONNECT"),
    (":method", "G T"),
    (":scheme", "https"),
    (":scheme", "http"),
    (":scheme", "ftp"),
    (":scheme", ""),
    (":authority", "items"),
    (":authority", "items:80"),
    (":authority", "user@items"),
    (":authority", ""),
    (":path", "/"),
    (":path", "/a/b?c=d&e"),
    (":path", "/a%41"),
    (":path", "*"),
    (":path", "/a#b"),
    (":path", "/a b"),
    (":path", ""),
    (":path", "a"),
    (":path", "//x"),
    (":protocol", "websocket"),
    (":status", "200"),
    (":unknown", "x"),
    ("host", "items"),
    ("host", "users"),
    ("content-length", "3"),
    ("content-length", "0"),
    ("content-length", "03"),
    ("content-length", "x"),
    ("cookie", "a=b"),
    ("cookie", "c=d"),
    ("cookie", ""),
    ("te", "trailers"),
    ("te", "gzip"),
    ("connection", "close"),
    ("keep-alive", "5"),
    ("proxy-connection", "x"),
    ("transfer-encoding", "chunked"),
    ("upgrade", "h2c"),
    ("expect", "100-continue"),
    ("x-a", "b"),
    ("x-a", " b\t"),
    ("x-a", ""),
    ("x-a", "b\0c"),
    ("x-a", "b\r\nc: d"),
    ("x-a", "\u{e9}"),
    ("X-A", "b"),
    ("x a", "b"),
    ("", "b"),
    ("x_a", "b"),
];

fn integer(out: &mut Vec<u8>, value: usize, bits: u8, pattern: u8) {
    let max = (1_usize << bits) - 1;
    if value < max {
        return out.push(pattern | u8::try_from(value).unwrap());
    }
    out.push(pattern | u8::try_from(max).unwrap());
    let mut rest = value - max;
    while rest >= 128 {
        out.push(u8::try_from(rest % 128 + 128).unwrap());
        rest /= 128;
    }
    out.push(u8::try_from(rest).unwrap());
}

/// A field in one of the forms there are.
fn field(dice: &mut Dice, out: &mut Vec<u8>, (name, value): (&str, &str)) {
    let pattern = dice.one(&[0x40, 0x40, 0x00, 0x10]);
    out.push(pattern);
    for text in [name, value] {
        integer(out, text.len(), 7, 0);
        out.extend_from_slice(text.as_bytes());
    }
}

fn block(dice: &mut Dice) -> Vec<u8> {
    let mut out = Vec::new();
    if dice.roll(20) == 0 {
        let size = dice.one(&[0, 40, 100, 4096, 4097]);
        integer(&mut out, size, 5, 0x20);
    }
    // Most of them are requests, since anything else is refused soon.
    if dice.roll(8) > 0 {
        out.extend_from_slice(dice.one(&[&[0x82, 0x87, 0x84][..], &[0x83, 0x87, 0x84], &[0x82, 0x86, 0x85]]));
        out.extend_from_slice(b"\x41\x05items");
    }
    for _ in 0..dice.roll(4) {
        match dice.roll(12) {
            0 => {
                let index = 1 + dice.roll(64);
                integer(&mut out, index, 7, 0x80);
            }
            // A name of a table, and a value that is spelled.
            1 => {
                let index = 15 + dice.roll(52);
                integer(&mut out, index, 6, 0x40);
                out.extend_from_slice(b"\x01v");
            }
            2..=4 => {
                let one = dice.one(FIELDS);
                field(dice, &mut out, one);
            }
            5 => field(dice, &mut out, ("content-length", "3")),
            _ => {
                let value = dice.one(&["b", "", "c", "d, e"]);
                field(dice, &mut out, ("x-a", value));
            }
        }
    }
    out
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

fn frames(dice: &mut Dice) -> Vec<u8> {
    let (mut out, mut next) = (Vec::new(), 1);
    // Streams on which something may follow.
    let mut open = vec![1_u32];
    for _ in 0..=dice.roll(8) {
        let old = dice.one(&open);
        let last = u8::from(dice.roll(2) == 0);
        out.extend(match dice.roll(40) {
            0..=17 => {
                let block = block(dice);
                let stream = next;
                next += dice.one(&[2, 2, 2, 4]);
                if last == 0 {
                    open.push(stream);
                }
                match dice.roll(4) {
                    0 => {
                        let (first, rest) = block.split_at(dice.roll(block.len() + 1));
                        [frame(1, last, stream, first), frame(9, 4, stream, rest)].concat()
                    }
                    1 => frame(1, last | 4 | 8, stream, &[&[2], &block[..], &[0, 0]].concat()),
                    2 => frame(1, last | 4 | 32, stream, &[&[0, 0, 0, 0, 7], &block[..]].concat()),
                    _ => frame(1, last | 4, stream, &block),
                }
            }
            18..=29 if open.len() > 1 => {
                let payload = dice.one(&[&b"abc"[..], b"abc", b"", b"abcd", b"a"]);
                if dice.roll(4) == 0 { frame(0, 8 | last, old, &[&[1], payload, &[0]].concat()) } else { frame(0, last, old, payload) }
            }
            30 | 31 if open.len() > 1 => frame(1, 5, old, b"\0\x03x-t\x01u"),
            32 => {
                let block = block(dice);
                frame(1, 5, old, &block[..block.len().min(dice.roll(40))])
            }
            33 => frame(3, 0, old, &[0, 0, 0, 8]),
            34 => frame(8, 0, if dice.roll(2) == 0 { 0 } else { old }, &[0, 0, 0, dice.byte()]),
            35 => frame(4, 0, 0, &[0, 4, 0, 0, dice.byte(), 1]),
            36 => {
                let (kind, flags) = (dice.byte() % 12, dice.byte());
                let length = dice.roll(12);
                let payload: Vec<_> = (0..length).map(|_| dice.byte()).collect();
                frame(kind, flags, if dice.roll(2) == 0 { 0 } else { old }, &payload)
            }
            _ => frame(6, 0, 0, b"somebody"),
        });
    }
    out
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

fn accepted(bytes: &[u8]) -> usize {
    ours(&[PREFACE, bytes].concat()).map_or(0, |read| read.len())
}

#[test]
fn frames_put_together_at_random_are_read_alike_or_refused() {
    let seed = 0x1f83_d9ab_fb41_bd6b;
    println!("seed {seed:#x}");
    let mut dice = Dice(seed);
    let (mut all, mut with_bodies, mut compared) = (0, 0, 0);
    for _ in 0..6_000 {
        let bytes = frames(&mut dice);
        http2(&bytes);
        let Some(read) = ours(&[PREFACE, &bytes].concat()) else { continue };
        all += read.len();
        compared += theirs(&[PREFACE, &bytes].concat()).map_or(0, |theirs| theirs.len());
        with_bodies += read.iter().filter(|r| !r.body.is_empty()).count();
    }
    println!("{all} requests were accepted, {with_bodies} of them with bodies; {compared} by a library that read to the end");
    assert!(all > 2_000 && with_bodies > 100 && compared > 1_000, "the pieces do not fit together any more");
}

#[test]
fn frames_with_a_byte_changed_are_read_alike_or_refused() {
    let seed = 0x5be0_cd19_137e_2179;
    println!("seed {seed:#x}");
    let mut dice = Dice(seed);
    let mut all = 0;
    for n in 0..6_000 {
        let mut bytes = frames(&mut dice);
        let at = dice.roll(bytes.len());
        match n % 4 {
            0 => bytes[at] = dice.byte(),
            1 => drop(bytes.remove(at)),
            2 => bytes.insert(at, dice.byte()),
            _ => bytes[at] ^= 1 << dice.roll(8),
        }
        http2(&bytes);
        all += accepted(&bytes);
    }
    assert!(all > 500, "only {all} requests were accepted");
}

#[test]
fn seeds_and_finds_of_the_fuzz_target_are_read_alike() {
    let mut seen = 0;
    for folder in ["../fuzz/seeds/http2", "../tests/corpus/fuzz/http2"] {
        let Ok(entries) = std::fs::read_dir(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            println!("{}", path.display());
            http2(&std::fs::read(&path).unwrap());
            seen += 1;
        }
    }
    assert!(seen >= 5, "{seen}");
}

/// The judge must be able to say no: what the library takes and the gate does not.
#[test]
fn the_library_takes_some_of_what_is_refused_here() {
    let with = |name: &[u8], value: &[u8]| {
        let mut block = b"\x82\x87\x84\x41\x05items\0".to_vec();
        for text in [name, value] {
            integer(&mut block, text.len(), 7, 0);
            block.extend_from_slice(text);
        }
        [PREFACE, &frame(1, 5, 1, &block)].concat()
    };
    let plain = with(b"x-a", b"b");
    assert_eq!(ours(&plain), theirs(&plain));
    assert_eq!(ours(&plain).unwrap().len(), 1);
    let cut = [PREFACE, &frame(1, 5, 1, b"\x82\x87\x04\x04/a#b\x41\x05items")].concat();
    assert_eq!((ours(&cut).unwrap().len(), theirs(&cut).unwrap().len()), (0, 1), "a fragment, which the library cuts off");
}
