//! Every way we know to change a log behind the enforcer's back, as one table: what `verify` says in which words, what `audit` makes
//! of it, and how both end. A change is reported as what it is, and as no more than that.

#![cfg(test)]

use std::fs;
use std::path::Path;
use std::process::Command;

use portreeve_engine::chain::{ChainWriter, HeadSigner};
use portreeve_engine::record::{Answer, Continued, Decided, Destination, Ended, Event, Mode, Outcome, Source, Started, Stopped, Tls, Why};
use portreeve_engine::{Authorizer, Bundle, Digest, Record, Request, SourceFile, Timestamp};
use serde_json::{Value, json};
use tempfile::TempDir;

const SHOP: &str = r#"kind: Service
name: items
identities: [spiffe://market.example/sa/items]
operations: [{id: read-item, method: GET, path: "/v1/items/{id}"}]
---
kind: Service
name: invoices
identities: [spiffe://market.example/sa/invoices]
operations: [{id: list, method: GET, path: /v1/invoices}]
---
kind: Permission
name: invoices-read
allow: {from: [invoices], to: items, operations: [read-item]}
"#;

/// The public half of the seed below, as `openssl pkey -pubout` writes it.
const KEY: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA6kpsY+KcUgq+9VB7Ey7F+ZVHdq6+vnuSQh7qaRRG0iw=\n-----END PUBLIC KEY-----\n";
const SEED: [u8; 32] = [7; 32];

fn at(second: u64) -> Timestamp {
    format!("2026-11-22T10:00:{second:02}.000Z").parse().unwrap()
}

/// A log of items in three rotated files, sixteen lines in all, and the signed heads of its middle and of its end.
struct Whole {
    files: Vec<Vec<u8>>,
    early: String,
    late: String,
}

fn whole() -> Whole {
    let file = SourceFile { path: "shop.yaml".into(), bytes: SHOP.into() };
    let law = Authorizer::compile(&Bundle::from_files("shop", vec![file]).unwrap()).authorizer.unwrap();
    let items: portreeve_engine::SpiffeId = "spiffe://market.example/sa/items".parse().unwrap();
    let revision = *law.revision();
    let mut chain = ChainWriter::new();
    let (mut files, mut heads) = (Vec::new(), Vec::new());
    let signer = HeadSigner::from_seed(&SEED);
    for n in 0..3_u64 {
        let mut out = Vec::new();
        let mut push = |event: &Event| chain.append(at(chain.next_seq()), event, &mut out);
        let (enforcer, instance) = (items.clone(), "items-1".to_owned());
        push(&if n == 0 {
            let (config, version) = (Digest::ZERO, "0.1.0".into());
            Event::Started(Started {
                enforcer,
                instance,
                revision,
                mode: Mode::Enforce,
                config,
                version,
                after: None,
                recovered: None,
                bundle: None,
            })
        } else {
            Event::Continued(Continued { enforcer, instance, revision, mode: Mode::Enforce, bundle: None })
        });
        for m in 0..2 {
            let decided = decided(&law, &format!("/v1/items/{n}{m}"), n * 5 + m * 2 + 1);
            let of = push(&Event::Decided(Box::new(decided)));
            let (outcome, why) = (Outcome::Forwarded, Why::Complete);
            push(&Event::Ended(Ended { of, outcome, status: Some(200), duration_us: 1, bytes: 5, why, attempts: None, detail: None }));
        }
        if n == 2 {
            push(&Event::Stopped(Stopped { unrecorded: 0 }));
        }
        files.push(out);
        let head = signer.sign("items-1", chain.next_seq() - 1, chain.head(), at(chain.next_seq()));
        heads.push(serde_json::to_string(&head).unwrap() + "\n");
    }
    Whole { files, early: heads[0].clone(), late: heads[2].clone() }
}

fn decided(law: &Authorizer, path: &str, second: u64) -> Decided {
    let question = json!({"principal": "spiffe://market.example/sa/invoices", "service": "items", "method": "GET", "path": path,
        "context": {"time": at(second), "source_ip": "10.0.0.7"}});
    let request = Request::from_json(question.to_string().as_bytes()).unwrap();
    let decision = law.decide(&request);
    let (mut facts, context) = law.facts(&request, &decision);
    (facts.id, facts.protocol) = (format!("request-{second}"), "HTTP/2".into());
    Decided {
        mode: Mode::Enforce,
        revision: *law.revision(),
        side: None,
        source: Source { id: request.principal.clone(), service: Some("invoices".into()), ip: request.context.source_ip },
        destination: Destination { id: None, service: "items".into() },
        request: facts,
        context,
        tls: Some(Tls {
            version: "TLSv1.3".into(),
            suite: "TLS13_AES_128_GCM_SHA256".into(),
            serial: "1f".into(),
            sha256: Digest::of(b"certificate"),
            not_after: "2026-11-23T10:00:00.000Z".parse().unwrap(),
            issuer: None,
            key: None,
        }),
        decision: Answer::from(&decision),
    }
}

fn lines(file: &[u8]) -> Vec<Vec<u8>> {
    file.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect()
}

fn replaced(line: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8(line.to_vec()).unwrap();
    assert!(text.contains(from), "{text}");
    text.replacen(from, to, 1).into_bytes()
}

/// The same with its lines altered.
fn with_lines(files: &[Vec<u8>], file: usize, change: impl Fn(&mut Vec<Vec<u8>>)) -> Vec<Vec<u8>> {
    let mut files = files.to_vec();
    let mut all = lines(&files[file]);
    change(&mut all);
    files[file] = all.concat();
    files
}

/// What a forger makes who can write all files anew: every path altered, every line chained again.
fn rewritten(files: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut chain = ChainWriter::new();
    let anew = |file: &Vec<u8>| {
        let mut out = Vec::new();
        for line in lines(file) {
            let text = String::from_utf8(line).unwrap().replace("/v1/items/", "/v1/items/9");
            let record = Record::from_line(text.trim_end().as_bytes()).unwrap();
            chain.append(record.at, &record.event, &mut out);
        }
        out
    };
    files.iter().map(anew).collect()
}

/// Which head is kept elsewhere.
#[derive(Clone, Copy, PartialEq)]
enum Head {
    None,
    /// Of the end of the first file.
    Early,
    /// Of the end of the log.
    Late,
}

struct Case {
    name: &'static str,
    files: Vec<Vec<u8>>,
    head: Head,
    /// How `verify` ends.
    code: i32,
    /// The worst verdict on an input.
    verdict: &'static str,
    /// What `verify` says, besides what it says of every log.
    says: &'static [&'static str],
    /// What it must not say.
    never: &'static [&'static str],
    /// Findings of `audit` about evidence.
    finds: &'static [&'static str],
    /// Its verdict on the protection of logs from change.
    control: &'static str,
}

