//! Every form of a report holds the numbers of its `assessment.json`: a plain script (`figures.py`, Python's standard library) compares them, for
//! assessments that are made up and for real ones, and would see a difference.

#![cfg(test)]

mod common;
#[path = "../reports/tests/sample/mod.rs"]
#[expect(unreachable_pub, dead_code, reason = "shared with the tests of the renderers")]
mod sample;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use portreeve_auditor::Assessment;
use portreeve_reports::{Format, Options};
use serde_json::Value;
use tempfile::TempDir;

use crate::common::{root, run_in};

/// What the script says of a folder; `None` where there is no Python.
fn judged(folder: &Path, more: &[&str]) -> Option<Output> {
    let judged = Command::new("python3").arg(root().join("tests/figures.py")).arg(folder).args(more).output();
    if judged.is_err() {
        eprintln!("skipped: there is no python3 to compare with");
    }
    judged.ok()
}

fn holds(name: &str, folder: &Path, more: &[&str]) {
    let Some(judged) = judged(folder, more) else { return };
    let said = String::from_utf8_lossy(&[judged.stdout, judged.stderr].concat()).into_owned();
    assert!(judged.status.success(), "{name}:\n{said}");
}

fn made_up() -> Vec<(&'static str, Assessment)> {
    // Where names are what attackers write, other forms have them tamed, and rows cannot be told by them.
    let busy = sample::busy(30, 250);
    vec![("market", sample::market()), ("crowd", sample::crowd(60)), ("busy", busy)]
}

#[test]
fn every_figure_of_made_up_assessments_is_that_of_the_json_file() {
    for (name, assessment) in made_up() {
        let dir = TempDir::new().unwrap();
        portreeve_reports::write_formats(&assessment, dir.path(), &Format::ALL, &Options::default()).unwrap();
        holds(name, dir.path(), &["made-up"]);
    }
}

const LOGS: &str = "tests/corpus/logs";

/// Writes a report of logs of the corpus, with whatever else there is to tell.
fn report(dir: &Path, name: &str, arguments: &[&str]) -> String {
    let out = dir.join(name).to_str().unwrap().to_owned();
    let run = run_in(root(), &[&["audit", "--fail-on", "never", "--formats", "all", "--out", &out], arguments].concat(), b"");
    assert!(run.code == 0 && run.out.is_empty(), "{}", run.err);
    out
}

#[test]
fn every_figure_of_real_reports_is_that_of_the_json_file() {
    let dir = TempDir::new().unwrap();
    let shop = format!("{LOGS}/envoy-recorded/policies");
    let recorded = |name: &str| format!("{LOGS}/envoy-recorded/{name}.ndjson.zst");
    let (sidecar, istio) = (recorded("sidecar"), recorded("istio"));
    let first = report(dir.path(), "sidecar", &["--bundle", &shop, &sidecar]);
    let baseline = format!("{first}/assessment.json");
    let all = ["--catalog", "pci-dss-4.0.1", "--catalog", "nist-800-53-r5", "--catalog", "soc2"];
    let more = ["--baseline", &baseline, "--governance", "policies/governance", "--sample", "7", "--bundle", &shop, &sidecar, &istio];
    report(dir.path(), "both", &[&all[..], &more].concat());
    for (name, log) in [
        ("envoy", "access.log"),
        ("hubble", "hipstershop.jsonl"),
        ("istio", "access.json"),
        ("opa", "decisions.jsonl"),
        ("ztunnel", "ztunnel.log"),
    ] {
        report(dir.path(), name, &["--bundle", &format!("{LOGS}/{name}"), &format!("{LOGS}/{name}/{log}")]);
    }
    let empty = dir.path().join("empty.ndjson");
    fs::write(&empty, b"").unwrap();
    report(dir.path(), "empty", &["--bundle", "policies/marketplace", empty.to_str().unwrap()]);
    for name in ["sidecar", "both", "envoy", "hubble", "istio", "opa", "ztunnel", "empty"] {
        holds(name, &dir.path().join(name), &[]);
    }
}

/// Whatever number is altered in `assessment.json` alone is missed in the other forms.
#[test]
fn the_script_would_see_a_difference() {
    let dir = TempDir::new().unwrap();
    let log = format!("{LOGS}/envoy-recorded/istio.ndjson.zst");
    let folder = report(dir.path(), "r", &["--bundle", &format!("{LOGS}/envoy-recorded/policies"), &log]);
    let path = Path::new(&folder).join("assessment.json");
    let whole: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    if judged(Path::new(&folder), &[]).is_none() {
        return;
    }
    // The data of the page follow the file, so that it is the figures that tell.
    let page = fs::read_to_string(Path::new(&folder).join("index.html")).unwrap();
    let seen = |what: &str, altered: &Value| {
        fs::write(&path, altered.to_string()).unwrap();
        let judged = judged(Path::new(&folder), &[]).unwrap();
        let said = String::from_utf8_lossy(&judged.stdout).into_owned();
        let others = said.lines().filter(|line| !line.starts_with("the data of the page") && !line.ends_with("faults")).count();
        assert!(judged.status.code() == Some(1) && others > 0, "{what}: {said}");
    };
    assert!(page.contains("id=\"assessment\""));
    for number in [
        "totals/lines",
        "totals/decided",
        "totals/allowed",
        "totals/denied",
        "totals/rejected",
        "totals/duplicates",
        "totals/unlawful",
        "totals/overdenied",
        "totals/not_replayable",
        "totals/refused_attempts",
        "totals/unrecorded",
        "totals/undetermined",
        "summary/controls",
        "summary/examined",
        "summary/grants",
        "summary/grants_unused",
        "summary/denied_pairs",
        "summary/verdicts/1/count",
        "reads/grades/3/count",
        "reads/not_asked/0/count",
        "inputs/0/lines",
        "inputs/0/coverage/decided",
        "findings/0/count",
        "findings/4/count",
        "edges/0/allowed",
        "edges/1/denied",
        "matrix/0/allowed_count",
        "services/0/allowed",
        "denials/0/count",
        "bundles/0/policies",
        "fidelity/of",
        "analyses/permissions/have",
        "analyses/privilege/of",
    ] {
        let mut altered = whole.clone();
        let place = altered.pointer_mut(&format!("/{number}")).unwrap_or_else(|| panic!("there is no {number}"));
        *place = (place.as_u64().unwrap() + 1).into();
        seen(number, &altered);
    }
    let without = |list: &str| {
        let mut altered = whole.clone();
        altered[list].as_array_mut().unwrap().pop();
        altered
    };
    for list in ["controls", "findings", "services", "edges", "matrix", "inputs"] {
        seen(list, &without(list));
    }
    let mut altered = whole.clone();
    altered["controls"][0]["verdict"] = "waived".into();
    seen("a verdict", &altered);
}
