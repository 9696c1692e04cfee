//! What is given twice, empty, or damaged: it counts once or is refused, and is told by its name.

#![cfg(test)]

mod common;

use std::fs;
use std::io::Write as _;
use std::path::Path;

use portreeve_engine::Digest;
use tempfile::TempDir;

use crate::common::{Run, root, run_in};

const MARKET: &str = "policies/marketplace";

fn path(dir: &TempDir, name: &str) -> String {
    dir.path().join(name).to_str().unwrap().to_owned()
}

fn portreeve(args: &[&str]) -> Run {
    run_in(root(), args, b"")
}

/// Lines of Kuma, which have no ids.
fn kuma(lines: usize) -> String {
    let line = |n: usize| {
        format!(
            "[2026-10-09T08:{:02}:{:02}.932Z] - default 10.0.0.1(web_shop_svc_80)->10.0.0.2:5432(items_shop_svc_5432) took 12ms, sent 7 bytes, received: 9 bytes\n",
            n / 60,
            n % 60
        )
    };
    (0..lines).map(line).collect()
}

/// A log of `items`, of so many questions.
fn own(questions: u64) -> String {
    let revision = Digest::of(b"law");
    let mut out = String::new();
    let mut prev = Digest::ZERO;
    for seq in 0..questions + 2 {
        let event = match seq {
            0 => format!(
                r#""event":"started","enforcer":"spiffe://market.example/ns/shop/sa/items","instance":"items-1","revision":"{revision}","mode":"enforce","config":"{revision}","version":"0.1.0""#
            ),
            n if n > questions => r#""event":"stopped","unrecorded":0"#.to_owned(),
            n => format!(
                r#""event":"decided","mode":"enforce","revision":"{revision}","source":{{"id":"spiffe://market.example/ns/shop/sa/invoices","service":"invoices","ip":"10.0.0.7"}},"destination":{{"service":"items"}},"request":{{"id":"r{n}","protocol":"HTTP/2","method":"GET","path":"/v1/items/1","host":"items","operation":"read-item"}},"context":{{"headers":{{}},"query":{{}}}},"decision":{{"effect":"deny","reason":"no-permission","policies":[],"errors":[],"shadow":[]}}"#
            ),
        };
        let line = format!(r#"{{"v":1,"seq":{seq},"prev":"{prev}","at":"2026-11-22T10:00:{seq:02}.000Z",{event}}}"#);
        prev = Digest::of(line.as_bytes());
        out.push_str(&line);
        out.push('\n');
    }
    out
}

#[test]
fn a_file_with_two_names_and_a_copy_of_it_are_read_once() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("a.log"), kuma(9)).unwrap();
    std::os::unix::fs::symlink("a.log", dir.path().join("b.log")).unwrap();
    fs::hard_link(dir.path().join("a.log"), dir.path().join("c.log")).unwrap();
    let dotted = format!("{}/../{}/a.log", dir.path().display(), dir.path().file_name().unwrap().display());
    fs::copy(dir.path().join("a.log"), dir.path().join("d.log")).unwrap();
    let names = [&*path(&dir, "a.log"), &dotted, &path(&dir, "b.log"), &path(&dir, "c.log"), &path(&dir, "d.log")];
    let ledger = path(&dir, "l.ledger");
    for (args, code, says) in [
        (&["audit", "--fail-on", "never", "--bundle", MARKET][..], 0, "9 lines: 9 decided"),
        (&["replay", "--bundle", MARKET], 1, "9 decided, 0 agree, 0 differ, 9 not replayable; 9 lines"),
        (&["ledger", "build", "--bundle", MARKET, "--out", &ledger], 0, "of 9 lines: 9 decided"),
    ] {
        let run = portreeve(&[args, &names].concat());
        assert!(run.code == code && run.err.contains(says), "{}", run.err);
        assert_eq!(run.err.matches(" and is read once").count(), 4, "{}", run.err);
    }
}

