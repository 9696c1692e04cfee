//! The gate of `audit` as a pipeline meets it: what fails it, what is new against a baseline, and what cannot be told.

#![cfg(test)]

mod common;

use std::fs;

use serde_json::Value;
use tempfile::TempDir;

use crate::common::{root, run_in};

const MARKET: &str = "policies/marketplace";

/// A log without a record, and the report on it.
fn report(dir: &TempDir, name: &str) -> String {
    let log = dir.path().join("empty.ndjson");
    fs::write(&log, b"").unwrap();
    let out = dir.path().join(name);
    let run = run_in(
        root(),
        &[
            "audit",
            "--bundle",
            MARKET,
            "--log-format",
            "portreeve",
            log.to_str().unwrap(),
            "--fail-on",
            "never",
            "--out",
            out.to_str().unwrap(),
        ],
        b"",
    );
    assert_eq!(run.code, 0, "{}", run.err);
    out.join("assessment.json").to_str().unwrap().to_owned()
}

#[test]
fn the_gate_takes_several_and_says_which_failed() {
    let dir = TempDir::new().unwrap();
    let base = report(&dir, "base");
    let log = dir.path().join("empty.ndjson");
    let audit = |more: &[&str]| {
        run_in(root(), &[&["audit", "--bundle", MARKET, "--log-format", "portreeve", log.to_str().unwrap()], more].concat(), b"")
    };
    for (more, code, says) in [
        // Policy alone refutes a control here, without any log.
        (&["--fail-on", "not-met"][..], 1, "FAIL: the gate is not passed: 1 control not-met: "),
        (&["--fail-on", "not-met", "--baseline", &base], 0, "ok: the gate is passed"),
        (&["--fail-on", "never"], 0, "ok: nothing was asked to fail"),
        (&["--fail-on", "not-met,coverage:1"], 1, "; logs speak of 0 of 6 services only, less than 1 %: nothing of "),
        (&["--fail-on", "coverage:0"], 0, "ok: the gate is passed"),
        (&["--fail-on", "expired-exception"], 0, "ok: the gate is passed"),
        (&["--fail-on", "coverage:101"], 2, "a number from 0 to 100"),
        (&["--fail-on", "coverage:lots"], 2, "a number from 0 to 100"),
        (&["--fail-on", "coverage:grade-B:0"], 0, "ok: the gate is passed"),
        (&["--fail-on", "coverage:grade-B:1"], 1, "callers are known by grade B or better in 0 of 0 decisions only, less than 1 %"),
        (&["--fail-on", "coverage:grade-F:1"], 2, "`F` is no grade"),
        (&["--fail-on", "coverage:grade-B"], 2, "a number from 0 to 100"),
        (&["--fail-on", "often"], 2, "expected not-met, suspect"),
        (&["--fail-on", "never,not-met"], 2, "stands alone"),
        (&["--fail-on", "new"], 2, "needs something to be new against"),
        (&["--fail-on", "new", "--baseline", &base], 0, "  0 findings new, 0 gone, "),
        (&["--baseline", "no/such.json"], 2, "cannot read the baseline `no/such.json`"),
        (&["--baseline", "Cargo.toml"], 2, "Cargo.toml:1:"),
    ] {
        let run = audit(more);
        assert_eq!(run.code, code, "{more:?}\n{}", run.err);
        assert!(run.err.contains(says), "{more:?}\n{}", run.err);
    }
}

/// The gate over grades, on logs of callers known well and badly, beside our own: each grade's share is counted from the report, and the gate holds at
/// that share and not above it.
#[test]
fn the_gate_over_grades_holds_at_the_share_that_is_there() {
    let dir = TempDir::new().unwrap();
    let corpus = |name: &str| root().join("tests/corpus/logs").join(name).to_str().unwrap().to_owned();
    let (bundle, out) = (corpus("istio"), dir.path().join("out"));
    let logs = [
        corpus("istio/access.json"),
        corpus("istio/waypoint.log"),
        corpus("ztunnel/ztunnel.log"),
        corpus("envoy-recorded/sidecar.ndjson.zst"),
    ];
    let audit = |more: &[&str]| {
        let logs: Vec<&str> = logs.iter().map(String::as_str).collect();
        run_in(root(), &[&["audit", "--bundle", &bundle], more, &logs].concat(), b"")
    };
    assert_eq!(audit(&["--fail-on", "never", "--out", out.to_str().unwrap()]).code, 0);
    let report: Value = serde_json::from_slice(&fs::read(out.join("assessment.json")).unwrap()).unwrap();
    let decided = report["totals"]["decided"].as_u64().unwrap();
    let counts: Vec<(String, u64)> = report["reads"]["grades"]
        .as_array()
        .unwrap()
        .iter()
        .map(|g| (g["grade"].as_str().unwrap().to_owned(), g["count"].as_u64().unwrap()))
        .collect();
    let mut known = 0;
    let mut shares = Vec::new();
    for grade in ["A", "B", "C", "D", "E"] {
        known += counts.iter().find(|(of, _)| of == grade).map_or(0, |(_, count)| *count);
        let share = known * 100 / decided;
        shares.push(share);
        if matches!(grade, "C" | "E") {
            continue;
        }
        let gate = |least: u64| audit(&["--fail-on", &format!("coverage:grade-{grade}:{least}")]);
        assert_eq!(gate(share).code, 0, "{grade} {share}");
        if share < 100 {
            let run = gate(share + 1);
            let says = format!("by grade {grade} or better in {known} of {decided} decisions only, less than {} %", share + 1);
            assert!(run.code == 1 && run.err.contains(&says), "{says}\n{}", run.err);
        }
    }
    // Every decision has a grade, and what is known badly is there too, or this would show little.
    assert_eq!(known, decided);
    assert!(counts.len() >= 3 && shares.first() < shares.get(3), "{counts:?}");
}

