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
    let run = run_in(root(), &["audit", "--bundle", MARKET, log.to_str().unwrap(), "--out", out.to_str().unwrap()], b"");
    assert_eq!(run.code, 0, "{}", run.err);
    out.join("assessment.json").to_str().unwrap().to_owned()
}

#[test]
fn the_gate_takes_several_and_says_which_failed() {
    let dir = TempDir::new().unwrap();
    let base = report(&dir, "base");
    let log = dir.path().join("empty.ndjson");
    let audit = |more: &[&str]| run_in(root(), &[&["audit", "--bundle", MARKET, log.to_str().unwrap()], more].concat(), b"");
    for (more, code, says) in [
        (&["--fail-on", "not-met"][..], 0, "ok: the gate is passed"),
        (&["--fail-on", "never"], 0, "ok: nothing was asked to fail"),
        (&["--fail-on", "not-met,coverage:1"], 1, "FAIL: the gate is not passed: logs speak of 0 of 7 services only, less than 1 %"),
        (&["--fail-on", "coverage:0"], 0, "ok: the gate is passed"),
        (&["--fail-on", "expired-exception"], 0, "ok: the gate is passed"),
        (&["--fail-on", "coverage:101"], 2, "a number from 0 to 100"),
        (&["--fail-on", "coverage:lots"], 2, "a number from 0 to 100"),
        (&["--fail-on", "often"], 2, "expected not-met, suspect"),
        (&["--fail-on", "never,not-met"], 2, "stands alone"),
        (&["--fail-on", "new"], 2, "needs something to be new against"),
        (&["--fail-on", "new", "--baseline", &base], 0, "findings new, "),
        (&["--baseline", "no/such.json"], 2, "cannot read the baseline `no/such.json`"),
        (&["--baseline", "Cargo.toml"], 2, "Cargo.toml:1:"),
    ] {
        let run = audit(more);
        assert_eq!(run.code, code, "{more:?}\n{}", run.err);
        let says = if says == "findings new, " { "0 findings new, " } else { says };
        let found = run.err.contains(says) || (says.starts_with("0 findings") && run.err.contains("  0 findings new, 0 gone, "));
        assert!(found, "{more:?}\n{}", run.err);
    }
}

/// A control that failed before does not fail again, unless there is something new about it.
#[test]
fn with_a_baseline_only_what_is_new_fails() {
    let dir = TempDir::new().unwrap();
    let base = report(&dir, "base");
    let log = dir.path().join("empty.ndjson");
    // A line that is no record puts the evidence in doubt, and a control with it.
    fs::write(&log, b"no record\n").unwrap();
    let audit = |more: &[&str]| run_in(root(), &[&["audit", "--bundle", MARKET, log.to_str().unwrap()], more].concat(), b"");
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
    assert!(other.err.contains("warning: another tool: "), "{}", other.err);
    let new = audit(&["--fail-on", "new", "--baseline", same.to_str().unwrap()]);
    assert!(new.code == 1 && new.err.contains("1 finding not in the baseline: rejected_lines-"), "{}", new.err);
}