/// A log that goes on where another stops shares its lines: that is told where it cannot be known to be a copy.
#[test]
fn logs_that_share_lines_are_told() {
    let dir = TempDir::new().unwrap();
    let (a, b, ledger) = (path(&dir, "a.log"), path(&dir, "b.log"), path(&dir, "l.ledger"));
    fs::write(&a, kuma(9)).unwrap();
    fs::write(&b, kuma(10)).unwrap();
    let run = portreeve(&["ledger", "build", "--bundle", MARKET, "--out", &ledger, &a, &b]);
    assert!(run.code == 0 && run.err.contains("warning: at least 5 lines of these logs stand in two of them"), "{}", run.err);
}

fn pack(path: &str, text: &str, level: u32) {
    let mut gzip = flate2::write::GzEncoder::new(fs::File::create(path).unwrap(), flate2::Compression::new(level));
    gzip.write_all(text.as_bytes()).unwrap();
    gzip.finish().unwrap();
}

/// Whichever is given first is read: what they hold is the same. A packed log that goes on is another one.
#[test]
fn a_log_and_what_was_packed_of_it_are_read_once() {
    let dir = TempDir::new().unwrap();
    let [plain, one, two, longer, damaged, ledger] =
        ["a.log", "a.log.gz", "a.log.1.gz", "longer.log.gz", "damaged.log.gz", "l.ledger"].map(|name| path(&dir, name));
    fs::write(&plain, kuma(99)).unwrap();
    pack(&one, &kuma(99), 1);
    pack(&two, &kuma(99), 9);
    for (logs, left_out) in [([&plain, &one, &two], [&one, &two]), ([&two, &plain, &one], [&plain, &one])] {
        let logs = logs.map(String::as_str);
        for args in [&["audit", "--fail-on", "never", "--bundle", MARKET][..], &["ledger", "build", "--bundle", MARKET, "--out", &ledger]] {
            let run = portreeve(&[args, &logs].concat());
            assert!(run.code == 0 && run.err.contains("99 lines: 99 decided"), "{}", run.err);
            for other in left_out {
                assert!(
                    run.err.contains(&format!("note: `{other}` holds the same lines as `{}` and is read once", logs[0])),
                    "{}",
                    run.err
                );
            }
        }
        fs::remove_file(&ledger).unwrap();
    }
    pack(&longer, &kuma(100), 1);
    let whole = fs::read(&one).unwrap();
    fs::write(&damaged, &whole[..whole.len() - 9]).unwrap();
    let run = portreeve(&["audit", "--fail-on", "never", "--bundle", MARKET, &plain, &longer, &damaged]);
    assert!(run.code == 0 && !run.err.contains("is read once"), "{}", run.err);
}

/// Lines without an id may be alike by chance, so nothing is left out for standing in two logs; it is told.
#[test]
fn an_audit_of_logs_that_share_lines_says_so() {
    let dir = TempDir::new().unwrap();
    let (a, b, c) = (path(&dir, "a.log"), path(&dir, "b.log.gz"), path(&dir, "c.log"));
    let lines: Vec<String> = kuma(300).split_inclusive('\n').map(str::to_owned).collect();
    fs::write(&a, lines[..100].concat()).unwrap();
    pack(&b, &lines[90..200].concat(), 1);
    fs::write(&c, lines[200..].concat()).unwrap();
    let out = path(&dir, "report");
    let run = portreeve(&["audit", "--fail-on", "never", "--bundle", MARKET, "--out", &out, &a, &b, &c]);
    assert!(run.code == 0 && run.err.contains("310 lines: 310 decided"), "{}", run.err);
    let report: serde_json::Value = serde_json::from_slice(&fs::read(Path::new(&out).join("assessment.json")).unwrap()).unwrap();
    let found: Vec<_> = report["findings"].as_array().unwrap().iter().filter(|f| f["check"] == "copied_lines").collect();
    let says =
        format!("10 lines of `{a}` stand in `{b}`, too, the first on line 91 and on line 1: if one is a copy, its requests count twice");
    assert!(found.len() == 1 && found[0]["summary"] == says.as_str(), "{found:?}");
}