const NO_HEAD: &str = "no signed head vouches for it: a log rewritten whole would look the same";
const BROKEN: &str = "process items-1: `seq` 0 to 15, broken";

fn cases(log: &Whole) -> Vec<Case> {
    let case = |name, files: &[Vec<u8>], head, code, verdict, says, never, finds, control| {
        let files = files.to_vec();
        Case { name, files, head, code, verdict, says, never, finds, control }
    };
    let files = &log.files;
    let cut = |bytes: usize| {
        let mut files = files.clone();
        let keep = files[2].len() - bytes;
        files[2].truncate(keep);
        files
    };
    let last = lines(&files[2]);
    let two_lines = last[4].len() + last[5].len();
    vec![
        case("whole", files, Head::None, 0, "self-consistent", &[NO_HEAD, "it ended in order"], &["vouched"], &[], "not-assessed"),
        case(
            "whole, with a head of its end",
            files,
            Head::Late,
            0,
            "vouched",
            &["a signed head vouches for every line"],
            &[NO_HEAD],
            &[],
            "met-technical",
        ),
        case(
            "whole, with a head of its middle",
            files,
            Head::Early,
            0,
            "self-consistent",
            &["a signed head vouches for the lines up to `seq` 4, nothing for those after it"],
            &["every line"],
            &[],
            "not-assessed",
        ),
        case(
            "a changed byte",
            &with_lines(files, 1, |l| l[1] = replaced(&l[1], "/v1/items/10", "/v1/items/18")),
            Head::None,
            1,
            "broken",
            &["b.ndjson: 5 lines, broken", "  line 3: ", BROKEN],
            &["are missing", "cut off"],
            &["broken_chain"],
            "not-met",
        ),
        case(
            "a removed line",
            &with_lines(files, 1, |l| drop(l.remove(2))),
            Head::None,
            1,
            "broken",
            &["  line 3: `seq` 8 follows 6", "  `seq` 7 to 7 are missing", BROKEN],
            &["cut off"],
            &["broken_chain", "missing_end"],
            "not-met",
        ),
        case(
            "reordered lines",
            &with_lines(files, 1, |l| l.swap(1, 3)),
            Head::None,
            1,
            "broken",
            &[
                "b.ndjson: 5 lines, broken",
                "  line 2: `seq` 8 follows 5: lines are missing or out of order",
                "  line 3: `seq` 7 follows 8: lines are doubled or out of order",
                BROKEN,
            ],
            &["`seq` 6 to", "`seq` 7 to", "cut off"],
            &["broken_chain"],
            "not-met",
        ),
        case(
            "a removed file",
            &[files[0].clone(), files[2].clone()],
            Head::None,
            1,
            "broken",
            &[
                "line 1: the lines with `seq` 5 to 9 of this process are missing: a file was removed or not given",
                "  `seq` 5 to 9 are missing",
                BROKEN,
            ],
            &["cut off"],
            &["broken_chain"],
            "not-met",
        ),
        case(
            "all files removed",
            &[Vec::new()],
            Head::Late,
            1,
            "empty",
            &["process items-1: a signed head names its `seq` 15, but no line of it was given"],
            &["self-consistent"],
            &["absent_log"],
            "suspect",
        ),
        case(
            "a tail cut at a line's end",
            &cut(two_lines),
            Head::None,
            0,
            "self-consistent",
            &["open-ended after `seq` 13: neither `stopped` nor a later head says that this is the end", NO_HEAD],
            &["cut off", "broken"],
            &["open_ended_log"],
            "not-assessed",
        ),
        case(
            "a tail cut at a line's end, with a later head",
            &cut(two_lines),
            Head::Late,
            1,
            "broken",
            &["its end was cut off", "broken"],
            &["are missing"],
            &["broken_chain"],
            "not-met",
        ),
        case(
            "a tail cut within a line",
            &cut(two_lines - 20),
            Head::None,
            1,
            "self-consistent",
            &["c.ndjson: 5 lines, self-consistent", "  line 5 is rejected: ", "open-ended after `seq` 13"],
            &["cut off", "broken"],
            &["open_ended_log", "rejected_lines"],
            "not-assessed",
        ),
        case(
            "a tail cut within a line, with a later head",
            &cut(two_lines - 20),
            Head::Late,
            1,
            "broken",
            &["  line 5 is rejected: ", "its end was cut off"],
            &["are missing"],
            &["broken_chain", "rejected_lines"],
            "not-met",
        ),
        case(
            "rewritten whole",
            &rewritten(files),
            Head::None,
            0,
            "self-consistent",
            &[NO_HEAD],
            &["untampered", "vouched"],
            &[],
            "not-assessed",
        ),
        case(
            "rewritten whole, with a head of its middle",
            &rewritten(files),
            Head::Early,
            1,
            "broken",
            &["rewritten after it was signed", BROKEN],
            &["cut off", "are missing"],
            &["broken_chain"],
            "not-met",
        ),
        case(
            "rewritten whole, with a head of its end",
            &rewritten(files),
            Head::Late,
            1,
            "broken",
            &["rewritten after it was signed", BROKEN],
            &["cut off", "are missing"],
            &["broken_chain"],
            "not-met",
        ),
    ]
}

