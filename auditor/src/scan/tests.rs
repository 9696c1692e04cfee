//! The scanner against `serde_json`, on lines that mean well and lines that do not.

use super::{Scanner, Value, general};
use crate::random::Random;

const WANTED: [&str; 5] = ["path", "method", "code", "who", "größe"];

/// The two must give the same; where both refuse, the same reason.
fn agree(scanner: &mut Scanner<5>, line: &[u8]) -> bool {
    let scanned = scanner.scan(line);
    let parsed = std::str::from_utf8(line).map_err(|_| String::new()).and_then(|text| general(text, &WANTED));
    match (&scanned, &parsed) {
        (Ok(a), Ok(b)) => assert_eq!(a, b, "{}", String::from_utf8_lossy(line)),
        (Err(_), Err(_)) => {}
        _ => panic!("scanned {scanned:?}\nparsed  {parsed:?}\nline    {}", line.escape_ascii()),
    }
    scanned.is_ok()
}

fn scan(line: &str) -> Result<[Value<'_>; 5], String> {
    Scanner::new(WANTED).scan(line.as_bytes())
}

#[test]
fn values_are_given_as_they_stand() {
    let line = r#"{"method":"GET","x":{"path":["no",1,{}]},"path":"/a\u0062","code": 200 , "who":null,"größe":[1,"ü"]}"#;
    let values = scan(line).unwrap();
    let want = [Value::Escaped(r"/a\u0062"), Value::Text("GET"), Value::Number("200"), Value::Null, Value::Nested(r#"[1,"ü"]"#)];
    assert_eq!(values, want);
    assert_eq!(values[0].text().unwrap(), "/ab");
    assert_eq!(values[2].scalar().unwrap(), "200");
    assert_eq!(values[3].text(), None);
    assert!(values[3].is_none());
}

/// Good and bad lines, each by itself and after lines of another shape, which must change nothing.
#[test]
fn good_and_bad_lines_are_told_apart_as_serde_json_does() {
    let good = [
        r"{}",
        r" { } ",
        r#"{"path":"/"}"#,
        r#"{"path" : "/" , "code" : -0.5e+7 }"#,
        r#"{"path":"","method":"","code":"","who":""}"#,
        r#"{"code":0,"a":1e5,"b":-1E-5,"c":12345678901234567890123456789,"d":1e999}"#,
        r#"{"path":"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00"}"#,
        r#"{"unwanted":"\ud800"}"#,
        r#"{"p\u0061th":"/"}"#,
        r#"{"x":1,"x":2,"x":{"x":[]}}"#,
        r#"{"größe":"ü","who":"日本語"}"#,
        r#"{"a":[],"b":{},"c":[[],[{}],{"d":[1,2,{"e":null}]}],"code":true}"#,
        "{\t\"path\":\r\"/\"}",
        r#"{"":"","path":false}"#,
    ];
    let bad: [&[u8]; 42] = [
        b"",
        b" ",
        b"null",
        b"[]",
        b"\"path\"",
        b"{",
        b"{\"path\"",
        b"{\"path\":",
        b"{\"path\":\"",
        b"{\"path\":\"/\"",
        b"{\"path\":\"/\",",
        b"{\"path\":\"/\",}",
        b"{,\"path\":\"/\"}",
        b"{\"path\":\"/\"}}",
        b"{\"path\":\"/\"} x",
        b"{\"path\":\"/\"}{}",
        b"{\"path\":\"/\",\"path\":\"/\"}",
        b"{\"path\":null,\"path\":null}",
        b"{\"path\":\"/\",\"p\\u0061th\":\"/\"}",
        b"{\"path\":01}",
        b"{\"path\":-}",
        b"{\"path\":+1}",
        b"{\"path\":1.}",
        b"{\"path\":.1}",
        b"{\"path\":1e}",
        b"{\"path\":1e+}",
        b"{\"path\":0x1}",
        b"{\"path\":1 2}",
        b"{\"path\":nul}",
        b"{\"path\":nulll}",
        b"{\"path\":True}",
        b"{\"path\":'/'}",
        b"{path:1}",
        b"{\"path\":\"\\x\"}",
        b"{\"path\":\"\\u12g4\"}",
        b"{\"path\":\"\\ud800\"}",
        b"{\"path\":\"a\x01b\"}",
        b"{\"path\":\"a\tb\"}",
        b"{\"path\":\"\xff\"}",
        b"{\"x\":\"\xed\xa0\x80\"}",
        b"{\"a\":[1,}",
        b"{\"a\":{\"b\":1]}",
    ];
    let mut used = Scanner::new(WANTED);
    for round in 0..3 {
        for line in good {
            assert!(agree(&mut used, line.as_bytes()), "round {round}: {line}");
            assert!(agree(&mut Scanner::new(WANTED), line.as_bytes()), "{line}");
        }
        for line in bad {
            assert!(!agree(&mut used, line), "round {round}: {}", line.escape_ascii());
            assert!(!agree(&mut Scanner::new(WANTED), line), "{}", line.escape_ascii());
        }
    }
}

/// A value that looks like the rest of the line, as long as the value predicted, is not taken for the end of it.
#[test]
fn strings_end_at_their_own_quotes_whatever_lines_before_had() {
    let mut scanner = Scanner::new(WANTED);
    let lines = [
        r#"{"who":"aaaaaaaaaaaaaaaa","path":"/x"}"#,
        r#"{"who":"bbbbbbbbbbbbbbbb","path":"/x"}"#,
        r#"{"who":"bob","code":"bbb","path":"/x"}"#,
        r#"{"who":"bob","code":"","path":"/xxx"}"#,
        r#"{"who":"b","path":"/","code":"","x":"","path":"/x"}"#,
    ];
    for line in lines {
        agree(&mut scanner, line.as_bytes());
    }
    assert_eq!(scanner.scan(lines[2].as_bytes()).unwrap()[3], Value::Text("bob"));
}

/// After a shape was learnt: each byte of a line left out, doubled and altered, and the line cut there.
#[test]
fn a_line_that_differs_in_one_byte_from_what_was_learnt_is_read_as_serde_json_reads_it() {
    let line = concat!(
        r#"{"at":"2026-11-22T10:00:00.123Z","method":"GET","path":"/v1/items/123456","code":200,"flags":"-","none":null,"#,
        r#""a_key_that_is_longer_than_the_others_are":true,"bytes":1234567,"big":12345678,"who":"spiffe://a.example/b","x":{"y":[1]},"#,
        r#""größe":"ü","agent":"okhttp/4.12.0"}"#
    );
    let bytes = line.as_bytes();
    let mut scanner = Scanner::new(WANTED);
    let mut accepted = 0;
    for at in 0..bytes.len() {
        let (before, after) = bytes.split_at(at);
        let mut check = |damaged: &[u8]| {
            assert!(agree(&mut scanner, bytes));
            accepted += u64::from(agree(&mut scanner, damaged));
        };
        check(before);
        check(&[before, &after[1..]].concat());
        check(&[before, &after[..1], after].concat());
        for byte in b"\"\\{}[],:0-1e.n \t\x00\x7f\xc3\xff" {
            check(&[before, &[*byte], &after[1..]].concat());
            check(&[before, &[*byte], after].concat());
        }
    }
    assert!(accepted > 1_000, "{accepted}");
}

/// What the scanner saw of a line says where a card number may be; it may say so too often, never too seldom.
#[test]
fn a_run_of_digits_is_never_overlooked() {
    let mut scanner = Scanner::new(WANTED);
    for before in 0..150 {
        for after in [0, 1, 20, 70] {
            for number in ["4111111111111111", "4111 1111 1111 1111", "4222222222222"] {
                let line = format!("{{\"path\":\"{}{number}{}\"}}", "x:".repeat(before), ":y".repeat(after));
                assert!(crate::pan::in_bytes(line.as_bytes()).is_some());
                scanner.glance(line.as_bytes()).unwrap();
                assert!(scanner.has_run(), "{line}");
            }
            let line = format!("{{\"path\":\"{}411111111{}\"}}", "x:".repeat(before), ":y".repeat(after));
            scanner.glance(line.as_bytes()).unwrap();
            assert!(!scanner.has_run() || line.len() < 64, "{line}");
        }
    }
}

#[test]
fn what_is_ordinary_never_needs_the_general_parser() {
    let mut random = Random(0x5eed_0001);
    let mut scanner = Scanner::new(WANTED);
    for n in 0..2_000 {
        let mut members = vec![
            r#""path":"/v1/items/7""#.to_owned(),
            format!(r#""method":"{}""#, ["GET", "POST"][n % 2]),
            format!(r#""code":{}"#, 200 + n),
            r#""who":"spiffe://a.example/b""#.to_owned(),
            r#""agent":"with \"quotes\"""#.to_owned(),
            r#""labels":{"a":["b"]}"#.to_owned(),
            r#""none":null"#.to_owned(),
        ];
        random.shuffle(&mut members);
        members.truncate(1 + n % 7);
        assert!(agree(&mut scanner, format!("{{{}}}", members.join(",")).as_bytes()));
    }
    assert_eq!(scanner.counts(), (2_000, 0));
}

/// More keys than are learnt, among them the wanted ones last: they are still found.
#[test]
fn a_key_beyond_those_learnt_is_found_by_name() {
    let mut scanner = Scanner::new(WANTED);
    for n in 0..2_000 {
        agree(&mut scanner, format!(r#"{{"key{n}":1,"key{}":"x"}}"#, n * 7).as_bytes());
    }
    let line = r#"{"key5":0,"path":"/","new":1,"method":"GET"}"#;
    assert_eq!(scanner.scan(line.as_bytes()).unwrap()[..2], [Value::Text("/"), Value::Text("GET")]);
    assert_eq!(scanner.counts().1, 0);
}

/// Random lines, and random damage to them, through one scanner that remembers all of them.
#[test]
fn any_line_is_read_as_serde_json_reads_it() {
    let lines = 60_000;
    let seed = 0x5eed_0002;
    println!("seed {seed:#x}, {lines} lines");
    let mut random = Random(seed);
    let mut scanner = Scanner::new(WANTED);
    let mut accepted = 0_u64;
    for _ in 0..lines {
        let mut line = random.any_line().into_bytes();
        if random.below(2) == 0 {
            for _ in 0..=random.below(3) {
                random.damage(&mut line);
            }
        }
        accepted += u64::from(agree(&mut scanner, &line));
    }
    let (_, by_general) = scanner.counts();
    println!("{accepted} accepted, {by_general} by the general parser");
    assert!(accepted > lines / 3 && accepted < lines && by_general > 0, "{accepted} of {lines}, {by_general} by the general parser");
}

impl Random {
    fn shuffle<T>(&mut self, items: &mut [T]) {
        for n in (1..items.len()).rev() {
            let with = self.below(n + 1);
            items.swap(n, with);
        }
    }

    fn any_line(&mut self) -> String {
        let mut members: Vec<String> = (0..self.below(9)).map(|_| self.member(0)).collect();
        if self.below(3) == 0 {
            members.sort();
        }
        let comma = self.one(&[",", ",", ",", ", ", " ,"]);
        format!("{{{}}}", members.join(comma))
    }

    fn member(&mut self, depth: u32) -> String {
        let key = self.one(&["path", "method", "code", "who", "größe", "x", "y", "", "a b", r"p\u0061th", r"x\n", "path2", "pat"]);
        let colon = self.one(&[":", ":", ":", ": ", " : "]);
        format!("\"{key}\"{colon}{}", self.value(depth))
    }

    fn value(&mut self, depth: u32) -> String {
        match self.below(if depth < 4 { 12 } else { 8 }) {
            0 => self.one(&["null", "true", "false"]).to_owned(),
            1 | 2 => self.one(&["0", "-0", "1", "200", "-1.5", "1e9", "1E+9", "0.25e-3", "18446744073709551616", "1e400"]).to_owned(),
            8 => format!("[{}]", (0..self.below(4)).map(|_| self.value(depth + 1)).collect::<Vec<_>>().join(",")),
            9 => format!("{{{}}}", (0..self.below(4)).map(|_| self.member(depth + 1)).collect::<Vec<_>>().join(", ")),
            _ => {
                let parts =
                    ["", "a", "GET", "/v1/items/7", "é", "日本", "\u{1f600}", "{", "}", "[", ",", ":", " ", "\\\"", "\\\\", "\\/", "\\n"];
                let odd = ["\\u0041", "\\ud83d\\ude00", "\\ud800", "\\udc00", "\\u00e9", "\\x", "\\u12", "\u{7f}"];
                let mut out = String::from("\"");
                for _ in 0..self.below(5) {
                    out.push_str(if self.below(12) == 0 { self.one(&odd) } else { self.one(&parts) });
                }
                out.push('"');
                out
            }
        }
    }

    fn damage(&mut self, line: &mut Vec<u8>) {
        let at = self.below(line.len() + 1);
        let byte = self.one(b"\"\\{}[],:0-1eE.+n \t\r\x00\x1f\x7f\xc3\xa9\xed\xff");
        match self.below(5) {
            0 => line.truncate(at),
            1 => line.insert(at, byte),
            2 if at < line.len() => line[at] = byte,
            3 if at < line.len() => drop(line.remove(at)),
            _ => {
                let more = line[at..].to_vec();
                line.extend_from_slice(&more);
            }
        }
    }
}