/// Names are others' to choose, and pipelines take orders from lines.
#[test]
fn no_name_writes_a_line_of_its_own() {
    let dir = TempDir::new().unwrap();
    let (evil, good) = (path(&dir, "x\nerror: y\u{202e}\x1b[31m.log"), path(&dir, "a.log"));
    fs::write(&good, kuma(3)).unwrap();
    let catalog = path(&dir, "c.yaml");
    fs::write(&catalog, "catalog: c\ntitle: T\ncontrols:\n  - {id: a, family: F, title: T, cannot_show: all, otherwise: needs-human, doubted_by: [\"x\\nerror: y\"]}\n").unwrap();
    let missing = portreeve(&["audit", "--bundle", MARKET, &evil]);
    let unknown = portreeve(&["audit", "--bundle", MARKET, "--catalog", &catalog, &good]);
    fs::write(&evil, b"").unwrap();
    let empty = portreeve(&["audit", "--fail-on", "never", "--bundle", MARKET, &evil, &good]);
    fs::write(&evil, kuma(2)).unwrap();
    let read = portreeve(&["audit", "--fail-on", "never", "--bundle", MARKET, &evil, &good]);
    for (run, code) in [(missing, 2), (unknown, 2), (empty, 0), (read, 0)] {
        assert!(run.code == code && run.err.contains("x\\u{a}error: y"), "{}", run.err);
        assert!(!run.err.contains("\nerror: y") && !run.err.contains(['\x1b', '\u{202e}']), "{}", run.err);
    }
}

#[test]
fn ledgers_of_one_log_under_two_names_are_not_merged() {
    let dir = TempDir::new().unwrap();
    let (log, copy) = (path(&dir, "a.log"), path(&dir, "copy.log"));
    fs::write(&log, kuma(9)).unwrap();
    fs::write(&copy, kuma(9)).unwrap();
    let build = |log: &str, out: &str| {
        let run = portreeve(&["ledger", "build", "--bundle", MARKET, "--out", out, log]);
        assert_eq!(run.code, 0, "{}", run.err);
    };
    let (one, two, out) = (path(&dir, "1.ledger"), path(&dir, "2.ledger"), path(&dir, "3.ledger"));
    build(&log, &one);
    build(&copy, &two);
    let run = portreeve(&["ledger", "merge", "--out", &out, &one, &two]);
    assert!(run.code == 2 && run.err.contains("hold the same bytes") && !Path::new(&out).exists(), "{}", run.err);
}

/// No two records of our own log are alike, so one that stands in two files was copied, however it is packed or cut.
#[test]
fn a_record_that_stands_in_two_logs_makes_no_ledger() {
    let dir = TempDir::new().unwrap();
    let (log, ledger) = (path(&dir, "a.ndjson"), path(&dir, "l.ledger"));
    fs::write(&log, own(20)).unwrap();
    let packed = path(&dir, "a.ndjson.gz");
    pack(&packed, &own(20).split_inclusive('\n').skip(3).collect::<String>(), 1);
    let cut = path(&dir, "cut.ndjson");
    fs::write(&cut, own(20).split_inclusive('\n').take(9).collect::<String>()).unwrap();
    for other in [&packed, &cut] {
        let run = portreeve(&["ledger", "build", "--bundle", MARKET, "--out", &ledger, &log, other]);
        assert!(run.code == 2 && run.err.contains("hold the same records"), "{}", run.err);
        assert!(!Path::new(&ledger).exists());
    }
}

