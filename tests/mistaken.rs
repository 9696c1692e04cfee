//! What is given in place of a log, and logs in which there is nothing: no verb takes either for evidence.

#![cfg(test)]

mod common;

use std::fs;
use std::io::Write as _;
use std::path::Path;

use tempfile::TempDir;

use crate::common::{Run, root, run_in};

const MARKET: &str = "policies/marketplace";

/// Every verb that reads logs, on one.
fn every_verb(dir: &Path, log: &str) -> Vec<(&'static str, Run)> {
    let out = dir.join("out.ledger");
    let verbs: [(&str, &[&str]); 6] = [
        ("audit", &["audit", "--bundle", MARKET]),
        ("replay", &["replay", "--bundle", MARKET]),
        ("suggest", &["suggest"]),
        ("ledger build", &["ledger", "build", "--bundle", MARKET, "--out", out.to_str().unwrap()]),
        ("verify", &["verify"]),
        ("why", &["why", "01JD8Z5V7M", "--bundle", MARKET]),
    ];
    verbs.iter().map(|(name, args)| (*name, run_in(root(), &[*args, &[log]].concat(), b""))).collect()
}

#[test]
fn what_is_no_log_is_called_by_its_name_with_a_way_out() {
    let dir = TempDir::new().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let line = r#"{"start_time":"2026-11-22T10:00:00Z","response_code":200}"#.to_owned() + "\n";
    let packed = |bytes: &[u8]| {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    };
    let mut tar = tar::Builder::new(Vec::new());
    let mut head = tar::Header::new_gnu();
    head.set_size(line.len() as u64);
    head.set_cksum();
    tar.append_data(&mut head, "access.log", line.as_bytes()).unwrap();
    let wide: Vec<u8> = "\u{feff}".encode_utf16().chain(line.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    let ledger = b"{\"portreeve_ledger\":1,\"parts\":0,\"folded\":0}\n".to_vec();
    let cases = [
        ("may.ledger", ledger, "is a ledger", "portreeve ledger review"),
        ("wide.log", wide, "is text in UTF-16", "iconv"),
        ("twice.gz", packed(&packed(line.as_bytes())), "is compressed twice", "gzip -dc"),
        ("logs.tar.gz", packed(&tar.into_inner().unwrap()), "is a tar archive", "unpack it"),
        ("logs.xz", b"\xfd7zXZ\0\0\x04\n".to_vec(), "is compressed with xz", "unpack it"),
    ];
    for (name, bytes, says, help) in cases {
        fs::write(path(name), bytes).unwrap();
        for (verb, run) in every_verb(dir.path(), &path(name)) {
            assert!(run.code == 2 && run.out.is_empty(), "{verb} {name}: {}", run.err);
            let told = format!("error: `{}` {says}", path(name));
            assert!(run.err.contains(&told) && run.err.contains("\n  help: ") && run.err.contains(help), "{verb} {name}: {}", run.err);
        }
    }
}

#[test]
fn of_nothing_nothing_is_said() {
    let dir = TempDir::new().unwrap();
    let empty = dir.path().join("empty.ndjson");
    fs::write(&empty, b"").unwrap();
    let runs = every_verb(dir.path(), empty.to_str().unwrap());
    for (verb, run) in &runs {
        let (code, says) = match *verb {
            // Its gate asks what it is told to ask; an empty log supports no verdict.
            "audit" => continue,
            "ledger build" => (0, "0 rows of 0 lines"),
            "verify" => (2, "error: there is not one line to verify in `"),
            "replay" => (2, "error: no decision is in these logs"),
            "why" => (1, "no record of request `01JD8Z5V7M`"),
            _ => (2, "error: no request in the logs can be granted"),
        };
        assert!(run.code == code && run.err.contains(says) && !run.err.contains("ok:"), "{verb}: {} {}", run.code, run.err);
    }
}

/// A line that cannot be read may be the one that is looked for.
#[test]
fn why_does_not_say_no_where_lines_could_not_be_read() {
    let dir = TempDir::new().unwrap();
    let log = dir.path().join("a.ndjson");
    fs::write(&log, b"{\"v\":1,\"seq\":0,\"torn").unwrap();
    let run = run_in(root(), &["why", "01JD8Z5V7M", "--bundle", MARKET, log.to_str().unwrap()], b"");
    assert_eq!(run.code, 2, "{}", run.err);
    assert!(run.err.contains("1 line could not be read; the first is ") && run.err.contains("a.ndjson:1: "), "{}", run.err);
}

/// Nothing is deleted, and nobody should take two examinations for one.
#[test]
fn files_of_an_earlier_examination_are_told() {
    let dir = TempDir::new().unwrap();
    let out = dir.path().join("report");
    let log = root().join("tests/corpus/logs/istio/access.json");
    let examine = |formats: &str| {
        let args = ["audit", "--bundle", "tests/corpus/logs/istio", "--fail-on", "never", "--formats", formats, "--out"];
        run_in(root(), &[&args[..], &[out.to_str().unwrap(), log.to_str().unwrap()]].concat(), b"")
    };
    let first = examine("sarif,junit");
    assert!(first.code == 0 && !first.err.contains("earlier examination"), "{}", first.err);
    let before = fs::read(out.join("findings.sarif")).unwrap();
    let second = examine("junit");
    assert!(second.code == 0 && second.err.contains("note: `findings.sarif` in "), "{}", second.err);
    assert_eq!(fs::read(out.join("findings.sarif")).unwrap(), before);
}

/// Another mesh's log has no chain to verify; whoever asks is told where it can be read.
#[test]
fn verify_says_whose_logs_have_a_chain() {
    for (log, ours) in [("tests/corpus/logs/istio/access.json", false), ("tests/corpus/logs/envoy-recorded/sidecar.ndjson.zst", true)] {
        let run = run_in(root(), &["verify", log], b"");
        let told = format!("note: not one line of `{log}` is a record of ours");
        assert!(run.err.contains("self-consistent") == ours, "{}", run.err);
        assert_eq!(run.err.contains(&told) && run.err.contains("`portreeve audit`"), !ours, "{}", run.err);
    }
}
