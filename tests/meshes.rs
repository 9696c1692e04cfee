//! `audit` on logs of other meshes, as its user runs it: what it prints, what it refuses, and the way out it names.

#![cfg(test)]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn logs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/logs")
}

fn run(args: &[&str], stdin: &[u8]) -> (i32, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_portreeve"))
        .args(args)
        .current_dir(logs())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A run that refuses its arguments reads nothing.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(!err.contains("panicked at"), "{err}");
    (output.status.code().unwrap(), err)
}

#[test]
fn what_the_lines_are_is_told_with_their_grades_and_the_cure() {
    let (code, err) = run(&["audit", "--bundle", "istio", "--fail-on", "never", "istio/waypoint.log"], b"");
    assert_eq!(code, 0, "{err}");
    for want in [
        "istio/waypoint.log (istio-text): 8 lines = 8 decided + 0 refused + 0 lifecycle + 0 duplicates + 0 rejected",
        "callers by grade: D 8",
        "istio-text: no line has the caller's verified identity",
        "\"downstream_peer_uri_san\": \"%DOWNSTREAM_PEER_URI_SAN%\"",
    ] {
        assert!(err.contains(want), "{want}\n{err}");
    }
    let (code, err) = run(&["audit", "--bundle", "istio", "istio/access.json"], b"");
    assert_eq!(code, 1, "{err}");
    for want in ["(istio-json): 150 lines = 102 decided", "istio/access.json:148: ", "as when a file is cut by rotation"] {
        assert!(err.contains(want), "{want}\n{err}");
    }
    // Its lines have all but the issuers of certificates; of lines that have them, nothing is to be cured.
    assert!(err.contains("no line has the issuer of the caller's certificate") && err.contains("%DOWNSTREAM_PEER_ISSUER%"), "{err}");
    let lines = fs::read_to_string(logs().join("istio/access.json")).unwrap();
    let with_issuers = lines.replace("\"start_time\"", "\"downstream_peer_issuer\":\"CN=root\",\"start_time\"");
    let (code, err) = run(&["audit", "--bundle", "istio", "--fail-on", "never", "-"], with_issuers.as_bytes());
    assert!(code == 0 && !err.contains("%DOWNSTREAM_PEER_URI_SAN%") && !err.contains("the issuer of"), "{err}");
}

#[test]
fn standard_input_compression_and_a_given_format_are_read() {
    let text = fs::read(logs().join("istio/access.json")).unwrap();
    let packed = Command::new("gzip").arg("-c").arg(logs().join("istio/access.json")).output();
    for input in [Some(text), packed.ok().filter(|o| o.status.success()).map(|o| o.stdout)].into_iter().flatten() {
        let (code, err) = run(&["audit", "--bundle", "istio", "--fail-on", "never", "-"], &input);
        assert!(code == 0 && err.contains("- (istio-json): 150 lines = 102 decided"), "{err}");
    }
    let own = "2026-11-22T10:00:00Z|spiffe://cluster.local/ns/bookinfo/sa/bookinfo-reviews|GET|/ratings/1|200|ratings\n";
    let format = "envoy-text:%START_TIME%|%DOWNSTREAM_PEER_URI_SAN%|%REQ(:METHOD)%|%REQ(:PATH)%|%RESPONSE_CODE%|%REQ(:AUTHORITY)%";
    let (code, err) = run(&["audit", "--bundle", "istio", "--fail-on", "never", "--log-format", format, "-"], own.as_bytes());
    assert!(code == 0 && err.contains("- (envoy-text): 1 line = 1 decided") && err.contains("grade: A 1"), "{err}");
}

#[test]
fn what_is_wrong_is_told_with_its_place_and_a_way_out() {
    let mapping = tempfile::NamedTempFile::new().unwrap();
    fs::write(mapping.path(), "lines: csv\nfields: {tme: start}\n").unwrap();
    let mapping = mapping.path().to_str().unwrap();
    let two =
        [fs::read_to_string(logs().join("opa/decisions.jsonl")).unwrap(), fs::read_to_string(logs().join("hubble/docs.jsonl")).unwrap()]
            .concat();
    let audit = |more: &[&str], stdin: &str| run(&[&["audit", "--bundle", "istio"], more].concat(), stdin.as_bytes());
    for (more, stdin, wants) in [
        (&["-"][..], "nonsense\n", &["none of the first lines of `-`", "--log-format", "--log-mapping"][..]),
        (&["-"], &two, &["line 1 is `opa`, line 3 is `hubble`", "--log-format"]),
        (&["--log-format", "istio-jsn", "-"], "", &["did you mean `istio-json`"]),
        (&["--log-format", "envoy-text:%START_TIME", "-"], "", &["column 1", "no end"]),
        (&["--log-format", "nginx-json", "-"], "{}\n", &["takes a mapping file", "--log-mapping"]),
        (&["--log-mapping", mapping, "-"], "", &[":2:10", "did you mean `time`"]),
        (&["--log-mapping", "nowhere.yaml", "-"], "", &["cannot read the mapping `nowhere.yaml`"]),
    ] {
        let (code, err) = audit(more, stdin);
        assert_eq!(code, 2, "{more:?}\n{err}");
        for want in wants {
            assert!(err.contains(want), "{more:?}: {want}\n{err}");
        }
    }
}

