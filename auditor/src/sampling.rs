//! Samples drawn from logs, and what happens to one that was tampered with.

use std::collections::{BTreeMap, BTreeSet};

use portreeve_engine::Digest;

use crate::sample::{Draw, Sample};
use crate::source::LogSource;
use crate::testing::{Log, memory};

fn log(name: &str, requests: usize) -> LogSource {
    let mut log = Log::start("items", name, Digest::of(b"law"));
    for n in 0..requests {
        log.allow("invoices", &format!("/v1/items/{n}"), "read-item", "p");
    }
    log.stop();
    memory(name, &log.out)
}

fn draw(logs: &[LogSource], size: usize, seed: u64) -> Sample {
    Sample::draw(logs, Draw { size, seed, digests_only: false }).unwrap()
}

fn faults(sample: &Sample, logs: &[LogSource]) -> Vec<String> {
    let read = Sample::read(&serde_json::to_vec(sample).unwrap()).unwrap();
    read.check(logs).unwrap().faults
}

#[test]
fn what_is_drawn_is_proved_and_drawn_again() {
    let logs = [log("a", 40), log("b", 7), memory("empty", b""), memory("strange", b"\n\xff\nno record\n{}")];
    for (size, seed) in [(0, 1), (1, 2), (10, 3), (49, 4), (1000, 5)] {
        let sample = draw(&logs, size, seed);
        assert_eq!((sample.population, sample.entries.len()), (49, size.min(49)), "seed {seed}");
        assert_eq!(sample.logs.iter().map(|l| (l.lines, l.population)).collect::<Vec<_>>(), [(82, 40), (16, 7), (0, 0), (4, 2)]);
        let report = sample.check(&logs).unwrap();
        assert!(report.is_sound() && report.redrawn, "seed {seed}: {:?}", report.faults);
        assert_eq!((report.proved, report.with_text), (sample.entries.len() as u64, sample.entries.len() as u64));
        // Of a log that is not ours every line with text is a record.
        assert!(sample.entries.iter().all(|e| e.log == 3 || e.text.as_ref().unwrap().contains("\"event\":\"decided\"")));
    }
    assert_eq!(draw(&logs, 10, 3).statement, "10 of 49 records, seed 3");
    assert_ne!(draw(&logs, 10, 3).entries, draw(&logs, 10, 4).entries);
}

#[test]
fn order_and_compression_of_logs_change_nothing_drawn() {
    let (a, b) = (log("a", 60), log("b", 60));
    let picked = |logs: &[LogSource]| -> BTreeSet<Digest> { draw(logs, 12, 9).entries.iter().map(|e| e.sha256).collect() };
    let forward = picked(&[a.clone(), b.clone()]);
    assert_eq!(forward, picked(&[b.clone(), a.clone()]));
    let LogSource::Memory { bytes, .. } = &a else { panic!() };
    assert_eq!(forward, picked(&[memory("a.zst", &zstd::encode_all(bytes.as_slice(), 1).unwrap()), b]));
}

#[test]
fn records_that_a_container_runtime_keeps_are_drawn_as_they_were_written() {
    let log = log("a", 30);
    let LogSource::Memory { bytes, .. } = &log else { panic!() };
    let at = "2026-11-22T10:00:00.000000000Z";
    let mut kept = format!("{at} stderr F portreeve: begins\n");
    for line in String::from_utf8(bytes.clone()).unwrap().lines() {
        kept.push_str(&format!("{at} stdout F {line}\n{at} stderr F portreeve: \"decided\"\n"));
    }
    let logs = [memory("a", kept.as_bytes())];
    let sample = draw(&logs, 100, 9);
    assert_eq!((sample.population, sample.logs[0].lines), (30, 125));
    assert!(faults(&sample, &logs).is_empty());
    let texts = |sample: &Sample| sample.entries.iter().map(|e| (e.sha256, e.text.clone())).collect::<BTreeSet<_>>();
    assert_eq!(texts(&sample), texts(&draw(std::slice::from_ref(&log), 100, 9)));
}

#[test]
fn lines_left_out_leave_their_proofs() {
    let logs = [log("a", 30)];
    let whole = draw(&logs, 8, 1);
    let bare = Sample::draw(&logs, Draw { size: 8, seed: 1, digests_only: true }).unwrap();
    assert_eq!(whole.root, bare.root);
    assert!(bare.entries.iter().all(|e| e.text.is_none()));
    assert!(!serde_json::to_string(&bare).unwrap().contains("/v1/items/"));
    let report = bare.check(&[]).unwrap();
    assert_eq!((report.proved, report.with_text, report.redrawn, report.is_sound()), (8, 0, false, true));
    // One line can be left out of a sample that has the others.
    let mut some = whole;
    some.entries[3].text = None;
    assert!(faults(&some, &logs).is_empty());
}

/// Over many seeds every record is drawn about as often as every other.
#[test]
fn the_draw_is_fair() {
    let logs = [log("a", 100)];
    let mut drawn: BTreeMap<u64, u32> = BTreeMap::new();
    for seed in 0..400 {
        for entry in draw(&logs, 10, seed).entries {
            *drawn.entry(entry.line).or_default() += 1;
        }
    }
    // 40 expected each; a fair draw leaves this range once in more than ten million records. Seeds are 0 to 399.
    assert_eq!(drawn.len(), 100);
    assert!(drawn.values().all(|n| (10..=80).contains(n)), "{drawn:?}");
}

#[test]
fn whatever_is_changed_is_seen() {
    let logs = [log("a", 40), log("b", 7)];
    let sample = draw(&logs, 10, 3);
    type Change = fn(&mut Sample);
    let changes: [(&str, Change); 14] = [
        ("text", |s| s.entries[0].text.as_mut().unwrap().push(' ')),
        ("text and digest", |s| {
            s.entries[0].text = Some("{}".to_owned());
            s.entries[0].sha256 = Digest::of(b"{}");
        }),
        ("line", |s| s.entries[0].line += 1),
        ("line of nowhere", |s| s.entries[0].line = 0),
        ("log", |s| s.entries[0].log = 1),
        ("log of nowhere", |s| s.entries[0].log = 9),
        ("proof", |s| s.entries[0].proof[0] = Digest::ZERO),
        ("proof too short", |s| s.entries[0].proof.truncate(1)),
        ("root of a log", |s| s.logs[0].root = Digest::ZERO),
        ("root", |s| s.root = Digest::ZERO),
        ("lines", |s| s.logs[0].lines += 1),
        ("population", |s| s.population += 1),
        ("a record removed", |s| drop(s.entries.pop())),
        ("a record twice", |s| s.entries[1] = s.entries[0].clone()),
    ];
    for (what, change) in changes {
        let mut changed = sample.clone();
        change(&mut changed);
        assert!(!faults(&changed, &[]).is_empty(), "{what}");
    }
    // Who picks records as he likes has proofs for them, and is found out with the logs.
    let mut picked = draw(&logs, 10, 4);
    picked.seed = 3;
    picked.statement = sample.statement.clone();
    assert!(faults(&picked, &[]).is_empty());
    assert!(faults(&picked, &logs)[0].contains("the seed gives other records"));
    let changed = faults(&sample, &[log("a", 41), log("b", 7)]);
    assert!(changed[0].contains("`a` is none of the logs that were drawn from"), "{changed:?}");
    let some = sample.check(&logs[..1]).unwrap();
    assert!(some.is_sound() && !some.redrawn && some.logs_checked == 1);
    for text in ["{}", "[]", r#"{"kind":"other"}"#] {
        assert!(Sample::read(text.as_bytes()).is_err());
    }
}
