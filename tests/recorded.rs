//! What real proxies logged, audited, and every number counted again by a plain script that shares nothing with the program.
//!
//! The recordings and what is real in them: `tests/corpus/logs/envoy-recorded/README.md`.

#![cfg(test)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

fn corpus(name: &str) -> PathBuf {
    here("corpus/logs/envoy-recorded").join(name)
}

/// Whether a tool is here; says so where it is not.
fn has(tool: &str, argument: &str) -> bool {
    let found = Command::new(tool).arg(argument).output().is_ok_and(|o| o.status.success());
    if !found {
        println!("skipped: there is no `{tool}` here");
    }
    found
}

fn audit(log: &Path, out: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portreeve"));
    command.args(["audit", "--fail-on", "never", "--bundle"]).arg(corpus("policies")).arg(log).arg("--out").arg(out);
    command.output().unwrap()
}

fn recount(format: &str, log: &Path, out: &Path) -> Output {
    Command::new("python3").arg(here("record/recount.py")).arg(format).arg(log).arg(out.join("assessment.json")).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Audits a recording and has it counted again.
fn counted_again(format: &str) {
    if !has("python3", "--version") || !has("zstd", "--version") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let log = corpus(&format!("{format}.ndjson.zst"));
    let audited = audit(&log, dir.path());
    assert!(audited.status.success(), "{}", text(&audited));
    let counted = recount(format, &log, dir.path());
    assert!(counted.status.success(), "{}", text(&counted));
}

#[test]
fn every_number_about_our_own_log_is_counted_again() {
    counted_again("sidecar");
}

/// Istio's own format names no caller: what the proxy did is counted, and policy is not asked.
#[test]
fn every_number_about_istios_format_is_counted_again() {
    counted_again("istio");
}

#[test]
fn every_number_about_the_recommended_format_is_counted_again() {
    counted_again("recommended");
}

/// The script would see a difference: the same assessment, held against a log with one more decision.
#[test]
fn a_number_that_is_not_so_is_seen() {
    if !has("python3", "--version") || !has("zstd", "--version") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let whole = Command::new("zstd").arg("-dc").arg(corpus("sidecar.ndjson.zst")).output().unwrap().stdout;
    let mut lines: Vec<&[u8]> = whole.split_inclusive(|b| *b == b'\n').collect();
    assert_eq!(lines.len(), 4773);
    let last = lines.iter().rposition(|line| line.windows(19).any(|w| w == b"\"event\":\"decided\",\"")).unwrap();
    lines.truncate(last);
    let (short, long) = (dir.path().join("short.ndjson"), dir.path().join("long.ndjson"));
    std::fs::write(&short, lines.concat()).unwrap();
    std::fs::write(&long, &whole).unwrap();
    assert!(audit(&short, dir.path()).status.success());
    let seen = recount("sidecar", &short, dir.path());
    assert!(seen.status.success(), "{}", text(&seen));
    let seen = recount("sidecar", &long, dir.path());
    assert_eq!(seen.status.code(), Some(1), "{}", text(&seen));
    assert!(text(&seen).contains("totals.decided: counted 2600, reported 2599"), "{}", text(&seen));
    // As it would in the analyses.
    let report = dir.path().join("assessment.json");
    let whole: serde_json::Value = serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap();
    for number in [
        "graphs/observed",
        "graphs/differences/0/edges",
        "privilege/have",
        "privilege/entries/0/edges/of",
        "permissions/entries/0/requests",
        "reach/entries/0/chain/0/requests",
        "blast/entries/0/reachable",
        "certificates/entries/0/requests",
    ] {
        let mut altered = whole.clone();
        let place = altered.pointer_mut(&format!("/analyses/{number}")).unwrap();
        *place = (place.as_u64().unwrap() + 1).into();
        std::fs::write(&report, altered.to_string()).unwrap();
        let seen = recount("sidecar", &short, dir.path());
        assert_eq!(seen.status.code(), Some(1), "{number}: {}", text(&seen));
    }
}

/// A town whose cards lie up to five calls behind its edge, and what its proxies logged: who called whom, and how often.
fn chains_log() -> String {
    let calls = [
        ("web", "gateway", 200, 9),
        ("mobile", "gateway", 200, 4),
        ("gateway", "orders", 200, 7),
        ("gateway", "billing", 200, 2),
        ("orders", "broker", 200, 5),
        ("broker", "signer", 200, 3),
        ("signer", "vault", 200, 3),
        ("vault", "archive", 200, 1),
        ("mobile", "cards", 200, 2),
        ("reports", "vault", 200, 1),
        ("billing", "vault", 403, 6),
        ("stranger", "orders", 403, 3),
    ];
    let mut lines = Vec::new();
    for (from, to, code, times) in calls {
        for _ in 0..times {
            let n = lines.len();
            let details = if code == 403 { "rbac_access_denied_matched_policy[none]" } else { "via_upstream" };
            lines.push(
                serde_json::json!({
                    "start_time": format!("2026-11-22T10:{n:02}:00.000Z"), "method": "POST", "path": "/call", "response_code": code,
                    "response_code_details": details, "response_flags": "-", "request_id": format!("r{n}"),
                    "authority": format!("{to}:8080"), "upstream_cluster": "inbound|8080||",
                    "downstream_peer_uri_san": format!("spiffe://chains.example/ns/shop/sa/{from}"),
                    "downstream_local_uri_san": format!("spiffe://chains.example/ns/shop/sa/{to}"),
                })
                .to_string()
                    + "\n",
            );
        }
    }
    lines.concat()
}

/// Services on every way, cuts, single grants, reach and blast radius where the ways have several steps.
#[test]
fn every_number_about_chains_of_several_steps_is_counted_again() {
    if !has("python3", "--version") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("town.ndjson");
    std::fs::write(&log, chains_log()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_portreeve"));
    command.args(["audit", "--fail-on", "never", "--bundle"]).arg(here("corpus/logs/chains")).arg(&log).arg("--out").arg(dir.path());
    let audited = command.output().unwrap();
    assert!(audited.status.success(), "{}", text(&audited));
    let counted = recount("chains", &log, dir.path());
    assert!(counted.status.success(), "{}", text(&counted));
    let report = dir.path().join("assessment.json");
    let whole: serde_json::Value = serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap();
    let longest = whole["analyses"]["choke_points"]["entries"].as_array().unwrap();
    let (at, vault) = longest.iter().enumerate().find(|(_, entry)| entry["target"] == "vault").unwrap();
    assert_eq!((&vault["dominators"], &vault["steps"]), (&serde_json::json!(["gateway", "broker", "signer"]), &serde_json::json!(5)));
    // The script would see a difference.
    let seen = |what: &str, alter: &dyn Fn(&mut serde_json::Value)| {
        let mut altered = whole.clone();
        alter(&mut altered["analyses"]);
        std::fs::write(&report, altered.to_string()).unwrap();
        let seen = recount("chains", &log, dir.path());
        assert_eq!(seen.status.code(), Some(1), "{what}: {}", text(&seen));
    };
    seen("one on the way less", &|a| drop(a["choke_points"]["entries"][at]["dominators"].as_array_mut().unwrap().pop()));
    seen("their order", &|a| a["choke_points"]["entries"][at]["dominators"].as_array_mut().unwrap().swap(0, 1));
    for number in [
        "choke_points/have",
        "choke_points/of",
        "choke_points/entries/0/steps",
        "protection/entries/0/pairs",
        "protection/entries/0/requests",
        "reach/entries/0/steps",
        "reach/entries/0/chain/0/requests",
        "blast/entries/0/by_step/0",
    ] {
        seen(number, &|a| {
            let place = a.pointer_mut(&format!("/{number}")).unwrap();
            *place = (place.as_u64().unwrap() + 1).into();
        });
    }
    seen("a pair of a cut", &|a| drop(a["cuts"]["entries"][0]["pairs"].as_array_mut().unwrap().pop()));
}

/// The recorder itself, in short: Envoy and the sidecar are asked the same, and each logs every request.
#[test]
fn a_recording_can_be_made_again() {
    if !has("python3", "--version") || !has("envoy", "--version") {
        return;
    }
    let target = Path::new(env!("CARGO_BIN_EXE_portreeve")).parent().unwrap();
    let enforcer = target.join("portreeve-enforcer");
    if !enforcer.exists() {
        println!("skipped: `portreeve-enforcer` is not built");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new("python3");
    command.arg(here("record/record.py")).args(["--requests", "300", "--own", "300", "--out"]).arg(dir.path());
    command.arg("--portreeve").arg(env!("CARGO_BIN_EXE_portreeve")).arg("--enforcer").arg(enforcer);
    let made = command.output().unwrap();
    assert!(made.status.success(), "{}", text(&made));
    let count = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap().lines().count();
    assert_eq!((count("istio.ndjson"), count("recommended.ndjson")), (300, 300));
    for name in ["istio.ndjson", "recommended.ndjson", "sidecar.ndjson"] {
        let lines = std::fs::read_to_string(dir.path().join(name)).unwrap();
        let of = |version: &str| lines.lines().filter(|line| line.contains(&format!(r#""protocol":"{version}""#))).count();
        assert!(of("HTTP/1.1") > 150 && of("HTTP/2") > 60, "{name}: {} and {}", of("HTTP/1.1"), of("HTTP/2"));
    }
    let log = dir.path().join("sidecar.ndjson");
    assert!(audit(&log, dir.path()).status.success());
    let counted = recount("sidecar", &log, dir.path());
    assert!(counted.status.success(), "{}", text(&counted));
}