/// Every verb that reads logs of other meshes, on a log and on its copy.
#[test]
fn a_parquet_file_is_a_log() {
    let dir = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(logs().join("istio/access.json")).unwrap();
    let objects: Vec<&str> = text.lines().filter(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()).collect();
    let log = dir.path().join("copy.json").display().to_string();
    fs::write(&log, objects.join("\n") + "\n").unwrap();
    let rows = "parquet/istio.parquet";
    for verb in [
        &["audit", "--bundle", "istio", "--fail-on", "never"][..],
        &["replay", "--bundle", "istio", "--against", "opa"],
        &["diff", "istio", "opa", "--logs"],
        &["suggest"],
    ] {
        let of = |log: &str| {
            let output = Command::new(env!("CARGO_BIN_EXE_portreeve")).args(verb).arg(log).current_dir(logs()).output().unwrap();
            let text = [output.stdout, output.stderr].concat();
            (output.status.code().unwrap(), String::from_utf8(text).unwrap().replace(log, "LOG"))
        };
        let (code, said) = of(rows);
        assert!(code < 2 && said.len() > 100, "{verb:?}\n{said}");
        assert_eq!((code, said), of(&log), "{verb:?}");
    }
    let ledger = dir.path().join("l.ledger").display().to_string();
    let (code, err) = run(&["ledger", "build", "--bundle", "istio", "--out", &ledger, rows], b"");
    assert!(code == 0 && err.starts_with("1 part read"), "{err}");
    let (code, err) = run(&["audit", "--bundle", "istio", "-"], &fs::read(logs().join(rows)).unwrap());
    assert!(
        code == 2 && err.contains("cannot open `-`: a Parquet file is read from its end") && err.contains("write it into a file first"),
        "{err}"
    );
    let (code, err) = run(&["verify", rows], b"");
    assert!(
        code == 2 && err.contains("evidence by the bytes of its lines") && err.contains("give the log as the enforcer wrote it"),
        "{err}"
    );
}

/// What was granted and never used, from counts: by whoever has the ledger and no longer the logs.
#[test]
fn a_policy_is_held_beside_a_ledger() {
    let dir = tempfile::tempdir().unwrap();
    let built = |name: &str, bundle: &str, log: &str| {
        let ledger = dir.path().join(name).display().to_string();
        let (code, err) = run(&["ledger", "build", "--bundle", bundle, "--out", &ledger, log], b"");
        assert_eq!(code, 0, "{err}");
        ledger
    };
    let review = |bundle: &str, ledger: &str, more: &[&str]| run(&[&["ledger", "review", "--bundle", bundle, ledger], more].concat(), b"");
    let istio = built("istio.ledger", "istio", "istio/access.json");
    let (code, said) = review("istio", &istio, &[]);
    let wants = [
        "103 decisions; the logs of 3 of 4 services were counted",
        "40 more were recorded by the caller's side, too",
        "grants: 3 of 3 used, 0 unused, 0 not to be told",
        "details → ratings read: 4 allowed",
    ];
    assert!(code == 0 && wants.iter().all(|want| said.contains(want)), "{said}");
    let (code, said) = review("istio", &istio, &["--fail-on", "unused,shadow"]);
    assert!(code == 1 && said.ends_with("FAIL: 1 edge that was allowed and that no policy can allow\n"), "{said}");
    assert_eq!(review("istio", &istio, &["--fail-on", "unused"]).0, 0);
    // Lines that do not say who called may have used any grant.
    let nameless = built("nameless.ledger", "envoy-recorded/policies", "envoy-recorded/istio.ndjson.zst");
    let (code, said) = review("envoy-recorded/policies", &nameless, &["--fail-on", "unused"]);
    let want = "not to be told: checkout-orders (shop.yaml:54): of ";
    assert!(code == 0 && said.contains("grants: 0 of 6 used, 0 unused, 6 not to be told") && said.contains(want), "{said}");
    let (code, said) = review("istio", "istio/access.json", &[]);
    assert!(code == 2 && said.contains("`istio/access.json` is not a ledger"), "{said}");
}