#[test]
fn a_catalogue_counts_once_and_is_the_one_that_it_is_called() {
    let dir = TempDir::new().unwrap();
    let log = path(&dir, "a.log");
    fs::write(&log, kuma(9)).unwrap();
    let audit = |catalogs: &[&str]| {
        let args: Vec<&str> = catalogs.iter().flat_map(|catalog| ["--catalog", catalog]).collect();
        portreeve(&[&["audit", "--fail-on", "never", "--bundle", MARKET], &args[..], &[&log]].concat())
    };
    let builtin = "policies/controls/pci-dss-4.0.1.yaml";
    for twice in [&["soc2", "soc2"][..], &["pci-dss-4.0.1", builtin]] {
        let run = audit(twice);
        assert!(run.code == 2 && run.err.contains("is given twice"), "{}", run.err);
    }
    assert_eq!(audit(&[builtin, "soc2"]).code, 0);
    let posing = path(&dir, "posing.yaml");
    let text = fs::read_to_string(root().join(builtin)).unwrap();
    fs::write(&posing, text.replacen("measured: [policy, services, requests]", "measured: [policy]", 1)).unwrap();
    let run = audit(&[&posing]);
    assert!(run.code == 2 && run.err.contains("has the id of the built-in catalogue `pci-dss-4.0.1`"), "{}", run.err);
}

#[test]
fn an_empty_log_beside_others_is_told_by_its_name() {
    let dir = TempDir::new().unwrap();
    let (empty, good) = (path(&dir, "empty.ndjson"), path(&dir, "good.ndjson"));
    fs::write(&empty, b"").unwrap();
    fs::write(&good, own(3)).unwrap();
    assert_eq!(portreeve(&["verify", &good]).code, 0);
    let run = portreeve(&["verify", &good, &empty]);
    assert!(
        run.code == 2 && run.err.contains("error: there is not one line to verify in `") && run.err.contains("empty.ndjson"),
        "{}",
        run.err
    );
    let run = portreeve(&["verify", "--format", "json", &good, &empty]);
    assert!(run.code == 2 && run.out.contains("\"verdict\": \"empty\""), "{}", run.out);
    // What is wrong is a no, whatever else could not be told.
    fs::write(&good, own(3).replacen("/v1/items/1", "/v1/items/2", 1)).unwrap();
    assert_eq!(portreeve(&["verify", &good, &empty]).code, 1);
    let out = path(&dir, "report");
    let run = portreeve(&["audit", "--fail-on", "never", "--bundle", MARKET, "--out", &out, &good, &empty]);
    assert_eq!(run.code, 0, "{}", run.err);
    let report: serde_json::Value = serde_json::from_slice(&fs::read(Path::new(&out).join("assessment.json")).unwrap()).unwrap();
    let found: Vec<_> = report["findings"].as_array().unwrap().iter().filter(|f| f["check"] == "empty_log").collect();
    assert!(found.len() == 1 && found[0]["subject"].as_str().unwrap().ends_with("empty.ndjson"), "{found:?}");
}

#[test]
fn a_pattern_passes_nothing_over_in_silence() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("a.log"), kuma(3)).unwrap();
    fs::create_dir(dir.path().join("b.log")).unwrap();
    let pattern = path(&dir, "*.log");
    let audit = || portreeve(&["audit", "--fail-on", "never", "--bundle", MARKET, &pattern]);
    let run = audit();
    assert!(run.code == 0 && run.err.contains("b.log`, which `") && run.err.contains("is no file and is passed over"), "{}", run.err);
    std::os::unix::fs::symlink("gone", dir.path().join("c.log")).unwrap();
    let run = audit();
    assert!(run.code == 2 && run.err.contains("c.log`: No such file"), "{}", run.err);
}

#[test]
fn lines_that_could_not_be_read_are_told_with_their_places() {
    let dir = TempDir::new().unwrap();
    let (log, ledger, drafted) = (path(&dir, "a.log"), path(&dir, "l.ledger"), path(&dir, "drafted"));
    let lines = fs::read_to_string(root().join("tests/corpus/logs/istio/access.json")).unwrap();
    let mut file = fs::File::create(&log).unwrap();
    for (n, line) in lines.lines().skip(1).take(20).enumerate() {
        writeln!(file, "{line}").unwrap();
        if n == 6 {
            writeln!(file, "nonsense").unwrap();
        }
    }
    for args in [&["ledger", "build", "--bundle", MARKET, "--out", &ledger][..], &["suggest", "--out", &drafted]] {
        let run = portreeve(&[args, &[&log]].concat());
        assert!(run.code == 0 && run.err.contains("a.log:8: "), "{args:?}: {}", run.err);
    }
}