/// The checks that speak of how a log hangs together.
const ABOUT_CHAINS: [&str; 6] = ["absent_log", "broken_chain", "missing_end", "open_ended_log", "rejected_lines", "stray_end"];

#[test]
fn every_tampering_is_reported_as_what_it_is() {
    let log = whole();
    for case in cases(&log) {
        let dir = TempDir::new().unwrap();
        let names = ["a.ndjson", "b.ndjson", "c.ndjson"];
        for (name, file) in names.iter().zip(&case.files) {
            fs::write(dir.path().join(name), file).unwrap();
        }
        fs::write(dir.path().join("key.pem"), KEY).unwrap();
        fs::write(dir.path().join("heads"), if case.head == Head::Early { &log.early } else { &log.late }).unwrap();
        fs::create_dir(dir.path().join("policies")).unwrap();
        fs::write(dir.path().join("policies/shop.yaml"), SHOP).unwrap();
        let heads: &[&str] = if case.head == Head::None { &[] } else { &["--heads", "heads", "--key", "key.pem"] };
        let run = |verb: &[&str]| run_in(dir.path(), &[verb, heads].concat());

        let (code, _, err) = run(&["verify", "*.ndjson"]);
        assert_eq!(code, case.code, "{}: {err}", case.name);
        for says in case.says {
            assert!(err.contains(says), "{}: no `{says}` in\n{err}", case.name);
        }
        for never in case.never.iter().chain(&["untampered", "compliant"]) {
            assert!(!err.contains(never), "{}: `{never}` in\n{err}", case.name);
        }
        let (_, out, _) = run(&["verify", "*.ndjson", "--format", "json"]);
        let document: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(document["verdict"], case.verdict, "{}", case.name);

        let (code, out, err) = run(&["audit", "--bundle", "policies", "*.ndjson", "--format", "json"]);
        assert!(code < 2, "{}: {err}", case.name);
        let assessment: Value = serde_json::from_str(&out).unwrap();
        let worst = ["broken", "self-consistent", "vouched", "empty"]
            .into_iter()
            .find(|v| assessment["inputs"].as_array().unwrap().iter().any(|i| i["chain"] == *v));
        assert_eq!(worst, Some(case.verdict), "{}", case.name);
        let found = assessment["findings"].as_array().unwrap().iter().filter_map(|f| f["check"].as_str());
        let mut found: Vec<&str> = found.filter(|check| ABOUT_CHAINS.contains(check)).collect();
        found.sort_unstable();
        found.dedup();
        assert_eq!(found, case.finds, "{}", case.name);
        let control = assessment["controls"].as_array().unwrap().iter().find(|c| c["id"] == "10.3.2").unwrap();
        assert_eq!(control["verdict"], case.control, "{}: {control:#}", case.name);
        // A log told a lie from the start, or rewritten whole under the same law, agrees with that law: replay cannot know better.
        assert_eq!(assessment["totals"]["mismatches"], 0, "{}", case.name);
        let totals = &assessment["totals"];
        let n = |name: &str| totals[name].as_u64().unwrap();
        assert_eq!(n("lines"), n("decided") + n("refused") + n("lifecycle") + n("duplicates") + n("rejected"), "{}", case.name);
    }
}

fn run_in(dir: &Path, args: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_portreeve")).args(args).current_dir(dir).output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(!err.contains("panicked at"), "{err}");
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap(), err)
}