/// A control that failed before does not fail again, unless there is something new about it.
#[test]
fn with_a_baseline_only_what_is_new_fails() {
    let dir = TempDir::new().unwrap();
    let base = report(&dir, "base");
    let log = dir.path().join("empty.ndjson");
    // A line that is no record puts the evidence in doubt, and a control with it.
    fs::write(&log, b"no record\n").unwrap();
    let audit = |more: &[&str]| {
        run_in(root(), &[&["audit", "--bundle", MARKET, "--log-format", "portreeve", log.to_str().unwrap()], more].concat(), b"")
    };
    let alone = audit(&["--fail-on", "suspect", "--format", "json"]);
    assert_eq!(alone.code, 1, "{}", alone.err);
    let against = audit(&["--fail-on", "suspect", "--baseline", &base]);
    assert_eq!(against.code, 1, "{}", against.err);
    assert!(against.err.contains("newly not-met or suspect"), "{}", against.err);
    let same = dir.path().join("same.json");
    fs::write(&same, &alone.out).unwrap();
    let again = audit(&["--fail-on", "suspect,new", "--baseline", same.to_str().unwrap()]);
    assert_eq!(again.code, 0, "{}", again.err);
    // The same verdict for another reason is new.
    let mut older: Value = serde_json::from_str(&alone.out).unwrap();
    older["findings"].as_array_mut().unwrap().retain(|f| f["check"] != "rejected_lines");
    older["tool"] = "portreeve 0.0.1".into();
    fs::write(&same, older.to_string()).unwrap();
    let other = audit(&["--fail-on", "suspect", "--baseline", same.to_str().unwrap()]);
    assert_eq!(other.code, 1, "{}", other.err);
    assert!(other.err.contains("warning: tool: "), "{}", other.err);
    let new = audit(&["--fail-on", "new", "--baseline", same.to_str().unwrap()]);
    assert!(new.code == 1 && new.err.contains("1 finding not in the baseline: rejected_lines-"), "{}", new.err);
}

/// Every format is written where it is asked for, the usual three where nothing is; and the same bytes come again.
#[test]
fn formats_are_chosen_and_deterministic() {
    let dir = TempDir::new().unwrap();
    let log = dir.path().join("some.ndjson");
    fs::write(&log, b"no record\n").unwrap();
    let files = |name: &str| {
        let mut all: Vec<String> =
            fs::read_dir(dir.path().join(name)).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
        all.sort();
        all
    };
    let audit = |more: &[&str]| {
        let args =
            [&["audit", "--bundle", MARKET, "--log-format", "portreeve", log.to_str().unwrap(), "--fail-on", "never"], more].concat();
        run_in(root(), &args, b"")
    };
    let out = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    assert_eq!(audit(&["--out", &out("usual")]).code, 0);
    assert_eq!(files("usual"), ["assessment.json", "index.html", "summary.md"]);
    for name in ["one", "two"] {
        assert_eq!(audit(&["--out", &out(name), "--formats", "all"]).code, 0);
    }
    let expected =
        ["assessment.json", "controls.csv", "edges.csv", "findings.csv", "findings.sarif", "index.html", "junit.xml", "ocsf.ndjson"];
    assert!(expected.iter().all(|f| files("one").contains(&(*f).to_owned())), "{:?}", files("one"));
    for file in files("one") {
        assert_eq!(fs::read(dir.path().join("one").join(&file)).unwrap(), fs::read(dir.path().join("two").join(&file)).unwrap(), "{file}");
    }
    let some = audit(&["--out", &out("some"), "--formats", "sarif,junit", "--format", "csv-controls"]);
    assert_eq!((some.code, files("some")), (0, vec!["findings.sarif".to_owned(), "junit.xml".to_owned()]));
    assert_eq!(some.out.as_bytes(), fs::read(dir.path().join("one/controls.csv")).unwrap());
    let dated = audit(&["--format", "oscal", "--generated-at", "2026-12-01T00:00:00Z"]);
    assert!(dated.code == 0 && dated.out.contains("\"last-modified\": \"2026-12-01T00:00:00.000Z\""));
    for wrong in [&["--formats", "sarif"][..], &["--format", "pdf"], &["--format", "all"], &["--out", &out("x"), "--formats", "human"]] {
        assert_eq!(audit(wrong).code, 2, "{wrong:?}");
    }
}
